//! The rules a second time, read word by word: what one backfill of a [`World`] must leave behind.
//!
//! Straight loops, every row against every other. It refuses to know how the program does it: there
//! is no SQL here, no choice of which dates to read, no sorting to save a comparison. Each function
//! names the rules it reads.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use regex::Regex;
use rust_decimal::Decimal;

use crate::world::{Link, RawClick, RawEvent, Scope, Settings, Tie, World};

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
    let dates = ReportDates { from, to, settings: &world.settings };

    let tables: [(&str, &[&str], Vec<Row>); 8] = [
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
struct ReportDates<'a> {
    from: NaiveDate,
    to: NaiveDate,
    settings: &'a Settings,
}

impl ReportDates<'_> {
    /// The report date of `at`, if it is one of those to rewrite.
    fn of(&self, at: DateTime<Utc>) -> Option<NaiveDate> {
        let date = at.with_timezone(&self.settings.time_zone).date_naive();
        (self.from <= date && date <= self.to).then_some(date)
    }
}

// ---------------------------------------------------------------------------------------- cleaning

struct Click {
    dt: NaiveDate,
    click_id: String,
    clicked_at: DateTime<Utc>,
    link_key: String,
    publisher_id: String,
    tracking_id: Option<String>,
    buyer_id: Option<String>,
    visitor_id: Option<String>,
    store_id: Option<String>,
    product_id: Option<String>,
    country: Option<String>,
    device: Option<String>,
}

struct Event {
    dt: NaiveDate,
    event_id: String,
    event_at: DateTime<Utc>,
    order_id: String,
    line_id: String,
    movement: EventType,
    /// The columns that are kept as logged, whatever the event type makes of them.
    logged: RawEvent,
}

enum EventType {
    Placed(Sale),
    Paid,
    Completed,
    Cancelled,
    /// What was given back, in the order line's currency.
    Refunded(Decimal),
}

/// What only a placed event says.
struct Sale {
    buyer_id: String,
    store_id: String,
    original_amount: Decimal,
    currency: String,
    fx_rate: Decimal,
    /// In program currency.
    amount: Decimal,
}

struct Reject {
    dt: NaiveDate,
    log: &'static str,
    reason: &'static str,
    row_id: Option<String>,
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
    fn name(&self) -> &'static str {
        match self {
            EventType::Placed(_) => "placed",
            EventType::Paid => "paid",
            EventType::Completed => "completed",
            EventType::Cancelled => "cancelled",
            EventType::Refunded(_) => "refunded",
        }
    }

    /// At one instant: placed < paid < completed < cancelled < refunded.
    fn rank(&self) -> usize {
        ["placed", "paid", "completed", "cancelled", "refunded"]
            .iter()
            .take_while(|name| **name != self.name())
            .count()
    }
}

