//! One writer per warehouse: a second run ends with exit 5 and names the holder.
//!
//! On a local root the operating system holds the lock, and releases it when the holder dies. On
//! object storage the lock is a lease, see [`lease`]: an object that its holder keeps changing.

mod file;
mod lease;

use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::location::Location;
use crate::stop::Stop;
use file::FileLock;
use lease::{Before, Lease};

/// The run that holds a warehouse, for messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub run_id: String,
    process: u32,
    host: String,
    since: String,
}

impl Holder {
    pub fn new(run_id: &str, now: DateTime<Utc>) -> Holder {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Holder {
            run_id: run_id.to_owned(),
            process: std::process::id(),
            host: host.trim().to_owned(),
            since: now.to_rfc3339_opts(SecondsFormat::Secs, true),
        }
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "run {} (process {}", self.run_id, self.process)?;
        if !self.host.is_empty() {
            write!(f, " on {}", self.host)?;
        }
        write!(f, ") since {}", self.since)
    }
}

/// What the lock of a root said before a run read anything else there. See [`Lock::is_as_seen`].
#[derive(Default)]
pub struct Sight(lease::Sight);

impl Sight {
    /// Never fails: what cannot be read now is read again when the lock is taken.
    pub async fn of(root: &Location) -> Sight {
        match root.local_path() {
            Some(_) => Sight::default(),
            None => Sight(lease::Sight::of(root).await),
        }
    }
}

/// Held until released.
pub enum Lock {
    File(FileLock),
    Lease(Lease),
}

/// How often a lease is renewed and checked. Durations are measured on one machine only.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How often a holder changes the object.
    pub heartbeat: Duration,
    /// A lease that has not changed for this long can be taken over.
    pub dead: Duration,
    /// A holder that could not change it for this long gives up, well before others take it over.
    pub give_up: Duration,
    /// How often a run that waits reads the object.
    pub look: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            heartbeat: Duration::from_secs(5),
            dead: Duration::from_secs(45),
            give_up: Duration::from_secs(30),
            look: Duration::from_secs(1),
        }
    }
}

impl Lock {
    /// Takes the lock of a root. Errors: exit 5 when another run holds it; exit 2 when the store
    /// cannot hold a lock; exit 1 when the store fails.
    pub async fn take(
        root: &Location,
        holder: &Holder,
        pace: Pace,
        sight: Sight,
    ) -> Result<Lock, Stop> {
        match root.local_path() {
            Some(path) => Ok(Lock::File(FileLock::take(root, &path, holder)?)),
            None => Ok(Lock::Lease(Lease::take(root, holder, pace, sight.0).await?)),
        }
    }

    /// Whether no run has held the lock since the [`Sight`] of it.
    ///
    /// The holder changes the object when it takes the lease, and when it releases it. This run took
    /// it on the condition that the object was still the one that it saw. A run commits only while it
    /// holds the lease, so what was read after the sight is what the warehouse is now. Two commits may
    /// still arrive: that of a holder that released the lease while a put was on its way, and that of
    /// this run after another one took over. Each names a version that follows what its run read, so
    /// of two commits of one version the store refuses one.
    pub fn is_as_seen(&self) -> bool {
        match self {
            Lock::File(_) => false,
            Lock::Lease(lease) => lease.before == Before::AsSeen,
        }
    }

    /// Whether the last holder died without releasing it. Its commits may still be under way, so
    /// they have to be fenced off.
    pub fn was_taken_over(&self) -> bool {
        match self {
            Lock::File(_) => false,
            Lock::Lease(lease) => lease.before == Before::Held,
        }
    }

    /// Asks the store whether the lock is still held. Errors: exit 5 when it was lost; exit 1 when
    /// the store does not answer.
    pub async fn confirm(&self) -> Result<(), Stop> {
        match self {
            Lock::File(_) => Ok(()),
            Lock::Lease(lease) => lease.confirm().await,
        }
    }

    /// Waits until the lock is lost, and names the new holder if it is known. A file lock is never
    /// lost.
    pub async fn lost(&self) -> Stop {
        match self {
            Lock::File(_) => std::future::pending().await,
            Lock::Lease(lease) => lease.lost().await,
        }
    }

    /// Releases the lock. A failure here only makes the next run wait.
    pub async fn release(self) {
        if let Lock::Lease(lease) = self {
            lease.release().await;
        }
    }
}

fn is_held(root: &Location, by: &str) -> Stop {
    Stop::later(format!("{root}: is held by {by}"))
        .hint("wait for that run to end, then start this one again")
}
