//! Hostile input from outside: broken raw files, names that look like code or paths, SQL that wants
//! more than to read.
//!
//! `LOOKBACK_MUTATIONS` says how many broken files (500), `LOOKBACK_SEED` where to begin (0). A
//! failure prints its seed; `LOOKBACK_MUTATIONS=1 LOOKBACK_SEED=<seed>` breaks that file again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests have switches in the environment")]

mod broken_files;
mod mutations;
mod names;
mod queries;
mod raw_files;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use assert_cmd::Command;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use serde_json::Value;

const LOOKBACK: &str = env!("CARGO_BIN_EXE_lookback");
/// The report date of every world here, and its landing date.
const DATE: &str = "2026-03-01";
const MIDNIGHT: i64 = 1_772_323_200_000_000;
const SECOND: i64 = 1_000_000;
/// A run that takes longer hangs. It takes a second; on a busy machine it may take a minute.
const TIME_LIMIT: Duration = Duration::from_secs(600);

/// The program, on little: two threads, and no more address space than 4 GB, of which a
/// run over a small world takes less than a tenth.
fn lookback(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = match cfg!(target_os = "linux") {
        true => {
            let mut shell = Command::new("sh");
            shell.args(["-c", "ulimit -v 4000000 && exec \"$0\" \"$@\"", LOOKBACK]);
            shell
        }
        false => Command::new(LOOKBACK),
    };
    command.current_dir(folder).env("TMPDIR", folder).env("TOKIO_WORKER_THREADS", "2");
    command.env("MALLOC_ARENA_MAX", "2").args(arguments);
    command
}

fn backfill(folder: &Path) -> Command {
    lookback(folder, &["backfill", "job.toml", "--from", DATE, "--to", DATE])
}

/// The rows of a query, as text by column.
fn query(folder: &Path, sql: &str) -> Vec<BTreeMap<String, Value>> {
    let output =
        lookback(folder, &["query", "job.toml", sql, "--format", "json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn is_panic(text: &str) -> bool {
    ["panicked", "RUST_BACKTRACE", "memory allocation", "a bug in lookback"]
        .iter()
        .any(|words| text.contains(words))
}

/// A job that looks back as little as can be, reference tables, and empty folders for raw logs.
fn write_job(folder: &Path, links: &[[&str; 3]], stores: &[&str]) {
    let job = r#"
        [input]
        clicks = "raw/clicks"
        orders = "raw/orders"
        links = "links.csv"
        stores = "stores.csv"
        rates = "rates.csv"
        identities = "identities.csv"
        [output]
        root = "warehouse"
        [program]
        default_rate = "0.03"
        [attribution]
        window_hours = 1
        [lateness]
        late_days = 0
        order_horizon_days = 2
        [links]
        formats = ['(?s)^https://go\.example/(.+)$']
    "#;
    std::fs::write(folder.join("job.toml"), job).unwrap();
    let links = links.iter().map(|[key, publisher, tracking]| [*key, publisher, tracking, "", ""]);
    let header = ["link_key", "publisher_id", "tracking_id", "valid_from", "valid_to"];
    write_csv(&folder.join("links.csv"), header, links);
    let rows = stores.iter().map(|store| [*store, "", ""]);
    write_csv(&folder.join("stores.csv"), ["store_id", "joined_at", "left_at"], rows);
    let rows = stores.iter().map(|store| ["store", store, "", "0.1", "", ""]);
    let header = ["scope", "scope_id", "store_id", "rate", "valid_from", "valid_to"];
    write_csv(&folder.join("rates.csv"), header, rows);
    let rows = stores.iter().map(|name| [*name, *name]);
    write_csv(&folder.join("identities.csv"), ["visitor_id", "buyer_id"], rows);
    for log in ["clicks", "orders"] {
        std::fs::create_dir_all(landing(folder, log)).unwrap();
    }
}

fn write_csv<const COLUMNS: usize>(
    file: &Path,
    header: [&str; COLUMNS],
    rows: impl Iterator<Item = [impl AsRef<[u8]>; COLUMNS]>,
) {
    let mut writer = csv::Writer::from_path(file).unwrap();
    writer.write_record(header).unwrap();
    rows.for_each(|row| writer.write_record(row).unwrap());
    writer.flush().unwrap();
}

fn landing(folder: &Path, log: &str) -> PathBuf {
    folder.join(format!("raw/{log}/dt={DATE}"))
}

fn parquet_file(rows: &RecordBatch, properties: WriterProperties) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, rows.schema(), Some(properties)).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
    file
}

/// Clicks, one second apart.
fn clicks(ids: &[String], urls: &[String], others: &[(&str, &[String])]) -> RecordBatch {
    let times = (0..ids.len() as i64).map(|row| MIDNIGHT + row * SECOND);
    let mut columns = vec![
        ("click_id", texts(ids)),
        ("clicked_at", Arc::new(TimestampMicrosecondArray::from_iter_values(times)) as ArrayRef),
        ("url", texts(urls)),
    ];
    columns.extend(others.iter().map(|(name, values)| (*name, texts(values))));
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(nullable)).unwrap()
}

/// Events of orders, half an hour after the clicks and one second apart: per order 100.00 placed,
/// and what follows.
fn order_events(events: &[&str], orders: &[String], others: &[(&str, &[String])]) -> RecordBatch {
    let rows: Vec<(usize, &str)> = (0..orders.len())
        .flat_map(|order| events.iter().map(move |event| (order, *event)))
        .collect();
    let of_orders = |values: &[String]| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(|(order, _)| &values[*order])))
    };
    let times = (0..rows.len() as i64).map(|row| MIDNIGHT + (1800 + row) * SECOND);
    let ids = rows.iter().map(|(order, event)| format!("{event} {}", orders[*order]));
    let amounts = Int64Array::from_iter(rows.iter().map(|(_, event)| match *event {
        "placed" => Some(100),
        "refunded" => Some(20),
        _ => None,
    }));
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("event_id", Arc::new(StringArray::from_iter_values(ids))),
        ("event_type", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1)))),
        ("event_at", Arc::new(TimestampMicrosecondArray::from_iter_values(times))),
        ("order_id", of_orders(orders)),
        ("amount", Arc::new(amounts)),
        ("currency", Arc::new(StringArray::from(vec!["USD"; rows.len()]))),
    ];
    columns.extend(others.iter().map(|(name, values)| (*name, of_orders(values))));
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(nullable)).unwrap()
}

fn texts(values: &[String]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn nullable((name, values): (&str, ArrayRef)) -> (String, ArrayRef, bool) {
    (name.to_owned(), values, true)
}
