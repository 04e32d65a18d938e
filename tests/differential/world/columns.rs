//! Rows as columns.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;

use super::rows::{FxRate, Identity, Link, Membership, Rate, RawClick, RawEvent};

pub struct Column {
    pub name: &'static str,
    pub is_optional: bool,
    pub values: Values,
}

pub enum Values {
    Text(Vec<Option<String>>),
    Instant(Vec<Option<DateTime<Utc>>>),
    /// An end of a validity: an instant, a local time, or a local date alone for its first instant.
    End(Vec<Option<DateTime<Utc>>>),
    /// A date, or a midnight as written.
    Day(Vec<Option<NaiveDate>>),
    Amount(Vec<Option<Decimal>>),
    Whole(Vec<Option<i64>>),
}

impl Values {
    pub fn len(&self) -> usize {
        match self {
            Values::Text(values) => values.len(),
            Values::Instant(values) | Values::End(values) => values.len(),
            Values::Day(values) => values.len(),
            Values::Amount(values) => values.len(),
            Values::Whole(values) => values.len(),
        }
    }

    pub fn are_all_null(&self) -> bool {
        match self {
            Values::Text(values) => values.iter().all(Option::is_none),
            Values::Instant(values) | Values::End(values) => values.iter().all(Option::is_none),
            Values::Day(values) => values.iter().all(Option::is_none),
            Values::Amount(values) => values.iter().all(Option::is_none),
            Values::Whole(values) => values.iter().all(Option::is_none),
        }
    }
}

fn required(name: &'static str, values: Values) -> Column {
    Column { name, is_optional: false, values }
}

fn optional(name: &'static str, values: Values) -> Column {
    Column { name, is_optional: true, values }
}

fn texts<R>(rows: &[R], of: fn(&R) -> &Option<String>) -> Values {
    Values::Text(rows.iter().map(|row| of(row).clone()).collect())
}

fn names<R>(rows: &[R], of: fn(&R) -> &str) -> Values {
    Values::Text(rows.iter().map(|row| Some(of(row).to_string())).collect())
}

fn instants<R>(rows: &[R], of: fn(&R) -> Option<DateTime<Utc>>) -> Values {
    Values::Instant(rows.iter().map(of).collect())
}

fn ends<R>(rows: &[R], of: fn(&R) -> Option<DateTime<Utc>>) -> Values {
    Values::End(rows.iter().map(of).collect())
}

fn amounts<R>(rows: &[R], of: fn(&R) -> Option<Decimal>) -> Values {
    Values::Amount(rows.iter().map(of).collect())
}

pub fn click_columns(rows: &[RawClick]) -> Vec<Column> {
    vec![
        required("click_id", texts(rows, |row| &row.click_id)),
        required("clicked_at", instants(rows, |row| row.clicked_at)),
        required("url", texts(rows, |row| &row.url)),
        optional("buyer_id", texts(rows, |row| &row.buyer_id)),
        optional("visitor_id", texts(rows, |row| &row.visitor_id)),
        optional("store_id", texts(rows, |row| &row.store_id)),
        optional("product_id", texts(rows, |row| &row.product_id)),
        optional("country", texts(rows, |row| &row.country)),
        optional("device", texts(rows, |row| &row.device)),
    ]
}

pub fn event_columns(rows: &[RawEvent]) -> Vec<Column> {
    vec![
        required("event_id", texts(rows, |row| &row.event_id)),
        required("event_type", texts(rows, |row| &row.event_type)),
        required("event_at", instants(rows, |row| row.event_at)),
        required("order_id", texts(rows, |row| &row.order_id)),
        required("line_id", texts(rows, |row| &row.line_id)),
        required("buyer_id", texts(rows, |row| &row.buyer_id)),
        required("store_id", texts(rows, |row| &row.store_id)),
        required("amount", amounts(rows, |row| row.amount)),
        required("currency", texts(rows, |row| &row.currency)),
        optional("product_id", texts(rows, |row| &row.product_id)),
        optional("category_id", texts(rows, |row| &row.category_id)),
        optional("quantity", Values::Whole(rows.iter().map(|row| row.quantity).collect())),
        optional("country", texts(rows, |row| &row.country)),
        optional("reason", texts(rows, |row| &row.reason)),
        optional("visitor_id", texts(rows, |row| &row.visitor_id)),
    ]
}

pub fn link_columns(rows: &[Link]) -> Vec<Column> {
    vec![
        required("link_key", names(rows, |row| &row.link_key)),
        required("publisher_id", names(rows, |row| &row.publisher_id)),
        optional("tracking_id", texts(rows, |row| &row.tracking_id)),
        required("valid_from", ends(rows, |row| row.valid_from)),
        required("valid_to", ends(rows, |row| row.valid_to)),
    ]
}

pub fn membership_columns(rows: &[Membership]) -> Vec<Column> {
    vec![
        required("store_id", names(rows, |row| &row.store_id)),
        required("joined_at", ends(rows, |row| row.joined_at)),
        required("left_at", ends(rows, |row| row.left_at)),
    ]
}

pub fn rate_columns(rows: &[Rate]) -> Vec<Column> {
    vec![
        required("scope", names(rows, |row| row.scope)),
        required("scope_id", names(rows, |row| &row.scope_id)),
        optional("store_id", texts(rows, |row| &row.store_id)),
        required("rate", amounts(rows, |row| Some(row.rate))),
        required("valid_from", ends(rows, |row| row.valid_from)),
        required("valid_to", ends(rows, |row| row.valid_to)),
    ]
}

pub fn fx_columns(rows: &[FxRate]) -> Vec<Column> {
    vec![
        required("currency", names(rows, |row| &row.currency)),
        required("rate_date", Values::Day(rows.iter().map(|row| Some(row.rate_date)).collect())),
        required("rate", amounts(rows, |row| Some(row.rate))),
    ]
}

pub fn identity_columns(rows: &[Identity]) -> Vec<Column> {
    vec![
        required("visitor_id", names(rows, |row| &row.visitor_id)),
        required("buyer_id", names(rows, |row| &row.buyer_id)),
        optional("valid_from", ends(rows, |row| row.valid_from)),
        optional("valid_to", ends(rows, |row| row.valid_to)),
    ]
}
