//! `row_key`: numbers that are unique across buckets.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// Bits for the row number within a bucket.
const ROW_BITS: u32 = 40;

/// `row_key(bucket, row_number() over ())`: a number that no other row of any bucket has; null for
/// null. Errors: a bucket or a row number that is negative or too large.
pub fn row_key() -> ScalarUDF {
    ScalarUDF::from(RowKey { signature: Signature::any(2, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RowKey {
    signature: Signature,
}

impl ScalarUDFImpl for RowKey {
    fn name(&self) -> &str {
        "row_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&arguments.args)?;
        let buckets = cast(&columns[0], &DataType::Int64)?;
        let numbers = cast(&columns[1], &DataType::Int64)?;
        let rows = buckets.as_primitive::<Int64Type>().iter();
        let rows = rows.zip(numbers.as_primitive::<Int64Type>());
        let keys = rows.map(|(bucket, number)| bucket.zip(number).map(key).transpose());
        Ok(ColumnarValue::Array(Arc::new(keys.collect::<Result<Int64Array>>()?)))
    }
}

fn key((bucket, number): (i64, i64)) -> Result<i64> {
    let is_number = (0..1 << ROW_BITS).contains(&number);
    let is_bucket = (0..1 << (62 - ROW_BITS)).contains(&bucket);
    match is_number && is_bucket {
        true => Ok((bucket << ROW_BITS) + number),
        false => exec_err!("row_key: bucket {bucket} or row {number} is out of range"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    #[test]
    fn no_two_rows_share_a_key() {
        assert!(key((0, (1 << ROW_BITS) - 1)).unwrap() < key((1, 0)).unwrap());
        assert!(key((1, 7)).unwrap() != key((7, 1)).unwrap());
        assert!(key((0, 1 << ROW_BITS)).is_err() && key((-1, 0)).is_err());
    }
}
