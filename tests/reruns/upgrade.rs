//! A warehouse of the first version is read, and made again by the runs that need its dates.
//!
//! `tests/reruns/first-version` is a job as release 0.1.0 left it on 3 March: it attributed clicks
//! with the buyers of the time, had eight tables, and stored digests of SQL texts.

use std::collections::BTreeSet;
use std::path::Path;

use lookback::cli::Format;
use lookback::commands::query::query;
use lookback::days::DateRange;
use lookback::job::Job;
use lookback::model;
use lookback::plan::DateSelection;
use lookback::progress::Progress;
use lookback::run;
use lookback::summary::Summary;

use crate::in_memory::{request, wait_for};
use lookback::plan::Rebuild;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(std::fs::copy(&path, &target).unwrap()),
        }
    }
}

/// A copy of the job, with or without what the first version made.
fn a_job(folder: &Path, has_warehouse: bool) -> Job {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reruns/first-version");
    copy(&kept, folder);
    if !has_warehouse {
        std::fs::remove_dir_all(folder.join("warehouse")).unwrap();
    }
    Job::load(&folder.join("job.toml")).unwrap()
}

async fn run(job: &Job, selection: DateSelection) -> Summary {
    let request = request(selection, Rebuild::Changed, Default::default());
    run::run(job, &request, &Progress::default(), std::future::pending()).await.unwrap()
}

/// The rows of a table, sorted.
async fn rows(job: &Job, table: &str) -> Vec<String> {
    let mut csv = Vec::new();
    query(job, &format!("select * from {table}"), Format::Csv, &mut csv).await.unwrap();
    let mut rows: Vec<String> =
        String::from_utf8(csv).unwrap().lines().map(str::to_owned).collect();
    rows.sort();
    rows
}

#[test]
fn a_warehouse_of_the_first_version_ends_as_if_made_afresh() {
    wait_for(async {
        let (old, fresh) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (old, fresh) = (a_job(old.path(), true), a_job(fresh.path(), false));
        let date = |text: &str| text.parse().unwrap();
        // It can be read before anything was made again: the new column is null.
        let kept = rows(&old, "attribution.conversions").await;
        assert!(kept.iter().any(|row| row.ends_with(',')), "{kept:?}");

        let night = run(&old, DateSelection::Night(date("2026-03-04"))).await;
        assert_eq!(night.report_dates, ["2026-03-03", "2026-03-04"].map(date));
        let reasons: BTreeSet<&str> = night.outdated.iter().map(|of| of.reason.as_str()).collect();
        assert_eq!(reasons, ["made by an earlier release"].into());
        run(&old, DateSelection::Stale).await;
        let again = run(&old, DateSelection::Stale).await;
        assert!(again.written.is_empty() && again.outdated.is_empty(), "{again}");

        let all = DateRange { from: date("2026-03-01"), to: date("2026-03-04") };
        run(&fresh, DateSelection::Backfill(all)).await;
        for model in model::stored().unwrap() {
            // Order dates that only the old look-back reached have no rows here.
            assert_eq!(
                rows(&old, model.name).await,
                rows(&fresh, model.name).await,
                "{}",
                model.name
            );
        }
    });
}
