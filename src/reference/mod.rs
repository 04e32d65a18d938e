//! The reference tables: links, stores, rates, fx rates, identities. They are read, checked as a
//! whole (B3) and stored in the warehouse, so that a change is a difference of rows.
//!
//! A table whose files are the same as before (D8) is not read again: its rows are in the warehouse, and read
//! from there once something asks for them. Refuses to know how rows are used: SQL decides which one
//! is in force for a click or an order.

mod changes;
mod columns;
mod complaints;
mod repeats;
mod sheet;
mod source;
mod table;
mod times;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::DataType;
use futures::future::try_join_all;
use tokio::sync::{Mutex, OnceCell};

use crate::engine::{Engine, SqlOverrides, Tuning};
use crate::job::Job;
use crate::location::Location;
use crate::model::{self, Model};
use crate::raw::Shape;
use crate::stop::Stop;
use crate::warehouse::{SourceFile, Warehouse};
pub use changes::{Key, key_columns};
use sheet::{Content, Sheet};
pub use source::Heads;
use source::{Found, Head};
use table::Table;

/// Where a reference table is, and which of its columns are ours. It is a file, a folder of files or
/// a Delta table.
#[derive(Debug, Clone)]
pub struct TableSource {
    pub location: Location,
    pub shape: Shape,
}

impl TableSource {
    /// A file with our column names.
    pub fn plain(location: Location) -> TableSource {
        TableSource { location, shape: Shape::Columns(BTreeMap::new()) }
    }
}

/// The reference tables, by the name that the job file has for them.
pub const TABLES: [&str; 5] = ["links", "stores", "rates", "fx_rates", "identities"];

/// Stored tables of so many rows are held in memory. Larger ones are read where they are needed.
const SMALL: u64 = 500_000;

/// The checked reference tables of a job.
pub struct Reference {
    tables: BTreeMap<&'static str, Loaded>,
    /// The keys of rows that were added, changed or removed since the latest run.
    pub changed: BTreeSet<Key>,
    /// What lies in the tables' folders and is not read (B5).
    pub unread: Vec<String>,
}

/// One table as it is now.
struct Loaded {
    rows: Rows,
    /// Whether the rows are others than the warehouse has.
    is_new: bool,
    count: u64,
    /// None when the job names no file.
    source: Option<SourceFile>,
}

/// Where a table's rows are.
enum Rows {
    /// In memory: there are few.
    Here(RecordBatch),
    /// In the file, which is decoded when they are asked for.
    InFile(Table),
    /// In the warehouse. Once they are asked for, they are held if there are few.
    Stored(OnceCell<RecordBatch>),
}

impl Reference {
    /// Reads and checks all tables that are not as the latest run left them. Errors: exit 2 with
    /// every complaint; exit 1 when a store fails.
    pub async fn load(job: &Job, warehouse: &Warehouse, heads: &Heads) -> Result<Reference, Stop> {
        let engine = Engine::new(&Tuning::default(), SqlOverrides::new())?;
        let decoder = Mutex::new(());
        let loading = Loading { job, warehouse, engine, decoder };
        let tables = TABLES.map(|name| Box::pin(loading.load(name, heads.of(name))));
        let mut complaints = Vec::new();
        let mut reference = Reference {
            tables: BTreeMap::new(),
            changed: BTreeSet::new(),
            unread: heads.unread(job),
        };
        for (name, loaded) in TABLES.into_iter().zip(try_join_all(tables).await?) {
            match loaded {
                Ok((table, changed)) => {
                    reference.tables.insert(name, table);
                    reference.changed.extend(changed);
                }
                Err(troubles) => complaints.extend(troubles),
            }
        }
        match complaints.is_empty() {
            true => Ok(reference),
            false => Err(Stop::fix(complaints)
                .hint("nothing was written; fix the reference tables and run again")),
        }
    }

