//! The job against a naive second implementation and against the plain rules, over random small
//! worlds.
//!
//! `LOOKBACK_WORLDS` says how many (100), `LOOKBACK_SEED` where to begin (0). A failure prints the
//! seed of its world; `LOOKBACK_WORLDS=1 LOOKBACK_SEED=<seed>` runs that one again.
//!
//! With the feature `cluster` the worlds also run on workers, see `cluster.rs`.

#![allow(clippy::disallowed_methods, reason = "tests have switches in the environment")]

#[cfg(feature = "cluster")]
mod cluster;
mod naive;
mod rules;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use chrono::{DateTime, NaiveDate};
use lookback::cli::Format;
use lookback::commands::query;
use lookback::days::DateRange;
use lookback::engine::elsewhere::Elsewhere;
use lookback::engine::{SqlOverrides, Tuning};
use lookback::job::Job;
use lookback::lock::Pace;
use lookback::plan::{DateSelection, Rebuild};
use lookback::progress::Progress;
use lookback::run::{self, Request};
use lookback::summary::Summary;
use naive::{Row, Tables};
use world::World;

const TABLES: [&str; 9] = [
    "clean/clicks",
    "clean/order_events",
    "clean/rejects",
    "attribution/conversions",
    "report/traffic",
    "report/orders",
    "report/refunds",
    "report/transaction_details",
    "report/unbooked_events",
];

fn setting(name: &str, default: u64) -> u64 {
    let number = |text: String| text.parse().unwrap_or_else(|_| panic!("{name}={text}: no number"));
    std::env::var(name).map_or(default, number)
}

#[test]
fn the_job_the_naive_implementation_and_the_plain_rules_agree() {
    let noticed = rules::Noticed::default();
    let worlds = each_world(1, async |seed| agree(seed, &noticed).await);
    // A few worlds cannot show every mistake.
    if worlds >= 100 {
        assert!(noticed.missed().is_empty(), "nothing notices {:#?}", noticed.missed());
    }
}

/// Looks at every k-th of the worlds that are asked for, two at once. Returns how many are asked for.
fn each_world<F>(every: u64, look: F) -> u64
where
    F: AsyncFn(u64) -> Result<()> + Sync,
{
    let first = setting("LOOKBACK_SEED", 0);
    let next = AtomicU64::new(first);
    let worlds = setting("LOOKBACK_WORLDS", 100);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Runtime::new().expect("a runtime");
                loop {
                    let seed = next.fetch_add(every.max(1), Ordering::Relaxed);
                    if seed >= first + worlds {
                        return;
                    }
                    if let Err(error) = runtime.block_on(look(seed)) {
                        panic!("world {seed}: {error:#}");
                    }
                }
            });
        }
    });
    worlds
}

/// How a world is run: one backfill, or day by day, as of a date or not, in a way of splitting the work
/// that depends on the seed.
struct Ways {
    dates: DateRange,
    is_day_by_day: bool,
    as_of: Option<NaiveDate>,
    tuning: Tuning,
}

impl Ways {
    /// None: no date of the world can be made.
    fn of(seed: u64, world: &World) -> Option<Ways> {
        let landed: Vec<NaiveDate> = world.landed_orders.iter().copied().collect();
        let as_of = (seed % 5 == 4).then(|| landed[landed.len() * 2 / 3]);
        let tuning = Tuning {
            partitions: [1, 2, 8][seed as usize % 3],
            batch_size: [8192, 7, 1, 100][seed as usize / 3 % 4],
            // Ample, but a limit all the same: steps are then kept in files, not in memory.
            memory: (seed % 7 == 6).then_some(4 << 30),
            // Rows looked for before the rest of them is decoded: always, or where they are few.
            selective_ratio: [0, 100][seed as usize / 2 % 2],
            kept: None,
        };
        let dates = longest_stretch(&world.report_dates_as_of(as_of))?;
        Some(Ways { dates, is_day_by_day: seed % 4 == 3, as_of, tuning })
    }

    /// The dates of each run.
    fn parts(&self) -> Vec<DateRange> {
        match self.is_day_by_day {
            true => self.dates.iter().map(|date| DateRange { from: date, to: date }).collect(),
            false => vec![self.dates],
        }
    }

    async fn run(
        &self,
        job: &Job,
        dates: DateRange,
        tuning: &Tuning,
        elsewhere: Option<Arc<dyn Elsewhere>>,
    ) -> Result<Summary> {
        let request = Request {
            selection: DateSelection::Backfill(dates),
            as_of: self.as_of,
            now: DateTime::UNIX_EPOCH,
            run_id: uuid::Uuid::now_v7().to_string(),
            tuning: tuning.clone(),
            rebuild: Rebuild::Changed,
            pace: Pace::default(),
            sql_overrides: SqlOverrides::new(),
            elsewhere,
        };
        Ok(run::run(job, &request, &Progress::default(), std::future::pending()).await?)
    }
}

/// One world against the naive implementation and the plain rules.
async fn agree(seed: u64, noticed: &rules::Noticed) -> Result<()> {
    let world = World::random(seed);
    let folder = tempfile::tempdir()?;
    let job = Job::load(&world.write(folder.path())?)?;
    let Some(ways) = Ways::of(seed, &world) else { return Ok(()) };
    for dates in ways.parts() {
        ways.run(&job, dates, &ways.tuning, None).await?;
    }
    let dates = ways.dates;
    let expected = naive::tables(&world, dates.from, dates.to, ways.as_of);
    for table in TABLES {
        let made = read(&job, table).await?;
        compare(table, &expected, made, dates)?;
    }
    rules::agree(&job, dates).await?;
    noticed.look(&job, dates).await
}

fn longest_stretch(dates: &[NaiveDate]) -> Option<DateRange> {
    let mut best: Option<DateRange> = None;
    let mut current: Option<DateRange> = None;
    for date in dates {
        current = match current {
            Some(stretch) if stretch.to.succ_opt() == Some(*date) => {
                Some(DateRange { to: *date, ..stretch })
            }
            _ => Some(DateRange { from: *date, to: *date }),
        };
        let length = |stretch: Option<DateRange>| stretch.map_or(0, |dates| dates.iter().count());
        if length(current) > length(best) {
            best = current;
        }
    }
    best
}

async fn read(job: &Job, table: &str) -> Result<Vec<Row>> {
    let name = table.replace('/', ".");
    let mut csv = Vec::new();
    // Nulls and empty texts differ, so nulls are spelled out.
    let (engine, _) = query::session(job).await?;
    let batches = engine.table(name.as_str()).await?.collect().await?;
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

fn compare(table: &str, expected: &Tables, mut made: Vec<Row>, dates: DateRange) -> Result<()> {
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
    let by_row = |row: &Row| format!("{row:?}");
    differences(table, expected.iter().map(by_row), made.iter().map(by_row))
}

/// Errors: not the same rows, each as often as the other side has it.
fn differences(
    table: &str,
    expected: impl ExactSizeIterator<Item = String>,
    made: impl ExactSizeIterator<Item = String>,
) -> Result<()> {
    let mut text = format!("{table}: {} rows expected, {} made\n", expected.len(), made.len());
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for row in expected {
        *counts.entry(row).or_default() += 1;
    }
    for row in made {
        *counts.entry(row).or_default() -= 1;
    }
    counts.retain(|_, count| *count != 0);
    if counts.is_empty() {
        return Ok(());
    }
    for (row, count) in counts.iter().take(12) {
        let side = if *count > 0 { "missing   " } else { "unexpected" };
        text.push_str(&format!("{side} {row}\n"));
    }
    bail!(text)
}
