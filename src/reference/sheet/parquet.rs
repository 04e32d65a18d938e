//! A reference file of `.parquet`. Columns have their types, and a name may step into structs.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, make_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, TimeUnit};
use bytes::Bytes;
use datafusion::datasource::physical_plan::parquet::Int96Coercer;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::LogicalType;
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::schema::types::{SchemaDescriptor, Type};

use super::ROWS_OF_A_PIECE;
use crate::engine::footer;
use crate::engine::functions::uuids;
use crate::raw::{has_encrypted_columns, mended};

#[derive(Debug)]
pub struct Parquet {
    content: Bytes,
    metadata: ArrowReaderMetadata,
    /// Whether some columns are.
    is_encrypted: bool,
}

/// The names that lead to a column: its own, or those of structs before it.
pub type Steps = Vec<String>;

impl Parquet {
    /// Errors: the file cannot be read.
    pub fn open(content: Bytes) -> Result<Parquet, String> {
        if content.ends_with(b"PARE") {
            return Err("is encrypted, which is not read; write it without encryption".to_owned());
        }
        let is_encrypted = has_encrypted_columns(&footer::of(&content));
        let unreadable = |error| unreadable(error, is_encrypted);
        let read = ParquetMetaDataReader::new().parse_and_finish(&content).and_then(mended);
        let metadata = Arc::new(read.map_err(unreadable)?);
        let load =
            |options| ArrowReaderMetadata::try_new(metadata.clone(), options).map_err(unreadable);
        let as_written = load(ArrowReaderOptions::new())?;
        let described = as_written.metadata().file_metadata().schema_descr();
        // The times of INT96 reach farther than nanoseconds do.
        let schema =
            Int96Coercer::new(described, as_written.schema(), &TimeUnit::Microsecond).coerce();
        let schema = schema.unwrap_or_else(|| as_written.schema().as_ref().clone());
        let schema = Schema::new(with_views(schema.fields()));
        let metadata = load(ArrowReaderOptions::new().with_schema(Arc::new(schema)))?;
        Ok(Parquet { content, metadata, is_encrypted })
    }

    pub fn row_count(&self) -> i64 {
        self.metadata.metadata().file_metadata().num_rows()
    }

    /// The columns, with the types that [`Parquet::rows`] gives them.
    pub fn fields(&self) -> Vec<Field> {
        let fields = self.metadata.schema().fields().iter();
        let fields = fields.map(|field| match self.is_uuid(std::slice::from_ref(field.name())) {
            true => Field::new(field.name(), DataType::Utf8, true),
            false => Field::new(field.name(), field.data_type().clone(), true),
        });
        fields.collect()
    }

    pub fn has(&self, name: &str) -> bool {
        self.metadata.schema().fields().iter().any(|field| field.name() == name)
    }

    /// The steps to a column: the literal name, else by the dots in it.
    pub fn find(&self, name: &str) -> Option<Steps> {
        find(self.metadata.schema().fields(), name)
    }

    /// The rows, with these columns. Errors: the file cannot be read.
    pub fn rows(
        &self,
        columns: Vec<Steps>,
    ) -> Result<impl Iterator<Item = Result<(Vec<ArrayRef>, usize), String>> + Send + use<>, String>
    {
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
            self.content.clone(),
            self.metadata.clone(),
        );
        let described = builder.parquet_schema();
        let leaves = (0..described.num_columns()).filter(|leaf| {
            let column = described.column(*leaf);
            columns.iter().any(|steps| column.path().parts().starts_with(steps))
        });
        let mask = ProjectionMask::leaves(described, leaves);
        let columns: Vec<(Steps, bool)> = columns
            .into_iter()
            .map(|steps| {
                let is_uuid = self.is_uuid(&steps);
                (steps, is_uuid)
            })
            .collect();
        let reader = builder.with_projection(mask).with_batch_size(ROWS_OF_A_PIECE).build();
        let is_encrypted = self.is_encrypted;
        let mut reader = Some(reader.map_err(|error| unreadable(error, is_encrypted))?);
        Ok(std::iter::from_fn(move || {
            let batch = reader.as_mut()?.next()?;
            let batch = batch.map_err(|error| unreadable(error, is_encrypted));
            let rows = batch.and_then(|batch| {
                let columns =
                    columns.iter().map(|(steps, is_uuid)| column(&batch, steps, *is_uuid));
                Ok((columns.collect::<Result<Vec<_>, String>>()?, batch.num_rows()))
            });
            if rows.is_err() {
                // What follows cannot be trusted.
                reader = None;
            }
            Some(rows)
        }))
    }

    fn is_uuid(&self, steps: &[String]) -> bool {
        let described = self.metadata.metadata().file_metadata().schema_descr();
        described_at(described, steps).is_some_and(|column| {
            column.get_basic_info().logical_type_ref() == Some(&LogicalType::Uuid)
        })
    }
}

