//! The query engine: a session that runs the SQL files over tables in Parquet files, and over those
//! that are kept for the run only. The only folder that knows DataFusion's session.
//!
//! Refuses to know what a table means, and to put SQL together: a model's text is parsed as it
//! stands, its parameters are bound as values.

mod counted;
pub mod files;
pub mod hash64;
mod keep;
mod local_date;
mod look_up;
mod repeated;
mod scratch;
pub mod write;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use datafusion::catalog::MemorySchemaProvider;
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SendableRecordBatchStream, SessionState, SessionStateBuilder};
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::{ExecutionPlan, execute_stream_partitioned};
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use futures::{StreamExt, TryStreamExt, stream};

use crate::model::Model;
use crate::place::Place;
use scratch::{Scratch, ScratchTable};

/// How the engine splits work. Never changes a row.
#[derive(Debug, Clone)]
pub struct Tuning {
    pub partitions: usize,
    pub batch_size: usize,
    /// Bytes that sorts, joins and aggregates may hold together; beyond it they use disk.
    pub memory: Option<usize>,
    /// Where one row of so many is wanted, or fewer, it pays to find these before the rest of each
    /// row is decoded.
    pub few: u64,
}

impl Default for Tuning {
    fn default() -> Tuning {
        let partitions = std::thread::available_parallelism().map_or(2, usize::from);
        Tuning { partitions, batch_size: 32_768, memory: None, few: 100 }
    }
}

impl Tuning {
    /// As the machine offers, within a limit. Only a part of it can be watched over: windows, files
    /// being read and written and the program itself need memory too. A limit also means one
    /// partition, for an exchange between partitions can come to a halt when it has to use disk.
    pub fn within(memory_limit: Option<usize>) -> Tuning {
        match memory_limit {
            None => Tuning::default(),
            Some(limit) => Tuning { partitions: 1, memory: Some(limit / 2), ..Tuning::default() },
        }
    }
}

/// Values for the `$names` of the SQL files.
pub type Params = HashMap<&'static str, ScalarValue>;

/// Other texts in place of SQL files, by the table's name.
pub type Replacements = BTreeMap<&'static str, String>;

/// A session, and a scratch folder for tables that are kept for the run only.
pub struct Engine {
    session: SessionContext,
    instead: Replacements,
    scratch: Arc<Scratch>,
    /// Tables that are kept for the run.
    kept: Mutex<BTreeMap<String, Arc<ScratchTable>>>,
}

const SCHEMAS: [&str; 6] = ["raw", "reference", "clean", "attribution", "report", "check"];

impl Engine {
    pub fn new(tuning: &Tuning, instead: Replacements) -> Result<Engine> {
        let mut config = SessionConfig::new()
            .with_target_partitions(tuning.partitions.max(1))
            .with_batch_size(tuning.batch_size.max(1))
            .with_information_schema(false);
        let options = config.options_mut();
        options.execution.time_zone = Some("UTC".into());
        options.sql_parser.parse_float_as_decimal = true;
        // Rows are sorted in one piece: to sort pieces and merge them takes longer.
        options.execution.sort_in_place_threshold_bytes = 256 << 20;
        // What fits into memory is looked up where the other rows are: sending these to it costs more.
        options.optimizer.hash_join_single_partition_threshold = 256 << 20;
        options.optimizer.hash_join_single_partition_threshold_rows = 2_000_000;
        let scratch = Arc::new(Scratch::new(tuning.memory.is_some())?);
        let runtime = runtime(tuning, &scratch)?;
        Engine::of(config, runtime, scratch, instead)
    }

    /// One for work that is done beside this one's: knows none of its tables, and shares its memory
    /// and its scratch folder.
    pub fn beside(&self) -> Result<Engine> {
        let (config, runtime) = (self.session.copied_config(), self.session.runtime_env());
        Engine::of(config, runtime, self.scratch.clone(), self.instead.clone())
    }

    fn of(
        config: SessionConfig,
        runtime: Arc<RuntimeEnv>,
        scratch: Arc<Scratch>,
        instead: Replacements,
    ) -> Result<Engine> {
        let mut rules = PhysicalOptimizer::new().rules;
        rules.push(Arc::new(look_up::LookUps));
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            .with_physical_optimizer_rules(rules);
        let session = SessionContext::new_with_state(state.build());
        session.register_udf(hash64::hash64());
        session.register_udf(local_date::local_date());
        session.register_udaf(repeated::repeated());
        session.register_udwf(counted::counted());
        let catalog = session.catalog("datafusion").context("the default catalog is missing")?;
        for schema in SCHEMAS {
            catalog.register_schema(schema, Arc::new(MemorySchemaProvider::new()))?;
        }
        let engine = Engine { session, instead, scratch, kept: Mutex::default() };
        engine
            .add_store(&Place::parse(&engine.scratch.path().to_string_lossy(), Path::new("/"))?)?;
        Ok(engine)
    }

