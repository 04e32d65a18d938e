//! What `lookback report` shows, as a value: the figures of `sql/show/` over some report dates.
//! [`text`] prints it for a terminal, [`page`] makes one page of HTML of it.
//!
//! Refuses to know a figure. Which ones there are, what they are called, which rules they follow and
//! which are drawn is in the heads of the SQL files.

mod chart;
pub mod figure;
pub mod page;
mod rules;
pub mod text;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Int64Type};
use arrow::util::display::array_value_to_string;
use chrono::NaiveDate;
use datafusion::common::ScalarValue;
use regex::{Captures, Regex};

use crate::days::{DateRange, days_since_1970};
use crate::engine::{Engine, Params};
use crate::job::Job;
use crate::model::{self, Column, ColumnKind, Model};
use crate::nearest::meant;
use crate::stop::Stop;
use crate::warehouse::Warehouse;
use figure::{Figure, Value};

/// The reports, in the order of a page. The first one is about all of the others.
pub const NAMES: [&str; 5] = [OVERVIEW, "traffic", "orders", "refunds", "transactions"];
const OVERVIEW: &str = "overview";

/// So many report dates are shown, where none are asked for.
const USUAL_DATES: usize = 30;
/// A range of more dates is cut to those that there are.
const MOST_DATES: usize = 3660;

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// One of [`NAMES`]. None: the overview.
    pub name: Option<String>,
    pub from: Option<NaiveDate>,
    pub to: Option<NaiveDate>,
    /// Keys of the rows. Empty: each report's usual one.
    pub by: Vec<String>,
    /// So many rows; the others are added up. None: as many as suit.
    pub top: Option<u64>,
}

/// Figures of a program over a range of dates.
#[derive(Debug)]
pub struct Report {
    pub program: Option<String>,
    pub currency: String,
    pub zone: String,
    pub range: DateRange,
    /// Dates of the range that were never made.
    pub missing: BTreeSet<NaiveDate>,
    pub sections: Vec<Section>,
}

/// One report: its rows, what they add up to, and its days.
#[derive(Debug)]
pub struct Section {
    pub name: &'static str,
    pub title: &'static str,
    pub purpose: &'static str,
    pub keys: Vec<&'static Column>,
    pub figures: Vec<Figure>,
    /// The positions of the figures that are drawn. The first ranks the rows.
    pub drawn: Vec<usize>,
    pub rows: Vec<Row>,
    /// The rows beyond the first ones, in one.
    pub others: Option<Row>,
    /// None where there are no rows.
    pub total: Option<Row>,
    /// Each date of the range. None where nothing happened, or the date was not made.
    pub days: Vec<(NaiveDate, Option<Row>)>,
    /// The query of the rows, to be pasted into `lookback query`.
    pub query: String,
}

/// The figures of one key.
#[derive(Debug, Clone)]
pub struct Row {
    pub keys: Vec<String>,
    /// None: nothing to divide by.
    pub values: Vec<Option<Value>>,
    /// How many keys it adds up.
    pub adds_up: i64,
    place: i64,
    day: Option<NaiveDate>,
}

/// Reads what was asked for: the named report, or where none is named the first one, or `all`.
/// Errors: exit 2 when there is no such key, or no report date.
pub async fn report(
    job: &Job,
    engine: &Engine,
    warehouse: &Warehouse,
    request: &Request,
    all: All,
) -> Result<Report, Stop> {
    let names: Vec<&str> = match (&request.name, all) {
        (Some(name), _) => vec![name.as_str()],
        (None, All::Sections) => NAMES.to_vec(),
        (None, All::First) => vec![OVERVIEW],
    };
    let made = made(warehouse)?;
    let range = range(job, &made, request)?;
    let mut sections = Vec::new();
    for (position, name) in names.into_iter().enumerate() {
        let model = model::named(&format!("show.{name}"))?;
        // What is asked of the first holds for the others as far as they have it.
        let keys = match (keys_of(model, &request.by), position) {
            (Ok(keys), _) => keys,
            (Err(stop), 0) => return Err(stop),
            (Err(_), _) => {
                let known = |key: &&String| keys_of(model, std::slice::from_ref(*key)).is_ok();
                keys_of(model, &request.by.iter().filter(known).cloned().collect::<Vec<_>>())?
            }
        };
        sections.push(section(engine, model, keys, range, request.top).await?);
    }
    Ok(Report {
        program: job.name.clone(),
        currency: job.currency.clone(),
        zone: job.zone.to_string(),
        range,
        missing: range.iter().filter(|date| !made.contains(date)).collect(),
        sections,
    })
}

