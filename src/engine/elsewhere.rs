//! Where plans run, if not in this process: the one seam between the engine and a cluster.
//!
//! A plan that runs elsewhere has an [`Order`] on top: what becomes of its rows there. What comes back
//! is a report on each file that was written, never the rows.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use datafusion::physical_plan::ExecutionPlan;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use crate::location::Location;

/// The words of each error that is about these processes, and not about a plan.
pub const NOTHING_RUNS: &str = "so nothing runs";

/// Other processes that run plans.
#[async_trait]
pub trait Elsewhere: Debug + Send + Sync {
    /// How many partitions one of them works on at once.
    fn cores_each(&self) -> usize;

    /// The cores of all of them together.
    fn cores(&self) -> usize;

    /// Bytes of files that are worth a partition of their own.
    fn piece(&self) -> usize;

    /// Where temporary tables lie, for all to read.
    fn scratch(&self) -> &Location;

    /// Whether enough of them answered last.
    fn is_there(&self) -> bool;

    /// Prepares for a run that holds the lock: removes what dead runs left, and leaves out processes
    /// that do not see the root or these raw files, each below the location of its log. Errors: the
    /// store fails; too few processes see all.
    async fn begin(&self, files: &[(Location, Path)]) -> Result<()>;

    /// Those who were missing, at least for a while, and why.
    fn missing(&self) -> Vec<String>;

    /// Removes what the run left. What fails here the next run removes.
    async fn end(&self);

    /// Runs plans side by side and does with their rows what their orders say. Returns the reports of
    /// each, in the order of its partitions. Errors: a plan fails; too few processes are left.
    async fn run(&self, what: &str, plans: Vec<Ordered>) -> Result<Vec<Vec<String>>>;

    /// Runs a plan and brings its rows here: for small answers.
    async fn collect(&self, what: &str, plan: Arc<dyn ExecutionPlan>) -> Result<Vec<RecordBatch>>;
}

/// A plan, and what becomes of its rows.
pub struct Ordered {
    pub plan: Arc<dyn ExecutionPlan>,
    pub order: Order,
}

/// What becomes of a plan's rows, as it travels to another process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Order {
    /// See [`super::scratch::ScratchOrder`].
    Scratch(String),
    /// Rows of a stored table, in one piece.
    Table(String),
    /// Decoded, counted and dropped.
    Count,
    /// None are wanted, but whether the process sees what it will have to.
    Look(String),
}

/// The setting of a session by which tables know that their scans travel.
#[derive(Debug)]
pub struct Travels;

/// A value of a column that is the same in many rows, as text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    Date(i32),
    Number(i64),
    Flag(bool),
    Text(String),
    /// Microseconds since 1970, in UTC.
    Instant(i64),
    /// Digits, precision and scale.
    Decimal(String, u8, i8),
}

impl Value {
    /// Errors: a null; a type that no such column has.
    pub fn of(value: &ScalarValue) -> Result<Value> {
        Ok(match value {
            ScalarValue::Date32(Some(days)) => Value::Date(*days),
            ScalarValue::Int64(Some(number)) => Value::Number(*number),
            ScalarValue::Boolean(Some(flag)) => Value::Flag(*flag),
            ScalarValue::Utf8View(Some(text)) => Value::Text(text.clone()),
            ScalarValue::TimestampMicrosecond(Some(micros), _) => Value::Instant(*micros),
            ScalarValue::Decimal128(Some(digits), precision, scale) => {
                Value::Decimal(digits.to_string(), *precision, *scale)
            }
            other => bail!("{other:?} cannot be told to another process"),
        })
    }

    /// Errors: digits that are none.
    pub fn scalar(self) -> Result<ScalarValue> {
        Ok(match self {
            Value::Date(days) => ScalarValue::Date32(Some(days)),
            Value::Number(number) => ScalarValue::Int64(Some(number)),
            Value::Flag(flag) => ScalarValue::Boolean(Some(flag)),
            Value::Text(text) => ScalarValue::Utf8View(Some(text)),
            Value::Instant(micros) => {
                ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()))
            }
            Value::Decimal(digits, precision, scale) => {
                let digits = digits.parse().with_context(|| format!("{digits} is no number"))?;
                ScalarValue::Decimal128(Some(digits), precision, scale)
            }
        })
    }

    /// The values of columns, by name.
    pub fn all<'a>(
        values: impl IntoIterator<Item = (&'a String, &'a ScalarValue)>,
    ) -> Result<BTreeMap<String, Value>> {
        let values = values.into_iter();
        values.map(|(name, value)| Ok((name.clone(), Value::of(value)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_went() {
        for value in [
            ScalarValue::Date32(Some(-3)),
            ScalarValue::Int64(Some(i64::MIN)),
            ScalarValue::Boolean(Some(true)),
            ScalarValue::Utf8View(Some("it's \"7\"\n".to_owned())),
            ScalarValue::TimestampMicrosecond(Some(-1), Some("UTC".into())),
            ScalarValue::Decimal128(Some(i128::MAX), 38, 6),
        ] {
            let text = serde_json::to_string(&Value::of(&value).unwrap()).unwrap();
            let back: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(back.scalar().unwrap(), value);
        }
        assert!(Value::of(&ScalarValue::Date32(None)).is_err());
    }
}
