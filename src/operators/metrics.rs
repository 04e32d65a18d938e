//! A run as metrics in the text format of Prometheus, for a textfile collector. All are gauges: they
//! say how the last run was.
//!
//! What a run does not know is left out and never 0, apart from two figures that a failing run takes
//! over from the file that it replaces: when a run last succeeded, and the newest report date.

use std::collections::BTreeMap;
use std::fmt::Write;

use chrono::{DateTime, NaiveDate};

use crate::days;
use crate::summary::{DateKind, Summary};

const LAST_SUCCESS: &str = "lookback_last_success_timestamp_seconds";
const NEWEST_REPORT_DATE: &str = "lookback_newest_report_date_timestamp_seconds";

/// Which run the metrics are of.
pub struct About<'a> {
    /// Tells the jobs of one machine apart.
    pub job_file: &'a str,
    /// The local date of the run.
    pub date: NaiveDate,
    /// The metrics of the run before, or nothing.
    pub before: &'a str,
}

/// The metrics of a run that ended.
pub fn text(summary: &Summary, about: &About<'_>) -> String {
    let mut page = Page { job_file: about.job_file, text: String::new() };
    let ended = summary.started_at.timestamp_micros() as f64 / 1e6 + summary.seconds;
    let is_success = summary.exit_code == 0;

    let version = [(vec![("version", env!("CARGO_PKG_VERSION"))], 1)];
    page.gauge("lookback_build_info", "The program of the last run.", version);
    page.one("lookback_exit_code", "Exit code of the last run: 0 is done.", summary.exit_code);
    page.one("lookback_last_run_timestamp_seconds", "When the last run ended.", rounded(ended));
    let success = if is_success { Some(rounded(ended)) } else { page.before(about, LAST_SUCCESS) };
    page.maybe(LAST_SUCCESS, "When a run last ended with exit code 0.", success);
    page.one("lookback_run_duration_seconds", "How long it took.", rounded(summary.seconds));

    let newest = summary.newest_report_date.map(|date| days::start_of_utc(date).timestamp());
    let newest = newest.or_else(|| {
        let before = page.before(about, NEWEST_REPORT_DATE)?;
        before.parse::<f64>().ok().map(|seconds| seconds as i64)
    });
    let help = "The newest report date that the tables have, as its midnight in UTC.";
    page.maybe(NEWEST_REPORT_DATE, help, newest);
    let date_of = |seconds| DateTime::from_timestamp(seconds, 0).map(|time| time.date_naive());
    let lag = newest.and_then(date_of).map(|newest| (about.date - newest).num_seconds());
    let help = "Whole days from the newest report date to the local date of the last run.";
    page.maybe("lookback_report_lag_seconds", help, lag);

    page.of_rows(summary);
    page.of_figures(summary, is_success);
    page.of_stages(summary);
    page.text
}

struct Page<'a> {
    job_file: &'a str,
    text: String,
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

