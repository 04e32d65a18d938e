//! Ends a run that makes no progress, because a store never answers or the engine waits for itself.
//!
//! Progress is an answer of a store, a batch of rows written or a step begun, anywhere in the
//! process. The watchdog has its own thread, so it needs nothing that may be stuck.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::progress::{Progress, ticks};
use crate::stop::{Kind, Stop};

/// How long the run may take to end after it was told to.
const GRACE: Duration = Duration::from_secs(30);

/// Waits until the run has made no progress for `patience`. The result names what it was doing. If
/// the run does not end then, `give_up` is called, which ends the process.
pub async fn stalled(
    progress: &Progress,
    patience: Duration,
    give_up: impl FnOnce(Stop) + Send + 'static,
) -> Stop {
    let (tell, told) = oneshot::channel();
    let progress = progress.clone();
    std::thread::spawn(move || {
        let mut last = (ticks(), Instant::now());
        while last.1.elapsed() < patience {
            if tell.is_closed() {
                return;
            }
            std::thread::sleep((patience / 20).clamp(Duration::from_millis(50), GRACE / 30));
            if ticks() != last.0 {
                last = (ticks(), Instant::now());
            }
        }
        let stop = || Stop {
            kind: Kind::Ask,
            complaints: vec![format!(
                "no progress for {} while {}",
                describe(patience),
                progress.doing()
            )],
            hint: Some(
                "no report was changed; check whether the store answers, and run again; \
                 --stall-seconds says how long a run may make no progress"
                    .to_owned(),
            ),
        };
        if tell.send(stop()).is_ok() {
            std::thread::sleep(GRACE);
            give_up(stop());
        }
    });
    match told.await {
        Ok(stop) => stop,
        Err(_) => std::future::pending().await,
    }
}

fn describe(patience: Duration) -> String {
    match patience.as_secs() {
        seconds if seconds >= 120 && seconds % 60 == 0 => format!("{} minutes", seconds / 60),
        seconds => format!("{seconds} seconds"),
    }
}
