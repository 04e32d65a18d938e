//! Small nasty worlds: a few buyers, stores and links, and every way a log can be awkward.
//!
//! [`World::random`] makes one up from a seed, [`World::write`] puts it on disk in one of the many
//! forms the program has to read. What should come of it is not known here.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{
    Array, ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, NullArray, StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use rust_decimal::Decimal;

pub struct World {
    pub seed: u64,
    pub settings: Settings,
    /// Each row with the landing date it arrived on.
    pub clicks: Vec<(NaiveDate, RawClick)>,
    pub orders: Vec<(NaiveDate, RawEvent)>,
    /// Landing dates that have landed, with rows or without.
    pub landed_clicks: BTreeSet<NaiveDate>,
    pub landed_orders: BTreeSet<NaiveDate>,
    pub links: Vec<Link>,
    pub stores: Vec<Membership>,
    pub rates: Vec<Rate>,
    pub fx_rates: Vec<FxRate>,
    pub identities: Vec<Identity>,
}

#[derive(Clone)]
pub struct Settings {
    pub time_zone: Tz,
    pub currency: String,
    pub default_rate: Decimal,
    pub window_hours: i64,
    pub tie: Tie,
    pub scope: Scope,
    pub late_days: i64,
    pub order_horizon_days: i64,
    pub formats: Vec<String>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Tie {
    Before,
    AtOrBefore,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Scope {
    Platform,
    Store,
}

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
}

pub struct Link {
    pub link_key: String,
    pub publisher_id: String,
    pub tracking_id: Option<String>,
    pub valid_from: Option<DateTime<Utc>>,
    pub valid_to: Option<DateTime<Utc>>,
}

pub struct Membership {
    pub store_id: String,
    pub joined_at: Option<DateTime<Utc>>,
    pub left_at: Option<DateTime<Utc>>,
}

pub struct Rate {
    pub scope: &'static str,
    pub scope_id: String,
    pub store_id: Option<String>,
    pub rate: Decimal,
    pub valid_from: Option<DateTime<Utc>>,
    pub valid_to: Option<DateTime<Utc>>,
}

pub struct FxRate {
    pub currency: String,
    pub rate_date: NaiveDate,
    pub rate: Decimal,
}

pub struct Identity {
    pub visitor_id: String,
    pub buyer_id: String,
}

impl World {
    pub fn random(seed: u64) -> World {
        let mut dice = Dice(Pcg64Mcg::seed_from_u64(seed));
        let (time_zone, days) = calendar(&mut dice);
        let settings = settings(&mut dice, time_zone);
        let moments = turning_points(time_zone, &days);
        Maker { dice, days, settings, moments, used_ids: BTreeSet::new() }.world(seed)
    }

    /// The report dates that can be run when landing dates after `as_of` are not read (D2, D3), in
    /// order.
    pub fn report_dates_as_of(&self, as_of: Option<NaiveDate>) -> Vec<NaiveDate> {
        let landed = |dt: &NaiveDate| {
            let is_read = as_of.is_none_or(|as_of| *dt <= as_of);
            is_read && self.landed_clicks.contains(dt) && self.landed_orders.contains(dt)
        };
        self.landed_orders
            .iter()
            .copied()
            .filter(|date| utc_dates_touched(self.settings.time_zone, *date).iter().all(landed))
            .collect()
    }

    /// Writes raw logs, reference tables and the job file into `dir`; returns the path of the job
    /// file.
    ///
    /// Files, column types and order of rows are drawn from the seed. The warehouse is to be at
    /// `dir/warehouse`.
    pub fn write(&self, dir: &Path) -> Result<PathBuf> {
        let mut writer = Writer { dice: Dice(Pcg64Mcg::seed_from_u64(!self.seed)), dir };
        writer.log("clicks", &self.landed_clicks, &self.clicks, click_columns)?;
        writer.log("orders", &self.landed_orders, &self.orders, event_columns)?;
        let references = [
            ("links", link_columns(&self.links)),
            ("stores", membership_columns(&self.stores)),
            ("rates", rate_columns(&self.rates)),
            ("fx_rates", fx_columns(&self.fx_rates)),
            ("identities", identity_columns(&self.identities)),
        ];
        let mut inputs =
            vec!["clicks = \"raw/clicks\"".to_string(), "orders = \"raw/orders\"".to_string()];
        for (name, columns) in references {
            let is_optional = ["fx_rates", "identities"].contains(&name);
            let is_empty = columns.iter().all(|column| column.values.len() == 0);
            if is_optional && is_empty && writer.dice.chance(50) {
                continue;
            }
            let file = writer.reference(name, columns)?;
            inputs.push(format!("{name} = \"{file}\""));
        }
        let job = dir.join("job.toml");
        fs::write(&job, format!("[input]\n{}\n\n{}", inputs.join("\n"), self.settings.to_toml()))?;
        Ok(job)
    }
}

impl Settings {
    /// Everything but the inputs; a value that is the default is left out.
    fn to_toml(&self) -> String {
        let mut lines = vec!["[output]".to_string(), "root = \"warehouse\"".to_string()];
        let mut section = |name: &str, settings: &[(&str, String, &str)]| {
            lines.push(format!("\n[{name}]"));
            let differs = settings.iter().filter(|(_, value, default)| value != default);
            lines.extend(differs.map(|(key, value, _)| format!("{key} = {value}")));
        };
        let quoted = |text: &str| format!("\"{text}\"");
        let tie = if self.tie == Tie::Before { "before" } else { "at_or_before" };
        let scope = if self.scope == Scope::Platform { "platform" } else { "store" };
        let formats: Vec<String> =
            self.formats.iter().map(|format| format!("    '{format}',\n")).collect();
        section(
            "program",
            &[
                ("time_zone", quoted(self.time_zone.name()), "\"UTC\""),
                ("currency", quoted(&self.currency), "\"USD\""),
                ("default_rate", quoted(&self.default_rate.to_string()), ""),
            ],
        );
        section(
            "attribution",
            &[
                ("window_hours", self.window_hours.to_string(), "720"),
                ("tie", quoted(tie), "\"before\""),
                ("scope", quoted(scope), "\"platform\""),
            ],
        );
        section(
            "lateness",
            &[
                ("late_days", self.late_days.to_string(), "2"),
                ("order_horizon_days", self.order_horizon_days.to_string(), "90"),
            ],
        );
        section("links", &[("formats", format!("[\n{}]", formats.concat()), "")]);
        lines.join("\n") + "\n"
    }
}

/// The UTC dates on which the local date `date` has an instant, found minute by minute.
fn utc_dates_touched(time_zone: Tz, date: NaiveDate) -> BTreeSet<NaiveDate> {
    let start = (date - Days::new(1)).and_time(NaiveTime::MIN).and_utc();
    (0..3 * 24 * 60)
        .map(|minute| start + TimeDelta::minutes(minute))
        .filter(|at| at.with_timezone(&time_zone).date_naive() == date)
        .map(|at| at.date_naive())
        .collect()
}

// ------------------------------------------------------------------------------------- the setting

struct Dice(Pcg64Mcg);

impl Dice {
    fn chance(&mut self, percent: u32) -> bool {
        self.0.random_range(0..100) < percent
    }

