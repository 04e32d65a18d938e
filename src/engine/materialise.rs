//! Temporary tables: the rows of a model for the time of a run, registered under the model's name.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, execute_stream_partitioned};
use datafusion::prelude::DataFrame;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinSet;

use super::elsewhere::{Order, Ordered};
use super::parquet_table::Constants;
use super::scratch::{Part, PartReport, ScratchOrder, ScratchTable, write_objects};
use super::{Engine, Params, SCHEMAS, TraceOnDrop, timed};
use crate::model::{self, Model};

/// The column, and the parameter, that names a row's bucket.
const BUCKET: &str = "bucket";

impl Engine {
    /// Runs a model and registers its rows as a temporary table. Returns the number of rows.
    /// Errors: the query fails; the disk is full.
    pub async fn materialise(&self, model: &'static Model, params: &Params) -> Result<u64> {
        self.materialise_in(self.session.state(), model, params).await
    }

    /// Materialises models one after the other. Returns the number of rows of the last.
    pub async fn materialise_each(&self, names: &[&str], params: &Params) -> Result<u64> {
        let mut rows = 0;
        for name in names {
            rows = self.materialise(model::named(name)?, params).await?;
        }
        Ok(rows)
    }

    /// The same for a model that selects few rows of the stored tables it reads. Columns that its
    /// filters do not use are decoded for the selected rows only.
    pub async fn materialise_selective(
        &self,
        model: &'static Model,
        params: &Params,
    ) -> Result<u64> {
        let mut state = self.session.state();
        let options = &mut state.config_mut().options_mut().execution.parquet;
        options.pushdown_filters = true;
        // The predicate cache would decode the filter columns of all rows.
        options.max_predicate_cache_size = Some(0);
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
            self.register_temporary(model.name, &schema, parts)
        };
        timed(model.name, Box::pin(run)).await.with_context(|| format!("cannot run {}", model.name))
    }

    /// Adds rows to a temporary table that exists. Each of `batches` holds the parameters of one
    /// query, and the queries run in parallel on so many cores. Errors: there is no such table.
    pub async fn materialise_more(
        &self,
        model: &'static Model,
        batches: &[Params],
        cores: usize,
    ) -> Result<()> {
        let parts = timed(model.name, self.write_batches(model, batches, cores)).await?;
        let table = self.temporary().get(model.name).cloned();
        table.with_context(|| format!("{} is not known", model.name))?.add(parts)?;
        Ok(())
    }

    /// Adds rows to a temporary table that exists here, with the tables of a fork. Errors: there is
    /// no such table.
    pub async fn materialise_from(&self, fork: &Engine, model: &'static Model) -> Result<()> {
        let run = async {
            let frame = fork.plan(model, &Params::new()).await?;
            self.write_scratch(model, frame).await
        };
        let (_, parts) = timed(model.name, Box::pin(run)).await?;
        let table = self.temporary().get(model.name).cloned();
        table.with_context(|| format!("{} is not known", model.name))?.add(parts)?;
        Ok(())
    }

    /// Runs models, each of which may read the ones before it, bucket by bucket. Each bucket has
    /// its own session, in which tables that are split by bucket have this bucket's rows only. So
    /// SQL files need not know buckets. As many buckets run in parallel as there are cores. At the
    /// end the models in `results` are registered here with the rows of all buckets.
    pub async fn materialise_by_bucket(
        &self,
        names: &[&str],
        buckets: &[Params],
        results: &[&'static str],
    ) -> Result<()> {
        let models = names.iter().map(|name| model::named(name)).collect::<Result<Vec<_>>>()?;
        // Rows of earlier dates go before those of the next are made.
        self.forget_each(names)?;
        if self.elsewhere.is_some() {
            return self.materialise_buckets_elsewhere(&models, buckets, results).await;
        }
        let cores = self.session.state().config().target_partitions().max(1);
        let cores_each = (cores / buckets.len().max(1)).max(1);
        let made = buckets.iter().map(|params| async {
            let fork = self.fork_for_bucket(params.get(BUCKET)).await?;
            let mut made = BTreeMap::new();
            for model in &models {
                let run = async {
                    let frame = fork.plan_in(fork.with_cores(cores_each), model, params).await?;
                    let (schema, parts) = fork.write_scratch(model, frame).await?;
                    fork.register_temporary(model.name, &schema, parts.clone())?;
                    anyhow::Ok((schema, parts))
                };
                let written = timed(model.name, Box::pin(run)).await;
                let written = written.with_context(|| format!("cannot run {}", model.name))?;
                if results.contains(&model.name) {
                    made.insert(model.name, written);
                }
            }
            anyhow::Ok(made)
        });
        let mut made = stream::iter(made).buffered(cores);
        let mut all: BTreeMap<&str, (SchemaRef, Vec<Part>)> = BTreeMap::new();
        while let Some(bucket) = made.try_next().await? {
            for (name, (schema, parts)) in bucket {
                all.entry(name).or_insert((schema, Vec::new())).1.extend(parts);
            }
        }
        for (name, (schema, parts)) in all {
            self.register_temporary(name, &schema, parts)?;
        }
        Ok(())
    }

    /// The same elsewhere: one model after the other, of all buckets at once.
    async fn materialise_buckets_elsewhere(
        &self,
        models: &[&'static Model],
        buckets: &[Params],
        results: &[&'static str],
    ) -> Result<()> {
        let mut forks = Vec::new();
        for params in buckets {
            forks.push(self.fork_for_bucket(params.get(BUCKET)).await?);
        }
        for model in models {
            let run = async {
                let plans = forks.iter().zip(buckets);
                let made = self.write_elsewhere(model, plans).await?;
                for (fork, (schema, parts)) in forks.iter().zip(&made) {
                    fork.register_temporary(model.name, schema, parts.clone())?;
                }
                anyhow::Ok(made)
            };
            let made = timed(model.name, Box::pin(run)).await;
            let made = made.with_context(|| format!("cannot run {}", model.name))?;
            if let Some((schema, _)) = made.first().filter(|_| results.contains(&model.name)) {
                let schema = schema.clone();
                let parts = made.into_iter().flat_map(|(_, parts)| parts).collect();
                self.register_temporary(model.name, &schema, parts)?;
            }
        }
        Ok(())
    }

    /// Runs a model elsewhere, once for each engine and its parameters, side by side. Returns the
    /// columns and the parts that each gave.
    async fn write_elsewhere<'a>(
        &self,
        model: &'static Model,
        runs: impl ExactSizeIterator<Item = (&'a Engine, &'a Params)>,
    ) -> Result<Vec<(SchemaRef, Vec<Part>)>> {
        let elsewhere = self.elsewhere.as_ref().context("there is nobody else")?;
        let cores = elsewhere.cores() / runs.len().max(1);
        let cores = cores.clamp(1, elsewhere.cores_each().max(1));
        let mut plans = Vec::new();
        for (engine, params) in runs {
            plans.push(engine.plan_on(cores, model, params).await?);
        }
        self.write_plans_elsewhere(model, plans).await
    }

    async fn write_plans_elsewhere(
        &self,
        model: &'static Model,
        plans: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Vec<(SchemaRef, Vec<Part>)>> {
        let elsewhere = self.elsewhere.as_ref().context("there is nobody else")?;
        let folder = elsewhere.scratch();
        self.add_store(folder)?;
        let order = serde_json::to_string(&ScratchOrder {
            folder: folder.url().to_string(),
            name: model.name.to_owned(),
            split: model.split.clone(),
        })?;
        let schemas: Vec<SchemaRef> = plans.iter().map(|plan| plan.schema()).collect();
        let ordered = |plan| Ordered { plan, order: Order::Scratch(order.clone()) };
        let ordered = plans.into_iter().map(ordered).collect();
        let reports = elsewhere.run(model.name, ordered).await?;
        let parts = |reports: Vec<String>| {
            let parts = reports.iter().map(|report| {
                let report: PartReport = serde_json::from_str(report)?;
                report.part(folder)
            });
            parts.collect::<Result<Vec<Part>>>()
        };
        schemas.into_iter().zip(reports).map(|(schema, of)| Ok((schema, parts(of)?))).collect()
    }

    /// A fork with all tables of this engine. Those split by bucket have one bucket's rows.
    async fn fork_for_bucket(&self, bucket: Option<&ScalarValue>) -> Result<Engine> {
        let bucket = bucket.with_context(|| format!("no parameter {BUCKET}"))?;
        let fork = self.fork()?;
        let catalog =
            self.session.catalog("datafusion").context("the default catalog is missing")?;
        for schema in SCHEMAS {
            let tables = catalog.schema(schema).context("a schema is missing")?;
            for table in tables.table_names() {
                let name = format!("{schema}.{table}");
                let provider = tables.table(&table).await?;
                fork.register(&name, provider.with_context(|| format!("{name} is gone"))?)?;
            }
        }
        for (name, table) in self.temporary().iter() {
            let is_wanted =
                |constants: &Constants| constants.get(BUCKET).is_none_or(|value| value == bucket);
            fork.register(name, Arc::new(table.only(is_wanted)))?;
        }
        Ok(fork)
    }

    /// Drops parts of a temporary table, selected by the columns that are constant in a part.
    pub fn forget_parts(&self, name: &str, is_done_with: impl Fn(&Constants) -> bool) {
        if let Some(table) = self.temporary().get(name) {
            table.remove(is_done_with);
        }
    }

    async fn write_batches(
        &self,
        model: &'static Model,
        batches: &[Params],
        cores: usize,
    ) -> Result<Vec<Part>> {
        if self.elsewhere.is_some() {
            let runs = batches.iter().map(|params| (self, params));
            let written = self.write_elsewhere(model, runs).await;
            let written = written.with_context(|| format!("cannot run {}", model.name))?;
            return Ok(written.into_iter().flat_map(|(_, parts)| parts).collect());
        }
        let cores = cores.max(1);
        let cores_each = cores / batches.len().max(1);
        let run = async {
            let written = batches.iter().map(|params| async {
                let frame = self.plan_in(self.with_cores(cores_each), model, params).await?;
                self.write_scratch(model, frame).await
            });
            let written: Vec<_> = stream::iter(written).buffered(cores).try_collect().await?;
            anyhow::Ok(written.into_iter().flat_map(|(_, parts)| parts).collect())
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
        if self.elsewhere.is_some() {
            let written = self.write_plans_elsewhere(model, vec![plan]).await?;
            return written.into_iter().next().context("a plan without an answer");
        }
        let schema = plan.schema();
        let _trace = TraceOnDrop { what: model.name, plan: plan.clone() };
        // The first failure is returned at once: other partitions may wait forever for what a
        // partition that panicked was to share with them.
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
            "temporary table"
        );
        Ok((schema, parts))
    }

    fn register_temporary(&self, name: &str, schema: &Schema, parts: Vec<Part>) -> Result<u64> {
        let table = Arc::new(ScratchTable::new(schema));
        table.add(parts)?;
        let rows = table.rows();
        self.register(name, table.clone())?;
        self.temporary().insert(name.to_owned(), table);
        Ok(rows)
    }

    fn temporary(&self) -> MutexGuard<'_, BTreeMap<String, Arc<ScratchTable>>> {
        self.temporary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a batch as a temporary table.
    pub async fn register_rows(&self, name: &str, batch: RecordBatch) -> Result<()> {
        self.register_batches(name, batch.schema(), [Ok(batch)]).await
    }

    /// Registers batches as a temporary table.
    pub async fn register_batches<I>(&self, name: &str, schema: SchemaRef, batches: I) -> Result<()>
    where
        I: IntoIterator<Item = Result<RecordBatch>>,
        I::IntoIter: Send + 'static,
    {
        let batches = batches
            .into_iter()
            .map(|batch| batch.map_err(|error| DataFusionError::External(error.into())));
        let stream = futures::stream::iter(batches);
        let stream = RecordBatchStreamAdapter::new(schema.clone(), stream);
        let parts = match &self.elsewhere {
            Some(elsewhere) => {
                let folder = elsewhere.scratch();
                self.add_store(folder)?;
                let order = ScratchOrder {
                    folder: folder.url().to_string(),
                    name: name.to_owned(),
                    split: None,
                };
                let written = write_objects(Box::pin(stream), &order, folder).await?;
                written.into_iter().map(|report| report.part(folder)).collect::<Result<_>>()?
            }
            None => self.scratch.writing(name, None).write(Box::pin(stream)).await?,
        };
        self.register_temporary(name, &schema, parts)?;
        Ok(())
    }

    /// Registers a model as a table without rows, so that models that read it can be planned.
    pub async fn register_empty(&self, model: &Model, params: &Params) -> Result<()> {
        let plan = self.plan(model, params).await?;
        self.register_temporary(model.name, plan.schema().as_arrow(), Vec::new())?;
        Ok(())
    }

    /// The same for models, each of which may read the ones before it.
    pub async fn register_empty_each(&self, names: &[&str], params: &Params) -> Result<()> {
        for name in names {
            self.register_empty(model::named(name)?, params).await?;
        }
        Ok(())
    }

    /// Registers a temporary table under a second name, which replaces the table of that name.
    pub fn register_as(&self, name: &str, temporary: &str) -> Result<()> {
        let table = self.temporary().get(temporary).cloned();
        self.register(name, table.with_context(|| format!("{temporary} is not known"))?)
    }

    /// Drops a temporary table.
    pub fn forget(&self, name: &str) -> Result<()> {
        self.temporary().remove(name);
        self.session.deregister_table(name)?;
        Ok(())
    }

    /// Drops temporary tables.
    pub fn forget_each(&self, names: &[&str]) -> Result<()> {
        names.iter().try_for_each(|name| self.forget(name))
    }
}