    /// The number of rows of each table.
    pub fn row_counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.tables.iter().map(|(name, table)| (*name, table.count))
    }

    /// The tables whose rows the warehouse does not have yet.
    pub fn new_tables(&self) -> BTreeSet<&'static str> {
        let tables = self.tables.iter().filter(|(_, table)| table.is_new);
        tables.map(|(name, _)| *name).collect()
    }

    /// The files that the tables were read from.
    pub fn sources(&self) -> BTreeMap<String, SourceFile> {
        let sources = self.tables.iter();
        let sources =
            sources.map(|(name, table)| Some(((*name).to_owned(), table.source.clone()?)));
        sources.flatten().collect()
    }

    /// Registers the tables in an engine, as `reference.links` and so on.
    pub async fn register(&self, engine: &Engine, warehouse: &Warehouse) -> Result<()> {
        let tables = self.tables.iter().map(async |(name, table)| {
            let model = model_of(name)?;
            match &table.rows {
                Rows::Here(rows) => engine.register_rows(model.name, rows.clone()).await,
                Rows::InFile(table) => register_file(engine, model.name, table, model).await,
                Rows::Stored(_) if SMALL < table.count => register_stored(engine, warehouse, model),
                Rows::Stored(held) => {
                    let read = || collect(engine, warehouse, model);
                    let rows = held.get_or_try_init(read).await?.clone();
                    engine.register_rows(model.name, rows).await
                }
            }
        });
        try_join_all(tables).await?;
        Ok(())
    }

    /// Registers the rows of a table to store, as `input.links` and so on.
    pub async fn register_input(&self, engine: &Engine, name: &str) -> Result<()> {
        let input = format!("input.{name}");
        match self.tables.get(name).map(|table| &table.rows) {
            Some(Rows::Here(rows)) => engine.register_rows(&input, rows.clone()).await,
            Some(Rows::InFile(table)) => {
                register_file(engine, &input, table, model_of(name)?).await
            }
            _ => anyhow::bail!("{name}: no rows to store"),
        }
    }

    /// Notes that the warehouse has all rows. Large tables are read from there.
    pub fn stored(&mut self) {
        for table in self.tables.values_mut() {
            table.is_new = false;
            if matches!(table.rows, Rows::InFile(_)) {
                table.rows = Rows::Stored(OnceCell::new());
            }
        }
    }
}

/// How many rows lie where a job might name a table, those of `lookback init` aside. None where nothing
/// is. The inner error is all complaints.
pub async fn rows_at(
    job: &Job,
    name: &'static str,
    location: Location,
) -> Result<Option<Result<u64, Vec<String>>>> {
    let told = TableSource::plain(location);
    let head = source::look(&told.location).await?;
    let content = match source::find(&told.location, head.as_ref(), None, "").await? {
        Found::Missing | Found::Unchanged(_) => return Ok(None),
        Found::Refused(trouble) => return Ok(Some(Err(vec![trouble]))),
        Found::Changed(_, content) => content,
    };
    let table = match read(job, name, &told, content).await? {
        Ok(table) => table,
        Err(complaints) => return Ok(Some(Err(complaints))),
    };
    let mut count = 0;
    for rows in stored_form(&table, model_of(name)?)? {
        let rows = rows?;
        let keys = cast(rows.column(0), &DataType::Utf8)?;
        let keys = keys.as_string::<i32>().iter().flatten();
        count += keys.filter(|key| !key.starts_with("example-")).count() as u64;
    }
    Ok(Some(Ok(count)))
}

/// What the job says about a table.
pub fn source_of<'a>(job: &'a Job, name: &str) -> Option<&'a TableSource> {
    match name {
        "links" => Some(&job.links),
        "stores" => Some(&job.stores),
        "rates" => Some(&job.rates),
        "fx_rates" => job.fx_rates.as_ref(),
        _ => job.identities.as_ref(),
    }
}

/// The columns that a reference table has to have.
pub fn required_columns(name: &str) -> impl Iterator<Item = &'static str> {
    let columns = columns::columns(name).iter();
    let required = columns.filter(|(.., presence)| *presence == sheet::Presence::Required);
    required.map(|(column, ..)| *column)
}

/// The columns of a reference table, by the name that the job file has for it.
pub fn column_names(name: &str) -> Vec<&'static str> {
    columns::wanted(name).into_iter().map(|(column, _)| column).collect()
}

fn model_of(name: &str) -> Result<&'static Model> {
    model::named(&format!("reference.{name}"))
}

fn register_stored(engine: &Engine, warehouse: &Warehouse, model: &'static Model) -> Result<()> {
    let folder = warehouse.folder(model);
    engine.add_store(&folder)?;
    let table = warehouse.table(model.name)?.provider(&folder, |_| true, &[])?;
    engine.register(model.name, Arc::new(table))
}

/// What the tables are loaded with.
struct Loading<'a> {
    job: &'a Job,
    warehouse: &'a Warehouse,
    engine: Engine,
    /// Files are decoded one at a time, because a large one takes much memory.
    decoder: Mutex<()>,
}

