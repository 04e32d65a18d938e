//! Commits: each adds the next version to a table's log, or fails.

use std::collections::{BTreeSet, HashMap, HashSet};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use chrono::{DateTime, NaiveDate, Utc};
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties, TableReference};
use deltalake::kernel::{Action, Add, Transaction};
use deltalake::protocol::{DeltaOperation, SaveMode};
use serde_json::Value;

use super::write::NewFile;
use super::{
    CHECKPOINT_INTERVAL, Change, DIGEST_TAG, LOG_TAG, Lineage, ORIGIN_TAG, Partition, ROWS_TAG,
    Table, stats,
};
use crate::stop::Stop;

/// The key under which a commit's entry in the log names its run.
const RUN: &str = "lookbackRun";
const FENCE_ATTEMPTS: usize = 5;

impl Table {
    /// Commits without a change. This takes the version that an earlier holder of the lock would
    /// commit next. Errors: other runs keep committing.
    pub(super) async fn fence(&mut self, run_id: &str) -> Result<()> {
        for _ in 0..FENCE_ATTEMPTS {
            let operation = DeltaOperation::Write {
                mode: SaveMode::Append,
                partition_by: None,
                predicate: None,
            };
            let version = self.next_version()? as i64;
            let fence = Action::Txn(Transaction::new("lookback.fence", version));
            match self.append(vec![fence], operation, run_id).await {
                Err(error) if error.is::<Stop>() => self.refresh().await?,
                done => return done,
            }
        }
        bail!("other runs keep committing to it")
    }

    pub(super) async fn commit(
        &mut self,
        change: Change,
        run_id: &str,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let state = self.state().context("the table does not exist")?;
        let replaced: BTreeSet<&Partition> =
            change.files.iter().map(|(file, _)| &file.partition).collect();
        let gone = self.files.iter().filter(|file| replaced.contains(&file.partition));
        let gone: HashSet<&str> = gone.map(|file| file.path.as_str()).collect();
        let mut actions = Vec::new();
        for view in state.log_data().iter().filter(|view| gone.contains(&*view.path())) {
            actions.push(Action::Remove(view.remove_action(true)));
        }
        for (file, lineage) in &change.files {
            actions.push(Action::Add(self.add(file, lineage, now)));
        }
        let dates: BTreeSet<NaiveDate> = replaced.iter().map(|partition| partition.date).collect();
        let column = self.model.partition();
        let dates = dates.first().zip(dates.last()).zip(column);
        let operation = DeltaOperation::Write {
            mode: SaveMode::Overwrite,
            partition_by: column.map(|column| vec![column.to_owned()]),
            predicate: dates.map(|((first, last), column)| {
                format!("{column} >= '{first}' and {column} <= '{last}'")
            }),
        };
        self.append(actions, operation, run_id).await
    }

    /// Appends the next version to the log. Errors: exit 5 when another run was first.
    ///
    /// An error may hide a success: a lost answer, or a checkpoint that failed after the commit. So
    /// the log is read to see which run has that version. Nothing is tried a second time.
    pub(super) async fn append(
        &mut self,
        actions: Vec<Action>,
        operation: DeltaOperation,
        run_id: &str,
    ) -> Result<()> {
        let version = self.next_version()?;
        let properties = CommitProperties::default()
            .with_max_retries(0)
            .with_cleanup_expired_logs(Some((version + 1).is_multiple_of(CHECKPOINT_INTERVAL)))
            .with_metadata([(RUN.to_owned(), run_id.into())]);
        let table: Option<&dyn TableReference> = self.state().map(|state| state as _);
        let commit = CommitBuilder::from(properties).with_actions(actions).build(
            table,
            self.delta.log_store(),
            operation,
        );
        match commit.await {
            Ok(finished) => self.delta.state = Some(finished.snapshot()),
            Err(error) => {
                let entry = self.delta.log_store().read_commit_entry(version).await;
                let unknown = || format!("{error}; whether it was committed cannot be read");
                match entry.with_context(unknown)? {
                    Some(entry) if is_of_run(&entry, run_id) => {
                        tracing::debug!("version {version} is there despite: {error}");
                        self.log.read().await?;
                        self.delta.load_version(version).await?;
                    }
                    Some(_) => {
                        return Err(Stop::later(format!(
                            "{}: another run committed version {version} first",
                            self.model.name
                        ))
                        .hint("this run's rows of the table were not published; run again")
                        .into());
                    }
                    None => return Err(error.into()),
                }
            }
        }
        self.list()
    }

    fn add(&self, file: &NewFile, lineage: &Lineage, now: DateTime<Utc>) -> Add {
        let mut tags: HashMap<String, Option<String>> = lineage
            .iter()
            .map(|(name, digest)| (format!("{ORIGIN_TAG}{name}"), Some(digest.clone())))
            .collect();
        if let Some(log) = &file.partition.log {
            tags.insert(LOG_TAG.to_owned(), Some(log.clone()));
        }
        tags.insert(DIGEST_TAG.to_owned(), Some(file.digest.clone()));
        if !file.row_digests.is_empty() {
            let digests =
                file.row_digests.iter().map(|(date, digest)| format!("{date}={digest:x}"));
            let digests: Vec<String> = digests.collect();
            tags.insert(ROWS_TAG.to_owned(), Some(digests.join(" ")));
        }
        let date = file.partition.date.to_string();
        let partition = self.model.partition().map(|column| (column.to_owned(), Some(date)));
        Add {
            path: file.path.clone(),
            partition_values: partition.into_iter().collect(),
            size: file.size as i64,
            modification_time: now.timestamp_millis(),
            data_change: true,
            stats: Some(stats::of(file)),
            tags: Some(tags),
            ..Add::default()
        }
    }
}

/// Whether this run wrote an entry of the log.
fn is_of_run(entry: &Bytes, run_id: &str) -> bool {
    let lines = entry.split(|byte| *byte == b'\n');
    let mut entries = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    entries.any(|entry| entry["commitInfo"][RUN] == run_id)
}
