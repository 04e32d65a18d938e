//! The rows of a raw log as a table, `raw.clicks` or `raw.orders`: the columns that the rules know,
//! with the types that they need, whatever the log's own names and types are. Files may have
//! different schemas.
//!
//! Further columns are not read here. A row that is rejected is read again, whole ([`RawLog::records`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::NaiveDate;
use datafusion::common::{Column, ScalarValue};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::expr_fn::binary_expr;
use datafusion::logical_expr::{Expr, LogicalPlan, Operator, cast, lit};
use datafusion::prelude::{DataFrame, col, ident};
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use regex::Regex;

use super::columns::{self, Found, Trouble};
use super::link_key::link_key;
use super::source::{Shape, Source};
use super::{Log, RawFile, RawLog, guard, relative};
use crate::days::days_since_1970;
use crate::engine::functions::{
    is_bad_text, raw_record, readable, readable_type, text_of, uuid_text,
};
use crate::engine::parquet_table::{Bounds, DataFile, FILE_NUMBER, ParquetTable, ROW_NUMBER};
use crate::engine::{Engine, SqlOverrides, Tuning};
use crate::view::{self, View};

/// Where a row is: its file and its number within it.
pub const ROW_AT: &str = "row_at";
/// A row's landing date and its place, while it goes through a view.
const CARRIED: [&str; 2] = ["#landed_on", "#row_at"];

/// Whether a row has a quantity that is not whole, and is null for that.
const IS_UNFIT: &str = "is_unfit";

/// Rows of a file that can be told apart.
const ROWS_OF_A_FILE: i64 = 1 << 40;

/// The name of the landing date in a scan. A file may have a column dt.
const LANDED_ON: &str = "#dt";

/// The settings of a job that bear on how raw rows are read.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    pub formats: &'a [Regex],
    /// Words that count as null where a buyer or a visitor is named.
    pub nobody: &'a [String],
}

/// Files that are read in the same way. They differ in nothing that matters to a query.
struct Alike<'a> {
    source: &'a Source,
    file: &'a RawFile,
    /// With the number of the first, and of the others in turn.
    files: Vec<DataFile>,
    first: i64,
}

impl RawLog {
    /// Registers `raw.clicks` or `raw.orders` with the rows of these checked landing dates. Errors: a
    /// date that has landed is not checked; a view that cannot be planned.
    pub async fn register(
        &self,
        engine: &Engine,
        dates: &BTreeSet<NaiveDate>,
        reading: Reading<'_>,
    ) -> Result<()> {
        for date in dates {
            ensure!(self.is_checked(*date), "{}: dt {date} was not checked", self.name());
        }
        let rows = self.rows_of(engine, &self.numbered(dates), reading).await?;
        engine.register(&format!("raw.{}", self.log.name()), rows.into_view())
    }

