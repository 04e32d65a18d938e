//! What schedulers, monitors and catalogs are told, on each way out of a run: the summary, the metrics
//! and the OpenLineage events. `told.py` has others read them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const LOOKBACK: &str = env!("CARGO_BIN_EXE_lookback");

/// A small world whose dates 2026-03-01 to 2026-03-06 can be run, and are not yet.
struct World {
    folder: tempfile::TempDir,
    job: String,
}

/// What those were told who asked for it.
struct Told {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    summary: Value,
    metrics: String,
    events: Vec<Value>,
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("world").display().to_string();
        let size = ["--days", "6", "--clicks-per-day", "300", "--orders-per-day", "60", "--no-run"];
        let made = Command::new(LOOKBACK).args(["demo", &dir]).args(size).output().unwrap();
        assert!(made.status.success());
        let job = format!("{dir}/job.toml");
        World { folder, job }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Changes the job file.
    fn edit(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(&self.job).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&self.job, text.replace(from, to)).unwrap();
    }

    /// A run with all who can be told. The metrics' file stays from run to run.
    fn command(&self, arguments: &[&str]) -> Command {
        for name in ["summary.json", "events.jsonl"] {
            let _ = std::fs::remove_file(self.path(name));
        }
        let mut command = Command::new(LOOKBACK);
        command.arg(arguments[0]).arg(&self.job).args(&arguments[1..]);
        command.arg("--summary").arg(self.path("summary.json"));
        command.arg("--metrics").arg(self.path("lookback.prom"));
        command.arg("--openlineage").arg(self.path("events.jsonl"));
        command
    }

    #[track_caller]
    fn run(&self, code: i32, arguments: &[&str]) -> Told {
        let told = self.told(self.command(arguments).output().unwrap());
        assert_eq!(told.code, Some(code), "{}", told.stderr);
        assert_eq!(told.summary["exit_code"], code, "{}", told.summary);
        let metric = told.metric("lookback_exit_code");
        assert_eq!(metric, Some(f64::from(code)), "{}", told.metrics);
        assert_eq!(told.stdout, "");
        told
    }

    fn told(&self, output: Output) -> Told {
        let read = |name| std::fs::read_to_string(self.path(name)).unwrap();
        let events = read("events.jsonl");
        let told = Told {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            summary: serde_json::from_str(&read("summary.json")).unwrap(),
            metrics: read("lookback.prom"),
            events: events.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        };
        // A pair with one run id, whatever happens.
        assert_eq!(told.events.len(), 2, "{events}");
        assert_eq!(told.events[0]["eventType"], "START");
        for event in &told.events {
            assert_eq!(event["run"]["runId"], told.summary["run_id"]);
        }
        // Nothing is left of what was written aside.
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        assert!(names.iter().all(|name| !name.to_string_lossy().ends_with(".tmp")), "{names:?}");
        told
    }
}

impl Told {
    /// A metric without labels of its own.
    fn metric(&self, name: &str) -> Option<f64> {
        let lines = self.metrics.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        let mut values = lines.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap());
        let value = values.next();
        assert!(values.next().is_none(), "{name} is there twice");
        value
    }

    #[track_caller]
    fn assert_failed(&self, status: &str, complaint: &str) {
        assert_eq!(self.summary["status"], status, "{}", self.summary);
        let complaints = self.summary["complaints"].as_array().unwrap();
        let told = complaints.iter().any(|told| told.as_str().unwrap().contains(complaint));
        assert!(told, "{complaint}: {complaints:?}");
        let complaint = complaints[0].as_str().unwrap();
        assert!(self.stderr.contains(complaint), "{}", self.stderr);
        assert_eq!(self.events[1]["eventType"], "FAIL");
        let message = &self.events[1]["run"]["facets"]["errorMessage"]["message"];
        assert!(message.as_str().unwrap().contains(complaint), "{message}");
        // Where nothing was booked, numbers are numbers all the same.
        assert_eq!(self.summary["pending_commission"], "0.00");
        assert_eq!(self.summary["approved_commission"], "0.00");
        assert_eq!(self.summary["report_dates"], json!([]));
    }
}

const WHOLE: [&str; 5] = ["backfill", "--from", "2026-03-01", "--to", "2026-03-06"];

