//! What lies in the logs and reference tables, row by row.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;

/// A row of the click log as it arrived, empty text and all.
#[derive(Clone)]
pub struct RawClick {
    pub click_id: Option<String>,
    pub clicked_at: Option<DateTime<Utc>>,
    pub url: Option<String>,
    pub buyer_id: Option<String>,
    pub visitor_id: Option<String>,
    pub store_id: Option<String>,
    pub product_id: Option<String>,
    pub country: Option<String>,
    pub device: Option<String>,
}

/// A row of the order log as it arrived, empty text and all.
#[derive(Clone)]
pub struct RawEvent {
    pub event_id: Option<String>,
    pub event_type: Option<String>,
    pub event_at: Option<DateTime<Utc>>,
    pub order_id: Option<String>,
    pub line_id: Option<String>,
    pub buyer_id: Option<String>,
    pub store_id: Option<String>,
    pub amount: Option<Decimal>,
    pub currency: Option<String>,
    pub product_id: Option<String>,
    pub category_id: Option<String>,
    pub quantity: Option<i64>,
    pub country: Option<String>,
    pub reason: Option<String>,
    pub visitor_id: Option<String>,
}

#[derive(Clone)]
pub struct Link {
    pub link_key: String,
    pub publisher_id: String,
    pub tracking_id: Option<String>,
    pub valid_from: Option<DateTime<Utc>>,
    pub valid_to: Option<DateTime<Utc>>,
}

#[derive(Clone)]
pub struct Membership {
    pub store_id: String,
    pub joined_at: Option<DateTime<Utc>>,
    pub left_at: Option<DateTime<Utc>>,
}

#[derive(Clone)]
pub struct Rate {
    pub scope: &'static str,
    pub scope_id: String,
    pub store_id: Option<String>,
    pub rate: Decimal,
    pub valid_from: Option<DateTime<Utc>>,
    pub valid_to: Option<DateTime<Utc>>,
}

#[derive(Clone)]
pub struct FxRate {
    pub currency: String,
    pub rate_date: NaiveDate,
    pub rate: Decimal,
}

#[derive(Clone)]
pub struct Identity {
    pub visitor_id: String,
    pub buyer_id: String,
    pub valid_from: Option<DateTime<Utc>>,
    pub valid_to: Option<DateTime<Utc>>,
}
