//! Our two operators on their way between processes.

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
use crate::location::Stores;
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
            (Sent::Scan(scan), []) => Ok(Arc::new(received(scan)?)),
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

fn received(scan: Scan) -> Result<RemoteScan> {
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
    let table =
        ParquetTable::new(store, Arc::new(columns), partition, files).with_readers(raw::readers);
    let table = match scan.first_number {
        Some(first) => table.numbered(first),
        None => table,
    };
    RemoteScan::new(Arc::new(table), scan.projection, scan.pieces, scan.piece)
}
