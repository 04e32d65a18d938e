//! What the dates of the warehouse were made from, and whether that has changed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use chrono::NaiveDate;

use super::{InputState, differences};
use crate::job::Job;
use crate::model::{self, Model};
use crate::raw::Log;
use crate::reference::Reference;
use crate::warehouse::{Lineage, Partition, Warehouse};

/// The report tables, in the order in which they are made: the widest first, because writing it
/// takes one core longest.
pub fn report_tables() -> Result<Vec<&'static Model>> {
    let layer = model::layer("report")?.into_iter();
    let mut tables: Vec<&Model> = layer.filter(|model| model.is_stored).collect();
    tables.sort_by_key(|model| std::cmp::Reverse(model.columns.len()));
    Ok(tables)
}

/// What a clean landing date was made from. None when one of its two tables lacks the date or they
/// differ, as after a run that died between two commits.
pub fn made_clean(warehouse: &Warehouse, log: Log, dt: NaiveDate) -> Result<Option<&Lineage>> {
    let clean = warehouse.table(log.clean_table())?.lineage(&Partition::of(dt));
    let rejects = Partition { date: dt, log: Some(log.name().to_owned()) };
    let rejected = warehouse.table("clean.rejects")?.lineage(&rejects);
    Ok(clean.filter(|lineage| rejected == Some(lineage)))
}

/// What a report date was made from. None when one of its tables lacks the date or they differ, as
/// after a run that died between two commits.
pub fn made_report(warehouse: &Warehouse, date: NaiveDate) -> Result<Option<&Lineage>> {
    let mut made: Option<&Lineage> = None;
    for model in report_tables()? {
        match (warehouse.table(model.name)?.lineage(&Partition::of(date)), made) {
            (None, _) => return Ok(None),
            (Some(lineage), Some(before)) if lineage != before => return Ok(None),
            (Some(lineage), _) => made = Some(lineage),
        }
    }
    Ok(made)
}

/// The inputs that differ, as "clicks, rates changed". None when no input does.
pub fn changes(made: &Lineage, now: &Lineage) -> Option<String> {
    let differences = differences(made, now);
    (!differences.is_empty()).then(|| format!("{} changed", differences.join(", ")))
}

/// Dates made earlier that a change has outdated (D6), by reason, without the dates of `except`.
pub fn outdated(
    job: &Job,
    reference: &Reference,
    warehouse: &Warehouse,
    except: &BTreeSet<NaiveDate>,
) -> Result<BTreeMap<String, Vec<NaiveDate>>> {
    let conversions = warehouse.table("attribution.conversions")?;
    let today = InputState::as_of_today(job, reference, warehouse)?;
    let today = today.fingerprints(None)?;
    let mut outdated: BTreeMap<String, Vec<NaiveDate>> = BTreeMap::new();
    for date in conversions.dates().difference(except) {
        let why = match made_report(warehouse, *date)? {
            Some(made) => changes(made, &today.of_report(*date)),
            None => conversions
                .lineage(&Partition::of(*date))
                .and_then(|made| changes(made, &today.of_conversions(*date))),
        };
        if let Some(why) = why {
            outdated.entry(why).or_default().push(*date);
        }
    }
    Ok(outdated)
}