/// C1, C3, C4, C5.
fn clean_clicks(world: &World, as_of: Option<NaiveDate>) -> (Vec<Click>, Vec<Reject>) {
    let formats: Vec<Regex> = world
        .settings
        .formats
        .iter()
        .map(|format| Regex::new(format).expect("a legal link format"))
        .collect();
    let mut valid = Vec::new();
    let mut rejects = Vec::new();
    for (dt, row) in world.clicks.iter().filter(|(dt, _)| is_read(*dt, as_of)) {
        let row = click_without_empty_text(row);
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
fn clean_events(world: &World, as_of: Option<NaiveDate>) -> (Vec<Event>, Vec<Reject>) {
    let mut valid = Vec::new();
    let mut rejects = Vec::new();
    for (dt, row) in world.orders.iter().filter(|(dt, _)| is_read(*dt, as_of)) {
        let row = event_without_empty_text(row);
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
                    [row.country, row.reason],
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

/// Section 2: an empty string counts as null, in every column.
fn logged(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}

fn click_without_empty_text(row: &RawClick) -> RawClick {
    RawClick {
        click_id: logged(&row.click_id),
        clicked_at: row.clicked_at,
        url: logged(&row.url),
        buyer_id: logged(&row.buyer_id),
        visitor_id: logged(&row.visitor_id),
        store_id: logged(&row.store_id),
        product_id: logged(&row.product_id),
        country: logged(&row.country),
        device: logged(&row.device),
    }
}

fn event_without_empty_text(row: &RawEvent) -> RawEvent {
    RawEvent {
        event_id: logged(&row.event_id),
        event_type: logged(&row.event_type),
        event_at: row.event_at,
        order_id: logged(&row.order_id),
        line_id: logged(&row.line_id),
        buyer_id: logged(&row.buyer_id),
        store_id: logged(&row.store_id),
        amount: row.amount,
        currency: logged(&row.currency),
        product_id: logged(&row.product_id),
        category_id: logged(&row.category_id),
        quantity: row.quantity,
        country: logged(&row.country),
        reason: logged(&row.reason),
    }
}

/// C1 up to `unknown_link`, and C5.
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
        buyer_id: row.buyer_id.clone().or_else(|| buyer_of_visitor(world, &row.visitor_id)),
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

/// Section 2: half open, and an empty end is open.
fn in_force(from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>, at: DateTime<Utc>) -> bool {
    from.is_none_or(|from| from <= at) && to.is_none_or(|to| at < to)
}

/// C5.
fn buyer_of_visitor(world: &World, visitor_id: &Option<String>) -> Option<String> {
    let visitor_id = visitor_id.as_ref()?;
    world
        .identities
        .iter()
        .find(|identity| identity.visitor_id == *visitor_id)
        .map(|identity| identity.buyer_id.clone())
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
    let fx_rate =
        row.currency.as_ref().and_then(|currency| fx_rate(world, currency, event_at.date_naive()));
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

/// C6: the rate with the latest date on or before `date`; 1 for the program's own currency.
fn fx_rate(world: &World, currency: &str, date: NaiveDate) -> Option<Decimal> {
    if currency == world.settings.currency {
        return Some(Decimal::ONE);
    }
    let known = world.fx_rates.iter().filter(|fx| fx.currency == currency && fx.rate_date <= date);
    known.max_by_key(|fx| fx.rate_date).map(|fx| fx.rate)
}

/// The exact product, rounded to two decimals, half away from zero.
///
/// In integers, for an amount times an fx rate can have more digits than a [`Decimal`] holds.
fn product_in_cents(a: Decimal, b: Decimal) -> Decimal {
    let (a, b) = (a.normalize(), b.normalize());
    let product = a.mantissa() * b.mantissa();
    let decimals = a.scale() + b.scale();
    if decimals <= 2 {
        return Decimal::from_i128_with_scale(product * 10_i128.pow(2 - decimals), 2);
    }
    let cent = 10_i128.pow(decimals - 2);
    let cents = (product.abs() + cent / 2) / cent * product.signum();
    Decimal::from_i128_with_scale(cents, 2)
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

// ------------------------------------------------------------------------------------- attribution

/// A counting placed event and what came of it.
struct Conversion<'a> {
    placed: &'a Event,
    sale: &'a Sale,
    outcome: Outcome<'a>,
}

enum Outcome<'a> {
    Attributed(Earned<'a>),
    NoClick,
    StoreNotJoined,
}

struct Earned<'a> {
    click: &'a Click,
    clicks_in_window: usize,
    first_click_at: DateTime<Utc>,
    seconds_to_order: i64,
    commission_rate: Decimal,
    rate_source: &'static str,
}

impl<'a> Conversion<'a> {
    fn earned(&self) -> Option<&Earned<'a>> {
        match &self.outcome {
            Outcome::Attributed(earned) => Some(earned),
            Outcome::NoClick | Outcome::StoreNotJoined => None,
        }
    }

    fn status(&self) -> &'static str {
        match self.outcome {
            Outcome::Attributed(_) => "attributed",
            Outcome::NoClick => "no_click",
            Outcome::StoreNotJoined => "store_not_joined",
        }
    }

    fn publisher(&self) -> String {
        self.earned()
            .map_or("(unattributed)".to_string(), |earned| earned.click.publisher_id.clone())
    }
}

fn conversions<'a>(world: &World, clicks: &'a [Click], events: &'a [Event]) -> Vec<Conversion<'a>> {
    let mut conversions = Vec::new();
    for placed in events {
        let EventType::Placed(sale) = &placed.movement else { continue };
        if counts(placed, events, &world.settings) {
            conversions.push(Conversion {
                placed,
                sale,
                outcome: outcome(world, placed, sale, clicks),
            });
        }
    }
    conversions
}

/// A5. Any other placed event of the line stands in the way, whether it counts itself or not.
fn counts(placed: &Event, events: &[Event], settings: &Settings) -> bool {
    let horizon = TimeDelta::days(settings.order_horizon_days);
    !events
        .iter()
        .filter(|other| matches!(other.movement, EventType::Placed(_)) && is_of_line(other, placed))
        .any(|other| {
            let is_before =
                other.event_at < placed.event_at && placed.event_at - other.event_at <= horizon;
            is_before || (other.event_at == placed.event_at && other.event_id < placed.event_id)
        })
}

fn is_of_line(event: &Event, placed: &Event) -> bool {
    event.order_id == placed.order_id && event.line_id == placed.line_id
}

/// A2, A3.
fn outcome<'a>(world: &World, placed: &Event, sale: &Sale, clicks: &'a [Click]) -> Outcome<'a> {
    let is_member = world.stores.iter().any(|store| {
        store.store_id == sale.store_id && in_force(store.joined_at, store.left_at, placed.event_at)
    });
    if !is_member {
        return Outcome::StoreNotJoined;
    }
    let candidates: Vec<&Click> =
        clicks.iter().filter(|click| is_candidate(click, placed, sale, &world.settings)).collect();
    let winner = candidates.iter().max_by_key(|click| (click.clicked_at, &click.click_id));
    let first_click_at = candidates.iter().map(|click| click.clicked_at).min();
    let (Some(click), Some(first_click_at)) = (winner, first_click_at) else {
        return Outcome::NoClick;
    };
    let (commission_rate, rate_source) = rate(world, placed, sale);
    Outcome::Attributed(Earned {
        click,
        clicks_in_window: candidates.len(),
        first_click_at,
        seconds_to_order: (placed.event_at - click.clicked_at).num_seconds(),
        commission_rate,
        rate_source,
    })
}

