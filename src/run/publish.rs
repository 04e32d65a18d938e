//! Which reports are made again, and how new files become visible: all dates of a table at once,
//! and conversions before the reports that are made from them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use chrono::NaiveDate;

use super::workspace::{Staged, Workspace};
use crate::days::DateRange;
use crate::lineage::{self, InputState};
use crate::model;
use crate::stop::Stop;
use crate::warehouse::Change;

/// The report dates to make: those that the plan names, and those for which rows of earlier
/// conversions have changed.
pub fn changed_reports(
    workspace: &Workspace<'_>,
    dates: DateRange,
    staged: &Staged,
) -> Result<BTreeSet<NaiveDate>> {
    let inputs = workspace.inputs_with(staged)?;
    let now = inputs.fingerprints(workspace.request.as_of)?;
    let mut changed = BTreeSet::new();
    for date in dates.iter() {
        let is_wanted = workspace.plan.reports.contains_key(&date)
            || workspace.plan.maybe_stale.contains(&date)
                && lineage::made_report(&workspace.warehouse, date)? != Some(&now.of_report(date));
        if is_wanted {
            changed.insert(date);
        }
    }
    Ok(changed)
}

/// Makes new files visible, all dates of a table in one commit. Errors: exit 5 when another run
/// committed first; exit 1 when a store fails. Other tables may then be visible.
pub async fn publish(workspace: &mut Workspace<'_>, staged: Staged) -> Result<(), Stop> {
    let (conversions, reports): (Staged, Staged) =
        staged.into_iter().partition(|(name, _)| *name == "attribution.conversions");
    for staged in [conversions, reports].into_iter().filter(|staged| !staged.is_empty()) {
        let inputs = InputState::as_read(workspace.job, workspace.reference, &workspace.warehouse)?;
        let now = inputs.fingerprints(workspace.request.as_of)?;
        let mut changes = BTreeMap::new();
        let mut written: Vec<(String, Vec<NaiveDate>)> = Vec::new();
        for (name, files) in staged {
            let dates = files.iter().map(|file| file.partition.date).collect();
            written.push((model::named(name)?.folder(), dates));
            let files = files.into_iter().map(|file| {
                let lineage = match name {
                    "attribution.conversions" => now.of_conversions(file.partition.date),
                    _ => now.of_report(file.partition.date),
                };
                (file, lineage)
            });
            changes.insert(name, Change { files: files.collect() });
        }
        let request = workspace.request;
        workspace.warehouse.commit(changes, &request.run_id, request.now).await?;
        for (table, dates) in written {
            workspace.note_written(&table, dates);
        }
    }
    Ok(())
}
