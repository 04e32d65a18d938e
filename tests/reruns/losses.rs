//! Files of the warehouse that are gone are found, named, and made again where that can be (D7).

use chrono::NaiveDate;
use lookback::commands::check::check;
use lookback::model;
use lookback::plan::DateSelection;
use lookback::summary::Summary;
use lookback::warehouse::Warehouse;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::in_memory::{World, made_afresh, wait_for, world};
use crate::nights::Unlanded;

const DAYS: usize = 8;
const BEYOND: &str = "reads clean rows that are lost, and whose raw files are gone";

async fn made() -> Unlanded {
    let unlanded = Unlanded::new(world(DAYS as u32)).await;
    unlanded.land_up_to(NaiveDate::MAX).await;
    unlanded.world.run(unlanded.world.backfill(0, DAYS - 1)).await.unwrap();
    unlanded
}

/// Deletes the file of a date. Tables without dates have one file.
async fn lose(world: &World, table: &str, date: Option<NaiveDate>) -> String {
    let warehouse = Warehouse::open(&world.job.root).await.unwrap();
    let files = &warehouse.table(table).unwrap().files;
    let file = files.iter().find(|file| date.is_none_or(|date| file.partition.date == date));
    let folder = warehouse.folder(model::named(table).unwrap());
    let path = folder.child(file.unwrap().path());
    world.store.delete(&Path::from(path.path().as_ref())).await.unwrap();
    assert!(check(&world.job).await.unwrap().contains(&format!("{path}: is gone")));
    path.to_string()
}

async fn stale(world: &World) -> Summary {
    world.run(DateSelection::Stale).await.unwrap_or_else(|stop| panic!("{stop}"))
}

#[test]
fn what_is_lost_is_made_again_and_nothing_else() {
    wait_for(async {
        let unlanded = made().await;
        let before = unlanded.world.state().await;
        for table in [
            "clean.clicks",
            "clean.order_events",
            "clean.rejects",
            "attribution.conversions",
            "report.traffic",
            "report.orders",
            "report.refunds",
            "report.transaction_details",
            "report.unbooked_events",
        ] {
            let world = unlanded.world.fork();
            lose(&world, table, Some(world.date(3))).await;
            let summary = stale(&world).await;
            assert_eq!(world.state().await, before, "{table}");
            assert!(summary.outdated.is_empty(), "{table}: {summary}");
            let is_layer = |written: &&String| {
                let layer = table.split('.').next().unwrap();
                !written.starts_with(layer)
            };
            let others: Vec<_> = summary.written.keys().filter(is_layer).collect();
            assert!(others.is_empty(), "{table}: {others:?}");
            assert!(summary.written.values().all(|dates| dates == &[world.date(3)]), "{summary}");
            let again = stale(&world).await;
            assert!(again.written.is_empty(), "{table}: {again}");
        }
        for table in model::layer("reference").unwrap() {
            let world = unlanded.world.fork();
            lose(&world, table.name, None).await;
            let summary = stale(&world).await;
            assert_eq!(summary.reference, [table.name.strip_prefix("reference.").unwrap()]);
            assert!(summary.written.is_empty(), "{}: {summary}", table.name);
            assert!(summary.outdated.is_empty(), "{}: {summary}", table.name);
            assert_eq!(world.state().await, before, "{}", table.name);
            assert!(stale(&world).await.reference.is_empty());
        }
    });
}

#[test]
fn reference_rows_that_are_lost_and_changed_at_once() {
    wait_for(async {
        let unlanded = made().await;
        let world = &unlanded.world;
        lose(world, "reference.rates", None).await;
        world.edit("reference/rates.csv", ",0.0", ",0.1").await;
        stale(world).await;
        assert_eq!(world.state().await, made_afresh(world, DAYS).await);
    });
}

#[test]
fn dates_that_read_what_is_lost_for_good_are_kept_and_named() {
    wait_for(async {
        let unlanded = made().await;
        let world = &unlanded.world;
        let lost = world.date(2);
        unlanded.take_away(lost).await;
        lose(world, "clean.clicks", Some(lost)).await;
        let conversions = world.files("attribution.conversions").await;
        let reports = world.files("report.orders").await;
        let mut kept = Vec::new();
        for _ in 0..2 {
            let summary = stale(world).await;
            assert!(summary.written.is_empty(), "{summary}");
            kept.push(summary.outdated_by(BEYOND));
            assert!(!kept[0].is_empty(), "{summary}");
        }
        assert_eq!(kept[0], kept[1]);
        // Rows of the third landing date happened on the local days 0 to 2, and clicks reach two days.
        assert_eq!(kept[0], (0..5).map(|day| world.date(day)).collect::<Vec<_>>());
        // Whatever else changes, these dates stay, and others do not.
        world.edit("reference/rates.csv", ",0.0", ",0.1").await;
        for _ in 0..2 {
            let summary = stale(world).await;
            assert_eq!(summary.outdated_by(BEYOND), kept[0], "{summary}");
        }
        let is_kept = |date: &NaiveDate| kept[0].contains(date);
        for (table, before) in
            [("attribution.conversions", conversions), ("report.orders", reports)]
        {
            let now = world.files(table).await;
            assert!(before.iter().all(|(date, file)| !is_kept(date) || now[date] == *file));
            assert!(before.iter().any(|(date, file)| now[date] != *file), "{table}");
        }
        // Once the raw files are back, all is as if nothing had been lost.
        unlanded.land(lost).await;
        let summary = stale(world).await;
        assert!(summary.outdated.is_empty(), "{summary}");
        assert_eq!(world.state().await, made_afresh(world, DAYS).await);
    });
}