/// A1, and the job's `scope`.
fn is_candidate(click: &Click, placed: &Event, sale: &Sale, settings: &Settings) -> bool {
    let is_same_buyer = click.buyer_id.as_ref() == Some(&sale.buyer_id);
    let is_before = match settings.tie {
        Tie::Before => click.clicked_at < placed.event_at,
        Tie::AtOrBefore => click.clicked_at <= placed.event_at,
    };
    let is_in_window =
        placed.event_at - click.clicked_at <= TimeDelta::hours(settings.window_hours);
    let is_in_scope = match settings.scope {
        Scope::Platform => true,
        Scope::Store => click.store_id.as_ref() == Some(&sale.store_id),
    };
    is_same_buyer && is_before && is_in_window && is_in_scope
}

/// A4.
fn rate(world: &World, placed: &Event, sale: &Sale) -> (Decimal, &'static str) {
    let scopes = [
        ("product", placed.logged.product_id.as_ref()),
        ("category", placed.logged.category_id.as_ref()),
        ("store", Some(&sale.store_id)),
    ];
    for (scope, scope_id) in scopes {
        for store_id in [Some(&sale.store_id), None] {
            let found = world.rates.iter().find(|rate| {
                rate.scope == scope
                    && Some(&rate.scope_id) == scope_id
                    && rate.store_id.as_ref() == store_id
                    && in_force(rate.valid_from, rate.valid_to, placed.event_at)
            });
            if let Some(found) = found {
                return (found.rate, scope);
            }
        }
    }
    (world.settings.default_rate, "default")
}

// ------------------------------------------------------------------------------------------- money

/// One event of a counting line and the change it made (M6).
struct Movement<'a> {
    conversion: &'a Conversion<'a>,
    event: &'a Event,
    is_effective: bool,
    /// After the event (M1).
    net: Decimal,
    net_change: Decimal,
    pending_change: Decimal,
    approved_change: Decimal,
    /// Gave back the last of the original amount.
    is_full_refund: bool,
}

/// Where an order line stands between two events.
#[derive(Clone, Default)]
struct Balance {
    refunded: Decimal,
    net: Decimal,
    pending: Decimal,
    approved: Decimal,
    is_paid: bool,
    is_completed: bool,
    is_cancelled: bool,
    is_pending_booked: bool,
}

