//! The program from outside: exit codes, messages, and what is left behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;

const LOOKBACK: &str = env!("CARGO_BIN_EXE_lookback");

fn lookback(arguments: &[&str]) -> Output {
    Command::new(LOOKBACK).args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn assert_exit(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", stderr(output));
}

/// A small world whose dates 2026-03-01 to 2026-03-06 can be run, and are not yet.
fn world(folder: &Path) -> String {
    let dir = folder.join("world");
    let made = lookback(&[
        "demo",
        dir.to_str().unwrap(),
        "--days",
        "6",
        "--clicks-per-day",
        "300",
        "--orders-per-day",
        "60",
        "--no-run",
    ]);
    assert_exit(&made, 0);
    dir.join("job.toml").display().to_string()
}

fn backfill(job: &str) -> Output {
    lookback(&["backfill", job, "--from", "2026-03-01", "--to", "2026-03-06"])
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.path().is_dir() {
                true => folders.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
    }
    files.sort();
    files
}

#[test]
fn the_demo_shows_all_reports_and_refuses_a_folder_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("demo").display().to_string();
    let arguments =
        ["demo", &dir, "--days", "5", "--clicks-per-day", "300", "--orders-per-day", "60"];
    let shown = lookback(&arguments);
    assert_exit(&shown, 0);
    for report in ["traffic", "orders", "refunds", "transaction details", "unbooked events"] {
        assert!(stdout(&shown).contains(report), "{}", stdout(&shown));
    }
    let page = std::fs::read_to_string(Path::new(&dir).join("report.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    assert!(stderr(&shown).contains("report.html"), "{}", stderr(&shown));
    let again = lookback(&arguments);
    assert_exit(&again, 2);
    assert!(stderr(&again).contains("is not empty"));
}

#[test]
fn a_rerun_changes_no_row() {
    let folder = tempfile::tempdir().unwrap();
    let job = world(folder.path());
    assert_exit(&backfill(&job), 0);
    let rows = |table: &str| {
        let sql = format!("select * from {table} order by 1, 2, 3");
        stdout(&lookback(&["query", &job, &sql, "--format", "csv"]))
    };
    let tables = ["clean.clicks", "attribution.conversions", "report.transaction_details"];
    let before: Vec<String> = tables.iter().map(|table| rows(table)).collect();
    assert_exit(&backfill(&job), 0);
    let after: Vec<String> = tables.iter().map(|table| rows(table)).collect();
    assert!(before == after);
    assert!(before.iter().all(|rows| rows.lines().count() > 10));
}

#[test]
fn the_summary_is_json_and_adds_up() {
    let folder = tempfile::tempdir().unwrap();
    let job = world(folder.path());
    let file = folder.path().join("summary.json").display().to_string();
    let run = lookback(&["run", &job, "--date", "2026-03-05", "--summary", &file, "--quiet"]);
    assert_exit(&run, 0);
    assert_eq!((stdout(&run), stderr(&run)), (String::new(), String::new()));
    let text = std::fs::read_to_string(file).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(summary["report_dates"].as_array().unwrap().len(), 3);
    let rejected: u64 = summary["rejected_rows"]["clicks"]
        .as_object()
        .unwrap()
        .values()
        .map(|rows| rows.as_u64().unwrap())
        .sum();
    let sql = "select count(*) from clean.clicks";
    let kept = stdout(&lookback(&["query", &job, sql, "--format", "csv"]));
    let kept: u64 = kept.lines().nth(1).unwrap().parse().unwrap();
    assert_eq!(summary["raw_rows"]["clicks"].as_u64().unwrap(), kept + rejected);
    let lines = |status: &str| summary["order_lines"][status].as_u64().unwrap_or_default();
    let all: u64 = ["attributed", "no_click", "store_not_joined"].map(lines).iter().sum();
    let share: f64 = summary["attributed_share"].as_str().unwrap().parse().unwrap();
    assert!((share * all as f64 - lines("attributed") as f64).abs() < 0.01, "{summary}");
    assert_eq!(summary["warnings"], serde_json::json!([]));
}

/// Lands further clicks of one visitor, of whom no more is known.
fn land_clicks(job: &str, dt: &str, visitor: &str, rows: usize) {
    let of = |texts: Vec<String>| Arc::new(StringArray::from(texts)) as ArrayRef;
    let time: chrono::DateTime<chrono::Utc> = format!("{dt}T12:00:00Z").parse().unwrap();
    let times = TimestampMicrosecondArray::from(vec![time.timestamp_micros(); rows]);
    let links = Path::new(job).with_file_name("reference").join("links.csv");
    let links = std::fs::read_to_string(links).unwrap();
    let link = links.lines().nth(1).unwrap().split(',').next().unwrap();
    let url = format!("https://s.click.aliexpress.com/e/{link}");
    let columns = [
        ("click_id", of((0..rows).map(|row| format!("{dt}-{visitor}-{row}")).collect())),
        ("clicked_at", Arc::new(times) as ArrayRef),
        ("url", of(vec![url; rows])),
        ("visitor_id", of(vec![visitor.to_owned(); rows])),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let folder = Path::new(job).with_file_name("raw").join(format!("clicks/dt={dt}"));
    let file = std::fs::File::create(folder.join(format!("{visitor}.parquet"))).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
}

#[test]
fn a_visitor_in_a_hundredth_of_the_rows_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let job = world(folder.path());
    land_clicks(&job, "2026-03-04", "undefined", 120);
    land_clicks(&job, "2026-03-05", "undefined", 101);
    land_clicks(&job, "2026-03-06", "undefined", 100);
    let file = folder.path().join("summary.json").display().to_string();
    let range = ["--from", "2026-03-03", "--to", "2026-03-05"];
    let options = ["backfill", &job, "--summary", &file, "--quiet"];
    let run = lookback(&[options.as_slice(), &range].concat());
    assert_exit(&run, 0);
    let said = stderr(&run);
    // In the log of one day 100 rows may be one person's, however few others there are.
    let expected = "clicks, landing dates 2026-03-04 to 2026-03-05: the visitor \"undefined\" is in \
                    221 of ";
    assert!(said.contains(expected), "{said}");
    assert!(said.contains("add it to [identity] nobody"), "{said}");
    let text = std::fs::read_to_string(&file).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
    let warnings = summary["warnings"].as_array().unwrap();
    assert_eq!((warnings.len(), said.lines().count()), (1, 1), "{summary} {said}");
    assert!(said.trim_end().ends_with(warnings[0].as_str().unwrap()), "{said}");

    // Who is nobody is not named.
    let text = std::fs::read_to_string(&job).unwrap();
    assert!(text.contains("\nnobody    = []"), "{text}");
    let text = text.replace("\nnobody    = []", "\nnobody    = [\"undefined\"]");
    std::fs::write(&job, text).unwrap();
    let run = lookback(&[options.as_slice(), &range].concat());
    assert_exit(&run, 0);
    let said = stderr(&run);
    // The setting outdates other dates, which is said, too.
    assert!(said.lines().all(|line| line.contains("outdated: settings changed")), "{said}");
}

#[test]
fn a_plan_writes_nothing_and_ends_as_the_run_would() {
    let folder = tempfile::tempdir().unwrap();
    let job = world(folder.path());
    let before = files_below(folder.path());
    let plan = lookback(&["plan", &job, "--from", "2026-03-01", "--to", "2026-03-06"]);
    assert_exit(&plan, 0);
    assert!(stdout(&plan).contains("2026-03-01 to 2026-03-06"), "{}", stdout(&plan));
    let late = lookback(&["plan", &job, "--date", "2026-03-30"]);
    assert_exit(&late, 3);
    assert!(stderr(&late).contains("not landed"), "{}", stderr(&late));
    assert_exit(&lookback(&["check", &job]), 0);
    assert_eq!(before, files_below(folder.path()));
}

#[test]
fn queries_read_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let job = world(folder.path());
    assert_exit(&backfill(&job), 0);
    let out = folder.path().join("stolen.csv");
    for sql in [
        "select from where",
        "select * from report.nothing",
        "drop table report.orders",
        "insert into report.orders select * from report.orders",
        "create table x as select 1",
        "set datafusion.execution.batch_size = 1",
        &format!("copy report.orders to '{}'", out.display()),
        "select * from '/etc/passwd'",
        "select 1; select 2",
    ] {
        let refused = lookback(&["query", &job, sql]);
        assert_exit(&refused, 2);
        assert!(stderr(&refused).contains("query"), "{sql}: {}", stderr(&refused));
    }
    assert!(!out.exists());
    let json = lookback(&["query", &job, "select 1 as one, null as nothing", "--format", "json"]);
    let rows: serde_json::Value = serde_json::from_str(&stdout(&json)).unwrap();
    assert_eq!(rows, serde_json::json!([{"one": 1, "nothing": null}]));
    let none =
        lookback(&["query", &job, "select * from report.orders where false", "--format", "csv"]);
    assert!(stdout(&none).starts_with("report_date,store_id,"), "{}", stdout(&none));
}

/// `tests/readers/engines.py` runs what is printed.
#[test]
fn ddl_prints_statements_for_tables_that_need_not_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let job = world(folder.path());
    let ddl = |options: &[&str]| lookback(&[&["ddl", &job, "--dialect"], options].concat());
    let printed = ddl(&["duckdb", "--prefix", "us_"]);
    assert_exit(&printed, 0);
    for part in [
        r#"create schema if not exists "us_report";"#,
        r#"create or replace view "us_report"."orders" as select * from delta_scan('"#,
        "the publisher''s own label for the link",
        r#"from "us_view"."performance""#,
    ] {
        assert!(stdout(&printed).contains(part), "{part}\n{}", stdout(&printed));
    }
    let views = ddl(&["trino", "--only", "views"]);
    assert_exit(&views, 0);
    assert!(!stdout(&views).contains("register_table("), "{}", stdout(&views));
    for (options, expected) in [
        (["athena", "--only", "tables"], "a folder of this machine, which Athena cannot read"),
        (["duckbd", "--only", "tables"], "'duckdb'"),
        (["duckdb", "--prefix", "US-"], "lower-case letters, digits and underscores"),
    ] {
        let refused = ddl(&options);
        assert_exit(&refused, 2);
        assert!(stderr(&refused).contains(expected), "{}", stderr(&refused));
    }
}