    /// The rows that come out of the views of these checked dates (I2), by landing date. Errors: as
    /// for a query.
    pub async fn count(
        &self,
        engine: &Engine,
        dates: &BTreeSet<NaiveDate>,
        reading: Reading<'_>,
    ) -> Result<BTreeMap<NaiveDate, u64>> {
        use arrow::array::AsArray;
        use arrow::datatypes::{Date32Type, Int64Type};
        use datafusion::functions_aggregate::expr_fn::count;
        let rows = self.rows_of(engine, &self.numbered(dates), reading).await?;
        let counts = rows.aggregate(vec![col("dt")], vec![count(lit(1)).alias("rows")])?;
        let mut found: BTreeMap<NaiveDate, u64> = dates.iter().map(|date| (*date, 0)).collect();
        for batch in counts.collect().await? {
            let dts = batch.column(0).as_primitive::<Date32Type>();
            let counts = batch.column(1).as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                let date = dts.value_as_date(row).context("a row without a date")?;
                found.insert(date, counts.value(row).unsigned_abs());
            }
        }
        Ok(found)
    }

    /// The rows of the registered dates whose quantity is not whole. Only files and views with a
    /// floating-point quantity are asked.
    pub async fn unfit_quantities(
        &self,
        engine: &Engine,
        dates: &BTreeSet<NaiveDate>,
    ) -> Result<u64> {
        let is_floating = |file: &RawFile| match &self.sources[file.source].shape {
            Shape::View(_) => true,
            Shape::Columns(names) => {
                let name = names.get("quantity").map_or("quantity", String::as_str);
                let found = columns::find(file.schema.fields(), name);
                found.is_some_and(|found| found.data_type.is_floating())
            }
        };
        let files = dates.iter().filter_map(|date| self.checked.get(date)).flatten();
        if self.log == Log::Clicks || !files.into_iter().any(is_floating) {
            return Ok(0);
        }
        let is_of =
            col("dt").in_list(dates.iter().map(|date| lit(date_value(*date))).collect(), false);
        let rows = engine.table(&format!("raw.{}", self.log.name())).await?;
        Ok(rows.filter(is_of.and(col(IS_UNFIT)))?.count().await? as u64)
    }

    /// Rows of these landing dates as JSON with the log's own names: a table of `dt`, `row_at` and
    /// `record`. Each of `rows` says whether it is read whole. Of the others only the columns that the
    /// rules do not know are read. `dates` are those that were registered, `rows` are sorted. Errors: as
    /// for a query.
    pub fn records(
        &self,
        engine: &Engine,
        dates: &BTreeSet<NaiveDate>,
        rows: &[(i64, bool)],
    ) -> Result<DataFrame> {
        let mut union: Option<DataFrame> = None;
        let numbered = self.numbered(dates);
        let mut at = 0;
        while let Some((_, file)) = numbered.get(at) {
            let is_alike = |other: &RawFile| is_read_alike(file, other);
            let alike = numbered[at..].iter().take_while(|(_, other)| is_alike(other)).count();
            let source = &self.sources[file.source];
            for is_whole in [true, false] {
                let mut files = Vec::new();
                for (number, (date, file)) in numbered.iter().enumerate().skip(at).take(alike) {
                    let first = i64::try_from(number)? * ROWS_OF_A_FILE;
                    let begin = rows.partition_point(|(at, _)| *at < first);
                    let end = rows.partition_point(|(at, _)| *at < first + ROWS_OF_A_FILE);
                    let own = rows[begin..end].iter().filter(|(_, whole)| *whole == is_whole);
                    // A file without such rows keeps its number, and is not opened.
                    let only = selection(own.map(|(at, _)| at - first), file.rows)?;
                    let is_read = only.is_some();
                    files.push(DataFile { only, is_read, ..data_file(file, *date)? });
                }
                if !files.iter().any(|file| file.is_read) {
                    continue;
                }
                let first = i64::try_from(at)?;
                let scan = scan(engine, &Alike { source, file, files, first })?;
                let record = record_of(self.log, source, file, is_whole).alias("record");
                let dt = ident(LANDED_ON).alias("dt");
                let records = scan.select(vec![dt, row_at().alias(ROW_AT), record])?;
                union = Some(match union {
                    Some(union) => union.union(records)?,
                    None => records,
                });
            }
            at += alike;
        }
        match union {
            Some(union) => Ok(union),
            None => engine.nothing(&Schema::new(vec![
                Field::new("dt", DataType::Date32, false),
                Field::new(ROW_AT, DataType::Int64, false),
                Field::new("record", DataType::Utf8View, true),
            ])),
        }
    }

    /// Whether a file has columns that the rules do not know.
    fn has_further(&self, file: &RawFile) -> bool {
        let fields = file.schema.fields().iter();
        fields.into_iter().any(|field| !self.log.column_names().any(|name| name == field.name()))
    }

    /// Finds the files of these dates that cannot be read (B1), or not through their view, after a query over them failed or
    /// lost rows. Returns a complaint for each. Errors: the store fails.
    pub async fn find_broken(
        &self,
        engine: &Engine,
        dates: &BTreeSet<NaiveDate>,
        reading: Reading<'_>,
    ) -> Result<Vec<String>> {
        let mut troubles = Vec::new();
        let all = self.numbered(dates);
        for (date, file) in all.iter().copied() {
            let source = &self.sources[file.source];
            let name = format!("{}/{}", source.location, relative(&source.location, &file.meta));
            let files = vec![data_file(file, date)?];
            let rows = scan(engine, &Alike { source, file, files, first: 0 })?;
            // In a separate task, because bytes may make the decoder panic: it is a bad file.
            let trouble = match tokio::spawn(decode(rows)).await {
                Ok(Ok(rows)) if rows == file.rows => {
                    if let Some(view) = source.shape.view() {
                        let names = columns_of_all(&all);
                        let alike =
                            Alike { source, file, files: vec![data_file(file, date)?], first: 0 };
                        let rows = self.alike_through_view(engine, view, &alike, &names, reading);
                        let decoded = match rows.await {
                            Ok(rows) => decode(rows).await,
                            Err(error) => Err(error),
                        };
                        let Err(error) = decoded else { continue };
                        let text =
                            format!("its rows do not go through view {}: {error}", view.file);
                        troubles.push(Trouble { file: name, text });
                    }
                    continue;
                }
                Ok(Ok(rows)) => format!(": it holds {rows} rows, and says {}", file.rows),
                Ok(Err(error)) if is_stores(&error) => return Err(error.context(name)),
                Ok(Err(error)) => {
                    // An error about the footer may come from the file or from the store.
                    let found = source.location.store().head(&file.meta.location).await;
                    found.with_context(|| name.clone())?;
                    let error = error.to_string();
                    format!(
                        ": {}",
                        error.replace("Parquet error: Parquet error: ", "Parquet error: ")
                    )
                }
                Err(_) => String::new(),
            };
            let text = format!("is no readable Parquet file{trouble}");
            troubles.push(Trouble { file: name, text });
        }
        Ok(Trouble::together(troubles))
    }

    /// What is wrong with the views of this log, over the files of these checked dates (I2, B2).
    pub(super) async fn view_troubles(
        &self,
        files: &[(NaiveDate, &RawFile)],
    ) -> Result<Vec<String>> {
        let is_view = |source: &Source| source.shape.view().is_some();
        if !self.sources.iter().any(is_view) {
            return Ok(Vec::new());
        }
        let engine = Engine::new(&Tuning::default(), SqlOverrides::new())?;
        let mut troubles = Vec::new();
        for (number, source) in self.sources.iter().enumerate() {
            let own: Vec<_> = files
                .iter()
                .filter(|(_, file)| file.source == number && file.rows > 0)
                .copied()
                .collect();
            if let Some(view) = source.shape.view()
                && !own.is_empty()
                && let Err(error) = self.through_view(&engine, view, &own, 0, no_settings()).await
            {
                troubles.push(format!("{}: view {}: {error:#}", source.location, view.file));
            }
        }
        Ok(troubles)
    }

    /// The files with rows of checked dates, in the order in which they are numbered: source by
    /// source, those that are read alike together.
    fn numbered(&self, dates: &BTreeSet<NaiveDate>) -> Vec<(NaiveDate, &RawFile)> {
        let mut alike: Vec<Vec<(NaiveDate, &RawFile)>> = Vec::new();
        for date in dates {
            for file in self.checked.get(date).into_iter().flatten().filter(|file| file.rows > 0) {
                match alike.iter_mut().find(|files| is_read_alike(files[0].1, file)) {
                    Some(files) => files.push((*date, file)),
                    None => alike.push(vec![(*date, file)]),
                }
            }
        }
        alike.sort_by_key(|files| files[0].1.source);
        alike.into_iter().flatten().collect()
    }

    async fn rows_of(
        &self,
        engine: &Engine,
        files: &[(NaiveDate, &RawFile)],
        reading: Reading<'_>,
    ) -> Result<DataFrame> {
        let mut union: Option<DataFrame> = None;
        let mut add = |rows: DataFrame| -> Result<()> {
            union = Some(match union.take() {
                Some(union) => union.union(rows)?,
                None => rows,
            });
            Ok(())
        };
        // Files of one source and schema are read together. Their numbers follow each other.
        let mut first = 0;
        while let Some((_, file)) = files.get(first) {
            let source = &self.sources[file.source];
            let is_alike = |other: &RawFile| match source.shape {
                Shape::Columns(_) => is_read_alike(file, other),
                Shape::View(_) => file.source == other.source,
            };
            let count = files[first..].iter().take_while(|(_, other)| is_alike(other)).count();
            let own = &files[first..first + count];
            let number = i64::try_from(first)?;
            match &source.shape {
                Shape::Columns(columns) => {
                    let files = own.iter().map(|(date, file)| data_file(file, *date));
                    let files = files.collect::<Result<Vec<_>>>()?;
                    let alike = Alike { source, file, files, first: number };
                    add(self.mapped(engine, &alike, columns, reading)?)?;
                }
                Shape::View(view) => {
                    add(self.through_view(engine, view, own, number, reading).await?)?;
                }
            }
            first += count;
        }
        let rows = match union {
            Some(union) => union,
            None => engine.nothing(&self.bare_schema())?,
        };
        match self.log {
            Log::Clicks => Ok(rows.with_column("link_key", link_key(reading.formats, col("url")))?),
            Log::Orders => Ok(rows),
        }
    }

    /// The rows of files whose columns have names of their own (I1).
    fn mapped(
        &self,
        engine: &Engine,
        alike: &Alike<'_>,
        names: &BTreeMap<String, String>,
        reading: Reading<'_>,
    ) -> Result<DataFrame> {
        let mut bytes = Vec::new();
        let mut is_unfit = lit(false);
        let mut selected = vec![ident(LANDED_ON).alias("dt")];
        for (ours, wanted, _) in self.log.columns() {
            let theirs = names.get(*ours).map_or(*ours, String::as_str);
            let found = columns::find(alike.file.schema.fields(), theirs);
            let found = found.filter(|_| !alike.file.without_values.contains(ours));
            let column = match found {
                Some(found) => {
                    let (column, data_type) = column_of(alike.file, &found)?;
                    if columns::is_bytes(&data_type) {
                        bytes.push(column.clone());
                        bytes.push(text_of().call(vec![column.clone()]));
                    }
                    is_unfit = wanted.is_unfit(&column, &data_type)?.unwrap_or(is_unfit);
                    wanted.expression(column, &data_type, reading.nobody)?
                }
                None => cast(lit(ScalarValue::Null), wanted.read()),
            };
            selected.push(column.alias(*ours));
        }
        // What cannot be read as it is cannot be told from what was read.
        let is_own = !names.is_empty() || is_unfit != lit(false);
        selected.push(is_bad(bytes).alias("is_bad_text"));
        selected.push(is_unfit.alias(IS_UNFIT));
        selected.push(row_at().alias(ROW_AT));
        selected.push(lit(is_own).alias("has_own_names"));
        selected.push(lit(self.has_further(alike.file)).alias("has_further_columns"));
        Ok(scan(engine, alike)?.select(selected)?)
    }

    /// The rows that come out of a view (I2). The files are of one source.
    async fn through_view(
        &self,
        engine: &Engine,
        view: &View,
        files: &[(NaiveDate, &RawFile)],
        first: i64,
        reading: Reading<'_>,
    ) -> Result<DataFrame> {
        let names = columns_of_all(files);
        let mut union: Option<DataFrame> = None;
        let mut at = 0;
        // Files of other types are other tables to a view: what it reckons must not depend on which
        // files are read together.
        while let Some((_, file)) = files.get(at) {
            let is_alike = |other: &RawFile| is_read_alike(file, other);
            let count = files[at..].iter().take_while(|(_, other)| is_alike(other)).count();
            let data = files[at..at + count].iter().map(|(date, file)| data_file(file, *date));
            let data = data.collect::<Result<Vec<_>>>()?;
            let source = &self.sources[file.source];
            let number = first + i64::try_from(at)?;
            let alike = Alike { source, file, files: data, first: number };
            let rows = self.alike_through_view(engine, view, &alike, &names, reading).await;
            let of = if count == 1 { "" } else { " and others like it" };
            let rows =
                rows.with_context(|| format!("{}{of}", relative(&source.location, &file.meta)))?;
            union = Some(match union {
                Some(union) => union.union(rows)?,
                None => rows,
            });
            at += count;
        }
        union.context("a view has files")
    }

    /// The same of files with one schema. `names` are the columns of all files.
    async fn alike_through_view(
        &self,
        engine: &Engine,
        view: &View,
        alike: &Alike<'_>,
        names: &BTreeMap<String, DataType>,
        reading: Reading<'_>,
    ) -> Result<DataFrame> {
        // In the order of the file, for `select *`.
        let own: Vec<(String, DataType)> = columns_of(alike.file);
        let is_absent = |name: &String| !own.iter().any(|(known, _)| known == name);
        let absent = names.iter().filter(|(name, _)| is_absent(name));
        let absent = absent.map(|(name, data_type)| (name.clone(), data_type.clone()));
        let mut columns: Vec<(String, DataType)> = own.iter().cloned().chain(absent).collect();
        columns.retain(|(name, _)| name != "dt");
        columns.push(("dt".to_owned(), DataType::Date32));
        let fields =
            columns.iter().map(|(name, data_type)| Field::new(name, data_type.clone(), true));
        let bare = Schema::new(fields.collect::<Vec<_>>());
        let plan = engine.plan_over(&view.sql, &bare).await.map_err(plainly)?;
        let raw = scan(engine, alike)?.select(own_columns(alike.file, &columns)?)?;
        let plan = view::carrying(plan, raw.logical_plan(), &CARRIED)?;
        let selected = self.of_view(&plan, reading)?;
        Ok(engine.frame(plan).select(selected)?)
    }

    /// The columns of the rules, out of a view. Errors: one is missing or has a type that cannot be
    /// (B2).
    fn of_view(&self, plan: &LogicalPlan, reading: Reading<'_>) -> Result<Vec<Expr>> {
        let found = |name: &str| {
            plan.schema().iter().filter(|(_, field)| field.name() == name).last().map(
                |(table, field)| {
                    let column = Expr::Column(Column::new(table.cloned(), field.name()));
                    (column, field.data_type().clone())
                },
            )
        };
        let carried = CARRIED.map(|name| found(name).map(|(column, _)| column));
        let [Some(dt), Some(row_at)] = carried else { bail!("a row is lost") };
        let mut texts = Vec::new();
        let mut troubles = Vec::new();
        let mut is_unfit = lit(false);
        let mut selected = vec![dt.alias("dt")];
        for (name, wanted, presence) in self.log.columns() {
            let column = match found(name) {
                Some((column, data_type)) => match wanted.accepts(&data_type) {
                    Ok(()) => {
                        is_unfit = wanted.is_unfit(&column, &data_type)?.unwrap_or(is_unfit);
                        if data_type.is_string() || columns::is_bytes(&data_type) {
                            texts.push(column.clone());
                            texts.push(text_of().call(vec![column.clone()]));
                        }
                        wanted.expression(column, &data_type, reading.nobody)?
                    }
                    Err(wanted) => {
                        troubles.push(format!(
                            "its column {name} is {data_type}, but wanted is {wanted}"
                        ));
                        continue;
                    }
                },
                None if *presence == columns::Presence::Required => {
                    troubles.push(format!("it has no column {name}, which is required"));
                    continue;
                }
                None => cast(lit(ScalarValue::Null), wanted.read()),
            };
            selected.push(column.alias(*name));
        }
        ensure!(troubles.is_empty(), "{}", troubles.join("; "));
        selected.push(is_bad(texts).alias("is_bad_text"));
        selected.push(is_unfit.alias(IS_UNFIT));
        selected.push(row_at.alias(ROW_AT));
        selected.push(lit(true).alias("has_own_names"));
        selected.push(lit(true).alias("has_further_columns"));
        Ok(selected)
    }

    fn bare_schema(&self) -> Schema {
        let known = self.log.columns().iter();
        let known = known.map(|(name, wanted, _)| Field::new(*name, wanted.read(), true));
        let mut fields = vec![Field::new("dt", DataType::Date32, true)];
        fields.extend(known);
        fields.push(Field::new("is_bad_text", DataType::Boolean, true));
        fields.push(Field::new(IS_UNFIT, DataType::Boolean, true));
        fields.push(Field::new(ROW_AT, DataType::Int64, true));
        fields.push(Field::new("has_own_names", DataType::Boolean, true));
        fields.push(Field::new("has_further_columns", DataType::Boolean, true));
        Schema::new(fields)
    }
}

