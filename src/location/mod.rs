//! Locations: paths and `s3://`, `gs://`, `az://` URLs behind one type.
//!
//! Invariants: only this folder makes object stores and HTTP clients, and only it reads credentials
//! (`AWS_…`, `GOOGLE_…`, `AZURE_…`, `OPENLINEAGE_API_KEY`, `OTEL_…`) from the environment (bans in `clippy.toml`). The credentials never leave
//! it. Refuses to know what the objects mean.

mod answer;
mod endpoint;
mod kept;
mod listed_keys;
mod stores;
mod traffic;
mod watched;
mod wire;

use std::io::ErrorKind;
use std::path::{Component, Path as FilePath, PathBuf};
use std::sync::Arc;

pub use answer::{answer, has_conditions};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use datafusion::execution::object_store::ObjectStoreUrl;
pub use endpoint::{Collector, Endpoint};
use futures::{StreamExt, TryStreamExt};
pub use kept::{FOOTER_HINT, Kept, WAS_REPLACED};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt};
pub use stores::{Store, StoreSettings, Stores};
pub use traffic::Counts;
use url::Url;

/// A folder or an object: a store, and a path in it.
#[derive(Clone)]
pub struct Location {
    /// As the job file names it, for messages.
    name: String,
    url: Url,
    store: Store,
    path: Path,
}

