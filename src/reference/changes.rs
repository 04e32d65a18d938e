//! What changed in a reference table since the latest run, as keys.

use std::collections::{BTreeSet, HashSet};

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::DataType;
use futures::TryStreamExt;

use crate::engine::Engine;
use crate::engine::functions::hash64::hashes;
use crate::model::Model;

/// What clicks and orders are looked up by: the key of some rows of a reference table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub table: &'static str,
    /// In the order of [`key_columns`]. Empty for null.
    pub values: Vec<String>,
}

/// The columns of a table's keys.
pub fn key_columns(table: &str) -> &'static [&'static str] {
    match table {
        "links" => &["link_key"],
        "stores" => &["store_id"],
        "rates" => &["scope", "scope_id"],
        "fx_rates" => &["currency"],
        _ => &["visitor_id", "buyer_id"],
    }
}

impl std::fmt::Display for Key {
    /// "rate of product p2", as a person would say it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = |position: usize| self.values.get(position).map_or("", String::as_str);
        match self.table {
            "links" => write!(f, "link {}", value(0)),
            "stores" => write!(f, "membership of store {}", value(0)),
            "rates" => write!(f, "rate of {} {}", value(0), value(1)),
            "fx_rates" => write!(f, "fx rate of {}", value(0)),
            _ => write!(f, "identity of visitor {}", value(0)),
        }
    }
}

/// The keys of rows that only one side has, the stored table or `rows`, and the number of `rows`.
/// Compares hashes of rows, so that neither side has to be in memory.
pub async fn between<R>(
    engine: &Engine,
    model: &'static Model,
    rows: impl Fn() -> Result<R>,
) -> Result<(BTreeSet<Key>, u64)>
where
    R: Iterator<Item = Result<RecordBatch>>,
{
    let mut now = Vec::new();
    for batch in rows()? {
        now.extend(hashes(batch?.columns())?);
    }
    let mut before = Vec::new();
    let mut stored = engine.table(model.name).await?.execute_stream().await?;
    while let Some(batch) = stored.try_next().await? {
        before.extend(hashes(batch.columns())?);
    }
    let count = now.len() as u64;
    let (now, before) = (sorted(now), sorted(before));
    let only_now = only(&now, &before);
    let only_before = only(&before, &now);
    let mut changed = BTreeSet::new();
    if !only_now.is_empty() {
        for batch in rows()? {
            changed.extend(keys(model, &batch?, |hash| only_now.contains(&hash))?);
        }
    }
    if !only_before.is_empty() {
        let mut stored = engine.table(model.name).await?.execute_stream().await?;
        while let Some(batch) = stored.try_next().await? {
            changed.extend(keys(model, &batch, |hash| only_before.contains(&hash))?);
        }
    }
    Ok((changed, count))
}

fn sorted(mut hashes: Vec<u64>) -> Vec<u64> {
    hashes.sort_unstable();
    hashes
}

/// The numbers of one sorted list that another one lacks.
fn only(these: &[u64], others: &[u64]) -> HashSet<u64> {
    let mut others = others.iter().peekable();
    let is_missing = |number: &&u64| {
        while others.next_if(|other| other < number).is_some() {}
        others.peek() != Some(number)
    };
    these.iter().filter(is_missing).copied().collect()
}

/// The keys of the rows with wanted hashes.
fn keys(
    model: &Model,
    rows: &RecordBatch,
    is_wanted: impl Fn(u64) -> bool,
) -> Result<BTreeSet<Key>> {
    let is_wanted: BooleanArray =
        hashes(rows.columns())?.iter().map(|hash| Some(is_wanted(*hash))).collect();
    let rows = filter_record_batch(rows, &is_wanted)?;
    let table = super::TABLES.into_iter().find(|name| model.name.ends_with(&format!(".{name}")));
    let table = table.with_context(|| format!("{}: no reference table", model.name))?;
    let columns = key_columns(table).iter().map(|name| {
        let column = rows.column_by_name(name).with_context(|| format!("no column {name}"))?;
        Ok(cast(column, &DataType::Utf8)?)
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let key = |row: usize| {
        let values = columns.iter().map(|column| column.as_string::<i32>());
        let value = values.map(|texts| match texts.is_valid(row) {
            true => texts.value(row).to_owned(),
            false => String::new(),
        });
        Key { table, values: value.collect() }
    };
    Ok((0..rows.num_rows()).map(key).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_one_side_has() {
        let list = |numbers: &[u64]| numbers.to_vec();
        assert_eq!(only(&list(&[1, 2, 4, 4, 9]), &list(&[2, 3, 9])), HashSet::from([1, 4]));
        assert!(only(&list(&[2, 9]), &list(&[1, 2, 9])).is_empty());
        assert!(only(&list(&[]), &list(&[1])).is_empty());
    }
}
