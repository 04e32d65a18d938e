//! The build side of a lookup join, and the probe that finds matches in it.

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

use crate::engine::functions::hash64::hashes;

/// How many pairs are filtered at once, so that memory stays bounded when a row has many matches.
pub const PAIRS: usize = 1 << 18;

/// How rows of the probe side find matches. All partitions share it.
#[derive(Debug)]
pub struct Probe {
    build_keys: Vec<Arc<dyn PhysicalExpr>>,
    probe_keys: Vec<Arc<dyn PhysicalExpr>>,
    filter: Option<JoinFilter>,
    /// The columns of the result.
    columns: Vec<ColumnIndex>,
    schema: SchemaRef,
    build_side: OnceCell<BuildSide>,
}

impl Probe {
    pub fn of(join: &HashJoinExec) -> Probe {
        let build_columns = join.left.schema().fields().len();
        let all = build_columns + join.right.schema().fields().len();
        let wanted = match &join.projection {
            Some(positions) => positions.to_vec(),
            None => (0..all).collect(),
        };
        let columns =
            wanted.into_iter().map(|position| match position.checked_sub(build_columns) {
                None => ColumnIndex { index: position, side: JoinSide::Left },
                Some(index) => ColumnIndex { index, side: JoinSide::Right },
            });
        let (build_keys, probe_keys) = join.on.iter().cloned().unzip();
        Probe {
            build_keys,
            probe_keys,
            filter: join.filter.clone(),
            columns: columns.collect(),
            schema: join.schema(),
            build_side: OnceCell::new(),
        }
    }

    /// The build side, collected once by the first partition that needs it.
    pub async fn build_side(
        &self,
        build: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
    ) -> Result<&BuildSide> {
        self.build_side.get_or_try_init(|| self.collect(build, context)).await
    }

    async fn collect(
        &self,
        build: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
    ) -> Result<BuildSide> {
        let reservation =
            MemoryConsumer::new("build side of a lookup join").register(context.memory_pool());
        let mut rows = build.execute(0, context)?;
        let mut batches = Vec::new();
        while let Some(batch) = rows.try_next().await? {
            // The map takes about 32 bytes a row.
            reservation.try_grow(batch.get_array_memory_size() + batch.num_rows() * 32)?;
            batches.push(batch);
        }
        let rows = concat_batches(&rows.schema(), &batches)?;
        if rows.num_rows() >= NONE as usize {
            return internal_err!("too many rows on the build side of a lookup join");
        }
        let (keys, nulls) = evaluated(&self.build_keys, &rows)?;
        let mut first = HashMap::with_capacity_and_hasher(rows.num_rows(), Default::default());
        let mut next = vec![NONE; rows.num_rows()];
        // From the last row to the first, so that each chain begins with the first.
        for (row, hash) in hashes(&keys)?.into_iter().enumerate().rev() {
            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row))
                && let Some(after) = first.insert(hash, row as u32)
            {
                next[row] = after;
            }
        }
        Ok(BuildSide { rows, keys, first, next, _reservation: reservation })
    }

    /// Joins rows of the probe side with their matches.
    pub fn join(&self, side: &BuildSide, batch: &RecordBatch) -> Result<RecordBatch> {
        let Matches { build, probe } = self.find(side, batch)?.matches(batch.num_rows());
        let columns = self.columns.iter().map(|column| -> Result<ArrayRef> {
            let is_build = column.side == JoinSide::Left;
            let side = if is_build { &side.rows } else { batch };
            let from = side.column(column.index);
            Ok(match (is_build, &probe) {
                (true, _) if from.is_empty() => new_null_array(from.data_type(), build.len()),
                (true, _) => take(from, &build, None)?,
                (false, Some(rows)) => take(from, rows, None)?,
                (false, None) => from.clone(),
            })
        });
        batch_of(&self.schema, columns.collect::<Result<_>>()?, build.len())
    }

    /// Finds the matches of rows of the probe side.
    fn find(&self, side: &BuildSide, batch: &RecordBatch) -> Result<Pairs> {
        let (keys, nulls) = evaluated(&self.probe_keys, batch)?;
        let order = vec![SortOptions::default(); keys.len()];
        let equal = NullEquality::NullEqualsNothing;
        let compared = JoinKeyComparator::new(&side.keys, &keys, &order, equal)?;
        let mut judged = Pairs::default();
        let mut pairs = Pairs::default();
        for (row, hash) in hashes(&keys)?.into_iter().enumerate() {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                continue;
            }
            let mut build = side.first.get(&hash).copied().unwrap_or(NONE);
            while build != NONE {
                if compared.is_equal(build as usize, row) {
                    pairs.build.push(build);
                    pairs.probe.push(row as u32);
                }
                build = side.next[build as usize];
            }
            if pairs.build.len() >= PAIRS {
                judged.extend(self.judge(side, batch, std::mem::take(&mut pairs))?);
            }
        }
        judged.extend(self.judge(side, batch, pairs)?);
        Ok(judged)
    }

    /// The pairs for which the join's condition holds.
    fn judge(&self, side: &BuildSide, batch: &RecordBatch, pairs: Pairs) -> Result<Pairs> {
        let Some(condition) = &self.filter else { return Ok(pairs) };
        let build = UInt32Array::from(pairs.build);
        let probe = UInt32Array::from(pairs.probe);
        let columns = condition.column_indices().iter().map(|column| match column.side {
            JoinSide::Left => take(side.rows.column(column.index), &build, None),
            _ => take(batch.column(column.index), &probe, None),
        });
        let columns = columns.collect::<Result<_, _>>()?;
        let pairs = batch_of(condition.schema(), columns, build.len())?;
        let holds = condition.expression().evaluate(&pairs)?.into_array(build.len())?;
        let holds = as_boolean_array(&holds)?;
        let chosen = |rows: &UInt32Array| -> Result<Vec<u32>> {
            let chosen = filter(rows, holds)?;
            Ok(as_uint32_array(&chosen)?.values().to_vec())
        };
        Ok(Pairs { build: chosen(&build)?, probe: chosen(&probe)? })
    }
}