/// M1 to M7 for one counting placed event.
fn movements<'a>(
    conversion: &'a Conversion<'a>,
    events: &'a [Event],
    settings: &Settings,
) -> Vec<Movement<'a>> {
    let mut balance = Balance::default();
    let mut movements = Vec::new();
    for event in events_of(conversion.placed, events, settings) {
        let before = balance.clone();
        let is_effective = apply(event, conversion, &mut balance);
        let is_refund = matches!(event.movement, EventType::Refunded(_));
        movements.push(Movement {
            conversion,
            event,
            is_effective,
            net: balance.net,
            net_change: balance.net - before.net,
            pending_change: balance.pending - before.pending,
            approved_change: balance.approved - before.approved,
            is_full_refund: is_effective
                && is_refund
                && balance.refunded == conversion.sale.original_amount,
        });
    }
    movements
}

/// The line's events from the placed one on, to the end of the horizon, in order. Other placed
/// events in there do not count (A5) and are nowhere; events outside are orphans (M7).
fn events_of<'a>(placed: &Event, events: &'a [Event], settings: &Settings) -> Vec<&'a Event> {
    let horizon = TimeDelta::days(settings.order_horizon_days);
    let mut own: Vec<&Event> = events
        .iter()
        .filter(|event| is_of_line(event, placed))
        .filter(|event| {
            placed.event_at <= event.event_at && event.event_at - placed.event_at <= horizon
        })
        .filter(|event| {
            std::ptr::eq(*event, placed) || !matches!(event.movement, EventType::Placed(_))
        })
        .collect();
    own.sort_by_key(|event| (event.event_at, event.movement.rank(), &event.event_id));
    own
}

/// M1 to M5: changes the balance and says whether the event had an effect.
fn apply(event: &Event, conversion: &Conversion, balance: &mut Balance) -> bool {
    let sale = conversion.sale;
    let rate = conversion.earned().map_or(Decimal::ZERO, |earned| earned.commission_rate);
    match event.movement {
        EventType::Placed(_) => {
            balance.net = product_in_cents(sale.original_amount, sale.fx_rate);
            true
        }
        EventType::Paid => {
            let is_effective = !balance.is_paid && !balance.is_completed && !balance.is_cancelled;
            balance.is_paid = true;
            if is_effective {
                balance.is_pending_booked = true;
                balance.pending = product_in_cents(balance.net, rate);
            }
            is_effective
        }
        EventType::Completed => {
            let is_effective = !balance.is_completed && !balance.is_cancelled;
            if is_effective {
                balance.is_completed = true;
                balance.is_pending_booked = false;
                balance.pending = Decimal::ZERO;
                balance.approved = product_in_cents(balance.net, rate);
            }
            is_effective
        }
        EventType::Cancelled => {
            let is_effective = !balance.is_cancelled && !balance.is_completed;
            if is_effective {
                balance.is_cancelled = true;
                balance.is_pending_booked = false;
                balance.pending = Decimal::ZERO;
            }
            is_effective
        }
        EventType::Refunded(given_back) => {
            let effective_part = given_back.min(sale.original_amount - balance.refunded);
            if effective_part <= Decimal::ZERO {
                return false;
            }
            balance.refunded += effective_part;
            balance.net = product_in_cents(sale.original_amount - balance.refunded, sale.fx_rate);
            if balance.is_pending_booked {
                balance.pending = product_in_cents(balance.net, rate);
            }
            if balance.is_completed {
                balance.approved = product_in_cents(balance.net, rate);
            }
            true
        }
    }
}

// ------------------------------------------------------------------------------ tables (section 5)

fn click_row(click: &Click) -> Row {
    row([
        ("dt", day(click.dt)),
        ("click_id", text(&click.click_id)),
        ("clicked_at", instant(click.clicked_at)),
        ("link_key", text(&click.link_key)),
        ("publisher_id", text(&click.publisher_id)),
        ("tracking_id", click.tracking_id.clone()),
        ("buyer_id", click.buyer_id.clone()),
        ("visitor_id", click.visitor_id.clone()),
        ("store_id", click.store_id.clone()),
        ("product_id", click.product_id.clone()),
        ("country", click.country.clone()),
        ("device", click.device.clone()),
    ])
}