impl Loading<'_> {
    /// The table as it is now, and the keys that changed. The inner error is all complaints about it.
    async fn load(
        &self,
        name: &'static str,
        head: Option<&Head>,
    ) -> Result<Result<(Loaded, BTreeSet<Key>), Vec<String>>, Stop> {
        let Loading { job, warehouse, engine, decoder } = self;
        let model = model_of(name)?;
        let stored = &warehouse.table(model.name)?.files;
        let is_stored = !stored.is_empty();
        let is_lost = stored.iter().any(|file| file.is_lost);
        let before = warehouse.seen().reference.get(name).filter(|_| is_stored);
        let (table, source) = match source_of(job, name) {
            None => (Table::empty(name), None),
            Some(told) => {
                let location = &told.location;
                // Rows that are lost are read and stored again.
                let before = before.filter(|_| !is_lost);
                match source::find(location, head, before, &source::settings(job, told)).await? {
                    Found::Missing => {
                        let missing =
                            format!("{location}: there is no such file or folder ([input] {name})");
                        return Ok(Err(vec![missing]));
                    }
                    Found::Refused(trouble) => {
                        return Ok(Err(vec![format!("{location}: {trouble}")]));
                    }
                    Found::Unchanged(source) => {
                        let count = stored.iter().map(|file| file.rows()).sum();
                        let rows = Rows::Stored(OnceCell::new());
                        let table = Loaded { rows, is_new: false, count, source: Some(source) };
                        return Ok(Ok((table, BTreeSet::new())));
                    }
                    Found::Changed(source, content) => {
                        let _turn = decoder.lock().await;
                        match read(job, name, told, content).await? {
                            Ok(table) => (table, Some(source)),
                            Err(complaints) => return Ok(Err(complaints)),
                        }
                    }
                }
            }
        };
        let is_lost_only = is_lost
            && before.zip(source.as_ref()).is_some_and(|(before, now)| before.is_same_content(now));
        let (changed, count) = match is_stored && !is_lost_only {
            // Lost rows count as removed: all others have come.
            true => {
                register_stored(engine, warehouse, model)?;
                changes::between(engine, model, || stored_form(&table, model)).await?
            }
            // Nothing was made with other rows yet.
            false => (BTreeSet::new(), stored_form(&table, model)?.try_fold(0, count_rows)?),
        };
        let is_new = !is_stored || is_lost || !changed.is_empty();
        let rows = match (count <= SMALL, is_new) {
            (true, _) => {
                let rows = stored_form(&table, model)?.collect::<Result<Vec<_>>>()?;
                Rows::Here(concat_batches(&model.schema(), &rows).map_err(anyhow::Error::from)?)
            }
            (false, true) => Rows::InFile(table),
            (false, false) => Rows::Stored(OnceCell::new()),
        };
        Ok(Ok((Loaded { rows, is_new, count, source }, changed)))
    }
}

/// The rows of a file with the columns and types of the stored table.
fn stored_form(
    table: &Table,
    model: &'static Model,
) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
    Ok(table.batches()?.map(|rows| as_stored(&rows?, model)))
}

fn count_rows(count: u64, rows: Result<RecordBatch>) -> Result<u64> {
    Ok(count + rows?.num_rows() as u64)
}

async fn register_file(
    engine: &Engine,
    name: &str,
    table: &Table,
    model: &'static Model,
) -> Result<()> {
    let rows = stored_form(table, model)?;
    engine.register_batches(name, model.schema(), rows).await
}

/// Reads and checks one table. The inner error is all complaints.
async fn read(
    job: &Job,
    name: &'static str,
    source: &TableSource,
    content: Content,
) -> Result<Result<Table, Vec<String>>> {
    let (location, shape) = (source.location.name().to_owned(), source.shape.clone());
    let (zone, nobody) = (job.zone, job.nobody.clone());
    // For a view. On one core, so that rows keep their order.
    let engine = Engine::new(&Tuning { partitions: 1, ..Tuning::default() }, SqlOverrides::new())?;
    // In a separate thread, because bytes may make the decoder panic: it is a bad file.
    let read = move || {
        let opened = Sheet::open(&engine, &location, content, &shape, &columns::wanted(name));
        let sheet = match opened {
            Ok(sheet) => sheet,
            Err(complaints) => return Ok(Err(complaints.texts().collect())),
        };
        let mut complaints = Vec::new();
        let table = Table::read(name, sheet, zone, &nobody, &mut complaints);
        // What cannot be read is not asked for again.
        if complaints.is_empty() { Ok(Ok(table?)) } else { Ok(Err(complaints)) }
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(outcome) => outcome,
        Err(_) => Ok(Err(vec![format!("{}: is no readable Parquet", source.location)])),
    }
}

/// The rows with the columns and types of the stored table.
fn as_stored(rows: &RecordBatch, model: &Model) -> Result<RecordBatch> {
    let columns = model.columns.iter().map(|column| {
        let found = rows.column_by_name(&column.name);
        let found = found.with_context(|| format!("{}: no column {}", model.name, column.name))?;
        Ok(cast(found, &column.kind.data_type())?)
    });
    Ok(RecordBatch::try_new(model.schema(), columns.collect::<Result<Vec<_>>>()?)?)
}

async fn collect(
    engine: &Engine,
    warehouse: &Warehouse,
    model: &'static Model,
) -> Result<RecordBatch> {
    register_stored(engine, warehouse, model)?;
    let rows = engine.table(model.name).await?.collect().await?;
    Ok(concat_batches(&model.schema(), &rows)?)
}
