//! The query engine: a session over file-backed tables that runs the SQL files. The only folder
//! that knows DataFusion's session.
//!
//! Refuses to know what a table means, and to put SQL together: a model's text is parsed as it
//! stands, its parameters are bound as values.

pub mod files;
mod scratch;
pub mod write;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
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
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, execute_stream, execute_stream_partitioned};
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Expr, Value, visit_expressions_mut};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinSet;

use crate::model::Model;
use crate::place::Place;
use files::FileTable;
use scratch::Scratch;
use write::{ScratchFile, scratch};

/// How the engine splits work. Never changes a row.
#[derive(Debug, Clone)]
pub struct Tuning {
    pub partitions: usize,
    pub batch_size: usize,
    /// Bytes that sorts, joins and aggregates may hold together; beyond it they use disk.
    pub memory: Option<usize>,
}

impl Default for Tuning {
    fn default() -> Tuning {
        let partitions = std::thread::available_parallelism().map_or(2, usize::from);
        Tuning { partitions, batch_size: 8192, memory: None }
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
    tables_written: std::sync::atomic::AtomicUsize,
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
        let scratch = Scratch::new()?;
        let session = SessionContext::new_with_config_rt(config, runtime(tuning, &scratch)?);
        let catalog = session.catalog("datafusion").context("the default catalog is missing")?;
        for schema in SCHEMAS {
            catalog.register_schema(schema, Arc::new(MemorySchemaProvider::new()))?;
        }
        let engine = Engine { session, instead, scratch, tables_written: 0.into() };
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
        let frame = self.plan_sql(state, model, params).await;
        frame.with_context(|| format!("cannot plan {}", model.name))
    }

    async fn plan_sql(
        &self,
        state: SessionState,
        model: &Model,
        params: &Params,
    ) -> Result<DataFrame> {
        let dialect = state.config().options().sql_parser.dialect;
        let sql = self.instead.get(model.name).map_or(model.sql, String::as_str);
        let mut statement = state.sql_to_statement(sql, &dialect)?;
        if let Some(zone) = params.get("zone") {
            bind_zone(&mut statement, zone);
        }
        let plan = state.statement_to_plan(statement).await?;
        let values: Vec<(&str, ScalarValue)> = params
            .iter()
            .filter(|(name, _)| model.params.contains(**name))
            .map(|(name, value)| (*name, value.clone()))
            .collect();
        let plan = plan.with_param_values(values)?;
        Ok(DataFrame::new(state, plan))
    }

    /// Runs a model and hands out its rows as they come.
    pub async fn stream(
        &self,
        model: &Model,
        params: &Params,
    ) -> Result<SendableRecordBatchStream> {
        self.stream_in(self.session.state(), model, params).await
    }

    /// The same on one core, for work that is done for many partitions side by side.
    pub async fn stream_on_one_core(
        &self,
        model: &Model,
        params: &Params,
    ) -> Result<SendableRecordBatchStream> {
        self.stream_in(self.on_one_core(), model, params).await
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
            let plan = frame.create_physical_plan().await?;
            let rows = execute_stream(plan.clone(), task)?;
            let told = Told { what: model.name, plan };
            let rows = rows.inspect(move |_| _ = &told);
            let schema = rows.get_ref().schema();
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

    /// Runs a model that is kept for the run: writes its rows to scratch files and registers them
    /// under its name. Returns the number of rows.
    pub async fn materialise(&self, model: &'static Model, params: &Params) -> Result<u64> {
        let run = async {
            let frame = self.plan(model, params).await?;
            let (schema, files) = self.write_scratch(model, frame).await?;
            self.keep(model, &schema, files)
        };
        timed(model.name, run).await.with_context(|| format!("cannot run {}", model.name))
    }

    /// The same for a model that is made slice by slice, as many at once as there are cores: each of
    /// `slices` are parameters that make a part of its rows.
    pub async fn materialise_slices(
        &self,
        model: &'static Model,
        slices: &[Params],
    ) -> Result<u64> {
        let cores = self.session.state().config().target_partitions();
        let run = async {
            let parts = slices.iter().map(|params| async {
                let frame = self.plan_in(self.on_one_core(), model, params).await?;
                self.write_scratch(model, frame).await
            });
            let parts: Vec<_> = stream::iter(parts).buffered(cores).try_collect().await?;
            let (schema, _) = parts.first().context("no slice")?.clone();
            self.keep(model, &schema, parts.into_iter().flat_map(|(_, files)| files).collect())
        };
        timed(model.name, run).await.with_context(|| format!("cannot run {}", model.name))
    }

    async fn write_scratch(
        &self,
        model: &'static Model,
        frame: DataFrame,
    ) -> Result<(SchemaRef, Vec<ScratchFile>)> {
        let task = frame.task_ctx();
        let plan = frame.create_physical_plan().await?;
        let schema = plan.schema();
        let _told = Told { what: model.name, plan: plan.clone() };
        // Whichever fails first is heard first: what a partition that panicked was to share with
        // the others, they would wait for without end.
        let mut writes = JoinSet::new();
        for rows in execute_stream_partitioned(plan, Arc::new(task))? {
            let path = self.scratch_file(model.name);
            writes.spawn(async move { scratch(rows, &path, model.split.as_deref()).await });
        }
        let mut files = Vec::new();
        while let Some(written) = writes.join_next().await {
            files.extend(written??);
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok((schema, files))
    }

    fn keep(&self, model: &Model, schema: &Schema, files: Vec<ScratchFile>) -> Result<u64> {
        let table = FileTable::scratch(schema, model.split.as_deref(), &files)?;
        self.register(model.name, Arc::new(table))?;
        Ok(files.iter().map(|file| file.rows).sum())
    }

    /// Makes a few rows known as a table, through a scratch file like every other table.
    pub async fn register_rows(&self, name: &str, batch: RecordBatch) -> Result<()> {
        let path = self.scratch_file(name);
        let schema = batch.schema();
        let stream = futures::stream::iter([Ok(batch)]);
        let stream = RecordBatchStreamAdapter::new(schema.clone(), stream);
        let files = scratch(Box::pin(stream), &path, None).await?;
        self.register(name, Arc::new(FileTable::scratch(&schema, None, &files)?))
    }

    /// Registers a model without rows, so that others that read it can be planned.
    pub async fn register_empty(&self, model: &Model, params: &Params) -> Result<()> {
        let plan = self.plan(model, params).await?;
        let schema = plan.schema().as_arrow();
        let table = FileTable::scratch(schema, model.split.as_deref(), &[])?;
        self.register(model.name, Arc::new(table))
    }

    fn on_one_core(&self) -> SessionState {
        let mut state = self.session.state();
        state.config_mut().options_mut().execution.target_partitions = 1;
        state
    }

    fn scratch_file(&self, name: &str) -> std::path::PathBuf {
        let count = self.tables_written.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.scratch.path().join(format!("{name}-{count}.parquet"))
    }
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

/// `at time zone` wants a literal before planning, where other parameters are bound after it.
fn bind_zone(statement: &mut Statement, zone: &ScalarValue) {
    let Statement::Statement(statement) = statement else { return };
    let ScalarValue::Utf8(Some(zone)) = zone else { return };
    let _: ControlFlow<()> = visit_expressions_mut(statement, |expression: &mut Expr| {
        if let Expr::Value(value) = expression
            && value.value == Value::Placeholder("$zone".into())
        {
            value.value = Value::SingleQuotedString(zone.clone());
        }
        ControlFlow::Continue(())
    });
}