/// All rows of the build side, and where the rows of a key are.
#[derive(Debug)]
pub struct BuildSide {
    rows: RecordBatch,
    keys: Vec<ArrayRef>,
    /// The first row of a key's hash, and for each row the next one with the same hash, or none.
    first: HashMap<u64, u32, BuildHasherDefault<AsItIs>>,
    next: Vec<u32>,
    _reservation: MemoryReservation,
}

const NONE: u32 = u32::MAX;

/// Matching rows of the build side and the probe side, in the order of the probe side.
#[derive(Default)]
struct Pairs {
    build: Vec<u32>,
    probe: Vec<u32>,
}

impl Pairs {
    fn extend(&mut self, more: Pairs) {
        match self.build.is_empty() {
            true => *self = more,
            false => {
                self.build.extend(more.build);
                self.probe.extend(more.probe);
            }
        }
    }

    /// Adds the probe rows that have no match. `rows` is the number of probe rows.
    fn matches(self, rows: usize) -> Matches {
        let is_once = self.probe.is_sorted_by(|row, next| row < next);
        if is_once {
            let mut build = vec![0; rows];
            let mut is_found = vec![false; rows];
            for (row, of) in self.build.iter().zip(&self.probe) {
                build[*of as usize] = *row;
                is_found[*of as usize] = true;
            }
            return Matches {
                build: UInt32Array::new(build.into(), Some(is_found.into())),
                probe: None,
            };
        }
        let mut found: Vec<(Option<u32>, u32)> = Vec::with_capacity(rows);
        let mut pairs = self.build.into_iter().zip(self.probe).peekable();
        for row in 0..rows as u32 {
            let before = found.len();
            while let Some((build, _)) = pairs.next_if(|(_, of)| *of == row) {
                found.push((Some(build), row));
            }
            if found.len() == before {
                found.push((None, row));
            }
        }
        let (build, probe): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        Matches { build: build.into(), probe: Some(probe.into()) }
    }
}

/// The rows of both sides, pair by pair.
struct Matches {
    /// Null where a probe row has no match.
    build: UInt32Array,
    /// None when the result has each probe row once, in order.
    probe: Option<UInt32Array>,
}

fn batch_of(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let rows = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &rows)?)
}

/// The keys, and which rows have a null in them.
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

/// Takes a hash as it is, without hashing it again.
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
