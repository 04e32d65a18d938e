//! The query engine: a session that runs the SQL files over stored tables (Parquet files) and over
//! temporary tables of the run.
//!
//! Invariants: only this folder makes DataFusion sessions (a ban in `clippy.toml`). A model's text
//! is parsed unchanged and its parameters are bound as values: no SQL is built from strings.
//! Refuses to know what a table means.

pub mod elsewhere;
pub mod footer;
pub mod functions;
mod lookup_join;
mod materialise;
pub mod parquet_table;
pub mod read_ahead;
pub mod remote_scan;
pub mod scratch;
mod session;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use datafusion::catalog::MemorySchemaProvider;
use datafusion::catalog::TableProvider;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::datasource::MemTable;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::{ExecutionPlan, execute_stream_partitioned};
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use futures::{StreamExt, TryStreamExt, stream};

use crate::location::Location;
use crate::model::Model;
use crate::view;
use elsewhere::Elsewhere;
use scratch::{Scratch, ScratchTable};
pub use session::{Tuning, session_of_a_worker, settings};
use session::{in_order_read, runtime, settings_elsewhere};

/// Values for the `$names` of the SQL files, by name.
pub type Params = HashMap<&'static str, ScalarValue>;

/// Texts that replace SQL files, by the table's name. Tests break a table with them.
pub type SqlOverrides = BTreeMap<&'static str, String>;

/// A session, and the temporary tables of a run.
pub struct Engine {
    session: SessionContext,
    sql_overrides: SqlOverrides,
    scratch: Arc<Scratch>,
    temporary: Mutex<BTreeMap<String, Arc<ScratchTable>>>,
    /// Who runs the plans. None: this process.
    elsewhere: Option<Arc<dyn Elsewhere>>,
}

/// The schemas of the catalog.
const SCHEMAS: [&str; 11] = [
    "raw",
    "input",
    "reference",
    "rule",
    "clean",
    "attribution",
    "report",
    "view",
    "explain",
    "changed",
    "stale",
];

impl Engine {
    pub fn new(tuning: &Tuning, sql_overrides: SqlOverrides) -> Result<Engine> {
        let config = settings(SessionConfig::new(), tuning);
        let scratch = Arc::new(Scratch::new(tuning.memory.is_some())?);
        let runtime = runtime(tuning, &scratch)?;
        Engine::of(config, runtime, scratch, sql_overrides, None)
    }

    /// An engine whose plans run elsewhere. It has none of the tables.
    pub fn working(&self, elsewhere: Arc<dyn Elsewhere>) -> Result<Engine> {
        let config = settings_elsewhere(self.session.copied_config(), elsewhere.as_ref());
        let (runtime, scratch) = (self.session.runtime_env(), self.scratch.clone());
        Engine::of(config, runtime, scratch, self.sql_overrides.clone(), Some(elsewhere))
    }

    /// Who runs the plans. None: this process.
    pub fn elsewhere(&self) -> Option<&Arc<dyn Elsewhere>> {
        self.elsewhere.as_ref()
    }

    /// An engine for parallel work. It shares the memory limit and the scratch folder, and has none
    /// of the tables.
    pub fn fork(&self) -> Result<Engine> {
        let (config, runtime) = (self.session.copied_config(), self.session.runtime_env());
        let (scratch, sql_overrides) = (self.scratch.clone(), self.sql_overrides.clone());
        Engine::of(config, runtime, scratch, sql_overrides, self.elsewhere.clone())
    }

    fn of(
        config: SessionConfig,
        runtime: Arc<RuntimeEnv>,
        scratch: Arc<Scratch>,
        sql_overrides: SqlOverrides,
        elsewhere: Option<Arc<dyn Elsewhere>>,
    ) -> Result<Engine> {
        let mut rules = PhysicalOptimizer::new().rules;
        // Elsewhere only the engine's own operators are known.
        if elsewhere.is_none() {
            rules.push(Arc::new(lookup_join::UseLookupJoins));
        }
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            .with_physical_optimizer_rules(rules);
        #[expect(clippy::disallowed_methods, reason = "here sessions are made")]
        let session = {
            let mut state = state.build();
            functions::register(&mut state)?;
            SessionContext::new_with_state(state)
        };
        let catalog = session.catalog("datafusion").context("the default catalog is missing")?;
        for schema in SCHEMAS {
            catalog.register_schema(schema, Arc::new(MemorySchemaProvider::new()))?;
        }
        let temporary = Mutex::default();
        let engine = Engine { session, sql_overrides, scratch, temporary, elsewhere };
        engine.add_store(&Location::parse(
            &engine.scratch.path().to_string_lossy(),
            Path::new("/"),
        )?)?;
        Ok(engine)
    }

