//! Runs every page of `tests/cases/<rule>/` through the program, from outside: files in, command
//! lines, tables out. How a page is written and what it may leave out: `tests/cases/README.md`.
//!
//! Knows the columns of the raw logs and the command line. Knows no rule: what is right is typed
//! in the pages, by hand.
//!
//! With `LOOKBACK_CASES_ON=cluster` all runs of the pages happen on two workers. Pages without a run
//! are left out.

#![allow(clippy::disallowed_methods, reason = "tests have switches in the environment")]

mod columns;
mod defaults;
mod expect;
mod page;
#[cfg(feature = "cluster")]
#[path = "../workers/mod.rs"]
mod workers;
mod world;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::{Arguments, Trial};

use crate::defaults::{CLICKS, ORDERS};
use crate::page::Section;
use crate::world::World;

fn main() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let workers = workers()?;
    let mut trials = Vec::new();
    for rule in entries(&folder)?.into_iter().filter(|path| path.is_dir()) {
        for page in entries(&rule)? {
            let name = page.strip_prefix(&folder)?.with_extension("");
            let workers = workers.clone();
            let makes_no_run = !workers.is_empty() && !runs_something(&page)?;
            let tell = move || {
                let told = tell(&page, workers);
                told.map_err(|trouble| format!("{}\n\n{trouble:#}", page.display()).into())
            };
            let trial = Trial::test(name.to_string_lossy(), tell);
            trials.push(trial.with_ignored_flag(makes_no_run));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit()
}

/// The workers for the pages' runs. None: the runs do all by themselves. Errors: a switch that makes no
/// sense.
fn workers() -> Result<Vec<String>> {
    match std::env::var("LOOKBACK_CASES_ON").as_deref() {
        Err(_) => Ok(Vec::new()),
        #[cfg(feature = "cluster")]
        Ok("cluster") => workers::addresses(2, 2),
        #[cfg(not(feature = "cluster"))]
        Ok("cluster") => bail!("LOOKBACK_CASES_ON=cluster wants the feature cluster"),
        Ok(other) => bail!("LOOKBACK_CASES_ON={other}: only cluster is known"),
    }
}

fn runs_something(page: &Path) -> Result<bool> {
    let sections = page::sections(&fs::read_to_string(page)?)?;
    Ok(sections.iter().flat_map(|section| &section.items).any(|item| world::is_run(item)))
}

/// Plays one page from top to bottom, in a folder of its own.
fn tell(page: &Path, workers: Vec<String>) -> Result<()> {
    let sections = page::sections(&fs::read_to_string(page)?)?;
    let mut world = World::new(workers)?;
    world.lands_by_itself =
        !sections.iter().flat_map(|section| &section.items).any(|item| item.contains("landed "));
    for section in &sections {
        play(&mut world, section).with_context(|| format!("## {}", section.heading))?;
    }
    ensure!(world.has_run, "the page runs nothing");
    Ok(())
}

fn play(world: &mut World, section: &Section) -> Result<()> {
    let (name, rest) = section.heading.split_once(' ').unwrap_or((&section.heading, ""));
    match name {
        "job" => world::merge(&mut world.job, section.code()?.parse()?),
        "whole" if rest == "job" => world.whole_job = Some(section.code()?.to_owned()),
        "links" | "stores" | "rates" | "fx_rates" | "identities" => {
            world.refer(name, rest, section)?;
        }
        "raw.clicks" => world.land(&CLICKS, rest, section.table()?)?,
        "raw.orders" => world.land(&ORDERS, rest, section.table()?)?,
        "file" => world.write(rest, section.code()?.as_bytes())?,
        "run" => world.run(&section.items)?,
        "expect" if rest == "nothing written" => world.expect_nothing_written()?,
        "expect" => world.expect(rest, section.table()?)?,
        _ => bail!("no such section"),
    }
    Ok(())
}

/// What a folder holds, sorted by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(trouble) if trouble.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(trouble) => return Err(trouble).with_context(|| folder.display().to_string()),
    };
    let mut paths = listing.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
