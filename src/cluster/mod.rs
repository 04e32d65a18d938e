//! A run on several machines: the driver plans, checks and commits; workers read, compute and write.
//!
//! The engine between them is the published one, `datafusion-distributed`. It has no retries: a plan
//! that a lost worker took down runs again here, on the workers that are left. Refuses to know what a
//! plan is for. No rows of a table pass through the driver, and credentials never travel.

mod apart;
mod channels;
mod codec;
mod needs;
mod roster;
mod sent;
mod watch;
mod whole;
pub mod worker;
mod write;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Schema, UInt64Type};
use async_trait::async_trait;
use datafusion::common::DataFusionError;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use futures::TryStreamExt;
use futures::future::join_all;
use object_store::path::Path;
use tokio::time::timeout;

pub use channels::Tls;
use needs::{LOOKING, Needs};
use roster::{Member, Roster, held};
use sent::Sender;
use watch::Watch;
use write::WriteExec;

use crate::engine::elsewhere::{Elsewhere, NOTHING_RUNS, Order, Ordered};
use crate::location::Location;
use crate::progress::tick;

/// How often a plan runs, if workers are lost meanwhile.
const ATTEMPTS: u32 = 4;

/// How many plans for each core go into one query. If a worker is lost, these run again.
const PLANS_EACH: usize = 2;

/// Who works on a run, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `host:port` of each worker. A name may stand for several.
    pub workers: Vec<String>,
    /// With fewer workers the run ends.
    pub min_workers: usize,
    /// Bytes of files that are worth a partition, and so perhaps a machine, of their own.
    pub piece: usize,
    pub tls: Option<Tls>,
}

/// The workers of one run.
pub struct Cluster {
    roster: Arc<Roster>,
    sender: Sender,
    run_id: String,
    needs: OnceLock<Needs>,
    /// The instances that have looked for them.
    looked: Mutex<BTreeSet<String>>,
    scratch: Location,
    /// The folder in which each run has its scratch folder.
    all_scratch: Location,
    cores_each: usize,
    cores: usize,
    piece: usize,
    _watch: Watch,
}

/// Hides channels and stores.
impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster of {} cores", self.cores)
    }
}

impl Cluster {
    /// Asks the workers who they are. `root` is that of the warehouse. Errors: too few answer that are
    /// of this version.
    pub async fn muster(settings: &Settings, root: &Location, run_id: &str) -> Result<Cluster> {
        let roster = Arc::new(Roster::new(settings)?);
        let members = roster.muster().await?;
        let cores_each = members.iter().map(|member| member.cores).min().unwrap_or(1);
        // On one core a plan would have nothing to divide.
        let cores_each = cores_each.max(2);
        let cores = members.iter().map(|member| member.cores).sum();
        let count = members.len();
        let many =
            |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        let (workers, of) = (many(count, "worker"), many(cores, "core"));
        tracing::info!("{workers} with {of}: {}", names(&members));
        let all_scratch = root.child(crate::warehouse::SCRATCH);
        let piece = settings.piece.max(1);
        Ok(Cluster {
            sender: Sender::new(roster.clone(), run_id, cores_each, piece)?,
            _watch: Watch::over(roster.clone()),
            run_id: run_id.to_owned(),
            needs: OnceLock::new(),
            looked: Mutex::default(),
            scratch: all_scratch.child(run_id),
            all_scratch,
            cores_each,
            cores,
            piece,
            roster,
        })
    }

