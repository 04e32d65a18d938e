//! One writer on object storage: a lease that is kept by changing it, and no clock is compared.

use std::time::Duration;

use chrono::DateTime;
use lookback::lock::{Holder, Lock, Pace};

use crate::in_memory::{self, wait_for, world};

/// A living holder is believed dead only if its heartbeat, ten a second, gets no turn for this long:
/// more than a machine that runs other tests as well will ever keep it waiting.
const PACE: Pace =
    Pace { dead: Duration::from_secs(10), give_up: Duration::from_secs(8), ..in_memory::PACE };

fn holder(name: &str) -> Holder {
    Holder::new(name, DateTime::UNIX_EPOCH)
}

#[test]
fn a_second_run_is_turned_away_and_told_by_whom() {
    wait_for(async {
        let world = world(1);
        let first = Lock::take(&world.job.root, &holder("run-ana"), PACE).await.unwrap();
        let second = Lock::take(&world.job.root, &holder("run-bo"), PACE).await;
        let stop = second.err().unwrap();
        assert_eq!(stop.exit_code(), 5);
        let text = stop.to_string();
        assert!(text.contains("run-ana") && text.contains("since 1970-01-01"), "{text}");
        first.release().await;
        Lock::take(&world.job.root, &holder("run-bo"), PACE).await.unwrap().release().await;
    });
}

#[test]
fn a_living_holder_keeps_it_however_long_it_takes() {
    wait_for(async {
        let world = world(1);
        let first = Lock::take(&world.job.root, &holder("run-ana"), PACE).await.unwrap();
        tokio::time::sleep(2 * PACE.dead).await;
        assert!(Lock::take(&world.job.root, &holder("run-bo"), PACE).await.is_err());
        first.confirm().await.unwrap();
    });
}

#[test]
fn a_dead_holder_does_not_block_for_long() {
    wait_for(async {
        let world = world(1);
        let first = Lock::take(&world.job.root, &holder("run-ana"), PACE).await.unwrap();
        // Gone without a word: no heartbeat, no release.
        drop(first);
        let second = Lock::take(&world.job.root, &holder("run-bo"), PACE).await.unwrap();
        assert!(second.was_taken_over());
        second.confirm().await.unwrap();
    });
}

#[test]
fn of_many_that_ask_at_once_one_gets_it() {
    wait_for(async {
        let world = world(1);
        let names: Vec<String> = (0..20).map(|number| format!("run-{number}")).collect();
        let selection = names.iter().map(async |name| {
            let lock = Lock::take(&world.job.root, &holder(name), PACE).await;
            // The winner keeps it until all have asked.
            if lock.is_ok() {
                tokio::time::sleep(2 * PACE.dead).await;
            }
            lock.is_ok()
        });
        let winners = futures::future::join_all(selection).await;
        assert_eq!(winners.iter().filter(|won| **won).count(), 1);
    });
}