#[test]
fn explain_tells_who_won_and_an_unknown_order_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let job = world(folder.path());
    assert_exit(&backfill(&job), 0);
    let sql = "select order_id, click_id from attribution.conversions \
               where status = 'attributed' order by order_id limit 1";
    let answer = stdout(&lookback(&["query", &job, sql, "--format", "csv"]));
    let (order, click) = answer.lines().nth(1).unwrap().split_once(',').unwrap();
    let told = lookback(&["explain", &job, order]);
    assert_exit(&told, 0);
    let told = stdout(&told);
    for words in [order, click, "won: the latest click", "rate", "movements", "placed"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert_exit(&lookback(&["explain", &job, "no-such-order"]), 2);
}

#[test]
fn a_second_run_is_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let job = world(folder.path());
    assert_exit(&backfill(&job), 0);
    let lock = folder.path().join("world/warehouse/_lookback/lock");
    let held = std::fs::File::options().read(true).write(true).open(lock).unwrap();
    held.lock().unwrap();
    let again = ["backfill", &job, "--from", "2026-03-01", "--to", "2026-03-06", "--force"];
    let second = lookback(&again);
    assert_exit(&second, 5);
    assert!(stderr(&second).contains("since 2"), "{}", stderr(&second));
    // What is up to date needs no lock.
    assert_exit(&backfill(&job), 0);
    drop(held);
    assert_exit(&lookback(&again), 0);
}

