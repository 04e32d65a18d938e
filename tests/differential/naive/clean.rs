//! Cleaning: which raw rows are valid, which are rejected and why (C1 to C6).

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use regex::Regex;
use rust_decimal::Decimal;

use super::money::product_in_cents;
use crate::world::{Link, RawClick, RawEvent, Settings, World};

pub struct Click {
    pub dt: NaiveDate,
    pub click_id: String,
    pub clicked_at: DateTime<Utc>,
    pub link_key: String,
    pub publisher_id: String,
    pub tracking_id: Option<String>,
    pub buyer_id: Option<String>,
    pub visitor_id: Option<String>,
    pub store_id: Option<String>,
    pub product_id: Option<String>,
    pub country: Option<String>,
    pub device: Option<String>,
}

pub struct Event {
    pub dt: NaiveDate,
    pub event_id: String,
    pub event_at: DateTime<Utc>,
    pub order_id: String,
    pub line_id: String,
    pub movement: EventType,
    /// The columns that are kept as logged, whatever the event type makes of them.
    pub logged: RawEvent,
}

pub enum EventType {
    Placed(Sale),
    Paid,
    Completed,
    Cancelled,
    /// What was given back, in the logged currency, else in the order line's.
    Refunded(Decimal),
}

/// What only a placed event says.
pub struct Sale {
    pub buyer_id: String,
    pub store_id: String,
    pub original_amount: Decimal,
    pub currency: String,
    pub fx_rate: Decimal,
    /// In program currency.
    pub amount: Decimal,
}

pub struct Reject {
    pub dt: NaiveDate,
    pub log: &'static str,
    pub reason: &'static str,
    pub row_id: Option<String>,
}

/// A row that passes every check but the one for duplicates, with the columns that decide among
/// equal ids (C3).
struct Valid<Order, Clean> {
    dt: NaiveDate,
    id: String,
    order: Order,
    clean: Clean,
}

impl EventType {
    pub fn name(&self) -> &'static str {
        match self {
            EventType::Placed(_) => "placed",
            EventType::Paid => "paid",
            EventType::Completed => "completed",
            EventType::Cancelled => "cancelled",
            EventType::Refunded(_) => "refunded",
        }
    }

    /// At one instant: placed < paid < completed < cancelled < refunded.
    pub fn rank(&self) -> usize {
        ["placed", "paid", "completed", "cancelled", "refunded"]
            .iter()
            .take_while(|name| **name != self.name())
            .count()
    }
}

/// C1, C3, C4.
pub fn clean_clicks(world: &World, as_of: Option<NaiveDate>) -> (Vec<Click>, Vec<Reject>) {
    let formats: Vec<Regex> = world
        .settings
        .formats
        .iter()
        .map(|format| Regex::new(format).expect("a legal link format"))
        .collect();
    let mut valid = Vec::new();
    let mut rejects = Vec::new();
    for (dt, row) in world.clicks.iter().filter(|(dt, _)| is_read(*dt, as_of)) {
        let row = click_without_empty_text(row, &world.settings);
        match clean_click(world, &formats, *dt, &row) {
            Ok(click) => valid.push(Valid {
                dt: *dt,
                id: click.click_id.clone(),
                order: (
                    row.clicked_at,
                    [
                        row.url,
                        row.buyer_id,
                        row.visitor_id,
                        row.store_id,
                        row.product_id,
                        row.country,
                        row.device,
                    ],
                ),
                clean: click,
            }),
            Err(reason) => {
                rejects.push(Reject { dt: *dt, log: "clicks", reason, row_id: row.click_id })
            }
        }
    }
    let clicks = without_duplicates(valid, "clicks", world.settings.late_days, &mut rejects);
    (clicks, rejects)
}

/// C2, C3, C4.
pub fn clean_events(world: &World, as_of: Option<NaiveDate>) -> (Vec<Event>, Vec<Reject>) {
    let mut valid = Vec::new();
    let mut rejects = Vec::new();
    for (dt, row) in world.orders.iter().filter(|(dt, _)| is_read(*dt, as_of)) {
        let row = event_without_empty_text(row, &world.settings);
        match clean_event(world, *dt, &row) {
            Ok(event) => valid.push(Valid {
                dt: *dt,
                id: event.event_id.clone(),
                order: (
                    row.event_at,
                    [row.event_type, row.order_id, row.line_id, row.buyer_id, row.store_id],
                    row.amount,
                    [row.currency, row.product_id, row.category_id],
                    row.quantity,
                    [row.country, row.reason, row.visitor_id],
                ),
                clean: event,
            }),
            Err(reason) => {
                rejects.push(Reject { dt: *dt, log: "orders", reason, row_id: row.event_id })
            }
        }
    }
    let events = without_duplicates(valid, "orders", world.settings.late_days, &mut rejects);
    (events, rejects)
}

