//! Raw rows as JSON: what a rejected row was.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringViewBuilder};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::json::LineDelimitedWriter;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use serde_json::{Map, Value};

use super::texts::{ESCAPE, readable_array};

/// Under this name a record has the columns of the rules, where the log has others.
const READING: &str = "lookback";

/// `raw_record(name, value, …)`: a row as the text of a JSON object. Values are texts, those of
/// structs and lists JSON.
pub fn raw_record() -> ScalarUDF {
    ScalarUDF::from(RawRecord { signature: Signature::variadic_any(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RawRecord {
    signature: Signature,
}

impl ScalarUDFImpl for RawRecord {
    fn name(&self) -> &str {
        "raw_record"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let mut records = vec![Map::new(); rows];
        for pair in arguments.args.chunks(2) {
            let [ColumnarValue::Scalar(name), values] = pair else {
                return exec_err!("raw_record wants names and values in turn");
            };
            let Some(Some(name)) = name.try_as_str() else {
                return exec_err!("raw_record: {name} is no name");
            };
            let values = values_of(&values.to_array(rows)?)?;
            for (record, value) in records.iter_mut().zip(values) {
                record.insert(name.to_owned(), value);
            }
        }
        let mut texts = StringViewBuilder::with_capacity(rows);
        for record in records {
            texts.append_value(Value::Object(record).to_string());
        }
        Ok(ColumnarValue::Array(Arc::new(texts.finish())))
    }
}

/// The values of a column as JSON. What has no such form is told as it can be: a rejected row stops
/// no run.
fn values_of(column: &ArrayRef) -> Result<Vec<Value>> {
    let column = readable_array(column, ESCAPE)?;
    let found = match column.data_type() {
        found if found.is_nested() => nested_values(&column),
        DataType::Timestamp(unit, None) => {
            texts_of(&cast(&column, &DataType::Timestamp(*unit, Some("UTC".into())))?)
        }
        DataType::FixedSizeBinary(_) => {
            texts_of(&readable_array(&cast(&column, &DataType::Binary)?, ESCAPE)?)
        }
        _ => texts_of(&column),
    };
    found.or_else(|_| {
        let options = FormatOptions::default().with_display_error(true);
        let shown = ArrayFormatter::try_new(&column, &options)?;
        let value = |row| match column.is_null(row) {
            true => Value::Null,
            false => shown.value(row).to_string().into(),
        };
        Ok((0..column.len()).map(value).collect())
    })
}

fn texts_of(column: &ArrayRef) -> Result<Vec<Value>> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let texts = cast_with_options(column, &DataType::Utf8View, &strict)?;
    Ok(texts.as_string_view().iter().map(Value::from).collect())
}

fn nested_values(column: &ArrayRef) -> Result<Vec<Value>> {
    let field = Field::new("value", column.data_type().clone(), true);
    let rows = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![column.clone()])?;
    let mut lines = Vec::new();
    let mut writer: LineDelimitedWriter<_> =
        WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut lines);
    writer.write(&rows)?;
    writer.finish()?;
    let lines = serde_json::Deserializer::from_slice(&lines).into_iter::<Map<String, Value>>();
    let values = lines.map(|line| {
        let mut line = line.map_err(|error| DataFusionError::External(error.into()))?;
        Ok(line.remove("value").unwrap_or_default())
    });
    values.collect()
}

/// `with_reading(record, list)`: a record with what the rules read in it, given as names and values
/// in turn. The record itself where there is no list.
pub fn with_reading() -> ScalarUDF {
    ScalarUDF::from(With {
        name: "with_reading",
        signature: Signature::any(2, Volatility::Immutable),
    })
}

/// `with_columns(record, list)`: a record with further columns, given as names and values in turn.
pub fn with_columns() -> ScalarUDF {
    ScalarUDF::from(With {
        name: "with_columns",
        signature: Signature::any(2, Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct With {
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for With {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [records, lists] = arrays.as_slice() else {
            return exec_err!("{} wants a record and a list", self.name);
        };
        let records = cast(records, &DataType::Utf8View)?;
        let records = records.as_string_view();
        let Some(lists) = lists.as_list_opt::<i32>() else {
            return exec_err!("{} wants a list of names and values", self.name);
        };
        let parts = cast(lists.values(), &DataType::Utf8View)?;
        let parts = parts.as_string_view();
        let mut texts = StringViewBuilder::with_capacity(records.len());
        for (row, record) in records.iter().enumerate() {
            if let (Some(record), true) = (record, lists.is_null(row)) {
                texts.append_value(record);
                continue;
            }
            let (from, to) = (lists.value_offsets()[row], lists.value_offsets()[row + 1]);
            let names = (from as usize..to as usize).step_by(2);
            let pairs = names.map(|at| {
                let value = parts.is_valid(at + 1).then(|| parts.value(at + 1));
                (parts.value(at).to_owned(), Value::from(value))
            });
            let mut object: Map<String, Value> =
                record.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
            match self.name {
                "with_reading" => {
                    object.insert(READING.to_owned(), Value::Object(pairs.collect()));
                }
                _ => object.extend(pairs),
            }
            texts.append_value(Value::Object(object).to_string());
        }
        Ok(ColumnarValue::Array(Arc::new(texts.finish())))
    }
}

/// `json_text(record, name)`: the text under a name in a record, as the rules read it: where the log
/// has other columns, the column of the rules. Null where there is none, or no text.
pub fn json_text() -> ScalarUDF {
    ScalarUDF::from(JsonText { signature: Signature::any(2, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonText {
    signature: Signature,
}

impl ScalarUDFImpl for JsonText {
    fn name(&self) -> &str {
        "json_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [objects, ColumnarValue::Scalar(name)] = arguments.args.as_slice() else {
            return exec_err!("json_text wants an object and a name");
        };
        let (ScalarValue::Utf8(Some(name)) | ScalarValue::Utf8View(Some(name))) = name else {
            return exec_err!("json_text: {name} is no name");
        };
        let objects: ArrayRef = objects.to_array(arguments.number_rows)?;
        let objects = cast(&objects, &DataType::Utf8View)?;
        let mut texts = StringViewBuilder::with_capacity(objects.len());
        for object in objects.as_string_view() {
            let object =
                object.map(serde_json::from_str::<Value>).and_then(std::result::Result::ok);
            let text = object.as_ref().and_then(|object| {
                let read = object.get(READING).and_then(|reading| reading.get(name));
                read.or_else(|| object.get(name))?.as_str().filter(|text| !text.is_empty())
            });
            texts.append_option(text);
        }
        Ok(ColumnarValue::Array(Arc::new(texts.finish())))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use arrow::array::{Int64Array, StringArray, StructArray, TimestampMillisecondArray};
    use arrow::datatypes::Fields;

    use super::*;

    #[test]
    fn values_are_texts_and_nested_ones_json() {
        let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![Some(0), None]));
        let texts = values_of(&times).unwrap();
        assert_eq!(texts, [Value::from("1970-01-01T00:00:00Z"), Value::Null]);
        let fields = Fields::from(vec![
            Field::new("id", DataType::Utf8, true),
            Field::new("n", DataType::Int64, true),
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![Some("a"), None])),
            Arc::new(Int64Array::from(vec![1, 2])),
        ];
        let user: ArrayRef = Arc::new(StructArray::new(fields, columns, None));
        let values = values_of(&user).unwrap();
        assert_eq!(values[0].to_string(), r#"{"id":"a","n":1}"#);
        assert_eq!(values[1].to_string(), r#"{"id":null,"n":2}"#);
    }
}
