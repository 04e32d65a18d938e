//! Which rows of the left side belong to each row of the right side.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::{SortOptions, concat_batches, filter, take};
use arrow::datatypes::SchemaRef;
use datafusion::common::cast::{as_boolean_array, as_uint32_array};
use datafusion::common::{JoinSide, NullEquality, Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter, JoinKeyComparator};
use futures::TryStreamExt;
use tokio::sync::OnceCell;

use crate::engine::hash64::hashes;

/// How many pairs are judged at once, so that memory does not follow rows to which many belong.
pub const PAIRS: usize = 1 << 18;

/// What all partitions share.
#[derive(Debug)]
pub struct Looking {
    keys_of_left: Vec<Arc<dyn PhysicalExpr>>,
    keys_of_right: Vec<Arc<dyn PhysicalExpr>>,
    filter: Option<JoinFilter>,
    /// Which columns come out.
    columns: Vec<ColumnIndex>,
    schema: SchemaRef,
    known: OnceCell<Known>,
}

impl Looking {
    pub fn of(join: &HashJoinExec) -> Looking {
        let of_left = join.left.schema().fields().len();
        let all = of_left + join.right.schema().fields().len();
        let wanted = match &join.projection {
            Some(positions) => positions.to_vec(),
            None => (0..all).collect(),
        };
        let columns = wanted.into_iter().map(|position| match position.checked_sub(of_left) {
            None => ColumnIndex { index: position, side: JoinSide::Left },
            Some(index) => ColumnIndex { index, side: JoinSide::Right },
        });
        let (keys_of_left, keys_of_right) = join.on.iter().cloned().unzip();
        Looking {
            keys_of_left,
            keys_of_right,
            filter: join.filter.clone(),
            columns: columns.collect(),
            schema: join.schema(),
            known: OnceCell::new(),
        }
    }

    /// The left side, collected by whoever asks first.
    pub async fn known(
        &self,
        left: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
    ) -> Result<&Known> {
        self.known.get_or_try_init(|| self.collect(left, context)).await
    }

    async fn collect(
        &self,
        left: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
    ) -> Result<Known> {
        let room = MemoryConsumer::new("rows to look up").register(context.memory_pool());
        let mut rows = left.execute(0, context)?;
        let mut batches = Vec::new();
        while let Some(batch) = rows.try_next().await? {
            // The map takes about 32 bytes a row.
            room.try_grow(batch.get_array_memory_size() + batch.num_rows() * 32)?;
            batches.push(batch);
        }
        let rows = concat_batches(&rows.schema(), &batches)?;
        if rows.num_rows() >= NONE as usize {
            return internal_err!("too many rows to look up");
        }
        let (keys, nulls) = evaluated(&self.keys_of_left, &rows)?;
        let mut first = HashMap::with_capacity_and_hasher(rows.num_rows(), Default::default());
        let mut next = vec![NONE; rows.num_rows()];
        // From the last to the first, so that the first is found first.
        for (row, hash) in hashes(&keys)?.into_iter().enumerate().rev() {
            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row))
                && let Some(after) = first.insert(hash, row as u32)
            {
                next[row] = after;
            }
        }
        Ok(Known { rows, keys, first, next, _room: room })
    }

    /// Rows of the right side with what belongs to them.
    pub fn join(&self, known: &Known, batch: &RecordBatch) -> Result<RecordBatch> {
        let Found { left, right } = self.find(known, batch)?.found(batch.num_rows());
        let columns = self.columns.iter().map(|column| -> Result<ArrayRef> {
            let is_left = column.side == JoinSide::Left;
            let side = if is_left { &known.rows } else { batch };
            let from = side.column(column.index);
            Ok(match (is_left, &right) {
                (true, _) if from.is_empty() => new_null_array(from.data_type(), left.len()),
                (true, _) => take(from, &left, None)?,
                (false, Some(rows)) => take(from, rows, None)?,
                (false, None) => from.clone(),
            })
        });
        batch_of(&self.schema, columns.collect::<Result<_>>()?, left.len())
    }

    /// What belongs to rows of the right side.
    fn find(&self, known: &Known, batch: &RecordBatch) -> Result<Pairs> {
        let (keys, nulls) = evaluated(&self.keys_of_right, batch)?;
        let order = vec![SortOptions::default(); keys.len()];
        let equal = NullEquality::NullEqualsNothing;
        let compared = JoinKeyComparator::new(&known.keys, &keys, &order, equal)?;
        let mut judged = Pairs::default();
        let mut pairs = Pairs::default();
        for (row, hash) in hashes(&keys)?.into_iter().enumerate() {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                continue;
            }
            let mut left = known.first.get(&hash).copied().unwrap_or(NONE);
            while left != NONE {
                if compared.is_equal(left as usize, row) {
                    pairs.left.push(left);
                    pairs.right.push(row as u32);
                }
                left = known.next[left as usize];
            }
            if pairs.left.len() >= PAIRS {
                judged.extend(self.judge(known, batch, std::mem::take(&mut pairs))?);
            }
        }
        judged.extend(self.judge(known, batch, pairs)?);
        Ok(judged)
    }

    /// The pairs for which the join's condition holds.
    fn judge(&self, known: &Known, batch: &RecordBatch, pairs: Pairs) -> Result<Pairs> {
        let Some(condition) = &self.filter else { return Ok(pairs) };
        let left = UInt32Array::from(pairs.left);
        let right = UInt32Array::from(pairs.right);
        let columns = condition.column_indices().iter().map(|column| match column.side {
            JoinSide::Left => take(known.rows.column(column.index), &left, None),
            _ => take(batch.column(column.index), &right, None),
        });
        let columns = columns.collect::<Result<_, _>>()?;
        let pairs = batch_of(condition.schema(), columns, left.len())?;
        let holds = condition.expression().evaluate(&pairs)?.into_array(left.len())?;
        let holds = as_boolean_array(&holds)?;
        let chosen = |rows: &UInt32Array| -> Result<Vec<u32>> {
            let chosen = filter(rows, holds)?;
            Ok(as_uint32_array(&chosen)?.values().to_vec())
        };
        Ok(Pairs { left: chosen(&left)?, right: chosen(&right)? })
    }
}