fn is_read_alike(one: &RawFile, other: &RawFile) -> bool {
    one.source == other.source
        && one.schema == other.schema
        && one.uuids == other.uuids
        && one.without_values == other.without_values
}

fn no_settings() -> Reading<'static> {
    Reading { formats: &[], nobody: &[] }
}

fn date_value(date: NaiveDate) -> ScalarValue {
    ScalarValue::Date32(Some(days_since_1970(date)))
}

fn data_file(file: &RawFile, date: NaiveDate) -> Result<DataFile> {
    Ok(DataFile {
        path: file.meta.location.clone(),
        size: file.meta.size,
        partition: Some(date_value(date)),
        rows: Some(file.rows),
        only: None,
        is_read: true,
        bounds: Bounds::new(),
    })
}

/// The files' own columns, their landing date, and the numbers of file and row.
fn scan(engine: &Engine, alike: &Alike<'_>) -> Result<DataFrame> {
    let location = &alike.source.location;
    engine.add_store(location)?;
    let partition = Field::new(LANDED_ON, DataType::Date32, false);
    let schema: SchemaRef = alike.file.schema.clone();
    let table =
        ParquetTable::new(location.store_url()?, schema, Some(partition), alike.files.clone())
            .with_readers(guard::readers)
            .kept_by(location.kept().cloned())
            .numbered(alike.first);
    engine.read(Arc::new(table))
}

