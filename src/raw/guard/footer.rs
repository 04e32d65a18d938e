//! Whether a Parquet footer can be true for a file of its size. DataFusion trusts the footer when
//! it counts rows and reserves memory.

use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

/// Bytes to which a page, or a column of a row group, may always unpack.
pub(super) const SMALL: u64 = 64 << 20;

/// The most that a byte can unpack to. Zstandard packs best: 128 KiB of equal bytes into four.
const PACKED_AT_MOST: u64 = 40_000;

/// The number of rows in the file, whose `size` is in bytes. Row groups and their columns must have
/// the rows that the file declares, and each column must be within the file. Errors: what is wrong.
pub fn rows(footer: &ParquetMetaData, size: u64) -> Result<u64, String> {
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
    // A repeated column may have more or fewer values than rows, even none.
    let is_repeated = column.column_descr().max_rep_level() > 0;
    if (!is_repeated && values != rows) || values < 0 {
        return Some(format!("has {values} values for {rows} rows"));
    }
    // Old writers say 0 where there is no dictionary.
    let dictionary = column.dictionary_page_offset().filter(|offset| *offset != 0);
    let begins = dictionary.unwrap_or(column.data_page_offset());
    let data_begins = column.data_page_offset();
    let (length, unpacked) = (column.compressed_size(), column.uncompressed_size());
    let [Ok(begins), Ok(data_begins), Ok(length), Ok(unpacked)] =
        [begins, data_begins, length, unpacked].map(u64::try_from)
    else {
        return Some("has an offset or size below zero".to_owned());
    };
    let is_within = begins.checked_add(length).is_some_and(|end| end <= size);
    if !is_within || data_begins > size {
        return Some("lies beyond the end of the file".to_owned());
    }
    // Pages are checked against this number.
    let most = length.saturating_mul(PACKED_AT_MOST).saturating_add(SMALL);
    (unpacked > most).then(|| format!("unpacks {length} bytes to {unpacked}"))
}
