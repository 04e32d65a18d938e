//! Order events as rows of the raw order log. Decides nothing: the event has all that is needed.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{
    ArrayRef, Decimal128Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::record_batch::RecordBatch;

use super::calendar::DAY;
use super::catalog::Catalog;
use super::columns::{append_missing, push_digits, push_hex, text_column};
use super::dice::mix;
use super::landing::Arrival;
use super::orders::{Event, EventFlaw, Line, Step};
use super::parts::Table;
use super::people::Currency;

/// The raw order log.
pub const LOG: Table<Event> =
    Table { distinct: &["event_id", "order_id", "buyer_id", "visitor_id"], batch };

fn batch(events: &[Arrival<Event>], catalog: &Catalog) -> Result<RecordBatch> {
    let rows = events.len();
    let mut event_id = text_column(rows, 36);
    let mut event_type = text_column(rows, 9);
    let mut event_at = TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC");
    let mut order_id = text_column(rows, 16);
    let mut line_id = text_column(rows, 1);
    let mut buyer_id = text_column(rows, 5);
    let mut store_id = text_column(rows, 5);
    let mut amount = Decimal128Builder::with_capacity(rows).with_precision_and_scale(18, 4)?;
    let mut currency = text_column(rows, 2);
    let mut product_id = text_column(rows, 8);
    let mut category_id = text_column(rows, 3);
    let mut quantity = Int64Builder::with_capacity(rows);
    let mut country = text_column(rows, 2);
    let mut reason = text_column(rows, 4);
    let mut visitor_id = text_column(rows, 8);
    let mut text = String::new();

    for Arrival { row: event, .. } in events {
        append_id(&mut event_id, event, &mut text);
        event_type.append_value(shown_type(event));
        event_at.append_option(shown_time(event));
        append_order_line(&mut order_id, &mut line_id, event, &mut text);
        amount.append_option(shown_amount(event).map(i128::from));
        reason.append_option(reason_of(event.step));

        let placed = matches!(event.step, Step::Placed).then_some(event.line);
        let product = placed.map(|line| &catalog.products[usize::from(line.product)]);
        let store = product.map(|product| catalog.stores[usize::from(product.store)].id.as_str());
        append_buyer(&mut buyer_id, placed, event, &mut text);
        store_id.append_option(store.filter(|_| event.flaw != Some(EventFlaw::NoStore)));
        currency.append_option(shown_currency(event));
        product_id.append_option(product.map(|product| product.id.as_str()));
        category_id.append_option(product.map(|product| product.category));
        quantity.append_option(placed.map(|line| i64::from(line.quantity)));
        country.append_option(placed.map(|line| line.person.country()));
        append_visitor(&mut visitor_id, placed, &mut text);
    }

    let columns: [(&str, ArrayRef); 15] = [
        ("event_id", Arc::new(event_id.finish())),
        ("event_type", Arc::new(event_type.finish())),
        ("event_at", Arc::new(event_at.finish())),
        ("order_id", Arc::new(order_id.finish())),
        ("line_id", Arc::new(line_id.finish())),
        ("buyer_id", Arc::new(buyer_id.finish())),
        ("store_id", Arc::new(store_id.finish())),
        ("amount", Arc::new(amount.finish())),
        ("currency", Arc::new(currency.finish())),
        ("product_id", Arc::new(product_id.finish())),
        ("category_id", Arc::new(category_id.finish())),
        ("quantity", Arc::new(quantity.finish())),
        ("country", Arc::new(country.finish())),
        ("reason", Arc::new(reason.finish())),
        ("visitor_id", Arc::new(visitor_id.finish())),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(
        columns.map(|(name, column)| (name, column, true)),
    )?)
}

/// Shaped like a UUID.
fn append_id(column: &mut StringBuilder, event: &Event, text: &mut String) {
    if event.flaw == Some(EventFlaw::NoId) {
        return append_missing(column, event.seed);
    }
    let [high, low] = [event.seed, mix(event.seed)];
    text.clear();
    push_hex(text, high >> 32, 8);
    text.push('-');
    push_hex(text, high >> 16, 4);
    text.push('-');
    push_hex(text, high, 4);
    text.push('-');
    push_hex(text, low >> 48, 4);
    text.push('-');
    push_hex(text, low, 12);
    column.append_value(&text);
}