fn event_row(event: &Event) -> Row {
    let sale = match &event.movement {
        EventType::Placed(sale) => Some(sale),
        _ => None,
    };
    let original_amount = match &event.movement {
        EventType::Placed(sale) => Some(sale.original_amount),
        EventType::Refunded(given_back) => Some(*given_back),
        _ => None,
    };
    row([
        ("dt", day(event.dt)),
        ("event_id", text(&event.event_id)),
        ("event_type", text(event.movement.name())),
        ("event_at", instant(event.event_at)),
        ("order_id", text(&event.order_id)),
        ("line_id", text(&event.line_id)),
        ("buyer_id", event.logged.buyer_id.clone()),
        ("store_id", event.logged.store_id.clone()),
        ("product_id", event.logged.product_id.clone()),
        ("category_id", event.logged.category_id.clone()),
        ("quantity", event.logged.quantity.map(|quantity| quantity.to_string())),
        ("country", event.logged.country.clone()),
        ("original_amount", original_amount.and_then(|amount| decimal(amount, 4))),
        ("original_currency", sale.map(|sale| sale.currency.clone())),
        ("fx_rate", sale.and_then(|sale| decimal(sale.fx_rate, 8))),
        ("amount", sale.and_then(|sale| decimal(sale.amount, 2))),
        ("reason", event.logged.reason.clone()),
    ])
}

/// Without `record`, the raw row as JSON.
fn reject_row(reject: &Reject) -> Row {
    row([
        ("dt", day(reject.dt)),
        ("log", text(reject.log)),
        ("reason", text(reject.reason)),
        ("row_id", reject.row_id.clone()),
    ])
}

fn conversion_rows(conversions: &[Conversion], dates: &ReportDates) -> Vec<Row> {
    let mut rows = Vec::new();
    for conversion in conversions {
        let Conversion { placed, sale, .. } = conversion;
        let Some(order_date) = dates.of(placed.event_at) else { continue };
        let earned = conversion.earned();
        let click = earned.map(|earned| earned.click);
        rows.push(row([
            ("order_date", day(order_date)),
            ("order_id", text(&placed.order_id)),
            ("line_id", text(&placed.line_id)),
            ("placed_at", instant(placed.event_at)),
            ("event_id", text(&placed.event_id)),
            ("buyer_id", text(&sale.buyer_id)),
            ("store_id", text(&sale.store_id)),
            ("product_id", placed.logged.product_id.clone()),
            ("category_id", placed.logged.category_id.clone()),
            ("country", placed.logged.country.clone()),
            ("amount", decimal(sale.amount, 2)),
            ("status", text(conversion.status())),
            ("click_id", click.and_then(|click| text(&click.click_id))),
            ("clicked_at", click.and_then(|click| instant(click.clicked_at))),
            ("publisher_id", click.and_then(|click| text(&click.publisher_id))),
            ("tracking_id", click.and_then(|click| click.tracking_id.clone())),
            ("link_key", click.and_then(|click| text(&click.link_key))),
            ("clicks_in_window", earned.and_then(|earned| count(earned.clicks_in_window))),
            ("first_click_at", earned.and_then(|earned| instant(earned.first_click_at))),
            ("seconds_to_order", earned.map(|earned| earned.seconds_to_order.to_string())),
            ("commission_rate", earned.and_then(|earned| decimal(earned.commission_rate, 6))),
            ("rate_source", earned.and_then(|earned| text(earned.rate_source))),
        ]));
    }
    rows
}

