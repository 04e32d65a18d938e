//! Buyers and visitors of the landing dates that a run cleaned: ids that stand for nobody, and click
//! logs without any.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use chrono::NaiveDate;

use super::{cleaned, landing, share};
use crate::engine::{Engine, Params};
use crate::model;
use crate::raw::Log;
use crate::run::limits::{self, date_at};
use crate::run::report::{rows, text};
use crate::run::workspace::{Workspace, number};
use crate::summary::grouped;

/// An id is named that is in more than one of so many raw rows of a landing date …
const ONE_IN: u64 = 100;
/// … and in more than so many: in a small log, one person may well be in a hundredth of the rows.
const FEW_ROWS: u64 = 100;
/// How many ids of a log are named.
const NAMED: usize = 5;

/// Rows with a buyer or visitor, of one landing date of a log.
struct Seen {
    log: String,
    who: String,
    dt: NaiveDate,
    rows: u64,
    /// At most so many rows have the same id.
    rows_in_a_bucket: u64,
}

/// The raw rows of landing dates, by log.
type RawRows = BTreeMap<&'static str, BTreeMap<NaiveDate, u64>>;

pub async fn warnings(workspace: &Workspace<'_>) -> Result<Vec<String>> {
    let (clicks, orders) = (cleaned(workspace, Log::Clicks), cleaned(workspace, Log::Orders));
    if clicks.is_empty() && orders.is_empty() {
        return Ok(Vec::new());
    }
    let engine = workspace.engine.fork()?;
    register(workspace, &engine, &clicks, &orders)?;
    let mut seen = Vec::new();
    for batch in engine.collect(model::named("summary.ids_by_bucket")?, &Params::new()).await? {
        for row in 0..batch.num_rows() {
            seen.push(Seen {
                log: text(&batch, 0, row)?,
                who: text(&batch, 1, row)?,
                dt: date_at(batch.column(2), row)?,
                rows: rows(&batch, 3, row),
                rows_in_a_bucket: rows(&batch, 4, row),
            });
        }
    }
    let mut warnings: Vec<String> =
        clicks_of_nobody(workspace, &clicks, &seen)?.into_iter().collect();
    warnings.extend(frequent(workspace, &engine, &seen).await?);
    Ok(warnings)
}

fn register(
    workspace: &Workspace<'_>,
    engine: &Engine,
    clicks: &BTreeSet<NaiveDate>,
    orders: &BTreeSet<NaiveDate>,
) -> Result<()> {
    workspace.register_stored(engine, Log::Clicks.clean_table(), |dt| clicks.contains(&dt))?;
    workspace.register_stored(engine, Log::Orders.clean_table(), |dt| orders.contains(&dt))
}

/// Clicks that can be nobody's, whoever orders: they name no buyer, and no visitor of whom anything
/// could say whose they are (C5, C7).
fn clicks_of_nobody(
    workspace: &Workspace<'_>,
    cleaned: &BTreeSet<NaiveDate>,
    seen: &[Seen],
) -> Result<Option<String>> {
    let files = workspace.warehouse.table(Log::Clicks.clean_table())?.files.iter();
    let files = files.filter(|file| cleaned.contains(&file.partition.date) && file.rows() > 0);
    let files: Vec<_> = files.collect();
    let clean: u64 = files.iter().map(|file| file.rows()).sum();
    let named = |who: &str| {
        let seen = seen.iter().filter(|seen| seen.log == Log::Clicks.name() && seen.who == who);
        seen.map(|seen| seen.rows).sum::<u64>()
    };
    if clean == 0 || named("buyer") > 0 {
        return Ok(None);
    }
    let dates = files.iter().map(|file| file.partition.date).collect();
    let none = match clean {
        1 => "the only clean row does not name".to_owned(),
        clean => format!("none of {} clean rows names", grouped(clean)),
    };
    let job = workspace.job;
    let says_whose = job.from_logs || job.identities.is_some();
    let trouble = match (named("visitor"), says_whose) {
        (0, _) => {
            "a buyer or a visitor, so no order can be attributed to them; the columns looked for are \
             buyer_id and visitor_id: tell what the log calls them under [input.clicks] columns"
        }
        (_, false) => {
            "a buyer, and nothing tells whose their visitors are, so no order can be attributed to \
             them; the column looked for is buyer_id; without it the job needs identities, or \
             from_logs = true under [identity]"
        }
        (_, true) => return Ok(None),
    };
    Ok(Some(format!("{}: {none} {trouble}", landing(Log::Clicks.name(), &dates))))
}

