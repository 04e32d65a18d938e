//! Our own SQL functions: DataFusion has no such function, or none that is fast enough.
//!
//! Each works row by row, or over one window or group, and knows nothing about tables and jobs. Each has
//! its name alone, so that any process that registers them can run parts of a query. `link_key` is in
//! `raw`, because it knows promotion links.

mod duplicated_values;
pub mod hash64;
pub mod local_date;
mod records;
mod row_key;
mod running_count;
mod sort_key;
mod texts;
mod to_timestamp;

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::FunctionRegistry;
pub use records::raw_record;
pub use texts::{is_bad_text, readable, readable_type, text_of, uuid_text, uuids};

/// Registers the functions in a session. Errors: the session takes none.
pub fn register(session: &mut dyn FunctionRegistry) -> Result<()> {
    let functions = [
        hash64::hash64(),
        local_date::local_date(),
        records::json_text(),
        records::raw_record(),
        records::with_columns(),
        records::with_reading(),
        row_key::row_key(),
        sort_key::sort_key(),
        texts::is_bad_text(),
        texts::readable(),
        texts::text_of(),
        texts::uuid_text(),
    ];
    for function in functions {
        session.register_udf(Arc::new(function))?;
    }
    to_timestamp::register(session)?;
    session.register_udaf(Arc::new(duplicated_values::duplicated_values()))?;
    session.register_udwf(Arc::new(running_count::running_count()))?;
    Ok(())
}
