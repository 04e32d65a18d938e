//! Stores the reference rows in the warehouse, where they changed.

use anyhow::Result;
use futures::future::try_join_all;

use super::workspace::Workspace;
use crate::engine::Params;
use crate::model;
use crate::progress::Stage;
use crate::stop::Stop;
use crate::warehouse::{Change, Lineage, Partition};

/// Writes and publishes the tables whose rows changed. The warehouse already remembers which dates
/// they touch. Errors: exit 5 when another run committed first; exit 1 when a store fails.
pub async fn store(workspace: &mut Workspace<'_>) -> Result<(), Stop> {
    let tables = workspace.reference.new_tables();
    workspace.summary.reference.extend(tables.iter().map(|name| (*name).to_owned()));
    let written = tables.into_iter().map(|name| write(workspace, name));
    let changes = try_join_all(written).await?.into_iter().collect();
    let request = workspace.request;
    workspace.warehouse.commit(changes, &request.run_id, request.now).await?;
    workspace.reference.stored();
    Ok(())
}

/// Writes one table's rows, not yet visible.
async fn write(workspace: &Workspace<'_>, name: &str) -> Result<(&'static str, Change)> {
    let model = model::named(&format!("reference.{name}"))?;
    workspace.progress.step_of(Stage::Storing, &format!("storing {name}"));
    let engine = workspace.engine.fork()?;
    workspace.reference.register_input(&engine, name).await?;
    let slice = (Params::new(), vec![Partition::whole()]);
    let files = workspace.write_slices(&engine, model, vec![slice]).await?;
    let files = files.into_iter().map(|file| (file, Lineage::new()));
    Ok((model.name, Change { files: files.collect() }))
}
