//! A run as a trace: a span for the run, and one below it for each step of a stage. It is sent when the
//! run has ended, as OTLP wants it over HTTP in JSON.
//!
//! Written plainly: the libraries for it bring a pipeline that runs beside the program, which a batch
//! job with a dozen spans does not need.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::progress::Step;
use crate::summary::Summary;

/// What the trace says besides what the run did.
pub struct About<'a> {
    pub service: &'a str,
    pub job_file: &'a str,
    /// The trace and the span that the run is part of.
    pub parent: Option<&'a (String, String)>,
}

/// The request that an OTLP collector takes.
pub fn request(summary: &Summary, steps: &[Step], about: &About<'_>) -> Value {
    let own = summary.run_id.replace('-', "");
    let (trace, parent) = match about.parent {
        Some((trace, span)) => (trace.as_str(), span.as_str()),
        None => (own.as_str(), ""),
    };
    let root = span_id(&own, 0);
    let at = |seconds: f64| nanos(summary.started_at, seconds);
    let mut run = json!({
        "traceId": trace,
        "spanId": root,
        "name": "lookback run",
        "kind": 1,
        "startTimeUnixNano": at(0.0),
        "endTimeUnixNano": at(summary.seconds),
        "attributes": [
            text("lookback.run_id", &summary.run_id),
            text("lookback.job_file", about.job_file),
            number("lookback.exit_code", summary.exit_code.into()),
            number("lookback.report_dates", summary.report_dates.len() as u64),
            number("lookback.raw_rows", summary.raw_rows.values().sum()),
        ],
        "status": match summary.exit_code {
            0 => json!({ "code": 1 }),
            _ => json!({ "code": 2, "message": summary.complaints.join("\n") }),
        },
    });
    if !parent.is_empty() {
        run["parentSpanId"] = parent.into();
    }
    let mut spans = vec![run];
    for (number, step) in steps.iter().enumerate() {
        spans.push(json!({
            "traceId": trace,
            "spanId": span_id(&own, number + 1),
            "parentSpanId": root,
            "name": step.stage.name(),
            "kind": 1,
            "startTimeUnixNano": at(step.from),
            "endTimeUnixNano": at(step.to.min(summary.seconds)),
            "attributes": [text("lookback.step", &step.what)],
        }));
    }
    let resource =
        [text("service.name", about.service), text("service.version", env!("CARGO_PKG_VERSION"))];
    let scope = json!({ "name": "lookback", "version": env!("CARGO_PKG_VERSION") });
    json!({ "resourceSpans": [{
        "resource": { "attributes": resource },
        "scopeSpans": [{ "scope": scope, "spans": spans }],
    }] })
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// 64-bit numbers are texts in the JSON of protobuf.
fn number(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

fn nanos(start: DateTime<Utc>, seconds: f64) -> String {
    let start = start.timestamp_nanos_opt().unwrap_or_default();
    (start + (seconds * 1e9) as i64).to_string()
}

/// Eight bytes in hex, others for each span of a run.
fn span_id(run: &str, number: usize) -> String {
    let hash = blake3::hash(format!("{run}/{number}").as_bytes());
    hash.to_hex().chars().take(16).collect()
}
