//! Whether a Parquet footer can be true of a file of its size: what the engine takes on trust, and
//! sets rows and memory aside by.

use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

/// Bytes that a page, or a column of a row group, may unpack to in any case.
pub(super) const SMALL: u64 = 64 << 20;

/// Of the codecs that are read, Zstandard packs best: 128 KiB of one byte into four.
const PACKED_AT_MOST: u64 = 40_000;

/// The file's rows. Errors: what cannot be so. Row groups and their columns have to hold the rows
/// that the file says it has, and each column has to lie within the file's `size`.
pub(super) fn rows(footer: &ParquetMetaData, size: u64) -> Result<u64, String> {
    let mut rows: u64 = 0;
    for (position, group) in footer.row_groups().iter().enumerate() {
        let declared = group.num_rows();
        rows = u64::try_from(declared)
            .ok()
            .and_then(|count| rows.checked_add(count))
            .ok_or_else(|| format!("row group {position} has {declared} rows"))?;
        for column in group.columns() {
            let trouble = column_trouble(column, declared, size);
            if let Some(trouble) = trouble {
                let name = column.column_path();
                return Err(format!("column {name} of row group {position} {trouble}"));
            }
        }
    }
    let declared = footer.file_metadata().num_rows();
    match i64::try_from(rows) == Ok(declared) {
        true => Ok(rows),
        false => Err(format!("it has {declared} rows, its row groups {rows}")),
    }
}

fn column_trouble(column: &ColumnChunkMetaData, rows: i64, size: u64) -> Option<String> {
    let values = column.num_values();
    // Repeated values are more or fewer than the rows, down to none.
    let is_repeated = column.column_descr().max_rep_level() > 0;
    if (!is_repeated && values != rows) || values < 0 {
        return Some(format!("has {values} values for {rows} rows"));
    }
    let begins = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    let data_begins = column.data_page_offset();
    let (length, unpacked) = (column.compressed_size(), column.uncompressed_size());
    let [Ok(begins), Ok(data_begins), Ok(length), Ok(unpacked)] =
        [begins, data_begins, length, unpacked].map(u64::try_from)
    else {
        return Some("has a place or size below zero".to_owned());
    };
    let is_within = begins.checked_add(length).is_some_and(|end| end <= size);
    if !is_within || data_begins > size {
        return Some("lies beyond the end of the file".to_owned());
    }
    // Pages are judged by this number.
    let most = length.saturating_mul(PACKED_AT_MOST).saturating_add(SMALL);
    (unpacked > most).then(|| format!("unpacks {length} bytes to {unpacked}"))
}
