//! The demo world is the same when it is made twice.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Scale, write_world};

#[test]
fn the_same_scale_gives_the_same_bytes() -> Result<()> {
    let (first, second) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let scale = Scale { days: 5, clicks_per_day: 500, orders_per_day: 50, ..Scale::default() };
    write_world(first.path(), &scale, &mut |_, _| {})?;
    write_world(second.path(), &scale, &mut |_, _| {})?;
    assert!(files(first.path())? == files(second.path())?);
    Ok(())
}

#[test]
fn every_landing_date_of_the_report_dates_is_there() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let scale = Scale { days: 2, clicks_per_day: 0, orders_per_day: 1, ..Scale::default() };
    let mut seen = Vec::new();
    let world = write_world(dir.path(), &scale, &mut |done, total| seen.push((done, total)))?;
    assert_eq!(seen, [(1, 3), (2, 3), (3, 3)]);
    assert_eq!([world.from.to_string(), world.to.to_string()], ["2026-03-01", "2026-03-02"]);
    for log in ["clicks", "orders"] {
        for date in ["2026-03-01", "2026-03-02", "2026-03-03"] {
            assert!(dir.path().join(format!("raw/{log}/dt={date}/part-0.parquet")).is_file());
        }
    }
    Ok(())
}

fn files(dir: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(dir)?.to_path_buf(), fs::read(&path)?);
            }
        }
    }
    Ok(found)
}
