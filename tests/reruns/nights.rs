//! Nights go by while reference tables change under them. What the nights leave outdated is known,
//! named, and made by `backfill --stale`: then the tables are those that one backfill makes.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use chrono::{NaiveDate, NaiveDateTime, TimeDelta};
use futures::TryStreamExt;
use lookback::plan::{DateSelection, Rebuild};
use lookback::summary::Summary;
use lookback::warehouse::Warehouse;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg32;

use crate::in_memory::{World, afresh, made_afresh, wait_for, world};
use crate::stale::land_once_more;

const DAYS: usize = 8;

/// A world of which nothing has landed yet.
pub struct Unlanded {
    pub world: World,
    /// The raw objects by landing date.
    raw: BTreeMap<NaiveDate, Vec<(Path, bytes::Bytes)>>,
}

impl Unlanded {
    pub async fn new(world: World) -> Unlanded {
        let objects: Vec<Path> = world
            .store
            .list(Some(&Path::from("raw")))
            .map_ok(|object| object.location)
            .try_collect()
            .await
            .unwrap();
        let mut raw: BTreeMap<NaiveDate, Vec<(Path, bytes::Bytes)>> = BTreeMap::new();
        for path in objects {
            let content = world.store.get(&path).await.unwrap().bytes().await.unwrap();
            world.store.delete(&path).await.unwrap();
            let date = path.parts().find_map(|part| {
                part.as_ref().strip_prefix("dt=").map(|date| date.parse().unwrap())
            });
            raw.entry(date.unwrap()).or_default().push((path, content));
        }
        Unlanded { world, raw }
    }

    pub fn fork(&self) -> Unlanded {
        Unlanded { world: self.world.fork(), raw: self.raw.clone() }
    }

    /// Lets the objects of a landing date land, again perhaps.
    pub async fn land(&self, dt: NaiveDate) {
        for (path, content) in self.raw.get(&dt).into_iter().flatten() {
            self.world.store.put(path, content.clone().into()).await.unwrap();
        }
    }

    pub async fn has_landed(&self, dt: NaiveDate) -> bool {
        self.world.store.head(&self.raw[&dt][0].0).await.is_ok()
    }

    /// Lets everything land up to a date.
    pub async fn land_up_to(&self, last: NaiveDate) {
        for dt in self.raw.keys().filter(|dt| **dt <= last) {
            self.land(*dt).await;
        }
    }

    pub async fn take_away(&self, dt: NaiveDate) {
        for (path, _) in self.raw.get(&dt).into_iter().flatten() {
            self.world.store.delete(path).await.unwrap();
        }
    }

    /// A nightly run, once the date's last landing date is there.
    pub async fn night(&self, day: usize) -> Summary {
        let date = self.world.date(day);
        let summary = self.world.run(DateSelection::Night(date)).await;
        summary.unwrap_or_else(|stop| panic!("night of {date}: {stop}"))
    }

    pub async fn land_and_run(&self, day: usize) -> Summary {
        for dt in self.raw.keys().filter(|dt| **dt <= self.world.date(day).succ_opt().unwrap()) {
            if !self.has_landed(*dt).await {
                self.land(*dt).await;
            }
        }
        self.night(day).await
    }

    /// Texts of some columns of all raw rows of a log.
    fn columns(&self, log: &str, names: [&str; 3]) -> Vec<[Option<String>; 3]> {
        let mut rows = Vec::new();
        for (path, content) in self.raw.values().flatten() {
            if !path.as_ref().contains(log) || !path.as_ref().ends_with(".parquet") {
                continue;
            }
            let reader =
                ParquetRecordBatchReaderBuilder::try_new(content.clone()).unwrap().build().unwrap();
            for batch in reader {
                let batch = batch.unwrap();
                let texts = names.map(|name| {
                    cast(batch.column_by_name(name).unwrap(), &DataType::Utf8).unwrap()
                });
                let text = |column: usize, row| {
                    let texts = texts[column].as_string::<i32>();
                    texts.iter().nth(row).flatten().map(str::to_owned)
                };
                rows.extend(
                    (0..batch.num_rows()).map(|row| [0, 1, 2].map(|column| text(column, row))),
                );
            }
        }
        rows
    }
}

/// The rows of a reference table, as cells.
struct Sheet {
    object: String,
    header: String,
    rows: Vec<Vec<String>>,
}

