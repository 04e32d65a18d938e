//! What a warehouse asks of the store: its logs are read in two round trips, and once.

use std::collections::BTreeMap;
use std::sync::Arc;

use lookback::model;
use lookback::warehouse::Warehouse;

use crate::failing_store::{FailingStore, Kind};
use crate::in_memory::{World, wait_for, world};

/// The same world, and what counts its calls.
fn counted(world: &World) -> (FailingStore, World) {
    let counting = FailingStore::counting(world.store.clone());
    let seen = world.seen_through(Arc::new(counting.clone()));
    (counting, seen)
}

/// The calls so far that concern logs, by kind.
fn of_logs(store: &FailingStore) -> BTreeMap<Kind, Vec<String>> {
    let mut calls: BTreeMap<Kind, Vec<String>> = BTreeMap::new();
    for (kind, path) in store.noted() {
        if path.as_ref().contains("_delta_log") {
            calls.entry(kind).or_default().push(path.to_string());
        }
    }
    calls
}

#[test]
fn opening_lists_each_log_once_and_reads_what_it_needs_once() {
    wait_for(async {
        let world = world(14);
        for day in 0..14 {
            world.night(day).await.unwrap();
        }
        let (counting, seen) = counted(&world);
        let warehouse = Warehouse::open(&seen.job.root).await.unwrap();
        let tables = model::stored().unwrap().len();
        let calls = of_logs(&counting);
        assert_eq!(calls[&Kind::List].len(), tables, "{calls:?}");
        // The tenth commit wrote a checkpoint, which stands for it and those before it.
        let versions = warehouse.versions();
        let needed = |version: &Option<u64>| match version.unwrap() {
            version @ 9.. => 1 + (version as usize + 1) % 10,
            version => version as usize + 1,
        };
        assert!(versions.values().any(|version| version.unwrap() > 10), "{versions:?}");
        let needed: usize = versions.values().map(needed).sum();
        assert_eq!(calls[&Kind::Get].len(), needed, "{versions:?} {calls:?}");
        assert_eq!(calls.len(), 2, "{:?}", calls.keys());
    });
}

#[test]
fn a_night_reads_each_log_once_and_commits_with_one_put() {
    wait_for(async {
        let world = world(3);
        world.run(world.backfill(0, 1)).await.unwrap();
        let before = Warehouse::open(&world.job.root).await.unwrap().versions();
        let (counting, seen) = counted(&world);
        seen.night(2).await.unwrap();
        let after = Warehouse::open(&world.job.root).await.unwrap().versions();
        let commits: u64 =
            before.iter().map(|(name, was)| after[name].unwrap() - was.unwrap()).sum();
        let calls = of_logs(&counting);
        assert!(commits > 5);
        assert_eq!(calls[&Kind::Put].len() as u64, commits, "{calls:?}");
        assert_eq!(calls[&Kind::List].len(), before.len(), "{calls:?}");
        let versions = before.values().map(|version| version.unwrap() + 1);
        assert_eq!(calls[&Kind::Get].len() as u64, versions.sum::<u64>(), "{calls:?}");
        assert_eq!(calls.len(), 3, "{:?}", calls.keys());
    });
}
