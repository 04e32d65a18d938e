//! Runs every page of `tests/cases/<rule>/` through the program, from outside: files in, command
//! lines, tables out. How a page is written and what it may leave out: `tests/cases/README.md`.
//!
//! Knows the columns of the raw logs and the command line. Knows no rule: what is right is typed
//! in the pages, by hand.

mod columns;
mod defaults;
mod expect;
mod page;
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
    let mut trials = Vec::new();
    for rule in entries(&folder)?.into_iter().filter(|path| path.is_dir()) {
        for page in entries(&rule)? {
            let name = page.strip_prefix(&folder)?.with_extension("");
            trials.push(Trial::test(name.to_string_lossy(), move || {
                tell(&page).map_err(|trouble| format!("{}\n\n{trouble:#}", page.display()).into())
            }));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit()
}

/// Plays one page from top to bottom, in a folder of its own.
fn tell(page: &Path) -> Result<()> {
    let sections = page::sections(&fs::read_to_string(page)?)?;
    let mut world = World::new()?;
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
