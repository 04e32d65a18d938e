//! Small nasty worlds: a few buyers, stores and links, and every way a log can be awkward.
//!
//! [`World::random`] makes one up from a seed, [`World::write`] puts it on disk in one of the many
//! forms the program has to read. What should come of it is not known here.

mod arrays;
mod clicks;
mod columns;
mod dice;
mod files;
mod landing;
mod maker;
mod orders;
mod reference;
mod rows;
mod settings;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use chrono::{Days, NaiveDate, NaiveTime, TimeDelta};
use chrono_tz::Tz;

use self::dice::Dice;
use self::files::Writer;
use self::maker::Maker;
pub use self::rows::{FxRate, Identity, Link, Membership, Rate, RawClick, RawEvent};
pub use self::settings::{Scope, Settings, Tie};

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

impl World {
    pub fn random(seed: u64) -> World {
        let mut dice = Dice::new(seed);
        let (time_zone, days) = settings::calendar(&mut dice);
        let settings = Settings::random(&mut dice, time_zone);
        let moments = settings::turning_points(time_zone, &days);
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
        let zone = self.settings.time_zone;
        let mut writer = Writer { dice: Dice::new(!self.seed), dir, zone };
        writer.log("clicks", &self.landed_clicks, &self.clicks, columns::click_columns)?;
        writer.log("orders", &self.landed_orders, &self.orders, columns::event_columns)?;
        let references = [
            ("links", columns::link_columns(&writer.some_twice(&self.links))),
            ("stores", columns::membership_columns(&writer.some_twice(&self.stores))),
            ("rates", columns::rate_columns(&writer.some_twice(&self.rates))),
            ("fx_rates", columns::fx_columns(&writer.some_twice(&self.fx_rates))),
            ("identities", columns::identity_columns(&writer.some_twice(&self.identities))),
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

/// The UTC dates on which the local date `date` has an instant, found minute by minute.
fn utc_dates_touched(time_zone: Tz, date: NaiveDate) -> BTreeSet<NaiveDate> {
    let start = (date - Days::new(1)).and_time(NaiveTime::MIN).and_utc();
    (0..3 * 24 * 60)
        .map(|minute| start + TimeDelta::minutes(minute))
        .filter(|at| at.with_timezone(&time_zone).date_naive() == date)
        .map(|at| at.date_naive())
        .collect()
}