#[test]
fn a_run_that_succeeds_is_told_of_and_so_is_one_with_nothing_to_do() {
    let world = World::new();
    let done = world.run(0, &["run", "--date", "2026-03-05"]);
    assert_eq!(done.summary["status"], "done");
    assert_eq!(done.summary["asked"], json!({"from": "2026-03-03", "to": "2026-03-05"}));
    assert_eq!(done.summary["newest_report_date"], "2026-03-05");
    assert_eq!(done.summary["complaints"], json!([]));
    assert!(done.summary.get("hint").is_none());
    let stages = done.summary["stages"].as_object().unwrap();
    let names: Vec<&String> = stages.keys().collect();
    let expected = ["attributing", "cleaning", "planning", "publishing", "reporting", "storing"];
    assert_eq!(names, expected);
    let of = |stage: &str, figure: &str| stages[stage][figure].as_f64().unwrap();
    assert!(of("cleaning", "bytes_read") > 1e5 && of("cleaning", "bytes_written") > 1e5);
    assert!(of("reporting", "bytes_written") > 1e4 && of("planning", "seconds") > 0.0);
    let seconds: f64 = names.iter().map(|stage| of(stage, "seconds")).sum();
    assert!(seconds <= done.summary["seconds"].as_f64().unwrap() + 0.01, "{}", done.summary);
    // Metrics say the same.
    for (log, rows) in done.summary["raw_rows"].as_object().unwrap() {
        let line =
            format!("lookback_raw_rows{{job_file=\"{}\",log=\"{log}\"}} {rows}\n", world.job);
        assert!(done.metrics.contains(&line), "{line}: {}", done.metrics);
    }
    for (state, key) in [("pending", "pending_commission"), ("approved", "approved_commission")] {
        let amount = done.summary[key].as_str().unwrap();
        let line = format!("state=\"{state}\",currency=\"USD\"}} {amount}\n");
        assert!(done.metrics.contains(&line), "{line}: {}", done.metrics);
    }
    assert_eq!(
        done.metric("lookback_last_success_timestamp_seconds"),
        done.metric("lookback_last_run_timestamp_seconds")
    );
    // Events name what was read and written.
    let complete = &done.events[1];
    assert_eq!(complete["eventType"], "COMPLETE");
    // The file is called job.toml, so that its folder names it.
    assert_eq!(complete["job"]["name"], "world");
    let names = |of: &str| -> Vec<&str> {
        complete[of].as_array().unwrap().iter().map(|set| set["name"].as_str().unwrap()).collect()
    };
    let folder = Path::new(&world.job).parent().unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    assert!(names("inputs").contains(&path("raw/clicks").as_str()), "{complete}");
    assert!(names("inputs").contains(&path("reference/rates.csv").as_str()), "{complete}");
    assert!(names("outputs").contains(&path("warehouse/report/orders").as_str()), "{complete}");
    // The program's zone is that of Los Angeles.
    let dates = &complete["run"]["facets"]["nominalTime"];
    assert_eq!(dates["nominalStartTime"], "2026-03-03T08:00:00.000Z");
    assert_eq!(dates["nominalEndTime"], "2026-03-06T08:00:00.000Z");

    let again = world.run(0, &["run", "--date", "2026-03-05"]);
    assert_eq!(again.summary["status"], "nothing_to_do");
    assert_eq!(again.summary["up_to_date"].as_array().unwrap().len(), 3);
    assert_eq!(again.events[1]["eventType"], "COMPLETE");
}

#[test]
fn a_failing_run_is_told_of_and_the_last_success_stays() {
    let world = World::new();
    let done = world.run(0, &WHOLE);
    let success = done.metric("lookback_last_success_timestamp_seconds");
    let newest = done.metric("lookback_newest_report_date_timestamp_seconds");
    assert!(success.is_some() && newest.is_some());
    let keeps = |told: &Told| {
        assert_eq!(told.metric("lookback_last_success_timestamp_seconds"), success);
        assert_eq!(told.metric("lookback_newest_report_date_timestamp_seconds"), newest);
        assert!(told.metric("lookback_last_run_timestamp_seconds") > success);
        // What nobody knows is not 0.
        assert!(!told.metrics.contains("lookback_outdated_dates"), "{}", told.metrics);
    };

    let late = world.run(3, &["run", "--date", "2026-03-30"]);
    late.assert_failed("not_landed", "raw/clicks: not landed");
    assert_eq!(late.summary["asked"], json!({"from": "2026-03-28", "to": "2026-03-30"}));
    assert!(late.summary["hint"].as_str().unwrap().contains("has landed when"));
    keeps(&late);

    let lock = world.path("world/warehouse/_lookback/lock");
    let lock = std::fs::File::options().read(true).write(true).open(lock).unwrap();
    lock.lock().unwrap();
    let held = world.run(5, &[&WHOLE[..], &["--force"]].concat());
    held.assert_failed("held", "is held by");
    drop(lock);
    keeps(&held);

    world.edit("default_rate", "default_rat");
    let bad = world.run(2, &["run", "--date", "yesterday"]);
    bad.assert_failed("bad_input", "is an unknown key");
    assert!(bad.summary.get("asked").is_none() && bad.summary.get("currency").is_none());
    assert_eq!(bad.summary["written"], json!({}));
    keeps(&bad);
    world.edit("default_rat ", "default_rate ");

    let words = world.run(2, &["run", "--date", "yesterdy"]);
    words.assert_failed("bad_input", "is yesterday meant?");
    assert_eq!(words.summary["currency"], "USD");
}