fn row_at() -> Expr {
    let before = binary_expr(ident(FILE_NUMBER), Operator::Multiply, lit(ROWS_OF_A_FILE));
    binary_expr(before, Operator::Plus, ident(ROW_NUMBER))
}

fn is_bad(bytes: Vec<Expr>) -> Expr {
    if bytes.is_empty() { lit(false) } else { is_bad_text().call(bytes) }
}

/// A column of a file, which may lie in a struct. UUIDs are texts.
fn column_of(file: &RawFile, found: &Found<'_>) -> Result<(Expr, DataType)> {
    let (outermost, inner) = found.names.split_first().context("a column has a name")?;
    let column = inner
        .iter()
        .fold(ident(outermost.as_str()), |column, name| get_field(column, name.as_str()));
    Ok(match file.uuids.contains(&found.names.join(".")) {
        true => (uuid_text().call(vec![column]), DataType::Utf8View),
        false => (column, found.data_type.clone()),
    })
}

/// The columns of a file with their types, as a view sees them: texts are texts.
fn columns_of(file: &RawFile) -> Vec<(String, DataType)> {
    let columns = file.schema.fields().iter().map(|field| {
        let data_type = match file.uuids.contains(field.name()) {
            true => DataType::Utf8View,
            false => readable_type(field.data_type()),
        };
        (field.name().clone(), data_type)
    });
    columns.collect()
}

