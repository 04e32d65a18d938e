//! Clicks as rows of the raw click log: their ids, their URLs. Decides nothing: the click has all
//! that is needed.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, StringBuilder, TimestampMicrosecondBuilder};
use arrow::record_batch::RecordBatch;

use super::calendar::{DAY, MINUTE, SECOND};
use super::catalog::Catalog;
use super::clicks::{Click, ClickFlaw};
use super::columns::{append_missing, push_base32, push_digits, push_hex, text_column};
use super::dice::mix;
use super::landing::Arrival;
use super::parts::Table;

/// The raw click log.
pub const LOG: Table<Click> =
    Table { distinct: &["click_id", "url", "buyer_id", "visitor_id"], batch };

fn batch(clicks: &[Arrival<Click>], catalog: &Catalog) -> Result<RecordBatch> {
    let rows = clicks.len();
    let mut click_id = text_column(rows, 20);
    let mut clicked_at = TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC");
    let mut url = text_column(rows, 144);
    let mut buyer_id = text_column(rows, 10);
    let mut visitor_id = text_column(rows, 16);
    let mut store_id = text_column(rows, 10);
    let mut product_id = text_column(rows, 16);
    let mut country = text_column(rows, 2);
    let mut device = text_column(rows, 8);
    let mut text = String::new();

    for Arrival { row: click, .. } in clicks {
        let product = click.product.map(|product| &catalog.products[usize::from(product)]);
        append_id(&mut click_id, click, &mut text);
        clicked_at.append_option(shown_time(click));
        append_url(&mut url, click, catalog, &mut text);
        append_person(&mut buyer_id, &mut visitor_id, &mut device, click, &mut text);
        store_id.append_option(
            product.map(|product| catalog.stores[usize::from(product.store)].id.as_str()),
        );
        product_id.append_option(product.map(|product| product.id.as_str()));
        country.append_option((click.seed >> 8 & 127 != 0).then(|| click.person.country()));
    }

    let columns: [(&str, ArrayRef); 9] = [
        ("click_id", Arc::new(click_id.finish())),
        ("clicked_at", Arc::new(clicked_at.finish())),
        ("url", Arc::new(url.finish())),
        ("buyer_id", Arc::new(buyer_id.finish())),
        ("visitor_id", Arc::new(visitor_id.finish())),
        ("store_id", Arc::new(store_id.finish())),
        ("product_id", Arc::new(product_id.finish())),
        ("country", Arc::new(country.finish())),
        ("device", Arc::new(device.finish())),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(
        columns.map(|(name, column)| (name, column, true)),
    )?)
}

/// Twenty characters: the second, then the click's seed.
fn append_id(column: &mut StringBuilder, click: &Click, text: &mut String) {
    if click.flaw == Some(ClickFlaw::NoId) {
        return append_missing(column, click.seed);
    }
    text.clear();
    push_base32(text, (click.at / SECOND) as u64, 7);
    push_base32(text, click.seed, 13);
    column.append_value(&text);
}

fn shown_time(click: &Click) -> Option<i64> {
    match click.flaw {
        Some(ClickFlaw::NoTime) => None,
        Some(ClickFlaw::InTheFuture) => Some(click.at + (4 + (click.seed % 30) as i64) * DAY),
        Some(ClickFlaw::FastClock) => {
            Some(click.at - click.at % DAY + DAY + click.at % (50 * MINUTE))
        }
        _ => Some(click.at),
    }
}

fn append_url(column: &mut StringBuilder, click: &Click, catalog: &Catalog, text: &mut String) {
    text.clear();
    match click.flaw {
        Some(ClickFlaw::NoPromotionLink) => match click.seed % 4 {
            0 | 1 => return append_missing(column, click.seed),
            2 => text.push_str(
                "https://www.aliexpress.com/w/wholesale-desk-lamp.html?spm=a2g0o.home.search.0",
            ),
            _ => push_page(text, click, catalog),
        },
        Some(ClickFlaw::UnknownLink) => push_short_link(text, "_zQ3mK1x", click),
        _ => {
            let key = &catalog.links[usize::from(click.link)].key;
            if click.seed >> 16 & 7 < 3 {
                push_short_link(text, key, click);
            } else {
                push_page(text, click, catalog);
                push_campaign(text, key, click);
            }
        }
    }
    column.append_value(&text);
}

fn push_short_link(text: &mut String, key: &str, click: &Click) {
    text.push_str("https://s.click.aliexpress.com/e/");
    text.push_str(key);
    text.push_str("?bz=300*250&cn=");
    push_digits(text, click.seed >> 24 & 0xffff, 5);
    text.push_str("&cv=banner&utm_medium=affiliate&dp=");
    push_hex(text, mix(click.seed), 16);
    text.push_str("&terminal_id=");
    push_hex(text, click.seed >> 32, 8);
}

fn push_page(text: &mut String, click: &Click, catalog: &Catalog) {
    match click.product {
        Some(product) => {
            text.push_str("https://www.aliexpress.com/item/");
            text.push_str(&catalog.products[usize::from(product)].id);
            text.push_str(".html?");
        }
        None => text.push_str("https://www.aliexpress.com/ssr/300000512/spring-sale?"),
    }
    text.push_str(if click.seed >> 20 & 1 == 0 { "tt=CPS_NORMAL" } else { "dp=spring_deals" });
}

fn push_campaign(text: &mut String, key: &str, click: &Click) {
    text.push_str("&aff_fcid=");
    push_hex(text, mix(u64::from(click.link)), 16);
    push_hex(text, mix(click.seed), 16);
    text.push('-');
    push_digits(text, (click.at / 1000) as u64, 13);
    text.push('-');
    push_digits(text, click.seed >> 24 & 0xffff, 5);
    text.push('-');
    text.push_str(key);
    match click.seed >> 21 & 7 {
        0 => text.push_str("#nav-description"),
        1 => {}
        _ => text.push_str("&af=web"),
    }
}

/// Six of ten visits by people with an account are logged in. A few send no cookie.
fn append_person(
    buyer_id: &mut StringBuilder,
    visitor_id: &mut StringBuilder,
    device: &mut StringBuilder,
    click: &Click,
    text: &mut String,
) {
    let visitor = (click.seed >> 32 & 0xff) % click.person.visitors();
    if click.person.has_account() && (click.seed >> 40) % 10 < 6 {
        text.clear();
        click.person.push_buyer_id(text);
        buyer_id.append_value(&text);
    } else {
        buyer_id.append_null();
    }
    if click.seed >> 48 & 63 == 0 {
        append_missing(visitor_id, click.seed);
    } else {
        text.clear();
        click.person.push_visitor_id(visitor, text);
        visitor_id.append_value(&text);
    }
    device.append_option((click.seed >> 54 & 127 != 0).then(|| click.person.device(visitor)));
}