    /// Both ends included.
    fn between(&mut self, low: i64, high: i64) -> i64 {
        self.0.random_range(low..=high)
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.0.random_range(0..of.len())]
    }

    fn text(&mut self, of: &[&str]) -> String {
        self.pick(of).to_string()
    }

    /// One of these, or null, now and then as an empty string.
    fn text_or_null(&mut self, of: &[&str], null_percent: u32) -> Option<String> {
        if !self.chance(null_percent) {
            return Some(self.text(of));
        }
        self.chance(30).then(String::new)
    }

    fn shuffle<T>(&mut self, rows: &mut [T]) {
        for end in (1..rows.len()).rev() {
            rows.swap(end, self.0.random_range(0..=end));
        }
    }
}

/// A time zone, and the landing days: as a rule around a day on which its clocks change.
fn calendar(dice: &mut Dice) -> (Tz, Vec<NaiveDate>) {
    let zones = [
        (chrono_tz::UTC, ["2024-02-29", "2024-12-31"]),
        (chrono_tz::America::Los_Angeles, ["2024-03-10", "2024-11-03"]),
        (chrono_tz::America::Los_Angeles, ["2025-03-09", "2025-11-02"]),
        (chrono_tz::Australia::Lord_Howe, ["2024-04-07", "2024-10-06"]),
        (chrono_tz::America::Santiago, ["2024-04-07", "2024-09-08"]), // changes at midnight
        (chrono_tz::Africa::Cairo, ["2024-04-26", "2024-11-01"]),     // changes at midnight
        (chrono_tz::America::Havana, ["2024-03-10", "2024-11-03"]),   // a midnight twice
        (chrono_tz::Pacific::Kiritimati, ["2024-01-01", "2024-06-30"]), // UTC+14
        (chrono_tz::Asia::Kathmandu, ["2024-01-01", "2024-06-30"]),   // UTC+5:45
    ];
    let (time_zone, changes) = *dice.pick(&zones);
    let change: NaiveDate = dice.text(&changes).parse().expect("a date");
    let length = dice.between(6, 14);
    let shift = if dice.chance(80) { dice.between(1, length - 1) } else { dice.between(-40, 40) };
    let first = change - TimeDelta::days(shift);
    (time_zone, (0..length).map(|day| first + TimeDelta::days(day)).collect())
}

const SHORT_LINK: &str = r"^https?://s\.click\.aliexpress\.com/e/([0-9A-Za-z_-]+)";
const LONG_LINK: &str = r"[?&]aff_fcid=[0-9a-f]{32}-[0-9]{13}-[0-9]{5}-(_?[0-9A-Za-z]+)(?:&|#|$)";
/// Its key may be empty, and may be any text.
const REF_LINK: &str = r"[?&]ref=([^&#]*)";
/// Its group need not take part in the match.
const HOME_LINK: &str = r"^https?://go\.example(?:/r/([0-9A-Za-z]+))?";

fn settings(dice: &mut Dice, time_zone: Tz) -> Settings {
    let mut formats = vec![SHORT_LINK.to_string(), LONG_LINK.to_string()];
    if dice.chance(80) {
        formats.extend([REF_LINK.to_string(), HOME_LINK.to_string()]);
        dice.shuffle(&mut formats);
    }
    let is_default = dice.chance(15);
    Settings {
        time_zone,
        currency: dice.text(&["USD", "USD", "EUR"]),
        default_rate: *dice.pick(&[
            Decimal::new(3, 2),
            Decimal::new(5, 1),
            Decimal::ZERO,
            Decimal::new(85, 3),
        ]),
        window_hours: if is_default {
            720
        } else {
            *dice.pick(&[1, 2, 12, 24, 25, 47, 48, 72, 120])
        },
        tie: *dice.pick(&[Tie::Before, Tie::AtOrBefore]),
        scope: *dice.pick(&[Scope::Platform, Scope::Platform, Scope::Store]),
        late_days: dice.between(0, 3),
        order_horizon_days: if is_default { 90 } else { dice.between(2, 6) },
        formats,
    }
}

/// Instants at which rules change their mind: midnights, local and UTC, and the hours in which
/// clocks may change.
fn turning_points(time_zone: Tz, days: &[NaiveDate]) -> Vec<DateTime<Utc>> {
    let mut points = Vec::new();
    for day in days {
        points.push(day.and_time(NaiveTime::MIN).and_utc());
        for hour in [0, 0, 1, 2] {
            let wall_clock = day.and_time(NaiveTime::MIN) + TimeDelta::hours(hour);
            let instants = time_zone.from_local_datetime(&wall_clock);
            points.extend(
                [instants.earliest(), instants.latest()]
                    .into_iter()
                    .flatten()
                    .map(|at| at.to_utc()),
            );
        }
    }
    points
}

// ------------------------------------------------------------------------------ making up the rows

const BUYERS: [&str; 5] = ["ana", "ben", "cy, \"the\" d", "Ζωή", "42"];
const VISITORS: [&str; 6] = ["v1", "v2", "v3", "v/4", "v'5\"", "6"];
const STORES: [&str; 5] = ["S1", "S2", "7", "Käse, \"Brot\" & Co", "S/5"];
const PRODUCTS: [&str; 5] = ["P1", "P2", "1005", "p,\"3\"", "S1"];
const CATEGORIES: [&str; 4] = ["C1", "C2", "P1", "Çà/là"];
const COUNTRIES: [&str; 4] = ["US", "DE", "(none)", "us"];
const DEVICES: [&str; 3] = ["mobile", "desktop", "tv, \"big\""];
const KEYS: [&str; 6] = ["_abc", "K1", "k1", "77", "ZZ9", "K1x"];
/// Keys that not every link format takes whole.
const STRANGE_KEYS: [&str; 4] = ["K-2", "ключ", "a,b\"c/d", "unknown"];
const TYPES: [&str; 5] = ["placed", "paid", "completed", "cancelled", "refunded"];
const STRANGE_TYPES: [&str; 4] = ["Placed", "shipped", "paid ", ""];
/// Without a rate in any world, or not a currency as written.
const STRANGE_CURRENCIES: [&str; 4] = ["XAU", "usd", "USD ", ""];

struct Maker {
    dice: Dice,
    days: Vec<NaiveDate>,
    settings: Settings,
    /// Instants worth coming back to.
    moments: Vec<DateTime<Utc>>,
    used_ids: BTreeSet<String>,
}

/// The two ends of a validity, as the reference tables write them.
type Span = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