/// Why a file cannot be read, without what decoders put before each other's words.
fn unreadable(error: impl fmt::Display, is_encrypted: bool) -> String {
    if is_encrypted {
        return "has an encrypted column, which is not read; write it without encryption"
            .to_owned();
    }
    let text = error.to_string();
    let mut reason = text.as_str();
    while let Some(rest) =
        ["Parquet error: ", "Parquet argument error: ", "Arrow: ", "EOF: ", "External: "]
            .iter()
            .find_map(|prefix| reason.strip_prefix(prefix))
    {
        reason = rest;
    }
    format!("is no readable Parquet: {reason}")
}

fn described_at<'a>(described: &'a SchemaDescriptor, steps: &[String]) -> Option<&'a Type> {
    let mut at = described.root_schema();
    for step in steps {
        at = match at {
            Type::GroupType { fields, .. } => fields.iter().find(|field| field.name() == step)?,
            Type::PrimitiveType { .. } => return None,
        };
    }
    Some(at)
}

fn find(fields: &Fields, name: &str) -> Option<Steps> {
    if fields.iter().any(|field| field.name() == name) {
        return Some(vec![name.to_owned()]);
    }
    name.match_indices('.').find_map(|(dot, _)| {
        let step = &name[..dot];
        let DataType::Struct(inner) = fields.iter().find(|it| it.name() == step)?.data_type()
        else {
            return None;
        };
        let mut steps = vec![step.to_owned()];
        steps.extend(find(inner, &name[dot + 1..])?);
        Some(steps)
    })
}

/// Texts come as views, which is fastest, also those within structs.
fn with_views(fields: &Fields) -> Vec<FieldRef> {
    let read_as = |found: &DataType| match found {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Dictionary(_, values) if values.is_string() => DataType::Utf8View,
        DataType::Struct(fields) => DataType::Struct(with_views(fields).into()),
        other => other.clone(),
    };
    let fields = fields.iter().map(|field| {
        let data_type = read_as(field.data_type());
        Arc::new(field.as_ref().clone().with_data_type(data_type))
    });
    fields.collect()
}

/// One column. A value within a struct that is null is null.
fn column(batch: &RecordBatch, steps: &[String], is_uuid: bool) -> Result<ArrayRef, String> {
    let missing = || format!("is no readable Parquet: column {} is gone", steps.join("."));
    let (first, inner) = steps.split_first().ok_or_else(missing)?;
    let mut column = batch.column_by_name(first).ok_or_else(missing)?.clone();
    for step in inner {
        let outer = column.as_struct_opt().ok_or_else(missing)?;
        let values = outer.column_by_name(step).ok_or_else(missing)?;
        if values.data_type() == &DataType::Null {
            return Ok(values.clone());
        }
        let nulls = NullBuffer::union(outer.nulls(), values.nulls());
        let data = values.to_data().into_builder().nulls(nulls).build();
        column = make_array(data.map_err(|error| unreadable(error, false))?);
    }
    Ok(if is_uuid { Arc::new(uuids(&column)) } else { column })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use arrow::array::{ArrayRef, Int64Array, StructArray};
    use parquet::arrow::ArrowWriter;

    use super::*;

    fn written(batch: &RecordBatch) -> Parquet {
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(batch).unwrap();
        Parquet::open(writer.into_inner().unwrap().into()).unwrap()
    }

    /// The literal name goes before a step, and a null struct makes null.
    #[test]
    fn a_name_steps_into_structs() {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let id = Arc::new(Field::new("id", DataType::Int64, false));
        let user =
            StructArray::new(vec![id].into(), vec![ids], Some(NullBuffer::from(vec![true, false])));
        let inner = Arc::new(Field::new("a.b", user.data_type().clone(), true));
        let outer = StructArray::new(vec![inner].into(), vec![Arc::new(user.clone())], None);
        let literal: ArrayRef = Arc::new(Int64Array::from(vec![7, 8]));
        let batch = RecordBatch::try_from_iter([
            ("user", Arc::new(user) as ArrayRef),
            ("deep", Arc::new(outer) as ArrayRef),
            ("user.name", literal),
        ])
        .unwrap();
        let parquet = written(&batch);
        for (name, expected) in [
            ("user.id", vec![Some(1), None]),
            ("deep.a.b.id", vec![Some(1), None]),
            ("user.name", vec![Some(7), Some(8)]),
        ] {
            let steps = parquet.find(name).unwrap();
            let (columns, rows) = parquet.rows(vec![steps]).unwrap().next().unwrap().unwrap();
            assert_eq!((columns[0].as_ref(), rows), (&Int64Array::from(expected) as &dyn Array, 2));
        }
        for name in ["user.nobody", "user", "id", "user.id.x"] {
            assert_eq!(parquet.find(name).is_some(), name == "user", "{name}");
        }
    }
}
