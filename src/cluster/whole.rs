//! Rows of a task come whole, or end with an error.
//!
//! The engine's streams between processes end without a word when the task that fills them panics, and
//! whoever reads them takes that for the end of the rows. So a panic becomes an error below them.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions,
};
use datafusion_distributed::{WorkerPlanRewriteEvent, WorkerPlanRewriteEventResponse};
use futures::StreamExt;

/// Operators that the engine puts on a task's plan, and looks for there.
const HEADS: [&str; 2] = ["RepartitionExec", "BroadcastExec"];

/// Puts the operator on the plan of a task, or below what the engine puts on it.
pub fn whole(event: WorkerPlanRewriteEvent<'_>) -> Result<WorkerPlanRewriteEventResponse> {
    let plan = event.plan;
    let plan = match HEADS.contains(&plan.name()) {
        true => {
            let inputs = plan.children().into_iter().cloned().map(WholeExec::over).collect();
            let anew = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
            plan.replace_children(inputs, anew)?
        }
        false => WholeExec::over(plan),
    };
    Ok(WorkerPlanRewriteEventResponse::new(plan))
}

/// Hands on the rows of its input.
#[derive(Debug)]
struct WholeExec(Arc<dyn ExecutionPlan>);

impl WholeExec {
    fn over(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Arc::new(WholeExec(input))
    }
}

fn panicked(panic: &(dyn Any + Send)) -> DataFusionError {
    let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    let text = text.unwrap_or_else(|| "without a word".to_owned());
    DataFusionError::Execution(format!("a worker panicked: {text}"))
}

fn told(rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let schema = rows.schema();
    let rows = AssertUnwindSafe(rows).catch_unwind();
    let rows = rows.map(|batch: std::result::Result<Result<RecordBatch>, _>| {
        batch.unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

impl DisplayAs for WholeExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WholeExec")
    }
}

impl ExecutionPlan for WholeExec {
    fn name(&self) -> &str {
        "WholeExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.0.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.0]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.as_slice() {
            [input] => Ok(WholeExec::over(input.clone())),
            _ => internal_err!("WholeExec has one input"),
        }
    }

    fn execute(&self, at: usize, task: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let begun = catch_unwind(AssertUnwindSafe(|| self.0.execute(at, task)));
        begun.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))).map(told)
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Schema;
    use futures::stream;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_of_the_rows() {
        let schema = Arc::new(Schema::empty());
        let rows = stream::iter([1, 2]).map(|number| match number {
            1 => Ok(RecordBatch::new_empty(Arc::new(Schema::empty()))),
            _ => panic!("row {number}"),
        });
        let rows = told(Box::pin(RecordBatchStreamAdapter::new(schema, rows)));
        let rows: Vec<_> = rows.collect().await;
        assert_eq!(rows.len(), 2);
        assert!(rows[0].is_ok());
        let error = rows[1].as_ref().unwrap_err().to_string();
        assert!(error.contains("a worker panicked: row 2"), "{error}");
    }
}
