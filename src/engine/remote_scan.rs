//! A scan of raw files that travels to another process. The engine's own loses on its way what raw
//! files need: numbers of rows, chosen rows, and readers that look at pages first.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, project_schema};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};

use super::parquet_table::ParquetTable;

/// A part of a table's file: the position of the file, and the bytes whose rows are read. None: all.
pub type Piece = (usize, Option<(i64, i64)>);

/// A scan of some columns of a table's files, whose pieces are dealt out to partitions.
#[derive(Debug, Clone)]
pub struct RemoteScan {
    pub table: Arc<ParquetTable>,
    /// The positions of the columns in the table. None: all.
    pub projection: Option<Vec<usize>>,
    /// Of each partition.
    pub pieces: Vec<Vec<Piece>>,
    /// Bytes that are worth a partition of their own.
    pub piece: u64,
    properties: Arc<PlanProperties>,
}

impl RemoteScan {
    /// Errors: a column that is not there.
    pub fn new(
        table: Arc<ParquetTable>,
        projection: Option<Vec<usize>>,
        pieces: Vec<Vec<Piece>>,
        piece: u64,
    ) -> Result<RemoteScan> {
        let schema: SchemaRef = project_schema(&table.schema(), projection.as_ref())?;
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(pieces.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(RemoteScan { table, projection, pieces, piece, properties: Arc::new(properties) })
    }

    /// A scan of these files on so many partitions, in their order.
    pub fn of_files(
        table: Arc<ParquetTable>,
        projection: Option<Vec<usize>>,
        files: Vec<usize>,
        (partitions, piece): (usize, u64),
    ) -> Result<RemoteScan> {
        let whole = files.into_iter().map(|file| (file, None)).collect();
        let pieces = dealt(&table, whole, (partitions, piece));
        RemoteScan::new(table, projection, pieces, piece)
    }

    /// The bytes that its pieces have.
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().flatten().map(|piece| length(&self.table, piece)).sum()
    }

    /// The same scan in so many parts, each with as many partitions as the whole. Rows keep their order
    /// from part to part.
    pub fn divided(&self, parts: usize) -> Result<Vec<RemoteScan>> {
        let partitions = self.pieces.len();
        let all = self.pieces.iter().flatten().copied().collect();
        let wanted = (partitions * parts, self.piece);
        let mut dealt = dealt(&self.table, all, wanted).into_iter();
        let part = |_| {
            let mut pieces: Vec<Vec<Piece>> = dealt.by_ref().take(partitions).collect();
            pieces.resize(partitions, Vec::new());
            let (table, projection) = (self.table.clone(), self.projection.clone());
            RemoteScan::new(table, projection, pieces, self.piece)
        };
        (0..parts).map(part).collect()
    }
}

fn length(table: &ParquetTable, (file, range): &Piece) -> u64 {
    match range {
        Some((from, to)) => (to - from).unsigned_abs(),
        None => table.files()[*file].size,
    }
}

/// Deals pieces out to so many partitions of about equally many bytes, in their order. Large files are
/// cut, but for those of which some rows are chosen.
fn dealt(
    table: &ParquetTable,
    pieces: Vec<Piece>,
    (partitions, piece): (usize, u64),
) -> Vec<Vec<Piece>> {
    let bytes: u64 = pieces.iter().map(|piece| length(table, piece)).sum();
    let each = bytes.div_ceil(partitions.max(1) as u64).max(piece).max(1);
    let mut dealt: Vec<Vec<Piece>> = vec![Vec::new()];
    let mut room = each;
    for (file, range) in pieces {
        let size = i64::try_from(table.files()[file].size).unwrap_or(i64::MAX);
        let (mut from, to) = range.unwrap_or((0, size));
        let is_cut = table.files()[file].only.is_none();
        loop {
            if room == 0 && dealt.len() < partitions {
                dealt.push(Vec::new());
                room = each;
            }
            let left = (to - from).unsigned_abs();
            let is_last = dealt.len() == partitions;
            let taken = if is_cut && !is_last { left.min(room) } else { left };
            let end = from + i64::try_from(taken).unwrap_or(i64::MAX);
            let is_whole = from == 0 && end == size;
            if let Some(last) = dealt.last_mut() {
                last.push((file, (!is_whole).then_some((from, end))));
            }
            room = room.saturating_sub(taken);
            from = end;
            if from >= to {
                break;
            }
        }
    }
    dealt
}

