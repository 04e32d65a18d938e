//! What the dates of the warehouse were made from.

use anyhow::Result;
use chrono::NaiveDate;

use crate::model::{self, Model};
use crate::raw::Log;
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