/// D3: landing dates after `as_of` are not read.
fn is_read(dt: NaiveDate, as_of: Option<NaiveDate>) -> bool {
    as_of.is_none_or(|as_of| dt <= as_of)
}

/// An empty string counts as null, in every column.
fn logged(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}

/// In `buyer_id` and `visitor_id`, so do the words that stand for nobody.
fn somebody(text: &Option<String>, settings: &Settings) -> Option<String> {
    logged(text).filter(|text| !settings.nobody.contains(text))
}

fn click_without_empty_text(row: &RawClick, settings: &Settings) -> RawClick {
    RawClick {
        click_id: logged(&row.click_id),
        clicked_at: row.clicked_at,
        url: logged(&row.url),
        buyer_id: somebody(&row.buyer_id, settings),
        visitor_id: somebody(&row.visitor_id, settings),
        store_id: logged(&row.store_id),
        product_id: logged(&row.product_id),
        country: logged(&row.country),
        device: logged(&row.device),
    }
}

fn event_without_empty_text(row: &RawEvent, settings: &Settings) -> RawEvent {
    RawEvent {
        event_id: logged(&row.event_id),
        event_type: logged(&row.event_type),
        event_at: row.event_at,
        order_id: logged(&row.order_id),
        line_id: logged(&row.line_id),
        buyer_id: somebody(&row.buyer_id, settings),
        store_id: logged(&row.store_id),
        amount: row.amount,
        currency: logged(&row.currency),
        product_id: logged(&row.product_id),
        category_id: logged(&row.category_id),
        quantity: row.quantity,
        country: logged(&row.country),
        reason: logged(&row.reason),
        visitor_id: somebody(&row.visitor_id, settings),
    }
}

/// C1 up to `unknown_link`.
fn clean_click(
    world: &World,
    formats: &[Regex],
    dt: NaiveDate,
    row: &RawClick,
) -> Result<Click, &'static str> {
    let click_id = row.click_id.clone().ok_or("missing_click_id")?;
    let clicked_at = row.clicked_at.ok_or("missing_time")?;
    landed_in_time(clicked_at, dt, world.settings.late_days)?;
    let url = row.url.as_ref().ok_or("not_a_promotion_link")?;
    let found =
        formats.iter().find_map(|format| format.captures(url)).ok_or("not_a_promotion_link")?;
    let link_key = found.get(1).map_or("", |group| group.as_str());
    let link = link_at(world, link_key, clicked_at).ok_or("unknown_link")?;
    Ok(Click {
        dt,
        click_id,
        clicked_at,
        link_key: link_key.to_string(),
        publisher_id: link.publisher_id.clone(),
        tracking_id: link.tracking_id.clone(),
        buyer_id: row.buyer_id.clone(),
        visitor_id: row.visitor_id.clone(),
        store_id: row.store_id.clone(),
        product_id: row.product_id.clone(),
        country: row.country.clone(),
        device: row.device.clone(),
    })
}

/// C1, C2: `too_late` and `in_the_future`.
fn landed_in_time(at: DateTime<Utc>, dt: NaiveDate, late_days: i64) -> Result<(), &'static str> {
    let midnight = dt.and_time(NaiveTime::MIN).and_utc();
    if at < midnight - TimeDelta::days(late_days) {
        return Err("too_late");
    }
    if at >= midnight + TimeDelta::hours(24 + 1) {
        return Err("in_the_future");
    }
    Ok(())
}

fn link_at<'a>(world: &'a World, link_key: &str, at: DateTime<Utc>) -> Option<&'a Link> {
    world
        .links
        .iter()
        .find(|link| link.link_key == link_key && in_force(link.valid_from, link.valid_to, at))
}

/// Half open, and an empty end is open.
pub fn in_force(from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>, at: DateTime<Utc>) -> bool {
    from.is_none_or(|from| from <= at) && to.is_none_or(|to| at < to)
}

