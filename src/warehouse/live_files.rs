//! The files of a Delta table that others write: those that its log does not say are removed.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use chrono::DateTime;
use deltalake::DeltaTable;
use object_store::ObjectMeta;

use super::table::log_store;
use crate::location::Location;

/// One file that holds rows of the table.
pub struct LiveFile {
    /// As the table's log names it.
    pub path: String,
    pub meta: ObjectMeta,
    /// The values of the partition columns.
    pub partition: BTreeMap<String, Option<String>>,
}

/// Reads the table's log. Errors: the store fails; there is no such table; it has features that are
/// not read, such as deletion vectors.
pub async fn live_files(table: &Location) -> Result<Vec<LiveFile>> {
    let (log, store) = log_store(table);
    log.read().await?;
    let mut delta = DeltaTable::new(store);
    delta.load().await?;
    let mapping = delta.snapshot()?.metadata().configuration().get("delta.columnMapping.mode");
    if mapping.is_some_and(|mode| mode != "none") {
        anyhow::bail!(
            "it has a column mapping (delta.columnMapping.mode), by which its files have other \
             column names; write its rows to a table without one"
        );
    }
    let mut files = Vec::new();
    for view in delta.snapshot()?.log_data().iter() {
        let path = view.path().to_string();
        if path.contains("://") || path.starts_with('/') {
            anyhow::bail!(
                "{path} lies outside the table, as in a shallow clone; copy the table's rows"
            );
        }
        if view.deletion_vector_descriptor().is_some() {
            anyhow::bail!(
                "{path} has a deletion vector; rewrite the table without them (REORG … PURGE)"
            );
        }
        let modified = DateTime::from_timestamp_millis(view.modification_time());
        let meta = ObjectMeta {
            location: table.child(&path).path().clone(),
            last_modified: modified.with_context(|| format!("{path}: has no time"))?,
            size: view.size().unsigned_abs(),
            e_tag: None,
            version: None,
        };
        let partition = view.partition_values_map().into_iter().collect();
        files.push(LiveFile { path, meta, partition });
    }
    Ok(files)
}
