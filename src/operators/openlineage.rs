//! A run as OpenLineage events: START, then COMPLETE, FAIL or ABORT with the same run id. A catalog
//! draws from them which tables come of which logs. They are appended to a file, a line each, or
//! posted to an http(s) URL.
//!
//! Refuses to fail or to delay a run: whoever sends an event waits for a few seconds at most.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt;

use crate::job::Job;
use crate::location::{Endpoint, Location};
use crate::model::{self, Model};
use crate::raw::{Log, Shape};
use crate::reference::{TABLES, required_columns, source_of};

/// Who makes the events: the package and its version.
const PRODUCER: &str = concat!("pkg:cargo/lookback@", env!("CARGO_PKG_VERSION"));
const SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
const NAMESPACE: &str = "lookback";

/// How long a file may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where events go.
#[derive(Debug, Clone)]
pub enum Target {
    File(PathBuf),
    Url(Endpoint),
}

impl Target {
    /// A file or an http(s) URL. A URL without a path is that of a server: events go to its
    /// `/api/v1/lineage`. Errors: what is wrong with it.
    pub fn parse(text: &str) -> Result<Target, String> {
        match text.contains("://") {
            true => Ok(Target::Url(Endpoint::of_catalog(text)?)),
            false => Ok(Target::File(PathBuf::from(text))),
        }
    }