#[test]
fn stale_dates_are_named_and_made_again_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let job = world(folder.path());
    let nothing = lookback(&["plan", &job, "--stale"]);
    assert_exit(&nothing, 0);
    assert!(stdout(&nothing).contains("nothing to do"), "{}", stdout(&nothing));
    assert_exit(&backfill(&job), 0);
    assert!(stdout(&lookback(&["plan", &job, "--stale"])).contains("nothing to do"));
    let rates = folder.path().join("world/reference/rates.csv");
    let text = std::fs::read_to_string(&rates).unwrap();
    let from = "2026-03-05T08:00:00Z";
    let corrected = format!("category,baby,,0.09,,{from}\ncategory,baby,,0.01,{from},\n");
    assert!(text.contains("category,baby,,0.09,,\n"), "{text}");
    std::fs::write(&rates, text.replace("category,baby,,0.09,,\n", &corrected)).unwrap();
    let plan = stdout(&lookback(&["plan", &job, "--stale"]));
    assert!(plan.contains("2026-03-05 to 2026-03-06: rate of category baby changed"), "{plan}");
    let run = lookback(&["backfill", &job, "--stale"]);
    assert_exit(&run, 0);
    assert!(
        stderr(&run).contains("rewritten            2026-03-05 to 2026-03-06"),
        "{}",
        stderr(&run)
    );
    assert!(stdout(&lookback(&["plan", &job, "--stale"])).contains("nothing to do"));
}