impl Maker {
    fn world(mut self, seed: u64) -> World {
        let links = self.links();
        let stores = self.stores();
        let rates = self.rates();
        let fx_rates = self.fx_rates();
        let identities = self.identities();
        let landed_clicks = self.landed();
        let landed_orders = self.landed();
        let clicks = self.clicks();
        let events = self.events(&clicks, &identities);
        let mut clicks =
            self.land(clicks, |click| &mut click.clicked_at, Maker::vary_click, Maker::spoil_click);
        let mut orders =
            self.land(events, |event| &mut event.event_at, Maker::vary_event, Maker::spoil_event);
        clicks.retain(|(dt, _)| landed_clicks.contains(dt));
        orders.retain(|(dt, _)| landed_orders.contains(dt));
        let settings = self.settings;
        World {
            seed,
            settings,
            clicks,
            orders,
            landed_clicks,
            landed_orders,
            links,
            stores,
            rates,
            fx_rates,
            identities,
        }
    }

    /// All days, or all but one or two of the older ones.
    fn landed(&mut self) -> BTreeSet<NaiveDate> {
        let mut landed: BTreeSet<NaiveDate> = self.days.iter().copied().collect();
        if self.dice.chance(35) {
            let older = &self.days[..self.days.len() - 4];
            for _ in 0..self.dice.between(1, 2) {
                landed.remove(self.dice.pick(older));
            }
        }
        landed
    }

    fn links(&mut self) -> Vec<Link> {
        let mut publishers = vec!["Acorn", "Birch", "Cedar, \"Inc\""];
        if self.dice.chance(5) {
            publishers.push("(unattributed)");
        }
        let mut links = Vec::new();
        for link_key in KEYS.iter().chain(&STRANGE_KEYS[..3]) {
            if self.dice.chance(7) {
                continue;
            }
            for (valid_from, valid_to) in self.spans() {
                let publisher_id = self.dice.text(&publishers);
                let tracking_id =
                    self.dice.chance(60).then(|| self.dice.text(&["t1", "t,2", "(none)"]));
                links.push(Link {
                    link_key: link_key.to_string(),
                    publisher_id,
                    tracking_id,
                    valid_from,
                    valid_to,
                });
            }
        }
        links
    }

    fn stores(&mut self) -> Vec<Membership> {
        let mut stores = Vec::new();
        for store_id in STORES {
            if self.dice.chance(8) {
                continue;
            }
            for (joined_at, left_at) in self.spans() {
                stores.push(Membership { store_id: store_id.to_string(), joined_at, left_at });
            }
        }
        stores
    }

    fn rates(&mut self) -> Vec<Rate> {
        let known = ["0", "1", "0.085", "0.5", "0.333333", "0.005", "0.0125", "0.000001", "0.25"]
            .map(exact);
        let mut rates = Vec::new();
        for (scope, ids) in
            [("product", &PRODUCTS[..]), ("category", &CATEGORIES[..]), ("store", &STORES[..])]
        {
            for scope_id in ids {
                for store_id in [None].into_iter().chain(STORES.map(Some)) {
                    if !self.dice.chance(if store_id.is_none() { 30 } else { 10 }) {
                        continue;
                    }
                    for (valid_from, valid_to) in self.spans() {
                        let (scope_id, store_id) =
                            (scope_id.to_string(), store_id.map(str::to_string));
                        let rate = *self.dice.pick(&known);
                        rates.push(Rate { scope, scope_id, store_id, rate, valid_from, valid_to });
                    }
                }
            }
        }
        rates
    }

    /// With gaps, and sometimes only from the middle of the days on.
    fn fx_rates(&mut self) -> Vec<FxRate> {
        let known = [
            ("USD", ["1.25", "1.085", "0.5", "1.005", "0.93333333"].map(exact)),
            ("EUR", ["1.25", "1.085", "0.5", "1.005", "0.93333333"].map(exact)),
            ("JPY", ["0.00731", "0.005", "0.00000001", "0.5", "0.0105"].map(exact)),
            ("BTC", ["65000.12345678", "100.00000001", "250.5", "101", "40000.5"].map(exact)),
        ];
        let mut fx_rates = Vec::new();
        for (currency, rates) in known {
            // A rate for the program's own currency must make no difference.
            let is_listed = if currency == self.settings.currency { 20 } else { 85 };
            if !self.dice.chance(is_listed) {
                continue;
            }
            let first = self.days[0] + TimeDelta::days(self.dice.between(-3, 4));
            let mut rate_date = first;
            while Some(&rate_date) <= self.days.last() {
                let rate = *self.dice.pick(&rates);
                fx_rates.push(FxRate { currency: currency.to_string(), rate_date, rate });
                rate_date += TimeDelta::days(self.dice.between(1, 3));
            }
        }
        fx_rates.push(FxRate {
            currency: VAULT_CURRENCY.to_string(),
            rate_date: self.days[0],
            rate: exact("100"),
        });
        if self.dice.chance(10) {
            fx_rates.clear();
        }
        fx_rates
    }

    fn identities(&mut self) -> Vec<Identity> {
        let mut identities = Vec::new();
        for visitor_id in VISITORS {
            if self.dice.chance(50) {
                identities.push(Identity {
                    visitor_id: visitor_id.to_string(),
                    buyer_id: self.dice.text(&BUYERS),
                });
            }
        }
        if self.dice.chance(10) {
            identities.clear();
        }
        identities
    }

    /// Validities of one key: touching or with gaps, never overlapping.
    fn spans(&mut self) -> Vec<Span> {
        let long_ago = self.days[0].and_time(NaiveTime::MIN).and_utc() - TimeDelta::days(100);
        let start = self.dice.chance(85).then_some(long_ago);
        if self.dice.chance(45) {
            return vec![(start, None)];
        }
        let mut ends: Vec<DateTime<Utc>> =
            (0..self.dice.between(1, 4)).map(|_| *self.dice.pick(&self.moments)).collect();
        ends.sort();
        ends.dedup();
        let mut bounds = vec![start];
        bounds.extend(ends.into_iter().map(Some));
        bounds.push(None);
        let spans: Vec<Span> = bounds.windows(2).map(|pair| (pair[0], pair[1])).collect();
        spans.into_iter().filter(|_| self.dice.chance(85)).collect()
    }

    /// Some instant of the days: often one that matters to a rule or another row, or a microsecond
    /// beside it.
    fn instant(&mut self) -> DateTime<Utc> {
        if self.dice.chance(30) {
            return *self.dice.pick(&self.moments) + self.jitter();
        }
        let mut at = self.dice.pick(&self.days).and_time(NaiveTime::MIN).and_utc();
        at += TimeDelta::seconds(self.dice.between(0, 24 * 3600 - 1));
        if self.dice.chance(20) {
            at += TimeDelta::microseconds(self.dice.between(0, 999_999));
        }
        if self.dice.chance(20) {
            self.moments.push(at);
        }
        at
    }

    fn jitter(&mut self) -> TimeDelta {
        TimeDelta::microseconds(*self.dice.pick(&[0, 0, 0, -1, 1]))
    }

    fn is_in_the_days(&self, at: DateTime<Utc>) -> bool {
        self.days.contains(&at.date_naive())
    }