    /// Sends an event. Errors: the file cannot be written, or the server does not take it.
    pub async fn send(&self, event: &Value) -> Result<()> {
        match self {
            Target::File(file) => {
                let append = async {
                    let options = std::fs::OpenOptions::new().create(true).append(true).clone();
                    let mut file = tokio::fs::OpenOptions::from(options).open(file).await?;
                    file.write_all(format!("{event}\n").as_bytes()).await?;
                    file.flush().await
                };
                let name = || file.display().to_string();
                // A pipe that nobody reads, or a disk that does not answer.
                let written = tokio::time::timeout(PATIENCE, append).await;
                written.with_context(name)?.with_context(name)
            }
            Target::Url(endpoint) => endpoint.post(event.to_string()).await,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    Start,
    Complete,
    Fail,
    /// Somebody ended the run.
    Abort,
}

impl EventType {
    fn name(self) -> &'static str {
        match self {
            EventType::Start => "START",
            EventType::Complete => "COMPLETE",
            EventType::Fail => "FAIL",
            EventType::Abort => "ABORT",
        }
    }
}

/// What all events of a run have.
#[derive(Debug, Clone, Default)]
pub struct About {
    pub run_id: String,
    /// The job's name in the catalog.
    pub job: String,
    /// The instants of the report dates that were asked for, half open.
    pub dates: Option<Range<DateTime<Utc>>>,
    pub datasets: Datasets,
}

/// The logs and tables that a job reads and writes.
#[derive(Debug, Clone, Default)]
pub struct Datasets {
    inputs: Vec<Value>,
    outputs: Vec<Value>,
}

impl Datasets {
    /// Errors: never, as the SQL files are part of the program.
    pub fn of(job: &Job) -> Result<Datasets> {
        let mut inputs = Vec::new();
        for log in [Log::Clicks, Log::Orders] {
            for source in job.log(log) {
                // What a view reads is known to its query alone.
                let columns = match &source.shape {
                    Shape::View(_) => Vec::new(),
                    Shape::Columns(theirs) => log
                        .column_names()
                        .filter(|column| theirs.contains_key(*column) || log.is_required(column))
                        .map(|column| theirs.get(column).map_or(column, String::as_str))
                        .collect(),
                };
                let documentation = format!("raw log of {}", log.name());
                inputs.push(dataset(&source.location, &documentation, fields(&columns)));
            }
        }
        for table in TABLES {
            let Some(source) = source_of(job, table) else { continue };
            let columns = match &source.shape {
                Shape::View(_) => Vec::new(),
                Shape::Columns(theirs) => required_columns(table)
                    .map(|column| theirs.get(column).map_or(column, String::as_str))
                    .collect(),
            };
            let documentation = format!("reference table {table}");
            inputs.push(dataset(&source.location, &documentation, fields(&columns)));
        }
        let outputs = model::stored()?.into_iter().map(|model| {
            let location = job.root.child(&model.folder());
            dataset(&location, &model.purpose, typed_fields(model))
        });
        Ok(Datasets { inputs, outputs: outputs.collect() })
    }
}

/// An event, at this time. `error` is what a run that failed complains of.
pub fn event(about: &About, kind: EventType, time: DateTime<Utc>, error: Option<&str>) -> Value {
    let mut facets = Map::new();
    let engine = json!({ "name": "lookback", "version": env!("CARGO_PKG_VERSION") });
    facets.insert("processing_engine".to_owned(), facet("1-1-1/ProcessingEngineRunFacet", engine));
    if let Some(dates) = &about.dates {
        let dates = json!({
            "nominalStartTime": text(dates.start),
            "nominalEndTime": text(dates.end),
        });
        facets.insert("nominalTime".to_owned(), facet("1-0-1/NominalTimeRunFacet", dates));
    }
    if let Some(message) = error {
        let error = json!({ "message": message, "programmingLanguage": "RUST" });
        facets.insert("errorMessage".to_owned(), facet("1-0-1/ErrorMessageRunFacet", error));
    }
    let job = json!({ "processingType": "BATCH", "integration": "LOOKBACK", "jobType": "JOB" });
    json!({
        "eventType": kind.name(),
        "eventTime": text(time),
        "producer": PRODUCER,
        "schemaURL": SCHEMA,
        "run": { "runId": about.run_id, "facets": facets },
        "job": {
            "namespace": NAMESPACE,
            "name": about.job,
            "facets": { "jobType": facet("2-0-4/JobTypeJobFacet", job) },
        },
        "inputs": about.datasets.inputs,
        "outputs": about.datasets.outputs,
    })
}

fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// `schema` is the version and the name of the facet's schema.
fn facet(schema: &str, mut facet: Value) -> Value {
    let name = schema.rsplit('/').next().unwrap_or_default();
    facet["_producer"] = PRODUCER.into();
    facet["_schemaURL"] =
        format!("https://openlineage.io/spec/facets/{schema}.json#/$defs/{name}").into();
    facet
}

/// Named as OpenLineage names files and objects, so that what another job wrote is the same dataset.
fn dataset(location: &Location, documentation: &str, fields: Vec<Value>) -> Value {
    let (namespace, name) = match location.local_path() {
        Some(path) => ("file".to_owned(), path.display().to_string()),
        None => {
            let (scheme, bucket) = (location.url().scheme(), location.url().host_str());
            let bucket = bucket.unwrap_or_default();
            (format!("{scheme}://{bucket}"), location.path().to_string())
        }
    };
    let documentation = json!({ "description": documentation });
    let mut facets = Map::new();
    let documentation = facet("1-1-0/DocumentationDatasetFacet", documentation);
    facets.insert("documentation".to_owned(), documentation);
    if !fields.is_empty() {
        let schema = facet("1-2-0/SchemaDatasetFacet", json!({ "fields": fields }));
        facets.insert("schema".to_owned(), schema);
    }
    json!({ "namespace": namespace, "name": name, "facets": facets })
}

fn fields(columns: &[&str]) -> Vec<Value> {
    columns.iter().map(|name| json!({ "name": name })).collect()
}

fn typed_fields(model: &Model) -> Vec<Value> {
    let fields = model.columns.iter().map(|column| {
        let kind = column.kind.sql_name();
        match column.note.is_empty() {
            true => json!({ "name": column.name, "type": kind }),
            false => json!({ "name": column.name, "type": kind, "description": column.note }),
        }
    });
    fields.collect()
}
