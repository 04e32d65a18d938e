//! What a page expects, compared with what is there: messages, rows, untouched tables.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::SystemTime;

use anyhow::{Result, bail, ensure};
use rust_decimal::Decimal;

use crate::columns::instant;
use crate::entries;
use crate::page::Table;
use crate::world::World;

impl World {
    /// All rows of a table, in any order; what follows its name in the heading narrows (`where …`) or orders them.
    pub fn expect(&self, source: &str, expected: &Table) -> Result<()> {
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

    pub fn expect_nothing_written(&self) -> Result<()> {
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
    pub fn written(&self) -> Result<BTreeMap<PathBuf, (u64, SystemTime)>> {
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

/// What a command said on stderr, or printed on stdout: case and line breaks do not matter.
pub fn said(verb: &str, text: &str, output: &Output) -> Result<()> {
    let stream = if verb.ends_with("print") || verb.ends_with("prints") {
        &output.stdout
    } else {
        &output.stderr
    };
    let whole = String::from_utf8_lossy(stream);
    let words = |text: &str| text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    let is_wanted = !verb.starts_with("does not");
    ensure!(
        words(&whole).contains(&words(text)) == is_wanted,
        "{verb} `{text}`, but what came was\n{whole}"
    );
    Ok(())
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
