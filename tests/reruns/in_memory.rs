//! A small world in a store in memory, as if it lay on object storage.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, NaiveDate};
use lookback::days::DateRange;
use lookback::demo::{self, Scale};
use lookback::engine::{SqlOverrides, Tuning};
use lookback::job::Job;
use lookback::location::{Location, Store};
use lookback::lock::Pace;
use lookback::model;
use lookback::plan::{DateSelection, Rebuild};
use lookback::progress::Progress;
use lookback::raw::Source;
use lookback::reference::TableSource;
use lookback::run::{self, Request};
use lookback::stop::Stop;
use lookback::summary::Summary;
use lookback::warehouse::Warehouse;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// What a reader sees: of each table, the digest of the rows of each of its files' dates.
pub type State = BTreeMap<&'static str, BTreeMap<String, String>>;

#[derive(Clone)]
pub struct World {
    pub store: Arc<InMemory>,
    /// What the job's calls go through. None for a job on local disks.
    through: Option<Arc<dyn ObjectStore>>,
    pub job: Job,
    pub dates: DateRange,
}

/// A world of so many days, of which every look-back is short.
pub fn world(days: u32) -> World {
    let folder = tempfile::tempdir().unwrap();
    let scale = Scale { days, clicks_per_day: 40, orders_per_day: 10, ..Scale::default() };
    let made = demo::write_world(folder.path(), &scale, &mut |_, _| ()).unwrap();
    let store = Arc::new(InMemory::new());
    futures::executor::block_on(upload(&store, folder.path(), folder.path()));
    let mut job = Job::load(&made.job_file).unwrap();
    job.late_days = 1;
    job.window_hours = 48;
    job.order_horizon_days = 2;
    let dates = DateRange { from: made.from, to: made.to };
    let job = on_store(&job, &Store::of(store.clone()), folder.path());
    World { job, through: Some(store.clone()), store, dates }
}

async fn upload(store: &InMemory, root: &FilePath, folder: &FilePath) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            Box::pin(upload(store, root, &path)).await;
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            store.put(&Path::from(name), std::fs::read(&path).unwrap().into()).await.unwrap();
        }
    }
}

fn on_store(job: &Job, store: &Store, folder: &FilePath) -> Job {
    let location = |relative: &str| {
        let location = Location::parse(&format!("s3://world/{relative}"), folder).unwrap();
        location.in_store(store)
    };
    Job {
        clicks: vec![Source::plain(location("raw/clicks"))],
        orders: vec![Source::plain(location("raw/orders"))],
        links: TableSource::plain(location("reference/links.csv")),
        stores: TableSource::plain(location("reference/stores.csv")),
        rates: TableSource::plain(location("reference/rates.csv")),
        fx_rates: Some(TableSource::plain(location("reference/fx_rates.csv"))),
        identities: Some(TableSource::plain(location("reference/identities.csv"))),
        root: location("warehouse"),
        ..job.clone()
    }
}

impl World {
    pub fn on_disk(job: Job, dates: DateRange) -> World {
        World { store: Arc::new(InMemory::new()), through: None, job, dates }
    }

    /// The same, from here on apart.
    pub fn fork(&self) -> World {
        let store = Arc::new(self.store.fork());
        let world = World { store: store.clone(), ..self.clone() };
        world.seen_through(store)
    }

    /// The same world, with every call going through another store.
    pub fn seen_through(&self, store: Arc<dyn ObjectStore>) -> World {
        let through = Store::of(store.clone());
        let seen = |location: &Location| location.in_store(&through);
        let logs = |sources: &[Source]| -> Vec<Source> {
            let sources = sources.iter();
            sources.map(|of| Source { location: seen(&of.location), ..of.clone() }).collect()
        };
        let table = |of: &TableSource| TableSource { location: seen(&of.location), ..of.clone() };
        let job = Job {
            clicks: logs(&self.job.clicks),
            orders: logs(&self.job.orders),
            links: table(&self.job.links),
            stores: table(&self.job.stores),
            rates: table(&self.job.rates),
            fx_rates: self.job.fx_rates.as_ref().map(table),
            identities: self.job.identities.as_ref().map(table),
            root: seen(&self.job.root),
            ..self.job.clone()
        };
        World { job, through: Some(store), ..self.clone() }
    }

    pub async fn text(&self, object: &str) -> String {
        let content = self.store.get(&Path::from(object)).await.unwrap().bytes().await.unwrap();
        String::from_utf8(content.to_vec()).unwrap()
    }

    pub async fn put(&self, object: &str, content: impl Into<Bytes>) {
        self.store.put(&Path::from(object), content.into().into()).await.unwrap();
    }

    /// Replaces a piece of a text object that is there.
    pub async fn edit(&self, object: &str, from: &str, to: &str) {
        let text = self.text(object).await;
        assert!(text.contains(from), "{object} has no {from}");
        self.put(object, text.replace(from, to)).await;
    }

    pub async fn run(&self, selection: DateSelection) -> Result<Summary, Stop> {
        self.run_with(selection, Rebuild::Changed, SqlOverrides::new()).await
    }

    /// A nightly run on the evening when the date's last landing date has landed, and no later one.
    pub async fn night(&self, day: usize) -> Result<Summary, Stop> {
        let date = self.date(day);
        let request = Request {
            as_of: date.succ_opt(),
            // No heartbeat: the calls of a night are counted, and must not depend on its duration.
            pace: Pace { heartbeat: Duration::from_secs(3600), ..PACE },
            ..request(DateSelection::Night(date), Rebuild::Changed, SqlOverrides::new())
        };
        self.start(&request).await
    }

