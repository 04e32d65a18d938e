//! Rows of an answer, column by column.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use arrow::util::display::array_value_to_string;
use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};

/// How a null is shown.
pub const NONE: &str = "(none)";

/// One row of an answer.
pub struct Row {
    batch: RecordBatch,
    row: usize,
}

impl Row {
    pub fn get(&self, column: &str) -> String {
        match self.batch.column_by_name(column) {
            Some(values) if values.is_valid(self.row) => {
                array_value_to_string(values, self.row).unwrap_or_default()
            }
            _ => NONE.to_owned(),
        }
    }

    pub fn instant(&self, column: &str) -> Option<DateTime<Utc>> {
        let values = self.batch.column_by_name(column)?;
        let micros = values.as_primitive_opt::<TimestampMicrosecondType>()?;
        let micros = micros.is_valid(self.row).then(|| micros.value(self.row))?;
        DateTime::from_timestamp_micros(micros)
    }

    pub fn date(&self, column: &str) -> Option<NaiveDate> {
        let values = self.batch.column_by_name(column)?.as_primitive_opt::<Date32Type>()?;
        values.is_valid(self.row).then(|| values.value_as_date(self.row)).flatten()
    }

    /// Whether the row is about this line and this placed event of it.
    pub fn is_of(&self, line: &Row) -> bool {
        self.get("line_id") == line.get("line_id") && self.get("placed_at") == line.get("placed_at")
    }

    pub fn time(&self, column: &str) -> String {
        match self.instant(column) {
            Some(time) => time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            None => NONE.to_owned(),
        }
    }
}

pub fn rows(batches: Vec<RecordBatch>) -> Vec<Row> {
    let rows = batches
        .into_iter()
        .flat_map(|batch| (0..batch.num_rows()).map(move |row| Row { batch: batch.clone(), row }));
    rows.collect()
}
