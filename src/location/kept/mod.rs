//! Keeps what was read of large and small objects, so that a run asks a store for nothing twice, and
//! for things that belong together at once. It is a store itself, between a location and its client.
//!
//! Only objects that were announced are kept: files whose size is known from a listing or a log, and
//! that do not change while the run reads them. A small one is read whole. The end of a larger one,
//! where Parquet has its footer, is read with the first request, and ranges that lie close together
//! are read as one. All other requests pass through.

mod room;

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, Shared, try_join_all};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

pub use room::Limits;
use room::{Room, Slot};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{answer, has_conditions};

/// The words for an object that is not the one that was listed.
pub const WAS_REPLACED: &str = "it was replaced since it was listed";

/// Objects of up to so many bytes are read whole: a second request would take longer.
const WHOLE: u64 = 2 << 20;
/// How much of the end of a file is read at first: its footer is there, and few are longer.
pub const FOOTER_HINT: u64 = 128 << 10;
/// Ranges with no more bytes between them are read as one.
const GAP: u64 = 512 << 10;
/// Longer ranges are read in parts of this length, side by side.
const PART: u64 = 8 << 20;
const UNIT: u64 = 64 << 10;
/// How many files may go up while others are made. Each is held in memory meanwhile.
const UPLOADS: usize = 16;

/// A store that keeps what it read of announced objects.
pub struct Kept {
    store: Arc<dyn ObjectStore>,
    objects: Arc<Mutex<HashMap<Path, Object>>>,
    room: Arc<Room>,
    /// How many more bytes may be under way that nobody waits for yet, in units of [`UNIT`].
    ahead: Semaphore,
    uploads: Arc<Semaphore>,
    /// Whether no more is read of a small object than is asked for.
    is_sparing: AtomicBool,
}

/// An announced object.
struct Object {
    size: u64,
    /// The store's tag, if it is known: then other bytes than those that were listed are refused.
    tag: Option<String>,
    parts: Vec<Part>,
}

/// A range that was read, or is being read.
#[derive(Clone)]
struct Part {
    range: Range<u64>,
    slot: Shared<BoxFuture<'static, Result<Arc<Slot>, Arc<Error>>>>,
}

impl Kept {
    pub fn new(store: Arc<dyn ObjectStore>, limits: Limits) -> Kept {
        let ahead = usize::try_from(limits.memory / UNIT).unwrap_or(usize::MAX);
        let ahead = Semaphore::new(ahead.clamp(1, Semaphore::MAX_PERMITS));
        let uploads = Arc::new(Semaphore::new(UPLOADS));
        let (objects, room, is_sparing) =
            (Arc::default(), Room::new(limits), AtomicBool::new(false));
        Kept { store, objects, room, ahead, uploads, is_sparing }
    }

