//! The cells of a page's table as Arrow columns, Parquet and CSV files.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::{
    ArrayRef, BinaryArray, Int64Array, NullArray, RecordBatch, StringArray, StructArray,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use chrono::{DateTime, NaiveDateTime, Utc};
use parquet::arrow::ArrowWriter;

use crate::page::Table;

/// `2026-04-01 12:00`, with seconds, fractions and a zone (`Z`, `+02:00`) as wanted; without a zone it is UTC.
pub fn instant(text: &str) -> Option<DateTime<Utc>> {
    let text = text.replace('T', " ");
    let text = text.strip_suffix('Z').unwrap_or(&text);
    for format in ["%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return Some(time.and_utc());
        }
        if let Ok(time) = DateTime::parse_from_str(text, &format!("{format}%:z")) {
            return Some(time.to_utc());
        }
    }
    None
}

/// A column of the type that the page names.
pub fn array(kind: &str, cells: Vec<Option<String>>) -> Result<ArrayRef> {
    let target = match kind {
        "null" => return Ok(Arc::new(NullArray::new(cells.len()))),
        "bytes" => {
            return Ok(Arc::new(
                cells.iter().map(|it| Some(bytes(it.as_ref()?))).collect::<BinaryArray>(),
            ));
        }
        "user struct" => return user(cells),
        "string" => DataType::Utf8,
        "large string" => DataType::LargeUtf8,
        "string view" => DataType::Utf8View,
        "dictionary" => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        "bool" => DataType::Boolean,
        "int32" => DataType::Int32,
        "int64" => DataType::Int64,
        "float64" => DataType::Float64,
        "date" => DataType::Date32,
        "decimal" => DataType::Decimal128(38, 8),
        "decimal without decimals" => DataType::Decimal128(38, 0),
        "timestamp[ms]" => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        "timestamp[us]" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "timestamp[ns]" => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        "timestamp[us] without zone" => DataType::Timestamp(TimeUnit::Microsecond, None),
        _ => bail!("no such type: {kind}"),
    };
    let source: ArrayRef = match &target {
        DataType::Timestamp(unit, _) => {
            let count = |text: &String| {
                let time = instant(text).with_context(|| format!("no time: {text}"))?;
                match unit {
                    TimeUnit::Millisecond => Ok(time.timestamp_millis()),
                    TimeUnit::Nanosecond => time.timestamp_nanos_opt().context("out of range"),
                    _ => Ok(time.timestamp_micros()),
                }
            };
            Arc::new(
                cells
                    .iter()
                    .map(|cell| cell.as_ref().map(count).transpose())
                    .collect::<Result<Int64Array>>()?,
            )
        }
        _ => Arc::new(StringArray::from(cells)),
    };
    Ok(cast_with_options(&source, &target, &CastOptions { safe: false, ..CastOptions::default() })?)
}

/// `\xE9` is one byte, other letters are UTF-8.
fn bytes(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (number, rest) = part.split_at(2.min(part.len()));
        bytes.extend(u8::from_str_radix(number, 16));
        bytes.extend(rest.as_bytes());
    }
    bytes
}

/// A struct with the one field `id`.
fn user(cells: Vec<Option<String>>) -> Result<ArrayRef> {
    let id: ArrayRef = Arc::new(StringArray::from(cells));
    let fields = vec![(Arc::new(Field::new("id", DataType::Utf8, true)), id)];
    Ok(Arc::new(StructArray::from(fields)))
}

pub fn parquet(columns: Vec<(&str, ArrayRef)>) -> Result<Vec<u8>> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let batch = RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns.into_iter().map(|column| column.1).collect(),
    )?;
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(file)
}

pub fn csv_of(table: &Table) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&table.columns)?;
    for row in &table.rows {
        writer.write_record(row.iter().map(|cell| cell.as_deref().unwrap_or("")))?;
    }
    writer.into_inner().map_err(|trouble| anyhow!("{trouble}"))
}
