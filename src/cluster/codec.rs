//! Our two operators on their way between processes.

use std::path::Path as FilePath;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use datafusion_proto::protobuf;
use object_store::path::Path;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use prost::Message;
use serde::{Deserialize, Serialize};

use super::write::{Task, WriteExec};
use crate::engine::elsewhere::Value;
use crate::engine::parquet_table::{Bounds, DataFile, ParquetTable};
use crate::engine::remote_scan::{Piece, RemoteScan};
use crate::location::{Kept, Location, Stores};
use crate::raw;

/// Writes and reads them. `stores` are those of the process in which they run.
#[derive(Debug, Default)]
pub struct Codec {
    pub stores: Stores,
}

#[derive(Serialize, Deserialize)]
enum Sent {
    Write(Task),
    Scan(Scan),
}

#[derive(Serialize, Deserialize)]
struct Scan {
    store: String,
    /// Schemas as the engine encodes them.
    columns: Vec<u8>,
    partition: Option<Vec<u8>>,
    first_number: Option<i64>,
    files: Vec<File>,
    projection: Option<Vec<usize>>,
    pieces: Vec<Vec<Piece>>,
    piece: u64,
}

#[derive(Serialize, Deserialize)]
struct File {
    path: String,
    size: u64,
    tag: Option<String>,
    partition: Option<Value>,
    rows: Option<u64>,
    /// Whether rows are skipped, and how many.
    only: Option<Vec<(bool, usize)>>,
    /// Whether it is read. Others only keep their number.
    is_read: bool,
}

impl PhysicalExtensionCodec for Codec {
    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buffer: &mut Vec<u8>,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let sent = if let Some(write) = node.downcast_ref::<WriteExec>() {
            Sent::Write(write.task.clone())
        } else if let Some(scan) = node.downcast_ref::<RemoteScan>() {
            Sent::Scan(sent(scan)?)
        } else {
            return internal_err!("{} does not travel", node.name());
        };
        serde_json::to_writer(buffer, &sent).map_err(external)
    }

    fn try_decode(
        &self,
        buffer: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        _: &TaskContext,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (serde_json::from_slice(buffer).map_err(external)?, inputs) {
            (Sent::Write(task), [input]) => {
                let stores = Some(self.stores.clone());
                Ok(Arc::new(WriteExec::new(input.clone(), task, stores)))
            }
            (Sent::Scan(scan), []) => Ok(Arc::new(received(scan, &self.stores)?)),
            _ => internal_err!("an operator with the wrong inputs"),
        }
    }
}

fn external<E: std::error::Error + Send + Sync + 'static>(error: E) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

fn other(error: anyhow::Error) -> DataFusionError {
    DataFusionError::External(error.into())
}

/// The store of a URL, if it keeps what it reads.
pub fn kept_of(stores: &Stores, url: &str) -> Option<Arc<Kept>> {
    if url.starts_with("file:") {
        return None;
    }
    Location::parse_in(stores, url, FilePath::new("/")).ok()?.kept().cloned()
}

fn encoded(schema: &Schema) -> Result<Vec<u8>> {
    let schema = protobuf::Schema::try_from(schema).map_err(external)?;
    Ok(schema.encode_to_vec())
}

fn decoded(bytes: &[u8]) -> Result<Schema> {
    let schema = protobuf::Schema::decode(bytes).map_err(external)?;
    Schema::try_from(&schema).map_err(external)
}

fn sent(scan: &RemoteScan) -> Result<Scan> {
    let (store, columns, partition, first_number) = scan.table.parts();
    let wanted: Vec<bool> = {
        let mut wanted = vec![false; scan.table.files().len()];
        scan.pieces.iter().flatten().for_each(|(file, _)| wanted[*file] = true);
        wanted
    };
    let files = scan.table.files().iter().zip(wanted).map(|(file, is_read)| {
        let selectors =
            file.only.as_ref().filter(|_| is_read).map(|only| {
                only.iter().map(|selector| (selector.skip, selector.row_count)).collect()
            });
        let partition = file.partition.as_ref().map(Value::of).transpose().map_err(other)?;
        Ok(File {
            // What another task reads is not named to this one.
            path: if is_read { file.path.to_string() } else { String::new() },
            size: file.size,
            tag: file.tag.clone().filter(|_| is_read),
            partition,
            rows: file.rows,
            only: selectors,
            is_read,
        })
    });
    Ok(Scan {
        store: store.as_str().to_owned(),
        columns: encoded(columns)?,
        partition: partition
            .map(|column| encoded(&Schema::new(vec![column.clone()])))
            .transpose()?,
        first_number,
        files: files.collect::<Result<_>>()?,
        projection: scan.projection.clone(),
        pieces: scan.pieces.clone(),
        piece: scan.piece,
    })
}

