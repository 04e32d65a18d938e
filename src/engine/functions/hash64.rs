//! `hash64`: a number for a text.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::hash_utils::{QualityRandomState, create_hashes};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// `hash64(text, …)`: a number for one or several texts, the same in every run. A single null has
/// no number. Among several texts, null is a value like others. Equal texts have equal numbers.
/// Different texts hardly ever do. So a number that occurs once belongs to a text that occurs once.
pub fn hash64() -> ScalarUDF {
    let signature = Signature::variadic(vec![DataType::Utf8View], Volatility::Immutable);
    ScalarUDF::from(Hash64 { signature })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Hash64 {
    signature: Signature,
}

impl ScalarUDFImpl for Hash64 {
    fn name(&self) -> &str {
        "hash64"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let texts = ColumnarValue::values_to_arrays(&arguments.args)?;
        let hashes = hashes(&texts)?.into_iter().map(u64::cast_signed).collect::<Vec<_>>();
        let nulls: Option<NullBuffer> = match texts.as_slice() {
            [text] => text.logical_nulls(),
            _ => None,
        };
        Ok(ColumnarValue::Array(Arc::new(Int64Array::new(hashes.into(), nulls))))
    }
}

/// A hash for each row. `columns` are of equal length; without columns there are no rows.
pub fn hashes(columns: &[ArrayRef]) -> Result<Vec<u64>> {
    let rows = columns.first().map_or(0, |column| column.len());
    let mut hashes = vec![0; rows];
    create_hashes(columns, &QualityRandomState::with_seed(0), &mut hashes)?;
    Ok(hashes)
}