    fn fresh_id(&mut self, prefixes: &[&str]) -> String {
        loop {
            let id = format!("{}{}", self.dice.pick(prefixes), self.dice.between(1, 3000));
            if self.used_ids.insert(id.clone()) {
                return id;
            }
        }
    }

    // ---- clicks

    fn clicks(&mut self) -> Vec<RawClick> {
        let mut clicks: Vec<RawClick> = Vec::new();
        for _ in 0..self.dice.between(20, 150) {
            let mut click = RawClick {
                click_id: Some(self.fresh_id(&["c", "C", "ć,", "c\"/"])),
                clicked_at: Some(self.instant()),
                url: Some(self.url()),
                buyer_id: self.dice.text_or_null(&BUYERS, 40),
                visitor_id: self.dice.text_or_null(&VISITORS, 25),
                store_id: self.dice.text_or_null(&STORES, 15),
                product_id: self.dice.text_or_null(&PRODUCTS, 30),
                country: self.dice.text_or_null(&COUNTRIES, 20),
                device: self.dice.text_or_null(&DEVICES, 20),
            };
            // The same buyer again: at the same instant, or just outside its window.
            if let Some(earlier) = clicks.last()
                && self.dice.chance(12)
            {
                click.buyer_id = earlier.buyer_id.clone();
                click.visitor_id = earlier.visitor_id.clone();
                click.clicked_at = earlier.clicked_at.map(|at| at + self.jitter());
            }
            clicks.push(click);
        }
        clicks
    }

    fn url(&mut self) -> String {
        let (key, other) = (self.key(), self.key());
        let fcid = format!("aff_fcid={}-{}-{}", "0f".repeat(16), "1".repeat(13), "2".repeat(5));
        match self.dice.between(0, 13) {
            0..=3 | 13 => format!("https://s.click.aliexpress.com/e/{key}"),
            4 => format!("http://s.click.aliexpress.com/e/{key}?{fcid}-{other}"),
            5 => format!("https://www.aliexpress.com/item/1.html?{fcid}-{key}"),
            6 => format!("https://www.aliexpress.com/item/1.html?sk=1&{fcid}-{key}&aff=1"),
            7 => format!("https://www.aliexpress.com/item/1.html?ref={other}&{fcid}-{key}#top"),
            8 => format!("https://shop.example/p?x=1&ref={key}"),
            9 => format!("https://shop.example/p?ref={key}&ref={other}"),
            10 => format!("https://go.example/r/{key}"),
            _ => self.dice.text(&[
                "https://go.example",
                "https://shop.example/p?ref=",
                "https://s.click.aliexpress.com/e/unknown",
                "https://shop.example/p",
                "https://s_click.aliexpress.com/e/K1",
                "https://www.aliexpress.com/item/1.html?aff_fcid=0f-1-2-K1",
            ]),
        }
    }

    fn key(&mut self) -> String {
        if self.dice.chance(12) { self.dice.text(&STRANGE_KEYS) } else { self.dice.text(&KEYS) }
    }

    fn vary_click(&mut self, click: &mut RawClick) {
        match self.dice.between(0, 7) {
            0 | 1 => click.clicked_at = click.clicked_at.map(|at| at + self.nudge()),
            2 => click.url = Some(self.url()),
            3 => click.buyer_id = self.dice.text_or_null(&BUYERS, 40),
            4 => click.visitor_id = self.dice.text_or_null(&VISITORS, 40),
            5 => click.store_id = self.dice.text_or_null(&STORES, 30),
            6 => click.country = self.dice.text_or_null(&COUNTRIES, 30),
            _ => click.device = self.dice.text_or_null(&DEVICES, 30),
        }
    }

    fn spoil_click(&mut self, click: &mut RawClick) {
        match self.dice.between(0, 5) {
            0 => click.click_id = self.dice.chance(50).then(String::new),
            1 => click.clicked_at = None,
            2 => click.clicked_at = self.far_off(click.clicked_at),
            3 => click.url = self.dice.chance(50).then(String::new),
            4 => click.url = Some("https://shop.example/".to_string()),
            _ => {
                click.clicked_at = None;
                click.url = None;
                click.click_id = Some(String::new());
            }
        }
    }

    /// By a microsecond, or by hours.
    fn nudge(&mut self) -> TimeDelta {
        match self.dice.chance(50) {
            true => self.jitter(),
            false => TimeDelta::hours(self.dice.between(-5, 5)),
        }
    }

    /// Weeks away, or in another age.
    fn far_off(&mut self, at: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        match self.dice.between(0, 9) {
            0 => DateTime::from_timestamp_micros(0),
            1 => NaiveDate::from_ymd_opt(9999, 12, 31)
                .map(|day| day.and_time(NaiveTime::MIN).and_utc()),
            _ => at.map(|at| at + TimeDelta::days(*self.dice.pick(&[-30, -9, -5, 2, 3, 30]))),
        }
    }

    // ---- orders

    fn events(&mut self, clicks: &[RawClick], identities: &[Identity]) -> Vec<RawEvent> {
        let mut events = Vec::new();
        for order in 0..self.dice.between(6, 30) {
            // "O-1" with line "2" and "O" with line "1-2" are two order lines.
            let order_id = match self.dice.chance(25) {
                true => self.dice.text(&["O", "O-1", "1001"]),
                false => format!("{}{order}", self.dice.pick(&["O", "o/", "Ö, ", "\"o\""])),
            };
            let click = self.dice.pick(clicks).clone();
            let (buyer_id, placed_at) = self.buyer_and_time(&click, identities);
            for _ in 0..self.dice.between(1, 3) {
                let mut placed = self.placed(&order_id, &buyer_id, placed_at);
                if self.dice.chance(50)
                    && click.store_id.as_ref().is_some_and(|store_id| !store_id.is_empty())
                {
                    placed.store_id = click.store_id.clone();
                }
                self.order_line(placed, &mut events);
            }
        }
        if self.dice.chance(5) {
            self.vault(&mut events);
        }
        events
    }

    /// Three times in four the order is made from the click: just in its window, just out of it, at
    /// its very instant.
    fn buyer_and_time(
        &mut self,
        click: &RawClick,
        identities: &[Identity],
    ) -> (String, DateTime<Utc>) {
        let named = click.buyer_id.clone().filter(|buyer_id| !buyer_id.is_empty());
        let known = identities
            .iter()
            .find(|identity| Some(&identity.visitor_id) == click.visitor_id.as_ref());
        let buyer_id = named
            .or(known.map(|identity| identity.buyer_id.clone()))
            .unwrap_or(self.dice.text(&BUYERS));
        let window = TimeDelta::hours(self.settings.window_hours);
        let later = match self.dice.between(0, 9) {
            0..=1 => window + self.jitter(),
            2 => self.jitter(),
            3..=7 => TimeDelta::seconds(self.dice.between(1, window.num_seconds())),
            _ => return (buyer_id, self.instant()),
        };
        let placed_at = click.clicked_at.map(|at| at + later).filter(|at| self.is_in_the_days(*at));
        (buyer_id, placed_at.unwrap_or_else(|| self.instant()))
    }