impl Sheet {
    async fn read(world: &World, name: &str) -> Sheet {
        let object = format!("reference/{name}.csv");
        let text = world.text(&object).await;
        let mut lines = text.lines().map(str::to_owned);
        let header = lines.next().unwrap();
        let rows = lines.map(|line| line.split(',').map(str::to_owned).collect()).collect();
        Sheet { object, header, rows }
    }

    async fn write(&self, world: &World) {
        let rows = self.rows.iter().map(|row| row.join(",") + "\n");
        let text = format!("{}\n{}", self.header, rows.collect::<String>());
        world.put(&self.object, text).await;
    }

    /// Ends a row that is valid from ever to ever, and begins another one then.
    fn split(&mut self, nth: usize, at: NaiveDate, then: impl Fn(&mut Vec<String>)) {
        let width = self.rows[nth].len();
        if !self.rows[nth][width - 1].is_empty() {
            return;
        }
        let mut later = self.rows[nth].clone();
        if later[width - 2].as_str() >= at.to_string().as_str() {
            return;
        }
        self.rows[nth][width - 1] = at.to_string();
        later[width - 2] = at.to_string();
        then(&mut later);
        self.rows.push(later);
    }
}

fn cells<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Changes one reference table in one way. Returns what was done, for whom a test fails.
async fn change(unlanded: &Unlanded, dice: &mut Pcg32, people: &People) -> String {
    let world = &unlanded.world;
    let tables = ["links", "stores", "rates", "fx_rates", "identities", "identities"];
    let table = tables[dice.random_range(0..tables.len())];
    let mut sheet = Sheet::read(world, table).await;
    let nth = dice.random_range(0..sheet.rows.len());
    let at = world.date(dice.random_range(0..DAYS));
    let what = dice.random_range(0..5);
    match (table, what) {
        (_, 0) => {
            sheet.rows.remove(nth);
        }
        ("links", 1) => "_another".clone_into(&mut sheet.rows[nth][1]),
        ("links", 2) => sheet.split(nth, at, |row| row[1] = "another".to_owned()),
        ("links", 3) => sheet.rows[nth][2] = format!("t{at}"),
        ("links", _) => sheet.rows.push(cells(["_stray", "ann", "", "", ""])),
        ("stores", 1) => sheet.split(nth, at, |row| row[1] = "2040-01-01".to_owned()),
        ("stores", 2 | 3) => {
            let store = &sheet.rows[nth][0];
            if sheet.rows.iter().filter(|row| &row[0] == store).count() == 1
                && sheet.rows[nth][2].is_empty()
            {
                sheet.rows[nth][1] = at.to_string();
            }
        }
        ("stores", _) => sheet.rows.push(cells(["stray", "", ""])),
        ("rates", 1) => sheet.rows[nth][3] = format!("0.0{}", dice.random_range(10..99)),
        ("rates", 2) => sheet.split(nth, at, |row| row[3] = "0.31".to_owned()),
        ("rates", 3) => {
            let store = people.stores.choose(dice).unwrap();
            let scoped = sheet.rows.iter().any(|row| row[0] == "store" && &row[1] == store);
            if !scoped {
                sheet.rows.push(cells(["store", store, "", "0.41", "", ""]));
            }
        }
        ("rates", _) => sheet.rows.push(cells(["product", "stray", "", "0.5", "", ""])),
        ("fx_rates", 1 | 2) => sheet.rows[nth][2] = "1.23".to_owned(),
        ("fx_rates", 3) => {
            // All of a currency's rates before a date, so that its orders are rejected.
            let currency = sheet.rows[nth][0].clone();
            let at = at.to_string();
            sheet.rows.retain(|row| row[0] != currency || row[1] > at);
        }
        ("fx_rates", _) => sheet.rows.push(cells(["XTS", "2020-01-01", "2"])),
        ("identities", 1) => {
            people.buyers.choose(dice).unwrap().clone_into(&mut sheet.rows[nth][1])
        }
        ("identities", 4) => sheet.rows.push(cells(["stray", "nobody-here", "", ""])),
        (_, how) => {
            // Who clicked without a name has logged in.
            let (visitor, buyer) = people.logins.choose(dice).unwrap();
            if sheet.rows.iter().all(|row| &row[0] != visitor) {
                let from = if how == 2 { String::new() } else { at.to_string() };
                sheet.rows.push(cells([visitor, buyer, &from, ""]));
            }
        }
    }
    // A stray may be there already: equal rows count once.
    sheet.write(world).await;
    format!("{table} {what} {nth} {at}")
}

