//! Which workers there are: those that answer, are of this version, and have not been replaced.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use datafusion::common::DataFusionError;
use datafusion_distributed::{GetWorkerInfoRequest, WorkerResolver};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};
use url::Url;

use super::Settings;
use super::channels::Channels;
use crate::engine::elsewhere::NOTHING_RUNS;
use crate::progress::tick;
use crate::version;

/// How long a worker may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(12);

/// How long a run waits for workers that come back when too few are left, and how often it asks.
const COMING_BACK: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(3);

/// What a worker says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduction {
    /// The program, see [`program`].
    pub program: String,
    pub cores: usize,
    /// Another one after each start.
    pub instance: String,
}

/// The program and what it was built from. Plans travel between equal programs only. Where no commit
/// tells what is inside, the program's own bytes do. Errors: they cannot be read.
pub fn program() -> Result<String> {
    let version = version::long().replace('\n', ", ");
    if version.contains("(commit") && !version.contains("with changes") {
        return Ok(version);
    }
    let file = std::env::current_exe().context("where is this program?")?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(file).context("cannot read this program")?)?;
    Ok(format!("{version}, digest {}", &hasher.finalize().to_hex()[..16]))
}

/// A worker that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub url: Url,
    pub cores: usize,
    pub instance: String,
}

/// The workers of a run.
pub struct Roster {
    program: String,
    workers: Vec<String>,
    least: usize,
    pub channels: Channels,
    members: Mutex<Vec<Member>>,
}

impl Roster {
    /// Errors: certificates, or this program, that cannot be read.
    pub fn new(settings: &Settings) -> Result<Roster> {
        let channels = Channels::new(settings.tls.as_ref())?;
        let (workers, least) = (settings.workers.clone(), settings.min_workers.max(1));
        Ok(Roster { program: program()?, workers, least, channels, members: Mutex::default() })
    }

    /// The workers that answered last. Errors: too few.
    pub fn members(&self) -> Result<Vec<Member>> {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (found, least) = (members.len(), self.least);
        ensure!(found >= least, "{found} of at least {least} workers are left, {NOTHING_RUNS}");
        Ok(members)
    }

    /// Asks all workers, also those that were lost before. Errors: too few answer that are of this
    /// version; the error says what each did instead.
    pub async fn muster(&self) -> Result<Vec<Member>> {
        let (urls, mut troubles) = self.resolve().await;
        let asked = join_all(urls.into_iter().map(async |url| {
            let asked = timeout(PATIENCE, self.ask(&url)).await;
            let asked = asked.context("does not answer").flatten();
            asked.map_err(|error| format!("{}: {error:#}", address(&url)))
        }));
        let mut members: Vec<Member> = Vec::new();
        for asked in asked.await {
            match asked {
                // Two names may stand for one worker.
                Ok(member) if members.iter().any(|known| known.instance == member.instance) => {}
                Ok(member) => members.push(member),
                Err(trouble) => troubles.push(trouble),
            }
        }
        tick();
        troubles.iter().for_each(|trouble| tracing::warn!("worker {trouble}"));
        *self.members.lock().unwrap_or_else(PoisonError::into_inner) = members.clone();
        if members.len() < self.least {
            let (found, wanted) = (members.len(), self.least);
            let why: String = troubles.iter().map(|trouble| format!("\n  {trouble}")).collect();
            bail!("{found} of at least {wanted} workers are there, {NOTHING_RUNS}{why}");
        }
        Ok(members)
    }

    /// The same in the middle of a run: waits a while for workers that are being started again.
    pub async fn muster_again(&self) -> Result<Vec<Member>> {
        let begun = Instant::now();
        loop {
            match self.muster().await {
                Err(_) if begun.elapsed() < COMING_BACK => sleep(PAUSE).await,
                mustered => return mustered,
            }
        }
    }

    /// The URLs of all workers. A name that stands for several machines is one URL each.
    async fn resolve(&self) -> (BTreeSet<Url>, Vec<String>) {
        let (mut urls, mut troubles) = (BTreeSet::new(), Vec::new());
        let scheme = self.channels.scheme();
        for worker in &self.workers {
            let found = match tokio::net::lookup_host(worker.as_str()).await {
                Ok(found) => found.collect::<BTreeSet<_>>(),
                Err(error) => {
                    troubles.push(format!("{worker}: {error}"));
                    continue;
                }
            };
            let hosts = match found.len() {
                1 => vec![worker.clone()],
                _ => found.iter().map(ToString::to_string).collect(),
            };
            for host in hosts {
                match Url::parse(&format!("{scheme}://{host}")) {
                    Ok(url) => _ = urls.insert(url),
                    Err(error) => troubles.push(format!("{host}: {error}")),
                }
            }
        }
        (urls, troubles)
    }

    async fn ask(&self, url: &Url) -> Result<Member> {
        let info = self.channels.client(url)?.get_worker_info(GetWorkerInfoRequest {}).await;
        let info = info.map_err(|error| anyhow::anyhow!("is not reached: {}", cause(&error)))?;
        let about: Introduction =
            serde_json::from_str(&info.version).context("is no lookback worker")?;
        let ours = &self.program;
        ensure!(
            about.program == *ours,
            "is another version, {}, and this is {ours}",
            about.program
        );
        Ok(Member { url: url.clone(), cores: about.cores.max(1), instance: about.instance })
    }
}

/// The last cause of an error, which says most.
fn cause(error: &DataFusionError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

pub fn address(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"))
}

/// The workers for the engine's planner.
pub struct Answering(pub std::sync::Arc<Roster>);

impl WorkerResolver for Answering {
    fn get_urls(&self) -> Result<Vec<Url>, DataFusionError> {
        let members = self.0.members();
        let members = members.map_err(|error| DataFusionError::External(error.into()))?;
        Ok(members.into_iter().map(|member| member.url).collect())
    }
}