#[test]
fn a_broken_limit_is_data() {
    let world = World::new();
    world.edit("# [limits]", "[limits]\nrejected_clicks = \"0\"\nrejected_orders = \"0.9\" #");
    let told = world.run(4, &WHOLE);
    told.assert_failed("promise_broken", "[limits] rejected_clicks is \"0\"");
    let broken = told.summary["broken_limits"].as_array().unwrap();
    assert_eq!(broken.len(), told.summary["complaints"].as_array().unwrap().len());
    assert!(broken.iter().all(|of| of["limit"] == "rejected_clicks" && of["log"] == "clicks"));
    assert!(
        broken
            .contains(&json!({"limit": "rejected_clicks", "log": "clicks", "date": "2026-03-04"}))
    );
    // The rows that it is about were cleaned, and are counted.
    assert!(told.summary["rejected_rows"]["clicks"]["unknown_link"].as_u64().unwrap() > 0);
    assert!(told.summary["written"].get("clean/clicks").is_some());
    assert!(told.summary["written"].get("report/orders").is_none());
    let line = format!(
        "lookback_broken_limits{{job_file=\"{}\",limit=\"rejected_clicks\",log=\"clicks\"}} {}\n",
        world.job,
        broken.len()
    );
    assert!(told.metrics.contains(&line), "{}", told.metrics);
}

