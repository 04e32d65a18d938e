//! The lock of a root on object storage: a lease. It is one object that its holder changes every
//! few seconds, on the condition that no other run has changed it.
//!
//! Clocks of two machines are never compared. A run that wants the lease watches the object, and
//! takes it over only after it has not changed for longer than a live holder would wait. A holder
//! that was only suspended finds its next change refused, and ends. The lease needs conditional
//! puts, so a probe detects and refuses a store that ignores conditions.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use object_store::{
    Error, ObjectStoreExt, PutMode, PutOptions, PutPayload, PutResult, UpdateVersion,
};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use super::{Holder, Pace, is_held};
use crate::location::Location;
use crate::stop::Stop;

/// What the object says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    /// None when the last holder has released it.
    holder: Option<Holder>,
    /// Grows with every change.
    beat: u64,
}

/// Held until released. A task in the background renews it.
pub struct Lease {
    pub was_taken_over: bool,
    held: Arc<Held>,
    heartbeat: JoinHandle<()>,
    lost: watch::Receiver<Option<String>>,
}

struct Held {
    root: Location,
    object: Location,
    holder: Holder,
    pace: Pace,
    state: Mutex<State>,
}

struct State {
    version: UpdateVersion,
    beat: u64,
    changed: Instant,
}

impl Lease {
    pub async fn take(root: &Location, holder: &Holder, pace: Pace) -> Result<Lease, Stop> {
        probe(root, holder).await?;
        let object = root.child("_lookback/lock").unwatched();
        let mine = Content { holder: Some(holder.clone()), beat: 0 };
        let mut seen: Option<(Content, Instant)> = None;
        loop {
            let Some((content, version)) = read(&object).await? else {
                match put(&object, &mine, PutMode::Create).await {
                    Ok(put) => return Ok(Lease::hold(root, object, holder, pace, put, 0, false)),
                    Err(error) if is_refused(&error) => continue,
                    Err(error) => return Err(failed(&object, error)),
                }
            };
            let is_mine = content.holder.as_ref() == Some(holder);
            let now = Instant::now();
            let since = match &seen {
                Some((before, since)) if *before == content => *since,
                Some((before, _)) if before.holder == content.holder && !is_mine => {
                    let by = content.holder.map(|holder| holder.to_string()).unwrap_or_default();
                    return Err(is_held(root, &by));
                }
                _ => now,
            };
            let is_dead = now.duration_since(since) >= pace.dead;
            if is_mine || is_dead || content.holder.is_none() {
                let beat = content.beat + 1;
                let mine = Content { beat, ..mine.clone() };
                match put(&object, &mine, PutMode::Update(version)).await {
                    Ok(put) => {
                        let taken_over = is_dead && content.holder.is_some() && !is_mine;
                        return Ok(Lease::hold(root, object, holder, pace, put, beat, taken_over));
                    }
                    Err(error) if is_refused(&error) => seen = None,
                    Err(error) => return Err(failed(&object, error)),
                }
            } else {
                if seen.is_none() {
                    tracing::info!("{root}: waiting to see whether its holder is alive");
                }
                seen = Some((content, since));
            }
            tokio::time::sleep(pace.look).await;
        }
    }

    fn hold(
        root: &Location,
        object: Location,
        holder: &Holder,
        pace: Pace,
        put: PutResult,
        beat: u64,
        was_taken_over: bool,
    ) -> Lease {
        let state = State { version: put.into(), beat, changed: Instant::now() };
        let held = Arc::new(Held {
            root: root.clone(),
            object,
            holder: holder.clone(),
            pace,
            state: Mutex::new(state),
        });
        let (tell, lost) = watch::channel(None);
        let beating = held.clone();
        let heartbeat = tokio::spawn(async move {
            loop {
                tokio::time::sleep(pace.heartbeat).await;
                if let Err(why) = beating.renew().await {
                    let _ = tell.send(Some(why));
                    return;
                }
            }
        });
        Lease { was_taken_over, held, heartbeat, lost }
    }

    pub async fn confirm(&self) -> Result<(), Stop> {
        match self.held.renew().await {
            Ok(true) => Ok(()),
            Ok(false) => {
                let silence = anyhow::anyhow!("{}: the store does not answer", self.held.object);
                Err(silence.into())
            }
            Err(why) => Err(self.held.lost(&why)),
        }
    }

    pub async fn lost(&self) -> Stop {
        let mut lost = self.lost.clone();
        let why = match lost.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        };
        self.held.lost(&why)
    }

    pub async fn release(self) {
        self.heartbeat.abort();
        let state = self.held.state.lock().await;
        let free = Content { holder: None, beat: state.beat + 1 };
        let put = put(&self.held.object, &free, PutMode::Update(state.version.clone())).await;
        if let Err(error) = put {
            tracing::debug!("{}: not released: {error}", self.held.object);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.heartbeat.abort();
    }
}

