//! Files of a table that are no longer needed.
//!
//! Finding and removing are two steps. If the lock is held from the one to the other, no file that
//! was found belongs to a run in progress.

use std::path::Path as FilePath;
use std::sync::Arc;

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use deltalake::checkpoints::{cleanup_expired_logs_for, create_checkpoint};
use deltalake::operations::vacuum::{Clock, VacuumMode};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, ObjectMeta};

use super::Table;

/// The files of a table that no kept version names.
pub struct Unneeded {
    pub table: &'static str,
    pub files: Vec<Path>,
    pub versions_kept: usize,
}

impl Table {
    /// Finds the files that no version needs that was current at some time since `since`.
    pub(super) async fn unneeded(
        &self,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Unneeded> {
        let keep = self.versions_since(since).await?;
        let vacuum = self
            .delta
            .clone()
            .vacuum()
            .with_mode(VacuumMode::Full)
            .with_retention_period(TimeDelta::zero())
            .with_enforce_retention_duration(false)
            .with_keep_versions(&keep)
            .with_clock(Arc::new(At(now)))
            .with_dry_run(true);
        let (_, metrics) = vacuum.await?;
        let files: Result<Vec<Path>, _> = metrics.files_deleted.iter().map(Path::parse).collect();
        Ok(Unneeded { table: self.model.name, files: files?, versions_kept: keep.len() })
    }

    async fn versions_since(&self, since: DateTime<Utc>) -> Result<Vec<u64>> {
        let log = self.delta.log_store();
        let entries = log.object_store(None).list(Some(log.log_path()));
        let entries: Vec<ObjectMeta> = entries.try_collect().await?;
        let version = |entry: &ObjectMeta| -> Option<u64> {
            entry.location.filename()?.strip_suffix(".json")?.parse().ok()
        };
        let mut versions: Vec<(u64, DateTime<Utc>)> = entries
            .iter()
            .filter_map(|entry| Some((version(entry)?, entry.last_modified)))
            .collect();
        versions.sort();
        // A version is current until the next one.
        let ends = versions.iter().skip(1).map(|(_, made)| *made).chain([DateTime::<Utc>::MAX_UTC]);
        let kept = versions.iter().zip(ends).filter(|(_, end)| *end >= since);
        Ok(kept.map(|((version, _), _)| *version).collect())
    }

    pub(super) async fn remove(&self, files: Vec<Path>) -> Result<()> {
        let store = self.delta.log_store().object_store(None);
        let locations = futures::stream::iter(files.into_iter().map(Ok)).boxed();
        let mut removed = store.delete_stream(locations);
        while let Some(outcome) = removed.next().await {
            match outcome {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Writes a checkpoint, and removes the log entries that it replaces and that are older than
    /// `since`. Returns the number of removed entries.
    pub(super) async fn shorten_log(&mut self, since: DateTime<Utc>) -> Result<usize> {
        create_checkpoint(&self.delta, None).await?;
        let version = self.next_version()? - 1;
        let log = self.delta.log_store();
        let since = since.timestamp_millis();
        let removed = cleanup_expired_logs_for(version, log.as_ref(), since, None).await?;
        self.delta.load().await?;
        self.list()?;
        Ok(removed)
    }
}

/// A clock that always shows the same time.
#[derive(Debug)]
struct At(DateTime<Utc>);

impl Clock for At {
    fn current_timestamp_millis(&self) -> i64 {
        self.0.timestamp_millis()
    }
}

/// Removes unfinished files of killed runs below a folder. On a local disk their names are like
/// `….parquet#1`, which no listing shows.
pub(super) fn remove_staged(folder: &FilePath) -> Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| folder.display().to_string()),
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_staged = name.rsplit_once('#').is_some_and(|(_, number)| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        });
        if path.is_dir() {
            remove_staged(&path)?;
        } else if is_staged {
            std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}
