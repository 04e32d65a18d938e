//! What a warehouse asks of the store: its logs are read in two round trips, and once.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use lookback::model;
use lookback::warehouse::Warehouse;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::in_memory::{World, wait_for, world};

/// A store that notes its calls.
#[derive(Debug, Clone)]
struct Noting {
    store: Arc<dyn ObjectStore>,
    calls: Arc<Mutex<Vec<(&'static str, String)>>>,
}

impl Noting {
    fn note(&self, kind: &'static str, path: &Path) {
        self.calls.lock().unwrap().push((kind, path.to_string()));
    }

    /// The calls so far that concern logs, by kind.
    fn of_logs(&self) -> BTreeMap<&'static str, Vec<String>> {
        let mut calls: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        for (kind, path) in self.calls.lock().unwrap().iter() {
            if path.contains("_delta_log") {
                calls.entry(kind).or_default().push(path.clone());
            }
        }
        calls
    }
}

impl fmt::Display for Noting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("noting store")
    }
}

#[async_trait]
impl ObjectStore for Noting {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.note("put", location);
        self.store.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.note("multipart", location);
        self.store.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.note(if options.head { "head" } else { "get" }, location);
        self.store.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.note("get_ranges", location);
        self.store.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.note("list", &prefix.cloned().unwrap_or_default());
        self.store.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.note("list", offset);
        self.store.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.note("list", &prefix.cloned().unwrap_or_default());
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.note("copy", to);
        self.store.copy_opts(from, to, options).await
    }
}

fn noting(world: &World) -> (Noting, World) {
    let noting = Noting { store: world.store.clone(), calls: Arc::default() };
    let seen = world.seen_through(Arc::new(noting.clone()));
    (noting, seen)
}

#[test]
fn opening_lists_each_log_once_and_reads_what_it_needs_once() {
    wait_for(async {
        let world = world(14);
        for day in 0..14 {
            world.night(day).await.unwrap();
        }
        let (noting, seen) = noting(&world);
        let warehouse = Warehouse::open(&seen.job.root).await.unwrap();
        let tables = model::stored().unwrap().len();
        let calls = noting.of_logs();
        assert_eq!(calls["list"].len(), tables, "{calls:?}");
        // The tenth commit wrote a checkpoint, which stands for it and those before it.
        let versions = warehouse.versions();
        let needed = |version: &Option<u64>| match version.unwrap() {
            version @ 9.. => 1 + (version as usize + 1) % 10,
            version => version as usize + 1,
        };
        assert!(versions.values().any(|version| version.unwrap() > 10), "{versions:?}");
        let needed: usize = versions.values().map(needed).sum();
        assert_eq!(calls["get"].len(), needed, "{versions:?} {calls:?}");
        assert_eq!(calls.len(), 2, "{:?}", calls.keys());
    });
}

#[test]
fn a_night_reads_each_log_once_and_commits_with_one_put() {
    wait_for(async {
        let world = world(3);
        world.run(world.backfill(0, 1)).await.unwrap();
        let before = Warehouse::open(&world.job.root).await.unwrap().versions();
        let (noting, seen) = noting(&world);
        seen.night(2).await.unwrap();
        let after = Warehouse::open(&world.job.root).await.unwrap().versions();
        let commits: u64 =
            before.iter().map(|(name, was)| after[name].unwrap() - was.unwrap()).sum();
        let calls = noting.of_logs();
        assert!(commits > 5);
        assert_eq!(calls["put"].len() as u64, commits, "{calls:?}");
        assert_eq!(calls["list"].len(), before.len(), "{calls:?}");
        let versions = before.values().map(|version| version.unwrap() + 1);
        assert_eq!(calls["get"].len() as u64, versions.sum::<u64>(), "{calls:?}");
        assert_eq!(calls.len(), 3, "{:?}", calls.keys());
    });
}