fn received(scan: Scan, stores: &Stores) -> Result<RemoteScan> {
    let files = scan.files.into_iter().map(|file| {
        let selectors = file.only.map(|selectors| {
            let selector = |(skip, rows)| match skip {
                true => RowSelector::skip(rows),
                false => RowSelector::select(rows),
            };
            RowSelection::from(selectors.into_iter().map(selector).collect::<Vec<_>>())
        });
        Ok(DataFile {
            path: Path::parse(&file.path).map_err(external)?,
            size: file.size,
            tag: file.tag,
            partition: file.partition.map(Value::scalar).transpose().map_err(other)?,
            rows: file.rows,
            only: selectors,
            is_read: file.is_read,
            bounds: Bounds::new(),
        })
    });
    let files = files.collect::<Result<Vec<_>>>()?;
    let partition: Option<Field> = match &scan.partition {
        Some(bytes) => decoded(bytes)?.fields().first().map(|field| field.as_ref().clone()),
        None => None,
    };
    let (store, columns) = (ObjectStoreUrl::parse(&scan.store)?, decoded(&scan.columns)?);
    let kept = kept_of(stores, &scan.store);
    if let Some(kept) = &kept {
        let read = files.iter().filter(|file| file.is_read);
        read.for_each(|file| kept.announce(&file.path, file.size, file.tag.as_deref()));
    }
    let table = ParquetTable::new(store, Arc::new(columns), partition, files)
        .with_readers(raw::readers)
        .kept_by(kept);
    let table = match scan.first_number {
        Some(first) => table.numbered(first),
        None => table,
    };
    RemoteScan::new(Arc::new(table), scan.projection, scan.pieces, scan.piece)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use arrow::datatypes::DataType;
    use datafusion::physical_plan::displayable;
    use datafusion::physical_plan::empty::EmptyExec;
    use datafusion_proto::physical_plan::DefaultPhysicalProtoConverter;

    use super::*;
    use crate::engine::elsewhere::Order;

    fn there_and_back(
        node: &Arc<dyn ExecutionPlan>,
        inputs: &[Arc<dyn ExecutionPlan>],
    ) -> Arc<dyn ExecutionPlan> {
        let (codec, converter) = (Codec::default(), DefaultPhysicalProtoConverter {});
        let mut bytes = Vec::new();
        codec.try_encode(node.clone(), &mut bytes, &converter).unwrap();
        codec.try_decode(&bytes, inputs, &TaskContext::default(), &converter).unwrap()
    }

    #[test]
    fn a_scan_keeps_what_raw_files_need() {
        let file = |path: &str, only: Option<RowSelection>| DataFile {
            path: Path::from(path),
            size: 7 << 20,
            tag: Some("\"0c1\"".to_owned()),
            partition: Some(datafusion::common::ScalarValue::Date32(Some(20_000))),
            rows: Some(9),
            is_read: true,
            only,
            bounds: Bounds::new(),
        };
        let chosen = RowSelection::from(vec![RowSelector::skip(3), RowSelector::select(2)]);
        let files = vec![file("a b/ö.parquet", None), file("2", Some(chosen)), file("3", None)];
        let columns = Schema::new(vec![Field::new("Click Id", DataType::Utf8View, true)]);
        let dt = Field::new("#dt", DataType::Date32, false);
        let store = ObjectStoreUrl::parse("s3://logs").unwrap();
        let table = ParquetTable::new(store, Arc::new(columns), Some(dt), files)
            .with_readers(raw::readers)
            .numbered(5);
        let pieces = vec![vec![(0, Some((0, 99)))], vec![(0, Some((99, 7 << 20))), (1, None)]];
        let scan = RemoteScan::new(Arc::new(table), Some(vec![1, 3]), pieces, 16).unwrap();
        let node: Arc<dyn ExecutionPlan> = Arc::new(scan.clone());
        let back = there_and_back(&node, &[]);
        let back = back.downcast_ref::<RemoteScan>().unwrap();
        assert_eq!((&back.pieces, &back.projection), (&scan.pieces, &scan.projection));
        assert_eq!(back.schema(), node.schema());
        assert_eq!(back.table.parts(), scan.table.parts());
        // Files that no piece reads keep their place alone, so that others keep their numbers.
        let of = |scan: &RemoteScan, at: usize| format!("{:?}", scan.table.files()[at]);
        assert_eq!((of(back, 0), of(back, 1)), (of(&scan, 0), of(&scan, 1)));
        assert_eq!((back.table.files().len(), back.table.files()[2].is_read), (3, false));
    }

    #[test]
    fn an_order_arrives_as_it_was_given() {
        let rows: Arc<dyn ExecutionPlan> = Arc::new(EmptyExec::new(Arc::new(Schema::empty())));
        let order = Order::Table("{\"it's\": \"ö\"}".to_owned());
        let node: Arc<dyn ExecutionPlan> =
            Arc::new(WriteExec::on(rows.clone(), &order, 3, 1).unwrap());
        let back = there_and_back(&node, std::slice::from_ref(&rows));
        assert_eq!(back.downcast_ref::<WriteExec>().unwrap().task.order, order);
        assert_eq!(
            displayable(back.as_ref()).indent(false).to_string(),
            displayable(node.as_ref()).indent(false).to_string()
        );
    }

    #[test]
    fn other_operators_are_left_to_the_engine() {
        let rows: Arc<dyn ExecutionPlan> = Arc::new(EmptyExec::new(Arc::new(Schema::empty())));
        let converter = DefaultPhysicalProtoConverter {};
        assert!(Codec::default().try_encode(rows, &mut Vec::new(), &converter).is_err());
        let nobody = Codec::default().try_decode(b"?", &[], &TaskContext::default(), &converter);
        assert!(nobody.is_err());
    }
}
