//! Texts of raw files, which are read as bytes: a byte that is no UTF-8 is a fault of its row, and not
//! of the file.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, GenericListArray, MapArray,
    StringViewArray, StringViewBuilder, StructArray, make_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// `text_of(column)`: bytes, texts or numbers as text. Null where it is empty, or no UTF-8.
pub fn text_of() -> ScalarUDF {
    ScalarUDF::from(Texts::new(Kind::TextOf))
}

/// `is_bad_text(column, text, …)`: whether the bytes in any of these columns are no UTF-8. Each
/// column is followed by what [`text_of`] makes of it, so that nothing is looked at twice.
pub fn is_bad_text() -> ScalarUDF {
    ScalarUDF::from(Texts::new(Kind::IsBadText))
}

/// `readable(column)`: the same column with texts in place of bytes, also within structs and lists, for
/// a view. Bytes that are no UTF-8 are marked, and [`text_of`] knows the mark.
pub fn readable() -> ScalarUDF {
    ScalarUDF::from(Texts::new(Kind::Readable))
}

/// `uuid_text(column)`: the usual text of UUIDs that are stored as 16 bytes.
pub fn uuid_text() -> ScalarUDF {
    ScalarUDF::from(Texts::new(Kind::UuidText))
}

/// Written before the number of a byte that is no UTF-8, in what people read.
pub const ESCAPE: &str = "\\x";
/// The same in a view: no text has it, for it is no character.
const MARK: &str = "\u{10FFFF}";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    TextOf,
    IsBadText,
    Readable,
    UuidText,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Texts {
    kind: Kind,
    signature: Signature,
}