/// Who buys where, and who may log in late.
struct People {
    buyers: Vec<String>,
    stores: Vec<String>,
    /// Visitors, and buyers who order in the window of one of their clicks without a name.
    logins: Vec<(String, String)>,
}

impl People {
    fn of(unlanded: &Unlanded) -> People {
        let instant = |text: &str| text[..19].parse::<NaiveDateTime>().unwrap();
        let clicks = unlanded.columns("clicks", ["buyer_id", "visitor_id", "clicked_at"]);
        let anonymous = clicks.into_iter().filter_map(|row| match row {
            [None, Some(visitor), Some(at)] => Some((visitor, instant(&at))),
            _ => None,
        });
        let anonymous: Vec<_> = anonymous.collect();
        let orders = unlanded.columns("orders", ["buyer_id", "store_id", "event_at"]);
        let (mut buyers, mut stores, mut logins) = (Vec::new(), Vec::new(), Vec::new());
        for row in orders {
            let [Some(buyer), Some(store), Some(at)] = row else { continue };
            let window = TimeDelta::zero()..TimeDelta::hours(48);
            let clicks =
                anonymous.iter().filter(|(_, click)| window.contains(&(instant(&at) - *click)));
            logins.extend(clicks.map(|(visitor, _)| (visitor.clone(), buyer.clone())));
            buyers.push(buyer);
            stores.push(store);
        }
        logins.sort();
        logins.dedup();
        People { buyers, stores, logins }
    }
}

async fn pending(world: &World) -> Vec<lookback::warehouse::Pending> {
    Warehouse::open(&world.job.root).await.unwrap().seen().pending.clone()
}

/// A world whose identities may have a validity.
async fn unlanded() -> Unlanded {
    let world = world(DAYS as u32);
    let mut sheet = Sheet::read(&world, "identities").await;
    sheet.header += ",valid_from,valid_to";
    for row in &mut sheet.rows {
        row.extend([String::new(), String::new()]);
    }
    sheet.write(&world).await;
    Unlanded::new(world).await
}

#[test]
fn nights_and_changes_and_then_stale_are_one_backfill() {
    let seeds = match std::env::var("LOOKBACK_SEEDS") {
        Ok(seeds) => {
            let (from, to) = seeds.split_once("..").unwrap();
            from.parse().unwrap()..to.parse().unwrap()
        }
        Err(_) => 0..4,
    };
    wait_for(async {
        let first = unlanded().await;
        let people = People::of(&first);
        let mut named = 0;
        for seed in seeds {
            let mut dice = Pcg32::seed_from_u64(seed);
            let mut unlanded = first.fork();
            unlanded.world.job.from_logs = seed % 2 == 0;
            unlanded.world.job.heal_days = [0, 0, 2][dice.random_range(0..3)];
            let world = &unlanded.world;
            let mut changes = Vec::new();
            let mut nights: Vec<usize> = (0..DAYS).collect();
            // Some nights do not take place.
            nights.retain(|night| [0, DAYS - 1].contains(night) || dice.random_range(0..5) > 0);
            for night in nights {
                let mut before = Vec::new();
                for _ in 0..dice.random_range(0..7) {
                    before.push(change(&unlanded, &mut dice, &people).await);
                }
                // What landed is copied, with other tags.
                if dice.random_range(0..4) == 0 {
                    unlanded.land_up_to(world.date(night)).await;
                }
                // Rows of a landed date land once more: on the next date, which makes duplicates, or
                // under ids of their own.
                if dice.random_range(0..3) == 0 {
                    let (log, id) =
                        [("clicks", "click_id"), ("orders", "event_id")][dice.random_range(0..2)];
                    let from = dice.random_range(0..=night);
                    let (to, suffix) = [(from, "-again"), (from + 1, "")][dice.random_range(0..2)];
                    if unlanded.has_landed(world.date(from)).await && to < DAYS {
                        let dates = (world.date(from), world.date(to));
                        land_once_more(world, log, id, dates, suffix).await;
                        before.push(format!("{log} of {} land on {}{suffix}", dates.0, dates.1));
                    }
                }
                changes.push((night, before));
                let summary = unlanded.land_and_run(night).await;
                named += usize::from(!summary.outdated.is_empty());
            }
            // Dates after the last night have landed, too.
            unlanded.land_up_to(NaiveDate::MAX).await;
            let stale = world.run(DateSelection::Stale).await.unwrap();
            let what = format!("seed {seed}, {changes:?}");
            assert_eq!(stale.outdated, [], "{what}");
            assert_eq!(pending(world).await, [], "{what}");
            let fresh = afresh(world, DAYS).await;
            assert_eq!(world.rows().await, fresh.rows().await, "{what}");
            let before = world.state().await;
            let again = world.run(DateSelection::Stale).await.unwrap();
            assert!(again.written.is_empty() && again.reference.is_empty(), "{what}: {again}");
            assert_eq!(again.outdated, [], "{what}");
            assert_eq!(before, world.state().await);
        }
        assert!(named > 0, "no change outdated what a night kept");
    });
}

