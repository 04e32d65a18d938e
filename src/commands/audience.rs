//! Who is told how a run ended, besides the person at the terminal: the summary for schedulers, the
//! metrics for monitors, the events for catalogs, the trace for a collector. All are told of a run that
//! failed, too.

use std::path::Path;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use tokio::task::JoinHandle;

use super::output;
use crate::cli::RunOptions;
use crate::days::{self, DateRange};
use crate::job::Job;
use crate::location::Collector;
use crate::operators::metrics;
use crate::operators::openlineage::{About, Datasets, EventType, Target, event};
use crate::operators::place::Place;
use crate::operators::traces;
use crate::progress::Progress;
use crate::stop::Stop;
use crate::summary::{Asked, Summary};

/// Where a summary goes.
#[derive(Clone)]
enum Paper {
    Stdout,
    File(Place),
}

/// Who is told of a run. A clone tells the same ones.
#[derive(Clone)]
pub struct Audience {
    summary: Option<Paper>,
    metrics: Option<Place>,
    events: Option<Target>,
    collector: Option<Collector>,
    about: About,
    /// As typed in an absolute path: it tells the jobs of a machine apart.
    job_file: String,
    zone: Tz,
    started: Instant,
    started_at: DateTime<Utc>,
    pub progress: Progress,
}

impl Audience {
    /// Looks whether the files can be written, before anything is done. The complaints are about those
    /// that cannot; the others are told all the same.
    pub fn gather(
        options: &RunOptions,
        job_file: &Path,
        summary: &Summary,
        progress: Progress,
    ) -> (Audience, Vec<String>) {
        let mut complaints = Vec::new();
        let mut place = |flag: &str, file: &Path| {
            let complain = |error| complaints.push(format!("{flag} {}: {error:#}", file.display()));
            Place::look(file).map_err(complain).ok()
        };
        let is_stdout = |file: &Path| file == Path::new("-");
        let metrics_to = options.metrics.as_deref().filter(|file| !is_stdout(file));
        let mut metrics = metrics_to.and_then(|file| place("--metrics", file));
        let summary_to = options.summary.as_deref().and_then(|file| match is_stdout(file) {
            true => Some(Paper::Stdout),
            false => place("--summary", file).map(Paper::File),
        });
        let is_summary = |file: &Place| matches!(&summary_to, Some(Paper::File(to)) if to == file);
        if let Some(file) = metrics.take_if(|file| is_summary(file)) {
            let name = file.name().display();
            complaints.push(format!("{name}: is the file of --summary and of --metrics"));
        }
        if options.metrics.as_deref().is_some_and(is_stdout) {
            complaints
                .push("--metrics -: a file is wanted; --summary alone can be stdout".to_owned());
        }
        // Without the text: it may hold a password.
        let target = options.openlineage.as_deref().map(Target::parse).transpose();
        let events = target.unwrap_or_else(|why| {
            complaints.push(format!("--openlineage: {why}"));
            None
        });
        let absolute = std::path::absolute(job_file).unwrap_or_else(|_| job_file.to_owned());
        let about = About {
            run_id: summary.run_id.clone(),
            job: name_by_path(&absolute),
            ..About::default()
        };
        let audience = Audience {
            summary: summary_to,
            metrics,
            events,
            collector: Collector::of_environment().unwrap_or_else(|trouble| {
                tracing::warn!("traces are not sent: {trouble:#}");
                None
            }),
            about,
            job_file: absolute.display().to_string(),
            zone: Tz::UTC,
            started: Instant::now(),
            started_at: summary.started_at,
            progress,
        };
        (audience, complaints)
    }

    /// Takes from the job what is told of it.
    pub fn meet(&mut self, job: &Job, asked: Asked) -> Result<(), Stop> {
        self.zone = job.zone;
        if let Some(name) = &job.name {
            self.about.job.clone_from(name);
        }
        if let Asked::Dates { from, to } = asked {
            self.about.dates = Some(DateRange { from, to }.instants(job.zone));
        }
        self.about.datasets = Datasets::of(job)?;
        Ok(())
    }