impl Texts {
    fn new(kind: Kind) -> Texts {
        Texts { kind, signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Texts {
    fn name(&self) -> &str {
        match self.kind {
            Kind::TextOf => "text_of",
            Kind::IsBadText => "is_bad_text",
            Kind::Readable => "readable",
            Kind::UuidText => "uuid_text",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match (self.kind, types) {
            (Kind::IsBadText, _) => DataType::Boolean,
            (Kind::Readable, [found]) => readable_type(found),
            _ => DataType::Utf8View,
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let columns = arguments.args.iter().map(|column| column.to_array(rows));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let array: ArrayRef = match (self.kind, columns.as_slice()) {
            (Kind::IsBadText, columns) => Arc::new(bad_texts(columns, rows)?),
            (Kind::Readable, [column]) => readable_array(column, MARK)?,
            (Kind::UuidText, [column]) => Arc::new(uuids(column)),
            (Kind::TextOf, [column]) => Arc::new(without_empty(&texts(column)?)?),
            _ => return exec_err!("{} wants one column", self.name()),
        };
        Ok(ColumnarValue::Array(array))
    }
}

/// The column as texts, null where bytes are no UTF-8.
fn texts(column: &ArrayRef) -> Result<StringViewArray> {
    let Some(bytes) = as_bytes(column)? else {
        let texts = cast(column, &DataType::Utf8View)?.as_string_view().clone();
        // Only a view gives texts, and marks what was bad in them.
        let is_marked = |text: &str| column.data_type().is_string() && text.contains(MARK);
        return Ok(match texts.iter().flatten().any(is_marked) {
            true => texts.iter().map(|text| text.filter(|text| !is_marked(text))).collect(),
            false => texts,
        });
    };
    Ok(match bytes.clone().to_string_view() {
        Ok(texts) => texts,
        Err(_) => {
            bytes.iter().map(|bytes| bytes.and_then(|bytes| str::from_utf8(bytes).ok())).collect()
        }
    })
}

/// Columns of bytes. None for others.
fn as_bytes(column: &ArrayRef) -> Result<Option<BinaryViewArray>> {
    let column = match column.data_type() {
        DataType::FixedSizeBinary(_) => &cast(column, &DataType::Binary)?,
        found if is_bytes(found) => column,
        _ => return Ok(None),
    };
    Ok(Some(cast(column, &DataType::BinaryView)?.as_binary_view().clone()))
}

/// UUIDs as their usual text. Null where the column holds something else.
pub fn uuids(column: &ArrayRef) -> StringViewArray {
    let text = |bytes: &[u8]| Some(uuid::Uuid::from_slice(bytes).ok()?.hyphenated().to_string());
    match column.as_fixed_size_binary_opt() {
        Some(column) => column.iter().map(|bytes| text(bytes?)).collect(),
        None => StringViewArray::new_null(column.len()),
    }
}

fn without_empty(texts: &StringViewArray) -> Result<StringViewArray> {
    // The low half of a view is the length.
    let has_text = BooleanBuffer::collect_bool(texts.len(), |row| texts.views()[row] as u32 != 0);
    if has_text.count_set_bits() == texts.len() {
        return Ok(texts.clone());
    }
    let nulls = NullBuffer::union(texts.nulls(), Some(&NullBuffer::new(has_text)));
    let (views, buffers, _) = texts.clone().into_parts();
    Ok(StringViewArray::try_new(views, buffers, nulls)?)
}

fn bad_texts(columns: &[ArrayRef], rows: usize) -> Result<BooleanArray> {
    let mut is_bad = vec![false; rows];
    for pair in columns.chunks(2) {
        let [column, text] = pair else { return exec_err!("is_bad_text wants columns and texts") };
        if text.null_count() == 0 {
            continue;
        }
        // What is there and no text is bad.
        let has_some: Box<dyn Fn(usize) -> bool> = match as_bytes(column)? {
            Some(bytes) => Box::new(move |row| bytes.is_valid(row) && !bytes.value(row).is_empty()),
            None => {
                let texts = cast(column, &DataType::Utf8View)?.as_string_view().clone();
                Box::new(move |row| texts.is_valid(row) && !texts.value(row).is_empty())
            }
        };
        for (row, is_bad) in is_bad.iter_mut().enumerate() {
            *is_bad |= text.is_null(row) && has_some(row);
        }
    }
    Ok(BooleanArray::from(is_bad))
}

fn is_bytes(found: &DataType) -> bool {
    matches!(found, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

/// The type that [`readable_array`] gives.
pub fn readable_type(found: &DataType) -> DataType {
    let within = |field: &FieldRef| -> FieldRef {
        let data_type = readable_type(field.data_type());
        Arc::new(Field::new(field.name(), data_type, field.is_nullable()))
    };
    match found {
        found if is_bytes(found) => DataType::Utf8View,
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(within).collect::<Fields>()),
        DataType::List(field) => DataType::List(within(field)),
        DataType::LargeList(field) => DataType::LargeList(within(field)),
        DataType::Map(field, is_sorted) => DataType::Map(within(field), *is_sorted),
        other => other.clone(),
    }
}

/// The column with texts in place of bytes. `mark` comes before the number of a byte that is no UTF-8.
pub fn readable_array(column: &ArrayRef, mark: &str) -> Result<ArrayRef> {
    let wanted = readable_type(column.data_type());
    Ok(match (column.data_type(), &wanted) {
        (found, _) if is_bytes(found) => {
            let bytes = cast(column, &DataType::BinaryView)?;
            Arc::new(escaped(bytes.as_binary_view(), mark))
        }
        (_, DataType::Struct(fields)) => {
            let found = column.as_struct();
            let columns =
                found.columns().iter().map(|of| readable_array(of, mark)).collect::<Result<_>>()?;
            let nulls = found.nulls().cloned();
            Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, found.len())?)
        }
        (_, DataType::List(field)) => {
            let (_, offsets, values, nulls) = column.as_list::<i32>().clone().into_parts();
            let values = readable_array(&values, mark)?;
            Arc::new(GenericListArray::<i32>::try_new(field.clone(), offsets, values, nulls)?)
        }
        (_, DataType::LargeList(field)) => {
            let (_, offsets, values, nulls) = column.as_list::<i64>().clone().into_parts();
            let values = readable_array(&values, mark)?;
            Arc::new(GenericListArray::<i64>::try_new(field.clone(), offsets, values, nulls)?)
        }
        (_, DataType::Map(field, is_sorted)) => {
            let (_, offsets, entries, nulls, _) = column.as_map().clone().into_parts();
            let entries: ArrayRef = Arc::new(entries);
            let entries = readable_array(&entries, mark)?.as_struct().clone();
            Arc::new(MapArray::try_new(field.clone(), offsets, entries, nulls, *is_sorted)?)
        }
        _ => make_array(column.to_data()),
    })
}

fn escaped(bytes: &BinaryViewArray, mark: &str) -> StringViewArray {
    if let Ok(texts) = bytes.clone().to_string_view() {
        return texts;
    }
    let mut texts = StringViewBuilder::with_capacity(bytes.len());
    for bytes in bytes {
        texts.append_option(bytes.map(|bytes| escape(bytes, mark)));
    }
    texts.finish()
}

/// Bytes as text, with a mark and a number for each that is no UTF-8.
fn escape(bytes: &[u8], mark: &str) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "{mark}{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    fn column(values: Vec<Option<&[u8]>>) -> ArrayRef {
        Arc::new(BinaryViewArray::from(values))
    }

    #[test]
    fn a_byte_that_is_no_utf8_spoils_its_own_row() {
        let bytes = column(vec![Some(b"caf\xc3\xa9"), Some(b"caf\xe9 au lait"), None, Some(b"")]);
        let texts = without_empty(&texts(&bytes).unwrap()).unwrap();
        assert_eq!(texts.iter().collect::<Vec<_>>(), [Some("café"), None, None, None]);
        let text: ArrayRef = Arc::new(texts.clone());
        let is_bad = bad_texts(&[bytes.clone(), text], 4).unwrap();
        assert_eq!(is_bad, BooleanArray::from(vec![false, true, false, false]));
        let readable = readable_array(&bytes, ESCAPE).unwrap();
        let expected = [Some("café"), Some("caf\\xE9 au lait"), None, Some("")];
        assert_eq!(readable.as_string_view().iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn bytes_within_structs_become_texts() {
        let fields = Fields::from(vec![Field::new("id", DataType::BinaryView, true)]);
        let inner = StructArray::new(fields, vec![column(vec![Some(b"a"), Some(b"\xff")])], None);
        let readable = readable_array(&(Arc::new(inner) as ArrayRef), ESCAPE).unwrap();
        let ids = readable.as_struct().column(0).as_string_view();
        assert_eq!(ids.iter().collect::<Vec<_>>(), [Some("a"), Some("\\xFF")]);
    }
}
