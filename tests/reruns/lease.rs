//! One writer on object storage: a lease that is kept by changing it, and no clock is compared.

use std::time::Duration;

use chrono::DateTime;
use lookback::lock::{Holder, Lock, Pace, Sight};
use lookback::stop::Stop;

use crate::in_memory::{self, World, wait_for, world};

/// A living holder is believed dead only if its heartbeat, ten a second, gets no turn for this long:
/// more than a machine that runs other tests as well will ever keep it waiting.
const PACE: Pace =
    Pace { dead: Duration::from_secs(10), give_up: Duration::from_secs(8), ..in_memory::PACE };

async fn take(world: &World, name: &str) -> Result<Lock, Stop> {
    take_as_seen(world, name, Sight::default()).await
}

async fn take_as_seen(world: &World, name: &str, sight: Sight) -> Result<Lock, Stop> {
    Lock::take(&world.job.root, &Holder::new(name, DateTime::UNIX_EPOCH), PACE, sight).await
}

#[test]
fn a_second_run_is_turned_away_and_told_by_whom() {
    wait_for(async {
        let world = world(1);
        let first = take(&world, "run-ana").await.unwrap();
        let second = take(&world, "run-bo").await;
        let stop = second.err().unwrap();
        assert_eq!(stop.exit_code(), 5);
        let text = stop.to_string();
        assert!(text.contains("run-ana") && text.contains("since 1970-01-01"), "{text}");
        first.release().await;
        take(&world, "run-bo").await.unwrap().release().await;
    });
}

#[test]
fn a_living_holder_keeps_it_however_long_it_takes() {
    wait_for(async {
        let world = world(1);
        let first = take(&world, "run-ana").await.unwrap();
        tokio::time::sleep(2 * PACE.dead).await;
        assert!(take(&world, "run-bo").await.is_err());
        first.confirm().await.unwrap();
    });
}

#[test]
fn a_dead_holder_does_not_block_for_long() {
    wait_for(async {
        let world = world(1);
        let first = take(&world, "run-ana").await.unwrap();
        // Gone without a word: no heartbeat, no release.
        drop(first);
        let second = take(&world, "run-bo").await.unwrap();
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
            let lock = take(&world, name).await;
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

#[test]
fn it_is_as_seen_only_if_nobody_has_held_it_since() {
    wait_for(async {
        let world = world(1);
        let look = async || Sight::of(&world.job.root).await;
        let (first, outdated) = (look().await, look().await);
        let lock = take_as_seen(&world, "run-ana", first).await.unwrap();
        assert!(lock.is_as_seen());
        let while_held = look().await;
        lock.release().await;
        let (free, unused) = (look().await, look().await);
        for sight in [outdated, while_held] {
            let lock = take_as_seen(&world, "run-bo", sight).await.unwrap();
            assert!(!lock.is_as_seen() && !lock.was_taken_over());
            lock.release().await;
        }
        let lock = take_as_seen(&world, "run-cem", free).await.unwrap();
        assert!(!lock.is_as_seen(), "run-bo has held it");
        lock.release().await;
        let lock = take_as_seen(&world, "run-dia", look().await).await.unwrap();
        assert!(lock.is_as_seen());
        lock.release().await;
        assert!(!take_as_seen(&world, "run-eli", unused).await.unwrap().is_as_seen());
    });
}

#[test]
fn one_that_died_is_not_as_seen() {
    wait_for(async {
        let world = world(1);
        drop(take(&world, "run-ana").await.unwrap());
        let sight = Sight::of(&world.job.root).await;
        let lock = take_as_seen(&world, "run-bo", sight).await.unwrap();
        assert!(lock.was_taken_over() && !lock.is_as_seen());
    });
}