#[test]
fn a_run_that_stands_still_ends_itself_and_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let job = world(folder.path());
    // A pipe without a writer: reading it never ends.
    let links = folder.path().join("world/reference/links.csv");
    std::fs::remove_file(&links).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&links).status().unwrap();
    assert!(made.success());
    let dates = ["--from", "2026-03-01", "--to", "2026-03-06", "--stall-seconds", "2"];
    let run = lookback(&[&["backfill", &job][..], &dates].concat());
    assert_exit(&run, 1);
    let told = stderr(&run);
    assert!(told.contains("no progress for 2 seconds while planning"), "{told}");
}

#[test]
fn little_memory_ends_a_run_cleanly_or_changes_nothing_in_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let job = world(folder.path());
    assert_exit(&backfill(&job), 0);
    let rows = || {
        let sql = "select * from report.transaction_details order by event_id";
        stdout(&lookback(&["query", &job, sql, "--format", "csv"]))
    };
    let before = rows();
    let mut codes = Vec::new();
    for limit in ["200KB", "4MB", "64MB", "2GB"] {
        let dates = ["--from", "2026-03-01", "--to", "2026-03-06", "--force"];
        let run = lookback(&[&["backfill", &job, "--memory-limit", limit][..], &dates].concat());
        match run.status.code() {
            Some(0) => {}
            Some(1) => assert!(stderr(&run).contains("--memory-limit"), "{}", stderr(&run)),
            _ => panic!("{limit}: {}", stderr(&run)),
        }
        assert_eq!(before, rows(), "{limit}");
        codes.push(run.status.code().unwrap());
    }
    assert_eq!((codes[0], codes[3]), (1, 0), "{codes:?}");
    assert_exit(&lookback(&["backfill", &job, "--stale", "--memory-limit", "much"]), 2);
}

#[test]
fn vacuum_keeps_what_is_read_and_says_what_went() {
    let folder = tempfile::tempdir().unwrap();
    let job = world(folder.path());
    assert_exit(&backfill(&job), 0);
    let dates = ["--from", "2026-03-01", "--to", "2026-03-06", "--force"];
    assert_exit(&lookback(&[&["backfill", &job][..], &dates].concat()), 0);
    let dead = folder.path().join("world/warehouse/report/orders/report_date=2026-03-02/x.parquet");
    std::fs::write(&dead, "half a file").unwrap();
    let staged = dead.with_file_name("y.parquet#1");
    std::fs::write(&staged, "half a file").unwrap();
    let dry = lookback(&["vacuum", &job, "--keep-days", "0", "--dry-run"]);
    assert_exit(&dry, 0);
    assert!(dead.exists() && stdout(&dry).contains("report.orders"), "{}", stdout(&dry));
    let kept = lookback(&["vacuum", &job]);
    assert_exit(&kept, 0);
    assert!(!dead.exists() && !staged.exists(), "{}", stdout(&kept));
    let count = || files_below(&folder.path().join("world/warehouse/report/orders")).len();
    let before = count();
    assert_exit(&lookback(&["vacuum", &job, "--keep-days", "0"]), 0);
    assert!(count() < before, "the first backfill's files are not needed any more");
    assert_exit(&lookback(&["query", &job, "select count(*) from report.orders"]), 0);
    assert!(stdout(&lookback(&["plan", &job, "--stale"])).contains("nothing to do"));
}

