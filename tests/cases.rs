//! Runs every page of `tests/cases/<rule>/` through the program, from outside: files in, command
//! lines, tables out. How a page is written and what it may leave out: `tests/cases/README.md`.
//!
//! Knows the columns of the raw logs and the command line. Knows no rule: what is right is typed
//! in the pages, by hand.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, bail, ensure};
use arrow::array::{ArrayRef, Int64Array, NullArray, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, Utc};
use libtest_mimic::{Arguments, Trial};
use parquet::arrow::ArrowWriter;
use rust_decimal::Decimal;
use tempfile::TempDir;

fn main() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut trials = Vec::new();
    for rule in entries(&folder)?.into_iter().filter(|path| path.is_dir()) {
        for page in entries(&rule)? {
            let name = page.strip_prefix(&folder)?.with_extension("");
            trials.push(Trial::test(name.to_string_lossy(), move || {
                tell(&page).map_err(|trouble| format!("{}\n\n{trouble:#}", page.display()).into())
            }));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit()
}

/// Plays one page from top to bottom, in a folder of its own.
fn tell(page: &Path) -> Result<()> {
    let sections = sections(&fs::read_to_string(page)?)?;
    let mut world = World::new()?;
    world.lands_by_itself =
        !sections.iter().flat_map(|section| &section.items).any(|item| item.contains("landed "));
    for section in &sections {
        play(&mut world, section).with_context(|| format!("## {}", section.heading))?;
    }
    ensure!(world.has_run, "the page runs nothing");
    Ok(())
}

fn play(world: &mut World, section: &Section) -> Result<()> {
    let (name, rest) = section.heading.split_once(' ').unwrap_or((&section.heading, ""));
    match name {
        "job" => merge(&mut world.job, section.code()?.parse()?),
        "whole" if rest == "job" => world.whole_job = Some(section.code()?.to_owned()),
        "links" | "stores" | "rates" | "fx_rates" | "identities" => {
            world.refer(name, rest, section)?;
        }
        "raw.clicks" => world.land(&CLICKS, section.table()?)?,
        "raw.orders" => world.land(&ORDERS, section.table()?)?,
        "file" => world.write(rest, section.code()?.as_bytes())?,
        "run" => world.run(&section.items)?,
        "expect" if rest == "nothing written" => world.expect_nothing_written()?,
        "expect" => world.expect(rest, section.table()?)?,
        _ => bail!("no such section"),
    }
    Ok(())
}

// ---- The page: Markdown in, sections out ----

struct Section {
    heading: String,
    table: Option<Table>,
    code: Option<String>,
    /// List items, one line each, backticks taken away.
    items: Vec<String>,
}

/// An empty cell is None, `""` is an empty text.
struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
}

impl Section {
    fn table(&self) -> Result<&Table> {
        self.table.as_ref().context("wants a table")
    }

    fn code(&self) -> Result<&str> {
        self.code.as_deref().context("wants a code block")
    }
}

fn sections(text: &str) -> Result<Vec<Section>> {
    ensure!(text.starts_with("# "), "a page begins with its claim, as a title");
    let mut sections: Vec<Section> = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ").filter(|_| !is_code) {
            sections.push(Section {
                heading: heading.trim().to_owned(),
                table: None,
                code: None,
                items: Vec::new(),
            });
        }
        let Some(section) = sections.last_mut() else { continue };
        if line.starts_with("```") {
            is_code = !is_code;
            section.code.get_or_insert_default();
        } else if is_code {
            section.code.get_or_insert_default().extend([line, "\n"]);
        } else if let Some(row) = line.strip_prefix('|') {
            add_row(section, row)?;
        } else if let Some(item) = line.trim_start().strip_prefix("- ") {
            section.items.push(item.replace('`', "").trim().to_owned());
        }
    }
    ensure!(!is_code, "a code block is not closed");
    Ok(sections)
}