    fn placed(&mut self, order_id: &str, buyer_id: &str, placed_at: DateTime<Utc>) -> RawEvent {
        let currency = match self.dice.between(0, 19) {
            0..=12 => self.settings.currency.clone(),
            13..=18 => self.dice.text(&["USD", "EUR", "JPY", "BTC"]),
            _ => self.dice.text(&STRANGE_CURRENCIES),
        };
        RawEvent {
            event_type: Some("placed".to_string()),
            event_at: Some(placed_at),
            line_id: Some(self.dice.text(&["1", "2", "1-2", "l,\"3\""])),
            buyer_id: Some(buyer_id.to_string()),
            store_id: Some(if self.dice.chance(5) {
                "S9".to_string()
            } else {
                self.dice.text(&STORES)
            }),
            amount: Some(self.amount()),
            currency: Some(currency),
            product_id: self.dice.text_or_null(&PRODUCTS, 20),
            category_id: self.dice.text_or_null(&CATEGORIES, 30),
            quantity: self.dice.chance(60).then(|| *self.dice.pick(&[1, 1, 2, 3, 0, -1, i64::MAX])),
            ..self.event(order_id)
        }
    }

    /// An event that says no more than it must.
    fn event(&mut self, order_id: &str) -> RawEvent {
        RawEvent {
            event_id: Some(self.fresh_id(&["e", "E", "é,", "e\"/"])),
            event_type: None,
            event_at: None,
            order_id: Some(order_id.to_string()),
            line_id: None,
            buyer_id: None,
            store_id: None,
            amount: None,
            currency: None,
            product_id: None,
            category_id: None,
            quantity: None,
            country: self.dice.text_or_null(&COUNTRIES, 50),
            reason: self.dice.text_or_null(&["too small", "he said \"no\", twice", "größe"], 70),
        }
    }

    /// Amounts that make halves with the rates above, and some at the ends of what is allowed.
    fn amount(&mut self) -> Decimal {
        match self.dice.between(0, 99) {
            0..=49 => Decimal::new(self.dice.between(1, 300), 2),
            50..=69 => Decimal::new(self.dice.between(1, 30_000), 4),
            70..=84 => Decimal::new(self.dice.between(1, 500), 0),
            85..=90 => Decimal::ZERO,
            91..=95 => Decimal::new(self.dice.between(1, 99) * 1_000_000, 7), // ends in zeros
            96 => exact("99999999999999.9999"),
            97 => exact("99999999999999"),
            _ => self.bad_amount(),
        }
    }

    fn bad_amount(&mut self) -> Decimal {
        let bad = [
            "-0.01",
            "-5",
            "1.23456",
            "0.00001",
            "100000000000000",
            "100000000000000000000",
            "12345678901234567.5",
        ];
        exact(&self.dice.text(&bad))
    }

    /// A placed event with what follows it; sometimes the line is placed again, sometimes the
    /// placed event is missing.
    fn order_line(&mut self, placed: RawEvent, events: &mut Vec<RawEvent>) {
        self.follow_ups(&placed, events);
        let horizon = TimeDelta::days(self.settings.order_horizon_days);
        let mut last = placed.clone();
        while self.dice.chance(25) {
            let mut again = last.clone();
            again.event_id = Some(self.fresh_id(&["e", "E", "é,", "e\"/"]));
            let later = match self.dice.between(0, 5) {
                0 => TimeDelta::zero(),
                1..=3 => horizon + self.jitter(),
                4 => TimeDelta::seconds(self.dice.between(1, horizon.num_seconds())),
                _ => horizon + TimeDelta::seconds(self.dice.between(1, 24 * 3600)),
            };
            again.event_at = again.event_at.map(|at| at + later);
            if self.dice.chance(50) {
                again.amount = Some(self.amount());
                again.buyer_id = Some(self.dice.text(&BUYERS));
            }
            self.follow_ups(&again, events);
            events.push(again.clone());
            last = again;
        }
        if self.dice.chance(92) {
            events.push(placed);
        }
    }

    /// Paid, completed, cancelled and refunded in any order, at equal instants, at the horizon,
    /// before the order.
    fn follow_ups(&mut self, placed: &RawEvent, events: &mut Vec<RawEvent>) {
        let (Some(placed_at), Some(order_id)) = (placed.event_at, &placed.order_id) else { return };
        let horizon = TimeDelta::days(self.settings.order_horizon_days);
        let mut at = placed_at;
        for _ in 0..self.dice.between(0, 6) {
            at = match self.dice.between(0, 15) {
                0..=3 => at,
                4 => at + TimeDelta::microseconds(1),
                5..=11 => at + TimeDelta::seconds(self.dice.between(1, 12 * 3600)),
                12 | 13 => placed_at + horizon + self.jitter(),
                14 => self.instant(),
                _ => placed_at - TimeDelta::microseconds(*self.dice.pick(&[1, 3_600_000_000])),
            };
            let event_type = self.dice.text(&[
                "paid",
                "paid",
                "paid",
                "completed",
                "completed",
                "cancelled",
                "refunded",
                "refunded",
                "refunded",
            ]);
            let amount = match event_type.as_str() {
                "refunded" => Some(self.part_of(placed.amount.unwrap_or_default())),
                _ => self.dice.chance(20).then(|| self.amount()), // to be ignored
            };
            events.push(RawEvent {
                event_type: Some(event_type),
                event_at: Some(at),
                line_id: placed.line_id.clone(),
                amount,
                currency: self.dice.text_or_null(&["USD", "XXX"], 80),
                store_id: self.dice.text_or_null(&STORES, 80),
                buyer_id: self.dice.text_or_null(&BUYERS, 80),
                ..self.event(order_id)
            });
        }
    }

    /// Some of it, all of it, more than all of it.
    fn part_of(&mut self, amount: Decimal) -> Decimal {
        match self.dice.between(0, 9) {
            0..=2 => amount,
            3..=5 => (amount / Decimal::TWO).round_dp(4),
            6 => amount + amount,
            7 => exact("0.0001"),
            8 => exact("0.01"),
            _ => self.amount(),
        }
    }

    /// The dearest line there can be, alone in its store so that no sum outgrows its column.
    fn vault(&mut self, events: &mut Vec<RawEvent>) {
        let placed_at = self.instant();
        let mut placed = self.placed("Vault", "vault", placed_at);
        placed.store_id = Some("Vault".to_string());
        placed.amount = Some(exact("99999999999999.9999"));
        placed.currency = Some(VAULT_CURRENCY.to_string());
        self.follow_ups(&placed, events);
        events.push(placed);
    }

