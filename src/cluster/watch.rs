//! Looks after the workers while a run waits for them: their progress is the run's, and one that keeps
//! all others waiting is named.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion_distributed::grpc::{GetTaskProgressRequest, ObservabilityServiceClient};
use futures::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use url::Url;

use super::roster::{Member, Roster, address};
use crate::progress::tick;

const EVERY: Duration = Duration::from_secs(3);

/// How long others may wait for one worker before it is named.
const STRAGGLING: Duration = Duration::from_secs(30);

/// Ends when it is dropped.
pub struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a worker says: how far it came, and how many plans it writes for.
#[derive(Clone, Copy, PartialEq)]
struct Look {
    progress: u64,
    writing: usize,
}

impl Watch {
    pub fn over(roster: Arc<Roster>) -> Watch {
        Watch(tokio::spawn(async move {
            let mut last: HashMap<String, Look> = HashMap::new();
            let mut alone: Option<(Url, Instant)> = None;
            loop {
                sleep(EVERY).await;
                let Ok(members) = roster.members() else { continue };
                let looks = members.iter().map(|member| look(&roster, member));
                let mut busy = Vec::new();
                for (member, look) in members.iter().zip(join_all(looks).await) {
                    // One that does not answer in time has too much to do.
                    if look.is_none_or(|look| look.writing > 0) {
                        busy.push(member.url.clone());
                    }
                    let Some(look) = look else { continue };
                    if last.insert(member.instance.clone(), look) != Some(look) {
                        tick();
                    }
                }
                let one = match busy.as_slice() {
                    [one] if members.len() > 1 => Some(one.clone()),
                    _ => None,
                };
                alone = match (alone, one) {
                    (Some((before, since)), Some(one)) if before == one => Some((one, since)),
                    (_, one) => one.map(|one| (one, Instant::now())),
                };
                if let Some((one, since)) = &mut alone
                    && since.elapsed() > STRAGGLING
                {
                    let seconds = since.elapsed().as_secs();
                    let worker = address(one);
                    tracing::warn!("all other workers have waited for {worker} for {seconds} s");
                    *since = Instant::now();
                }
            }
        }))
    }
}

async fn look(roster: &Roster, member: &Member) -> Option<Look> {
    let channel = roster.channels.to(&member.url).ok()?;
    let mut client = ObservabilityServiceClient::new(channel);
    let asked = timeout(EVERY, client.get_task_progress(GetTaskProgressRequest {})).await;
    let told = asked.ok()?.ok()?.into_inner();
    let progress = told.tasks.first().map(|task| task.output_rows).unwrap_or_default();
    Some(Look { progress, writing: told.tasks.len().saturating_sub(1) })
}
