//! The lock of a local root: a file that the operating system keeps locked for its holder.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, Result};

use super::{Holder, is_held};
use crate::location::Location;
use crate::stop::Stop;

/// Held until dropped, or until the process ends for any reason.
pub struct FileLock {
    _file: File,
}

impl FileLock {
    pub fn take(root: &Location, folder: &Path, holder: &Holder) -> Result<FileLock, Stop> {
        let path = folder.join("_lookback/lock");
        let mut file = open(&path)?;
        match file.try_lock() {
            Ok(()) => {
                sign(&mut file, holder).with_context(|| path.display().to_string())?;
                Ok(FileLock { _file: file })
            }
            Err(std::fs::TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(anyhow::Error::from)?;
                Err(is_held(root, holder.trim()))
            }
            Err(std::fs::TryLockError::Error(error)) => {
                Err(anyhow::Error::from(error).context(path.display().to_string()).into())
            }
        }
    }
}

fn open(path: &Path) -> Result<File> {
    let folder = path.parent().context("a lock lies in a folder")?;
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
    file.with_context(|| path.display().to_string())
}

fn sign(file: &mut File, holder: &Holder) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{holder}")?;
    file.flush()
}