impl Page<'_> {
    fn of_rows(&mut self, summary: &Summary) {
        let logs = ["clicks", "orders"];
        let raw = logs.map(|log| (vec![("log", log)], summary.raw_rows.get(log).unwrap_or(&0)));
        let help = "Raw rows of the landing dates that the last run cleaned.";
        self.gauge("lookback_raw_rows", help, raw);
        let rejected = summary.rejected_rows.iter().flat_map(|(log, reasons)| {
            let labels = |reason| vec![("log", log.as_str()), ("reason", reason)];
            reasons.iter().map(move |(reason, rows)| (labels(reason), rows))
        });
        let help = "Those of them that were rejected, by reason.";
        self.gauge("lookback_rejected_rows", help, rejected);
        let lines = summary.order_lines.iter();
        let lines = lines.map(|(status, lines)| (vec![("status", status.as_str())], lines));
        let help = "Order lines placed on the report dates that the last run made.";
        self.gauge("lookback_order_lines", help, lines);
        self.one("lookback_orphan_events", "Events without an order line.", summary.orphan_events);
    }

    fn of_figures(&mut self, summary: &Summary, is_success: bool) {
        if !summary.currency.is_empty() {
            let of = |state| vec![("state", state), ("currency", summary.currency.as_str())];
            let booked = [
                (of("pending"), summary.pending_commission),
                (of("approved"), summary.approved_commission),
            ];
            let help = "Change of commission that the last run booked on its report dates.";
            self.gauge("lookback_booked_commission", help, booked);
        }
        let dates = summary.report_dates.len();
        self.one("lookback_report_dates", "Report dates that the last run made.", dates);
        if is_success {
            let kinds = [DateKind::Landing, DateKind::Order, DateKind::Report];
            let outdated = kinds.map(|kind| {
                let of_kind = summary.outdated.iter().filter(|outdated| outdated.kind == kind);
                (vec![("kind", kind.name())], of_kind.count())
            });
            let help = "Dates that the last run left outdated.";
            self.gauge("lookback_outdated_dates", help, outdated);
            let waiting: usize = summary.waiting.values().map(Vec::len).sum();
            let help = "Report dates never made, because landing dates are missing.";
            self.one("lookback_waiting_dates", help, waiting);
        }
        let mut broken: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for limit in &summary.broken_limits {
            *broken.entry((limit.limit, limit.log)).or_default() += 1;
        }
        let broken = broken
            .into_iter()
            .map(|((limit, log), dates)| (vec![("limit", limit), ("log", log)], dates));
        let help = "Landing dates that break a limit of the job file.";
        self.gauge("lookback_broken_limits", help, broken);
        self.one("lookback_warnings", "Warnings of the last run.", summary.warnings.len());
    }

    fn of_stages(&mut self, summary: &Summary) {
        let stages =
            || summary.stages.iter().map(|(stage, of)| (vec![("stage", stage.name())], of));
        let seconds = stages().map(|(labels, of)| (labels, of.seconds));
        self.gauge("lookback_stage_duration_seconds", "How long a stage took.", seconds);
        let read = stages().map(|(labels, of)| (labels, of.bytes_read));
        self.gauge("lookback_stage_read_bytes", "Bytes of objects that it read.", read);
        let written = stages().map(|(labels, of)| (labels, of.bytes_written));
        self.gauge("lookback_stage_written_bytes", "Bytes of objects that it wrote.", written);
        let Some(counts) = &summary.object_store else { return };
        let requests = counts.requests.iter().map(|(kind, of)| (vec![("kind", *kind)], of));
        let help = "Requests of object stores, repeated ones included.";
        self.gauge("lookback_object_store_requests", help, requests);
        let help = "Those of them that failed and were repeated.";
        self.one("lookback_object_store_failed_requests", help, counts.failed);
    }

    fn one(&mut self, name: &str, help: &str, value: impl ToString) {
        self.gauge(name, help, [(Vec::new(), value)]);
    }

    fn maybe(&mut self, name: &str, help: &str, value: Option<impl ToString>) {
        self.gauge(name, help, value.map(|value| (Vec::new(), value)));
    }

    fn gauge<'b, V: ToString>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'b>, V)>,
    ) {
        for (number, (labels, value)) in samples.into_iter().enumerate() {
            if number == 0 {
                let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} gauge\n");
            }
            let mut all = label("job_file", self.job_file);
            for (key, value) in labels {
                let _ = write!(all, ",{}", label(key, value));
            }
            let _ = writeln!(self.text, "{name}{{{all}}} {}", value.to_string());
        }
    }

    /// The value that a metric of this job had before.
    fn before(&self, about: &About<'_>, name: &str) -> Option<String> {
        let start = format!("{name}{{{}}} ", label("job_file", self.job_file));
        let value = about.before.lines().find_map(|line| line.strip_prefix(&start))?;
        value.parse::<f64>().is_ok().then(|| value.to_owned())
    }
}

fn label(key: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{key}=\"{value}\"")
}

/// Seconds with milliseconds.
fn rounded(seconds: f64) -> String {
    format!("{seconds:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stop::Stop;

    fn about<'a>(job_file: &'a str, before: &'a str) -> About<'a> {
        About { job_file, date: NaiveDate::from_ymd_opt(2026, 5, 3).unwrap(), before }
    }

    #[test]
    fn a_failing_run_keeps_the_last_success_of_its_own_job() {
        let mut summary = Summary {
            newest_report_date: NaiveDate::from_ymd_opt(2026, 5, 1),
            seconds: 1.5,
            ..Summary::default()
        };
        let done = text(&summary, &about("a.toml", ""));
        let success = "lookback_last_success_timestamp_seconds{job_file=\"a.toml\"} 1.500\n";
        assert!(done.contains(success), "{done}");
        assert!(done.contains("lookback_report_lag_seconds{job_file=\"a.toml\"} 172800\n"));
        summary = Summary { seconds: 9.0, ..Summary::default() };
        summary.end(&Err(Stop::wait(vec!["not landed".to_owned()])));
        let failed = text(&summary, &about("a.toml", &done));
        assert!(failed.contains(success), "{failed}");
        assert!(failed.contains("lookback_report_lag_seconds{job_file=\"a.toml\"} 172800\n"));
        assert!(failed.contains("lookback_exit_code{job_file=\"a.toml\"} 3\n"), "{failed}");
        assert!(!failed.contains("lookback_outdated_dates"), "{failed}");
        let of_another = text(&summary, &about("b.toml", &done));
        assert!(!of_another.contains("lookback_last_success"), "{of_another}");
    }

    #[test]
    fn values_of_labels_are_escaped() {
        assert_eq!(label("job_file", "a\"b\\c\nd"), r#"job_file="a\"b\\c\nd""#);
    }
}