fn add_row(section: &mut Section, line: &str) -> Result<()> {
    let hidden = line.trim_end().trim_end_matches('|').replace("\\|", "\u{0}");
    let cells: Vec<Option<String>> =
        hidden.split('|').map(|text| cell(&text.replace('\u{0}', "|"))).collect();
    let Some(table) = &mut section.table else {
        let columns = cells
            .into_iter()
            .map(|name| name.context("a column without a name"))
            .collect::<Result<_>>()?;
        section.table = Some(Table { columns, rows: Vec::new() });
        return Ok(());
    };
    if cells.iter().flatten().all(|text| text.trim_matches([':', '-']).is_empty())
        && line.contains("---")
    {
        return Ok(());
    }
    ensure!(
        cells.len() == table.columns.len(),
        "{} cells under {} columns: |{line}",
        cells.len(),
        table.columns.len()
    );
    table.rows.push(cells);
    Ok(())
}

fn cell(text: &str) -> Option<String> {
    let text = text.trim();
    let quoted = |mark| text.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
    let text = quoted('`')
        .or_else(|| quoted('"'))
        .map_or_else(|| (!text.is_empty()).then_some(text), Some)?;
    Some(text.to_owned())
}

// ---- What a page may leave out: every default, in one place ----

const JOB: &str = r#"
[input]
clicks = "raw/clicks"
orders = "raw/orders"

[output]
root = "warehouse"

[program]
default_rate = "0.03"

[attribution]
tie = "before"
scope = "platform"

[lateness]
late_days = 2
order_horizon_days = 90

[links]
formats = [
  '^https?://s\.click\.aliexpress\.com/e/([0-9A-Za-z_-]+)',
  '[?&]aff_fcid=[0-9a-f]{32}-[0-9]{13}-[0-9]{5}-(_?[0-9A-Za-z]+)(?:&|#|$)',
]
"#;

const REFERENCES: [(&str, &str); 3] = [
    (
        "links",
        "link_key,publisher_id,tracking_id,valid_from,valid_to\n_ann,ann,,2020-01-01,\n_bob,bob,,2020-01-01,\n_cat,cat,,2020-01-01,\n",
    ),
    ("stores", "store_id,joined_at,left_at\nacorn,2020-01-01,\nbirch,2020-01-01,\n"),
    ("rates", "scope,scope_id,store_id,rate,valid_from,valid_to\n"),
];

/// A raw log: the columns that are written even if a page does not name them, and the others.
struct Log {
    name: &'static str,
    time: &'static str,
    always: &'static [&'static str],
    optional: &'static [&'static str],
}

const CLICKS: Log = Log {
    name: "clicks",
    time: "clicked_at",
    always: &["click_id", "clicked_at", "url", "buyer_id"],
    optional: &["visitor_id", "store_id", "product_id", "country", "device"],
};

const ORDERS: Log = Log {
    name: "orders",
    time: "event_at",
    always: &[
        "event_id",
        "event_type",
        "event_at",
        "order_id",
        "line_id",
        "buyer_id",
        "store_id",
        "amount",
        "currency",
    ],
    optional: &["product_id", "category_id", "quantity", "country", "reason"],
};

fn usual_type(column: &str) -> &'static str {
    match column {
        "clicked_at" | "event_at" => "timestamp[us]",
        "amount" => "decimal",
        "quantity" => "int64",
        _ => "string",
    }
}

/// The value of a column that the page's table does not have, in the log's row `number`.
fn filled_in(column: &str, number: usize, row: &Row) -> Option<String> {
    let is_placed = || row.get("event_type").is_none_or(|it| it.as_deref() == Some("placed"));
    let value = match column {
        "click_id" => format!("c{number}"),
        "event_id" => format!("e{number}"),
        "url" => {
            let link = row.get("link").cloned().unwrap_or(Some("_ann".to_owned()))?;
            format!("https://s.click.aliexpress.com/e/{link}")
        }
        "event_type" => "placed".to_owned(),
        "order_id" => "o1".to_owned(),
        "line_id" => "1".to_owned(),
        "buyer_id" if is_placed() => "Ana".to_owned(),
        "store_id" if is_placed() => "acorn".to_owned(),
        "amount" if is_placed() => "100.00".to_owned(),
        "currency" if is_placed() => "USD".to_owned(),
        _ => return None,
    };
    Some(value)
}