    fn vary_event(&mut self, event: &mut RawEvent) {
        if event.order_id.as_deref() == Some("Vault") {
            return;
        }
        match self.dice.between(0, 9) {
            0 | 1 => event.event_at = event.event_at.map(|at| at + self.nudge()),
            2 => event.line_id = Some(self.dice.text(&["1", "2", "1-2"])),
            3 => event.store_id = self.dice.text_or_null(&STORES, 20),
            4 => event.buyer_id = self.dice.text_or_null(&BUYERS, 20),
            5 => {
                event.amount = event
                    .amount
                    .filter(|amount| *amount < Decimal::ONE_THOUSAND)
                    .map(|amount| amount / Decimal::TWO)
            }
            6 => event.product_id = self.dice.text_or_null(&PRODUCTS, 40),
            7 => event.quantity = self.dice.chance(60).then_some(9),
            8 => event.country = self.dice.text_or_null(&COUNTRIES, 50),
            _ => event.reason = self.dice.text_or_null(&["a", "B", "ä"], 30),
        }
    }

    fn spoil_event(&mut self, event: &mut RawEvent) {
        match self.dice.between(0, 11) {
            0 => event.event_id = self.dice.chance(50).then(String::new),
            1 => event.event_at = None,
            2 => event.event_at = self.far_off(event.event_at),
            3 => event.event_type = self.dice.chance(80).then(|| self.dice.text(&STRANGE_TYPES)),
            4 => event.order_id = self.dice.chance(50).then(String::new),
            5 => event.line_id = self.dice.chance(50).then(String::new),
            6 => event.buyer_id = self.dice.chance(50).then(String::new),
            7 => event.store_id = self.dice.chance(50).then(String::new),
            8 => event.amount = None,
            9 => event.amount = Some(self.bad_amount()),
            10 => {
                event.currency = self.dice.chance(80).then(|| self.dice.text(&STRANGE_CURRENCIES))
            }
            _ => {
                event.buyer_id = None;
                event.store_id = None;
                event.amount = None;
                event.currency = None;
                event.event_type = Some(self.dice.text(&TYPES));
            }
        }
    }

    // ---- landing

    /// Delivers each row: on time, late or early, once or more often, sometimes spoiled.
    fn land<R: Clone>(
        &mut self,
        rows: Vec<R>,
        time_of: fn(&mut R) -> &mut Option<DateTime<Utc>>,
        vary: fn(&mut Maker, &mut R),
        spoil: fn(&mut Maker, &mut R),
    ) -> Vec<(NaiveDate, R)> {
        let mut landed = Vec::new();
        for mut row in rows {
            let Some(at) = *time_of(&mut row) else { continue };
            let dt = self.landing_date(at);
            if self.dice.chance(18) {
                for _ in 0..self.dice.between(1, 2) {
                    let mut copy = row.clone();
                    landed.push(self.copy(dt, &mut copy, time_of, vary, spoil));
                }
            }
            if self.dice.chance(4) {
                *time_of(&mut row) = Some(self.edge_of(dt));
            }
            if self.dice.chance(7) {
                spoil(self, &mut row);
            }
            landed.push((dt, row));
        }
        landed
    }

    fn landing_date(&mut self, at: DateTime<Utc>) -> NaiveDate {
        let late_days = self.settings.late_days;
        let days = match self.dice.between(0, 99) {
            0..=64 => 0,
            65..=89 => self.dice.between(0, late_days),
            90..=92 => -1,
            93..=95 => late_days + 1,
            _ => late_days,
        };
        at.date_naive() + TimeDelta::days(days)
    }

    /// A second delivery: the same or nearly the same, or the id again for another row at the edge
    /// of C3's reach.
    fn copy<R>(
        &mut self,
        dt: NaiveDate,
        row: &mut R,
        time_of: fn(&mut R) -> &mut Option<DateTime<Utc>>,
        vary: fn(&mut Maker, &mut R),
        spoil: fn(&mut Maker, &mut R),
    ) -> (NaiveDate, R)
    where
        R: Clone,
    {
        let late_days = self.settings.late_days;
        let mut days = if self.dice.chance(40) { 0 } else { self.dice.between(-1, late_days + 1) };
        match self.dice.between(0, 11) {
            0..=4 => {}
            5..=8 => vary(self, row),
            9 | 10 => {
                days = late_days + self.dice.between(1, 3);
                if let Some(at) = time_of(row) {
                    *at += TimeDelta::days(days);
                }
            }
            _ => spoil(self, row),
        }
        (dt + TimeDelta::days(days), row.clone())
    }

    /// The first and the last instant that may land on `dt`, and their neighbours outside.
    fn edge_of(&mut self, dt: NaiveDate) -> DateTime<Utc> {
        let midnight = dt.and_time(NaiveTime::MIN).and_utc();
        let first = midnight - TimeDelta::days(self.settings.late_days);
        let end = midnight + TimeDelta::hours(25);
        let instant = TimeDelta::microseconds(1);
        *self.dice.pick(&[first, first - instant, end, end - instant])
    }
}

/// At 100 units of program currency for one, its dearest line is the dearest there can be.
const VAULT_CURRENCY: &str = "CHF";

fn exact(number: &str) -> Decimal {
    Decimal::from_str_exact(number).expect("a decimal number")
}

// --------------------------------------------------------------------------------- rows as columns

struct Column {
    name: &'static str,
    is_optional: bool,
    values: Values,
}

enum Values {
    Text(Vec<Option<String>>),
    Instant(Vec<Option<DateTime<Utc>>>),
    /// An end of a validity: an instant, or a date alone for its 00:00 UTC.
    End(Vec<Option<DateTime<Utc>>>),
    Day(Vec<Option<NaiveDate>>),
    Amount(Vec<Option<Decimal>>),
    Whole(Vec<Option<i64>>),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Values::Text(values) => values.len(),
            Values::Instant(values) | Values::End(values) => values.len(),
            Values::Day(values) => values.len(),
            Values::Amount(values) => values.len(),
            Values::Whole(values) => values.len(),
        }
    }

    fn are_all_null(&self) -> bool {
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

fn click_columns(rows: &[RawClick]) -> Vec<Column> {
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

fn event_columns(rows: &[RawEvent]) -> Vec<Column> {
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
    ]
}

fn link_columns(rows: &[Link]) -> Vec<Column> {
    vec![
        required("link_key", names(rows, |row| &row.link_key)),
        required("publisher_id", names(rows, |row| &row.publisher_id)),
        optional("tracking_id", texts(rows, |row| &row.tracking_id)),
        required("valid_from", ends(rows, |row| row.valid_from)),
        required("valid_to", ends(rows, |row| row.valid_to)),
    ]
}

fn membership_columns(rows: &[Membership]) -> Vec<Column> {
    vec![
        required("store_id", names(rows, |row| &row.store_id)),
        required("joined_at", ends(rows, |row| row.joined_at)),
        required("left_at", ends(rows, |row| row.left_at)),
    ]
}

fn rate_columns(rows: &[Rate]) -> Vec<Column> {
    vec![
        required("scope", names(rows, |row| row.scope)),
        required("scope_id", names(rows, |row| &row.scope_id)),
        optional("store_id", texts(rows, |row| &row.store_id)),
        required("rate", amounts(rows, |row| Some(row.rate))),
        required("valid_from", ends(rows, |row| row.valid_from)),
        required("valid_to", ends(rows, |row| row.valid_to)),
    ]
}

fn fx_columns(rows: &[FxRate]) -> Vec<Column> {
    vec![
        required("currency", names(rows, |row| &row.currency)),
        required("rate_date", Values::Day(rows.iter().map(|row| Some(row.rate_date)).collect())),
        required("rate", amounts(rows, |row| Some(row.rate))),
    ]
}

fn identity_columns(rows: &[Identity]) -> Vec<Column> {
    vec![
        required("visitor_id", names(rows, |row| &row.visitor_id)),
        required("buyer_id", names(rows, |row| &row.buyer_id)),
    ]
}

// -------------------------------------------------------------------------------- columns as files

/// Draws one of the forms that section 2 allows, for every file and column anew.
struct Writer<'a> {
    dice: Dice,
    dir: &'a Path,
}

