//! Figures of the newest landing dates that one wants to see before the first night.
//!
//! Some rows are read and held; the steps of cleaning and the queries of `sql/check` run on them.
//! Nothing is written. Refuses to judge the figures.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::util::display::array_value_to_string;
use chrono::NaiveDate;
use datafusion::common::ScalarValue;

use crate::engine::{Engine, Params, SqlOverrides, Tuning};
use crate::job::Job;
use crate::model;
use crate::raw::{Log, RawLog};
use crate::reference::Reference;
use crate::run;
use crate::stop::Stop;
use crate::warehouse::Warehouse;

/// So many rows of each log are looked at.
const MOST_ROWS: u64 = 200_000;
/// Of so many landing dates at most.
const MOST_DATES: usize = 31;

/// What was found in some rows of both logs.
#[derive(Debug, Default)]
pub struct Figures {
    pub dates: BTreeSet<NaiveDate>,
    pub clicks: Looked,
    pub orders: Looked,
    /// Clicks that name a visitor and no buyer.
    pub only_visitor: u64,
    /// How many clicks each link format decides, in the order of the job file.
    pub formats: Vec<u64>,
    /// Clicks whose URL no format matches, and one such URL.
    pub no_format: u64,
    pub example_url: Option<String>,
    /// Event types of the orders that the rules do not know, with their rows.
    pub event_types: BTreeMap<String, u64>,
    /// Order lines placed, and those whose buyer clicked: as logged, or by identities.
    pub placed_lines: u64,
    pub by_buyer: u64,
    pub by_identities: u64,
    pub keys: BTreeMap<String, Keys>,
}

/// The rows of one log that were looked at.
#[derive(Debug, Default)]
pub struct Looked {
    /// In the files, and those that came out of them or of a view and were held.
    pub file_rows: u64,
    pub rows: u64,
    /// Whether there are more rows than were held.
    pub is_part: bool,
    /// Rows in which each of our columns has a value.
    pub filled: BTreeMap<String, u64>,
    /// Rows that a run would reject, by reason, the commonest first.
    pub rejected: Vec<(String, u64)>,
    /// Rows by the hours from the beginning of their landing date to when they happened.
    pub hours: BTreeMap<i64, u64>,
}

/// The keys of a reference table, and those that the logs ask for.
#[derive(Debug, Default)]
pub struct Keys {
    pub in_table: u64,
    /// Rows of `lookback init` among them.
    pub examples: u64,
    pub in_logs: u64,
    pub known: u64,
    pub rows: u64,
    pub known_rows: u64,
    pub unknown_example: Option<String>,
    /// Keys that would be known with other zeros, blanks or case.
    pub alike: u64,
    /// One of them, and as the table has it.
    pub alike_example: Option<(String, String)>,
}

impl Figures {
    pub fn log(&self, log: Log) -> &Looked {
        match log {
            Log::Clicks => &self.clicks,
            Log::Orders => &self.orders,
        }
    }
}

impl Looked {
    pub fn filled(&self, column: &str) -> u64 {
        self.filled.get(column).copied().unwrap_or_default()
    }
}

/// Looks at rows of the newest landing dates of both logs, which are checked. None where there are
/// no rows. Errors: exit 2 with the files that are not readable (B1).
pub async fn look(
    job: &Job,
    logs: [&RawLog; 2],
    reference: &Reference,
    warehouse: &Warehouse,
) -> Result<Option<Figures>, Stop> {
    let dates = newest(logs);
    if logs.iter().all(|raw| dates.iter().all(|dt| raw.rows(*dt) == 0)) {
        return Ok(None);
    }
    let engine = Engine::new(&Tuning::default(), SqlOverrides::new())?;
    let mut figures = Figures { dates, ..Figures::default() };
    for raw in logs {
        let looked = hold(&engine, job, raw, &mut figures).await?;
        match raw.log {
            Log::Clicks => figures.clicks = looked,
            Log::Orders => figures.orders = looked,
        }
    }
    figures.example_url = figures.example_url.as_deref().map(shown);
    reference.register(&engine, warehouse).await?;
    ask(&engine, job, &mut figures).await?;
    Ok(Some(figures))
}