// ---- The world of a page: a folder with raw logs, reference tables, job file and warehouse ----

type Row = BTreeMap<String, Option<String>>;

struct World {
    root: TempDir,
    job: toml::Table,
    whole_job: Option<String>,
    /// By table: file name, content.
    references: BTreeMap<String, (String, Vec<u8>)>,
    /// Rows by log and files so far: their numbers are the default ids and the file names.
    rows: BTreeMap<&'static str, usize>,
    files: usize,
    /// Landing dates with rows.
    dates: Vec<NaiveDate>,
    lands_by_itself: bool,
    has_run: bool,
    before: BTreeMap<PathBuf, (u64, SystemTime)>,
}

impl World {
    fn new() -> Result<World> {
        let root = tempfile::tempdir()?;
        for folder in ["raw/clicks", "raw/orders", "reference", "elsewhere"] {
            fs::create_dir_all(root.path().join(folder))?;
        }
        let reference = |(table, text): (&str, &str)| {
            (table.to_owned(), (format!("{table}.csv"), text.as_bytes().to_vec()))
        };
        Ok(World {
            root,
            job: JOB.parse()?,
            whole_job: None,
            references: REFERENCES.into_iter().map(reference).collect(),
            rows: BTreeMap::new(),
            files: 0,
            dates: Vec::new(),
            lands_by_itself: true,
            has_run: false,
            before: BTreeMap::new(),
        })
    }

    fn write(&self, path: &str, content: &[u8]) -> Result<()> {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
        fs::write(&path, content).with_context(|| path.display().to_string())
    }

    /// A reference table: a pipe table becomes CSV, or Parquet where the heading says so; a code block stays as it is.
    fn refer(&mut self, table: &str, rest: &str, section: &Section) -> Result<()> {
        let (kind, content) = match (rest, &section.table) {
            ("", None) => ("csv", section.code()?.as_bytes().to_vec()),
            ("", Some(table)) => ("csv", csv_of(table)?),
            ("with a byte-order mark", Some(table)) => {
                ("csv", [b"\xef\xbb\xbf".to_vec(), csv_of(table)?].concat())
            }
            ("as Parquet", Some(table)) => {
                let columns = table.columns.iter().enumerate().map(|(at, header)| {
                    let (name, kind) = header.split_once(':').unwrap_or((header, "string"));
                    Ok((name, array(kind, table.rows.iter().map(|row| row[at].clone()).collect())?))
                });
                ("parquet", parquet(columns.collect::<Result<_>>()?)?)
            }
            _ => bail!("no such way to write a reference table"),
        };
        self.references.insert(table.to_owned(), (format!("{table}.{kind}"), content));
        Ok(())
    }

    /// Raw rows: one further Parquet file in each landing date.
    fn land(&mut self, log: &'static Log, table: &Table) -> Result<()> {
        let mut types: BTreeMap<&str, &str> =
            log.always.iter().map(|column| (*column, usual_type(column))).collect();
        let mut names = Vec::new();
        for header in &table.columns {
            let (name, typed) = header.split_once(':').unwrap_or((header, ""));
            if let Some(absent) = header.strip_prefix("~~").and_then(|it| it.strip_suffix("~~")) {
                ensure!(types.remove(absent).is_some(), "`{absent}` is absent anyhow");
            } else if !typed.is_empty() {
                types.insert(name, typed);
            } else if name != "dt" && name != "link" {
                let is_known = log.always.contains(&name) || log.optional.contains(&name);
                ensure!(is_known, "`{name}` is no column of this log: a further one has a type");
                types.insert(name, usual_type(name));
            }
            names.push(name.to_owned());
        }
        let mut landed: BTreeMap<NaiveDate, Vec<Row>> = BTreeMap::new();
        for cells in &table.rows {
            let number = self.rows.entry(log.name).or_default();
            *number += 1;
            let mut row: Row = names.iter().cloned().zip(cells.iter().cloned()).collect();
            for column in types.keys().filter(|column| !names.iter().any(|it| it == *column)) {
                let value = filled_in(column, *number, &row);
                row.insert((*column).to_owned(), value);
            }
            landed.entry(landing_date(&row, log)?).or_default().push(row);
        }
        for (date, rows) in landed {
            self.files += 1;
            self.dates.push(date);
            let mut columns = Vec::new();
            for (name, kind) in &types {
                let cells = rows.iter().map(|row| row[*name].clone()).collect();
                columns.push((*name, array(kind, cells).with_context(|| (*name).to_owned())?));
            }
            let file = parquet(columns)?;
            let name = log.name;
            self.write(&format!("raw/{name}/dt={date}/{name}-{}.parquet", self.files), &file)?;
        }
        Ok(())
    }

