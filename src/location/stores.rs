//! Makes object stores, one client per bucket, from a job's `[store]` settings and the credentials in
//! the environment.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, ObjectStoreScheme, RetryConfig};
use tokio::sync::Semaphore;
use url::Url;

use super::kept::{Kept, Limits};
use super::traffic::{Counts, Traffic};
use super::watched::Watched;
use super::wire::{Trouble, Wire};

/// An answer of a near store takes a fifth of this, and of a far one half.
const SLOW_SECONDS: f64 = 0.25;

/// The longest pause before a request is repeated. Each "later" is progress, so that the
/// watchdog sees a store that is waited for.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// How object stores are used: the `[store]` section of a job file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreSettings {
    /// How many requests may be under way at once.
    pub requests_at_once: usize,
    /// Bytes of files that are held in memory, and on disk where they are more.
    pub memory: u64,
    pub disk: u64,
    /// How long a request is repeated that is not answered, or answered with "later".
    pub patience: Duration,
}

impl Default for StoreSettings {
    fn default() -> StoreSettings {
        StoreSettings {
            requests_at_once: 64,
            memory: 256 << 20,
            disk: 10 << 30,
            patience: Duration::from_secs(300),
        }
    }
}

/// The object stores of a job.
#[derive(Clone, Default)]
pub struct Stores(Arc<Inner>);

#[derive(Default)]
struct Inner {
    settings: StoreSettings,
    traffic: Arc<Traffic>,
    by_bucket: Mutex<BTreeMap<String, Store>>,
}

/// One bucket, or the local disks.
#[derive(Clone)]
pub struct Store {
    pub(super) store: Arc<dyn ObjectStore>,
    /// The same store, if it keeps what it reads. None for local disks.
    pub(super) kept: Option<Arc<Kept>>,
    /// The same store, but its answers do not count as progress.
    pub(super) unwatched: Arc<dyn ObjectStore>,
}

/// Hides the buckets: the `Debug` of a client may print credentials.
impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stores").field(&self.0.settings).finish()
    }
}

impl Stores {
    pub fn new(settings: StoreSettings) -> Stores {
        Stores(Arc::new(Inner { settings, ..Inner::default() }))
    }

    /// What was asked of object stores so far. None when nothing was.
    pub fn counts(&self) -> Option<Counts> {
        self.0.traffic.counts()
    }

    /// Says so in the log if answers took long.
    pub fn tell_if_slow(&self) {
        if let Some(counts) = self.counts()
            && counts.mean_answer_seconds >= SLOW_SECONDS
        {
            tracing::warn!(
                "the object store is slow: an answer took {:.2} s on average, and {:.1} s at most",
                counts.mean_answer_seconds,
                counts.slowest_answer_seconds
            );
        }
    }

    /// Holds no more than so many bytes of each bucket's files in memory, from here on.
    pub fn hold_at_most(&self, memory: u64) {
        let by_bucket = self.0.by_bucket.lock().unwrap_or_else(PoisonError::into_inner);
        for kept in by_bucket.values().filter_map(|store| store.kept.as_ref()) {
            kept.hold_at_most(memory);
        }
    }

    /// Reads no more of small files than is asked for, from here on: for a run whose rows others read.
    pub fn be_sparing(&self) {
        let by_bucket = self.0.by_bucket.lock().unwrap_or_else(PoisonError::into_inner);
        by_bucket
            .values()
            .filter_map(|store| store.kept.as_ref())
            .for_each(|kept| kept.be_sparing());
    }

    /// The store of a URL, and the path in it. Errors: a URL that the store's own parser refuses.
    pub(super) fn of(&self, url: &Url) -> Result<(Store, Path)> {
        let (scheme, path) = ObjectStoreScheme::parse(url)?;
        let path = Path::parse(path)?;
        let bucket = format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
        let mut by_bucket = self.0.by_bucket.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = by_bucket.get(&bucket) {
            return Ok((store.clone(), path));
        }
        let settings = self.0.settings;
        let trouble = Arc::new(Trouble::new(&bucket, settings.patience));
        let client = |is_watched| {
            let wire = Wire {
                traffic: self.0.traffic.clone(),
                limit: Arc::new(Semaphore::new(settings.requests_at_once)),
                is_watched,
                trouble: trouble.clone(),
            };
            client(&scheme, url, wire, settings.patience)
        };
        let limits = Limits { memory: settings.memory, disk: settings.disk };
        let store = Store::keeping(&bucket, client(true)?, client(false)?, limits);
        by_bucket.insert(bucket, store.clone());
        Ok((store, path))
    }
}

impl Store {
    /// A store on a local disk, which is fast and keeps what it reads itself.
    pub(super) fn local(store: Arc<dyn ObjectStore>) -> Store {
        let watched = Arc::new(Watched::new("file://", store.clone()));
        Store { store: watched, kept: None, unwatched: store }
    }

    /// A store for tests, which is used as a remote one is.
    pub fn of(store: Arc<dyn ObjectStore>) -> Store {
        let StoreSettings { memory, disk, .. } = StoreSettings::default();
        Store::keeping("test", store.clone(), store, Limits { memory, disk })
    }

    fn keeping(
        name: &str,
        store: Arc<dyn ObjectStore>,
        unwatched: Arc<dyn ObjectStore>,
        limits: Limits,
    ) -> Store {
        let watched = Arc::new(Watched::new(name, store));
        let kept = Arc::new(Kept::new(watched, limits));
        Store { store: kept.clone(), kept: Some(kept), unwatched }
    }
}

/// Makes a client with the credentials of the environment (`AWS_…`, `GOOGLE_…`, `AZURE_…`).
fn client(
    scheme: &ObjectStoreScheme,
    url: &Url,
    wire: Wire,
    patience: Duration,
) -> Result<Arc<dyn ObjectStore>> {
    #[expect(clippy::disallowed_methods, reason = "credentials come from the environment")]
    let variables: Vec<(String, String)> =
        std::env::vars().map(|(key, value)| (key.to_ascii_lowercase(), value)).collect();
    let of = |names: &'static [&'static str]| {
        variables
            .iter()
            .filter(|(key, _)| names.iter().any(|name| key.starts_with(name)))
            .map(|(key, value)| (key.as_str(), value.as_str()))
    };
    let retry = RetryConfig {
        backoff: BackoffConfig { max_backoff: LONGEST_PAUSE, ..BackoffConfig::default() },
        max_retries: usize::MAX,
        retry_timeout: patience,
    };
    // `wire` has its own limits, which a long answer that keeps coming does not reach.
    let options = ClientOptions::new().with_timeout_disabled();
    macro_rules! build {
        ($builder:ty, $names:expr) => {{
            #[expect(clippy::disallowed_methods, reason = "here object stores are made")]
            let mut builder = <$builder>::new()
                .with_url(url.as_str())
                .with_client_options(options)
                .with_retry(retry)
                .with_http_connector(wire);
            for (key, value) in of($names) {
                if let Ok(key) = key.parse() {
                    builder = builder.with_config(key, value);
                }
            }
            Arc::new(builder.build()?)
        }};
    }
    Ok(match scheme {
        ObjectStoreScheme::AmazonS3 => build!(AmazonS3Builder, &["aws_"]),
        ObjectStoreScheme::GoogleCloudStorage => build!(GoogleCloudStorageBuilder, &["google_"]),
        ObjectStoreScheme::MicrosoftAzure => {
            build!(MicrosoftAzureBuilder, &["azure_", "azurite_"])
        }
        _ => bail!("is of no known object store"),
    })
}
