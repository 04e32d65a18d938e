//! Sends a plan to the workers: the engine's planner cuts it into tasks, and streams come back.

use std::sync::Arc;

use anyhow::{Result, ensure};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, Result as EngineResult};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SendableRecordBatchStream, SessionState, SessionStateBuilder};
use datafusion::logical_expr::{EmptyRelation, LogicalPlan};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::prelude::SessionConfig;
use datafusion_distributed::{
    DesiredTaskCountEvent, DesiredTaskCountEventResponse, DistributedExec, DistributedExt,
    DistributedLeafExec, ScaleUpLeafNodeEvent, ScaleUpLeafNodeEventResponse,
    SessionStateBuilderExt,
};
use tonic::codegen::http::{HeaderMap, HeaderValue};
use url::Url;

use super::codec::Codec;
use super::roster::{Answering, Only, Roster};
use crate::engine::remote_scan::RemoteScan;
use crate::engine::{Tuning, settings};

/// The header that names the run, so that a worker keeps what it read apart from other runs.
pub const RUN: &str = "lookback-run";

/// The header that names the program that made the plans. Workers may have been replaced since they
/// were asked.
pub const PROGRAM: &str = "lookback-program";

/// A session that only sends.
pub struct Sender {
    roster: Arc<Roster>,
    state: SessionState,
}

impl Sender {
    /// `partitions` are those of one task, `piece` the bytes that are worth one.
    pub fn new(
        roster: Arc<Roster>,
        run_id: &str,
        partitions: usize,
        piece: usize,
    ) -> Result<Sender> {
        let tuning = Tuning { partitions, ..Tuning::default() };
        let config = settings(SessionConfig::new(), &tuning);
        let mut headers = HeaderMap::new();
        headers.insert(RUN, HeaderValue::from_str(run_id)?);
        headers.insert(PROGRAM, HeaderValue::from_str(&roster.program)?);
        let state = SessionStateBuilder::new()
            .with_default_features()
            .with_config(config)
            .with_distributed_worker_resolver(Answering(roster.clone()))
            .with_distributed_channel_resolver(roster.channels.clone())
            .with_distributed_user_codec(Codec::default())
            .with_distributed_passthrough_headers(headers)?
            .with_distributed_metrics_collection(false)?
            .with_distributed_file_scan_config_bytes_per_partition(piece)?
            .with_distributed_desired_task_count_handler(tasks_of_a_leaf)
            .with_distributed_scale_up_leaf_node_handler(divided)
            .build();
        Ok(Sender { roster, state })
    }

    /// Runs a plan on the workers. Errors: it cannot be planned or sent; it would run here.
    pub async fn send(&self, plan: Arc<dyn ExecutionPlan>) -> Result<SendableRecordBatchStream> {
        let members = self.roster.members()?;
        self.send_in(self.state.clone(), members.len(), plan).await
    }

    /// The same on one worker.
    pub async fn send_to(
        &self,
        worker: &Url,
        plan: Arc<dyn ExecutionPlan>,
    ) -> Result<SendableRecordBatchStream> {
        let state = SessionStateBuilder::new_from_existing(self.state.clone())
            .with_distributed_worker_resolver(Only(worker.clone()))
            .build();
        self.send_in(state, 1, plan).await
    }

    async fn send_in(
        &self,
        state: SessionState,
        workers: usize,
        plan: Arc<dyn ExecutionPlan>,
    ) -> Result<SendableRecordBatchStream> {
        // One task would be planned into the driver, so a single worker gets two.
        let tasks = workers.max(2);
        let state = SessionStateBuilder::new_from_existing(state)
            .with_query_planner(Arc::new(Planned(plan)))
            .with_distributed_planner()
            .with_distributed_max_tasks_per_stage(tasks)?
            .build();
        let nothing = EmptyRelation { produce_one_row: false, schema: DFSchema::empty().into() };
        let nothing = LogicalPlan::EmptyRelation(nothing);
        let plan = state.query_planner().create_physical_plan(&nothing, &state).await?;
        ensure!(plan.is::<DistributedExec>(), "the plan would run in the driver");
        Ok(plan.execute(0, state.task_ctx())?)
    }
}

/// A planner for a plan that is there already.
#[derive(Debug)]
struct Planned(Arc<dyn ExecutionPlan>);

#[async_trait]
impl QueryPlanner for Planned {
    async fn create_physical_plan(
        &self,
        _: &LogicalPlan,
        _: &dyn Session,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        Ok(self.0.clone())
    }
}

/// How many tasks a leaf is worth. A leaf of one partition is never divided: what stands above it may
/// rely on seeing all rows. (The engine's own rule divides it, and rows come out wrong; see
/// `docs/upstream.md`.)
fn tasks_of_a_leaf(
    event: DesiredTaskCountEvent<'_>,
) -> Option<EngineResult<DesiredTaskCountEventResponse>> {
    if !event.plan.children().is_empty() {
        return None;
    }
    if event.plan.output_partitioning().partition_count() == 1 {
        return Some(Ok(DesiredTaskCountEventResponse::maximum(1)));
    }
    let scan = event.plan.downcast_ref::<RemoteScan>()?;
    let each = scan.piece.max(1) * event.session_config.target_partitions().max(1) as u64;
    let tasks = usize::try_from(scan.bytes().div_ceil(each)).unwrap_or(usize::MAX);
    Some(Ok(DesiredTaskCountEventResponse::desired(tasks.max(1))))
}

/// Divides a scan of raw files among tasks.
fn divided(event: ScaleUpLeafNodeEvent<'_>) -> Option<EngineResult<ScaleUpLeafNodeEventResponse>> {
    let scan = event.plan.downcast_ref::<RemoteScan>()?;
    let divide = || {
        let parts = scan.divided(event.task_count)?.into_iter();
        let parts = parts.map(|part| Arc::new(part) as Arc<dyn ExecutionPlan>);
        let leaf = DistributedLeafExec::try_new(event.plan.clone(), parts)?;
        Ok(ScaleUpLeafNodeEventResponse::new(Arc::new(leaf)))
    };
    Some(divide())
}
