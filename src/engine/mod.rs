//! The query engine: a session that runs the SQL files over tables in Parquet files, and over those
//! that are kept for the run only. The only folder that knows DataFusion's session.
//!
//! Refuses to know what a table means, and to put SQL together: a model's text is parsed as it
//! stands, its parameters are bound as values.

mod counted;
pub mod files;
pub mod hash64;
mod local_date;
mod repeated;
mod scratch;
pub mod write;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::MemorySchemaProvider;
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::{ExecutionPlan, execute_stream_partitioned};
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinSet;

use crate::model::Model;
use crate::place::Place;
use files::Constants;
use scratch::{Part, Scratch, ScratchTable};

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
    scratch: Scratch,
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
        // Rows are sorted in one piece: by pieces that are merged takes four times as long.
        options.execution.sort_in_place_threshold_bytes = 256 << 20;
        // What fits into memory is looked up where the other rows are: sending these to it costs more.
        options.optimizer.hash_join_single_partition_threshold = 256 << 20;
        options.optimizer.hash_join_single_partition_threshold_rows = 2_000_000;
        let scratch = Scratch::new(tuning.memory.is_some())?;
        let session = SessionContext::new_with_config_rt(config, runtime(tuning, &scratch)?);
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

    /// Runs a model that is kept for the run: keeps its rows as a scratch table and registers it
    /// under its name. Returns the number of rows.
    pub async fn materialise(&self, model: &'static Model, params: &Params) -> Result<u64> {
        self.materialise_in(self.session.state(), model, params).await
    }

    /// The same for a model that takes few of the rows that it reads from kept tables: what it does
    /// not choose them by is decoded of these alone.
    pub async fn look_up(&self, model: &'static Model, params: &Params) -> Result<u64> {
        let mut state = self.session.state();
        state.config_mut().options_mut().execution.parquet.pushdown_filters = true;
        self.materialise_in(state, model, params).await
    }

    async fn materialise_in(
        &self,
        state: SessionState,
        model: &'static Model,
        params: &Params,
    ) -> Result<u64> {
        self.forget(model.name)?;
        let run = async {
            let frame = self.plan_in(state, model, params).await?;
            let (schema, parts) = self.write_scratch(model, frame).await?;
            self.keep(model.name, &schema, parts)
        };
        timed(model.name, Box::pin(run)).await.with_context(|| format!("cannot run {}", model.name))
    }

    /// Adds to a model that is kept for the run and known already. Each of `slices` are parameters
    /// that make a part of its rows; they are made side by side on so many cores, which share them
    /// out if they are fewer.
    pub async fn materialise_more(
        &self,
        model: &'static Model,
        slices: &[Params],
        cores: usize,
    ) -> Result<()> {
        let (_, parts) = timed(model.name, self.write_slices(model, slices, cores)).await?;
        let table = self.kept().get(model.name).cloned();
        table.with_context(|| format!("{} is not known", model.name))?.add(parts)?;
        Ok(())
    }

    /// Lets go of rows of a model that is kept for the run: of those parts that the constants of all
    /// their rows say are done with.
    pub fn forget_parts(&self, name: &str, is_done_with: impl Fn(&Constants) -> bool) {
        if let Some(table) = self.kept().get(name) {
            table.remove(is_done_with);
        }
    }

    /// Runs models that are kept for the run, of which each reads those before it, but of no slices
    /// other than its own: so all of them are made for some slices before the next ones. Only those that `is_needed`
    /// says are there afterwards.
    pub async fn materialise_together(
        &self,
        models: &[&'static Model],
        slices: &[Params],
        is_needed: impl Fn(&Model) -> bool,
    ) -> Result<()> {
        let cores = self.session.state().config().target_partitions();
        let mut made: BTreeMap<&str, (SchemaRef, Vec<Part>)> = BTreeMap::new();
        for slices in slices.chunks(cores) {
            for model in models {
                self.forget(model.name)?;
                let (schema, parts) =
                    timed(model.name, self.write_slices(model, slices, cores)).await?;
                if is_needed(model) {
                    let all = made.entry(model.name).or_insert((schema.clone(), Vec::new()));
                    all.1.extend(parts.iter().cloned());
                }
                self.keep(model.name, &schema, parts)?;
            }
        }
        for model in models {
            self.forget(model.name)?;
        }
        for (name, (schema, parts)) in made {
            self.keep(name, &schema, parts)?;
        }
        Ok(())
    }

    async fn write_slices(
        &self,
        model: &'static Model,
        slices: &[Params],
        cores: usize,
    ) -> Result<(SchemaRef, Vec<Part>)> {
        let cores = cores.max(1);
        let count = slices.len().max(1);
        let run = async {
            let slices = slices.iter().map(|params| async {
                let frame = self.plan_in(self.on(cores / count), model, params).await?;
                self.write_scratch(model, frame).await
            });
            let slices: Vec<_> = stream::iter(slices).buffered(cores).try_collect().await?;
            let (schema, _) = slices.first().context("no slice")?.clone();
            anyhow::Ok((schema, slices.into_iter().flat_map(|(_, parts)| parts).collect()))
        };
        run.await.with_context(|| format!("cannot run {}", model.name))
    }

    async fn write_scratch(
        &self,
        model: &'static Model,
        frame: DataFrame,
    ) -> Result<(SchemaRef, Vec<Part>)> {
        let task = frame.task_ctx();
        let plan = timed("physical plan", frame.create_physical_plan()).await?;
        let schema = plan.schema();
        let _told = Told { what: model.name, plan: plan.clone() };
        // Whichever fails first is heard first: what a partition that panicked was to share with
        // the others, they would wait for without end.
        let mut writes = JoinSet::new();
        for (partition, rows) in
            execute_stream_partitioned(plan, Arc::new(task))?.into_iter().enumerate()
        {
            let writing = self.scratch.writing(model.name, model.split.as_deref());
            writes.spawn(async move { anyhow::Ok((partition, writing.write(rows).await?)) });
        }
        let mut parts = Vec::new();
        while let Some(written) = writes.join_next().await {
            parts.push(written??);
        }
        parts.sort_by_key(|(partition, _)| *partition);
        let parts: Vec<Part> = parts.into_iter().flat_map(|(_, parts)| parts).collect();
        tracing::debug!(
            what = format!("{} held", model.name),
            rows = parts.iter().map(|part| part.rows).sum::<u64>(),
            megabytes = parts.iter().map(Part::held_bytes).sum::<usize>() >> 20,
            files = parts.iter().filter(|part| part.is_file()).count(),
            "kept for the run"
        );
        Ok((schema, parts))
    }

    fn keep(&self, name: &str, schema: &Schema, parts: Vec<Part>) -> Result<u64> {
        let table = Arc::new(ScratchTable::new(schema));
        table.add(parts)?;
        let rows = table.rows();
        self.register(name, table.clone())?;
        self.kept().insert(name.to_owned(), table);
        Ok(rows)
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Arc<ScratchTable>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a few rows known as a table.
    pub async fn register_rows(&self, name: &str, batch: RecordBatch) -> Result<()> {
        let schema = batch.schema();
        let stream = futures::stream::iter([Ok(batch)]);
        let stream = RecordBatchStreamAdapter::new(schema.clone(), stream);
        let parts = self.scratch.writing(name, None).write(Box::pin(stream)).await?;
        self.keep(name, &schema, parts)?;
        Ok(())
    }

    /// Registers a model without rows, so that others that read it can be planned.
    pub async fn register_empty(&self, model: &Model, params: &Params) -> Result<()> {
        let plan = self.plan(model, params).await?;
        self.keep(model.name, plan.schema().as_arrow(), Vec::new())?;
        Ok(())
    }

    /// Drops a table that is not needed any more.
    pub fn forget(&self, name: &str) -> Result<()> {
        self.kept().remove(name);
        self.session.deregister_table(name)?;
        Ok(())
    }

    fn on(&self, cores: usize) -> SessionState {
        let mut state = self.session.state();
        state.config_mut().options_mut().execution.target_partitions = cores.max(1);
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
