//! The job against a naive second implementation, over random small worlds.
//!
//! `LOOKBACK_WORLDS` says how many (100), `LOOKBACK_SEED` where to begin (0). A failure prints the
//! seed of its world; `LOOKBACK_WORLDS=1 LOOKBACK_SEED=<seed>` runs that one again.

mod naive;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use chrono::{DateTime, NaiveDate};
use lookback::cli::Format;
use lookback::days::ReportDates;
use lookback::engine::{Replacements, Tuning};
use lookback::job::Job;
use lookback::lock::Pace;
use lookback::plan::{Asked, Remake};
use lookback::progress::Progress;
use lookback::query;
use lookback::run::{self, Request};
use naive::{Row, Tables};
use world::World;

const TABLES: [&str; 8] = [
    "clean/clicks",
    "clean/order_events",
    "clean/rejects",
    "attribution/conversions",
    "report/traffic",
    "report/orders",
    "report/refunds",
    "report/transaction_details",
];

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn the_job_and_the_naive_implementation_agree() {
    let first = setting("LOOKBACK_SEED", 0);
    let next = AtomicU64::new(first);
    let end = first + setting("LOOKBACK_WORLDS", 100);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Runtime::new().expect("a runtime");
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    if let Err(error) = runtime.block_on(agree(seed)) {
                        panic!("world {seed}: {error:#}");
                    }
                }
            });
        }
    });
}

/// One world: one backfill, or day by day, as of a date or not, in a way of splitting the work that
/// depends on the seed.
async fn agree(seed: u64) -> Result<()> {
    let world = World::random(seed);
    let folder = tempfile::tempdir()?;
    let job = Job::load(&world.write(folder.path())?)?;
    let landed: Vec<NaiveDate> = world.landed_orders.iter().copied().collect();
    let as_of = (seed % 5 == 4).then(|| landed[landed.len() * 2 / 3]);
    let Some(dates) = longest_stretch(&world.report_dates_as_of(as_of)) else { return Ok(()) };
    let tuning = Tuning {
        partitions: [1, 2, 8][seed as usize % 3],
        batch_size: [8192, 7, 1, 100][seed as usize / 3 % 4],
        // Ample, but a limit all the same: steps are then kept in files, not in memory.
        memory: (seed % 7 == 6).then_some(4 << 30),
        // Rows looked for before the rest of them is decoded: always, or where they are few.
        few: [0, 100][seed as usize / 2 % 2],
    };
    if seed % 4 == 3 {
        for date in dates.iter() {
            run_dates(&job, ReportDates { from: date, to: date }, as_of, &tuning).await?;
        }
    } else {
        run_dates(&job, dates, as_of, &tuning).await?;
    }
    let expected = naive::tables(&world, dates.from, dates.to, as_of);
    for table in TABLES {
        let made = read(&job, table).await?;
        compare(table, &expected, made, dates)?;
    }
    Ok(())
}

fn longest_stretch(dates: &[NaiveDate]) -> Option<ReportDates> {
    let mut best: Option<ReportDates> = None;
    let mut current: Option<ReportDates> = None;
    for date in dates {
        current = match current {
            Some(stretch) if stretch.to.succ_opt() == Some(*date) => {
                Some(ReportDates { to: *date, ..stretch })
            }
            _ => Some(ReportDates { from: *date, to: *date }),
        };
        let length = |stretch: Option<ReportDates>| stretch.map_or(0, |dates| dates.iter().count());
        if length(current) > length(best) {
            best = current;
        }
    }
    best
}

async fn run_dates(
    job: &Job,
    dates: ReportDates,
    as_of: Option<NaiveDate>,
    tuning: &Tuning,
) -> Result<()> {
    let request = Request {
        asked: Asked::Backfill(dates),
        as_of,
        now: DateTime::UNIX_EPOCH,
        run_id: uuid::Uuid::now_v7().to_string(),
        tuning: tuning.clone(),
        remake: Remake::Changed,
        pace: Pace::default(),
        instead: Replacements::new(),
    };
    run::run(job, &request, &Progress::default(), std::future::pending()).await?;
    Ok(())
}

async fn read(job: &Job, table: &str) -> Result<Vec<Row>> {
    let name = table.replace('/', ".");
    let mut csv = Vec::new();
    // Nulls and empty texts differ, so nulls are spelled out.
    let (engine, _) = query::session(job).await?;
    let batches = engine.session().table(name.as_str()).await?.collect().await?;
    let mut rows = Vec::new();
    for batch in &batches {
        let schema = batch.schema();
        for position in 0..batch.num_rows() {
            let mut row = Row::new();
            for (field, column) in schema.fields().iter().zip(batch.columns()) {
                let value = match column.is_null(position) {
                    true => None,
                    false => Some(arrow::util::display::array_value_to_string(column, position)?),
                };
                let value = match field.data_type() {
                    arrow::datatypes::DataType::Timestamp(..) => {
                        value.map(|text| whole(&text)).transpose()?
                    }
                    _ => value,
                };
                row.insert(field.name().clone(), value);
            }
            rows.push(row);
        }
    }
    query::query(job, &format!("select count(*) from {name}"), Format::Csv, &mut csv).await?;
    anyhow::ensure!(
        String::from_utf8(csv)?.lines().nth(1) == Some(rows.len().to_string().as_str())
    );
    Ok(rows)
}

/// Times with all six decimals, as the naive implementation writes them.
fn whole(text: &str) -> Result<String> {
    let time = DateTime::parse_from_rfc3339(text).with_context(|| text.to_owned())?;
    Ok(time.naive_utc().format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
}

fn compare(table: &str, expected: &Tables, mut made: Vec<Row>, dates: ReportDates) -> Result<()> {
    let mut expected = expected.get(table).cloned().unwrap_or_default();
    let partition = match table.split('/').next() {
        Some("clean") => "dt",
        Some("attribution") => "order_date",
        _ => "report_date",
    };
    let date = |row: &Row| -> Option<NaiveDate> { row.get(partition)?.as_ref()?.parse().ok() };
    if partition == "dt" {
        // The job cleans the dates it reads; all rows of such a date have to be there. A date
        // that it did not read is empty.
        let cleaned: BTreeSet<_> = made.iter().filter_map(date).collect();
        expected.retain(|row| date(row).is_some_and(|dt| cleaned.contains(&dt)));
    } else {
        made.retain(|row| date(row).is_some_and(|date| dates.contains(date)));
    }
    for row in &mut made {
        row.remove("record");
    }
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for row in &expected {
        *counts.entry(format!("{row:?}")).or_default() += 1;
    }
    for row in &made {
        *counts.entry(format!("{row:?}")).or_default() -= 1;
    }
    counts.retain(|_, count| *count != 0);
    if counts.is_empty() {
        return Ok(());
    }
    let mut text = format!("{table}: {} rows expected, {} made\n", expected.len(), made.len());
    for (row, count) in counts.iter().take(12) {
        let side = if *count > 0 { "missing   " } else { "unexpected" };
        text.push_str(&format!("{side} {row}\n"));
    }
    bail!(text)
}
