//! `hash64`: the one function that the SQL files use beyond the engine's own.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::hash_utils::{QualityRandomState, create_hashes};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};

/// A number for a text, the same in every run and null for none. Equal texts have equal numbers;
/// others hardly ever do, so that what has a number of its own is there once.
pub fn hash64() -> ScalarUDF {
    let hash = |arguments: &[ColumnarValue]| -> Result<ColumnarValue> {
        let texts = ColumnarValue::values_to_arrays(arguments)?;
        let hashes = hashes(&texts)?.into_iter().map(u64::cast_signed).collect::<Vec<_>>();
        let nulls = texts[0].logical_nulls();
        Ok(ColumnarValue::Array(Arc::new(Int64Array::new(hashes.into(), nulls))))
    };
    let (text, number) = (DataType::Utf8View, DataType::Int64);
    create_udf("hash64", vec![text], number, Volatility::Immutable, Arc::new(hash))
}

/// A number for each row of some columns, of which there is at least one.
pub fn hashes(columns: &[ArrayRef]) -> Result<Vec<u64>> {
    let rows = columns.first().map_or(0, |column| column.len());
    let mut hashes = vec![0; rows];
    create_hashes(columns, &QualityRandomState::with_seed(0), &mut hashes)?;
    Ok(hashes)
}