/// The dates that a summary names for a reason.
fn named(summary: &Summary, reason: &str) -> Vec<NaiveDate> {
    summary.outdated_by(reason)
}

const HOLE: &str = "never made, although its landing dates are there";

#[test]
fn nights_that_did_not_take_place_are_named_until_they_are_filled() {
    wait_for(async {
        let unlanded = unlanded().await;
        let date = |day| unlanded.world.date(day);
        let dates = |days: std::ops::Range<usize>| days.map(date).collect::<Vec<_>>();
        let first = unlanded.land_and_run(1).await;
        assert_eq!((first.outdated.len(), first.waiting.len()), (0, 0), "{first}");
        // It makes the date before it, too.
        let last = unlanded.land_and_run(7).await;
        assert_eq!(named(&last, HOLE), dates(2..6), "{last}");
        assert_eq!((last.outdated.len(), last.waiting.len()), (4, 0), "{last}");
        let again = unlanded.night(7).await;
        assert!(again.written.is_empty(), "{again}");
        assert_eq!(named(&again, HOLE), dates(2..6), "{again}");

        let reports = unlanded.world.files("report.orders").await;
        for (heal_days, filled) in [(2, 4..6), (3, 3..6), (4, 2..6), (5, 2..6)] {
            let mut healed = unlanded.fork();
            healed.world.job.heal_days = heal_days;
            let summary = healed.night(7).await;
            assert_eq!(summary.report_dates, dates(filled.clone()), "{heal_days}: {summary}");
            assert_eq!(named(&summary, HOLE), dates(2..filled.start), "{heal_days}: {summary}");
            let now = healed.world.files("report.orders").await;
            assert!(reports.iter().all(|(date, file)| now.get(date) == Some(file)));
            if filled.start == 2 {
                assert_eq!(healed.world.state().await, made_afresh(&healed.world, DAYS).await);
            }
        }
        let stale = unlanded.world.run(DateSelection::Stale).await.unwrap();
        assert_eq!(stale.report_dates, dates(2..6), "{stale}");
        assert_eq!(stale.outdated, []);
        assert_eq!(unlanded.world.state().await, made_afresh(&unlanded.world, DAYS).await);
    });
}

#[test]
fn a_landing_date_that_comes_late_is_waited_for_and_then_a_hole() {
    wait_for(async {
        let mut unlanded = unlanded().await;
        let date = |day| unlanded.world.date(day);
        let late = unlanded.raw.remove(&date(4)).unwrap();
        for day in 0..3 {
            unlanded.land_and_run(day).await;
        }
        for day in [3, 4] {
            unlanded.land_up_to(date(day + 1)).await;
            let stop = unlanded.world.run(DateSelection::Night(date(day))).await.unwrap_err();
            assert_eq!(stop.exit_code(), 3, "{stop}");
        }
        for day in [5, 6] {
            let summary = unlanded.land_and_run(day).await;
            let waiting: Vec<_> = summary.waiting.values().flatten().copied().collect();
            assert_eq!(waiting, [date(3), date(4)], "{summary}");
            let what = format!("clicks that land {0}, orders that land {0}", date(4));
            assert!(summary.waiting.contains_key(&what), "{summary}");
            assert_eq!(summary.outdated, [], "{summary}");
        }
        unlanded.raw.insert(unlanded.world.date(4), late);
        let date = |day| unlanded.world.date(day);
        unlanded.land(date(4)).await;
        let summary = unlanded.land_and_run(7).await;
        assert_eq!(summary.waiting, BTreeMap::new(), "{summary}");
        assert_eq!(named(&summary, HOLE), [date(3), date(4)], "{summary}");
        unlanded.world.run(DateSelection::Stale).await.unwrap();
        assert_eq!(unlanded.world.state().await, made_afresh(&unlanded.world, DAYS).await);
    });
}