    fn run(&mut self, items: &[String]) -> Result<()> {
        self.prepare()?;
        if self.lands_by_itself {
            self.land_around(items)?;
        }
        self.before = self.written()?;
        let mut last: Option<Output> = None;
        for item in items {
            let words: Vec<&str> = item.split_whitespace().collect();
            if let Some((verb, text)) = item.split_once(": ").filter(|(verb, _)| {
                verb.ends_with("say") || verb.ends_with("says") || *verb == "prints"
            }) {
                said(verb, text, last.as_ref().context("says what, before any command?")?)?;
                continue;
            }
            match words[..] {
                ["landed", dates] => {
                    self.mark_landed(&CLICKS, dates)?;
                    self.mark_landed(&ORDERS, dates)?;
                }
                ["clicks", "landed", dates] => self.mark_landed(&CLICKS, dates)?,
                ["orders", "landed", dates] => self.mark_landed(&ORDERS, dates)?,
                ["remove", path] => fs::remove_dir_all(self.root.path().join(path))?,
                ["cut", "short", path] => {
                    for file in entries(&self.root.path().join(path))? {
                        let whole = fs::read(&file)?;
                        fs::write(file, &whole[..whole.len() / 2])?;
                    }
                }
                _ => last = Some(self.command(item)?),
            }
        }
        self.has_run = true;
        Ok(())
    }

    /// Job file and reference tables, as they stand at this point of the page.
    fn prepare(&mut self) -> Result<()> {
        let mut inputs = toml::Table::new();
        for (table, (file, content)) in &self.references {
            self.write(&format!("reference/{file}"), content)?;
            inputs.insert(table.clone(), format!("reference/{file}").into());
        }
        let mut job: toml::Table = [("input".to_owned(), inputs.into())].into_iter().collect();
        merge(&mut job, self.job.clone());
        self.write("job.toml", self.whole_job.clone().unwrap_or(toml::to_string(&job)?).as_bytes())
    }

    /// What has landed in a page that does not say: see the pages' README.
    fn land_around(&self, items: &[String]) -> Result<()> {
        let lateness = self.job.get("lateness").and_then(|table| table.get("late_days"));
        let late_days = lateness.and_then(toml::Value::as_integer).unwrap_or(2).clamp(0, 30);
        let reach = Days::new(u64::try_from(late_days)? + 1);
        let mut dates = self.dates.clone();
        for item in items {
            if ["run ", "backfill ", "plan "].iter().any(|verb| item.starts_with(verb)) {
                let named = item.split_whitespace().filter_map(|word| word.parse().ok());
                dates.extend(named.flat_map(|date: NaiveDate| [date - reach, date + reach]));
            }
        }
        if let (Some(first), Some(last)) = (dates.iter().min(), dates.iter().max()) {
            self.mark_landed(&CLICKS, &format!("{first}..{last}"))?;
            self.mark_landed(&ORDERS, &format!("{first}..{last}"))?;
        }
        Ok(())
    }

    fn mark_landed(&self, log: &Log, dates: &str) -> Result<()> {
        let (first, last) = dates.split_once("..").unwrap_or((dates, dates));
        let (first, last): (NaiveDate, NaiveDate) = (first.parse()?, last.parse()?);
        for date in first.iter_days().take_while(|date| *date <= last) {
            self.write(&format!("raw/{}/dt={date}/_SUCCESS", log.name), b"")?;
        }
        Ok(())
    }