/// The left side: all its rows, and where those of a key are.
#[derive(Debug)]
pub struct Known {
    rows: RecordBatch,
    keys: Vec<ArrayRef>,
    /// Of a key's hash the first row, and of each row the next one with the same hash, or none.
    first: HashMap<u64, u32, BuildHasherDefault<AsItIs>>,
    next: Vec<u32>,
    _room: MemoryReservation,
}

const NONE: u32 = u32::MAX;

/// Rows of the left side and the rows of the right side to which they belong, in their order.
#[derive(Default)]
struct Pairs {
    left: Vec<u32>,
    right: Vec<u32>,
}

impl Pairs {
    fn extend(&mut self, more: Pairs) {
        match self.left.is_empty() {
            true => *self = more,
            false => {
                self.left.extend(more.left);
                self.right.extend(more.right);
            }
        }
    }

    /// With the rows to which none belongs.
    fn found(self, rows: usize) -> Found {
        let is_once = self.right.is_sorted_by(|row, next| row < next);
        if is_once {
            let mut left = vec![0; rows];
            let mut is_found = vec![false; rows];
            for (row, of) in self.left.iter().zip(&self.right) {
                left[*of as usize] = *row;
                is_found[*of as usize] = true;
            }
            return Found {
                left: UInt32Array::new(left.into(), Some(is_found.into())),
                right: None,
            };
        }
        let mut found: Vec<(Option<u32>, u32)> = Vec::with_capacity(rows);
        let mut pairs = self.left.into_iter().zip(self.right).peekable();
        for row in 0..rows as u32 {
            let before = found.len();
            while let Some((left, _)) = pairs.next_if(|(_, of)| *of == row) {
                found.push((Some(left), row));
            }
            if found.len() == before {
                found.push((None, row));
            }
        }
        let (left, right): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        Found { left: left.into(), right: Some(right.into()) }
    }
}

/// Which rows of both sides come out side by side.
struct Found {
    /// Null where none belongs to the row.
    left: UInt32Array,
    /// Each row once, in order, if there is nothing here.
    right: Option<UInt32Array>,
}

fn batch_of(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let rows = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &rows)?)
}

/// Keys, and which rows have a null in theirs.
fn evaluated(
    keys: &[Arc<dyn PhysicalExpr>],
    rows: &RecordBatch,
) -> Result<(Vec<ArrayRef>, Option<NullBuffer>)> {
    let keys = keys.iter().map(|key| key.evaluate(rows)?.into_array(rows.num_rows()));
    let keys = keys.collect::<Result<Vec<_>>>()?;
    let nulls = keys
        .iter()
        .fold(None, |nulls, key| NullBuffer::union(nulls.as_ref(), key.logical_nulls().as_ref()));
    Ok((keys, nulls))
}

/// Hashes need not be hashed once more.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
