//! A raw file's footer as the decoder gets it: what writers only meant well is left out of it.
//!
//! Texts become bytes, because one byte that is no UTF-8 would end the decoding of a file. So they do
//! in the Arrow schema that some writers add. The rest of it stays: it tells times in seconds from
//! numbers.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use parquet::arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema, parquet_to_arrow_schema};
use parquet::basic::{ConvertedType, LogicalType, Type as PhysicalType};
use parquet::errors::Result;
use parquet::file::metadata::{
    FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataBuilder, RowGroupMetaData,
};
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use super::Thrift;

/// The same footer, with plain types. Errors: a schema that cannot be.
pub fn plain(footer: &ParquetMetaData) -> Result<ParquetMetaData> {
    let file = footer.file_metadata();
    let schema = SchemaDescriptor::new(plain_type(&file.schema_descr().root_schema_ptr())?);
    let is_arrows = |pair: &KeyValue| pair.key == ARROW_SCHEMA_META_KEY;
    let pairs = match file.key_value_metadata() {
        Some(pairs) if pairs.iter().any(is_arrows) => {
            let hints = parquet_to_arrow_schema(file.schema_descr(), Some(pairs))?;
            let hints = Schema::new(hints.fields().iter().map(plain_hint).collect::<Vec<_>>());
            let hints =
                KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), encode_arrow_schema(&hints));
            let others = pairs.iter().filter(|pair| !is_arrows(pair)).cloned();
            Some(others.chain([hints]).collect())
        }
        pairs => pairs.cloned(),
    };
    let plain = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_owned),
        pairs,
        Arc::new(schema),
        file.column_orders().cloned(),
    );
    let groups = footer.row_groups().iter().map(plain_group).collect::<Result<Vec<_>>>()?;
    Ok(ParquetMetaDataBuilder::new(plain).set_row_groups(groups).build())
}

fn plain_hint(field: &FieldRef) -> FieldRef {
    Arc::new(Field::new(field.name(), plain_data_type(field.data_type()), field.is_nullable()))
}

fn plain_data_type(found: &DataType) -> DataType {
    match found {
        found if found.is_string() => DataType::Binary,
        DataType::Dictionary(_, values) => plain_data_type(values),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_hint).collect()),
        DataType::List(field) => DataType::List(plain_hint(field)),
        DataType::LargeList(field) => DataType::LargeList(plain_hint(field)),
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(plain_hint(field), *size),
        DataType::Map(field, is_sorted) => DataType::Map(plain_hint(field), *is_sorted),
        other => other.clone(),
    }
}

/// Whether columns of a file are encrypted, by its footer, which is not. Decoders call such a footer
/// broken.
pub fn has_encrypted_columns(footer: &[u8]) -> bool {
    /// The field of the footer that names the algorithm.
    const ENCRYPTION_ALGORITHM: i16 = 8;
    let mut is_encrypted = false;
    let read = Thrift(footer).fields(|thrift, id, kind| {
        is_encrypted |= id == ENCRYPTION_ALGORITHM;
        thrift.skip(kind)
    });
    read.is_some() && is_encrypted
}

/// The same footer, with its own types, without what makes decoders refuse it. Errors: offsets that
/// cannot be.
pub fn mended(footer: ParquetMetaData) -> Result<ParquetMetaData> {
    let groups = footer.row_groups().iter().map(plain_group).collect::<Result<Vec<_>>>()?;
    Ok(footer.into_builder().set_row_groups(groups).build())
}

/// Old writers say that a column without a dictionary has one at the start of the file.
fn plain_group(group: &RowGroupMetaData) -> Result<RowGroupMetaData> {
    if group.columns().iter().all(|column| column.dictionary_page_offset() != Some(0)) {
        return Ok(group.clone());
    }
    let columns = group.columns().iter().map(|column| {
        let builder = column.clone().into_builder();
        match column.dictionary_page_offset() {
            Some(0) => builder.set_dictionary_page_offset(None).build(),
            _ => builder.build(),
        }
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    group.clone().into_builder().set_column_metadata(columns).build()
}

fn plain_type(found: &TypePtr) -> Result<TypePtr> {
    let info = found.get_basic_info();
    let id = info.has_id().then(|| info.id());
    if found.is_group() {
        let fields = found.get_fields().iter().map(plain_type).collect::<Result<Vec<_>>>()?;
        let mut builder = Type::group_type_builder(info.name())
            .with_fields(fields)
            .with_converted_type(info.converted_type())
            .with_logical_type(info.logical_type_ref().cloned())
            .with_id(id);
        if info.has_repetition() {
            builder = builder.with_repetition(info.repetition());
        }
        return Ok(Arc::new(builder.build()?));
    }
    let is_text = found.get_physical_type() == PhysicalType::BYTE_ARRAY
        && (matches!(
            info.logical_type_ref(),
            Some(LogicalType::String | LogicalType::Enum | LogicalType::Json | LogicalType::Bson)
        ) || matches!(
            info.converted_type(),
            ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON | ConvertedType::BSON
        ));
    if !is_text {
        return Ok(found.clone());
    }
    let bytes = Type::primitive_type_builder(info.name(), PhysicalType::BYTE_ARRAY)
        .with_repetition(info.repetition())
        .with_id(id);
    Ok(Arc::new(bytes.build()?))
}

/// The columns that hold UUIDs, by their dotted names. They are stored as 16 bytes.
pub fn uuids(footer: &ParquetMetaData) -> BTreeSet<String> {
    let columns = footer.file_metadata().schema_descr().columns().iter();
    let uuids = columns.filter(|column| column.logical_type_ref() == Some(&LogicalType::Uuid));
    uuids.map(|column| column.path().string()).collect()
}

/// The columns without any value in a file, by their dotted names, as far as the footer tells.
pub fn without_values(footer: &ParquetMetaData) -> BTreeSet<String> {
    let columns = footer.file_metadata().schema_descr().columns().iter().enumerate();
    let is_empty = |position: usize| {
        footer.row_groups().iter().all(|group| {
            let column = group.column(position);
            let nulls = column.statistics().and_then(|statistics| statistics.null_count_opt());
            nulls.is_some_and(|nulls| i64::try_from(nulls) == Ok(column.num_values()))
        })
    };
    let empty = columns.filter(|(position, _)| is_empty(*position));
    empty.map(|(_, column)| column.path().string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_footer_names_how_columns_are_encrypted() {
        // 1: a version, 3: no rows, 8: an algorithm without settings.
        let encrypted = [0x15, 4, 0x26, 0, 0x5c, 0x1c, 0, 0, 0];
        assert!(has_encrypted_columns(&encrypted));
        assert!(!has_encrypted_columns(&encrypted[..6]));
        assert!(!has_encrypted_columns(&[0x15, 4, 0x26, 0, 0]));
    }
}
