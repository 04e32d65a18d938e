//! The lock of a root on object storage: a lease. It is one object that its holder changes every
//! few seconds, on the condition that no other run has changed it.
//!
//! Clocks of two machines are never compared. A run that wants the lease watches the object, and
//! takes it over only after it has not changed for longer than a live holder would wait. A holder
//! that was only suspended finds its next change refused, and ends. The lease needs conditional
//! puts, so each run tries on the lease itself that the store refuses what it has to refuse.

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

/// What the object said when it was read, and its version. None: there was none.
type Found = Option<(Content, UpdateVersion)>;

/// What the object said before a run read anything else. Empty when it could not be read.
#[derive(Default)]
pub struct Sight(Option<Found>);

/// What the object said when the lease was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// The same as when it was seen: no run has held it since.
    AsSeen,
    Free,
    /// The last holder died.
    Held,
}

/// Held until released. A task in the background renews it.
pub struct Lease {
    pub before: Before,
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

impl Sight {
    pub async fn of(root: &Location) -> Sight {
        Sight(read(&object(root)).await.ok())
    }
}

impl Lease {
    /// A free lease is taken if it is as it was seen. Else it is read again.
    pub async fn take(
        root: &Location,
        holder: &Holder,
        pace: Pace,
        sight: Sight,
    ) -> Result<Lease, Stop> {
        let object = object(root);
        let mine = Content { holder: Some(holder.clone()), beat: 0 };
        let is_free = |found: &Found| found.as_ref().is_none_or(|(it, _)| it.holder.is_none());
        let mut sight = sight.0.filter(is_free);
        let mut seen: Option<(Content, Instant)> = None;
        loop {
            let is_sight = sight.is_some();
            let found = match sight.take() {
                Some(found) => found,
                None => read(&object).await?,
            };
            let free = if is_sight { Before::AsSeen } else { Before::Free };
            let Some((content, version)) = found else {
                match put(&object, &mine, PutMode::Create).await {
                    Ok(put) => {
                        let lease = Lease::hold(root, &object, holder, pace, put, 0, free);
                        return lease.tried(None).await;
                    }
                    Err(error) if is_refused(&error) => continue,
                    Err(error) => return Err(failed(&object, root, error)),
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
                match put(&object, &mine, PutMode::Update(version.clone())).await {
                    Ok(put) => {
                        let is_overtaken = is_dead && content.holder.is_some() && !is_mine;
                        let before = if is_overtaken { Before::Held } else { free };
                        let lease = Lease::hold(root, &object, holder, pace, put, beat, before);
                        return lease.tried(Some(version)).await;
                    }
                    Err(error) if is_refused(&error) && is_sight => continue,
                    Err(error) if is_refused(&error) => seen = None,
                    Err(error) => return Err(failed(&object, root, error)),
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
        object: &Location,
        holder: &Holder,
        pace: Pace,
        put: PutResult,
        beat: u64,
        before: Before,
    ) -> Lease {
        let state = State { version: put.into(), beat, changed: Instant::now() };
        let held = Arc::new(Held {
            root: root.clone(),
            // A heartbeat is no progress.
            object: object.unwatched(),
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
        Lease { before, held, heartbeat, lost }
    }

    /// Tries whether the store supports conditional puts. `outdated` is the version before the lease
    /// was taken. Errors: exit 2 when it does not; then the object is removed.
    async fn tried(self, outdated: Option<UpdateVersion>) -> Result<Lease, Stop> {
        match self.held.refuses(outdated).await {
            Ok(true) => Ok(self),
            Ok(false) => {
                self.heartbeat.abort();
                let Held { root, object, .. } = self.held.as_ref();
                let deleted = object.store().delete(object.path()).await;
                deleted.map_err(|error| failed(object, root, error))?;
                Err(is_unconditional(root))
            }
            Err(stop) => {
                self.release().await;
                Err(stop)
            }
        }
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

    /// Whether the store refuses a put whose condition does not hold, and does one whose condition
    /// holds. Errors: the lease is lost; the store fails.
    async fn refuses(&self, outdated: Option<UpdateVersion>) -> Result<bool, Stop> {
        let mut state = self.state.lock().await;
        let content = |beat| Content { holder: Some(self.holder.clone()), beat };
        let outdated = match outdated {
            Some(outdated) => outdated,
            // The lease was created, so no update was done yet.
            None => {
                let (created, beat) = (state.version.clone(), state.beat + 1);
                let updated = PutMode::Update(created.clone());
                let version = match put(&self.object, &content(beat), updated).await {
                    Ok(put) => put.into(),
                    // After a lost answer the client repeats the put, and is refused.
                    Err(error) if is_refused(&error) => match read(&self.object).await? {
                        Some((found, version)) if found == content(beat) => version,
                        Some((found, _)) if found == content(beat - 1) => return Ok(false),
                        Some((Content { holder: Some(other), .. }, _)) => {
                            return Err(self.lost(&other.to_string()));
                        }
                        _ => return Err(self.lost("a run that has ended since")),
                    },
                    Err(error) => return Err(failed(&self.object, &self.root, error)),
                };
                *state = State { version, beat, changed: Instant::now() };
                created
            }
        };
        // They change nothing, even if they are done.
        let content = content(state.beat);
        let (again, update) = tokio::join!(
            put(&self.object, &content, PutMode::Create),
            put(&self.object, &content, PutMode::Update(outdated))
        );
        let is_supported = [&again, &update].iter().all(|put| put.as_ref().is_err_and(is_refused));
        for error in [again, update].into_iter().filter_map(Result::err) {
            if !is_refused(&error) {
                return Err(failed(&self.object, &self.root, error));
            }
        }
        Ok(is_supported)
    }

    fn lost(&self, to: &str) -> Stop {
        Stop::later(format!("{}: the lock was lost; it is held by {to}", self.root)).hint(
            "this run did not renew the lock for too long; what it had not published is dropped",
        )
    }
}

fn object(root: &Location) -> Location {
    root.child("_lookback/lock")
}

async fn read(object: &Location) -> Result<Found, Stop> {
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

fn failed(object: &Location, root: &Location, error: Error) -> Stop {
    match error {
        Error::NotImplemented { .. } | Error::NotSupported { .. } => is_unconditional(root),
        error => Stop::from(anyhow::Error::from(error).context(format!("{object}: cannot write"))),
    }
}

fn is_unconditional(root: &Location) -> Stop {
    Stop::fix_one(format!(
        "{root}: this store does not support conditional puts (If-None-Match, If-Match)"
    ))
    .hint(
        "two runs could overwrite each other's commits there; keep the output root in a store that \
         supports them. Nothing was written",
    )
}