    /// The store itself.
    pub fn behind(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Says that an object has this size, and does not change while it is read.
    pub fn announce(&self, path: &Path, size: u64, tag: Option<&str>) {
        let mut objects = self.objects();
        let is_known = objects.get(path).is_some_and(|known| {
            known.size == size && (tag.is_none() || known.tag.as_deref() == tag)
        });
        if !is_known {
            let object = Object { size, tag: tag.map(str::to_owned), parts: Vec::new() };
            objects.insert(path.clone(), object);
        }
    }

    /// Keeps an object that was just written.
    pub async fn keep(&self, path: &Path, bytes: Bytes) {
        let size = bytes.len() as u64;
        let (slot, _) = self.room.keep(bytes).await;
        let slot = async { Ok(slot) }.boxed().shared();
        let parts = vec![Part { range: 0..size, slot }];
        self.objects().insert(path.clone(), Object { size, tag: None, parts });
    }

    /// Holds no more than so many bytes in memory, from here on.
    pub fn hold_at_most(&self, memory: u64) {
        self.room.hold_at_most(memory);
    }

    /// Reads no more of a small object than is asked for, from here on: for who wants footers alone.
    pub fn be_sparing(&self) {
        self.is_sparing.store(true, Ordering::Relaxed);
    }

    /// Waits until one more file may go up in the background. Holds as long as the result does.
    pub async fn upload_slot(&self) -> Option<OwnedSemaphorePermit> {
        self.uploads.clone().acquire_owned().await.ok()
    }

    /// Whether a read of an announced object takes all of it.
    pub fn is_read_whole(size: u64) -> bool {
        size <= WHOLE
    }

    /// The bytes of some ranges. None when the object was not announced.
    pub async fn read(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Option<Vec<Bytes>>> {
        let Some(parts) = self.parts(path, ranges) else { return Ok(None) };
        let mut all = Vec::with_capacity(ranges.len());
        for (range, part) in ranges.iter().zip(parts) {
            let Some(part) = part else {
                all.push(Bytes::new());
                continue;
            };
            let slot = match part.slot.clone().await {
                Ok(slot) => slot,
                Err(error) => {
                    // The next reader asks again.
                    self.forget(path, &part.range);
                    return Err(Error::Generic { store: "object", source: Box::new(error) });
                }
            };
            let at = |position: u64| usize::try_from(position - part.range.start);
            let within = at(range.start).and_then(|from| Ok(from..at(range.end)?));
            let within = within.map_err(|error| failed(path, std::io::Error::other(error)))?;
            all.push(slot.bytes(within).await.map_err(|error| failed(path, error))?);
        }
        Ok(Some(all))
    }

    /// Reads ranges that are needed later. Waits while too much is under way already.
    pub async fn read_ahead(&self, path: &Path, ranges: &[Range<u64>]) -> Result<()> {
        let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        let most = self.room.memory_limit() / UNIT;
        let units = u32::try_from((bytes / UNIT).clamp(1, most.max(1))).unwrap_or(u32::MAX);
        let _under_way = self.ahead.acquire_many(units).await;
        let Some(parts) = self.parts(path, ranges) else { return Ok(()) };
        for part in parts.into_iter().flatten() {
            part.slot.await.map_err(|error| {
                self.forget(path, &part.range);
                Error::Generic { store: "object", source: Box::new(error) }
            })?;
        }
        Ok(())
    }

    /// For each range the part that has it. Begins to read what is missing. None for empty ranges.
    fn parts(&self, path: &Path, ranges: &[Range<u64>]) -> Option<Vec<Option<Part>>> {
        let whole = if self.is_sparing.load(Ordering::Relaxed) { 0 } else { WHOLE };
        let mut objects = self.objects();
        let object = objects.get_mut(path)?;
        for range in object.missing(ranges, whole) {
            let slot = self.begin(path, range.clone(), object.tag.clone());
            object.parts.push(Part { range, slot });
        }
        let parts = ranges.iter().map(|range| object.part(range).cloned());
        Some(parts.collect())
    }

    /// Begins to read a range, in a task of its own: others may wait for it, too.
    fn begin(
        &self,
        path: &Path,
        range: Range<u64>,
        tag: Option<String>,
    ) -> Shared<BoxFuture<'static, Result<Arc<Slot>, Arc<Error>>>> {
        let (store, room, path) = (self.store.clone(), self.room.clone(), path.clone());
        let objects = Arc::downgrade(&self.objects);
        let read = tokio::spawn(async move {
            let bytes = fetch(&store, &path, range, tag).await?;
            let (slot, is_another_file) = room.keep(bytes).await;
            if is_another_file && let Some(objects) = objects.upgrade() {
                forget_left_behind(&objects);
            }
            Ok(slot)
        });
        let slot = async move {
            match read.await {
                Ok(slot) => slot.map_err(Arc::new),
                Err(error) => Err(Arc::new(Error::JoinError { source: error })),
            }
        };
        slot.boxed().shared()
    }

    fn forget(&self, path: &Path, range: &Range<u64>) {
        if let Some(object) = self.objects().get_mut(path) {
            object.parts.retain(|part| part.range != *range);
        }
    }

    fn objects(&self) -> MutexGuard<'_, HashMap<Path, Object>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn size(&self, path: &Path) -> Option<u64> {
        self.objects().get(path).map(|object| object.size)
    }

    fn forget_object(&self, path: &Path) {
        self.objects().remove(path);
    }
}

impl Object {
    fn part(&self, range: &Range<u64>) -> Option<&Part> {
        let has = |part: &&Part| part.range.start <= range.start && range.end <= part.range.end;
        self.parts.iter().filter(|_| !range.is_empty()).find(has)
    }

