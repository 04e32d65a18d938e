//! The reference tables: links, memberships, rates, exchange rates, identities. Invents the terms
//! of the program. Refuses to know orders.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use chrono::{DateTime, Datelike, Days, NaiveDate, Utc, Weekday};
use csv::Writer;
use rand::Rng;
use rand_pcg::Pcg64Mcg;

use super::calendar::{Calendar, Span, local_midnight, utc_midnight};
use super::catalog::{CATEGORIES, Catalog, PROGRAM_STORES};
use super::dice::{dice, one_in};

/// The most cookies whose owner the network knows, even in a large world.
const MOST_IDENTITIES: usize = 200_000;
/// Currencies, and the rates with which the world begins, in 10^-8 dollars.
const FX: [(&str, i64); 3] = [("EUR", 108_420_000), ("GBP", 127_150_000), ("JPY", 668_000)];

pub fn write(dir: &Path, seed: u64, calendar: &Calendar, catalog: &Catalog) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let mut rng = dice(seed, 5);
    write_links(&dir.join("links.csv"), catalog)?;
    write_stores(&dir.join("stores.csv"), &mut rng, calendar, catalog)?;
    write_rates(&dir.join("rates.csv"), &mut rng, calendar, catalog)?;
    write_fx_rates(&dir.join("fx_rates.csv"), &mut rng, calendar)?;
    write_identities(&dir.join("identities.csv"), catalog)
}

fn write_links(path: &Path, catalog: &Catalog) -> Result<()> {
    let mut table =
        create(path, &["link_key", "publisher_id", "tracking_id", "valid_from", "valid_to"])?;
    for link in &catalog.links {
        for owner in &link.owners {
            let [from, to] = owner.valid.texts();
            table.write_record([&link.key, &owner.publisher_id, &owner.tracking_id, &from, &to])?;
        }
    }
    Ok(table.flush()?)
}

/// Most stores stay members. Some join, leave, or leave and come back while the world lasts.
fn write_stores(
    path: &Path,
    rng: &mut Pcg64Mcg,
    calendar: &Calendar,
    catalog: &Catalog,
) -> Result<()> {
    let mut table = create(path, &["store_id", "joined_at", "left_at"])?;
    for (store, nth) in catalog.stores.iter().zip(0..PROGRAM_STORES) {
        let long_ago = Some(utc_midnight(calendar.before(rng.random_range(60..900))));
        let memberships = match nth % 10 {
            // The first ten sell most. Without them little would be left.
            _ if nth < 10 => vec![Span { from: long_ago, to: None }],
            3 => vec![Span::since(midnight(calendar.part(15 + nth))?)],
            5 => vec![Span { from: long_ago, to: Some(midnight(calendar.part(35 + nth))?) }],
            8 => vec![
                Span { from: long_ago, to: Some(utc_midnight(calendar.part(20 + nth))) },
                Span::since(utc_midnight(calendar.part(30 + nth))),
            ],
            9 if nth > 30 => {
                vec![Span { from: long_ago, to: Some(utc_midnight(calendar.before(20))) }]
            }
            _ => vec![Span { from: long_ago, to: None }],
        };
        for membership in memberships {
            let [joined_at, left_at] = membership.texts();
            table.write_record([&store.id, &joined_at, &left_at])?;
        }
    }
    Ok(table.flush()?)
}

/// Rates of every scope. Every fifth changes at a midnight of the program. Some are valid for one
/// week only.
fn write_rates(
    path: &Path,
    rng: &mut Pcg64Mcg,
    calendar: &Calendar,
    catalog: &Catalog,
) -> Result<()> {
    let mut terms: Vec<[&str; 3]> = Vec::new();
    terms.extend(CATEGORIES.iter().take(15).map(|category| ["category", category, ""]));
    terms.extend(catalog.stores.iter().step_by(4).map(|store| ["store", &store.id, ""]));
    for product in catalog.products.iter().step_by(27) {
        let store = &catalog.stores[usize::from(product.store)].id;
        terms.push(["product", &product.id, if one_in(rng, 1, 3) { store } else { "" }]);
    }
    for store in catalog.stores.iter().skip(1).step_by(5) {
        if let Some(&first) = store.products.first() {
            terms.push(["category", catalog.products[usize::from(first)].category, &store.id]);
        }
    }

    let mut table =
        create(path, &["scope", "scope_id", "store_id", "rate", "valid_from", "valid_to"])?;
    for (nth, [scope, scope_id, store_id]) in terms.into_iter().enumerate() {
        let changes_on = calendar.part(5 + nth as u32 % 80);
        let change = midnight(changes_on)?;
        let spans = match nth % 10 {
            2 | 7 => vec![Span::until(change), Span::since(change)],
            4 => vec![Span { from: Some(change), to: Some(midnight(changes_on + Days::new(7))?) }],
            _ => vec![Span::default()],
        };
        for span in spans {
            let [from, to] = span.texts();
            let rate = rate_text(rng.random_range(4..24) * 5_000);
            table.write_record([scope, scope_id, store_id, &rate, &from, &to])?;
        }
    }
    Ok(table.flush()?)
}

/// Rates of bank days only, from before the first day to the last. At weekends Friday's applies.
fn write_fx_rates(path: &Path, rng: &mut Pcg64Mcg, calendar: &Calendar) -> Result<()> {
    let mut table = create(path, &["currency", "rate_date", "rate"])?;
    let last = calendar.date(calendar.landing_days());
    for (currency, mut rate) in FX {
        for date in calendar.before(10).iter_days().take_while(|date| *date < last) {
            rate += rate * rng.random_range(-5..=5) / 1_000;
            if !matches!(date.weekday(), Weekday::Sat | Weekday::Sun) {
                let shown = format!("{}.{:08}", rate / 100_000_000, rate % 100_000_000);
                table.write_record([currency, &date.to_string(), &shown])?;
            }
        }
    }
    Ok(table.flush()?)
}

fn write_identities(path: &Path, catalog: &Catalog) -> Result<()> {
    let mut table = create(path, &["visitor_id", "buyer_id"])?;
    let known = catalog.people.busiest_first().flat_map(|person| {
        (0..person.visitors())
            .filter(move |visitor| person.is_identified(*visitor))
            .map(move |visitor| (person, visitor))
    });
    let (mut visitor_id, mut buyer_id) = (String::new(), String::new());
    for (person, visitor) in known.take(MOST_IDENTITIES) {
        visitor_id.clear();
        person.push_visitor_id(visitor, &mut visitor_id);
        buyer_id.clear();
        person.push_buyer_id(&mut buyer_id);
        table.write_record([&visitor_id, &buyer_id])?;
    }
    Ok(table.flush()?)
}

fn create(path: &Path, header: &[&str]) -> Result<Writer<File>> {
    let mut table = Writer::from_path(path).with_context(|| path.display().to_string())?;
    table.write_record(header)?;
    Ok(table)
}

/// Midnight in the program's zone, when terms change.
fn midnight(date: NaiveDate) -> Result<DateTime<Utc>> {
    local_midnight(date).with_context(|| format!("{date} has no midnight in the program's zone"))
}

/// Millionths as a decimal: 85000 is `0.085`.
fn rate_text(millionths: u32) -> String {
    let digits = format!("0.{millionths:06}");
    digits.trim_end_matches('0').to_string()
}