/// The columns of files together, each with its type in the first that has it.
fn columns_of_all(files: &[(NaiveDate, &RawFile)]) -> BTreeMap<String, DataType> {
    let mut all = BTreeMap::new();
    for (name, data_type) in files.iter().flat_map(|(_, file)| columns_of(file)) {
        all.entry(name).or_insert(data_type);
    }
    all
}

/// The columns of `raw`, with what is carried through a view. Those that the file lacks are null.
fn own_columns(file: &RawFile, columns: &[(String, DataType)]) -> Result<Vec<Expr>> {
    let mut selected = Vec::new();
    for (name, wanted) in columns {
        let column = match file.schema.fields().find(name) {
            _ if name == "dt" => ident(LANDED_ON),
            Some((_, field)) => {
                let names = vec![name.clone()];
                let found = Found { names, data_type: field.data_type() };
                let (column, data_type) = column_of(file, &found)?;
                match readable_type(&data_type) == data_type {
                    true => column,
                    false => readable().call(vec![column]),
                }
            }
            None => cast(lit(ScalarValue::Null), wanted.clone()),
        };
        selected.push(column.alias(name.as_str()));
    }
    selected.push(ident(LANDED_ON).alias(CARRIED[0]));
    selected.push(row_at().alias(CARRIED[1]));
    Ok(selected)
}

