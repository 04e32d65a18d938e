//! A copy of a table's log in memory, as a store for deltalake.
//!
//! deltalake lists a log several times, and reads its objects in pieces and one after the other. The
//! copy is made in two round trips: a listing, then in parallel all objects that opening the table
//! needs. It answers from then on. Its own writes go to the store, and if they succeed, also into the
//! copy. After a write that failed nobody knows what the log holds, so the copy is dropped, and all
//! reads go to the store until the log is read again. Other objects of the store are passed through.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, Result,
};

use crate::location::{Location, answer, has_conditions, in_parallel};

/// Names a checkpoint, to save a listing. The copy has a listing, so it does without.
const HINT: &str = "_last_checkpoint";

/// The store of one table's log.
pub struct LogCopy {
    store: Arc<dyn ObjectStore>,
    /// All objects below it belong to the log.
    folder: Path,
    copy: Copy,
}

/// None when the log is not known. Then the store is asked.
type Copy = Arc<Mutex<Option<Objects>>>;
type Objects = BTreeMap<Path, Object>;

/// An object of the log. Without bytes, it was not needed so far, or is no longer.
struct Object {
    meta: ObjectMeta,
    bytes: Option<Bytes>,
}

impl LogCopy {
    pub fn new(table: &Location) -> LogCopy {
        let folder = table.path().clone().join("_delta_log");
        LogCopy { store: table.store().clone(), folder, copy: Copy::default() }
    }

    /// Reads the log, or what it does not know of it yet. Errors: the store fails.
    pub async fn read(&self) -> anyhow::Result<()> {
        let mut known = lock(&self.copy).take().unwrap_or_default();
        let listed: Vec<ObjectMeta> = match self.store.list(Some(&self.folder)).try_collect().await
        {
            // A folder that does not exist.
            Err(Error::NotFound { .. }) => Vec::new(),
            listed => listed.context("cannot list the log")?,
        };
        let checkpoint = listed.iter().filter_map(|meta| checkpoint(&meta.location)).max();
        let is_needed = |path: &Path| match commit(path) {
            Some(version) => checkpoint.is_none_or(|checkpoint| version > checkpoint),
            None => self::checkpoint(path).is_some_and(|version| Some(version) == checkpoint),
        };
        let mut objects = Objects::new();
        let mut missing = Vec::new();
        for meta in listed.into_iter().filter(|meta| meta.location.filename() != Some(HINT)) {
            let path = meta.location.clone();
            let bytes = known.remove(&path).filter(|known| is_same(&known.meta, &meta));
            let bytes = bytes.and_then(|known| known.bytes).filter(|_| is_needed(&path));
            if bytes.is_none() && is_needed(&path) {
                missing.push(path.clone());
            }
            objects.insert(path, Object { meta, bytes });
        }
        let read = in_parallel(missing, async |path| {
            let read = async { self.store.get(&path).await?.bytes().await };
            let bytes = read.await.with_context(|| format!("cannot read {path}"))?;
            Ok((path, bytes))
        });
        for (path, bytes) in read.await? {
            if let Some(object) = objects.get_mut(&path) {
                object.bytes = Some(bytes);
            }
        }
        *lock(&self.copy) = Some(objects);
        Ok(())
    }

    fn is_log(&self, path: &Path) -> bool {
        path.prefix_matches(&self.folder)
    }

    fn forget(&self) {
        *lock(&self.copy) = None;
    }

    /// What the copy says about an object. None: ask the store.
    fn find(&self, path: &Path) -> Option<Result<(ObjectMeta, Option<Bytes>)>> {
        if !self.is_log(path) {
            return None;
        }
        let copy = lock(&self.copy);
        Some(match copy.as_ref()?.get(path) {
            Some(object) => Ok((object.meta.clone(), object.bytes.clone())),
            None => {
                let source = "is not in the log".into();
                Err(Error::NotFound { path: path.to_string(), source })
            }
        })
    }

    /// An answer from the copy. None: ask the store.
    fn answer(&self, path: &Path, options: &GetOptions) -> Option<Result<GetResult>> {
        if has_conditions(options) {
            return None;
        }
        let (meta, bytes) = match self.find(path)? {
            Ok(found) => found,
            Err(error) => return Some(Err(error)),
        };
        let (range, bytes) = match (options.head, bytes) {
            (true, _) => (0..0, Bytes::new()),
            (false, None) => return None,
            (false, Some(bytes)) => {
                let range = match &options.range {
                    Some(range) => range.as_range(bytes.len() as u64).ok()?,
                    None => 0..bytes.len() as u64,
                };
                (range.clone(), bytes.slice(range.start as usize..range.end as usize))
            }
        };
        Some(Ok(answer(meta, range, bytes)))
    }

    /// The objects of a listing from the copy, in the order of their names. None: ask the store.
    fn list_known(&self, prefix: Option<&Path>, after: Option<&Path>) -> Option<Vec<ObjectMeta>> {
        let prefix = prefix.filter(|prefix| self.is_log(prefix))?;
        let copy = lock(&self.copy);
        let objects = copy.as_ref()?.values().map(|object| &object.meta);
        let listed = objects
            .filter(|meta| meta.location != *prefix && meta.location.prefix_matches(prefix))
            .filter(|meta| after.is_none_or(|after| meta.location > *after));
        Some(listed.cloned().collect())
    }