fn shown_type(event: &Event) -> &'static str {
    if event.flaw == Some(EventFlaw::UnknownType) {
        return if event.seed.is_multiple_of(2) { "shipped" } else { "PLACED" };
    }
    match event.step {
        Step::Placed => "placed",
        Step::Paid => "paid",
        Step::Completed => "completed",
        Step::Cancelled { .. } => "cancelled",
        Step::Refunded { .. } => "refunded",
    }
}

fn shown_time(event: &Event) -> Option<i64> {
    match event.flaw {
        Some(EventFlaw::NoTime) => None,
        Some(EventFlaw::InTheFuture) => Some(event.at + (4 + (event.seed % 30) as i64) * DAY),
        _ => Some(event.at),
    }
}

fn append_order_line(
    order_id: &mut StringBuilder,
    line_id: &mut StringBuilder,
    event: &Event,
    text: &mut String,
) {
    let order = event.line.order * 7_919_331 % 1_000_000_000_000;
    let missing = event.flaw == Some(EventFlaw::NoOrderLine);
    text.clear();
    text.push_str("8190");
    push_digits(text, order, 12);
    if missing && event.seed & 2 == 0 {
        append_missing(order_id, event.seed)
    } else {
        order_id.append_value(&text)
    }
    text.clear();
    push_digits(text, u64::from(event.line.number), 1);
    if missing && event.seed & 2 != 0 {
        append_missing(line_id, event.seed)
    } else {
        line_id.append_value(&text)
    }
}

fn shown_amount(event: &Event) -> Option<i64> {
    let amount = match event.step {
        Step::Placed => event.line.amount,
        Step::Refunded { amount, .. } => amount,
        _ => return None,
    };
    match event.flaw {
        Some(EventFlaw::BadAmount) => match (event.seed % 3, event.step) {
            (0, _) => None,
            (1, Step::Refunded { .. }) => Some(0),
            _ => Some(-amount),
        },
        _ => Some(amount),
    }
}

fn reason_of(step: Step) -> Option<&'static str> {
    match step {
        Step::Cancelled { reason } | Step::Refunded { reason, .. } => Some(reason),
        Step::Placed | Step::Paid | Step::Completed => None,
    }
}

fn append_buyer(
    column: &mut StringBuilder,
    placed: Option<Line>,
    event: &Event,
    text: &mut String,
) {
    match placed {
        None => column.append_null(),
        Some(_) if event.flaw == Some(EventFlaw::NoBuyer) => append_missing(column, event.seed),
        Some(line) => {
            text.clear();
            line.person.push_buyer_id(text);
            column.append_value(&text);
        }
    }
}

/// A buyer has logged in by the time of the order, so the order names whom the clicks before did not.
/// One order of twelve comes without a cookie.
fn append_visitor(column: &mut StringBuilder, placed: Option<Line>, text: &mut String) {
    let chance = placed.map_or(0, |line| mix(line.order));
    match placed {
        Some(line) if !chance.is_multiple_of(12) => {
            text.clear();
            let visitor = (chance >> 32) % line.person.visitors();
            line.person.push_visitor_id(visitor, text);
            column.append_value(&text);
        }
        _ => column.append_null(),
    }
}

/// Half of the refunds name no currency. A few name another one than their line's.
fn shown_currency(event: &Event) -> Option<&'static str> {
    let own = event.line.currency;
    match (event.step, event.flaw, event.seed >> 32) {
        (Step::Placed, Some(EventFlaw::UnknownCurrency), _) => {
            (!event.seed.is_multiple_of(2)).then_some("SEK")
        }
        (Step::Placed, ..) => Some(own.code()),
        (Step::Refunded { .. }, _, dice) if dice.is_multiple_of(80) => Some(match own {
            Currency::Usd => Currency::Eur.code(),
            _ => Currency::Usd.code(),
        }),
        (Step::Refunded { .. }, _, dice) => dice.is_multiple_of(2).then_some(own.code()),
        _ => None,
    }
}
