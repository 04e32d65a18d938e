//! Tables that are kept for the run only: in memory as long as there is room, else in files of a
//! scratch folder.
//!
//! Written once, read once or twice, and gone, so laid out for nothing but speed.

mod folder;
mod table;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};

use folder::Folder;
pub use table::ScratchTable;
pub use writer::Part;
use writer::write;

/// How many bytes of scratch tables are held in memory when nobody set a limit.
const ROOM: usize = 640 << 20;

/// Where a run keeps its scratch tables.
pub struct Scratch {
    folder: Folder,
    room: Arc<dyn MemoryPool>,
    files_made: AtomicUsize,
}

impl Scratch {
    /// Within a memory limit nothing is held: that memory is for those who have no other way.
    pub fn new(is_memory_limited: bool) -> Result<Scratch> {
        let room = if is_memory_limited { 0 } else { ROOM };
        Ok(Scratch {
            folder: Folder::new()?,
            room: Arc::new(GreedyMemoryPool::new(room)),
            files_made: AtomicUsize::new(0),
        })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What it takes to write rows of the table `name`; rows of each value of the
    /// column `split` are kept apart.
    pub fn writing(&self, name: &str, split: Option<&str>) -> Writing {
        let count = self.files_made.fetch_add(1, Ordering::Relaxed);
        Writing {
            path: self.folder.path().join(format!("{name}-{count}")),
            split: split.map(str::to_owned),
            room: self.room.clone(),
        }
    }
}

/// Writes the rows of one stream.
pub struct Writing {
    /// Of a file, should one be needed: without its extension.
    path: std::path::PathBuf,
    split: Option<String>,
    room: Arc<dyn MemoryPool>,
}

impl Writing {
    /// Errors: the disk is full; the rows fail; the column to split by has nulls.
    pub async fn write(self, rows: SendableRecordBatchStream) -> Result<Vec<Part>> {
        write(rows, self).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

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

    async fn kept(scratch: &Scratch) -> ScratchTable {
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
        let (in_memory, in_files) = (kept(&held).await, kept(&filed).await);
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
    async fn parts_are_let_go_of_one_by_one() {
        let scratch = Scratch::new(false).unwrap();
        let table = kept(&scratch).await;
        let all = scratch.room.reserved();
        let date_1 = datafusion::common::ScalarValue::Date32(Some(1));
        table.remove(|constants| constants.get("date") == Some(&date_1));
        assert_eq!(table.rows(), 2000 - 667);
        assert!(scratch.room.reserved() < all);
        assert!(!of_date_1(table).await.contains("1970-01-02"));
    }

    #[tokio::test]
    async fn room_is_given_back() {
        let scratch = Scratch::new(false).unwrap();
        let table = kept(&scratch).await;
        assert!(scratch.room.reserved() > 2000 * 20, "{}", scratch.room.reserved());
        drop(table);
        assert_eq!(scratch.room.reserved(), 0);
    }
}
