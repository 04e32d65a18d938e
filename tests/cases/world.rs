//! The world of a page: a folder with raw logs, reference tables, job file and warehouse, and what
//! is done there.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
use chrono::{Days, NaiveDate};
use tempfile::TempDir;

use crate::columns::{array, csv_of, instant, parquet};
use crate::defaults::{CLICKS, JOB, Log, ORDERS, REFERENCES, filled_in, usual_type};
use crate::entries;
use crate::expect::said;
use crate::page::{Section, Table};

pub type Row = BTreeMap<String, Option<String>>;

pub struct World {
    pub root: TempDir,
    /// Who works on runs. Empty: the program itself.
    workers: Vec<String>,
    pub job: toml::Table,
    pub whole_job: Option<String>,
    /// By table: file name, content.
    pub references: BTreeMap<String, (String, Vec<u8>)>,
    /// Rows by log and files so far: their numbers are the default ids and the file names.
    pub rows: BTreeMap<&'static str, usize>,
    pub files: usize,
    /// Landing dates with rows.
    pub dates: Vec<NaiveDate>,
    pub lands_by_itself: bool,
    pub has_run: bool,
    pub before: BTreeMap<PathBuf, (u64, SystemTime)>,
}

impl World {
    pub fn new(workers: Vec<String>) -> Result<World> {
        let root = tempfile::tempdir()?;
        for folder in ["raw/clicks", "raw/orders", "reference", "elsewhere"] {
            fs::create_dir_all(root.path().join(folder))?;
        }
        let reference = |(table, text): (&str, &str)| {
            (table.to_owned(), (format!("{table}.csv"), text.as_bytes().to_vec()))
        };
        Ok(World {
            root,
            workers,
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

    pub fn write(&self, path: &str, content: &[u8]) -> Result<()> {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
        fs::write(&path, content).with_context(|| path.display().to_string())
    }

    /// A reference table: a pipe table becomes CSV, or Parquet where the heading says so; a code block stays as it is.
    pub fn refer(&mut self, table: &str, rest: &str, section: &Section) -> Result<()> {
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

    /// Raw rows: one further Parquet file in each landing date, or the file of a heading that names
    /// one (`in PATH`).
    pub fn land(&mut self, log: &'static Log, heading: &str, table: &Table) -> Result<()> {
        let path = heading.split_once("in ").map(|(_, path)| path);
        let mut types: BTreeMap<&str, &str> =
            log.always.iter().map(|column| (*column, usual_type(column))).collect();
        let mut names = Vec::new();
        let mut theirs: BTreeMap<&str, &str> = BTreeMap::new();
        for header in &table.columns {
            let (name, typed) = header.split_once(':').unwrap_or((header, ""));
            let (name, own) = name.split_once(" as ").unwrap_or((name, name));
            theirs.insert(name, own);
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
            let date = if path.is_some() { NaiveDate::MIN } else { landing_date(&row, log)? };
            landed.entry(date).or_default().push(row);
        }
        for (date, rows) in landed {
            self.files += 1;
            if path.is_none() {
                self.dates.push(date);
            }
            let mut columns = Vec::new();
            for (name, kind) in &types {
                let cells = rows.iter().map(|row| row[*name].clone()).collect();
                let own = theirs.get(name).copied().unwrap_or(name);
                columns.push((own, array(kind, cells).with_context(|| (*name).to_owned())?));
            }
            let file = parquet(columns)?;
            let name = log.name;
            let usual = format!("raw/{name}/dt={date}/{name}-{}.parquet", self.files);
            self.write(path.unwrap_or(&usual), &file)?;
        }
        Ok(())
    }

    pub fn run(&mut self, items: &[String]) -> Result<()> {
        self.prepare()?;
        if self.lands_by_itself {
            self.land_around(items)?;
        }
        self.before = self.written()?;
        let mut last: Option<Output> = None;
        for item in items {
            let words: Vec<&str> = item.split_whitespace().collect();
            if let Some((verb, text)) = item.split_once(": ").filter(|(verb, _)| {
                ["says", "does not say", "prints", "does not print"].contains(verb)
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
        if !self.workers.is_empty() {
            // Even the smallest scan is divided.
            let cluster: toml::Table = [("piece_mb".to_owned(), 0.into())].into_iter().collect();
            job.insert("cluster".to_owned(), cluster.into());
        }
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
        let mut words: Vec<&str> = match verb {
            "query" => vec![rest],
            _ => rest.split_whitespace().collect(),
        };
        let workers = self.workers.join(",");
        if is_run(verb) && !workers.is_empty() {
            words.extend(["--workers", &workers]);
        }
        let output = self.lookback(verb, &words)?;
        let code = output.status.code();
        ensure!(
            code == Some(wanted),
            "{line}: expected exit {wanted}, got {code:?}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(output)
    }

    pub fn lookback(&self, verb: &str, rest: &[&str]) -> Result<Output> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lookback"));
        command.arg(verb).arg(self.root.path().join("job.toml")).args(rest);
        command.current_dir(self.root.path().join("elsewhere")).env("NO_COLOR", "1");
        command.output().context("the program did not start")
    }
}

/// Whether a command line works on tables.
pub fn is_run(line: &str) -> bool {
    ["run", "backfill"].iter().any(|verb| line.split_whitespace().next() == Some(verb))
}

/// Lays `changes` over `base`, table by table.
pub fn merge(base: &mut toml::Table, changes: toml::Table) {
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
