//! One writer per warehouse: a second run ends with exit 5 and says who holds it since when.
//!
//! On a local root the operating system keeps the lock and drops it when its holder dies, so a dead
//! run blocks nobody. On object storage there is no such lock yet; there the Delta log alone stands
//! between two writers: the later commit fails and publishes nothing.

use std::fs::File;
use std::io::{Read, Seek, Write};

use anyhow::{Context, Result};
use chrono::{DateTime, SecondsFormat, Utc};

use crate::place::Place;
use crate::stop::Stop;

/// Held until dropped.
pub struct Lock {
    _file: Option<File>,
}

impl Lock {
    /// Errors: exit 5 when another run holds the warehouse.
    pub fn take(root: &Place, run_id: &str, now: DateTime<Utc>) -> Result<Lock, Stop> {
        let Ok(path) = root.child("_lookback/lock").url().to_file_path() else {
            return Ok(Lock { _file: None });
        };
        let mut file = open(&path)?;
        match file.try_lock() {
            Ok(()) => {
                sign(&mut file, run_id, now).with_context(|| path.display().to_string())?;
                Ok(Lock { _file: Some(file) })
            }
            Err(std::fs::TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(anyhow::Error::from)?;
                Err(Stop::later(format!("{root}: is held by {}", holder.trim()))
                    .hint("wait for that run to end, then start this one again"))
            }
            Err(std::fs::TryLockError::Error(error)) => {
                Err(anyhow::Error::from(error).context(path.display().to_string()).into())
            }
        }
    }
}

fn open(path: &std::path::Path) -> Result<File> {
    let folder = path.parent().context("a lock lies in a folder")?;
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
    file.with_context(|| path.display().to_string())
}

fn sign(file: &mut File, run_id: &str, now: DateTime<Utc>) -> std::io::Result<()> {
    let since = now.to_rfc3339_opts(SecondsFormat::Secs, true);
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "run {run_id} (process {}) since {since}", std::process::id())?;
    file.flush()
}
