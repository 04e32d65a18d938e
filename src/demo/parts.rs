//! Parquet files of a landing date. Refuses to know columns. Only one batch is in memory.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::catalog::Catalog;
use super::landing::{Arrival, Landed, Parts};

const BATCH_ROWS: usize = 8_192;
const ROW_GROUP_ROWS: usize = 262_144;

/// How a log becomes columns.
pub struct Table<T> {
    /// Columns whose values hardly repeat: dictionaries and bounds would only take time.
    pub distinct: &'static [&'static str],
    pub batch: fn(&[Arrival<T>], &Catalog) -> Result<RecordBatch>,
}

/// Writes a landing date's `part-0.parquet`, even if it is empty, and `part-1.parquet` when
/// stragglers have a separate file. Returns the number of rows.
pub fn write<T>(dir: &Path, table: &Table<T>, catalog: &Catalog, landed: Landed<T>) -> Result<u64> {
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let rows = landed.stragglers.len() + landed.current.len();
    match landed.parts {
        Parts::One => {
            write_part(
                &dir.join("part-0.parquet"),
                table,
                catalog,
                &[&landed.stragglers, &landed.current],
            )?;
        }
        Parts::Two => {
            write_part(&dir.join("part-0.parquet"), table, catalog, &[&landed.current])?;
            write_part(&dir.join("part-1.parquet"), table, catalog, &[&landed.stragglers])?;
        }
    }
    Ok(rows as u64)
}

fn write_part<T>(
    path: &Path,
    table: &Table<T>,
    catalog: &Catalog,
    pieces: &[&[Arrival<T>]],
) -> Result<()> {
    let name = || path.display().to_string();
    let file = File::create(path).with_context(name)?;
    let schema = (table.batch)(&[], catalog)?.schema();
    let mut writer =
        ArrowWriter::try_new(file, schema, Some(properties(table.distinct)?)).with_context(name)?;
    for rows in pieces.iter().flat_map(|piece| piece.chunks(BATCH_ROWS)) {
        writer.write(&(table.batch)(rows, catalog)?).with_context(name)?;
    }
    writer.close().with_context(name)?;
    Ok(())
}

fn properties(distinct: &[&'static str]) -> Result<WriterProperties> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
    for column in distinct {
        properties = properties
            .set_column_dictionary_enabled((*column).into(), false)
            .set_column_statistics_enabled((*column).into(), EnabledStatistics::None);
    }
    Ok(properties.build())
}
