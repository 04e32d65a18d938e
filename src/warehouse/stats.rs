//! What the log says about a file's rows: how many there are, and bounds of their columns. Readers
//! skip files by it, this program too.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use datafusion::common::ScalarValue;
use serde_json::{Map, Value, json};

use super::write::NewFile;
use crate::engine::parquet_table::Bounds;
use crate::model::{ColumnKind, Model};

/// A file's statistics as JSON of the Delta protocol. Times have milliseconds, because readers
/// expect them: the least is rounded down, the greatest up. Nulls are counted, because some readers
/// take a missing count for zero.
pub fn of(file: &NewFile) -> String {
    let (mut least, mut greatest) = (Map::new(), Map::new());
    for (column, (from, to)) in &file.bounds {
        let almost_one = TimeDelta::microseconds(999);
        if let Some((from, to)) = shown(from, TimeDelta::zero()).zip(shown(to, almost_one)) {
            least.insert(column.clone(), from);
            greatest.insert(column.clone(), to);
        }
    }
    json!({
        "numRecords": file.rows,
        "minValues": least,
        "maxValues": greatest,
        "nullCount": file.nulls,
    })
    .to_string()
}

/// A text as it is, or a time plus `later`, cut off to milliseconds. None for other types.
fn shown(value: &ScalarValue, later: TimeDelta) -> Option<Value> {
    match value {
        ScalarValue::Utf8View(text) => Some(text.clone()?.into()),
        ScalarValue::TimestampMicrosecond(micros, _) => {
            let time = DateTime::<Utc>::from_timestamp_micros((*micros)?)?;
            let time = time.checked_add_signed(later)?;
            Some(time.to_rfc3339_opts(SecondsFormat::Millis, true).into())
        }
        _ => None,
    }
}

/// The bounds of columns in such JSON. What cannot be read is left out.
pub fn bounds(stats: &str, model: &Model) -> Bounds {
    let stats: Value = serde_json::from_str(stats).unwrap_or_default();
    let end = |name: &str, column: &str, kind| read(stats[name][column].as_str()?, kind);
    let bounds = model.columns.iter().filter_map(|column| {
        let least = end("minValues", &column.name, column.kind)?;
        Some((column.name.clone(), (least, end("maxValues", &column.name, column.kind)?)))
    });
    bounds.collect()
}

fn read(text: &str, kind: ColumnKind) -> Option<ScalarValue> {
    match kind {
        ColumnKind::Id | ColumnKind::Text => Some(ScalarValue::Utf8View(Some(text.to_owned()))),
        ColumnKind::Instant => {
            let micros = DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros();
            Some(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::warehouse::Partition;

    fn instant(micros: i64) -> ScalarValue {
        ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()))
    }

    fn text(text: &str) -> ScalarValue {
        ScalarValue::Utf8View(Some(text.to_owned()))
    }

    #[test]
    fn bounds_hold_for_readers_who_know_milliseconds_only() {
        let model = crate::model::named("clean.order_events").unwrap();
        let bounds_of = |times: (i64, i64)| {
            Bounds::from([
                ("event_at".to_owned(), (instant(times.0), instant(times.1))),
                ("order_id".to_owned(), (text("7"), text("it's \"9\""))),
            ])
        };
        let file = NewFile {
            partition: Partition::of(chrono::NaiveDate::default()),
            path: String::new(),
            size: 0,
            rows: 3,
            bounds: bounds_of((1_000_001, 5_000_001)),
            nulls: [("event_at".to_owned(), 1), ("order_id".to_owned(), 0)].into(),
            digest: String::new(),
            upload: crate::warehouse::write::Upload::done(),
            row_digests: std::collections::BTreeMap::new(),
            is_key_in_doubt: false,
        };
        let stats = of(&file);
        assert!(stats.contains(r#""event_at":"1970-01-01T00:00:01.000Z""#), "{stats}");
        assert!(stats.contains(r#""event_at":"1970-01-01T00:00:05.001Z""#), "{stats}");
        assert!(stats.contains(r#""nullCount":{"event_at":1,"order_id":0}"#), "{stats}");
        assert_eq!(bounds(&stats, model), bounds_of((1_000_000, 5_001_000)));
        assert_eq!(bounds(r#"{"numRecords":3}"#, model), Bounds::new());
        assert_eq!(bounds("?", model), Bounds::new());
    }
}