/// A raw row as JSON: all columns of its file, or those that the rules do not know. Where a file has
/// our names, a whole row has also those of ours that the file lacks.
fn record_of(log: Log, source: &Source, file: &RawFile, is_whole: bool) -> Expr {
    let name = |name: &str| lit(ScalarValue::Utf8View(Some(name.to_owned())));
    let is_known = |found: &str| log.column_names().any(|name| name == found);
    let mut parts = Vec::new();
    for field in file.schema.fields().iter().filter(|field| is_whole || !is_known(field.name())) {
        let column = ident(field.name().as_str());
        let is_uuid = file.uuids.contains(field.name());
        parts.push(name(field.name()));
        parts.push(if is_uuid { uuid_text().call(vec![column]) } else { column });
    }
    if is_whole && source.shape.is_plain() {
        let is_absent = |name: &&str| file.schema.field_with_name(name).is_err();
        for absent in log.column_names().filter(is_absent) {
            parts.push(name(absent));
            parts.push(lit(ScalarValue::Utf8View(None)));
        }
    }
    raw_record().call(parts)
}

/// The rows with these numbers, of so many. None where there is none.
fn selection(wanted: impl Iterator<Item = i64>, rows: u64) -> Result<Option<RowSelection>> {
    let mut selectors: Vec<RowSelector> = Vec::new();
    let mut next = 0;
    for row in wanted {
        let row = usize::try_from(row)?;
        match selectors.last_mut() {
            Some(last) if row == next && !last.skip => last.row_count += 1,
            _ => {
                if row > next {
                    selectors.push(RowSelector::skip(row - next));
                }
                selectors.push(RowSelector::select(1));
            }
        }
        next = row + 1;
    }
    if selectors.is_empty() {
        return Ok(None);
    }
    let rows = usize::try_from(rows)?;
    if rows > next {
        selectors.push(RowSelector::skip(rows - next));
    }
    Ok(Some(RowSelection::from(selectors)))
}

/// Decodes the rows and counts them.
async fn decode(rows: DataFrame) -> Result<u64> {
    let mut batches = rows.execute_stream().await?;
    let mut count = 0;
    while let Some(batch) = batches.try_next().await? {
        count += batch.num_rows() as u64;
    }
    Ok(count)
}

fn is_stores(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<object_store::Error>())
}

/// What a view's own text has done wrong, without the engine's words around it.
fn plainly(error: datafusion::error::DataFusionError) -> anyhow::Error {
    use datafusion::common::SchemaError;
    use datafusion::error::DataFusionError;
    match error.find_root() {
        DataFusionError::SchemaError(inner, _) => match inner.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => {
                let names = valid_fields.iter().map(|column| column.name.as_str());
                let names: Vec<&str> = names.filter(|name| !name.starts_with('#')).collect();
                anyhow!(
                    "there is no column {}; there are {} (a name with capitals is written in quotes)",
                    field.name,
                    names.join(", ")
                )
            }
            other => anyhow!("{other}"),
        },
        DataFusionError::Plan(text) => anyhow!("{text}"),
        other => anyhow!("{other}"),
    }
}