impl Writer<'_> {
    fn log<R: Clone>(
        &mut self,
        name: &str,
        landed: &BTreeSet<NaiveDate>,
        rows: &[(NaiveDate, R)],
        columns: fn(&[R]) -> Vec<Column>,
    ) -> Result<()> {
        let (Some(first), Some(last)) = (landed.first(), landed.last()) else { return Ok(()) };
        for dt in first.iter_days().take_while(|dt| dt <= last) {
            let folder = self.dir.join(format!("raw/{name}/dt={dt}"));
            if !landed.contains(&dt) {
                self.leave_unlanded(&folder)?;
                continue;
            }
            fs::create_dir_all(&folder)?;
            let mut own: Vec<R> = rows
                .iter()
                .filter(|(row_dt, _)| *row_dt == dt)
                .map(|(_, row)| row.clone())
                .collect();
            if own.is_empty() && self.dice.chance(50) {
                fs::write(folder.join("_SUCCESS"), "")?;
                continue;
            }
            self.dice.shuffle(&mut own);
            self.clutter(&folder)?;
            let files = self.dice.between(1, 3) as usize;
            for (number, part) in own.chunks(own.len() / files + 1).enumerate() {
                let style = *self.dice.pick(&["part-0000", "late file ", "."]);
                let prefix = if style == "." { "" } else { style };
                self.parquet(&folder.join(format!("{prefix}{number}.parquet")), columns(part))?;
            }
            if own.is_empty() {
                self.parquet(&folder.join("empty.parquet"), columns(&own))?;
            }
        }
        Ok(())
    }

    /// A folder may be there already; only an object in the folder itself makes the date landed.
    fn leave_unlanded(&mut self, folder: &Path) -> Result<()> {
        if self.dice.chance(40) {
            fs::create_dir_all(folder.join("_temporary"))?;
            fs::write(folder.join("_temporary/0.parquet"), "half a file")?;
        }
        Ok(())
    }

    /// Files that are no data.
    fn clutter(&mut self, folder: &Path) -> Result<()> {
        for name in ["_SUCCESS", "_half.parquet", ".hidden.parquet", "notes.txt", "0.parquet.crc"] {
            if self.dice.chance(8) {
                fs::write(folder.join(name), "no data")?;
            }
        }
        Ok(())
    }

    /// As CSV or Parquet; returns the path from the job file.
    fn reference(&mut self, name: &str, columns: Vec<Column>) -> Result<String> {
        fs::create_dir_all(self.dir.join("reference"))?;
        let is_csv = self.dice.chance(70);
        let file = format!("reference/{name}.{}", if is_csv { "csv" } else { "parquet" });
        match is_csv {
            true => self.csv(&self.dir.join(&file), columns)?,
            false => self.parquet(&self.dir.join(&file), columns)?,
        }
        Ok(file)
    }

    /// In any order, perhaps without the optional columns that say nothing.
    fn drawn(&mut self, mut columns: Vec<Column>) -> Vec<Column> {
        columns.retain(|column| {
            !(column.is_optional && column.values.are_all_null() && self.dice.chance(50))
        });
        self.dice.shuffle(&mut columns);
        columns
    }

    fn csv(&mut self, path: &Path, columns: Vec<Column>) -> Result<()> {
        let columns = self.drawn(columns);
        let rows = columns.first().map_or(0, |column| column.values.len());
        let quotes_all = self.dice.chance(20);
        let has_extra = self.dice.chance(15);
        let line_end = if self.dice.chance(20) { "\r\n" } else { "\n" };
        let mut text = if self.dice.chance(20) { "\u{feff}".to_string() } else { String::new() };
        let mut line = |mut cells: Vec<String>, extra: &str| {
            if has_extra {
                cells.push(extra.to_string());
            }
            let cells: Vec<String> = cells.iter().map(|cell| csv_cell(cell, quotes_all)).collect();
            text.push_str(&cells.join(","));
            text.push_str(line_end);
        };
        line(columns.iter().map(|column| column.name.to_string()).collect(), "remark");
        for row in 0..rows {
            line(
                columns.iter().map(|column| self.csv_text(&column.values, row)).collect(),
                "see \"wiki\", p. 3",
            );
        }
        fs::write(path, text)?;
        Ok(())
    }

    fn csv_text(&mut self, values: &Values, row: usize) -> String {
        match values {
            Values::Text(values) => values[row].clone().unwrap_or_default(),
            Values::Instant(values) | Values::End(values) => {
                values[row].map_or(String::new(), |at| self.instant_text(at))
            }
            Values::Day(values) => values[row].map_or(String::new(), |day| day.to_string()),
            Values::Amount(values) => {
                values[row].map_or(String::new(), |amount| amount.to_string())
            }
            Values::Whole(values) => values[row].map_or(String::new(), |whole| whole.to_string()),
        }
    }

    /// A date alone where it is 00:00 UTC; otherwise with a zone, with another zone, or without.
    fn instant_text(&mut self, at: DateTime<Utc>) -> String {
        if at.time() == NaiveTime::MIN && self.dice.chance(60) {
            return at.date_naive().to_string();
        }
        let two_hours_on = at + TimeDelta::hours(2);
        match self.dice.between(0, 3) {
            0 => at.format("%Y-%m-%dT%H:%M:%S%.fZ").to_string(),
            1 => at.format("%Y-%m-%dT%H:%M:%S%.f").to_string(),
            2 => at.format("%Y-%m-%d %H:%M:%S%.f").to_string(),
            _ => two_hours_on.format("%Y-%m-%dT%H:%M:%S%.f+02:00").to_string(),
        }
    }

    fn parquet(&mut self, path: &Path, columns: Vec<Column>) -> Result<()> {
        let columns = self.drawn(columns);
        let rows = columns.first().map_or(0, |column| column.values.len());
        let mut fields = Vec::new();
        let mut arrays: Vec<ArrayRef> = Vec::new();
        let mut put = |name: &str, array: ArrayRef, is_nullable: bool| {
            fields.push(Field::new(name, array.data_type().clone(), is_nullable));
            arrays.push(array);
        };
        for column in &columns {
            let array = self.array(&column.values)?;
            let is_nullable = array.logical_null_count() > 0 || self.dice.chance(80);
            put(column.name, array, is_nullable);
        }
        if self.dice.chance(15) {
            put("score", Arc::new(Float64Array::from(vec![0.5; rows])), true);
        }
        if self.dice.chance(15) {
            put("note", Arc::new(StringArray::from(vec![None::<&str>; rows])), true);
        }
        let schema = Arc::new(Schema::new(fields));
        let compression = *self.dice.pick(&[Compression::UNCOMPRESSED, Compression::SNAPPY]);
        let properties = WriterProperties::builder().set_compression(compression).build();
        let mut writer =
            ArrowWriter::try_new(File::create(path)?, schema.clone(), Some(properties))?;
        let batch = RecordBatch::try_new(schema, arrays)?;
        let rows_in_a_group = self.dice.between(1, 50) as usize;
        for start in (0..rows).step_by(rows_in_a_group) {
            writer.write(&batch.slice(start, rows_in_a_group.min(rows - start)))?;
            writer.flush()?;
        }
        writer.close()?;
        Ok(())
    }

    fn array(&mut self, values: &Values) -> Result<ArrayRef> {
        if values.are_all_null() && self.dice.chance(30) {
            return Ok(Arc::new(NullArray::new(values.len())));
        }
        match values {
            Values::Text(values) => self.text_array(values),
            Values::Instant(values) => self.instant_array(values),
            Values::End(values) => self.end_array(values),
            Values::Day(values) => Ok(day_array(values)),
            Values::Amount(values) => self.amount_array(values),
            Values::Whole(values) => Ok(Arc::new(Int64Array::from(values.clone()))),
        }
    }

    fn text_array(&mut self, values: &[Option<String>]) -> Result<ArrayRef> {
        let text: ArrayRef = Arc::new(StringArray::from(values.to_vec()));
        let is_whole =
            |text: &String| text.parse::<i64>().is_ok_and(|whole| whole.to_string() == *text);
        if values.iter().flatten().all(is_whole) && self.dice.chance(50) {
            return Ok(cast(&text, &DataType::Int64)?);
        }
        let dictionary =
            |of: DataType| DataType::Dictionary(Box::new(DataType::Int32), Box::new(of));
        let forms = [
            DataType::Utf8,
            DataType::Utf8,
            DataType::LargeUtf8,
            DataType::Utf8View,
            dictionary(DataType::Utf8),
            dictionary(DataType::LargeUtf8),
        ];
        Ok(cast(&text, self.dice.pick(&forms))?)
    }

    fn end_array(&mut self, values: &[Option<DateTime<Utc>>]) -> Result<ArrayRef> {
        if values.iter().flatten().all(|at| at.time() == NaiveTime::MIN) && self.dice.chance(50) {
            let days: Vec<Option<NaiveDate>> =
                values.iter().map(|at| at.map(|at| at.date_naive())).collect();
            return Ok(day_array(&days));
        }
        self.instant_array(values)
    }

    /// In a unit that holds every value exactly; nanoseconds may say more than is kept of them.
    fn instant_array(&mut self, values: &[Option<DateTime<Utc>>]) -> Result<ArrayRef> {
        let are_all =
            |holds: fn(DateTime<Utc>) -> bool| values.iter().flatten().all(|at| holds(*at));
        let mut units = vec![TimeUnit::Microsecond, TimeUnit::Microsecond];
        if are_all(|at| at.timestamp_nanos_opt().is_some()) {
            units.push(TimeUnit::Nanosecond);
        }
        if are_all(|at| at.nanosecond() % 1_000_000 == 0) {
            units.push(TimeUnit::Millisecond);
        }
        if are_all(|at| at.nanosecond() == 0) {
            units.push(TimeUnit::Second);
        }
        let zones =
            [None, None, Some("UTC"), Some("+00:00"), Some("America/New_York"), Some("+05:30")];
        let (unit, zone) = (*self.dice.pick(&units), *self.dice.pick(&zones));
        let whole: Vec<Option<i64>> = match unit {
            TimeUnit::Second => values.iter().map(|at| at.map(|at| at.timestamp())).collect(),
            TimeUnit::Millisecond => {
                values.iter().map(|at| at.map(|at| at.timestamp_millis())).collect()
            }
            TimeUnit::Microsecond => {
                values.iter().map(|at| at.map(|at| at.timestamp_micros())).collect()
            }
            TimeUnit::Nanosecond => {
                let finer = self.dice.between(0, 999);
                values
                    .iter()
                    .map(|at| at.and_then(|at| at.timestamp_nanos_opt()).map(|at| at + finer))
                    .collect()
            }
        };
        Ok(cast(&Int64Array::from(whole), &DataType::Timestamp(unit, zone.map(Arc::from)))?)
    }

    /// Decimals with room to spare, or whole numbers where there is nothing behind the point.
    fn amount_array(&mut self, values: &[Option<Decimal>]) -> Result<ArrayRef> {
        let exact: Vec<Option<Decimal>> =
            values.iter().map(|amount| amount.map(|amount| amount.normalize())).collect();
        let whole: Vec<Option<i64>> = exact
            .iter()
            .map(|amount| amount.filter(|amount| amount.scale() == 0)?.mantissa().try_into().ok())
            .collect();
        let are_all_whole =
            exact.iter().zip(&whole).all(|(amount, whole)| amount.is_some() == whole.is_some());
        if are_all_whole && self.dice.chance(40) {
            return Ok(Arc::new(Int64Array::from(whole)));
        }
        let decimals = exact.iter().flatten().map(Decimal::scale).max().unwrap_or(0)
            + self.dice.between(0, 4) as u32;
        let unscaled = |amount: Decimal| amount.mantissa() * 10_i128.pow(decimals - amount.scale());
        let unscaled: Vec<Option<i128>> =
            exact.into_iter().map(|amount| amount.map(unscaled)).collect();
        let digits = unscaled
            .iter()
            .flatten()
            .map(|amount| amount.abs().to_string().len())
            .max()
            .unwrap_or(1);
        let precision = self.dice.between((digits as i64).max(decimals as i64).max(1), 38) as u8;
        let scale = decimals as i8;
        let narrow = Decimal128Array::from(unscaled).with_precision_and_scale(precision, scale)?;
        let form = match self.dice.between(0, 9) {
            0 => DataType::Decimal256(precision, scale),
            1 if precision <= 18 => DataType::Decimal64(precision, scale),
            2 if precision <= 9 => DataType::Decimal32(precision, scale),
            _ => DataType::Decimal128(precision, scale),
        };
        Ok(cast(&narrow, &form)?)
    }
}

fn csv_cell(cell: &str, quotes_all: bool) -> String {
    match quotes_all || cell.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_string(),
    }
}

fn day_array(values: &[Option<NaiveDate>]) -> ArrayRef {
    let days =
        values.iter().map(|day| day.map(|day| (day - NaiveDate::default()).num_days() as i32));
    Arc::new(Date32Array::from_iter(days))
}