    /// Tells catalogs that the run begins, beside the run.
    pub fn begin(&self) -> JoinHandle<()> {
        let audience = self.clone();
        tokio::spawn(async move {
            audience.send(EventType::Start, audience.started_at, None).await;
        })
    }

    /// Tells all how the run ended. Errors: exit 1 when a file could not be written although the run
    /// succeeded.
    pub async fn end(
        &self,
        summary: &mut Summary,
        ended: Result<(), Stop>,
        by_somebody: bool,
    ) -> Result<(), Stop> {
        summary.seconds = self.started.elapsed().as_secs_f64();
        summary.stages = self.progress.stages();
        summary.end(&ended);
        for warning in &summary.warnings {
            match ended {
                Ok(()) => tracing::warn!(target: output::IN_SUMMARY, "{warning}"),
                // There is no summary for people then.
                Err(_) => tracing::warn!("{warning}"),
            }
        }
        let mut troubles = Vec::new();
        if let Some(place) = &self.metrics {
            let about = metrics::About {
                job_file: &self.job_file,
                date: days::local_date(self.started_at, self.zone),
                before: &place.text(),
            };
            troubles.extend(place.write(&metrics::text(summary, &about)).err());
        }
        let kind = match (&ended, by_somebody) {
            (Ok(()), _) => EventType::Complete,
            (Err(_), true) => EventType::Abort,
            (Err(_), false) => EventType::Fail,
        };
        let time = self.started_at + TimeDelta::milliseconds((summary.seconds * 1000.0) as i64);
        let error = ended.as_ref().err().map(ToString::to_string);
        tokio::join!(self.send(kind, time, error.as_deref()), self.trace(summary));
        // The summary comes last: who waits for it finds all else there.
        match &self.summary {
            None => {}
            Some(paper) => troubles.extend(tell_summary(paper, summary).err()),
        }
        match (ended, troubles.is_empty()) {
            (Ok(()), false) => {
                let complaints = troubles.iter().map(|trouble| format!("{trouble:#}")).collect();
                let stop = Stop { kind: crate::stop::Kind::Ask, complaints, hint: None };
                Err(stop.hint("the tables are as they should be; a run again changes nothing"))
            }
            (ended, _) => {
                troubles.iter().for_each(|trouble| tracing::warn!("{trouble:#}"));
                ended
            }
        }
    }

    /// Trouble is a warning.
    async fn send(&self, kind: EventType, time: DateTime<Utc>, error: Option<&str>) {
        let Some(target) = &self.events else { return };
        if let Err(trouble) = target.send(&event(&self.about, kind, time, error)).await {
            tracing::warn!("an OpenLineage event could not be sent: {trouble:#}");
        }
    }

    /// Trouble is a warning here, too.
    async fn trace(&self, summary: &Summary) {
        let Some(Collector { endpoint, service, parent }) = &self.collector else { return };
        let about = traces::About {
            service: service.as_deref().unwrap_or("lookback"),
            job_file: &self.job_file,
            parent: parent.as_ref(),
        };
        let request = traces::request(summary, &self.progress.steps(), &about);
        if let Err(trouble) = endpoint.post(request.to_string()).await {
            tracing::warn!("the trace could not be sent: {trouble:#}");
        }
    }
}

fn tell_summary(paper: &Paper, summary: &Summary) -> anyhow::Result<()> {
    let json = serde_json::to_string_pretty(summary)? + "\n";
    match paper {
        Paper::Stdout => Ok(output::print(&json)?),
        Paper::File(place) => place.write(&json),
    }
}

/// The name of a job whose file gives it none. Many files are called `job.toml`: their folder's name
/// tells them apart.
fn name_by_path(absolute: &Path) -> String {
    let stem = absolute.file_stem().unwrap_or_default();
    let folder = absolute.parent().and_then(Path::file_name);
    let name = if stem == "job" { folder.unwrap_or(stem) } else { stem };
    name.to_string_lossy().into_owned()
}
