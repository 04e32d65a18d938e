//! What a worker sees before a run begins: the root and the logs as the driver does, and its peers.
//!
//! A plan would fail over it in the middle of a run, with words about files that are fine.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use datafusion::execution::TaskContext;
use datafusion_distributed::{GetWorkerInfoRequest, get_distributed_channel_resolver};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use url::Url;

use super::roster::{Member, PATIENCE, address, in_words};
use crate::location::{Location, Stores};

/// How long a worker may look.
pub const LOOKING: Duration = Duration::from_secs(60);

/// The object that the driver leaves in the scratch folder.
const TOKEN: &str = "seen-by-the-driver";

/// What a worker has to see.
#[derive(Debug, Serialize, Deserialize)]
pub struct Needs {
    /// The URL of the run's scratch folder.
    folder: String,
    /// What the driver wrote there.
    token: String,
    /// Raw files: the URL of their log, and their paths in its store.
    files: Vec<(String, String)>,
    peers: Vec<Url>,
}

impl Needs {
    /// Leaves the token. Errors: the store fails.
    pub async fn leave(
        folder: &Location,
        run_id: &str,
        files: &[(Location, Path)],
        members: &[Member],
    ) -> Result<Needs> {
        write(&folder.child(TOKEN), run_id.to_owned().into()).await?;
        let file = |(log, path): &(Location, Path)| (log.url().to_string(), path.to_string());
        Ok(Needs {
            folder: folder.url().to_string(),
            token: run_id.to_owned(),
            files: files.iter().map(file).collect(),
            peers: members.iter().map(|member| member.url.clone()).collect(),
        })
    }

    /// Looks, on a worker. Returns what it does not see. Errors: a location that is none.
    pub async fn look(&self, stores: &Stores, context: &Arc<TaskContext>) -> Result<Vec<String>> {
        let folder = Location::parse_in(stores, &self.folder, FilePath::new("/"))?;
        let mut troubles = Vec::new();
        match self.look_at(&folder).await {
            Ok(true) => {}
            Ok(false) => troubles.push(format!(
                "sees another {}: what the driver wrote there is not in it",
                shown(&folder)
            )),
            Err(error) => troubles.push(no_access(&folder, &error)),
        }
        for (log, path) in &self.files {
            let log = Location::parse_in(stores, log, FilePath::new("/"))?;
            if let Err(error) = log.store().get_range(&Path::parse(path)?, 0..1).await {
                troubles.push(no_access(&log, &error.into()));
            }
        }
        let channels = get_distributed_channel_resolver(context);
        for peer in &self.peers {
            let asked = async {
                let mut client = channels.get_worker_client_for_url(peer).await?;
                client.get_worker_info(GetWorkerInfoRequest {}).await
            };
            let peer = address(peer);
            match timeout(PATIENCE, asked).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    troubles.push(format!("does not reach {peer}: {}", in_words(&error)));
                }
                Err(_) => troubles.push(format!("does not reach {peer}: no answer")),
            }
        }
        Ok(troubles)
    }

    /// Whether the token is there. Errors: it cannot be read, or nothing can be written beside it.
    async fn look_at(&self, folder: &Location) -> Result<bool> {
        if folder.child(TOKEN).read().await? != Some(Bytes::from(self.token.clone())) {
            return Ok(false);
        }
        let own = folder.child(&format!("seen-{}", uuid::Uuid::now_v7()));
        write(&own, Bytes::new()).await?;
        // What stays is removed with the folder.
        let _ = own.store().delete(own.path()).await;
        Ok(true)
    }
}

/// Past the store that keeps what is read: others read this.
async fn write(object: &Location, bytes: Bytes) -> Result<()> {
    let store = object.kept().map_or(object.store(), |kept| kept.behind());
    let written = store.put(object.path(), bytes.into()).await;
    written.with_context(|| format!("{object}: cannot write"))?;
    Ok(())
}

fn no_access(folder: &Location, error: &anyhow::Error) -> String {
    format!("has no access to {}: {}", shown(folder), error.root_cause())
}

/// A path as one types it, or a URL.
fn shown(folder: &Location) -> String {
    let path = folder.local_path();
    path.map_or_else(|| folder.to_string(), |path| path.display().to_string())
}
