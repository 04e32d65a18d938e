//! The rows of each table, every value as text.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;

use super::attribution::Conversion;
use super::clean::{Click, Event, EventType, Reject};
use super::money::Movement;
use super::{DateRange, Row};

pub fn click_row(click: &Click) -> Row {
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

pub fn event_row(event: &Event) -> Row {
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
        ("original_currency", original_amount.and(event.logged.currency.clone())),
        ("fx_rate", sale.and_then(|sale| decimal(sale.fx_rate, 8))),
        ("amount", sale.and_then(|sale| decimal(sale.amount, 2))),
        ("reason", event.logged.reason.clone()),
        ("visitor_id", event.logged.visitor_id.clone()),
    ])
}

/// Without `record`, the raw row as JSON.
pub fn reject_row(reject: &Reject) -> Row {
    row([
        ("dt", day(reject.dt)),
        ("log", text(reject.log)),
        ("reason", text(reject.reason)),
        ("row_id", reject.row_id.clone()),
    ])
}

pub fn conversion_rows(conversions: &[Conversion], dates: &DateRange) -> Vec<Row> {
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
            ("matched_by", earned.and_then(|earned| text(earned.matched_by))),
        ]));
    }
    rows
}

pub fn traffic_rows(clicks: &[Click], conversions: &[Conversion], dates: &DateRange) -> Vec<Row> {
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
    dates: &DateRange,
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
pub fn orders_rows(ledger: &[Movement], dates: &DateRange) -> Vec<Row> {
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

pub fn refunds_rows(ledger: &[Movement], dates: &DateRange) -> Vec<Row> {
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
pub fn transaction_rows(ledger: &[Movement], dates: &DateRange) -> Vec<Row> {
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
            (
                "original_currency",
                original_amount
                    .map(|_| event.logged.currency.clone().unwrap_or(sale.currency.clone())),
            ),
            ("reason", event.logged.reason.clone()),
        ]));
    }
    rows
}

/// A5, M7: the events that are in no movement, of whatever line.
pub fn unbooked_rows(events: &[Event], ledger: &[Movement], dates: &DateRange) -> Vec<Row> {
    let mut rows = Vec::new();
    for event in events {
        let Some(report_date) = dates.of(event.event_at) else { continue };
        if ledger.iter().any(|movement| std::ptr::eq(movement.event, event)) {
            continue;
        }
        let (original_amount, why) = match &event.movement {
            EventType::Placed(sale) => (Some(sale.original_amount), "repetition"),
            EventType::Refunded(given_back) => (Some(*given_back), "orphan"),
            _ => (None, "orphan"),
        };
        rows.push(row([
            ("report_date", day(report_date)),
            ("event_id", text(&event.event_id)),
            ("event_type", text(event.movement.name())),
            ("event_at", instant(event.event_at)),
            ("order_id", text(&event.order_id)),
            ("line_id", text(&event.line_id)),
            ("original_amount", original_amount.and_then(|amount| decimal(amount, 4))),
            ("original_currency", original_amount.and(event.logged.currency.clone())),
            ("why", text(why)),
        ]));
    }
    rows
}

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