/// The newest dates of both logs that have few rows together, at least one.
fn newest(logs: [&RawLog; 2]) -> BTreeSet<NaiveDate> {
    let [clicks, orders] = logs;
    let has_landed = |dt: &NaiveDate| clicks.has_landed(*dt) && orders.has_landed(*dt);
    let all = &clicks.dates() | &orders.dates();
    let both: BTreeSet<NaiveDate> = all.iter().copied().filter(has_landed).collect();
    let of = if both.is_empty() { all } else { both };
    let mut dates = BTreeSet::new();
    let mut rows = 0;
    for dt in of.into_iter().rev().take(MOST_DATES) {
        rows += clicks.rows(dt) + orders.rows(dt);
        if !dates.is_empty() && rows > MOST_ROWS {
            break;
        }
        dates.insert(dt);
    }
    dates
}

/// Reads rows of a log and registers them, so that they are read once.
async fn hold(
    engine: &Engine,
    job: &Job,
    raw: &RawLog,
    figures: &mut Figures,
) -> Result<Looked, Stop> {
    let dates = &figures.dates;
    let name = format!("raw.{}", raw.log.name());
    raw.register(engine, dates, job.reading()).await?;
    let most = MOST_ROWS as usize;
    let read = async {
        let rows = engine.table(&name).await?.limit(0, Some(most + 1))?;
        anyhow::Ok((rows.schema().as_arrow().clone(), rows.collect().await?))
    };
    let (schema, batches) = match read.await {
        Ok(read) => read,
        Err(error) => {
            let broken = raw.find_broken(engine, dates, job.reading()).await?;
            return Err(if broken.is_empty() { error.into() } else { Stop::fix(broken) });
        }
    };
    let mut looked =
        Looked { file_rows: dates.iter().map(|dt| raw.rows(*dt)).sum(), ..Looked::default() };
    let mut held = Vec::new();
    for batch in batches {
        let left = most - looked.rows as usize;
        looked.is_part |= batch.num_rows() > left;
        let batch = batch.slice(0, batch.num_rows().min(left));
        looked.rows += batch.num_rows() as u64;
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            let filled = (column.len() - column.null_count()) as u64;
            *looked.filled.entry(field.name().clone()).or_default() += filled;
        }
        match raw.log {
            Log::Clicks => {
                count_formats(job, &batch, figures)?;
                figures.only_visitor += only_visitor(&batch);
            }
            Log::Orders => count_event_types(&batch, figures)?,
        }
        held.push(Ok(batch));
    }
    engine.register_batches(&name, schema.into(), held).await?;
    Ok(looked)
}

/// Counts which format decides for each URL: the first that matches.
fn count_formats(job: &Job, batch: &RecordBatch, figures: &mut Figures) -> Result<()> {
    figures.formats.resize(job.formats.len(), 0);
    let urls = batch.column_by_name("url").context("clicks have no url")?;
    for url in urls.as_string_view().iter().flatten() {
        match job.formats.iter().position(|format| format.is_match(url)) {
            Some(format) => figures.formats[format] += 1,
            None => {
                figures.no_format += 1;
                // The least, whatever the order in which rows come.
                if figures.example_url.as_deref().is_none_or(|known| url < known) {
                    figures.example_url = Some(url.to_owned());
                }
            }
        }
    }
    Ok(())
}

fn only_visitor(batch: &RecordBatch) -> u64 {
    let columns = batch.column_by_name("buyer_id").zip(batch.column_by_name("visitor_id"));
    let Some((buyers, visitors)) = columns else { return 0 };
    let is_one = |row: &usize| buyers.is_null(*row) && visitors.is_valid(*row);
    (0..batch.num_rows()).filter(is_one).count() as u64
}

/// Counts event types that are none of the five. Of very many the first ones are enough.
fn count_event_types(batch: &RecordBatch, figures: &mut Figures) -> Result<()> {
    const KNOWN: [&str; 5] = ["placed", "paid", "completed", "cancelled", "refunded"];
    let types = batch.column_by_name("event_type").context("orders have no event_type")?;
    for found in types.as_string_view().iter().flatten().filter(|found| !KNOWN.contains(found)) {
        let counts = &mut figures.event_types;
        if counts.len() < 1000 || counts.contains_key(found) {
            *counts.entry(shown(found)).or_default() += 1;
        }
    }
    Ok(())
}