/// C2 up to `unknown_currency`.
fn clean_event(world: &World, dt: NaiveDate, row: &RawEvent) -> Result<Event, &'static str> {
    let event_id = row.event_id.clone().ok_or("missing_event_id")?;
    let event_at = row.event_at.ok_or("missing_time")?;
    landed_in_time(event_at, dt, world.settings.late_days)?;
    let event_type = row.event_type.as_deref().unwrap_or_default();
    if !["placed", "paid", "completed", "cancelled", "refunded"].contains(&event_type) {
        return Err("unknown_event_type");
    }
    let order_id = row.order_id.clone().ok_or("missing_order_line")?;
    let line_id = row.line_id.clone().ok_or("missing_order_line")?;
    let movement = match event_type {
        "placed" => EventType::Placed(sale(world, event_at, row)?),
        "paid" => EventType::Paid,
        "completed" => EventType::Completed,
        "cancelled" => EventType::Cancelled,
        _ => EventType::Refunded(given_back(row)?),
    };
    Ok(Event { dt, event_id, event_at, order_id, line_id, movement, logged: row.clone() })
}

/// C2 and C6 for a placed event.
fn sale(world: &World, event_at: DateTime<Utc>, row: &RawEvent) -> Result<Sale, &'static str> {
    let buyer_id = row.buyer_id.clone().ok_or("missing_buyer")?;
    let store_id = row.store_id.clone().ok_or("missing_store")?;
    let original_amount = row.amount.ok_or("bad_amount")?;
    if original_amount < Decimal::ZERO || !fits_the_log(original_amount) {
        return Err("bad_amount");
    }
    let date = event_at.with_timezone(&world.settings.time_zone).date_naive();
    let fx_rate = row.currency.as_ref().and_then(|currency| fx_rate(world, currency, date));
    let amount = fx_rate.map(|fx_rate| product_in_cents(original_amount, fx_rate));
    if amount.is_some_and(|amount| amount >= Decimal::from(10_i64.pow(16))) {
        return Err("bad_amount");
    }
    let (Some(currency), Some(fx_rate), Some(amount)) = (row.currency.clone(), fx_rate, amount)
    else {
        return Err("unknown_currency");
    };
    Ok(Sale { buyer_id, store_id, original_amount, currency, fx_rate, amount })
}

/// C2 for a refunded event.
fn given_back(row: &RawEvent) -> Result<Decimal, &'static str> {
    let amount = row.amount.ok_or("bad_amount")?;
    if amount <= Decimal::ZERO || !fits_the_log(amount) {
        return Err("bad_amount");
    }
    Ok(amount)
}

/// C2: by value, at most 4 decimals and at most 14 integer digits.
fn fits_the_log(amount: Decimal) -> bool {
    amount.normalize().scale() <= 4 && amount.abs() < Decimal::from(10_i64.pow(14))
}

/// C6: the rate with the latest date on or before the local date; 1 for the program's own currency.
fn fx_rate(world: &World, currency: &str, date: NaiveDate) -> Option<Decimal> {
    if currency == world.settings.currency {
        return Some(Decimal::ONE);
    }
    let known = world.fx_rates.iter().filter(|fx| fx.currency == currency && fx.rate_date <= date);
    known.max_by_key(|fx| fx.rate_date).map(|fx| fx.rate)
}

/// C3. A row that is itself a duplicate still makes later ones duplicates: it is valid.
fn without_duplicates<Order: Ord, Clean>(
    valid: Vec<Valid<Order, Clean>>,
    log: &'static str,
    late_days: i64,
    rejects: &mut Vec<Reject>,
) -> Vec<Clean> {
    let reach = Days::new(late_days as u64 + 2);
    let is_duplicate: Vec<bool> = valid
        .iter()
        .enumerate()
        .map(|(place, row)| {
            valid.iter().enumerate().filter(|(_, other)| other.id == row.id).any(
                |(other_place, other)| {
                    let landed_before = row.dt - reach <= other.dt && other.dt < row.dt;
                    let goes_before = (&other.order, other_place) < (&row.order, place);
                    landed_before || (other.dt == row.dt && goes_before)
                },
            )
        })
        .collect();
    let mut kept = Vec::new();
    for (row, is_duplicate) in valid.into_iter().zip(is_duplicate) {
        match is_duplicate {
            true => {
                rejects.push(Reject { dt: row.dt, log, reason: "duplicate", row_id: Some(row.id) })
            }
            false => kept.push(row.clean),
        }
    }
    kept
}