impl DisplayAs for RemoteScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.table.files().len();
        write!(f, "RemoteScan: files={files}, partitions={}", self.pieces.len())
    }
}

impl ExecutionPlan for RemoteScan {
    fn name(&self) -> &str {
        "RemoteScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, at: usize, task: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let pieces = self.pieces.get(at).map(Vec::as_slice).unwrap_or_default();
        self.table.scan_of(pieces, self.projection.as_ref(), &task)?.execute(0, task)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::execution::object_store::ObjectStoreUrl;
    use object_store::path::Path;
    use parquet::arrow::arrow_reader::{RowSelection, RowSelector};

    use super::*;
    use crate::engine::parquet_table::{Bounds, DataFile};

    const MEGABYTE: u64 = 1 << 20;

    /// A scan of files of so many megabytes. Of the last one only some rows are chosen.
    fn scan(megabytes: &[u64], partitions: usize) -> RemoteScan {
        let last = megabytes.len() - 1;
        let file = |(number, size): (usize, &u64)| DataFile {
            path: Path::from(format!("{number}.parquet")),
            size: size * MEGABYTE,
            tag: None,
            partition: None,
            rows: None,
            only: (number == last).then(|| RowSelection::from(vec![RowSelector::select(1)])),
            is_read: true,
            bounds: Bounds::new(),
        };
        let files: Vec<DataFile> = megabytes.iter().enumerate().map(file).collect();
        let schema = Schema::new(vec![Field::new("url", DataType::Utf8View, true)]);
        let store = ObjectStoreUrl::local_filesystem();
        let table = Arc::new(ParquetTable::new(store, Arc::new(schema), None, files));
        let all = (0..megabytes.len()).collect();
        RemoteScan::of_files(table, None, all, (partitions, MEGABYTE)).unwrap()
    }

    /// The bytes of each file that pieces cover, each once and in their order.
    fn covered(scans: &[RemoteScan]) -> Vec<u64> {
        let table = &scans[0].table;
        let mut covered = vec![0; table.files().len()];
        let mut last = (0, 0);
        for piece in scans.iter().flat_map(|scan| scan.pieces.iter().flatten()) {
            let (file, range) = piece;
            let size = i64::try_from(table.files()[*file].size).unwrap();
            let (from, to) = range.unwrap_or((0, size));
            assert!((*file, from) >= last && from < to, "{piece:?} after {last:?}");
            last = (*file, to);
            covered[*file] += (to - from).unsigned_abs();
        }
        covered
    }

    #[test]
    fn each_byte_is_read_once_whoever_reads_it() {
        let megabytes = [1, 30, 2, 7, 5];
        let expected: Vec<u64> = megabytes.iter().map(|size| size * MEGABYTE).collect();
        for partitions in 1..6 {
            let whole = scan(&megabytes, partitions);
            assert_eq!(covered(std::slice::from_ref(&whole)), expected);
            for parts in 1..5 {
                let divided = whole.divided(parts).unwrap();
                assert_eq!(divided.len(), parts);
                assert_eq!(covered(&divided), expected, "{partitions} {parts}");
                assert!(divided.iter().all(|part| part.pieces.len() == whole.pieces.len()));
                // Rows are chosen by their number, so their file is not cut.
                let of_last = divided.iter().flat_map(|part| part.pieces.iter().flatten());
                let of_last: Vec<&Piece> = of_last.filter(|(file, _)| *file == 4).collect();
                assert_eq!(of_last, [&(4, None)]);
            }
        }
    }

    #[test]
    fn what_is_small_stays_in_one_piece() {
        assert_eq!(scan(&[1], 4).pieces, [[(0, None)]]);
    }
}
