//! Writing a stored table in another process: what it is told, and what it reports.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use chrono::NaiveDate;
use chrono_tz::Tz;
use datafusion::execution::SendableRecordBatchStream;
use object_store::ObjectStoreExt;
use serde::{Deserialize, Serialize};

use super::{NewFile, Upload};
use crate::engine::elsewhere::Value;
use crate::engine::parquet_table::Bounds;
use crate::location::{Location, Stores};
use crate::model;
use crate::warehouse::Partition;

/// To write rows, sorted by partition, to the files of a table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TableOrder {
    pub model: String,
    /// The URL of the table's folder.
    pub folder: String,
    pub file_name: String,
    /// Each gets a file, also without rows.
    pub partitions: Vec<(NaiveDate, Option<String>)>,
    pub zone: String,
}

/// A file that was written.
#[derive(Debug, Serialize, Deserialize)]
pub struct FileReport {
    date: NaiveDate,
    log: Option<String>,
    path: String,
    /// The paths that earlier attempts gave it. They may have left files there.
    earlier: Vec<String>,
    size: u64,
    rows: u64,
    bounds: BTreeMap<String, (Value, Value)>,
    nulls: BTreeMap<String, u64>,
    digest: String,
    row_digests: BTreeMap<NaiveDate, u64>,
    is_key_in_doubt: bool,
}

/// Writes the files that an order asks for, and waits until they are in the store. Each attempt has
/// names of its own: what an earlier one still writes cannot take the place of a file that counts.
/// Errors: as [`super::table`].
pub async fn as_ordered(
    rows: SendableRecordBatchStream,
    order: &TableOrder,
    attempt: u32,
    stores: &Stores,
) -> Result<Vec<FileReport>> {
    let model = model::named(&order.model)?;
    let folder = Location::parse_in(stores, &order.folder, Path::new("/"))?;
    let zone: Tz = order.zone.parse().ok().context("an unknown time zone")?;
    let partitions = order.partitions.iter().cloned();
    let partitions: Vec<Partition> =
        partitions.map(|(date, log)| Partition { date, log }).collect();
    let name_of = |attempt: u32| match attempt {
        0 => order.file_name.clone(),
        attempt => format!("{}-{attempt}", order.file_name),
    };
    let file_name = name_of(attempt);
    let files = super::table(rows, model, &folder, &file_name, &partitions, zone).await?;
    let mut reports = Vec::new();
    for file in files {
        file.upload.finish(&file.path).await?;
        let earlier = (0..attempt).map(|earlier| file.path.replace(&file_name, &name_of(earlier)));
        reports.push(FileReport { earlier: earlier.collect(), ..FileReport::of(file)? });
    }
    Ok(reports)
}

impl FileReport {
    fn of(file: NewFile) -> Result<FileReport> {
        let bounds = file.bounds.iter().map(|(column, (least, greatest))| {
            Ok((column.clone(), (Value::of(least)?, Value::of(greatest)?)))
        });
        Ok(FileReport {
            bounds: bounds.collect::<Result<_>>()?,
            date: file.partition.date,
            log: file.partition.log,
            path: file.path,
            earlier: Vec::new(),
            size: file.size,
            rows: file.rows,
            nulls: file.nulls,
            digest: file.digest,
            row_digests: file.row_digests,
            is_key_in_doubt: file.is_key_in_doubt,
        })
    }

    fn file(self) -> Result<NewFile> {
        let bounds = self
            .bounds
            .into_iter()
            .map(|(column, (least, greatest))| Ok((column, (least.scalar()?, greatest.scalar()?))));
        Ok(NewFile {
            bounds: bounds.collect::<Result<Bounds>>()?,
            partition: Partition { date: self.date, log: self.log },
            path: self.path,
            size: self.size,
            rows: self.rows,
            nulls: self.nulls,
            digest: self.digest,
            upload: Upload::done(),
            row_digests: self.row_digests,
            is_key_in_doubt: self.is_key_in_doubt,
        })
    }
}

/// The files that reports tell of, in the order of their partitions. What earlier attempts left in the
/// table's folder is removed. Errors: not one file for each partition that was asked for.
pub async fn reported(
    reports: &[String],
    partitions: &[Partition],
    folder: &Location,
) -> Result<Vec<NewFile>> {
    let mut files = Vec::new();
    for report in reports {
        let report: FileReport = serde_json::from_str(report)?;
        for path in &report.earlier {
            let left = folder.child(path);
            // Perhaps nothing is there. What stays, or comes late, a vacuum removes.
            let removed = left.store().delete(left.path()).await;
            tracing::debug!("{left}: of an attempt that failed, removed: {}", removed.is_ok());
        }
        files.push(report.file()?);
    }
    files.sort_by(|one, other| one.partition.cmp(&other.partition));
    let mut wanted: Vec<&Partition> = partitions.iter().collect();
    wanted.sort();
    ensure!(
        files.iter().map(|file| &file.partition).eq(wanted),
        "the files that were written are not those that were asked for"
    );
    Ok(files)
}