#[test]
fn arguments_that_make_no_sense_are_exit_2() {
    let folder = tempfile::tempdir().unwrap();
    let job = world(folder.path());
    assert_exit(&lookback(&["run", &job, "--date", "tomorrow"]), 2);
    assert_exit(&lookback(&["backfill", &job, "--from", "2026-03-02", "--to", "2026-03-01"]), 2);
    assert_exit(&lookback(&["backfill", &job, "--from", "March"]), 2);
    assert_exit(&lookback(&["run", "no-such-job.toml", "--date", "today"]), 2);
    assert_exit(&lookback(&["frobnicate"]), 2);
}

#[test]
fn a_flag_that_is_not_there_is_answered_with_one_that_is() {
    for (arguments, words) in [
        (
            &["backfill", "job.toml", "--date", "2026-04-01"][..],
            "tip: dates are --from and --to here",
        ),
        (&["backfill", "job.toml", "-d", "2026-04-01"], "tip: dates are --from and --to here"),
        (&["run", "job.toml", "-d", "2026-04-01"], "tip: --date has no short form"),
        (&["run", "job.toml", "--from", "2026-04-01"], "tip: one date is --date here"),
        (&["vacuum", "job.toml", "--keep-days", "-1"], "-1 is not in 0..=3650"),
        (&["vacuum", "job.toml", "--dry-rum"], "'--dry-run'"),
        (&["check", "job.toml", "--all"], "unexpected argument '--all'"),
    ] {
        let refused = lookback(arguments);
        assert_exit(&refused, 2);
        let said = stderr(&refused);
        assert!(said.contains(words) && !said.contains("as a value"), "{words}: {said}");
    }
}

#[test]
fn a_limit_of_a_few_bytes_is_a_unit_forgotten() {
    for (limit, words) in [
        ("2", "2 bytes? 2GB is meant, or 2MB"),
        ("2KB", "no run fits in so little"),
        ("-2", "512MB or 2GB is wanted"),
    ] {
        let refused = lookback(&["run", "job.toml", "--date", "today", "--memory-limit", limit]);
        assert_exit(&refused, 2);
        assert!(stderr(&refused).contains(words), "{words}: {}", stderr(&refused));
    }
}

#[test]
fn a_job_file_in_second_place_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let job = world(folder.path());
    for arguments in [["query", "select 1", &job], ["explain", "o-1001", &job]] {
        let refused = lookback(&arguments);
        assert_exit(&refused, 2);
        assert!(stderr(&refused).contains("the job file comes first"), "{}", stderr(&refused));
    }
}

#[test]
fn the_cause_of_a_query_that_fails_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let job = world(folder.path());
    assert_exit(&backfill(&job), 0);
    let sql = "select * from report.orders where report_date = '2026-04-88'";
    let refused = lookback(&["query", &job, sql]);
    assert_exit(&refused, 2);
    let said = stderr(&refused);
    assert_eq!((said.lines().count(), said.matches("2026-04-88").count()), (1, 1), "{said}");
    assert!(!said.contains("Optimizer"), "{said}");
}

#[cfg(feature = "cluster")]
#[test]
fn a_worker_listens_on_an_address_and_a_port() {
    for listen in ["7505", "localhost:7505", "127.0.0.1:99999"] {
        let refused = lookback(&["worker", "--listen", listen]);
        assert_exit(&refused, 2);
        let said = stderr(&refused);
        assert!(said.contains("such as 0.0.0.0:7878"), "{listen}: {said}");
    }
}

