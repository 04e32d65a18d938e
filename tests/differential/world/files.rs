//! Columns as files, Parquet and CSV.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{Array, ArrayRef, Float64Array, StringArray};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::columns::{Column, Values};
use super::dice::Dice;

/// Draws one of the forms that the program has to read, for every file and column anew.
pub struct Writer<'a> {
    pub dice: Dice,
    pub dir: &'a Path,
    pub zone: Tz,
}

impl Writer<'_> {
    pub fn log<R: Clone>(
        &mut self,
        name: &str,
        landed: &BTreeSet<NaiveDate>,
        rows: &[(NaiveDate, R)],
        columns: fn(&[R]) -> Vec<Column>,
    ) -> Result<()> {
        let (Some(first), Some(last)) = (landed.first(), landed.last()) else { return Ok(()) };
        for dt in first.iter_days().take_while(|dt| dt <= last) {
            let folder = self.dir.join(format!("raw/{name}/dt={dt}"));
            if !landed.contains(&dt) {
                self.leave_unlanded(&folder)?;
                continue;
            }
            fs::create_dir_all(&folder)?;
            let mut own: Vec<R> = rows
                .iter()
                .filter(|(row_dt, _)| *row_dt == dt)
                .map(|(_, row)| row.clone())
                .collect();
            if own.is_empty() && self.dice.chance(50) {
                fs::write(folder.join("_SUCCESS"), "")?;
                continue;
            }
            self.dice.shuffle(&mut own);
            self.clutter(&folder)?;
            let files = self.dice.between(1, 3) as usize;
            for (number, part) in own.chunks(own.len() / files + 1).enumerate() {
                let style = *self.dice.pick(&["part-0000", "late file ", "."]);
                let prefix = if style == "." { "" } else { style };
                self.parquet(&folder.join(format!("{prefix}{number}.parquet")), columns(part))?;
            }
            if own.is_empty() {
                self.parquet(&folder.join("empty.parquet"), columns(&own))?;
            }
        }
        Ok(())
    }

    /// A folder may be there already; only an object in the folder itself makes the date landed.
    fn leave_unlanded(&mut self, folder: &Path) -> Result<()> {
        if self.dice.chance(40) {
            fs::create_dir_all(folder.join("_temporary"))?;
            fs::write(folder.join("_temporary/0.parquet"), "half a file")?;
        }
        Ok(())
    }

    /// Files that are no data.
    fn clutter(&mut self, folder: &Path) -> Result<()> {
        for name in ["_SUCCESS", "_half.parquet", ".hidden.parquet", "notes.txt", "0.parquet.crc"] {
            if self.dice.chance(8) {
                fs::write(folder.join(name), "no data")?;
            }
        }
        Ok(())
    }

    /// As CSV or Parquet; returns the path from the job file.
    pub fn reference(&mut self, name: &str, columns: Vec<Column>) -> Result<String> {
        fs::create_dir_all(self.dir.join("reference"))?;
        let is_csv = self.dice.chance(70);
        let file = format!("reference/{name}.{}", if is_csv { "csv" } else { "parquet" });
        match is_csv {
            true => self.csv(&self.dir.join(&file), columns)?,
            false => self.parquet(&self.dir.join(&file), columns)?,
        }
        Ok(file)
    }

    /// In any order, perhaps without the optional columns that say nothing.
    fn drawn(&mut self, mut columns: Vec<Column>) -> Vec<Column> {
        columns.retain(|column| {
            !(column.is_optional && column.values.are_all_null() && self.dice.chance(50))
        });
        self.dice.shuffle(&mut columns);
        columns
    }

    fn csv(&mut self, path: &Path, columns: Vec<Column>) -> Result<()> {
        let columns = self.drawn(columns);
        let rows = columns.first().map_or(0, |column| column.values.len());
        let quotes_all = self.dice.chance(20);
        let has_extra = self.dice.chance(15);
        let line_end = if self.dice.chance(20) { "\r\n" } else { "\n" };
        let mut text = if self.dice.chance(20) { "\u{feff}".to_string() } else { String::new() };
        let mut line = |mut cells: Vec<String>, extra: &str| {
            if has_extra {
                cells.push(extra.to_string());
            }
            let cells: Vec<String> = cells.iter().map(|cell| csv_cell(cell, quotes_all)).collect();
            text.push_str(&cells.join(","));
            text.push_str(line_end);
        };
        line(columns.iter().map(|column| column.name.to_string()).collect(), "remark");
        for row in 0..rows {
            line(
                columns.iter().map(|column| self.csv_text(&column.values, row)).collect(),
                "see \"wiki\", p. 3",
            );
        }
        fs::write(path, text)?;
        Ok(())
    }

    fn csv_text(&mut self, values: &Values, row: usize) -> String {
        match values {
            Values::Text(values) => values[row].clone().unwrap_or_default(),
            Values::Instant(values) | Values::End(values) => {
                values[row].map_or(String::new(), |at| self.instant_text(at))
            }
            Values::Day(values) => values[row].map_or(String::new(), |day| self.day_text(day)),
            Values::Amount(values) => values[row].map_or(String::new(), |amount| {
                let zeros = if amount.scale() > 0 { self.dice.between(0, 2) } else { 0 };
                format!("{amount}{}", "0".repeat(zeros as usize))
            }),
            Values::Whole(values) => values[row].map_or(String::new(), |whole| whole.to_string()),
        }
    }

    /// A date alone where it begins then, or a local time, or a time with a zone.
    fn instant_text(&mut self, at: DateTime<Utc>) -> String {
        if let Some(date) = self.date_alone(at)
            && self.dice.chance(60)
        {
            return date.to_string();
        }
        let two_hours_on = at + TimeDelta::hours(2);
        match (self.local_time(at), self.dice.between(0, 3)) {
            (Some(local), 0) => local.format("%Y-%m-%dT%H:%M:%S%.f").to_string(),
            (Some(local), 1) => local.format("%Y-%m-%d %H:%M:%S%.f").to_string(),
            (_, 2) => two_hours_on.format("%Y-%m-%dT%H:%M:%S%.f+02:00").to_string(),
            _ => at.format("%Y-%m-%dT%H:%M:%S%.fZ").to_string(),
        }
    }

    fn day_text(&mut self, day: NaiveDate) -> String {
        let clock = self.dice.pick(&["", "", " 00:00", "T00:00:00Z", "T00:00:00.0-07:00"]);
        format!("{day}{clock}")
    }

    /// The local date that begins at an instant.
    pub fn date_alone(&self, at: DateTime<Utc>) -> Option<NaiveDate> {
        let date = at.with_timezone(&self.zone).date_naive();
        let before = (at - TimeDelta::microseconds(1)).with_timezone(&self.zone).date_naive();
        (before < date).then_some(date)
    }

    /// The local time that stands for an instant. None for the later one of two.
    pub fn local_time(&self, at: DateTime<Utc>) -> Option<NaiveDateTime> {
        let local = at.with_timezone(&self.zone).naive_local();
        let is_meant = self.zone.from_local_datetime(&local).earliest()? == at;
        is_meant.then_some(local)
    }

    /// All rows, in some worlds a few of them twice: equal rows count once.
    pub fn some_twice<R: Clone>(&mut self, rows: &[R]) -> Vec<R> {
        let mut all = rows.to_vec();
        if self.dice.chance(30) {
            all.extend(rows.iter().filter(|_| self.dice.chance(30)).cloned());
        }
        all
    }

    fn parquet(&mut self, path: &Path, columns: Vec<Column>) -> Result<()> {
        let columns = self.drawn(columns);
        let rows = columns.first().map_or(0, |column| column.values.len());
        let mut fields = Vec::new();
        let mut arrays: Vec<ArrayRef> = Vec::new();
        let mut put = |name: &str, array: ArrayRef, is_nullable: bool| {
            fields.push(Field::new(name, array.data_type().clone(), is_nullable));
            arrays.push(array);
        };
        for column in &columns {
            let array = self.array(&column.values)?;
            let is_nullable = array.logical_null_count() > 0 || self.dice.chance(80);
            put(column.name, array, is_nullable);
        }
        if self.dice.chance(15) {
            put("score", Arc::new(Float64Array::from(vec![0.5; rows])), true);
        }
        if self.dice.chance(15) {
            put("note", Arc::new(StringArray::from(vec![None::<&str>; rows])), true);
        }
        let schema = Arc::new(Schema::new(fields));
        let compression = *self.dice.pick(&[Compression::UNCOMPRESSED, Compression::SNAPPY]);
        let properties = WriterProperties::builder().set_compression(compression).build();
        let mut writer =
            ArrowWriter::try_new(File::create(path)?, schema.clone(), Some(properties))?;
        let batch = RecordBatch::try_new(schema, arrays)?;
        let rows_in_a_group = self.dice.between(1, 50) as usize;
        for start in (0..rows).step_by(rows_in_a_group) {
            writer.write(&batch.slice(start, rows_in_a_group.min(rows - start)))?;
            writer.flush()?;
        }
        writer.close()?;
        Ok(())
    }
}

fn csv_cell(cell: &str, quotes_all: bool) -> String {
    match quotes_all || cell.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_string(),
    }
}