    /// Runs plans as one query, again if a worker is lost. `plan` makes the query of an attempt.
    async fn attempt(
        &self,
        what: &str,
        plan: impl Fn(u32) -> Result<Arc<dyn ExecutionPlan>>,
    ) -> Result<Vec<RecordBatch>> {
        let mut attempt = 0;
        loop {
            let before = match self.roster.members() {
                Ok(members) => members,
                // Another query has found that they are lost, and waits for them, too.
                Err(_) => self.roster.muster_again().await?,
            };
            let begun = Instant::now();
            tracing::debug!(what, attempt, "goes elsewhere");
            let error = match self.run_once(plan(attempt)?).await {
                Ok(rows) => {
                    tracing::debug!(what, seconds = begun.elapsed().as_secs_f64(), "ran elsewhere");
                    return Ok(rows);
                }
                Err(error) => error,
            };
            attempt += 1;
            // Whether it was the plan or a worker is asked of the workers.
            let is_of_network = is_of_network(&error);
            let now = async {
                let now = self.roster.muster_again().await?;
                self.look_again(&now).await?;
                self.roster.members()
            };
            let now = now.await.with_context(|| match is_of_network {
                true => format!("{what} was cut off"),
                false => format!("{what} failed: {error:#}"),
            })?;
            let lost: Vec<Member> =
                before.into_iter().filter(|member| !now.contains(member)).collect();
            if lost.is_empty() && !is_of_network {
                return Err(error);
            }
            if attempt == ATTEMPTS {
                let why = "each time a worker was lost or a connection broke";
                let why = format!("{what} was tried {ATTEMPTS} times; {why}, {NOTHING_RUNS}");
                return Err(error.context(why));
            }
            let why = match lost.is_empty() {
                true => "a connection to a worker broke".to_owned(),
                false => format!("lost {}", names(&lost)),
            };
            tracing::warn!("{why}; {what} runs again on {}", names(&now));
            tracing::debug!(what, "{error:#}");
            tick();
        }
    }

    /// Has workers look that were started since the others did.
    async fn look_again(&self, members: &[Member]) -> Result<()> {
        let Some(needs) = self.needs.get() else { return Ok(()) };
        let looked = held(&self.looked).clone();
        let fresh = members.iter().filter(|member| !looked.contains(&member.instance)).cloned();
        self.look(needs, fresh.collect()).await
    }

    /// Has workers look for what they will need, and leaves out those that do not see it. One that does
    /// not answer is asked again after the next loss.
    async fn look(&self, needs: &Needs, members: Vec<Member>) -> Result<()> {
        let order = Order::Look(serde_json::to_string(needs)?);
        let looks = join_all(members.iter().map(async |member| {
            let nothing = Arc::new(EmptyExec::new(Arc::new(Schema::empty())));
            let plan = together(vec![Arc::new(WriteExec::on(nothing, &order, 0, 0)?)])?;
            let rows = self.sender.send_to(&member.url, plan).await?.try_collect::<Vec<_>>();
            let rows = timeout(LOOKING, rows).await.context("does not answer")??;
            ensure!(rows.iter().any(|rows| rows.num_rows() > 0), "it says nothing");
            anyhow::Ok(rows.iter().flat_map(reports_of).collect::<Vec<_>>())
        }));
        let (mut blind, mut silent) = (Vec::new(), Vec::new());
        for (member, look) in members.iter().zip(looks.await) {
            match look {
                Ok(troubles) => {
                    held(&self.looked).insert(member.instance.clone());
                    if !troubles.is_empty() {
                        blind.push((member.clone(), troubles.join("; ")));
                    }
                }
                Err(error) => silent.push((member.clone(), format!("does not work: {error:#}"))),
            }
        }
        tick();
        self.roster.leave_out(blind, silent)
    }

    async fn run_once(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Vec<RecordBatch>> {
        let mut stream = self.sender.send(plan).await?;
        let mut rows = Vec::new();
        while let Some(batch) = stream.try_next().await? {
            tick();
            rows.push(batch);
        }
        Ok(rows)
    }

    async fn run_together(&self, what: &str, plans: &[Ordered]) -> Result<Vec<Vec<String>>> {
        let query = |attempt| -> Result<Arc<dyn ExecutionPlan>> {
            let mut sinks: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
            for (number, Ordered { plan, order }) in plans.iter().enumerate() {
                sinks.push(Arc::new(WriteExec::on(plan.clone(), order, number, attempt)?));
            }
            together(sinks)
        };
        let mut reports: Vec<Vec<((u64, u64), String)>> = vec![Vec::new(); plans.len()];
        let mut writers: Vec<(u64, BTreeSet<(u64, u64)>)> = vec![Default::default(); plans.len()];
        for batch in self.attempt(what, query).await? {
            let column = |at: usize| batch.column(at).as_primitive::<UInt64Type>().values();
            let texts = batch.column(4).as_string::<i32>();
            // Each part of a plan reports once. Twice would count its rows twice.
            if batch.num_rows() > 0 {
                let (number, part) = (usize::try_from(column(0)[0])?, (column(1)[0], column(2)[0]));
                let of = writers.get_mut(number).context("a report on an unknown plan")?;
                ensure!(of.1.insert(part), "part {part:?} of plan {number} of {what} ran twice");
                of.0 = column(3)[0];
            }
            for row in (0..batch.num_rows()).filter(|row| texts.is_valid(*row)) {
                let (number, part) =
                    (usize::try_from(column(0)[row])?, (column(1)[row], column(2)[row]));
                reports[number].push((part, texts.value(row).to_owned()));
            }
        }
        for (wanted, found) in &writers {
            let found = found.len() as u64;
            ensure!(
                found > 0 && found == *wanted,
                "{what}: {found} of {wanted} parts of a query said what they wrote"
            );
        }
        let in_order = |mut of: Vec<((u64, u64), String)>| {
            // Stable: of one partition they are in their order.
            of.sort_by_key(|(place, _)| *place);
            of.into_iter().map(|(_, report)| report).collect()
        };
        Ok(reports.into_iter().map(in_order).collect())
    }
}

#[async_trait]
impl Elsewhere for Cluster {
    fn cores_each(&self) -> usize {
        self.cores_each
    }

