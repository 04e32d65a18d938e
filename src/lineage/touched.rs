//! Which dates a change of reference rows touches: the tables are asked for rows of these keys, and
//! what would be made of them now is compared with what was (D7).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::{cast, concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Date32Type};
use chrono::NaiveDate;
use datafusion::common::ScalarValue;
use datafusion::prelude::col;

use crate::days::{DateRange, Reach};
use crate::engine::{Engine, Params, SqlOverrides, Tuning};
use crate::job::Job;
use crate::model;
use crate::raw::{Log, link_key};
use crate::reference::{Key, Reference, TABLES, key_columns};
use crate::run::{attribution_params, instant};
use crate::warehouse::{Pending, Warehouse};

/// Pairs of an order line and a click that the plain rule is asked about. Where there are more, all
/// lines that a changed visitor's clicks may have earned count as touched.
const PAIRS: u64 = 50_000_000;

/// The dates that changed reference rows touch, with the keys of these rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    pub clean: BTreeMap<(Log, NaiveDate), BTreeSet<Key>>,
    pub orders: BTreeMap<NaiveDate, BTreeSet<Key>>,
    /// Those of `clean` that repeat an id of earlier landing dates whose rows turn valid or invalid,
    /// with these dates. They have to be cleaned together.
    pub repeated: BTreeMap<(Log, NaiveDate), BTreeSet<NaiveDate>>,
}

impl Touched {
    /// What the next run has to ask about again, as the warehouse stores it.
    pub fn pending(&self) -> Vec<Pending> {
        let mut dates: BTreeMap<&Key, BTreeSet<NaiveDate>> = BTreeMap::new();
        let clean = self.clean.iter().map(|((_, dt), keys)| (dt, keys));
        for (date, keys) in clean.chain(&self.orders) {
            for key in keys {
                dates.entry(key).or_default().insert(*date);
            }
        }
        let pending = dates.into_iter().map(|(key, dates)| Pending {
            table: key.table.to_owned(),
            key: key.values.clone(),
            dates: dates.into_iter().collect(),
        });
        pending.collect()
    }
}

/// Asks for the keys that changed since the latest run, and for those that earlier runs left
/// pending. Errors: a store fails; a file of the warehouse is gone.
pub async fn touched(job: &Job, reference: &Reference, warehouse: &Warehouse) -> Result<Touched> {
    let pending = &warehouse.seen().pending;
    let known = pending.iter().filter_map(|pending| {
        let table = TABLES.into_iter().find(|table| *table == pending.table)?;
        Some(Key { table, values: pending.key.clone() })
    });
    let keys: BTreeSet<Key> = known.chain(reference.changed.iter().cloned()).collect();
    let is_made = !warehouse.table("attribution.conversions")?.files.is_empty()
        || !warehouse.table("clean.clicks")?.files.is_empty()
        || !warehouse.table("clean.order_events")?.files.is_empty();
    if keys.is_empty() || !is_made {
        return Ok(Touched::default());
    }
    // Keys that changed now are asked of all dates. Pending ones touch no others than they did.
    let only: Option<BTreeSet<NaiveDate>> = match reference.changed.is_empty() {
        true => Some(pending.iter().flat_map(|pending| pending.dates.iter().copied()).collect()),
        false => None,
    };
    let engine = Engine::new(&Tuning::default(), SqlOverrides::new())?;
    reference.register(&engine, warehouse).await?;
    for table in TABLES {
        engine.register_rows(&format!("changed.{table}"), rows_of(&keys, table)?).await?;
    }
    let asking = Asking { job, warehouse, engine, keys, only };
    let mut touched = Touched::default();
    asking.ask_clicks(&mut touched).await?;
    asking.ask_order_events(&mut touched).await?;
    asking.ask_stores(&mut touched).await?;
    asking.ask_rates(&mut touched).await?;
    asking.ask_identities(&mut touched).await?;
    tracing::debug!(
        keys = asking.keys.len(),
        clean = touched.clean.len(),
        orders = touched.orders.len(),
        "reference rows changed"
    );
    Ok(touched)
}

/// The keys of a table as rows.
fn rows_of(keys: &BTreeSet<Key>, table: &'static str) -> Result<RecordBatch> {
    let keys: Vec<&Key> = keys.iter().filter(|key| key.table == table).collect();
    let columns = key_columns(table).iter().enumerate().map(|(position, name)| {
        let values = keys.iter().map(|key| key.values.get(position).map(String::as_str));
        let values = values.map(|value| value.filter(|text| !text.is_empty()));
        (*name, Arc::new(values.collect::<StringArray>()) as ArrayRef)
    });
    let rows = RecordBatch::try_from_iter_with_nullable(
        columns.map(|(name, column)| (name, column, true)),
    )?;
    Ok(rows)
}

struct Asking<'a> {
    job: &'a Job,
    warehouse: &'a Warehouse,
    engine: Engine,
    keys: BTreeSet<Key>,
    /// The dates to ask about. None: all.
    only: Option<BTreeSet<NaiveDate>>,
}