#[cfg(feature = "cluster")]
#[test]
fn certificates_that_a_run_refuses_are_refused_by_check() {
    let folder = tempfile::tempdir().unwrap();
    let job = world(folder.path());
    let text = std::fs::read_to_string(&job).unwrap();
    let cluster = "[cluster]\nworkers = [\"127.0.0.1:1\"]\ntls_ca = \"ca.pem\"\n\
                   tls_cert = \"raw\"\ntls_key = \"job.toml\"\n";
    std::fs::write(&job, format!("{text}\n{cluster}")).unwrap();
    for arguments in [&["check", &job][..], &["run", &job, "--date", "2026-03-05"]] {
        let refused = lookback(arguments);
        assert_exit(&refused, 2);
        let said = stderr(&refused);
        for words in [
            "tls_ca = \"",
            "ca.pem\" cannot be read: No such file",
            "raw\" cannot be read: it is a folder",
            "hint: --tls-ca, --tls-cert and --tls-key name files in PEM",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
        assert!(!said.contains("tls_key = "), "{said}");
        assert_eq!(said.contains("job.toml: [cluster] tls_ca"), arguments[0] == "check", "{said}");
    }
    std::fs::write(&job, format!("{text}\n[cluster]\nmin_workers = 2\n")).unwrap();
    let refused = lookback(&["check", &job]);
    assert_exit(&refused, 2);
    let words = "job.toml: [cluster] has min_workers, and no workers are named";
    assert!(stderr(&refused).contains(words), "{}", stderr(&refused));
}

#[test]
fn init_guesses_writes_and_overwrites_nothing() {
    let folder = tempfile::tempdir().unwrap();
    world(folder.path());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (dir, clicks, orders) = (path("job"), path("world/raw/clicks"), path("world/raw/orders"));
    let made = lookback(&["init", &dir, "--clicks", &clicks, "--orders", &orders]);
    assert_exit(&made, 0);
    let told = stderr(&made);
    for words in
        ["wrote ", "newest dt=2026-03-07", "event_type", "what is missing", "next: lookback check"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
    let job = path("job/job.toml");
    let text = std::fs::read_to_string(&job).unwrap();
    assert!(text.contains("currency     = \"USD\""), "{text}");
    assert_exit(&lookback(&["check", &job]), 0);
    // The example rows pay nobody.
    assert_exit(&backfill(&job), 0);
    let sql = "select count(*) as lines from attribution.conversions where status = 'attributed'";
    let attributed = stdout(&lookback(&["query", &job, sql, "--format", "csv"]));
    assert_eq!(attributed, "lines\n0\n");

    let before = files_below(folder.path());
    let again = lookback(&["init", &dir]);
    assert_exit(&again, 2);
    assert!(stderr(&again).contains("job.toml: is there already"), "{}", stderr(&again));
    let nowhere = lookback(&["init", &path("other"), "--clicks", &path("nowhere")]);
    assert_exit(&nowhere, 2);
    assert!(stderr(&nowhere).contains("there is no such folder"), "{}", stderr(&nowhere));
    assert_eq!(before, files_below(folder.path()));
    assert!(!folder.path().join("other").exists());
}

#[test]
fn init_without_locations_leaves_them_to_be_filled_in() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("job").display().to_string();
    let made = lookback(&["init", &dir, "--quiet"]);
    assert_exit(&made, 0);
    assert_eq!((stdout(&made), stderr(&made)), (String::new(), String::new()));
    let check = lookback(&["check", &format!("{dir}/job.toml")]);
    assert_exit(&check, 2);
    assert!(
        stderr(&check).contains("raw/clicks: has no landing date at all"),
        "{}",
        stderr(&check)
    );
}

#[test]
fn a_mistyped_name_is_answered_with_the_nearest() {
    let folder = tempfile::tempdir().unwrap();
    let job = world(folder.path());
    for (arguments, words) in [
        (&["chek", &job][..], "'check'"),
        (&["run", &job, "--date", "yesterdy"], "is yesterday meant?"),
        (&["query", &job, "select * from report.order"], "is report.orders meant?"),
        (&["query", &job, "select * from order_event"], "is clean.order_events meant?"),
        (&["query", &job, "select * from sales"], "known are reference.fx_rates, "),
        (&["query", &job, "select publsher_id from report.orders"], "is publisher_id meant?"),
        (&["query", &job, "select cout(*) from report.orders"], "is count() meant?"),
    ] {
        let refused = lookback(arguments);
        assert_exit(&refused, 2);
        assert!(stderr(&refused).contains(words), "{words}: {}", stderr(&refused));
    }
}

#[test]
fn raw_logs_may_be_deleted_once_they_are_clean() {
    let folder = tempfile::tempdir().unwrap();
    let job = world(folder.path());
    assert_exit(&backfill(&job), 0);
    let rows = || {
        let sql = "select log, reason, row_id from clean.rejects order by 1, 2, 3";
        stdout(&lookback(&["query", &job, sql, "--format", "csv"]))
    };
    let before = rows();
    for log in ["clicks", "orders"] {
        for dt in ["2026-03-01", "2026-03-02"] {
            let raw = folder.path().join(format!("world/raw/{log}/dt={dt}"));
            std::fs::remove_dir_all(raw).unwrap();
        }
    }
    let plan = lookback(&["plan", &job, "--date", "2026-03-06"]);
    assert!(!stdout(&plan).contains("to clean"), "{}", stdout(&plan));
    assert_exit(&lookback(&["run", &job, "--date", "2026-03-06"]), 0);
    assert_eq!(before, rows());
    assert!(before.contains("duplicate"));
}

#[test]
fn a_further_raw_file_is_cleaned_and_outdates_nothing_if_the_clean_rows_stay() {
    let folder = tempfile::tempdir().unwrap();
    let job = world(folder.path());
    assert_exit(&backfill(&job), 0);
    let raw = folder.path().join("world/raw/clicks");
    let copied = raw.join("dt=2026-03-01/part-9.parquet");
    std::fs::copy(raw.join("dt=2026-03-01/part-0.parquet"), copied).unwrap();
    let plan = lookback(&["plan", &job, "--date", "2026-03-06"]);
    assert!(stdout(&plan).contains("raw files changed"), "{}", stdout(&plan));
    let run = lookback(&["run", &job, "--date", "2026-03-06"]);
    assert_exit(&run, 0);
    // All of its rows are duplicates.
    assert!(stderr(&run).contains("rejected: duplicate"), "{}", stderr(&run));
    assert!(!stderr(&run).contains("outdated"), "{}", stderr(&run));
}

#[test]
fn times_beyond_any_calendar_are_rejected_rows() {
    use arrow::array::TimestampSecondArray;
    use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
    use std::sync::Arc;

    let folder = tempfile::tempdir().unwrap();
    let job = world(folder.path());
    let micros: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![i64::MAX, i64::MIN, 0]));
    let seconds: ArrayRef = Arc::new(TimestampSecondArray::from(vec![i64::MAX, i64::MIN, 0]));
    for (name, times) in [("micros", micros), ("seconds", seconds)] {
        let ids: ArrayRef = Arc::new(StringArray::from(vec!["late", "early", "epoch"]));
        let urls: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>; 3]));
        let columns = [("click_id", ids), ("clicked_at", times), ("url", urls)];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let file = folder.path().join(format!("world/raw/clicks/dt=2026-03-02/{name}.parquet"));
        let file = std::fs::File::create(file).unwrap();
        let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
    assert_exit(&backfill(&job), 0);
    let sql = "select row_id, reason, count(*) as copies from clean.rejects \
               where row_id in ('late', 'early', 'epoch') group by row_id, reason order by row_id";
    let rejected = stdout(&lookback(&["query", &job, sql, "--format", "csv"]));
    let expected =
        "row_id,reason,copies\nearly,too_late,2\nepoch,too_late,2\nlate,in_the_future,2\n";
    assert_eq!(rejected, expected);
}