    /// Plans a user's query over the registered tables. Errors: a statement that writes or changes
    /// the session; SQL that does not parse; unknown names.
    pub async fn read_only(&self, sql: &str) -> datafusion::common::Result<DataFrame> {
        let read_only = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        self.session.sql_with_options(sql, read_only).await
    }

    /// Plans a view of the job file over a table `raw` of these columns. Errors: names that are not
    /// there; types that do not fit.
    pub async fn plan_over(
        &self,
        sql: &str,
        raw: &Schema,
    ) -> datafusion::common::Result<LogicalPlan> {
        let external = |error: anyhow::Error| DataFusionError::External(error.into());
        let fork = self.fork().map_err(external)?;
        let table = MemTable::try_new(Arc::new(raw.clone()), vec![Vec::new()])?;
        fork.session.register_table(view::RAW, Arc::new(table))?;
        fork.session.state().create_logical_plan(sql).await
    }

    /// Plans a view of the job file over the rows of `raw`. Errors: names that are not there; types
    /// that do not fit.
    pub async fn plan_view(
        &self,
        sql: &str,
        raw: DataFrame,
    ) -> datafusion::common::Result<LogicalPlan> {
        let external = |error: anyhow::Error| DataFusionError::External(error.into());
        let fork = self.fork().map_err(external)?;
        fork.session.register_table(view::RAW, raw.into_view())?;
        fork.session.state().create_logical_plan(sql).await
    }

    /// No rows with these columns.
    pub fn nothing(&self, schema: &Schema) -> Result<DataFrame> {
        let table = MemTable::try_new(Arc::new(schema.clone()), vec![Vec::new()])?;
        self.read(Arc::new(table))
    }

    /// The rows of a plan.
    pub fn frame(&self, plan: LogicalPlan) -> DataFrame {
        DataFrame::new(self.session.state(), plan)
    }

    /// The names of the functions that a query may call, sorted.
    pub fn function_names(&self) -> BTreeSet<String> {
        let state = self.session.state();
        let names = state.scalar_functions().keys().chain(state.aggregate_functions().keys());
        names.chain(state.window_functions().keys()).cloned().collect()
    }

    /// The rows of a registered table.
    pub async fn table(&self, name: &str) -> Result<DataFrame> {
        Ok(self.session.table(name).await?)
    }

    /// The rows of a table that is not registered.
    pub fn read(&self, table: Arc<dyn TableProvider>) -> Result<DataFrame> {
        Ok(self.session.read_table(table)?)
    }

    /// Makes the location's store reachable for queries.
    pub fn add_store(&self, location: &Location) -> Result<()> {
        let url = location.store_url()?;
        self.session.register_object_store(url.as_ref(), location.store().clone());
        Ok(())
    }

    /// Registers a table as `layer.table`. It replaces the table of that name.
    pub fn register(&self, name: &str, table: Arc<dyn TableProvider>) -> Result<()> {
        self.session.deregister_table(name)?;
        self.session.register_table(name, table)?;
        Ok(())
    }

    /// Registers a model as a view: its query is part of each query that names it. What it reads is
    /// registered already.
    pub async fn register_view(&self, model: &Model) -> Result<()> {
        let rows = self.plan(model, &Params::new()).await?;
        self.register(model.name, rows.into_view())
    }

    /// Plans a model with its parameters. Errors: SQL that does not parse or plan, which tests rule
    /// out.
    pub async fn plan(&self, model: &Model, params: &Params) -> Result<DataFrame> {
        self.plan_in(self.session.state(), model, params).await
    }

    async fn plan_in(
        &self,
        state: SessionState,
        model: &Model,
        params: &Params,
    ) -> Result<DataFrame> {
        let frame = timed("logical plan", self.plan_sql(state, model, params)).await;
        frame.with_context(|| format!("cannot plan {}", model.name))
    }

    async fn plan_sql(
        &self,
        state: SessionState,
        model: &Model,
        params: &Params,
    ) -> Result<DataFrame> {
        let state = if model.keeps_order { in_order_read(state) } else { state };
        let dialect = state.config().options().sql_parser.dialect;
        let sql = self.sql_overrides.get(model.name).map_or(model.sql, String::as_str);
        let statement = state.sql_to_statement(sql, &dialect)?;
        let plan = state.statement_to_plan(statement).await?;
        let values: Vec<(&str, ScalarValue)> = params
            .iter()
            .filter(|(name, _)| model.params.contains(**name))
            .map(|(name, value)| (*name, value.clone()))
            .collect();
        let plan = plan.with_param_values(values)?;
        Ok(DataFrame::new(state, plan))
    }