impl Asking<'_> {
    fn is_asked(&self, table: &str) -> bool {
        self.keys.iter().any(|key| key.table == table)
    }

    fn is_of_interest(&self, date: NaiveDate) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&date))
    }

    fn params(&self) -> Params {
        let mut params = attribution_params(&self.job.attribution());
        params.insert("currency", ScalarValue::Utf8(Some(self.job.currency.clone())));
        params
    }

    fn register(&self, name: &str, wanted: impl Fn(NaiveDate) -> bool) -> Result<()> {
        let model = model::named(name)?;
        let folder = self.warehouse.folder(model);
        self.engine.add_store(&folder)?;
        let table = self.warehouse.table(name)?.provider(&folder, wanted, &[])?;
        self.engine.register(name, Arc::new(table))
    }

    async fn materialise(&self, name: &str) -> Result<u64> {
        self.engine.materialise(model::named(name)?, &self.params()).await
    }

    async fn answer(&self, name: &str) -> Result<RecordBatch> {
        let rows = self.engine.table(name).await?.collect().await?;
        let rows = rows.first().map(|first| concat_batches(&first.schema(), &rows)).transpose()?;
        Ok(rows
            .unwrap_or_else(|| RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty()))))
    }

    async fn ask_clicks(&self, touched: &mut Touched) -> Result<()> {
        if !self.is_asked("links") {
            return Ok(());
        }
        self.register("clean.clicks", |dt| self.is_of_interest(dt))?;
        self.register("clean.rejects", |dt| self.is_of_interest(dt))?;
        self.materialise("stale.rejected_clicks_as_logged").await?;
        let rejected = self.engine.table("stale.rejected_clicks_as_logged").await?;
        let keys = link_key(&self.job.formats, col("url"));
        let rejected = rejected.with_column("link_key", keys)?;
        self.engine.register("stale.rejected_clicks", rejected.into_view())?;
        self.materialise("stale.clicks_of_changed_links").await?;
        self.note_clean(Log::Clicks, "stale.clicks_of_changed_links", touched).await
    }

    async fn ask_order_events(&self, touched: &mut Touched) -> Result<()> {
        if !self.is_asked("fx_rates") {
            return Ok(());
        }
        self.register("clean.order_events", |dt| self.is_of_interest(dt))?;
        self.register("clean.rejects", |dt| self.is_of_interest(dt))?;
        self.materialise("stale.rejected_order_events").await?;
        self.materialise("stale.events_of_changed_currencies").await?;
        self.note_clean(Log::Orders, "stale.events_of_changed_currencies", touched).await
    }

    /// Notes the landing dates of an answer (date, key, id, whether the row turned valid or invalid),
    /// and those whose duplicates depend on rows that turned.
    async fn note_clean(&self, log: Log, name: &str, touched: &mut Touched) -> Result<()> {
        let answer = self.answer(name).await?;
        if answer.num_rows() == 0 {
            return Ok(());
        }
        let table = if log == Log::Clicks { "links" } else { "fx_rates" };
        let dates = dates(&answer, 0)?;
        let keys = texts(&answer, 1)?;
        let key = |value: &str| Key { table, values: vec![value.to_owned()] };
        for (date, value) in dates.iter().zip(&keys) {
            touched.clean.entry((log, *date)).or_default().insert(key(value));
        }
        let is_turned: BooleanArray = answer.column(3).as_boolean().clone();
        let turned = filter_record_batch(&answer, &is_turned)?;
        let Some(turned_dates) = Some(self::dates(&turned, 0)?).filter(|dates| !dates.is_empty())
        else {
            return Ok(());
        };
        let rows = RecordBatch::try_from_iter([
            ("dt", turned.column(0).clone()),
            ("key", turned.column(1).clone()),
            ("row_id", turned.column(2).clone()),
        ])?;
        self.engine.register_rows("stale.turned", rows).await?;
        let dedup_days = self.job.reach().dedup_days();
        let follows = |dt: NaiveDate| {
            turned_dates.iter().any(|turned| {
                *turned < dt && (dt - *turned).num_days().unsigned_abs() <= dedup_days
            })
        };
        for other in [Log::Clicks, Log::Orders] {
            self.register(other.clean_table(), |dt| other == log && follows(dt))?;
        }
        self.register("clean.rejects", follows)?;
        let mut params = self.params();
        params.insert("log", ScalarValue::Utf8(Some(log.name().to_owned())));
        let repetitions = model::named("stale.repetitions")?;
        for batch in self.engine.collect(repetitions, &params).await? {
            let repeated = self::dates(&batch, 2)?;
            let rows = self::dates(&batch, 0)?.into_iter().zip(texts(&batch, 1)?).zip(repeated);
            for ((date, value), turned) in rows {
                touched.clean.entry((log, date)).or_default().insert(key(&value));
                touched.repeated.entry((log, date)).or_default().insert(turned);
            }
        }
        Ok(())
    }

    async fn ask_stores(&self, touched: &mut Touched) -> Result<()> {
        if !self.is_asked("stores") {
            return Ok(());
        }
        self.register("attribution.conversions", |date| self.is_of_interest(date))?;
        self.note_orders("stale.lines_of_changed_stores", "stores", touched).await
    }

    async fn ask_rates(&self, touched: &mut Touched) -> Result<()> {
        if !self.is_asked("rates") {
            return Ok(());
        }
        self.register("attribution.conversions", |date| self.is_of_interest(date))?;
        if self.materialise("stale.lines_of_changed_rates").await? == 0 {
            return Ok(());
        }
        self.materialise("stale.asked_lines").await?;
        self.engine.register_as("rule.one_placed_event", "stale.asked_lines")?;
        self.materialise("rule.commission_rate").await?;
        self.note_orders("stale.lines_of_another_rate", "rates", touched).await
    }

    async fn ask_identities(&self, touched: &mut Touched) -> Result<()> {
        if !self.is_asked("identities") {
            return Ok(());
        }
        let job = self.job;
        self.register("attribution.conversions", |date| self.is_of_interest(date))?;
        self.register("clean.clicks", |_| job.from_logs)?;
        self.register("clean.order_events", |_| job.from_logs)?;
        if self.materialise("stale.lines_of_changed_buyers").await? == 0 {
            return Ok(());
        }
        let lines = self.engine.table("stale.lines_of_changed_buyers").await?;
        let dates_of_lines = lines.select_columns(&["order_date"])?.distinct()?.collect().await?;
        let mut placed = BTreeSet::new();
        for batch in &dates_of_lines {
            placed.extend(dates(batch, 0)?);
        }
        let reach = job.reach();
        let ranges = |of: fn(&Reach, DateRange) -> DateRange| -> Vec<DateRange> {
            placed.iter().map(|date| of(&reach, DateRange::of(*date))).collect()
        };
        let (clicks, events) = (ranges(Reach::clicks), ranges(Reach::events));
        let is_in = |ranges: &[DateRange], dt| ranges.iter().any(|dates| dates.contains(dt));
        self.register("clean.clicks", |dt| is_in(&clicks, dt))?;
        let lines = self.materialise("stale.lines_with_changed_clicks").await?;
        if lines == 0 {
            return Ok(());
        }
        // The plain rules compare these lines with the clicks of their buyers and visitors.
        self.register("clean.order_events", |dt| job.from_logs && is_in(&events, dt))?;
        let instants = |date: Option<&NaiveDate>| {
            date.map(|date| reach.clicked(DateRange::of(*date))).context("no order date")
        };
        let (first, last) = (instants(placed.first())?, instants(placed.last())?);
        let mut params = self.params();
        params.extend([("from", instant(first.start)), ("to", instant(last.end))]);
        self.materialise("stale.matched_lines").await?;
        self.engine.register_as("explain.order_lines", "stale.matched_lines")?;
        let own = ["explain.visitors", "explain.clicks"];
        let clicks = self.engine.materialise_each(&own, &params).await?;
        if lines.saturating_mul(clicks) > PAIRS {
            return self
                .note_orders("stale.lines_with_changed_visitors", "identities", touched)
                .await;
        }
        self.engine.materialise_each(&["explain.visitor_orders"], &params).await?;
        self.engine.register_as("clean.clicks", "explain.clicks")?;
        self.engine.register_as("clean.order_events", "explain.visitor_orders")?;
        self.engine.register_as("rule.one_placed_event", "stale.matched_lines")?;
        let rules =
            ["rule.sightings", "rule.latest_sightings", "rule.whose_click", "rule.winning_click"];
        self.engine.materialise_each(&rules, &params).await?;
        self.note_orders("stale.lines_of_another_click", "identities", touched).await
    }

    /// Notes the order dates of an answer (date, key).
    async fn note_orders(
        &self,
        name: &str,
        table: &'static str,
        touched: &mut Touched,
    ) -> Result<()> {
        for batch in self.engine.collect(model::named(name)?, &self.params()).await? {
            let columns = (1..=key_columns(table).len()).map(|column| texts(&batch, column));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            for (row, date) in dates(&batch, 0)?.into_iter().enumerate() {
                let values = columns.iter().filter_map(|texts| texts.get(row).cloned()).collect();
                touched.orders.entry(date).or_default().insert(Key { table, values });
            }
        }
        Ok(())
    }
}

fn dates(batch: &RecordBatch, column: usize) -> Result<Vec<NaiveDate>> {
    if batch.num_rows() == 0 {
        return Ok(Vec::new());
    }
    let dates = batch.column(column).as_primitive::<Date32Type>();
    (0..dates.len()).map(|row| dates.value_as_date(row).context("no date")).collect()
}

fn texts(batch: &RecordBatch, column: usize) -> Result<Vec<String>> {
    let texts = cast(batch.column(column), &DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    Ok((0..texts.len()).map(|row| texts.value(row).to_owned()).collect())
}