/// Whether a report without a name has all sections or the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum All {
    First,
    Sections,
}

/// All keys that some report has.
pub fn known_keys() -> BTreeSet<&'static str> {
    let models = model::layer("show").unwrap_or_default();
    models.into_iter().flat_map(keys).map(|key| key.name.as_str()).collect()
}

fn keys(model: &'static Model) -> impl Iterator<Item = &'static Column> {
    model.columns.iter().filter(|column| matches!(column.kind, ColumnKind::Date | ColumnKind::Text))
}

/// The keys asked for, once each; by default the first that is no date.
fn keys_of(model: &'static Model, by: &[String]) -> Result<Vec<&'static Column>, Stop> {
    if by.is_empty() {
        return Ok(keys(model).find(|key| key.kind == ColumnKind::Text).into_iter().collect());
    }
    let known: Vec<&str> = keys(model).map(|key| key.name.as_str()).collect();
    let report = model.name.trim_start_matches("show.");
    let unknown = by.iter().filter(|name| !known.contains(&name.as_str()));
    let complaints = unknown.map(|name| {
        format!("--by {name}: report {report} has no {name}{}", meant(name, known.clone()))
    });
    let complaints: Vec<String> = complaints.collect();
    match complaints.is_empty() {
        true => Ok(keys(model).filter(|key| by.contains(&key.name)).collect()),
        false => Err(Stop::fix(complaints)),
    }
}

/// The report dates that were made.
fn made(warehouse: &Warehouse) -> Result<BTreeSet<NaiveDate>> {
    let mut made = BTreeSet::new();
    for table in model::stored()?.into_iter().filter(|table| table.layer() == "report") {
        made.extend(warehouse.table(table.name)?.dates());
    }
    Ok(made)
}

/// The dates asked for; by default the last ones that were made.
fn range(job: &Job, made: &BTreeSet<NaiveDate>, request: &Request) -> Result<DateRange, Stop> {
    let Some((first, last)) = made.first().zip(made.last()) else {
        return Err(Stop::fix_one(format!("{}: no report date was made yet", job.root))
            .hint("`lookback run` and `lookback backfill` make them"));
    };
    let to = request.to.unwrap_or(*last);
    let usual = made.range(..=to).rev().take(USUAL_DATES).last();
    let from = request.from.unwrap_or_else(|| *usual.unwrap_or(first));
    if let Some(to) = request.to.filter(|to| from > *to && request.from.is_some()) {
        return Err(Stop::fix_one(format!("--from {from} is after --to {to}")));
    }
    match from <= to && made.range(from..=to).next().is_some() {
        // Who names a thousand years means all dates.
        true if DateRange { from, to }.days() > MOST_DATES => {
            Ok(DateRange { from: from.max(*first), to: to.min(*last) })
        }
        true => Ok(DateRange { from, to }),
        false => {
            let asked = match (request.from, request.to) {
                (Some(from), Some(to)) => DateRange { from, to }.to_string(),
                (Some(from), None) => format!("{from} or later"),
                _ => format!("{to} or earlier"),
            };
            let there = DateRange { from: *first, to: *last };
            Err(Stop::fix_one(format!("there is no report date {asked}: the tables have {there}")))
        }
    }
}

async fn section(
    engine: &Engine,
    model: &'static Model,
    keys: Vec<&'static Column>,
    range: DateRange,
    top: Option<u64>,
) -> Result<Section> {
    let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
    let is_by_day = keys.iter().any(|key| key.kind == ColumnKind::Date);
    let top = top.unwrap_or(if is_by_day { MANY } else { 10 });
    let params = params(model, range, &names, top);
    let mut rows = rows(engine, model, &params, &keys).await?;
    let place = i64::try_from(top)?.saturating_add(1);
    let others = rows.iter().position(|row| row.place == place).map(|at| rows.remove(at));
    let total = self::params(model, range, &[], 1);
    let total = self::rows(engine, model, &total, &[]).await?.pop();
    let date = self::keys(model).find(|key| key.kind == ColumnKind::Date).context("a date")?;
    let by_day = self::params(model, range, &[&date.name], MANY);
    let by_day = self::rows(engine, model, &by_day, &[date]).await?;
    let days = range.iter().map(|date| {
        let row = by_day.binary_search_by_key(&Some(date), |row| row.day);
        (date, row.ok().map(|at| by_day[at].clone()))
    });
    let figures = figures(model, total.as_ref())?;
    let drawn = model.charts.iter().map(|chart| {
        let at = figures.iter().position(|figure| figure.name == chart);
        at.with_context(|| format!("{}: {chart} is no figure", model.name))
    });
    let (title, purpose) = model.purpose.split_once(": ").context("a purpose without a title")?;
    Ok(Section {
        name: model.name.trim_start_matches("show."),
        title,
        purpose,
        drawn: drawn.collect::<Result<_>>()?,
        days: days.collect(),
        figures,
        keys,
        rows,
        others,
        total,
        query: shown_query(model, &params),
    })
}

/// More rows than there are report dates.
const MANY: u64 = 1_000_000;

fn figures(model: &'static Model, total: Option<&Row>) -> Result<Vec<Figure>> {
    let columns = figure_columns(model).enumerate();
    let total = |at: usize| total.and_then(|row| row.values.get(at).copied().flatten());
    columns.map(|(at, column)| Figure::of(column, total(at))).collect()
}

/// All but keys, `place` and `keys`: see [`rows`].
fn figure_columns(model: &'static Model) -> impl Iterator<Item = &'static Column> {
    let is_figure = |column: &&Column| {
        let is_number = matches!(column.kind, ColumnKind::Count | ColumnKind::Decimal(..));
        is_number && column.name != "place" && column.name != "keys"
    };
    model.columns.iter().filter(is_figure)
}

fn params(model: &'static Model, range: DateRange, by: &[&str], top: u64) -> Params {
    let value = |name: &str| match name {
        "from" => ScalarValue::Date32(Some(days_since_1970(range.from))),
        "to" => ScalarValue::Date32(Some(days_since_1970(range.to))),
        "top" => ScalarValue::Int64(Some(i64::try_from(top).unwrap_or(i64::MAX))),
        key => ScalarValue::Boolean(Some(by.contains(&key.trim_start_matches("by_")))),
    };
    model.params.iter().map(|name| (name.as_str(), value(name))).collect()
}

async fn rows(
    engine: &Engine,
    model: &'static Model,
    params: &Params,
    keys: &[&'static Column],
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for batch in engine.collect(model, params).await? {
        for row in 0..batch.num_rows() {
            rows.push(Row {
                keys: keys
                    .iter()
                    .map(|key| Ok(array_value_to_string(column(&batch, &key.name)?, row)?))
                    .collect::<Result<_>>()?,
                values: figure_columns(model)
                    .map(|figure| value(column(&batch, &figure.name)?.as_ref(), row))
                    .collect::<Result<_>>()?,
                adds_up: whole(column(&batch, "keys")?.as_ref(), row)?,
                place: whole(column(&batch, "place")?.as_ref(), row)?,
                day: day(column(&batch, "day")?.as_ref(), row),
            });
        }
    }
    Ok(rows)
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a arrow::array::ArrayRef> {
    batch.column_by_name(name).with_context(|| format!("no column {name}"))
}

fn whole(values: &dyn Array, row: usize) -> Result<i64> {
    Ok(values.as_primitive_opt::<Int64Type>().context("a count is wanted")?.value(row))
}

fn day(values: &dyn Array, row: usize) -> Option<NaiveDate> {
    let dates = values.as_primitive_opt::<Date32Type>()?;
    dates.is_valid(row).then(|| dates.value_as_date(row)).flatten()
}

fn value(values: &dyn Array, row: usize) -> Result<Option<Value>> {
    if values.is_null(row) {
        return Ok(None);
    }
    Ok(Some(match values.data_type() {
        DataType::Decimal128(_, scale) => Value {
            digits: values.as_primitive::<Decimal128Type>().value(row),
            scale: u32::try_from(*scale)?,
        },
        _ => Value { digits: whole(values, row)?.into(), scale: 0 },
    }))
}

/// A model's query as somebody can type it: without head, with values in place of parameters. It is
/// shown, and never run by the program.
fn shown_query(model: &Model, params: &Params) -> String {
    static PARAMETER: LazyLock<Regex> = LazyLock::new(|| {
        #[expect(clippy::unwrap_used, reason = "a constant")]
        Regex::new(r"\$([a-z_]+)").unwrap()
    });
    let body: Vec<&str> = model.sql.lines().filter(|line| !line.starts_with("--")).collect();
    let literal = |found: &Captures| match params.get(&found[1]) {
        Some(ScalarValue::Date32(Some(days))) => {
            let date = NaiveDate::from_epoch_days(*days);
            date.map(|date| format!("date '{date}'")).unwrap_or_default()
        }
        Some(value) => value.to_string(),
        None => found[0].to_owned(),
    };
    PARAMETER.replace_all(&body.join("\n"), literal).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_the_files_and_each_says_what_it_draws() {
        let mut names: Vec<String> = NAMES.iter().map(|name| format!("show.{name}")).collect();
        names.sort();
        let models = model::layer("show").unwrap();
        assert_eq!(models.iter().map(|model| model.name).collect::<Vec<_>>(), names);
        for model in models {
            let figures = figures(model, None).unwrap();
            for chart in &model.charts {
                let figure = figures.iter().find(|figure| figure.name == chart).unwrap();
                assert!(figure.adds_up(), "{}: {chart} is a ratio", model.name);
            }
            assert!(!model.charts.is_empty(), "{}", model.name);
            for param in model.params.iter().filter_map(|param| param.strip_prefix("by_")) {
                assert!(keys(model).any(|key| key.name == param), "{}: {param}", model.name);
            }
        }
    }

    #[test]
    fn what_is_shown_of_a_query_has_values_in_place_of_parameters() {
        let model = model::named("show.refunds").unwrap();
        let from = "2026-03-01".parse().unwrap();
        let range = DateRange { from, to: "2026-03-31".parse().unwrap() };
        let shown = shown_query(model, &params(model, range, &["store"], 10));
        assert!(!shown.contains(['$', '"', '`']) && !shown.contains("--"), "{shown}");
        for part in [
            "between date '2026-03-01' and date '2026-03-31'",
            "case when true then store_id end as store",
            "case when false then publisher_id end as publisher",
            "place <= 10",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }

    #[test]
    fn keys_are_those_of_the_report_or_refused() {
        let model = model::named("show.orders").unwrap();
        let asked = |by: &[&str]| {
            let by: Vec<String> = by.iter().map(|key| (*key).to_owned()).collect();
            let names = |keys: Vec<&Column>| keys.iter().map(|key| key.name.clone()).collect();
            keys_of(model, &by).map(names).map_err(|stop| stop.to_string())
        };
        assert_eq!(asked(&[]), Ok(vec!["publisher".to_owned()]));
        assert_eq!(asked(&["store", "day", "day"]), Ok(vec!["day".to_owned(), "store".to_owned()]));
        let complaint =
            "--by country: report orders has no country; known are day, publisher, store";
        assert_eq!(asked(&["day", "country"]), Err(complaint.to_owned()));
    }
}
