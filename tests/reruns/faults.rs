//! Every call to the store can fail: the run ends with an error or succeeds, readers see whole
//! commits, and a rerun ends where an undisturbed run does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lookback::stop::Kind;

use crate::failing_store::{FAULTS, FailingStore, Fault};
use crate::in_memory::{State, World, wait_for, world};

/// A world whose first two dates are published, and what is published once its inputs have changed.
async fn before_and_after() -> (World, World, State, State) {
    let old = world(3);
    old.run(old.backfill(0, 1)).await.unwrap();
    let before = old.state().await;
    let changed = old.fork();
    changed.put("reference/rates.csv", "scope,scope_id,store_id,rate,valid_from,valid_to\n").await;
    let reference = changed.fork();
    reference.run(reference.backfill(0, 1)).await.unwrap();
    let after = reference.state().await;
    assert_ne!(before["report.orders"], after["report.orders"]);
    (changed, reference, before, after)
}

/// Of each table, either all of the old rows or all of the new.
fn assert_no_mix(seen: &State, before: &State, after: &State, what: &str) {
    for (table, rows) in seen {
        let is_whole = rows == &before[table] || rows == &after[table];
        assert!(is_whole || rows.is_empty(), "{what}: {table} is a mix");
    }
}

#[test]
fn whatever_call_fails_nothing_is_lost_or_half() {
    let part = std::env::var("LOOKBACK_FAULTS").unwrap_or_else(|_| "0/13".to_owned());
    let (offset, step) = match part.split_once('/') {
        Some((offset, step)) => (offset.parse().unwrap(), step.parse().unwrap()),
        None if part == "all" => (0, 1),
        None => panic!("LOOKBACK_FAULTS={part}: `all`, or a part like `0/13`"),
    };
    let calls = wait_for(async {
        let (changed, ..) = before_and_after().await;
        let counting = FailingStore::counting(changed.store.clone());
        let counted = changed.seen_through(Arc::new(counting.clone()));
        counted.run(counted.backfill(0, 1)).await.unwrap();
        counting.calls()
    });
    assert!(calls > 50, "{calls} calls");
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    let numbers: Vec<(usize, Fault)> = (1..=calls + 5)
        .flat_map(|call| FAULTS.iter().enumerate().map(move |(kind, fault)| (call, kind, *fault)))
        .filter(|(call, kind, _)| (call + kind) % step == offset)
        .map(|(call, _, fault)| (call, fault))
        .collect();
    let halves = [numbers.iter().step_by(2), numbers[1..].iter().step_by(2)];
    std::thread::scope(|scope| {
        let workers = halves.map(|half| {
            scope.spawn(move || {
                wait_for(async {
                    let (changed, _, before, after) = before_and_after().await;
                    let mut outcomes = Vec::new();
                    for (call, fault) in half {
                        outcomes.push(disturb(&changed, &before, &after, *call, *fault).await);
                    }
                    outcomes
                })
            })
        });
        for worker in workers {
            for outcome in worker.join().unwrap() {
                *outcomes.entry(outcome).or_default() += 1;
            }
        }
    });
    println!("{calls} calls: {outcomes:?}");
}

async fn disturb(
    changed: &World,
    before: &State,
    after: &State,
    call: usize,
    fault: Fault,
) -> String {
    let what = format!("call {call}, {fault:?}");
    let world = changed.fork();
    let (failing, thaw) = FailingStore::freezing(world.store.clone(), call, fault);
    let disturbed = world.seen_through(Arc::new(failing.clone()));
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let first = async {
        let first = disturbed.run(disturbed.backfill(0, 1)).await;
        is_over.store(true, Ordering::SeqCst);
        first
    };
    let outcome = match fault {
        // Another run takes over from one that is stopped, and goes on while that one wakes up.
        Fault::Freeze => {
            let other = async {
                while failing.calls() < call && !is_over.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                let other = world.run(world.backfill(0, 1)).await;
                thaw.send(true).unwrap();
                other
            };
            let (first, other) = tokio::join!(first, other);
            other.unwrap_or_else(|stop| panic!("{what}: the one that took over: {stop}"));
            first
        }
        _ => first.await,
    };
    assert_no_mix(&world.state().await, before, after, &what);
    let outcome = match outcome {
        Ok(_) => "succeeded".to_owned(),
        Err(stop) => {
            assert!(matches!(stop.kind, Kind::Ask | Kind::Later), "{what}: {stop}");
            assert!(!stop.to_string().is_empty());
            format!("ended with exit {}", stop.exit_code())
        }
    };
    if let Err(stop) = world.run(world.backfill(0, 1)).await {
        panic!("{what}: the rerun: {stop}");
    }
    assert_eq!(&world.state().await, after, "{what}");
    outcome
}
