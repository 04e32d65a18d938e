//! Money: what each event of an order line does to its balances (M1 to M7).

use chrono::TimeDelta;
use rust_decimal::Decimal;

use super::attribution::{Conversion, is_of_line};
use super::clean::{Event, EventType};
use crate::world::Settings;

/// One event of a counting line and the change it made (M6).
pub struct Movement<'a> {
    pub conversion: &'a Conversion<'a>,
    pub event: &'a Event,
    pub is_effective: bool,
    /// After the event (M1).
    pub net: Decimal,
    pub net_change: Decimal,
    pub pending_change: Decimal,
    pub approved_change: Decimal,
    /// Gave back the last of the original amount.
    pub is_full_refund: bool,
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
pub fn movements<'a>(
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
        EventType::Refunded(_) if !is_in_currency_of(event, conversion) => false,
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

/// M1: a refund that names no currency is in its line's.
fn is_in_currency_of(refund: &Event, conversion: &Conversion) -> bool {
    refund.logged.currency.as_ref().is_none_or(|currency| *currency == conversion.sale.currency)
}

/// The exact product, rounded to two decimals, half away from zero.
///
/// In integers, for an amount times an fx rate can have more digits than a [`Decimal`] holds.
pub fn product_in_cents(a: Decimal, b: Decimal) -> Decimal {
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