fn traffic_rows(clicks: &[Click], conversions: &[Conversion], dates: &ReportDates) -> Vec<Row> {
    #[derive(Default)]
    struct Traffic<'a> {
        clicks: Vec<&'a Click>,
        won: Vec<&'a Conversion<'a>>,
    }
    let dimensions = |click: &Click| {
        let named = |dimension: &Option<String>| dimension.clone().unwrap_or("(none)".to_string());
        let publisher_id = click.publisher_id.clone();
        [
            publisher_id,
            named(&click.tracking_id),
            named(&click.store_id),
            named(&click.country),
            named(&click.device),
        ]
    };
    let mut groups: BTreeMap<(NaiveDate, [String; 5]), Traffic> = BTreeMap::new();
    for click in clicks {
        if let Some(report_date) = dates.of(click.clicked_at) {
            groups.entry((report_date, dimensions(click))).or_default().clicks.push(click);
        }
    }
    for conversion in conversions {
        if let (Some(report_date), Some(earned)) =
            (dates.of(conversion.placed.event_at), conversion.earned())
        {
            groups.entry((report_date, dimensions(earned.click))).or_default().won.push(conversion);
        }
    }
    groups
        .into_iter()
        .map(|((report_date, [publisher_id, tracking_id, store_id, country, device]), traffic)| {
            let visitors: BTreeSet<&String> =
                traffic.clicks.iter().filter_map(|click| click.visitor_id.as_ref()).collect();
            let buyers_without_a_visitor: BTreeSet<&String> = traffic
                .clicks
                .iter()
                .filter(|click| click.visitor_id.is_none())
                .filter_map(|click| click.buyer_id.as_ref())
                .collect();
            let orders: BTreeSet<&String> =
                traffic.won.iter().map(|won| &won.placed.order_id).collect();
            row([
                ("report_date", day(report_date)),
                ("publisher_id", Some(publisher_id)),
                ("tracking_id", Some(tracking_id)),
                ("store_id", Some(store_id)),
                ("country", Some(country)),
                ("device", Some(device)),
                ("clicks", count(traffic.clicks.len())),
                ("visitors", count(visitors.len() + buyers_without_a_visitor.len())),
                ("orders", count(orders.len())),
                ("order_lines", count(traffic.won.len())),
                ("order_amount", decimal(traffic.won.iter().map(|won| won.sale.amount).sum(), 2)),
            ])
        })
        .collect()
}

/// Report date, store, publisher.
type Group = (NaiveDate, String, String);

/// The effective movements of the report dates that `belongs` lets in.
fn grouped<'a>(
    ledger: &'a [Movement<'a>],
    dates: &ReportDates,
    belongs: fn(&EventType) -> bool,
) -> BTreeMap<Group, Vec<&'a Movement<'a>>> {
    let mut groups: BTreeMap<Group, Vec<&Movement>> = BTreeMap::new();
    for movement in
        ledger.iter().filter(|movement| movement.is_effective && belongs(&movement.event.movement))
    {
        if let Some(report_date) = dates.of(movement.event.event_at) {
            let conversion = movement.conversion;
            let group = (report_date, conversion.sale.store_id.clone(), conversion.publisher());
            groups.entry(group).or_default().push(movement);
        }
    }
    groups
}

fn distinct_orders(movements: &[&Movement]) -> Option<String> {
    let orders: BTreeSet<&String> =
        movements.iter().map(|movement| &movement.event.order_id).collect();
    count(orders.len())
}

fn money(movements: &[&Movement], of: fn(&Movement) -> Decimal) -> Option<String> {
    decimal(movements.iter().map(|movement| of(movement)).sum(), 2)
}

/// A group of which only refunds are known has no row here.
fn orders_rows(ledger: &[Movement], dates: &ReportDates) -> Vec<Row> {
    grouped(ledger, dates, |movement| !matches!(movement, EventType::Refunded(_)))
        .into_iter()
        .map(|((report_date, store_id, publisher_id), movements)| {
            let of = |name: &str| -> Vec<&Movement> {
                movements
                    .iter()
                    .copied()
                    .filter(|movement| movement.event.movement.name() == name)
                    .collect()
            };
            let (placed, paid, completed, cancelled) =
                (of("placed"), of("paid"), of("completed"), of("cancelled"));
            row([
                ("report_date", day(report_date)),
                ("store_id", Some(store_id)),
                ("publisher_id", Some(publisher_id)),
                ("placed_orders", distinct_orders(&placed)),
                ("placed_lines", count(placed.len())),
                ("placed_amount", money(&placed, |movement| movement.net)),
                ("paid_orders", distinct_orders(&paid)),
                ("paid_lines", count(paid.len())),
                ("paid_amount", money(&paid, |movement| movement.net)),
                ("estimated_commission", money(&paid, |movement| movement.pending_change)),
                ("completed_orders", distinct_orders(&completed)),
                ("completed_lines", count(completed.len())),
                ("completed_amount", money(&completed, |movement| movement.net)),
                ("actual_commission", money(&completed, |movement| movement.approved_change)),
                ("cancelled_orders", distinct_orders(&cancelled)),
                ("cancelled_lines", count(cancelled.len())),
                ("cancelled_amount", money(&cancelled, |movement| movement.net)),
            ])
        })
        .collect()
}

