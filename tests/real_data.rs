//! The job on real logs, in the folder that `LOOKBACK_REAL_DATA` names. They are not part of the
//! project: where the variable is not set, the tests are shown as ignored, and stderr says so.

#![allow(clippy::disallowed_methods, reason = "tests have switches in the environment")]

use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Arguments, Failed, Trial};

#[cfg(feature = "cluster")]
#[path = "workers/mod.rs"]
mod workers;

const LOOKBACK: &str = env!("CARGO_BIN_EXE_lookback");

const TABLES: [&str; 9] = [
    "clean.clicks",
    "clean.order_events",
    "clean.rejects",
    "attribution.conversions",
    "report.traffic",
    "report.orders",
    "report.refunds",
    "report.transaction_details",
    "report.unbooked_events",
];

fn main() {
    let data = std::env::var_os("LOOKBACK_REAL_DATA").map(PathBuf::from);
    let is_missing = data.is_none();
    if is_missing {
        #[expect(clippy::print_stderr, reason = "what is not tested is said")]
        let () = eprintln!(
            "\nSKIPPED: the runs on real logs. LOOKBACK_REAL_DATA is not set; it names the folder \
             where they lie."
        );
    }
    let trial = |name: &str, run: fn(&Path) -> Result<(), Failed>| {
        let data = data.clone();
        let run = move || run(&data.ok_or("LOOKBACK_REAL_DATA is not set")?);
        Trial::test(name, run).with_ignored_flag(is_missing)
    };
    let trials = vec![
        trial("online_retail_has_the_expected_totals", online_retail_totals),
        trial("online_retail_day_by_day_is_the_backfill", online_retail_day_by_day),
        trial("taobao_day_by_day_is_the_backfill", taobao_day_by_day),
        #[cfg(feature = "cluster")]
        trial("online_retail_on_a_cluster_has_the_same_rows", online_retail_on_a_cluster),
        #[cfg(feature = "cluster")]
        trial("taobao_on_a_cluster_has_the_same_rows", taobao_on_a_cluster),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// The data set's job file with full input paths and another output root.
fn job(data: &Path, set: &str, root: &Path) -> Result<PathBuf, Failed> {
    let folder = data.join(set);
    let file = folder.join("job.toml");
    let text =
        std::fs::read_to_string(&file).map_err(|why| format!("{}: {why}", file.display()))?;
    let inputs = std::path::absolute(&folder)?;
    let text = text
        .replace("\"raw/", &format!("\"{}/raw/", inputs.display()))
        .replace("\"reference/", &format!("\"{}/reference/", inputs.display()))
        .replace("\"warehouse\"", &format!("\"{}\"", root.join("warehouse").display()));
    std::fs::create_dir_all(root)?;
    let file = root.join("job.toml");
    std::fs::write(&file, text)?;
    Ok(file)
}

fn lookback(arguments: &[&str]) -> Result<String, Failed> {
    let output = Command::new(LOOKBACK).args(arguments).output()?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?),
        false => Err(format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

fn backfill(job: &Path, from: &str, to: &str) -> Result<(), Failed> {
    let job = job.display().to_string();
    lookback(&["backfill", &job, "--from", from, "--to", to, "--quiet"]).map(drop)
}

fn query(job: &Path, sql: &str) -> Result<String, Failed> {
    lookback(&["query", &job.display().to_string(), sql, "--format", "csv"])
}

/// Every total of `expected-totals.json`, asked for by name: `rows`, `status=…` and the like count,
/// other names are summed.
fn online_retail_totals(data: &Path) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let job = job(data, "online-retail", folder.path())?;
    backfill(&job, "2010-12-01", "2011-12-09")?;
    let expected = std::fs::read_to_string(data.join("online-retail/expected-totals.json"))?;
    let expected: serde_json::Value = serde_json::from_str(&expected)?;
    let mut differences = Vec::new();
    let mut compared = 0;
    for (table, totals) in expected.as_object().ok_or("an object is expected")? {
        let name = table.replace('/', ".");
        // Conversions are also made of order dates before; the totals are of the run's own.
        let dates = match name.as_str() {
            "attribution.conversions" => "order_date between '2010-12-01' and '2011-12-09'",
            _ => "true",
        };
        for (total, wanted) in totals.as_object().ok_or("an object is expected")? {
            let (sum, narrowed) = match total.as_str() {
                "rows" => ("count(*)".to_owned(), "true".to_owned()),
                "attributed" | "store_not_joined" | "no_click" => {
                    ("count(*)".to_owned(), format!("status = '{total}'"))
                }
                "is_effective" => ("count(*)".to_owned(), "is_effective".to_owned()),
                total if total.contains('=') => {
                    ("count(*)".to_owned(), total.replace('=', " = '") + "'")
                }
                column => (format!("sum({column})"), "true".to_owned()),
            };
            let sql = format!("select {sum} from {name} where {dates} and {narrowed}");
            let answer = query(&job, &sql)?;
            let found = answer.lines().nth(1).unwrap_or_default();
            let wanted = wanted.as_str().map_or_else(|| wanted.to_string(), str::to_owned);
            compared += 1;
            if found != wanted {
                differences.push(format!("{name} {total}: {found}, but {wanted} is expected"));
            }
        }
    }
    match differences.is_empty() && compared > 40 {
        true => Ok(()),
        false => Err(format!("{compared} compared; {}", differences.join("\n")).into()),
    }
}

/// Two warehouses hold the same rows on the report dates.
fn same_rows(one: &Path, other: &Path, from: &str, to: &str) -> Result<(), Failed> {
    for table in TABLES {
        let column = match table.split('.').next() {
            Some("clean") => "dt",
            Some("attribution") => "order_date",
            _ => "report_date",
        };
        let sql = format!("select * from {table} where {column} between '{from}' and '{to}'");
        let sorted = |job: &Path| -> Result<Vec<String>, Failed> {
            let mut lines: Vec<String> = query(job, &sql)?.lines().map(str::to_owned).collect();
            lines.sort();
            Ok(lines)
        };
        let (one, other) = (sorted(one)?, sorted(other)?);
        if one != other {
            let different = one.iter().zip(&other).find(|(one, other)| one != other);
            return Err(
                format!("{table}: {} and {} rows; {different:?}", one.len(), other.len()).into()
            );
        }
    }
    Ok(())
}

fn day_by_day(data: &Path, set: &str, from: &str, to: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let whole = job(data, set, &folder.path().join("whole"))?;
    backfill(&whole, from, to)?;
    let daily = job(data, set, &folder.path().join("daily"))?;
    let first: chrono::NaiveDate = from.parse()?;
    let last: chrono::NaiveDate = to.parse()?;
    for date in first.iter_days().take_while(|date| *date <= last) {
        let (job, date) = (daily.display().to_string(), date.to_string());
        lookback(&["run", &job, "--date", &date, "--quiet"])?;
    }
    same_rows(&whole, &daily, from, to)
}

fn online_retail_day_by_day(data: &Path) -> Result<(), Failed> {
    day_by_day(data, "online-retail", "2011-03-01", "2011-04-30")
}

fn taobao_day_by_day(data: &Path) -> Result<(), Failed> {
    day_by_day(data, "taobao", "2017-11-22", "2017-12-08")
}

/// A backfill on one machine, on two workers, and on four.
#[cfg(feature = "cluster")]
fn on_a_cluster(data: &Path, set: &str, from: &str, to: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let here = job(data, set, &folder.path().join("here"))?;
    backfill(&here, from, to)?;
    for (count, cores) in [(2, 2), (4, 1)] {
        let there = job(data, set, &folder.path().join(format!("on-{count}")))?;
        // Small pieces, so that all workers have some of each log.
        let text = std::fs::read_to_string(&there)?;
        std::fs::write(&there, format!("{text}\n[cluster]\npiece_mb = 0\n"))?;
        let name = there.display().to_string();
        let workers = workers::addresses(count, cores).map_err(|why| format!("{why:#}"))?;
        let workers = workers.join(",");
        let arguments =
            ["backfill", &name, "--from", from, "--to", to, "--workers", &workers, "--quiet"];
        lookback(&arguments)?;
        same_rows(&here, &there, "1970-01-01", "2099-12-31")?;
    }
    Ok(())
}

#[cfg(feature = "cluster")]
fn online_retail_on_a_cluster(data: &Path) -> Result<(), Failed> {
    on_a_cluster(data, "online-retail", "2010-12-01", "2011-12-09")
}

#[cfg(feature = "cluster")]
fn taobao_on_a_cluster(data: &Path) -> Result<(), Failed> {
    on_a_cluster(data, "taobao", "2017-11-22", "2017-12-08")
}
