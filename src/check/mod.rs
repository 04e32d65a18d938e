//! `lookback check`: what was understood of a job's inputs, what is wrong with them, and the one
//! thing to do next.
//!
//! Writes nothing. Refuses to print.

mod figures;
mod next;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context;
use chrono::NaiveDate;
use futures::try_join;

use crate::job::Job;
use crate::location::Location;
use crate::plan;
use crate::raw::{Log, RawLog};
use crate::reference::{self, Heads, Reference};
use crate::stop::{Kind, Stop};
use crate::warehouse::Warehouse;
use figures::Figures;

/// What was understood, when nothing is wrong.
pub struct Understood {
    job: Job,
    clicks: RawLog,
    orders: RawLog,
    /// Rows of each reference table.
    reference: Vec<(&'static str, u64)>,
    /// Tables that [input] does not name, and what of them lies where `lookback init` writes it.
    unnamed: BTreeMap<&'static str, Unnamed>,
    /// What lies at reference tables and is not read (B5).
    unread: Vec<String>,
    /// None where there are no rows.
    figures: Option<Figures>,
    /// The report dates that the warehouse has.
    reported: BTreeSet<NaiveDate>,
    /// Files of the warehouse that are gone.
    losses: Vec<String>,
}

/// A reference table beside the job file, which does not name it.
struct Unnamed {
    /// As [input] would name it.
    file: String,
    /// Its rows, or why it is no such table.
    rows: Result<u64, String>,
}

/// Reads the job file. Errors: exit 2 with all complaints, and the next step.
pub fn load(file: &Path) -> Result<Job, Stop> {
    Job::load(file).map_err(|stop| match stop.kind {
        Kind::Fix => next::job_file(stop, file),
        _ => stop,
    })
}

/// Checks everything that a job reads. Errors: exit 2 with all complaints (B1 to B3), and the next
/// step: what blocks first.
pub async fn check(job: &Job) -> Result<Understood, Stop> {
    let (mut warehouse, heads) = try_join!(Warehouse::open(&job.root), Heads::ask(job))?;
    let losses = warehouse.find_losses().await?;
    let another = plan::refuse_another_program(job, &warehouse);
    let loaded = Reference::load(job, &warehouse, &heads).await;
    let mut complaints = Complaints {
        program: fixable(&another)?,
        reference: fixable(&loaded)?,
        ..Complaints::default()
    };
    let clicks = log(Log::Clicks, job, &mut complaints).await?;
    let orders = log(Log::Orders, job, &mut complaints).await?;
    if let Some(stop) = next::first_of(complaints) {
        return Err(stop);
    }
    let reference = loaded?;
    let (clicks, orders) = clicks.zip(orders).context("a log without complaints is there")?;
    let figures = figures::look(job, [&clicks, &orders], &reference, &warehouse).await;
    let figures = figures.map_err(next::unreadable)?;
    Ok(Understood {
        clicks,
        orders,
        reference: reference.row_counts().collect(),
        unnamed: unnamed(job).await?,
        unread: reference.unread.clone(),
        figures,
        losses: losses.iter().map(ToString::to_string).collect(),
        reported: plan::reported(&warehouse)?,
        job: job.clone(),
    })
}

/// Complaints by what they are about, in the order in which to see to them.
#[derive(Default)]
struct Complaints {
    program: Vec<String>,
    locations: Vec<String>,
    files: Vec<String>,
    reference: Vec<String>,
}

/// The complaints of an outcome. Errors: it is of another kind.
fn fixable<T>(outcome: &Result<T, Stop>) -> Result<Vec<String>, Stop> {
    match outcome {
        Ok(_) => Ok(Vec::new()),
        Err(stop) if stop.kind == Kind::Fix => Ok(stop.complaints.clone()),
        Err(stop) => {
            let (complaints, hint) = (stop.complaints.clone(), stop.hint.clone());
            Err(Stop { kind: stop.kind, complaints, hint })
        }
    }
}

/// Lists a log and reads the schemas of its files. None where a complaint says why not.
async fn log(log: Log, job: &Job, complaints: &mut Complaints) -> Result<Option<RawLog>, Stop> {
    let listed = RawLog::list(log, job.log(log), None, None, |_| true).await;
    complaints.locations.extend(fixable(&listed)?);
    let Ok(mut raw) = listed else { return Ok(None) };
    let wrong = raw.refuse_wrong_location();
    let dates: BTreeSet<_> = raw.dates();
    let troubles = raw.validate_schemas(&dates).await?;
    let is_fine = wrong.is_empty() && troubles.is_empty();
    complaints.locations.extend(wrong);
    complaints.files.extend(troubles);
    Ok(is_fine.then_some(raw))
}

/// Looks for the optional tables that the job does not name. One with example rows alone is none.
async fn unnamed(job: &Job) -> Result<BTreeMap<&'static str, Unnamed>, Stop> {
    let optional = [("fx_rates", job.fx_rates.is_some()), ("identities", job.identities.is_some())];
    let beside = std::path::absolute(&job.file).map_err(anyhow::Error::from)?;
    let mut found = BTreeMap::new();
    for (name, _) in optional.into_iter().filter(|(_, is_named)| !is_named) {
        let file = format!("reference/{name}.csv");
        let location = Location::parse(&file, beside.parent().unwrap_or(Path::new("/")))?;
        let rows = match reference::rows_at(job, name, location).await? {
            None | Some(Ok(0)) => continue,
            Some(Ok(rows)) => Ok(rows),
            Some(Err(complaints)) => Err(complaints.into_iter().next().unwrap_or_default()),
        };
        found.insert(name, Unnamed { file, rows });
    }
    Ok(found)
}