    fn cores(&self) -> usize {
        self.cores
    }

    fn piece(&self) -> usize {
        self.piece
    }

    fn scratch(&self) -> &Location {
        &self.scratch
    }

    async fn run(&self, what: &str, plans: Vec<Ordered>) -> Result<Vec<Vec<String>>> {
        let mut reports = Vec::new();
        for plans in plans.chunks(self.cores.max(1) * PLANS_EACH) {
            reports.extend(self.run_together(what, plans).await?);
        }
        Ok(reports)
    }

    async fn collect(&self, what: &str, plan: Arc<dyn ExecutionPlan>) -> Result<Vec<RecordBatch>> {
        self.attempt(what, |_| together(vec![plan.clone()])).await
    }

    fn is_there(&self) -> bool {
        self.roster.members().is_ok()
    }

    async fn begin(&self, files: &[(Location, Path)]) -> Result<()> {
        self.all_scratch.remove_all().await?;
        let members = self.roster.members()?;
        let needs = Needs::leave(&self.scratch, &self.run_id, files, &members).await?;
        self.look(self.needs.get_or_init(|| needs), members).await
    }

    fn missing(&self) -> Vec<String> {
        self.roster.missing()
    }

    async fn end(&self) {
        if let Err(error) = self.scratch.remove_all().await {
            tracing::debug!("{}: left behind: {error:#}", self.scratch);
        }
    }
}

/// What the rows of a [`WriteExec`] report.
fn reports_of(rows: &RecordBatch) -> Vec<String> {
    rows.column(4).as_string::<i32>().iter().flatten().map(str::to_owned).collect()
}

/// One plan of several. A single one has an empty companion: without, it would run in the driver.
fn together(mut plans: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
    ensure!(!plans.is_empty(), "no plan to run");
    if plans.len() == 1 {
        plans.push(Arc::new(EmptyExec::new(plans[0].schema())));
    }
    Ok(UnionExec::try_new(plans)?)
}

/// Whether an error says that a process could not be reached. What one worker says of another arrives
/// as text, and so does its word for a plan that did not reach it.
fn is_of_network(error: &anyhow::Error) -> bool {
    const SIGNS: [&str; 5] = [
        "code: '",
        "transport error",
        "h2 protocol error",
        "error trying to connect",
        "connection error",
    ];
    let is_said = |text: String| SIGNS.iter().any(|sign| text.contains(sign));
    let is_meant = |error: &DataFusionError| match error.find_root() {
        DataFusionError::External(cause) => {
            cause.is::<tonic::Status>()
                || cause.is::<tonic::transport::Error>()
                || is_said(cause.to_string())
        }
        DataFusionError::Execution(text) => text.contains("while waiting for the plan to be set"),
        _ => false,
    };
    error.chain().filter_map(|cause| cause.downcast_ref::<DataFusionError>()).any(is_meant)
}

fn names(members: &[Member]) -> String {
    let names: Vec<&str> = members.iter().map(|member| member.url.as_str()).collect();
    let names = names.join(", ");
    names.replace("http://", "").replace("https://", "").replace('/', "")
}