    /// What has to be read so that each of the ranges is in one part. Objects of up to `whole` bytes are
    /// read whole.
    fn missing(&self, ranges: &[Range<u64>], whole: u64) -> Vec<Range<u64>> {
        let wanted = ranges.iter().filter(|range| !range.is_empty() && self.part(range).is_none());
        let mut wanted: Vec<Range<u64>> = wanted
            .map(|range| match range.start >= self.size.saturating_sub(FOOTER_HINT) {
                _ if self.size <= whole => 0..self.size.max(range.end),
                true => self.size.saturating_sub(FOOTER_HINT)..self.size.max(range.end),
                false => range.clone(),
            })
            .collect();
        wanted.sort_by_key(|range| range.start);
        let mut merged: Vec<Range<u64>> = Vec::new();
        for range in wanted {
            match merged.last_mut() {
                Some(last) if range.start <= last.end.saturating_add(GAP) => {
                    last.end = last.end.max(range.end);
                }
                _ => merged.push(range),
            }
        }
        merged
    }
}

/// Reads a range, in parts side by side where it is long. Errors: the store fails; the object is not
/// the one that was announced.
async fn fetch(
    store: &Arc<dyn ObjectStore>,
    path: &Path,
    range: Range<u64>,
    tag: Option<String>,
) -> Result<Bytes> {
    let starts = range.clone().step_by(usize::try_from(PART).unwrap_or(usize::MAX));
    let parts = starts.map(|start| {
        let part = start..(start + PART).min(range.end);
        let (store, path, tag) = (store.clone(), path.clone(), tag.clone());
        async move { fetch_part(&store, &path, part, tag.as_deref()).await }
    });
    let parts = try_join_all(parts).await?;
    if let [part] = parts.as_slice() {
        return Ok(part.clone());
    }
    let mut all = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
    for part in parts {
        all.extend_from_slice(&part);
    }
    Ok(all.freeze())
}

async fn fetch_part(
    store: &Arc<dyn ObjectStore>,
    path: &Path,
    range: Range<u64>,
    tag: Option<&str>,
) -> Result<Bytes> {
    let wanted = range.end - range.start;
    let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
    let found = store.get_opts(path, options).await?;
    // Listings and answers do not quote a tag alike.
    let bare = |tag: &str| tag.trim_matches('"').to_owned();
    if let (Some(tag), Some(now)) = (tag, found.meta.e_tag.as_deref())
        && bare(tag) != bare(now)
    {
        return Err(failed(path, std::io::Error::other(WAS_REPLACED)));
    }
    let bytes = found.bytes().await?;
    match bytes.len() as u64 == wanted {
        true => Ok(bytes),
        false => Err(failed(path, std::io::Error::other("it is shorter than it was"))),
    }
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    Error::Generic { store: "object", source: format!("{path}: {error}").into() }
}

/// Forgets parts whose spill file is full, so that it can be removed.
fn forget_left_behind(objects: &Mutex<HashMap<Path, Object>>) {
    let mut objects = objects.lock().unwrap_or_else(PoisonError::into_inner);
    for object in objects.values_mut() {
        object.parts.retain(|part| match part.slot.peek() {
            Some(Ok(slot)) => !slot.is_left_behind(),
            _ => true,
        });
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.store, f)
    }
}

#[async_trait]
impl ObjectStore for Kept {
    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let Some(size) = self.size(path).filter(|_| !options.head && !has_conditions(&options))
        else {
            return self.store.get_opts(path, options).await;
        };
        let range = match &options.range {
            None => 0..size,
            Some(range) => match range.as_range(size) {
                Ok(range) => range,
                // The store knows better what to say.
                Err(_) => return self.store.get_opts(path, options).await,
            },
        };
        let read = self.read(path, std::slice::from_ref(&range)).await?;
        let Some(bytes) = read.and_then(|mut ranges| ranges.pop()) else {
            return self.store.get_opts(path, options).await;
        };
        let meta = ObjectMeta {
            location: path.clone(),
            last_modified: chrono::DateTime::UNIX_EPOCH,
            size,
            e_tag: None,
            version: None,
        };
        Ok(answer(meta, range, bytes))
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match self.read(path, ranges).await? {
            Some(bytes) => Ok(bytes),
            None => self.store.get_ranges(path, ranges).await,
        }
    }

    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.forget_object(path);
        self.store.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.forget_object(path);
        self.store.put_multipart_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let objects = self.objects.clone();
        let paths = paths.inspect(move |path| {
            if let Ok(path) = path {
                objects.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
            }
        });
        self.store.delete_stream(paths.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.forget_object(to);
        self.store.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.forget_object(from);
        self.forget_object(to);
        self.store.rename_opts(from, to, options).await
    }
}
