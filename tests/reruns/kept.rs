//! What a store keeps of the objects that a run reads: nothing is asked for twice.

use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use lookback::location::{self, Location, Store};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::failing_store::{FailingStore, Kind};

/// A store that keeps what it reads, and what it reads from.
struct Kept {
    kept: Arc<location::Kept>,
    behind: Arc<InMemory>,
    counting: FailingStore,
}

/// With one announced object, `a`, of so many bytes: each is its position modulo 251.
async fn with_object(size: u64) -> Kept {
    let behind = Arc::new(InMemory::new());
    let content: Vec<u8> = (0..size).map(|byte| (byte % 251) as u8).collect();
    behind.put(&Path::from("a"), content.into()).await.unwrap();
    let counting = FailingStore::counting(behind.clone());
    let store = Store::of(Arc::new(counting.clone()));
    let location = Location::parse("s3://world", FilePath::new("/")).unwrap().in_store(&store);
    let kept = location.kept().unwrap().clone();
    kept.announce(&Path::from("a"), size, None);
    Kept { kept, behind, counting }
}

impl Kept {
    async fn check(&self, range: Range<u64>) {
        let bytes = self.kept.get_range(&Path::from("a"), range.clone()).await.unwrap();
        let expected: Vec<u8> = range.map(|byte| (byte % 251) as u8).collect();
        assert!(bytes == expected, "other bytes");
    }

    /// How many reads went to the store behind it.
    fn reads(&self) -> usize {
        self.counting.noted().iter().filter(|(kind, _)| *kind == Kind::Get).count()
    }
}

#[tokio::test]
async fn a_small_object_is_read_once_and_whole() {
    let store = with_object(1000).await;
    store.check(992..1000).await;
    store.check(10..500).await;
    let empty = store.kept.get_ranges(&Path::from("a"), &[5..5, 7..7]).await.unwrap();
    assert_eq!(empty, [Bytes::new(), Bytes::new()]);
    let whole = store.kept.get(&Path::from("a")).await.unwrap().bytes().await.unwrap();
    assert_eq!((whole.len(), store.reads()), (1000, 1));
}

#[tokio::test]
async fn a_large_object_is_read_in_few_requests_and_nothing_twice() {
    let size = 40 << 20;
    let store = with_object(size).await;
    store.check(size - 8..size).await;
    store.check(size - 5000..size - 8).await;
    assert_eq!(store.reads(), 1, "the footer comes with its length");
    let ranges = [(4 << 20)..(5 << 20), (5 << 20) + 1000..(6 << 20), 0..1 << 20];
    let read = store.kept.get_ranges(&Path::from("a"), &ranges).await.unwrap();
    assert_eq!(read.iter().map(Bytes::len).sum::<usize>(), (3 << 20) - 1000);
    assert_eq!(store.reads(), 3, "what lies close together is one request");
    for range in ranges {
        store.check(range).await;
    }
    assert_eq!(store.reads(), 3);
    store.check(10 << 20..30 << 20).await;
    assert_eq!(store.reads(), 6, "parts of a long range");
}

#[tokio::test]
async fn readers_at_once_share_a_request() {
    let store = with_object(1 << 20).await;
    futures::join!(store.check(5..10), store.check(7..1000), store.check(0..1 << 20));
    assert_eq!(store.reads(), 1);
}

#[tokio::test]
async fn a_failed_read_is_tried_again_and_tells_why() {
    let store = with_object(100).await;
    let path = Path::from("a");
    store.behind.delete(&path).await.unwrap();
    let error = store.kept.get_range(&path, 0..10).await.unwrap_err();
    assert!(format!("{error:?}").contains("NotFound"), "{error:?}");
    store.behind.put(&path, vec![0; 100].into()).await.unwrap();
    assert_eq!(store.kept.get_range(&path, 0..10).await.unwrap().len(), 10);
}

#[tokio::test]
async fn an_object_that_was_replaced_is_refused() {
    let store = with_object(100).await;
    let path = Path::from("a");
    let meta = store.behind.head(&path).await.unwrap();
    store.behind.put(&path, vec![1; 100].into()).await.unwrap();
    store.kept.announce(&path, 100, meta.e_tag.as_deref());
    let error = store.kept.get_range(&path, 0..10).await.unwrap_err();
    assert!(format!("{error:?}").contains("replaced since it was listed"), "{error:?}");
    store.behind.put(&path, vec![1; 50].into()).await.unwrap();
    store.kept.announce(&path, 99, None);
    let error = store.kept.get_range(&path, 0..10).await.unwrap_err();
    assert!(format!("{error:?}").contains("shorter than it was"), "{error:?}");
}

#[tokio::test]
async fn what_was_written_is_not_read() {
    let store = with_object(100).await;
    store.kept.put(&Path::from("b"), vec![5; 10].into()).await.unwrap();
    store.kept.keep(&Path::from("b"), Bytes::from(vec![5; 10])).await;
    store.kept.announce(&Path::from("b"), 10, None);
    assert_eq!(store.kept.get_range(&Path::from("b"), 2..4).await.unwrap(), vec![5, 5]);
    assert_eq!(store.reads(), 0);
}

#[tokio::test]
async fn other_objects_pass_through() {
    let store = with_object(100).await;
    store.kept.put(&Path::from("b"), vec![5; 10].into()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(store.kept.get_range(&Path::from("b"), 2..4).await.unwrap(), vec![5, 5]);
    }
    assert_eq!(store.reads(), 2);
}