/// Names ids that are in so many rows that they hardly stand for one person or device.
async fn frequent(
    workspace: &Workspace<'_>,
    engine: &Engine,
    seen: &[Seen],
) -> Result<Vec<String>> {
    let mut raw = RawRows::new();
    for log in [Log::Clicks, Log::Orders] {
        raw.insert(log.name(), limits::counts(workspace, log)?.raw);
    }
    let raw_rows = |log: &str, dt: &NaiveDate| {
        raw.get(log).and_then(|rows| rows.get(dt)).copied().unwrap_or_default()
    };
    let is_frequent = |rows: u64, raw: u64| rows > FEW_ROWS && rows * ONE_IN > raw;
    let in_doubt = |seen: &&Seen| is_frequent(seen.rows_in_a_bucket, raw_rows(&seen.log, &seen.dt));
    let in_doubt: Vec<&Seen> = seen.iter().filter(in_doubt).collect();
    if in_doubt.is_empty() {
        return Ok(Vec::new());
    }
    let dates = |log: Log| {
        let of_log = in_doubt.iter().filter(|seen| seen.log == log.name());
        of_log.map(|seen| seen.dt).collect::<BTreeSet<_>>()
    };
    register(workspace, engine, &dates(Log::Clicks), &dates(Log::Orders))?;
    let least = in_doubt.iter().map(|seen| raw_rows(&seen.log, &seen.dt) / ONE_IN).min();
    let more_than = least.unwrap_or_default().max(FEW_ROWS);
    let params = Params::from([("more_than", number(i64::try_from(more_than)?))]);

    /// The dates on which an id is frequent, its rows and all rows of these dates.
    #[derive(Default)]
    struct Frequent {
        dates: BTreeSet<NaiveDate>,
        rows: u64,
        raw: u64,
    }
    let mut found: BTreeMap<(String, String), BTreeMap<String, Frequent>> = BTreeMap::new();
    for batch in engine.collect(model::named("summary.frequent_ids")?, &params).await? {
        for row in 0..batch.num_rows() {
            let (log, dt) = (text(&batch, 0, row)?, date_at(batch.column(3), row)?);
            let (rows, raw) = (rows(&batch, 4, row), raw_rows(&log, &dt));
            if !is_frequent(rows, raw) {
                continue;
            }
            let ids = found.entry((log, text(&batch, 1, row)?)).or_default();
            let id = ids.entry(text(&batch, 2, row)?).or_default();
            id.dates.insert(dt);
            id.rows += rows;
            id.raw += raw;
        }
    }
    let mut warnings = Vec::new();
    for ((log, who), ids) in found {
        let further = ids.len().saturating_sub(NAMED);
        let mut ids: Vec<(String, Frequent)> = ids.into_iter().collect();
        ids.sort_by_key(|(_, frequent)| std::cmp::Reverse(frequent.rows));
        for (at, (id, Frequent { dates, rows, raw })) in ids.iter().take(NAMED).enumerate() {
            let further = match further {
                further if further > 0 && at + 1 == NAMED => {
                    format!("; so are {} further {who}s", grouped(further as u64))
                }
                _ => String::new(),
            };
            warnings.push(format!(
                "{}: the {who} {id:?} is in {} of {} raw rows, a share of {}; if it stands for no \
                 one {}, add it to [identity] nobody in the job file, which takes words that stand \
                 for no id{further}",
                landing(&log, dates),
                grouped(*rows),
                grouped(*raw),
                share((*rows).into(), (*raw).into()),
                if who == "buyer" { "person" } else { "device" },
            ));
        }
    }
    Ok(warnings)
}
