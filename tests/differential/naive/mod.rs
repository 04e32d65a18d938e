//! The rules a second time, read word by word: what one backfill of a [`World`] must leave behind.
//!
//! Straight loops, every row against every other. It refuses to know how the program does it: there
//! is no SQL here, no choice of which dates to read, no sorting to save a comparison. Each function
//! names the rules it reads.
//!
//! Raw rows become clean ones (`clean`), orders find their clicks (`attribution`), events move money
//! (`money`), and all of it becomes rows of text (`tables`).

mod attribution;
mod clean;
mod money;
mod tables;

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};

use self::attribution::conversions;
use self::clean::{clean_clicks, clean_events};
use self::money::{Movement, movements};
use self::tables::{
    click_row, conversion_rows, event_row, orders_rows, refunds_rows, reject_row, traffic_rows,
    transaction_rows, unbooked_rows,
};
use crate::world::{Settings, World};

/// A column's name and its value as text; null is `None`.
pub type Row = BTreeMap<String, Option<String>>;
/// `report/orders` and so on, each with its rows in the order of its key.
pub type Tables = BTreeMap<String, Vec<Row>>;

/// What a backfill of `from..=to` into an empty warehouse leaves when landing dates after `as_of`
/// are not read (D3).
///
/// Reports and conversions hold the dates `from..=to` only; the clean tables hold every landing
/// date there is.
pub fn tables(world: &World, from: NaiveDate, to: NaiveDate, as_of: Option<NaiveDate>) -> Tables {
    let (clicks, rejected_clicks) = clean_clicks(world, as_of);
    let (events, rejected_events) = clean_events(world, as_of);
    let rejects = rejected_clicks.iter().chain(&rejected_events);
    let conversions = conversions(world, &clicks, &events);
    let ledger: Vec<Movement> = conversions
        .iter()
        .flat_map(|conversion| movements(conversion, &events, &world.settings))
        .collect();
    let dates = DateRange { from, to, settings: &world.settings };

    let tables: [(&str, &[&str], Vec<Row>); 9] = [
        ("clean/clicks", &["dt", "click_id"], clicks.iter().map(click_row).collect()),
        ("clean/order_events", &["dt", "event_id"], events.iter().map(event_row).collect()),
        ("clean/rejects", &["dt", "log", "reason", "row_id"], rejects.map(reject_row).collect()),
        (
            "attribution/conversions",
            &["order_date", "order_id", "line_id"],
            conversion_rows(&conversions, &dates),
        ),
        (
            "report/traffic",
            &["report_date", "publisher_id", "tracking_id", "store_id", "country", "device"],
            traffic_rows(&clicks, &conversions, &dates),
        ),
        (
            "report/orders",
            &["report_date", "store_id", "publisher_id"],
            orders_rows(&ledger, &dates),
        ),
        (
            "report/refunds",
            &["report_date", "store_id", "publisher_id"],
            refunds_rows(&ledger, &dates),
        ),
        (
            "report/transaction_details",
            &["report_date", "event_id"],
            transaction_rows(&ledger, &dates),
        ),
        (
            "report/unbooked_events",
            &["report_date", "event_id"],
            unbooked_rows(&events, &ledger, &dates),
        ),
    ];
    tables.into_iter().map(|(name, key, rows)| (name.to_string(), sorted_by(key, rows))).collect()
}

fn sorted_by(key: &[&str], mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by(|a, b| {
        key.iter().map(|column| &a[*column]).cmp(key.iter().map(|column| &b[*column]))
    });
    rows
}

/// The dates to rewrite, and the calendar that puts an instant on one of them (D1).
struct DateRange<'a> {
    from: NaiveDate,
    to: NaiveDate,
    settings: &'a Settings,
}

impl DateRange<'_> {
    /// The report date of `at`, if it is one of those to rewrite.
    fn of(&self, at: DateTime<Utc>) -> Option<NaiveDate> {
        let date = at.with_timezone(&self.settings.time_zone).date_naive();
        (self.from <= date && date <= self.to).then_some(date)
    }
}