/// Hides the store: its own `Debug` may print credentials.
impl std::fmt::Debug for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Location").field(&self.name).finish()
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Location {
    /// A path or a URL. A relative path starts at `base`. Errors: an unknown scheme; a URL that the
    /// store's own parser refuses.
    pub fn parse(text: &str, base: &FilePath) -> Result<Location> {
        Location::parse_in(&Stores::default(), text, base)
    }

    /// The same, in one of a job's stores.
    pub fn parse_in(stores: &Stores, text: &str, base: &FilePath) -> Result<Location> {
        match Url::parse(text) {
            Ok(url) if url.scheme() == "file" => {
                let path = url.to_file_path().ok().context("is not a file URL with a full path")?;
                Location::local(text, &path)
            }
            Ok(url) if ["s3", "gs", "az"].contains(&url.scheme()) => {
                let (store, path) = stores.of(&url)?;
                Ok(Location { name: text.into(), url, store, path })
            }
            Ok(url) if text.contains("://") => {
                bail!("has the unknown scheme {}; known are s3, gs, az and file", url.scheme())
            }
            _ => Location::local(text, &base.join(text)),
        }
    }

    fn local(name: &str, path: &FilePath) -> Result<Location> {
        let path = without_dots(&std::path::absolute(path)?);
        let url = Url::from_file_path(&path).ok().context("is not a full path")?;
        #[expect(clippy::disallowed_methods, reason = "here object stores are made")]
        let store = Store::local(Arc::new(LocalFileSystem::new()));
        Ok(Location { name: name.into(), url, store, path: Path::from_absolute_path(&path)? })
    }

    /// The same location under another name, for messages.
    pub fn called(self, name: &str) -> Location {
        Location { name: name.to_owned(), ..self }
    }

    /// Whether this is the other location, or lies below it.
    pub fn is_within(&self, other: &Location) -> bool {
        match (self.local_path(), other.local_path()) {
            (Some(path), Some(folder)) => real(&path).starts_with(real(&folder)),
            (None, None) => {
                let is_of_one_store = self.store_url().ok() == other.store_url().ok();
                self.path.prefix_matches(&other.path) && is_of_one_store
            }
            _ => false,
        }
    }

    /// The same path in another store. Tests make a store fail with it.
    pub fn in_store(&self, store: &Store) -> Location {
        Location { store: store.clone(), ..self.clone() }
    }

    /// The same location, without progress. For work that goes on while a run is stuck.
    pub fn unwatched(&self) -> Location {
        let unwatched = self.store.unwatched.clone();
        let store = Store { store: unwatched.clone(), kept: None, unwatched };
        Location { store, ..self.clone() }
    }

    /// The folder on this machine, if it is one.
    pub fn local_path(&self) -> Option<PathBuf> {
        self.url.to_file_path().ok()
    }

    /// A folder or object below this one. `/` separates the parts of `relative`.
    pub fn child(&self, relative: &str) -> Location {
        let mut location = self.clone();
        location.name = format!("{}/{relative}", self.name.trim_end_matches('/'));
        for part in relative.split('/').filter(|part| !part.is_empty()) {
            location.path = location.path.join(part);
            if let Ok(mut parts) = location.url.path_segments_mut() {
                parts.pop_if_empty().push(part);
            }
        }
        location
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store.store
    }

    /// The store as one that keeps what it reads. None for local disks.
    pub fn kept(&self) -> Option<&Arc<Kept>> {
        self.store.kept.as_ref()
    }

    /// Says that an object of the store has this size, and does not change while the run reads it.
    pub fn announce(&self, object: &ObjectMeta) {
        if let Some(kept) = self.kept() {
            kept.announce(&object.location, object.size, object.e_tag.as_deref());
        }
    }

    /// Begins to read this object, of this size, which does not change while the run reads it. What
    /// fails here fails again where it is needed. Local disks need no such thing.
    pub fn ask_ahead(&self, size: u64) {
        let Some(kept) = self.kept().cloned() else { return };
        let path = self.path.clone();
        kept.announce(&path, size, None);
        tokio::spawn(async move {
            if let Err(error) = kept.read_ahead(&path, std::slice::from_ref(&(0..size))).await {
                tracing::debug!("{path}: not read ahead: {error}");
            }
        });
    }

    /// The store's root, as the query engine names it.
    pub fn store_url(&self) -> Result<ObjectStoreUrl> {
        let root = match self.url.scheme() {
            "file" => "file://".to_owned(),
            scheme => format!("{scheme}://{}", self.url.host_str().unwrap_or_default()),
        };
        Ok(ObjectStoreUrl::parse(root)?)
    }

    /// The objects in this folder itself and the names of its sub-folders, both sorted by name. A
    /// folder that does not exist is empty. Errors: the store fails.
    pub async fn list(&self) -> Result<(Vec<ObjectMeta>, Vec<String>)> {
        let listing = self.store().list_with_delimiter(Some(&self.path)).await;
        let listing = listing.with_context(|| format!("{}: cannot list", self.name))?;
        let mut objects = listing.objects;
        objects.sort_by(|one, other| one.location.cmp(&other.location));
        let mut folders: Vec<String> = listing
            .common_prefixes
            .iter()
            .filter_map(|path| path.filename().map(str::to_owned))
            .collect();
        folders.sort();
        Ok((objects, folders))
    }

    /// The objects in this folder and below. Errors: the store fails.
    pub async fn list_all(&self) -> Result<Vec<Path>> {
        let objects = self.store().list(Some(&self.path)).map_ok(|object| object.location);
        let objects = objects.try_collect().await;
        objects.with_context(|| format!("{}: cannot list", self.name))
    }

    /// Removes all objects in this folder and below. Errors: the store fails.
    pub async fn remove_all(&self) -> Result<()> {
        let objects = futures::stream::iter(self.list_all().await?.into_iter().map(Ok)).boxed();
        let mut removed = self.store().delete_stream(objects);
        while let Some(outcome) = removed.next().await {
            match outcome {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("{}: cannot remove", self.name));
                }
            }
        }
        if let Some(folder) = self.local_path().filter(|folder| folder.is_dir()) {
            let removed = match std::fs::remove_dir_all(&folder) {
                // Somebody who was cut off still writes there. The next removal takes it.
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
                removed => removed,
            };
            removed.with_context(|| format!("{}: cannot remove", self.name))?;
        }
        Ok(())
    }

    /// The object's bytes, or none when there is no such object. Errors: the store fails.
    pub async fn read(&self) -> Result<Option<Bytes>> {
        let read = async { self.store().get(&self.path).await?.bytes().await };
        self.if_there(read.await)
    }

    /// What the store says about the object, or none when there is no such object. Errors: the store
    /// fails.
    pub async fn head(&self) -> Result<Option<ObjectMeta>> {
        let found = match self.store().head(&self.path).await {
            // Such an answer has no body, which would say why. The answer to a read has one.
            Err(error @ (Error::PermissionDenied { .. } | Error::Unauthenticated { .. })) => {
                let read = self.store().get_range(&self.path, 0..1).await;
                Err(read.err().unwrap_or(error))
            }
            found => found,
        };
        self.if_there(found)
    }

    /// A missing object is none. A missing bucket is an error.
    fn if_there<T>(&self, outcome: object_store::Result<T>) -> Result<Option<T>> {
        let is_bucket = |error: &Error| {
            let error = error.to_string();
            ["NoSuchBucket", "ContainerNotFound"].iter().any(|sign| error.contains(sign))
        };
        match outcome {
            Ok(found) => Ok(Some(found)),
            Err(error @ Error::NotFound { .. }) if !is_bucket(&error) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("{}: cannot read", self.name)),
        }
    }
}

/// Whether an error comes from a store, and not from what it holds.
pub fn is_of_store(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<Error>())
}

/// Runs `work` for each item, 64 at a time. Results are in the order of `items`. For many small
/// requests. Errors: the first of `work`.
pub async fn in_parallel<I, T, F>(items: Vec<I>, work: impl Fn(I) -> F) -> Result<Vec<T>>
where
    F: Future<Output = Result<T>>,
{
    futures::stream::iter(items.into_iter().map(work)).buffered(64).try_collect().await
}

/// The path without links, as far as it is there.
fn real(path: &FilePath) -> PathBuf {
    match (std::fs::canonicalize(path), path.parent(), path.file_name()) {
        (Ok(real), _, _) => real,
        (Err(_), Some(folder), Some(name)) => real(folder).join(name),
        (Err(_), _, _) => path.to_owned(),
    }
}

/// Resolves `.` and `..` by name, because the folder need not exist yet.
fn without_dots(path: &FilePath) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    clean
}
