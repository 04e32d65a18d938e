//! `lookback ddl`: statements that register the tables and views in another engine. Reads the job file
//! alone, so it needs neither credentials nor tables.

use crate::ddl::{Dialect, Only, Request, statements};
use crate::job::Job;
use crate::stop::Stop;

/// The statements as text. Errors: exit 2 when the engine cannot read the root.
pub fn ddl(
    job: &Job,
    dialect: Dialect,
    prefix: Option<&str>,
    only: Option<Only>,
) -> Result<String, Stop> {
    let prefix = prefix.unwrap_or_default();
    statements(&Request { root: &job.root, dialect, prefix, only })
}