/// Gives a text to a program that reads it from stdin. None where the program is not there.
fn checked_by(program: &str, arguments: &[&str], text: &str) -> Option<Output> {
    use std::io::Write;
    use std::process::Stdio;

    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    match command.spawn() {
        Ok(mut child) => {
            child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            Some(child.wait_with_output().unwrap())
        }
        Err(error) => {
            // Past the test's own output, which nobody sees when it passes.
            let _ = writeln!(std::io::stderr(), "SKIPPED: {program}: {error}");
            None
        }
    }
}

#[test]
fn completions_are_scripts_of_their_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let output = lookback(&["completions", shell]);
        assert_exit(&output, 0);
        assert!(stdout(&output).contains("backfill"), "{shell}");
        if let Some(checked) = checked_by(shell, &["-n"], &stdout(&output)) {
            assert_exit(&checked, 0);
        }
    }
}

#[test]
fn each_command_has_a_man_page() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("man1");
    assert_exit(&lookback(&["man", dir.to_str().unwrap()]), 0);
    let pages = files_below(&dir);
    for command in ["", "-run", "-backfill", "-query"] {
        let page = dir.join(format!("lookback{command}.1"));
        assert!(pages.contains(&page), "{pages:?}");
    }
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        if let Some(checked) = checked_by("mandoc", &["-T", "lint", "-W", "error"], &text) {
            assert_exit(&checked, 0);
        }
    }
}

