//! Night after night: what a night asks of the store does not grow with the nights before it.

use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use futures::TryStreamExt;
use lookback::commands::vacuum::{self, vacuum};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::failing_store::FailingStore;
use crate::in_memory::{PACE, World, wait_for, world};

/// Store calls, and objects listed, of a night.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    calls: usize,
    listed: usize,
}

async fn night(world: &World, day: usize) -> Cost {
    let counting = FailingStore::counting(world.store.clone());
    let counted = world.seen_through(Arc::new(counting.clone()));
    let summary = counted.night(day).await.unwrap();
    assert!(summary.report_dates.contains(&world.date(day)));
    let listed = counting.listed.load(std::sync::atomic::Ordering::SeqCst);
    Cost { calls: counting.calls(), listed }
}

/// Removes what the current versions do not need; the nights of this test are seconds apart.
async fn tidy(world: &World) {
    #[expect(clippy::disallowed_methods, reason = "the store's own times are from this clock")]
    let now = Utc::now();
    let request = vacuum::Request {
        keep: TimeDelta::zero(),
        dry_run: false,
        now,
        run_id: uuid::Uuid::now_v7().to_string(),
        pace: PACE,
    };
    vacuum(&world.job, &request).await.unwrap();
}

#[test]
fn a_night_costs_the_same_after_a_year() {
    let nights: usize = std::env::var("LOOKBACK_NIGHTS").map_or(60, |text| text.parse().unwrap());
    assert!(nights >= 50, "LOOKBACK_NIGHTS={nights}: too few to compare the last with the first");
    wait_for(async {
        let world = world(nights as u32);
        let mut costs = Vec::new();
        for day in 0..nights {
            costs.push(night(&world, day).await);
            if day % 5 == 4 {
                tidy(&world).await;
            }
        }
        // Tables write a checkpoint every tenth night: so the dearest of twenty.
        let early = costs[10..30].iter().max().unwrap();
        let late = costs[nights - 20..].iter().max().unwrap();
        println!("dearest night: {early:?} at first, {late:?} after {nights} nights");
        assert!(late.calls <= early.calls + early.calls / 10, "{early:?} {late:?}");
        assert!(late.listed <= early.listed + early.listed / 10, "{early:?} {late:?}");
    });
}

#[test]
fn vacuum_removes_what_no_version_needs_and_what_dead_runs_left() {
    wait_for(async {
        let world = world(2);
        world.run(world.backfill(0, 1)).await.unwrap();
        world
            .put("reference/rates.csv", "scope,scope_id,store_id,rate,valid_from,valid_to\n")
            .await;
        world.run(world.backfill(0, 1)).await.unwrap();
        let left = "warehouse/report/orders/report_date=2026-03-01/part-of-a-dead-run.parquet";
        world.put(left, "half a file").await;
        let before = world.state().await;
        let untidy = row_files(&world).await;
        tidy(&world).await;
        // Conversions and reports of two dates were written twice, and so were the rates. And then
        // there is the dead run's.
        assert_eq!(row_files(&world).await, untidy - 6 * 2 - 1 - 1);
        assert!(!is_there(&world, left).await);
        assert_eq!(before, world.state().await);
        world.run(world.backfill(0, 1)).await.unwrap();
        assert_eq!(before, world.state().await);
    });
}

/// Files of rows, whether or not a version names them.
async fn row_files(world: &World) -> usize {
    let objects: Vec<ObjectMeta> = world.store.list(None).try_collect().await.unwrap();
    let is_log = |object: &&ObjectMeta| !object.location.as_ref().contains("_delta_log");
    objects.iter().filter(is_log).count()
}

async fn is_there(world: &World, name: &str) -> bool {
    world.store.head(&object_store::path::Path::from(name)).await.is_ok()
}