    fn command(&self, line: &str) -> Result<Output> {
        let (line, wanted) = line
            .split_once("=> exit ")
            .map_or(Ok((line, 0)), |(line, code)| code.trim().parse().map(|code| (line, code)))?;
        let (verb, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let output = match verb {
            "query" => self.lookback(verb, &[rest])?,
            _ => self.lookback(verb, &rest.split_whitespace().collect::<Vec<_>>())?,
        };
        let code = output.status.code();
        ensure!(
            code == Some(wanted),
            "{line}: expected exit {wanted}, got {code:?}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(output)
    }

    fn lookback(&self, verb: &str, rest: &[&str]) -> Result<Output> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lookback"));
        command.arg(verb).arg(self.root.path().join("job.toml")).args(rest);
        command.current_dir(self.root.path().join("elsewhere")).env("NO_COLOR", "1");
        command.output().context("the program did not start")
    }

    /// All rows of a table, in any order; what follows its name in the heading narrows (`where …`) or orders them.
    fn expect(&self, source: &str, expected: &Table) -> Result<()> {
        let query = format!("select {} from {source}", expected.columns.join(", "));
        let output = self.lookback("query", &[&query, "--format", "csv"])?;
        ensure!(output.status.success(), "{query}\n{}", String::from_utf8_lossy(&output.stderr));
        let mut reader = csv::Reader::from_reader(output.stdout.as_slice());
        let mut actual: Vec<Vec<String>> = Vec::new();
        for record in reader.records() {
            actual.push(record?.iter().map(plain).collect());
        }
        let mut wanted: Vec<Vec<String>> = expected
            .rows
            .iter()
            .map(|row| row.iter().map(|cell| plain(cell.as_deref().unwrap_or(""))).collect())
            .collect();
        if !source.contains("order by") {
            actual.sort();
            wanted.sort();
        }
        if actual == wanted {
            return Ok(());
        }
        bail!(
            "expected\n{}\nactual\n{}",
            aligned(&expected.columns, &wanted),
            aligned(&expected.columns, &actual)
        )
    }

    fn expect_nothing_written(&self) -> Result<()> {
        let after = self.written()?;
        let changed: Vec<_> = after
            .iter()
            .filter(|(path, stamp)| self.before.get(*path) != Some(stamp))
            .map(|(path, _)| path)
            .collect();
        ensure!(
            changed.is_empty() && after.len() == self.before.len(),
            "the last run changed the warehouse: {changed:?}"
        );
        Ok(())
    }

    /// The files that make up the warehouse's tables.
    fn written(&self) -> Result<BTreeMap<PathBuf, (u64, SystemTime)>> {
        let mut found = BTreeMap::new();
        let mut open = vec![self.root.path().join("warehouse")];
        while let Some(path) = open.pop() {
            if path.is_dir() {
                open.extend(entries(&path)?);
            } else if path.to_string_lossy().contains("_delta_log")
                || path.extension().is_some_and(|end| end == "parquet")
            {
                let about = fs::metadata(&path)?;
                found.insert(path, (about.len(), about.modified()?));
            }
        }
        Ok(found)
    }
}

// ---- Small helpers ----

/// What a command said on stderr, or printed on stdout: case and line breaks do not matter.
fn said(verb: &str, text: &str, output: &Output) -> Result<()> {
    let stream = if verb == "prints" { &output.stdout } else { &output.stderr };
    let whole = String::from_utf8_lossy(stream);
    let words = |text: &str| text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    let is_wanted = verb != "does not say";
    ensure!(
        words(&whole).contains(&words(text)) == is_wanted,
        "{verb} `{text}`, but what came was\n{whole}"
    );
    Ok(())
}

/// Lays `changes` over `base`, table by table.
fn merge(base: &mut toml::Table, changes: toml::Table) {
    for (key, value) in changes {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(changes)) => merge(inner, changes),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

fn landing_date(row: &Row, log: &Log) -> Result<NaiveDate> {
    if let Some(Some(date)) = row.get("dt") {
        return Ok(date.parse()?);
    }
    let time =
        row.get(log.time).and_then(Option::as_deref).context("a row without a time says its dt")?;
    Ok(instant(time).with_context(|| format!("no time: {time}"))?.date_naive())
}

/// `2026-04-01 12:00`, with seconds, fractions and a zone (`Z`, `+02:00`) as wanted; without a zone it is UTC.
fn instant(text: &str) -> Option<DateTime<Utc>> {
    let text = text.replace('T', " ");
    let text = text.strip_suffix('Z').unwrap_or(&text);
    for format in ["%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return Some(time.and_utc());
        }
        if let Ok(time) = DateTime::parse_from_str(text, &format!("{format}%:z")) {
            return Some(time.to_utc());
        }
    }
    None
}

/// A column of the type that the page names.
fn array(kind: &str, cells: Vec<Option<String>>) -> Result<ArrayRef> {
    let target = match kind {
        "null" => return Ok(Arc::new(NullArray::new(cells.len()))),
        "string" => DataType::Utf8,
        "large string" => DataType::LargeUtf8,
        "string view" => DataType::Utf8View,
        "dictionary" => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        "bool" => DataType::Boolean,
        "int32" => DataType::Int32,
        "int64" => DataType::Int64,
        "float64" => DataType::Float64,
        "date" => DataType::Date32,
        "decimal" => DataType::Decimal128(38, 8),
        "timestamp[ms]" => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        "timestamp[us]" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "timestamp[ns]" => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        "timestamp[us] without zone" => DataType::Timestamp(TimeUnit::Microsecond, None),
        _ => bail!("no such type: {kind}"),
    };
    let source: ArrayRef = match &target {
        DataType::Timestamp(unit, _) => {
            let count = |text: &String| {
                let time = instant(text).with_context(|| format!("no time: {text}"))?;
                match unit {
                    TimeUnit::Millisecond => Ok(time.timestamp_millis()),
                    TimeUnit::Nanosecond => time.timestamp_nanos_opt().context("out of range"),
                    _ => Ok(time.timestamp_micros()),
                }
            };
            Arc::new(
                cells
                    .iter()
                    .map(|cell| cell.as_ref().map(count).transpose())
                    .collect::<Result<Int64Array>>()?,
            )
        }
        _ => Arc::new(StringArray::from(cells)),
    };
    Ok(cast_with_options(&source, &target, &CastOptions { safe: false, ..CastOptions::default() })?)
}

fn parquet(columns: Vec<(&str, ArrayRef)>) -> Result<Vec<u8>> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let batch = RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns.into_iter().map(|column| column.1).collect(),
    )?;
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(file)
}

