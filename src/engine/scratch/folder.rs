//! The scratch folder of a run, below `TMPDIR`. It is removed at the end of the run. The next run
//! removes folders of killed runs.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};

const PREFIX: &str = "lookback-";
/// A file that the operating system keeps locked while the folder is in use.
const IN_USE: &str = "in-use";

pub struct Folder {
    folder: tempfile::TempDir,
    _in_use: File,
}

impl Folder {
    pub fn new() -> Result<Folder> {
        #[expect(clippy::disallowed_methods, reason = "here TMPDIR is asked for")]
        let parent = std::env::temp_dir();
        remove_left_behind(&parent);
        let new = || -> Result<Folder> {
            let folder = tempfile::Builder::new().prefix(PREFIX).tempdir()?;
            // Locked before it gets its name, so another run never finds it unlocked.
            let making = folder.path().join("making");
            let file = File::create(&making)?;
            file.lock()?;
            std::fs::rename(&making, folder.path().join(IN_USE))?;
            Ok(Folder { folder, _in_use: file })
        };
        new().with_context(|| {
            let parent = parent.display();
            format!("cannot make a scratch folder below {parent}, which TMPDIR names")
        })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes scratch folders of dead runs. Folders that cannot be opened are left alone.
fn remove_left_behind(parent: &Path) {
    let folders = std::fs::read_dir(parent).into_iter().flatten().flatten();
    for folder in folders.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let Ok(file) = File::options().write(true).open(folder.path().join(IN_USE)) else {
            continue;
        };
        if file.try_lock().is_ok()
            && let Err(error) = std::fs::remove_dir_all(folder.path())
        {
            tracing::debug!("{}: left behind: {error}", folder.path().display());
        }
    }
}