    /// Adds an object that was written.
    fn add(&self, path: &Path, bytes: Bytes, put: &PutResult) {
        let mut copy = lock(&self.copy);
        let Some(objects) = copy.as_mut().filter(|_| path.filename() != Some(HINT)) else { return };
        if let Some(checkpoint) = checkpoint(path) {
            // What it replaces is not read again.
            for (older, object) in objects.iter_mut() {
                if commit(older).or(self::checkpoint(older)).is_some_and(|of| of <= checkpoint) {
                    object.bytes = None;
                }
            }
        }
        let meta = ObjectMeta {
            location: path.clone(),
            // The store's own time is known when the log is read again. Until then it is later than
            // all others: the entry is not among those that are old enough to be removed.
            last_modified: DateTime::<Utc>::MAX_UTC,
            size: bytes.len() as u64,
            e_tag: put.e_tag.clone(),
            version: put.version.clone(),
        };
        objects.insert(path.clone(), Object { meta, bytes: Some(bytes) });
    }
}

fn lock(copy: &Copy) -> MutexGuard<'_, Option<Objects>> {
    copy.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Objects of a log do not change, but a checkpoint may be written again.
fn is_same(one: &ObjectMeta, other: &ObjectMeta) -> bool {
    one.size == other.size && one.e_tag.is_some() && one.e_tag == other.e_tag
}

fn commit(path: &Path) -> Option<u64> {
    version(path, ".json")
}

fn checkpoint(path: &Path) -> Option<u64> {
    version(path, ".checkpoint.parquet")
}

fn version(path: &Path, ending: &str) -> Option<u64> {
    let digits = path.filename()?.strip_suffix(ending)?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

impl fmt::Debug for LogCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.folder)
    }
}

impl fmt::Display for LogCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.folder)
    }
}

#[async_trait]
impl ObjectStore for LogCopy {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        if !self.is_log(location) {
            return self.store.put_opts(location, payload, options).await;
        }
        let put = self.store.put_opts(location, payload.clone(), options).await;
        match &put {
            Ok(done) => self.add(location, payload.into(), done),
            Err(_) => self.forget(),
        }
        put
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        if self.is_log(location) {
            self.forget();
        }
        self.store.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match self.answer(location, &options) {
            Some(found) => found,
            None => self.store.get_opts(location, options).await,
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let Some(found) = self.find(location) else {
            return self.store.get_ranges(location, ranges).await;
        };
        let (_, bytes) = found?;
        let length = bytes.as_ref().map_or(0, Bytes::len) as u64;
        match bytes.filter(|_| ranges.iter().all(|range| range.end <= length)) {
            Some(bytes) => {
                let part =
                    |range: &Range<u64>| bytes.slice(range.start as usize..range.end as usize);
                Ok(ranges.iter().map(part).collect())
            }
            None => self.store.get_ranges(location, ranges).await,
        }
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let copy = self.copy.clone();
        let deleted = self.store.delete_stream(locations).inspect_ok(move |path| {
            if let Some(objects) = lock(&copy).as_mut() {
                objects.remove(path);
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.list_known(prefix, None) {
            Some(known) => stream::iter(known.into_iter().map(Ok)).boxed(),
            None => self.store.list(prefix),
        }
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.list_known(prefix, Some(offset)) {
            Some(known) => stream::iter(known.into_iter().map(Ok)).boxed(),
            None => self.store.list_with_offset(prefix, offset),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        if self.is_log(to) {
            self.forget();
        }
        self.store.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        if self.is_log(from) || self.is_log(to) {
            self.forget();
        }
        self.store.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path as FilePath;

    use object_store::PutMode;
    use object_store::memory::InMemory;

    use super::*;
    use crate::location::Store;

    const FIRST: &str = "table/_delta_log/00000000000000000000.json";
    const SECOND: &str = "table/_delta_log/00000000000000000001.json";

    async fn create(store: &dyn ObjectStore, name: &str, text: &str) -> Result<PutResult> {
        let payload = PutPayload::from(text.to_owned());
        store.put_opts(&Path::from(name), payload, PutMode::Create.into()).await
    }

    async fn names(store: &dyn ObjectStore) -> Vec<String> {
        let listed = store.list(Some(&Path::from("table/_delta_log")));
        listed.map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap()
    }

    #[tokio::test]
    async fn it_answers_as_it_was_read_until_a_write_fails() {
        let store = Arc::new(InMemory::new());
        let table = Location::parse("s3://world/table", FilePath::new("/")).unwrap();
        let log = LogCopy::new(&table.in_store(&Store::of(store.clone())));
        create(&store, FIRST, "first").await.unwrap();
        log.read().await.unwrap();
        create(&store, SECOND, "of another run").await.unwrap();
        assert_eq!(names(&log).await, [FIRST]);
        assert!(matches!(log.get(&Path::from(SECOND)).await, Err(Error::NotFound { .. })));
        let part = log.get_range(&Path::from(FIRST), 1..3).await.unwrap();
        assert_eq!(part, "ir");

        let refused = create(&log, SECOND, "of this run").await;
        assert!(matches!(refused, Err(Error::AlreadyExists { .. })), "{refused:?}");
        assert_eq!(names(&log).await, [FIRST, SECOND]);
        let second = log.get(&Path::from(SECOND)).await.unwrap().bytes().await.unwrap();
        assert_eq!(second, "of another run");
    }

    #[tokio::test]
    async fn what_it_wrote_is_in_it() {
        let store = Arc::new(InMemory::new());
        let table = Location::parse("s3://world/table", FilePath::new("/")).unwrap();
        let log = LogCopy::new(&table.in_store(&Store::of(store.clone())));
        log.read().await.unwrap();
        create(&log, FIRST, "of this run").await.unwrap();
        store.delete(&Path::from(FIRST)).await.unwrap();
        let found = log.get(&Path::from(FIRST)).await.unwrap();
        assert_eq!(
            (found.meta.size, found.bytes().await.unwrap().as_ref()),
            (11, &b"of this run"[..])
        );
        log.read().await.unwrap();
        assert!(names(&log).await.is_empty());
    }
}