fn csv_of(table: &Table) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&table.columns)?;
    for row in &table.rows {
        writer.write_record(row.iter().map(|cell| cell.as_deref().unwrap_or("")))?;
    }
    writer.into_inner().map_err(|trouble| anyhow!("{trouble}"))
}

/// A cell in the one form in which equal values look the same: 3.00 is 3, 14:00+02:00 is 12:00Z.
fn plain(cell: &str) -> String {
    let digits = cell.strip_prefix('-').unwrap_or(cell);
    if digits.starts_with(|first: char| first.is_ascii_digit()) {
        if let Ok(number) = Decimal::from_str_exact(cell) {
            return number.normalize().to_string();
        }
        if let Some(time) = instant(cell) {
            return time.to_rfc3339();
        }
    }
    cell.to_owned()
}

fn aligned(columns: &[String], rows: &[Vec<String>]) -> String {
    let lines: Vec<Vec<&str>> = std::iter::once(columns)
        .chain(rows.iter().map(Vec::as_slice))
        .map(|line| line.iter().map(String::as_str).collect())
        .collect();
    let width = |at: usize| {
        lines
            .iter()
            .filter_map(|line| line.get(at))
            .map(|text| text.chars().count())
            .max()
            .unwrap_or(0)
    };
    let line = |line: &Vec<&str>| {
        line.iter()
            .enumerate()
            .map(|(at, text)| format!("| {text:<0$} ", width(at)))
            .collect::<String>()
            + "|\n"
    };
    lines.iter().map(line).collect()
}

/// What a folder holds, sorted by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(trouble) if trouble.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(trouble) => return Err(trouble).with_context(|| folder.display().to_string()),
    };
    let mut paths = listing.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
