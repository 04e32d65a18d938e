//! Which workers there are: those that answer, are of this version, and have not been replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
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
pub const PATIENCE: Duration = Duration::from_secs(12);

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

impl Member {
    /// Whether both are one process, whatever it is called.
    fn is(&self, other: &Member) -> bool {
        self.instance == other.instance
    }
}

/// The workers of a run.
pub struct Roster {
    pub program: String,
    workers: Vec<String>,
    least: usize,
    pub channels: Channels,
    members: Mutex<Vec<Member>>,
    /// Those that do not see what the run needs, by instance, and what.
    blind: Mutex<BTreeMap<String, String>>,
    /// The first trouble with each worker that had one, by address.
    missing: Mutex<BTreeMap<String, String>>,
}

/// A worker that is no member, and why.
struct Trouble {
    worker: String,
    text: String,
}

pub fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Roster {
    /// Errors: certificates, or this program, that cannot be read.
    pub fn new(settings: &Settings) -> Result<Roster> {
        let channels = Channels::new(settings.tls.as_ref())?;
        let (workers, least) = (settings.workers.clone(), settings.min_workers.max(1));
        Ok(Roster {
            program: program()?,
            workers,
            least,
            channels,
            members: Mutex::default(),
            blind: Mutex::default(),
            missing: Mutex::default(),
        })
    }

    /// The workers that answered last. Errors: too few.
    pub fn members(&self) -> Result<Vec<Member>> {
        let members = held(&self.members).clone();
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
            asked.map_err(|error| Trouble { worker: address(&url), text: format!("{error:#}") })
        }));
        let (mut members, mut twice) = (Vec::<Member>::new(), Vec::new());
        for asked in asked.await {
            match asked {
                // Two names may stand for one worker.
                Ok(member) => match members.iter().find(|known| known.is(&member)) {
                    Some(known) => {
                        twice.push(format!("{} is {}", address(&member.url), address(&known.url)));
                    }
                    None => members.push(member),
                },
                Err(trouble) => troubles.push(trouble),
            }
        }
        tick();
        let blind = held(&self.blind).clone();
        members.retain(|member| match blind.get(&member.instance) {
            Some(text) => {
                let worker = address(&member.url);
                troubles.push(Trouble { worker, text: text.clone() });
                false
            }
            None => true,
        });
        self.settle(members, troubles, twice)
    }

    /// Goes on without workers that do not see what they need, for good, and for now without those that
    /// did not answer. Errors: too few are left.
    pub fn leave_out(
        &self,
        blind: Vec<(Member, String)>,
        silent: Vec<(Member, String)>,
    ) -> Result<()> {
        for (member, text) in &blind {
            held(&self.blind).insert(member.instance.clone(), text.clone());
        }
        let left_out: Vec<(Member, String)> = blind.into_iter().chain(silent).collect();
        let mut members = held(&self.members).clone();
        members.retain(|member| !left_out.iter().any(|(one, _)| one.is(member)));
        let troubles = left_out.into_iter();
        let troubles =
            troubles.map(|(member, text)| Trouble { worker: address(&member.url), text });
        self.settle(members, troubles.collect(), Vec::new()).map(drop)
    }

    /// These are the members now. Each trouble is told once; the summary warns of it.
    fn settle(
        &self,
        members: Vec<Member>,
        troubles: Vec<Trouble>,
        twice: Vec<String>,
    ) -> Result<Vec<Member>> {
        for Trouble { worker, text } in &troubles {
            held(&self.missing).entry(worker.clone()).or_insert_with(|| {
                tracing::info!("worker {worker}: {text}");
                text.clone()
            });
        }
        (*held(&self.members)).clone_from(&members);
        if members.len() < self.least {
            let (found, wanted) = (members.len(), self.least);
            let troubles =
                troubles.iter().map(|Trouble { worker, text }| format!("{worker}: {text}"));
            let why: String = troubles.chain(twice).map(|why| format!("\n  {why}")).collect();
            bail!("{found} of at least {wanted} workers are there, {NOTHING_RUNS}{why}");
        }
        Ok(members)
    }

    /// The same in the middle of a run: waits a while for workers that are being started again.
    pub async fn muster_again(&self) -> Result<Vec<Member>> {
        let begun = Instant::now();
        let mut is_told = false;
        loop {
            match self.muster().await {
                Err(error) if begun.elapsed() < COMING_BACK => {
                    if !is_told {
                        let seconds = COMING_BACK.as_secs();
                        tracing::warn!("waiting up to {seconds} s for workers: {error:#}");
                        is_told = true;
                    }
                    sleep(PAUSE).await;
                }
                mustered => return mustered,
            }
        }
    }

    /// The workers that had a trouble, and the first that each had.
    pub fn missing(&self) -> Vec<String> {
        let missing = held(&self.missing);
        missing.iter().map(|(worker, text)| format!("worker {worker}: {text}")).collect()
    }

    /// The URLs of all workers. A name that stands for several machines is one URL each.
    async fn resolve(&self) -> (BTreeSet<Url>, Vec<Trouble>) {
        let (mut urls, mut troubles) = (BTreeSet::new(), Vec::new());
        let scheme = self.channels.scheme();
        for worker in &self.workers {
            let found = match tokio::net::lookup_host(worker.as_str()).await {
                Ok(found) => found.collect::<BTreeSet<_>>(),
                Err(error) => {
                    troubles.push(Trouble { worker: worker.clone(), text: error.to_string() });
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
                    Err(error) => {
                        troubles.push(Trouble { worker: host, text: error.to_string() });
                    }
                }
            }
        }
        (urls, troubles)
    }

    async fn ask(&self, url: &Url) -> Result<Member> {
        let info = self.channels.client(url)?.get_worker_info(GetWorkerInfoRequest {}).await;
        let info = info.map_err(|error| anyhow!("is not reached: {}", in_words(&error)))?;
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

/// Why a process was not reached. The last cause says most, but not to everybody.
pub fn in_words(error: &DataFusionError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let cause = cause.to_string();
    let words = MEANT.iter().find(|(sign, _)| cause.contains(sign));
    words.map_or(cause.clone(), |(_, words)| format!("TLS: {words} ({cause})"))
}

/// What causes mean to those who set workers up.
const MEANT: [(&str, &str); 9] = [
    ("alert: CertificateExpired", "the certificate of who asks has expired"),
    ("fatal alert", "it refuses the certificate of who asks"),
    ("InvalidContentType", "it has no certificates, and who asks has"),
    ("frame with invalid size", "it has certificates and who asks has none, or it is no worker"),
    ("not valid for name", "its certificate is for another name than --tls-name or its host"),
    ("NotValidForName", "its certificate is for another name than --tls-name or its host"),
    ("UnknownIssuer", "its certificate is of another authority"),
    ("BadSignature", "its certificate is of another authority"),
    ("certificate expired", "its certificate has expired"),
];

pub fn address(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"))
}

/// One worker for the engine's planner.
pub struct Only(pub Url);

impl WorkerResolver for Only {
    fn get_urls(&self) -> Result<Vec<Url>, DataFusionError> {
        Ok(vec![self.0.clone()])
    }
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
