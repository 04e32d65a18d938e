//! A store in which one call goes wrong.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::watch;

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and nothing was done.
    Before,
    /// It is done, and its answer is lost.
    After,
    /// No answer within the time; it may have been done.
    TimeOut,
    /// The service is unavailable.
    Unavailable,
    /// A body or a listing breaks off half-way.
    CutShort,
    /// From this call on nothing moves, until the store thaws: as a process that is stopped.
    Freeze,
}

pub const FAULTS: [Fault; 6] = [
    Fault::Before,
    Fault::After,
    Fault::TimeOut,
    Fault::Unavailable,
    Fault::CutShort,
    Fault::Freeze,
];

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Get,
    Head,
    List,
    Put,
    Multipart,
    Delete,
    Copy,
}

pub struct FailingStore {
    store: Arc<dyn ObjectStore>,
    calls: Arc<Mutex<Vec<(Kind, Path)>>>,
    at: usize,
    fault: Fault,
    thawed: watch::Receiver<bool>,
    /// Objects that listings answered with.
    pub listed: Arc<AtomicUsize>,
}

impl FailingStore {
    /// The call number `at` goes wrong; calls are counted from 1.
    pub fn new(store: Arc<dyn ObjectStore>, at: usize, fault: Fault) -> FailingStore {
        let (thaw, thawed) = watch::channel(false);
        std::mem::forget(thaw);
        FailingStore { thawed, ..FailingStore::freezing(store, at, fault).0 }
    }

    /// Likewise, with what thaws it.
    pub fn freezing(
        store: Arc<dyn ObjectStore>,
        at: usize,
        fault: Fault,
    ) -> (FailingStore, watch::Sender<bool>) {
        let (thaw, thawed) = watch::channel(false);
        let (calls, listed) = Default::default();
        (FailingStore { store, calls, at, fault, thawed, listed }, thaw)
    }

    /// A store that only counts.
    pub fn counting(store: Arc<dyn ObjectStore>) -> FailingStore {
        FailingStore::new(store, usize::MAX, Fault::Before)
    }

    pub fn calls(&self) -> usize {
        self.calls.lock().unwrap().len()
    }

    /// The calls so far: what they asked for, and of which object or folder.
    pub fn noted(&self) -> Vec<(Kind, Path)> {
        self.calls.lock().unwrap().clone()
    }

    /// Notes a call. Errors: this one goes wrong before it acts.
    async fn begin(&self, kind: Kind, path: &Path) -> Result<Call> {
        let call = {
            let mut calls = self.calls.lock().unwrap();
            calls.push((kind, path.clone()));
            calls.len()
        };
        if self.fault == Fault::Freeze && call >= self.at {
            let mut thawed = self.thawed.clone();
            let _ = thawed.wait_for(|is_thawed| *is_thawed).await;
            return Ok(Call { fault: None, call });
        }
        if call != self.at {
            return Ok(Call { fault: None, call });
        }
        match self.fault {
            Fault::Before => Err(broken("the connection was refused")),
            Fault::Unavailable => Err(broken("503 slow down")),
            Fault::TimeOut if call.is_multiple_of(2) => Err(broken("operation timed out")),
            fault => Ok(Call { fault: Some(fault), call }),
        }
    }
}

struct Call {
    fault: Option<Fault>,
    call: usize,
}

impl Call {
    /// What is told of a call that was done.
    fn end<T>(&self, done: Result<T>) -> Result<T> {
        match self.fault {
            Some(Fault::After) => done.and(Err(broken("the connection was lost"))),
            Some(Fault::TimeOut) => {
                done.and(Err(broken(&format!("operation {} timed out", self.call))))
            }
            _ => done,
        }
    }

    fn is_cut(&self) -> bool {
        self.fault == Some(Fault::CutShort)
    }
}

fn broken(how: &str) -> Error {
    Error::Generic { store: "failing store", source: how.to_owned().into() }
}

impl fmt::Debug for FailingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failing store")
    }
}

impl fmt::Display for FailingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failing store")
    }
}

impl Clone for FailingStore {
    fn clone(&self) -> FailingStore {
        FailingStore {
            store: self.store.clone(),
            calls: self.calls.clone(),
            thawed: self.thawed.clone(),
            listed: self.listed.clone(),
            ..*self
        }
    }
}

#[async_trait]
impl ObjectStore for FailingStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let call = self.begin(Kind::Put, location).await?;
        call.end(self.store.put_opts(location, payload, options).await)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let call = self.begin(Kind::Multipart, location).await?;
        call.end(self.store.put_multipart_opts(location, options).await)
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let kind = if options.head { Kind::Head } else { Kind::Get };
        let call = self.begin(kind, location).await?;
        let found = call.end(self.store.get_opts(location, options).await)?;
        if !call.is_cut() {
            return Ok(found);
        }
        let (meta, range, attributes) =
            (found.meta.clone(), found.range.clone(), found.attributes.clone());
        let content = found.bytes().await?;
        let half = content.slice(..content.len() / 2);
        let parts = [Ok(half), Err(broken("the body ended early"))];
        let payload = GetResultPayload::Stream(futures::stream::iter(parts).boxed());
        Ok(GetResult { payload, meta, range, attributes })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let call = self.begin(Kind::Get, location).await?;
        let found = call.end(self.store.get_ranges(location, ranges).await)?;
        match call.is_cut() {
            true => Err(broken("the body ended early")),
            false => Ok(found),
        }
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let deleted = locations.then(move |location| {
            let this = this.clone();
            async move {
                let location = location?;
                let call = this.begin(Kind::Delete, &location).await?;
                let one = futures::stream::iter([Ok(location.clone())]).boxed();
                let done = this.store.delete_stream(one).try_collect::<Vec<_>>().await;
                call.end(done.map(|_| location))
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix, self.store.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix, self.store.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let call = self.begin(Kind::List, &prefix.cloned().unwrap_or_default()).await?;
        let listing = call.end(self.store.list_with_delimiter(prefix).await)?;
        self.listed.fetch_add(listing.objects.len(), Ordering::SeqCst);
        match call.is_cut() {
            true => Err(broken("the listing ended early")),
            false => Ok(listing),
        }
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let call = self.begin(Kind::Copy, to).await?;
        call.end(self.store.copy_opts(from, to, options).await)
    }
}

impl FailingStore {
    fn listing(
        &self,
        prefix: Option<&Path>,
        listing: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (this, prefix) = (self.clone(), prefix.cloned().unwrap_or_default());
        let begun = async move {
            let call = match this.begin(Kind::List, &prefix).await {
                Ok(call) => call,
                Err(error) => return futures::stream::iter([Err(error)]).boxed(),
            };
            let mut found: Vec<Result<ObjectMeta>> = listing.collect().await;
            this.listed.fetch_add(found.len(), Ordering::SeqCst);
            if call.is_cut() {
                found.truncate(found.len() / 2);
                found.push(Err(broken("the listing ended early")));
            } else if let Err(error) = call.end(Ok(())) {
                found = vec![Err(error)];
            }
            futures::stream::iter(found).boxed()
        };
        begun.flatten_stream().boxed()
    }
}
