//! `json_text`: one value of a JSON object, as text.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// `json_text(object, name)`: the text under a name in the text of a JSON object, such as the
/// `record` of a rejected row. Null where there is none, or no text.
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
            let object = object.map(serde_json::from_str::<serde_json::Value>);
            let object = object.and_then(std::result::Result::ok);
            texts.append_option(object.as_ref().and_then(|object| object.get(name)?.as_str()));
        }
        Ok(ColumnarValue::Array(Arc::new(texts.finish())))
    }
}