#[test]
fn a_run_that_stands_still_or_is_ended_is_told_of() {
    let world = World::new();
    // A pipe without a writer: reading it never ends.
    let links = world.path("world/reference/links.csv");
    std::fs::remove_file(&links).unwrap();
    assert!(Command::new("mkfifo").arg(&links).status().unwrap().success());
    let stalled = world.run(1, &[&WHOLE[..], &["--stall-seconds", "2"]].concat());
    stalled.assert_failed("failed", "no progress for 2 seconds while planning");

    let mut command = world.command(&WHOLE);
    let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It listens to signals before it sends the first event.
    let events = world.path("events.jsonl");
    let has_begun = || std::fs::read_to_string(&events).is_ok_and(|text| text.ends_with('\n'));
    while !has_begun() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let killed = Command::new("kill").args(["-TERM", &run.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let told = world.told(run.wait_with_output().unwrap());
    assert_eq!((told.code, &told.summary["status"]), (Some(1), &json!("failed")));
    assert_eq!(told.summary["complaints"], json!(["ended by SIGTERM"]));
    assert_eq!(told.events[1]["eventType"], "ABORT");
}

#[test]
fn outdated_dates_are_data_and_are_said_with_quiet() {
    let world = World::new();
    world.run(0, &WHOLE);
    let rates = world.path("world/reference/rates.csv");
    let text = std::fs::read_to_string(&rates).unwrap();
    let from = "2026-03-05T08:00:00Z";
    let corrected = format!("category,baby,,0.09,,{from}\ncategory,baby,,0.01,{from},\n");
    std::fs::write(&rates, text.replace("category,baby,,0.09,,\n", &corrected)).unwrap();
    let told = world.run(0, &["backfill", "--from", "2026-03-01", "--to", "2026-03-02", "--quiet"]);
    let reason = "rate of category baby changed";
    let outdated = |date| json!({"date": date, "kind": "order", "reason": reason});
    assert_eq!(told.summary["outdated"], json!([outdated("2026-03-05"), outdated("2026-03-06")]));
    let said = "outdated: rate of category baby changed: 2 dates (2026-03-05 to 2026-03-06)";
    assert_eq!((told.stderr.lines().count(), told.stderr.contains(said)), (1, true));
    assert!(told.metrics.contains(",kind=\"order\"} 2\n"), "{}", told.metrics);
    assert!(told.metrics.contains(",kind=\"landing\"} 0\n"), "{}", told.metrics);
    assert_eq!(told.events[1]["eventType"], "COMPLETE");

    let told = world.run(0, &["backfill", "--stale", "--quiet"]);
    assert_eq!(told.summary["asked"], json!({"stale": true}));
    assert_eq!(told.summary["report_dates"], json!(["2026-03-05", "2026-03-06"]));
    assert_eq!((told.summary["outdated"].clone(), told.stderr), (json!([]), String::new()));

    // A setting bears on clean rows, and a run makes only those of its own dates again.
    world.edit("nobody    = []", "nobody    = [\"undefined\"]");
    let told = world.run(0, &["run", "--date", "2026-03-06", "--quiet"]);
    let outdated = told.summary["outdated"].as_array().unwrap();
    let of = |kind: &str| -> Vec<&str> {
        let of_kind = outdated.iter().filter(|outdated| outdated["kind"] == kind);
        of_kind.map(|outdated| outdated["date"].as_str().unwrap()).collect()
    };
    assert!(outdated.iter().all(|outdated| outdated["reason"] == "settings changed"));
    assert_eq!(of("landing"), ["2026-03-01", "2026-03-02", "2026-03-03"]);
    assert!(of("order").contains(&"2026-03-01"), "{outdated:?}");
    let said = "outdated: settings changed: 3 landing dates (2026-03-01 to 2026-03-03)";
    assert!(told.stderr.contains(said), "{}", told.stderr);
}

#[test]
fn a_minus_is_stdout_and_all_else_is_lines_of_json() {
    let world = World::new();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(LOOKBACK);
        command.args(["backfill", &world.job, "--summary", "-"]).args(arguments);
        let output = command.output().unwrap();
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(summary["exit_code"], output.status.code().unwrap());
        (summary, String::from_utf8(output.stderr).unwrap())
    };
    let dates = ["--from", "2026-03-01", "--to", "2026-03-02"];
    let (summary, said) = run(&dates);
    assert_eq!(summary["status"], "done");
    assert!(said.contains("report dates rewritten            2026-03-01 to 2026-03-02"), "{said}");
    for (arguments, status) in [
        (["--from", "2026-03-01", "--to", "2026-03-03", "--log-format", "json"], "done"),
        (["--from", "2026-03-01", "--to", "2026-03-30", "--log-format", "json"], "not_landed"),
        (["--from", "2026-03-02", "--to", "2026-03-01", "--log-format", "json"], "bad_input"),
    ] {
        let (summary, said) = run(&arguments);
        assert_eq!(summary["status"], status);
        let lines = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        assert!(lines.count() > 0);
    }
}

#[test]
fn a_place_that_cannot_be_written_is_named_before_anything_is() {
    let world = World::new();
    let plain = world.path("plain");
    std::fs::write(&plain, "").unwrap();
    let (below, folder) = (plain.join("summary.json"), world.path("world"));
    let metrics = world.path("metrics.prom");
    let text = |path: &Path| path.display().to_string();
    for (flags, complaint) in [
        (["--summary", &text(&below)], format!("--summary {}: cannot be written", text(&below))),
        (["--metrics", &text(&below)], format!("--metrics {}: cannot be written", text(&below))),
        (["--summary", &text(&folder)], format!("--summary {}: is a folder", text(&folder))),
        (["--summary", &text(&metrics)], format!("{}: is the file of", text(&metrics))),
        (["--openlineage", "s3://bucket/events"], "a file, http or https is wanted".to_owned()),
        (["--openlineage", "http://me:secret@host:99999"], "--openlineage: is no URL".to_owned()),
    ] {
        let mut command = Command::new(LOOKBACK);
        command.args(["run", &world.job, "--date", "2026-03-05"]).args(flags);
        if flags[0] != "--metrics" {
            command.arg("--metrics").arg(&metrics);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&complaint) && !said.contains("secret"), "{said}");
        assert!(!world.path("world/warehouse").exists());
        // Who can be told is told.
        let told = std::fs::read_to_string(&metrics).unwrap_or_default();
        let is_told = flags[0] != "--metrics" && !complaint.ends_with("is the file of");
        assert_eq!(told.contains("lookback_exit_code{"), is_told, "{complaint}: {told}");
        let _ = std::fs::remove_file(&metrics);
    }
}

#[test]
fn a_catalog_that_is_not_there_is_a_warning() {
    let world = World::new();
    let mut command = Command::new(LOOKBACK);
    command.args(["run", &world.job, "--date", "2026-03-05", "--quiet"]);
    // Nobody listens on the first port.
    let output = command.args(["--openlineage", "http://me:secret@127.0.0.1:1"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let start = "WARN an OpenLineage event could not be sent: http://127.0.0.1:1/api/v1/lineage: ";
    assert_eq!(said.lines().filter(|line| line.contains(start)).count(), 2, "{said}");
    assert!(!said.contains("secret"), "{said}");
}