    pub async fn run_with(
        &self,
        selection: DateSelection,
        rebuild: Rebuild,
        sql_overrides: SqlOverrides,
    ) -> Result<Summary, Stop> {
        self.start(&request(selection, rebuild, sql_overrides)).await
    }

    async fn start(&self, request: &Request) -> Result<Summary, Stop> {
        // Each run is a process of its own, which has read nothing yet.
        let job = match &self.through {
            Some(store) => self.seen_through(store.clone()).job,
            None => self.job.clone(),
        };
        run::run(&job, request, &Progress::default(), std::future::pending()).await
    }

    pub fn backfill(&self, from: usize, to: usize) -> DateSelection {
        DateSelection::Backfill(DateRange { from: self.date(from), to: self.date(to) })
    }

    /// The report date of a day of the world, counted from 0.
    pub fn date(&self, day: usize) -> NaiveDate {
        self.dates.iter().nth(day).unwrap()
    }

    /// What a reader sees. Every file must be there, and hold what was written.
    pub async fn state(&self) -> State {
        let warehouse = Warehouse::open(&self.job.root).await.unwrap();
        let mut state = State::new();
        for model in model::stored().unwrap() {
            let folder = warehouse.folder(model);
            let mut slices = BTreeMap::new();
            for file in &warehouse.table(model.name).unwrap().files {
                let content = folder.child(file.path()).read().await.unwrap();
                let content = content.unwrap_or_else(|| panic!("{}: is gone", file.path()));
                let digest = blake3::hash(&content).to_hex().as_str()[..32].to_owned();
                assert_eq!(digest, file.digest, "{}", file.path());
                let twice = slices.insert(format!("{:?}", file.partition), digest);
                assert!(twice.is_none(), "{}: {:?} twice", model.name, file.partition);
            }
            state.insert(model.name, slices);
        }
        state
    }

    /// The same, but of the rows in any order: clean rows lie in the order in which they were found.
    pub async fn rows(&self) -> State {
        let warehouse = Warehouse::open(&self.job.root).await.unwrap();
        let mut state = State::new();
        for model in model::stored().unwrap() {
            let folder = warehouse.folder(model);
            let mut slices = BTreeMap::new();
            for file in &warehouse.table(model.name).unwrap().files {
                let content = folder.child(file.path()).read().await.unwrap().unwrap();
                slices.insert(format!("{:?}", file.partition), digest_of_rows(content));
            }
            state.insert(model.name, slices);
        }
        state
    }

    /// The files of a table, by date: a date that is rewritten has another file.
    pub async fn files(&self, table: &str) -> BTreeMap<NaiveDate, String> {
        let warehouse = Warehouse::open(&self.job.root).await.unwrap();
        let files = warehouse.table(table).unwrap().files.iter();
        files.map(|file| (file.partition.date, file.path().to_owned())).collect()
    }
}

fn digest_of_rows(content: Bytes) -> String {
    let batches = ParquetRecordBatchReaderBuilder::try_new(content).unwrap().build().unwrap();
    let mut rows = Vec::new();
    for batch in batches {
        let batch = batch.unwrap();
        let fields = batch
            .schema()
            .fields()
            .iter()
            .map(|field| arrow::row::SortField::new(field.data_type().clone()))
            .collect();
        let converter = arrow::row::RowConverter::new(fields).unwrap();
        let converted = converter.convert_columns(batch.columns()).unwrap();
        rows.extend(converted.iter().map(|row| row.as_ref().to_vec()));
    }
    rows.sort();
    let mut hasher = blake3::Hasher::new();
    for row in rows {
        hasher.update(&(row.len() as u64).to_le_bytes()).update(&row);
    }
    hasher.finalize().to_hex().as_str()[..32].to_owned()
}

/// The warehouse as if it had been made from today's inputs in one go.
pub async fn afresh(world: &World, days: usize) -> World {
    let fresh = world.fork();
    let mut job = fresh.job.clone();
    job.root = Location::parse("s3://world/fresh", FilePath::new("/"))
        .unwrap()
        .in_store(&Store::of(fresh.store.clone()));
    let fresh = World { job, ..fresh };
    fresh.run(fresh.backfill(0, days - 1)).await.unwrap();
    fresh
}

/// What a reader would see then.
pub async fn made_afresh(world: &World, days: usize) -> State {
    afresh(world, days).await.state().await
}

pub fn request(selection: DateSelection, rebuild: Rebuild, sql_overrides: SqlOverrides) -> Request {
    Request {
        selection,
        as_of: None,
        now: DateTime::UNIX_EPOCH,
        run_id: uuid::Uuid::now_v7().to_string(),
        tuning: Tuning { partitions: 2, batch_size: 8192, ..Tuning::default() },
        rebuild,
        pace: PACE,
        sql_overrides,
        elsewhere: None,
    }
}

/// Impatient, so that tests need not wait long until a dead run is overtaken. On a busy machine a
/// heartbeat may come too late; so no test lets a living run be watched at this pace.
pub const PACE: Pace = Pace {
    heartbeat: Duration::from_millis(100),
    dead: Duration::from_millis(2500),
    give_up: Duration::from_millis(1500),
    look: Duration::from_millis(50),
};

pub fn wait_for<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(work)
}