impl Held {
    /// Changes the object. False when the store does not answer, which is tolerated for a while.
    /// Errors: the lease is lost; the text names the new holder.
    async fn renew(&self) -> Result<bool, String> {
        let mut state = self.state.lock().await;
        let beat = state.beat + 1;
        let content = Content { holder: Some(self.holder.clone()), beat };
        let put = put(&self.object, &content, PutMode::Update(state.version.clone())).await;
        let version = match put {
            Ok(put) => Some(put.into()),
            // The change may have been made and its answer lost. Then the object is still ours.
            Err(error) if is_refused(&error) => match read(&self.object).await {
                Ok(Some((found, version))) if found.holder.as_ref() == Some(&self.holder) => {
                    Some(version)
                }
                Ok(Some((Content { holder: Some(other), .. }, _))) => return Err(other.to_string()),
                Ok(_) => return Err("a run that has ended since".to_owned()),
                Err(_) => None,
            },
            Err(_) => None,
        };
        match version {
            Some(version) => {
                *state = State { version, beat, changed: Instant::now() };
                Ok(true)
            }
            None if state.changed.elapsed() < self.pace.give_up => Ok(false),
            None => Err("an unknown run, because the store does not answer".to_owned()),
        }
    }

    fn lost(&self, to: &str) -> Stop {
        Stop::later(format!("{}: the lock was lost; it is held by {to}", self.root)).hint(
            "this run did not renew the lock for too long; what it had not published is dropped",
        )
    }
}

/// Tries, on a separate object, whether the store supports conditional puts. Errors: exit 2 when it
/// does not; exit 1 when it cannot be written to.
async fn probe(root: &Location, holder: &Holder) -> Result<(), Stop> {
    let object = root.child(&format!("_lookback/probe-{}", holder.run_id));
    let content = |beat| Content { holder: Some(holder.clone()), beat };
    // After a lost answer the client repeats the put, and is refused. So read the object.
    let is_there = async |beat| {
        let found = read(&object).await?.filter(|(found, _)| found.beat == beat);
        Ok::<_, Stop>(found.map(|(_, version)| version))
    };
    let first: UpdateVersion = match put(&object, &content(0), PutMode::Create).await {
        Ok(put) => put.into(),
        Err(error) if is_refused(&error) => {
            is_there(0).await?.context("a probe that this run did not write")?
        }
        Err(error) => return Err(failed(root, error)),
    };
    let again = put(&object, &content(1), PutMode::Create).await;
    let update = put(&object, &content(2), PutMode::Update(first.clone())).await;
    let is_updated = update.is_ok() || is_there(2).await?.is_some();
    let outdated = put(&object, &content(3), PutMode::Update(first)).await;
    let deleted = object.store().delete(object.path()).await;
    let is_supported = again.as_ref().is_err_and(is_refused)
        && is_updated
        && outdated.as_ref().is_err_and(is_refused);
    for error in [again, update, outdated].into_iter().filter_map(Result::err) {
        if !is_refused(&error) && !is_unknown(&error) {
            return Err(failed(root, error));
        }
    }
    deleted.map_err(|error| failed(root, error))?;
    match is_supported {
        true => Ok(()),
        false => Err(Stop::fix_one(format!(
            "{root}: this store does not support conditional puts (If-None-Match, If-Match)"
        ))
        .hint(
            "two runs could overwrite each other's commits there; keep the output root in a \
             store that supports them. Nothing was written",
        )),
    }
}

async fn read(object: &Location) -> Result<Option<(Content, UpdateVersion)>, Stop> {
    let read = async {
        let found = match object.store().get(object.path()).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(anyhow::Error::from(error)),
        };
        let version =
            UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        let content = serde_json::from_slice(&found.bytes().await?)
            .context("is no lock that this program wrote; remove it if no run is under way")?;
        Ok(Some((content, version)))
    };
    Ok(read.await.with_context(|| object.to_string())?)
}

async fn put(
    object: &Location,
    content: &Content,
    mode: PutMode,
) -> object_store::Result<PutResult> {
    let bytes = serde_json::to_vec(content).unwrap_or_default();
    let options = PutOptions { mode, ..PutOptions::default() };
    object.store().put_opts(object.path(), PutPayload::from(bytes), options).await
}

fn is_refused(error: &Error) -> bool {
    matches!(error, Error::AlreadyExists { .. } | Error::Precondition { .. })
}

fn is_unknown(error: &Error) -> bool {
    matches!(error, Error::NotImplemented { .. } | Error::NotSupported { .. })
}

fn failed(location: &Location, error: Error) -> Stop {
    Stop::from(anyhow::Error::from(error).context(format!("{location}: cannot write")))
}
