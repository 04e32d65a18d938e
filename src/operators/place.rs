//! A file that others read as soon as it is there: it is written aside and renamed, so that nobody
//! reads a half. What is no file, such as `/dev/null` or a pipe, is written as it is.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::NamedTempFile;

const PATIENCE: Duration = Duration::from_secs(5);

/// Where a file is to appear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// As it was typed, for messages.
    name: PathBuf,
    /// The file itself, where `name` is a link.
    file: PathBuf,
}

impl Place {
    /// Looks whether a file could be written there. It leaves no trace. Errors: why it could not.
    pub fn look(name: &Path) -> Result<Place> {
        let file = std::fs::canonicalize(name).unwrap_or_else(|_| name.to_owned());
        let place = Place { name: name.to_owned(), file };
        if place.file.is_dir() {
            bail!("is a folder");
        }
        if place.is_written_aside()
            && let Err(error) = place.aside()
        {
            // The name of the file aside, which the library adds, means nothing to people.
            let why = error.to_string();
            bail!("cannot be written: {}", why.split(" at path ").next().unwrap_or(&why));
        }
        Ok(place)
    }

    pub fn name(&self) -> &Path {
        &self.name
    }

    /// What is there now. Empty when nothing is.
    pub fn text(&self) -> String {
        match self.is_written_aside() {
            true => std::fs::read_to_string(&self.file).unwrap_or_default(),
            false => String::new(),
        }
    }

    /// Replaces what is there.
    pub fn write(&self, text: &str) -> Result<()> {
        let write = || {
            if !self.is_written_aside() {
                return write_within_seconds(&self.file, text);
            }
            let mut aside = self.aside()?;
            aside.write_all(text.as_bytes())?;
            aside.as_file().sync_all()?;
            aside.persist(&self.file)?;
            anyhow::Ok(())
        };
        write().with_context(|| format!("{}: cannot be written", self.name.display()))
    }

    fn is_written_aside(&self) -> bool {
        self.file.is_file() || !self.file.exists()
    }

    /// Beside the file, because a rename does not cross disks. Its name has another ending, so that
    /// collectors do not read it.
    fn aside(&self) -> std::io::Result<NamedTempFile> {
        let folder = self.file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".tmp")
            // Others may read it, as far as the umask lets them.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder.unwrap_or(Path::new(".")))
    }
}

/// Writes to what is no file. A pipe that nobody reads takes nothing.
fn write_within_seconds(file: &Path, text: &str) -> Result<()> {
    let (tell, told) = std::sync::mpsc::channel();
    let (file, text) = (file.to_owned(), text.to_owned());
    std::thread::spawn(move || tell.send(std::fs::write(file, text)));
    told.recv_timeout(PATIENCE).context("nobody reads it")??;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("summary.json");
        let place = Place::look(&file).unwrap();
        assert!(!file.exists() && place.text().is_empty());
        place.write("one").unwrap();
        std::os::unix::fs::symlink(&file, folder.path().join("link")).unwrap();
        let link = Place::look(&folder.path().join("link")).unwrap();
        link.write("two").unwrap();
        assert_eq!((place.text().as_str(), link.text().as_str()), ("two", "two"));
        assert!(folder.path().join("link").is_symlink());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_cannot_be_written_is_said_before() {
        let folder = tempfile::tempdir().unwrap();
        let told = |path: &Path| format!("{:#}", Place::look(path).unwrap_err());
        assert_eq!(told(folder.path()), "is a folder");
        let nowhere = told(&folder.path().join("no/such/summary.json"));
        assert!(nowhere.starts_with("cannot be written: No such file or directory"), "{nowhere}");
    }

    #[test]
    fn a_device_stays_one() {
        Place::look(Path::new("/dev/null")).unwrap().write("text").unwrap();
        assert!(!Path::new("/dev/null").is_file());
    }
}
