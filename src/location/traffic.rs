//! Counts what a job asks of its object stores, as it goes over the wire: whoever pays for requests
//! and bytes sees them in the summary. Local disks are not counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

/// Kinds of requests, as stores price them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Get,
    Head,
    List,
    Put,
    Delete,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::Get, Kind::Head, Kind::List, Kind::Put, Kind::Delete];

    /// What a request is, from its method and the query of its URL.
    pub(super) fn of(method: &str, query: &str) -> Kind {
        let lists = ["list-type=", "comp=list"].iter().any(|sign| query.contains(sign));
        let deletes = query.split('&').any(|key| key == "delete" || key == "delete=");
        match method {
            "GET" if lists => Kind::List,
            "GET" => Kind::Get,
            "HEAD" => Kind::Head,
            "DELETE" => Kind::Delete,
            "POST" if deletes => Kind::Delete,
            _ => Kind::Put,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Get => "get",
            Kind::Head => "head",
            Kind::List => "list",
            Kind::Put => "put",
            Kind::Delete => "delete",
        }
    }
}

/// Counters that all stores of a job share.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    requests: [AtomicU64; Kind::ALL.len()],
    failed: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    answers: AtomicU64,
    waited_millis: AtomicU64,
    slowest_millis: AtomicU64,
}

impl Traffic {
    pub(super) fn count_request(&self, kind: Kind, bytes_written: usize) {
        self.requests[kind as usize].fetch_add(1, Ordering::Relaxed);
        self.bytes_written.fetch_add(bytes_written as u64, Ordering::Relaxed);
    }

    /// An answer began to come after so long.
    pub(super) fn count_wait(&self, wait: Duration) {
        let millis = wait.as_millis() as u64;
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.waited_millis.fetch_add(millis, Ordering::Relaxed);
        self.slowest_millis.fetch_max(millis, Ordering::Relaxed);
    }

    pub(super) fn count_failure(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_read(&self, bytes: usize) {
        self.bytes_read.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The counts so far. None when nothing was asked of any object store.
    pub(super) fn counts(&self) -> Option<Counts> {
        let requests: BTreeMap<&'static str, u64> = Kind::ALL
            .iter()
            .map(|kind| (kind.name(), self.requests[*kind as usize].load(Ordering::Relaxed)))
            .filter(|(_, requests)| *requests > 0)
            .collect();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (!requests.is_empty()).then(|| Counts {
            requests,
            failed: count(&self.failed),
            bytes_read: count(&self.bytes_read),
            bytes_written: count(&self.bytes_written),
            mean_answer_seconds: count(&self.waited_millis) as f64
                / count(&self.answers).max(1) as f64
                / 1000.0,
            slowest_answer_seconds: count(&self.slowest_millis) as f64 / 1000.0,
        })
    }
}

/// What was asked of the object stores.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Counts {
    /// Requests by kind, those included that failed and were repeated.
    pub requests: BTreeMap<&'static str, u64>,
    /// Requests without an answer, or with one that asks to come back later.
    pub failed: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
    /// The time until an answer began, on average and at most.
    pub mean_answer_seconds: f64,
    pub slowest_answer_seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_as_stores_price_them() {
        assert_eq!(Kind::of("GET", "list-type=2&prefix=a"), Kind::List);
        assert_eq!(Kind::of("GET", "restype=container&comp=list"), Kind::List);
        assert_eq!(Kind::of("GET", ""), Kind::Get);
        assert_eq!(Kind::of("POST", "delete"), Kind::Delete);
        assert_eq!(Kind::of("POST", "uploads"), Kind::Put);
        assert_eq!(Kind::of("PUT", "partNumber=1&uploadId=delete"), Kind::Put);
    }

    #[test]
    fn a_job_on_local_disks_has_no_counts() {
        let traffic = Traffic::default();
        assert_eq!(traffic.counts(), None);
        traffic.count_request(Kind::Put, 7);
        let counts = traffic.counts().unwrap();
        assert_eq!((counts.requests, counts.bytes_written), ([("put", 1)].into(), 7));
    }
}
