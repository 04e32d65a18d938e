//! Temporary tables of a run: in memory while there is room, else in files of the scratch folder.
//!
//! Each is written once, read once or twice, and dropped, so its layout serves speed alone.

mod folder;
mod object;
mod table;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};

use folder::Folder;
pub use object::{PartReport, ScratchOrder, write_objects};
pub use table::ScratchTable;
pub use writer::Part;
use writer::write;

/// Bytes of temporary tables held in memory when the run has no memory limit.
const HELD_BYTES: usize = 640 << 20;

/// Where a run stores its temporary tables.
pub struct Scratch {
    folder: Folder,
    pool: Arc<dyn MemoryPool>,
    files_made: AtomicUsize,
}

impl Scratch {
    /// With a memory limit no table is held in memory: sorts, joins and aggregates need it.
    pub fn new(is_memory_limited: bool) -> Result<Scratch> {
        let pool = if is_memory_limited { 0 } else { HELD_BYTES };
        Ok(Scratch {
            folder: Folder::new()?,
            pool: Arc::new(GreedyMemoryPool::new(pool)),
            files_made: AtomicUsize::new(0),
        })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A writer for rows of the table `name`. Rows with the same value of the column `split` become
    /// one part.
    pub fn writing(&self, name: &str, split: Option<&str>) -> Writing {
        let count = self.files_made.fetch_add(1, Ordering::Relaxed);
        Writing {
            path: self.folder.path().join(format!("{name}-{count}")),
            split: split.map(str::to_owned),
            pool: self.pool.clone(),
        }
    }
}

/// Writes the rows of one stream.
pub struct Writing {
    /// The path of a file, if one is needed, without its extension.
    path: std::path::PathBuf,
    split: Option<String>,
    pool: Arc<dyn MemoryPool>,
}

impl Writing {
    /// Writes rows to parts. Errors: the disk is full; the rows fail; the split column has nulls.
    pub async fn write(self, rows: SendableRecordBatchStream) -> Result<Vec<Part>> {
        write(rows, self).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
    #![allow(clippy::disallowed_methods, reason = "a test makes a session of its own")]

    use arrow::array::{Date32Array, RecordBatch, StringViewArray};
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::catalog::TableProvider;
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use datafusion::prelude::{SessionContext, col, lit};

    use super::*;

    /// Visits of three dates, 0 to 2, in turn; every tenth has no visitor.
    fn visits() -> Vec<RecordBatch> {
        let batch = |batch: i32| {
            let dates = (0..100).map(|row| (batch + row) % 3);
            let visitor = |row: i32| format!("visitor {batch} {row} with a name that is long");
            let visitors = (0..100).map(|row| (row % 10 != 0).then(|| visitor(row)));
            RecordBatch::try_from_iter([
                ("date", Arc::new(Date32Array::from_iter_values(dates)) as _),
                ("visitor", Arc::new(StringViewArray::from_iter(visitors)) as _),
            ])
        };
        (0..20).map(|number| batch(number).unwrap()).collect()
    }

    async fn visits_table(scratch: &Scratch) -> ScratchTable {
        let batches = visits();
        let schema = batches[0].schema();
        let rows = futures::stream::iter(batches.into_iter().map(Ok));
        let rows = Box::pin(RecordBatchStreamAdapter::new(schema.clone(), rows));
        let parts = scratch.writing("visits", Some("date")).write(rows).await.unwrap();
        let table = ScratchTable::new(&schema);
        table.add(parts).unwrap();
        table
    }

    async fn of_date_1(table: ScratchTable) -> String {
        let table: Arc<dyn TableProvider> = Arc::new(table);
        let frame = SessionContext::new().read_table(table).unwrap();
        let date = lit(datafusion::common::ScalarValue::Date32(Some(1)));
        let frame = frame.filter(col("date").eq(date)).unwrap();
        let frame = frame.sort(vec![col("visitor").sort(true, true)]).unwrap();
        pretty_format_batches(&frame.collect().await.unwrap()).unwrap().to_string()
    }

    #[tokio::test]
    async fn rows_are_the_same_in_memory_and_in_files() {
        let (held, filed) = (Scratch::new(false).unwrap(), Scratch::new(true).unwrap());
        let (in_memory, in_files) = (visits_table(&held).await, visits_table(&filed).await);
        let files = |scratch: &Scratch| {
            let names =
                std::fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().path());
            names.filter(|path| path.extension().is_some_and(|end| end == "parquet")).count()
        };
        assert_eq!((files(&held), files(&filed)), (0, 3));
        assert_eq!((in_memory.rows(), in_files.rows()), (2000, 2000));
        let (in_memory, in_files) = (of_date_1(in_memory).await, of_date_1(in_files).await);
        assert_eq!(in_memory, in_files);
        // 20 batches of 100 rows, a third of them each.
        assert_eq!(in_memory.lines().filter(|line| line.contains("1970-01-02")).count(), 667);
        assert_eq!(files(&filed), 0, "files of a table that is gone");
    }

    #[tokio::test]
    async fn parts_are_dropped_one_by_one() {
        let scratch = Scratch::new(false).unwrap();
        let table = visits_table(&scratch).await;
        let all = scratch.pool.reserved();
        let date_1 = datafusion::common::ScalarValue::Date32(Some(1));
        table.remove(|constants| constants.get("date") == Some(&date_1));
        assert_eq!(table.rows(), 2000 - 667);
        assert!(scratch.pool.reserved() < all);
        assert!(!of_date_1(table).await.contains("1970-01-02"));
    }

    #[tokio::test]
    async fn memory_is_given_back() {
        let scratch = Scratch::new(false).unwrap();
        let table = visits_table(&scratch).await;
        assert!(scratch.pool.reserved() > 2000 * 20, "{}", scratch.pool.reserved());
        drop(table);
        assert_eq!(scratch.pool.reserved(), 0);
    }
}