async fn ask(engine: &Engine, job: &Job, figures: &mut Figures) -> Result<()> {
    judge(engine, job, &figures.dates).await?;
    let mut params = Params::new();
    params.insert("currency", ScalarValue::Utf8(Some(job.currency.clone())));
    let answer = async |name: &str| engine.collect(model::named(name)?, &params).await;
    for row in rows(&answer("check.rejected").await?)? {
        let looked =
            if row.text("log")? == "clicks" { &mut figures.clicks } else { &mut figures.orders };
        looked.rejected.push((row.text("reason")?, row.number("rejected_rows")?));
    }
    for row in rows(&answer("check.hours").await?)? {
        let looked =
            if row.text("log")? == "clicks" { &mut figures.clicks } else { &mut figures.orders };
        looked.hours.insert(row.text("hour")?.parse()?, row.number("rows_of_hour")?);
    }
    for row in rows(&answer("check.order_buyers").await?)? {
        figures.placed_lines = row.number("lines")?;
        figures.by_buyer = row.number("by_buyer")?;
        figures.by_identities = row.number("by_identities")?;
    }
    for row in rows(&answer("check.keys").await?)? {
        let (log, table) = (row.optional("log_id")?, row.optional("table_id")?);
        let keys = Keys {
            in_table: row.number("table_keys")?,
            examples: row.number("examples")?,
            in_logs: row.number("log_keys")?,
            known: row.number("known_keys")?,
            rows: row.number("log_rows")?,
            known_rows: row.number("known_rows")?,
            unknown_example: row.optional("unknown_id")?.map(|id| shown(&id)),
            alike: row.number("alike_keys")?,
            alike_example: log.zip(table),
        };
        figures.keys.insert(row.text("name")?, keys);
    }
    Ok(())
}

/// Runs the checks of cleaning on the rows that are held, as if nothing were clean yet.
async fn judge(engine: &Engine, job: &Job, dates: &BTreeSet<NaiveDate>) -> Result<()> {
    let Some((first, last)) = dates.first().zip(dates.last()) else { return Ok(()) };
    for name in ["clean.clicks", "clean.order_events", "clean.rejects"] {
        let nothing = RecordBatch::new_empty(model::named(name)?.schema());
        engine.register_rows(name, nothing).await?;
    }
    for (log, checked) in
        [(Log::Clicks, "clean.checked_clicks"), (Log::Orders, "clean.checked_order_events")]
    {
        let params = run::cleaning_params(job, log, *first, *last);
        // Rows of both logs are here, and ids may be in both: what is repeated is asked later.
        engine.materialise_each(&["clean.repeated_ids"], &params).await?;
        let checked = model::named(checked)?;
        engine.register_empty(checked, &params).await?;
        let each = dates.iter().map(|dt| {
            let mut params = params.clone();
            params.extend(run::landing_params(*dt));
            params
        });
        engine.materialise_more(checked, &each.collect::<Vec<_>>(), 2).await?;
    }
    Ok(())
}

/// A value of a log, for a terminal: short, and without control characters.
fn shown(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(100).collect()
}

/// A row of an answer.
struct Row<'a> {
    batch: &'a RecordBatch,
    row: usize,
}

fn rows(batches: &[RecordBatch]) -> Result<Vec<Row<'_>>> {
    let rows =
        batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| Row { batch, row }));
    Ok(rows.collect())
}

impl Row<'_> {
    fn optional(&self, name: &str) -> Result<Option<String>> {
        let column =
            self.batch.column_by_name(name).with_context(|| format!("no column {name}"))?;
        let is_null = column.is_null(self.row);
        Ok(if is_null { None } else { Some(array_value_to_string(column, self.row)?) })
    }

    fn text(&self, name: &str) -> Result<String> {
        self.optional(name)?.with_context(|| format!("{name} is null"))
    }

    fn number(&self, name: &str) -> Result<u64> {
        Ok(self.text(name)?.parse()?)
    }
}