#[test]
fn reference_rows_that_no_row_asks_for_outdate_nothing() {
    wait_for(async {
        let unlanded = unlanded().await;
        for day in 0..DAYS {
            unlanded.land_and_run(day).await;
        }
        let world = &unlanded.world;
        world.run(DateSelection::Stale).await.unwrap();
        for (table, row) in [
            ("links", "_stray,ann,t1,,"),
            ("stores", "stray,,"),
            ("rates", "product,stray,,0.5,,"),
            ("fx_rates", "XTS,2020-01-01,2"),
            ("identities", "stray,nobody-here,,"),
        ] {
            let before = world.state().await;
            let text = world.text(&format!("reference/{table}.csv")).await;
            world.put(&format!("reference/{table}.csv"), format!("{text}{row}\n")).await;
            for selection in [DateSelection::Night(world.date(6)), DateSelection::Stale] {
                let fork = world.fork();
                let summary = fork.run(selection).await.unwrap();
                assert!(summary.written.is_empty(), "{table}: {summary}");
                assert_eq!(summary.outdated, [], "{table}: {summary}");
                assert_eq!(summary.reference, [table]);
                let mut now = fork.state().await;
                let name = lookback::model::named(&format!("reference.{table}")).unwrap().name;
                now.insert(name, before[name].clone());
                assert_eq!(now, before, "{table}");
                assert_eq!(pending(&fork).await, [], "{table}");
            }
            world.run(DateSelection::Stale).await.unwrap();
        }
    });
}

#[test]
fn a_change_that_is_taken_back_outdates_nothing_any_more() {
    wait_for(async {
        let unlanded = unlanded().await;
        for day in 0..DAYS - 1 {
            unlanded.land_and_run(day).await;
        }
        let world = &unlanded.world;
        for table in ["links", "stores", "rates", "fx_rates", "identities"] {
            let fork = Unlanded { world: world.fork(), raw: unlanded.raw.clone() };
            let object = format!("reference/{table}.csv");
            let before = fork.world.text(&object).await;
            let header = before.lines().next().unwrap();
            let row = match table {
                // Some link, so that there are links.
                "links" => "\n_stray,ann,,,",
                _ => "",
            };
            fork.world.put(&object, format!("{header}{row}\n")).await;
            // The last night's own dates are made with what was taken back, and made again.
            let changed = fork.land_and_run(DAYS - 1).await;
            assert!(!changed.outdated.is_empty(), "{table}: {changed}");
            assert_ne!(pending(&fork.world).await, [], "{table}");
            fork.world.put(&object, before).await;
            let back = fork.night(DAYS - 1).await;
            assert_eq!(back.outdated, [], "{table}: {back}");
            assert_eq!(pending(&fork.world).await, [], "{table}");
            let stale = fork.world.run(DateSelection::Stale).await.unwrap();
            assert!(stale.written.is_empty(), "{table}: {stale}");
            fork.land_up_to(NaiveDate::MAX).await;
            fork.world.run(DateSelection::Stale).await.unwrap();
            assert_eq!(fork.world.state().await, made_afresh(&fork.world, DAYS).await, "{table}");
        }
    });
}

#[test]
fn reference_rows_of_a_run_that_failed_are_not_taken_for_those_of_the_file_before() {
    wait_for(async {
        let unlanded = unlanded().await;
        for day in 0..3 {
            unlanded.land_and_run(day).await;
        }
        let world = &unlanded.world;
        let before = world.state().await;
        let rates = world.text("reference/rates.csv").await;
        world.put("reference/rates.csv", rates.replace(",0.0", ",0.1")).await;
        // A promise is broken on purpose, after the rows are stored.
        let sql = &lookback::model::named("report.orders").unwrap().sql;
        let broken = format!(
            "with made as ({sql}\n) \
             select * replace (cast(null as varchar) as store_id) from made order by 1"
        );
        let selection = DateSelection::Night(world.date(2));
        let failed =
            world.run_with(selection, Rebuild::Changed, [("report.orders", broken)].into()).await;
        assert_eq!(failed.unwrap_err().exit_code(), 4);
        assert_ne!(world.state().await["reference.rates"], before["reference.rates"]);
        world.put("reference/rates.csv", rates).await;
        world.run(DateSelection::Stale).await.unwrap();
        assert_eq!(world.state().await, before);
        assert_eq!(pending(world).await, []);
    });
}
