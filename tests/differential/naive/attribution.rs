//! Attribution: which click earns each order line, and at which rate (A1 to A5).

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;

use super::clean::{Click, Event, EventType, Sale, in_force};
use crate::world::{Scope, Settings, Tie, World};

/// A counting placed event and what came of it.
pub struct Conversion<'a> {
    pub placed: &'a Event,
    pub sale: &'a Sale,
    pub outcome: Outcome<'a>,
}

pub enum Outcome<'a> {
    Attributed(Earned<'a>),
    NoClick,
    StoreNotJoined,
}

pub struct Earned<'a> {
    pub click: &'a Click,
    pub matched_by: &'static str,
    pub clicks_in_window: usize,
    pub first_click_at: DateTime<Utc>,
    pub seconds_to_order: i64,
    pub commission_rate: Decimal,
    pub rate_source: &'static str,
}

impl<'a> Conversion<'a> {
    pub fn earned(&self) -> Option<&Earned<'a>> {
        match &self.outcome {
            Outcome::Attributed(earned) => Some(earned),
            Outcome::NoClick | Outcome::StoreNotJoined => None,
        }
    }

    pub fn status(&self) -> &'static str {
        match self.outcome {
            Outcome::Attributed(_) => "attributed",
            Outcome::NoClick => "no_click",
            Outcome::StoreNotJoined => "store_not_joined",
        }
    }

    pub fn publisher(&self) -> String {
        self.earned()
            .map_or("(unattributed)".to_string(), |earned| earned.click.publisher_id.clone())
    }
}

pub fn conversions<'a>(
    world: &World,
    clicks: &'a [Click],
    events: &'a [Event],
) -> Vec<Conversion<'a>> {
    let mut conversions = Vec::new();
    for placed in events {
        let EventType::Placed(sale) = &placed.movement else { continue };
        if counts(placed, events, &world.settings) {
            conversions.push(Conversion {
                placed,
                sale,
                outcome: outcome(world, placed, sale, clicks, events),
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

pub fn is_of_line(event: &Event, placed: &Event) -> bool {
    event.order_id == placed.order_id && event.line_id == placed.line_id
}

/// A2, A3.
fn outcome<'a>(
    world: &World,
    placed: &Event,
    sale: &Sale,
    clicks: &'a [Click],
    events: &[Event],
) -> Outcome<'a> {
    let is_member = world.stores.iter().any(|store| {
        store.store_id == sale.store_id && in_force(store.joined_at, store.left_at, placed.event_at)
    });
    if !is_member {
        return Outcome::StoreNotJoined;
    }
    let sightings = sightings(clicks, events);
    let mut candidates: Vec<(&Click, &'static str)> = Vec::new();
    for click in clicks.iter().filter(|click| is_in_reach(click, placed, sale, &world.settings)) {
        if let Some(matched_by) = matched_by(world, click, placed, sale, &sightings) {
            candidates.push((click, matched_by));
        }
    }
    let winner = candidates.iter().max_by_key(|(click, _)| (click.clicked_at, &click.click_id));
    let first_click_at = candidates.iter().map(|(click, _)| click.clicked_at).min();
    let (Some((click, matched_by)), Some(first_click_at)) = (winner, first_click_at) else {
        return Outcome::NoClick;
    };
    let (commission_rate, rate_source) = rate(world, placed, sale);
    Outcome::Attributed(Earned {
        click,
        matched_by,
        clicks_in_window: candidates.len(),
        first_click_at,
        seconds_to_order: (placed.event_at - click.clicked_at).num_seconds(),
        commission_rate,
        rate_source,
    })
}

/// When a visitor and a buyer were seen together.
struct Sighting<'a> {
    visitor_id: &'a String,
    buyer_id: &'a String,
    seen_at: DateTime<Utc>,
}

/// C7: clicks and placed events, counting or not, that name both.
fn sightings<'a>(clicks: &'a [Click], events: &'a [Event]) -> Vec<Sighting<'a>> {
    let mut sightings = Vec::new();
    for click in clicks {
        if let (Some(visitor_id), Some(buyer_id)) = (&click.visitor_id, &click.buyer_id) {
            sightings.push(Sighting { visitor_id, buyer_id, seen_at: click.clicked_at });
        }
    }
    for event in events {
        if let (EventType::Placed(sale), Some(visitor_id)) =
            (&event.movement, &event.logged.visitor_id)
        {
            let buyer_id = &sale.buyer_id;
            sightings.push(Sighting { visitor_id, buyer_id, seen_at: event.event_at });
        }
    }
    sightings
}

/// C5, C7: how the click is known to be the buyer's, for this order line. None if it is not.
fn matched_by(
    world: &World,
    click: &Click,
    placed: &Event,
    sale: &Sale,
    sightings: &[Sighting],
) -> Option<&'static str> {
    if let Some(buyer_id) = &click.buyer_id {
        return (*buyer_id == sale.buyer_id).then_some("buyer");
    }
    let visitor_id = click.visitor_id.as_ref()?;
    let identity = world.identities.iter().find(|identity| {
        identity.visitor_id == *visitor_id
            && in_force(identity.valid_from, identity.valid_to, click.clicked_at)
    });
    if let Some(identity) = identity {
        return (identity.buyer_id == sale.buyer_id).then_some("identities");
    }
    let window = TimeDelta::hours(world.settings.window_hours);
    let latest = sightings
        .iter()
        .filter(|sighting| sighting.visitor_id == visitor_id)
        .filter(|sighting| sighting.seen_at <= placed.event_at)
        .filter(|sighting| placed.event_at - sighting.seen_at <= window)
        .max_by_key(|sighting| (sighting.seen_at, sighting.buyer_id))?;
    let is_buyers = world.settings.from_logs && *latest.buyer_id == sale.buyer_id;
    is_buyers.then_some("logs")
}

/// A1, and the job's `scope`, whoever clicked.
fn is_in_reach(click: &Click, placed: &Event, sale: &Sale, settings: &Settings) -> bool {
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
    is_before && is_in_window && is_in_scope
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
