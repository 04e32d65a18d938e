//! The job on a cluster against the job on one machine, over the same random worlds.
//!
//! `LOOKBACK_CLUSTER_EVERY=5` leaves out all worlds but every fifth.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use lookback::cluster::Cluster;
use lookback::engine::Tuning;
use lookback::engine::elsewhere::Elsewhere;
use lookback::job::Job;
use lookback::location::Location;

use super::world::World;
use super::{TABLES, Ways, differences, each_world, read, setting};
use crate::naive::Row;

#[path = "../workers/mod.rs"]
mod workers;

#[test]
fn a_cluster_makes_the_rows_of_one_machine() {
    let every = setting("LOOKBACK_CLUSTER_EVERY", 1);
    each_world(every, agree);
}

/// Two workers, or four; with one core each, or more.
fn size(seed: u64) -> (usize, usize) {
    [(2, 2), (4, 1), (2, 3), (2, 1)][seed as usize % 4]
}

/// One world on one machine, and on a cluster. What a cluster made is up to date for one machine.
async fn agree(seed: u64) -> Result<()> {
    let world = World::random(seed);
    let folder = tempfile::tempdir()?;
    let here = Job::load(&world.write(folder.path())?)?;
    let Some(ways) = Ways::of(seed, &world) else { return Ok(()) };
    let root = folder.path().join("cluster").to_string_lossy().into_owned();
    let there = Job { root: Location::parse(&root, folder.path())?, ..here.clone() };
    for dates in ways.parts() {
        ways.run(&here, dates, &ways.tuning, None).await?;
        ways.run(&there, dates, &Tuning::default(), Some(cluster(seed, &there).await?)).await?;
    }
    for table in TABLES {
        let expected = read(&here, table).await?;
        let made = read(&there, table).await?;
        let by_row = |row: &Row| format!("{row:?}");
        differences(table, expected.iter().map(by_row), made.iter().map(by_row))?;
    }
    if let Some(last) = ways.parts().last() {
        let again = ways.run(&there, *last, &ways.tuning, None).await?;
        ensure!(again.written.is_empty(), "made again by one machine: {:?}", again.written);
    }
    Ok(())
}

/// The workers of a run.
async fn cluster(seed: u64, job: &Job) -> Result<Arc<dyn Elsewhere>> {
    let (count, cores) = size(seed);
    let settings = workers::settings(count, cores)?;
    let run = uuid::Uuid::now_v7().to_string();
    let cluster = Cluster::muster(&settings, &job.root, &run).await;
    Ok(Arc::new(cluster.context("no cluster")?))
}
