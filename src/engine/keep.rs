//! Models that are kept for the run: their rows as scratch tables, registered under their names.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::execution::SessionState;
use datafusion::physical_plan::execute_stream_partitioned;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::DataFrame;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinSet;

use super::files::Constants;
use super::scratch::{Part, ScratchTable};
use super::{Engine, Params, Told, timed};
use crate::model::Model;

impl Engine {
    /// Runs a model that is kept for the run: keeps its rows as a scratch table and registers it
    /// under its name. Returns the number of rows.
    pub async fn materialise(&self, model: &'static Model, params: &Params) -> Result<u64> {
        self.materialise_in(self.session.state(), model, params).await
    }

    /// The same for a model that takes few of the rows that it reads from kept tables: what it does
    /// not choose them by is decoded of these alone.
    pub async fn look_up(&self, model: &'static Model, params: &Params) -> Result<u64> {
        let mut state = self.session.state();
        let options = &mut state.config_mut().options_mut().execution.parquet;
        options.pushdown_filters = true;
        // To remember what rows are chosen by is to decode it of all rows, wanted or not.
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
    /// other than its own: so all of them are made for some slices before the next ones. Only those
    /// that `is_needed` says are there afterwards.
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
}