    /// Runs a model and streams its rows, partition after partition. Without an `order by` they
    /// come in the order of the tables that are read.
    pub async fn stream(
        &self,
        model: &Model,
        params: &Params,
    ) -> Result<SendableRecordBatchStream> {
        self.stream_in(self.session.state(), model, params).await
    }

    /// The same on so many cores, at least one. For many queries that run in parallel.
    pub async fn stream_on(
        &self,
        cores: usize,
        model: &Model,
        params: &Params,
    ) -> Result<SendableRecordBatchStream> {
        self.stream_in(self.with_cores(cores), model, params).await
    }

    async fn stream_in(
        &self,
        state: SessionState,
        model: &Model,
        params: &Params,
    ) -> Result<SendableRecordBatchStream> {
        let frame = self.plan_in(state, model, params).await?;
        let run = async {
            let task = Arc::new(frame.task_ctx());
            let plan = timed("physical plan", frame.create_physical_plan()).await?;
            let schema = plan.schema();
            let partitions = execute_stream_partitioned(plan.clone(), task)?;
            let partitions: Vec<_> = partitions.into_iter().map(prefetch).collect();
            let trace = TraceOnDrop { what: model.name, plan };
            let rows = stream::iter(partitions).flatten().inspect(move |_| _ = &trace);
            let rows: SendableRecordBatchStream =
                Box::pin(RecordBatchStreamAdapter::new(schema, rows));
            anyhow::Ok(rows)
        };
        run.await.with_context(|| format!("cannot run {}", model.name))
    }

    /// Plans a model to its operators, on so many cores, at least one.
    pub async fn plan_on(
        &self,
        cores: usize,
        model: &Model,
        params: &Params,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let frame = self.plan_in(self.with_cores(cores), model, params).await?;
        let plan = timed("physical plan", frame.create_physical_plan()).await;
        plan.with_context(|| format!("cannot plan {}", model.name))
    }

    /// Collects the rows of a frame, for small answers.
    pub async fn rows_of(&self, what: &str, frame: DataFrame) -> Result<Vec<RecordBatch>> {
        match &self.elsewhere {
            Some(elsewhere) => elsewhere.collect(what, frame.create_physical_plan().await?).await,
            None => Ok(frame.collect().await?),
        }
    }

    /// Runs a model and collects its rows, for small answers.
    pub async fn collect(&self, model: &Model, params: &Params) -> Result<Vec<RecordBatch>> {
        if self.elsewhere.is_some() {
            let frame = self.plan(model, params).await?;
            let rows = timed(model.name, self.rows_of(model.name, frame)).await;
            return rows.with_context(|| format!("cannot run {}", model.name));
        }
        let rows = self.stream(model, params).await?.try_collect();
        timed(model.name, rows).await.with_context(|| format!("cannot run {}", model.name))
    }

    fn with_cores(&self, cores: usize) -> SessionState {
        let mut state = self.session.state();
        let options = state.config_mut().options_mut();
        options.execution.target_partitions = cores.max(1);
        // Sorting pieces and merging them is faster only if each piece has its own core.
        options.optimizer.repartition_sorts = cores > 1;
        state
    }
}

/// The same rows, computed ahead in a separate task.
fn prefetch(mut rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let mut builder = RecordBatchReceiverStream::builder(rows.schema(), 4);
    let to = builder.tx();
    builder.spawn(async move {
        while let Some(batch) = rows.next().await {
            if to.send(batch).await.is_err() {
                break;
            }
        }
        Ok(())
    });
    builder.build()
}

/// Logs how long a step took (`LOOKBACK_LOG=lookback=debug`).
pub async fn timed<T>(what: &str, step: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let done = step.await;
    tracing::debug!(what, seconds = format!("{:.3}", begun.elapsed().as_secs_f64()), "done");
    done
}

/// Logs what a plan's operators did when the plan is dropped (`LOOKBACK_LOG=lookback=trace`).
struct TraceOnDrop {
    what: &'static str,
    plan: Arc<dyn ExecutionPlan>,
}

impl Drop for TraceOnDrop {
    fn drop(&mut self) {
        if tracing::enabled!(tracing::Level::TRACE) {
            let plan = DisplayableExecutionPlan::with_metrics(self.plan.as_ref());
            tracing::trace!("{}\n{}", self.what, plan.indent(false));
        }
    }
}