#[test]
fn the_version_names_the_engines() {
    let long = lookback(&["--version"]);
    let lines: Vec<String> = stdout(&long).lines().map(str::to_owned).collect();
    assert!(lines[0].starts_with(concat!("lookback ", env!("CARGO_PKG_VERSION"))), "{lines:?}");
    assert_eq!(lines.len(), 4, "{lines:?}");
    for (line, engine) in lines[1..].iter().zip(["DataFusion ", "deltalake ", "Arrow "]) {
        assert!(line.starts_with(engine), "{lines:?}");
    }
    let short = concat!("lookback ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(stdout(&lookback(&["-V"])), short);
}

/// What the script for cron does with a day: its exit code, what it prints, and its log.
fn nightly(job: &str, day: &str, folder: &Path) -> (Option<i32>, String, String) {
    let log = folder.join(format!("{day}.log"));
    let program = Path::new(LOOKBACK).parent().unwrap();
    let output = Command::new("sh")
        .args(["-c", r#"PATH="$0:$PATH" exec jobs/cron/lookback-nightly"#])
        .arg(program)
        .env("LOOKBACK_JOB", job)
        .env("LOOKBACK_DAY", day)
        .env("LOOKBACK_NIGHTLY_LOG", &log)
        .env("LOOKBACK_TRIES", "3")
        .env("LOOKBACK_PAUSE", "0")
        .output()
        .unwrap();
    let printed = stdout(&output) + &stderr(&output);
    (output.status.code(), printed, std::fs::read_to_string(log).unwrap())
}

#[test]
fn the_script_for_cron_tries_again_what_a_retry_mends() {
    let folder = tempfile::tempdir().unwrap();
    let job = world(folder.path());
    let (code, printed, log) = nightly(&job, "2026-03-06", folder.path());
    assert_eq!((code, log.matches(": exit 0\n").count()), (Some(0), 1), "{printed}{log}");
    assert_eq!(printed, "");
    let (code, printed, log) = nightly(&job, "2026-06-01", folder.path());
    assert_eq!((code, log.matches(": exit 3\n").count()), (Some(3), 3), "{printed}{log}");
    assert_eq!(printed.matches("raw/clicks: not landed").count(), 1, "{printed}");
    let wrong = folder.path().join("wrong.toml");
    std::fs::write(&wrong, "[input]\n").unwrap();
    let (code, printed, log) = nightly(wrong.to_str().unwrap(), "2026-03-07", folder.path());
    assert_eq!((code, log.matches(": exit 2\n").count()), (Some(2), 1), "{printed}{log}");
}