    pub fn session(&self) -> &SessionContext {
        &self.session
    }

    /// Makes the place's store reachable for queries.
    pub fn add_store(&self, place: &Place) -> Result<()> {
        let url = place.store_url()?;
        self.session.register_object_store(url.as_ref(), place.store().clone());
        Ok(())
    }

    /// Makes a table known under `layer.table`, in place of what had that name.
    pub fn register(&self, name: &str, table: Arc<dyn TableProvider>) -> Result<()> {
        self.session.deregister_table(name)?;
        self.session.register_table(name, table)?;
        Ok(())
    }

    /// Plans a model with its parameters. Errors: the SQL does not parse or plan, which tests
    /// rule out.
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
        let sql = self.instead.get(model.name).map_or(model.sql, String::as_str);
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

    /// Runs a model and hands out its rows as they come, partition after partition: without an
    /// `order by` rows are in the order of the tables that are read.
    pub async fn stream(
        &self,
        model: &Model,
        params: &Params,
    ) -> Result<SendableRecordBatchStream> {
        self.stream_in(self.session.state(), model, params).await
    }

    /// The same on some of the cores, at least one, for work that is done for many partitions side
    /// by side.
    pub async fn stream_on(
        &self,
        cores: usize,
        model: &Model,
        params: &Params,
    ) -> Result<SendableRecordBatchStream> {
        self.stream_in(self.on(cores), model, params).await
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
            let partitions: Vec<_> = partitions.into_iter().map(ahead).collect();
            let told = Told { what: model.name, plan };
            let rows = stream::iter(partitions).flatten().inspect(move |_| _ = &told);
            let rows: SendableRecordBatchStream =
                Box::pin(RecordBatchStreamAdapter::new(schema, rows));
            anyhow::Ok(rows)
        };
        run.await.with_context(|| format!("cannot run {}", model.name))
    }

    /// Runs a model and collects its rows, for small answers.
    pub async fn collect(&self, model: &Model, params: &Params) -> Result<Vec<RecordBatch>> {
        let rows = self.stream(model, params).await?.try_collect();
        timed(model.name, rows).await.with_context(|| format!("cannot run {}", model.name))
    }

    fn on(&self, cores: usize) -> SessionState {
        let mut state = self.session.state();
        let options = state.config_mut().options_mut();
        options.execution.target_partitions = cores.max(1);
        // Sorting pieces to merge them pays where each is sorted by a core of its own.
        options.optimizer.repartition_sorts = cores > 1;
        state
    }
}

/// For joins of which the right side is handed on in its order, whatever the sizes of both.
fn in_order_read(mut state: SessionState) -> SessionState {
    let options = state.config_mut().options_mut();
    options.optimizer.join_reordering = false;
    options.optimizer.repartition_joins = false;
    options.optimizer.enable_round_robin_repartition = false;
    state
}

/// The same rows, computed in a task of their own while those before them are worked on.
fn ahead(mut rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
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

/// Logs how long a step took, for whoever asks where the time goes (`LOOKBACK_LOG=lookback=debug`).
pub async fn timed<T>(what: &str, step: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let done = step.await;
    tracing::debug!(what, seconds = format!("{:.3}", begun.elapsed().as_secs_f64()), "done");
    done
}

/// Logs what a plan's operators did, when it is done with (`LOOKBACK_LOG=lookback=trace`).
struct Told {
    what: &'static str,
    plan: Arc<dyn ExecutionPlan>,
}

impl Drop for Told {
    fn drop(&mut self) {
        if tracing::enabled!(tracing::Level::TRACE) {
            let plan = DisplayableExecutionPlan::with_metrics(self.plan.as_ref());
            tracing::trace!("{}\n{}", self.what, plan.indent(false));
        }
    }
}

/// Where spilled rows go, and how much may be in memory.
fn runtime(tuning: &Tuning, scratch: &Scratch) -> Result<Arc<RuntimeEnv>> {
    let spilled = DiskManagerMode::Directories(vec![scratch.path().to_owned()]);
    let disk = DiskManagerBuilder::default().with_mode(spilled);
    let runtime = RuntimeEnvBuilder::new().with_disk_manager_builder(disk);
    let runtime = match tuning.memory {
        Some(bytes) => {
            let pool = FairSpillPool::new(bytes);
            let shown = NonZeroUsize::MIN.saturating_add(4);
            runtime.with_memory_pool(Arc::new(TrackConsumersPool::new(pool, shown)))
        }
        None => runtime,
    };
    Ok(runtime.build_arc()?)
}