fn refunds_rows(ledger: &[Movement], dates: &ReportDates) -> Vec<Row> {
    grouped(ledger, dates, |movement| matches!(movement, EventType::Refunded(_)))
        .into_iter()
        .map(|((report_date, store_id, publisher_id), refunds)| {
            let lines: BTreeSet<(&String, &String)> = refunds
                .iter()
                .map(|refund| (&refund.event.order_id, &refund.event.line_id))
                .collect();
            row([
                ("report_date", day(report_date)),
                ("store_id", Some(store_id)),
                ("publisher_id", Some(publisher_id)),
                ("refunded_orders", distinct_orders(&refunds)),
                ("refunded_lines", count(lines.len())),
                ("refunds", count(refunds.len())),
                ("refund_amount", money(&refunds, |refund| -refund.net_change)),
                (
                    "full_refunds",
                    count(refunds.iter().filter(|refund| refund.is_full_refund).count()),
                ),
                ("pending_reversed", money(&refunds, |refund| -refund.pending_change)),
                ("approved_reversed", money(&refunds, |refund| -refund.approved_change)),
            ])
        })
        .collect()
}

/// M7: attributed lines only. Ineffective movements are in, with zeros.
fn transaction_rows(ledger: &[Movement], dates: &ReportDates) -> Vec<Row> {
    let mut rows = Vec::new();
    for movement in ledger {
        let Movement { conversion, event, .. } = movement;
        let Conversion { placed, sale, .. } = conversion;
        let (Some(report_date), Some(earned)) = (dates.of(event.event_at), conversion.earned())
        else {
            continue;
        };
        let original_amount = match &event.movement {
            EventType::Placed(sale) => Some(sale.original_amount),
            EventType::Refunded(given_back) => Some(*given_back),
            _ => None,
        };
        rows.push(row([
            ("report_date", day(report_date)),
            ("event_id", text(&event.event_id)),
            ("movement", text(event.movement.name())),
            ("event_at", instant(event.event_at)),
            ("is_effective", Some(movement.is_effective.to_string())),
            ("order_id", text(&event.order_id)),
            ("line_id", text(&event.line_id)),
            ("buyer_id", text(&sale.buyer_id)),
            ("store_id", text(&sale.store_id)),
            ("product_id", placed.logged.product_id.clone()),
            ("category_id", placed.logged.category_id.clone()),
            ("country", placed.logged.country.clone()),
            ("publisher_id", text(&earned.click.publisher_id)),
            ("tracking_id", earned.click.tracking_id.clone()),
            ("click_id", text(&earned.click.click_id)),
            ("clicked_at", instant(earned.click.clicked_at)),
            ("placed_at", instant(placed.event_at)),
            ("seconds_to_order", Some(earned.seconds_to_order.to_string())),
            ("commission_rate", decimal(earned.commission_rate, 6)),
            ("rate_source", text(earned.rate_source)),
            ("sale_amount", decimal(movement.net_change, 2)),
            ("pending_commission", decimal(movement.pending_change, 2)),
            ("approved_commission", decimal(movement.approved_change, 2)),
            ("original_amount", original_amount.and_then(|amount| decimal(amount, 4))),
            ("original_currency", original_amount.map(|_| sale.currency.clone())),
            ("reason", event.logged.reason.clone()),
        ]));
    }
    rows
}

// ---------------------------------------------------------------------------------- values as text

fn row<const N: usize>(columns: [(&str, Option<String>); N]) -> Row {
    columns.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

fn text(value: &str) -> Option<String> {
    Some(value.to_string())
}

fn day(value: NaiveDate) -> Option<String> {
    Some(value.to_string())
}

fn instant(value: DateTime<Utc>) -> Option<String> {
    Some(value.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
}

fn count(value: usize) -> Option<String> {
    Some(value.to_string())
}

/// With exactly `decimals` decimals; a zero has no sign.
fn decimal(value: Decimal, decimals: u32) -> Option<String> {
    let mut value = if value.is_zero() { Decimal::ZERO } else { value };
    value.rescale(decimals);
    Some(value.to_string())
}
