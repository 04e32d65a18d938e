//! `running_count`: the number of true rows so far.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl,
};

/// `running_count(is_one) over (order by …)`: the number of true rows up to this one, itself
/// included. `count(*) filter (where is_one) over (order by … rows unbounded preceding)` has the
/// same result, but calls its accumulator for each row: 0.1 microseconds instead of an addition.
pub fn running_count() -> WindowUDF {
    let signature = Signature::exact(vec![DataType::Boolean], Volatility::Immutable);
    WindowUDF::from(RunningCount { signature })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RunningCount {
    signature: Signature,
}

impl WindowUDFImpl for RunningCount {
    fn name(&self) -> &str {
        "running_count"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(
        &self,
        _: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Counting))
    }

    fn field(&self, arguments: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(arguments.name(), DataType::Int64, false)))
    }
}

#[derive(Debug)]
struct Counting;

impl PartitionEvaluator for Counting {
    fn evaluate_all(&mut self, columns: &[ArrayRef], _: usize) -> Result<ArrayRef> {
        let mut count = 0;
        let counts = columns[0].as_boolean().iter().map(|is_one| {
            count += i64::from(is_one == Some(true));
            count
        });
        Ok(Arc::new(Int64Array::from_iter_values(counts)))
    }
}
