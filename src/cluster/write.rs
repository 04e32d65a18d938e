//! The operator on top of each plan: it writes the rows and hands on what it wrote.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use arrow::array::{RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result as EngineResult, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning,
    PlanProperties,
};
use datafusion_distributed::DistributedTaskContext;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

use super::needs::Needs;
use crate::engine::elsewhere::Order;
use crate::engine::scratch::{ScratchOrder, write_objects};
use crate::location::{Location, Stores};
use crate::progress::tick;
use crate::warehouse::write::{TableOrder, as_ordered};

/// How many of these write in this process.
static WRITING: AtomicU64 = AtomicU64::new(0);

pub fn writing() -> u64 {
    WRITING.load(Ordering::Relaxed)
}

/// What it does, as it travels.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    pub order: Order,
    /// The plan's number in its query.
    number: u64,
    /// Which attempt at the query this is.
    attempt: u32,
}

/// Writes its input as ordered. Its rows are reports: the plan's number, the task and the partition
/// that wrote, how many such writers the plan has, and what was written. A writer without rows reports
/// a null, so that one that is missing is noticed.
#[derive(Debug)]
pub struct WriteExec {
    pub input: Arc<dyn ExecutionPlan>,
    pub task: Task,
    /// None in the driver, where it never runs.
    stores: Option<Stores>,
    properties: Arc<PlanProperties>,
}

impl WriteExec {
    /// Puts it on a plan. A stored table is written in one piece.
    pub fn on(
        plan: Arc<dyn ExecutionPlan>,
        order: &Order,
        number: usize,
        attempt: u32,
    ) -> Result<WriteExec> {
        let input = match order {
            Order::Table(_) => in_one_piece(plan),
            Order::Scratch(_) | Order::Count | Order::Look(_) => plan,
        };
        let task = Task { order: order.clone(), number: number as u64, attempt };
        Ok(WriteExec::new(input, task, None))
    }

    pub fn new(input: Arc<dyn ExecutionPlan>, task: Task, stores: Option<Stores>) -> WriteExec {
        let partitions = input.output_partitioning().partition_count();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        WriteExec { input, task, stores, properties: Arc::new(properties) }
    }
}

fn in_one_piece(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    if plan.output_partitioning().partition_count() == 1 {
        return plan;
    }
    match plan.output_ordering().cloned() {
        Some(order) => Arc::new(SortPreservingMergeExec::new(order, plan)),
        None => Arc::new(CoalescePartitionsExec::new(plan)),
    }
}

fn schema() -> SchemaRef {
    let number = |name| Field::new(name, DataType::UInt64, false);
    let report = Field::new("report", DataType::Utf8, true);
    let numbers = ["plan", "task", "partition", "writers"].map(number);
    Arc::new(Schema::new(numbers.into_iter().chain([report]).collect::<Vec<_>>()))
}

async fn write(
    mut rows: SendableRecordBatchStream,
    task: &Task,
    stores: &Stores,
    context: &Arc<TaskContext>,
) -> Result<Vec<String>> {
    let texts = match &task.order {
        Order::Scratch(order) => {
            let order: ScratchOrder = serde_json::from_str(order)?;
            let folder = Location::parse_in(stores, &order.folder, std::path::Path::new("/"))?;
            let reports = write_objects(rows, &order, &folder).await?;
            reports.iter().map(serde_json::to_string).collect::<Result<_, _>>()
        }
        Order::Table(order) => {
            let order: TableOrder = serde_json::from_str(order)?;
            let reports = as_ordered(rows, &order, task.attempt, stores).await?;
            reports.iter().map(serde_json::to_string).collect::<Result<_, _>>()
        }
        Order::Look(needs) => {
            let needs: Needs = serde_json::from_str(needs)?;
            Ok(needs.look(stores, context).await?)
        }
        Order::Count => {
            let mut count = 0;
            while let Some(batch) = rows.try_next().await? {
                tick();
                count += batch.num_rows();
            }
            Ok(vec![count.to_string()])
        }
    };
    Ok(texts?)
}

/// Counts who writes.
struct Writing;

impl Writing {
    fn begin() -> Writing {
        WRITING.fetch_add(1, Ordering::Relaxed);
        Writing
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        WRITING.fetch_sub(1, Ordering::Relaxed);
    }
}

impl DisplayAs for WriteExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.task.order {
            Order::Scratch(_) => write!(f, "WriteExec: temporary table"),
            Order::Table(_) => write!(f, "WriteExec: stored table"),
            Order::Count => write!(f, "WriteExec: a count"),
            Order::Look(_) => write!(f, "WriteExec: what is seen"),
        }
    }
}

impl ExecutionPlan for WriteExec {
    fn name(&self) -> &str {
        "WriteExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> EngineResult<TreeNodeRecursion>,
    ) -> EngineResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        match children.as_slice() {
            [input] => {
                let (input, task) = (input.clone(), self.task.clone());
                Ok(Arc::new(WriteExec::new(input, task, self.stores.clone())))
            }
            _ => internal_err!("WriteExec has one input"),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> EngineResult<SendableRecordBatchStream> {
        let Some(stores) = self.stores.clone() else {
            return internal_err!("rows would be written by the driver");
        };
        let (task, place) = (self.task.clone(), DistributedTaskContext::from_ctx(&context));
        let writers = self.properties.partitioning.partition_count() * place.task_count;
        let rows = self.input.execute(partition, context.clone())?;
        let reports = async move {
            let _counted = Writing::begin();
            let reports = write(rows, &task, &stores, &context).await.map_err(as_engine_error)?;
            let mut reports: Vec<Option<String>> = reports.into_iter().map(Some).collect();
            if reports.is_empty() {
                reports.push(None);
            }
            let all = |number: u64| Arc::new(UInt64Array::from(vec![number; reports.len()]));
            let columns: Vec<arrow::array::ArrayRef> = vec![
                all(task.number),
                all(place.task_index as u64),
                all(partition as u64),
                all(writers as u64),
                Arc::new(StringArray::from(reports.clone())),
            ];
            Ok(RecordBatch::try_new(schema(), columns)?)
        };
        let reports = futures::stream::once(reports);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema(), reports)))
    }
}

/// An error of the input as it is, so that what it means is not lost on its way. An error of a store is
/// one by its kind, for its text alone arrives.
fn as_engine_error(error: anyhow::Error) -> DataFusionError {
    if error.chain().any(|cause| cause.is::<object_store::Error>()) {
        let (store, source) = ("of a worker", format!("{error:#}").into());
        return DataFusionError::ObjectStore(Box::new(object_store::Error::Generic {
            store,
            source,
        }));
    }
    match error.downcast::<DataFusionError>() {
        Ok(error) => error,
        Err(error) => DataFusionError::Execution(format!("{error:#}")),
    }
}
