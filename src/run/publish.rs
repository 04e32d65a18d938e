//! How new files become visible: all dates of a table at once, and conversions before the reports that
//! are made from them.

use std::collections::BTreeMap;

use super::workspace::{Staged, Workspace};
use crate::lineage::Inputs;
use crate::model;
use crate::stop::Stop;
use crate::warehouse::Change;

/// Makes new files visible, all dates of a table in one commit. Errors: exit 5 when another run
/// committed first; exit 1 when a store fails. Other tables may then be visible.
pub async fn publish(workspace: &mut Workspace<'_>, staged: Staged) -> Result<(), Stop> {
    let (conversions, reports): (Staged, Staged) =
        staged.into_iter().partition(|(name, _)| *name == "attribution.conversions");
    for staged in [conversions, reports].into_iter().filter(|staged| !staged.is_empty()) {
        let request = workspace.request;
        let now = Inputs::of(workspace.job, &workspace.warehouse, request.as_of)?;
        let mut changes = BTreeMap::new();
        let mut written = Vec::new();
        for (name, files) in staged {
            let mut change = Change::default();
            let mut dates = Vec::new();
            for file in files {
                let date = file.partition.date;
                let lineage = match name {
                    "attribution.conversions" => now.of_conversions(date)?,
                    _ => now.of_report(date)?,
                };
                dates.push(date);
                change.files.push((file, lineage));
            }
            written.push((model::named(name)?.folder(), dates));
            changes.insert(name, change);
        }
        workspace.warehouse.commit(changes, &request.run_id, request.now).await?;
        for (table, dates) in written {
            workspace.note_written(&table, dates);
        }
    }
    Ok(())
}
