//! Joins that find for each row the one that belongs to it in a smaller table, as a click's link or a
//! visitor's buyer.
//!
//! The engine's own join copies all columns of all rows for that. Here they are handed on as they
//! are, and what was found is put beside them. The rows that come out are the same.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::{SortOptions, concat_batches, filter, take};
use arrow::datatypes::SchemaRef;
use datafusion::common::cast::{as_boolean_array, as_uint32_array};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{JoinSide, JoinType, NullEquality, Result, internal_err};
use datafusion::config::ConfigOptions;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter, JoinKeyComparator};
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan,
    InputDistributionRequirements, PlanProperties, ReplaceChildrenOptions,
};
use futures::TryStreamExt;
use tokio::sync::OnceCell;

use super::hash64::hashes;

/// How many pairs are judged at once, so that memory does not follow rows to which many belong.
const PAIRS: usize = 1 << 18;

/// Puts [`LookUp`] in place of right joins of which the left side is collected beforehand.
#[derive(Debug)]
pub struct LookUps;

impl PhysicalOptimizerRule for LookUps {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = plan.transform_up(|plan| {
            Ok(match LookUp::in_place_of(&plan) {
                Some(look_up) => Transformed::yes(Arc::new(look_up)),
                None => Transformed::no(plan),
            })
        });
        Ok(plan?.data)
    }

    fn name(&self) -> &str {
        "look_ups"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A right join: for each row of the right side those of the left side that belong to it, or nulls.
#[derive(Debug)]
struct LookUp {
    /// What it stands for, and answers for the planner.
    join: Arc<dyn ExecutionPlan>,
    left: Arc<dyn ExecutionPlan>,
    right: Arc<dyn ExecutionPlan>,
    looking: Arc<Looking>,
    metrics: ExecutionPlanMetricsSet,
}

/// What all partitions share.
#[derive(Debug)]
struct Looking {
    keys_of_left: Vec<Arc<dyn PhysicalExpr>>,
    keys_of_right: Vec<Arc<dyn PhysicalExpr>>,
    filter: Option<JoinFilter>,
    /// Which columns come out.
    columns: Vec<ColumnIndex>,
    schema: SchemaRef,
    known: OnceCell<Known>,
}

impl LookUp {
    fn in_place_of(plan: &Arc<dyn ExecutionPlan>) -> Option<LookUp> {
        let join = plan.downcast_ref::<HashJoinExec>()?;
        let is_look_up = join.join_type == JoinType::Right
            && join.mode == PartitionMode::CollectLeft
            && join.null_equality == NullEquality::NullEqualsNothing
            && !join.null_aware
            && join.fetch().is_none();
        if !is_look_up {
            return None;
        }
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
        let looking = Looking {
            keys_of_left,
            keys_of_right,
            filter: join.filter.clone(),
            columns: columns.collect(),
            schema: join.schema(),
            known: OnceCell::new(),
        };
        Some(LookUp {
            join: plan.clone(),
            left: join.left.clone(),
            right: join.right.clone(),
            looking: Arc::new(looking),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }
}

impl DisplayAs for LookUp {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "LookUp: ")?;
        self.join.fmt_as(t, f)
    }
}

impl ExecutionPlan for LookUp {
    fn name(&self) -> &str {
        "LookUp"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.join.properties()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        self.join.input_distribution_requirements()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        self.join.maintains_input_order()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.left, &self.right]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.join.apply_expressions(f)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let anew = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        let join = self.join.clone().replace_children(children, anew)?;
        match LookUp::in_place_of(&join) {
            Some(look_up) => Ok(Arc::new(look_up)),
            None => Ok(join),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let rows = self.right.execute(partition, context.clone())?;
        let left = self.left.clone();
        let looking = self.looking.clone();
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let joined = rows.and_then(move |batch| {
            let (left, looking) = (left.clone(), looking.clone());
            let (context, metrics) = (context.clone(), metrics.clone());
            async move {
                let known = looking.known.get_or_try_init(|| looking.collect(left, context));
                let known = known.await?;
                let _timer = metrics.elapsed_compute().timer();
                let joined = looking.join(known, &batch)?;
                metrics.record_output(joined.num_rows());
                Ok(joined)
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), joined)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

impl Looking {
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

    fn join(&self, known: &Known, batch: &RecordBatch) -> Result<RecordBatch> {
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
struct Known {
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

#[cfg(test)]
mod tests {
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::execution::SessionStateBuilder;
    use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
    use datafusion::physical_plan::{collect, displayable};
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    const CLICKS_WITH_LINKS: &str = "
        with links (link, shop, publisher, valid_from, valid_to) as (values
            ('a', 1, 'p1', null, 10),
            ('a', 1, 'p2', 10, null),
            ('b', 1, 'p3', null, null),
            ('b', 1, 'p4', 5, null),
            (null, 1, 'p5', null, null),
            ('c', 2, 'p6', null, null)
        ),
        clicks (link, shop, clicked_at) as (values
            ('a', 1, 9), ('a', 1, 10), ('b', 1, 4), (null, 1, 4), ('d', 1, 4), ('c', 1, 4),
            ('c', 2, 4), ('c', null, 4)
        )";

    const FROM: &str = "
        from links right join clicks
            on links.link = clicks.link
            and links.shop = clicks.shop
            and (links.valid_from is null or links.valid_from <= clicks.clicked_at)
            and (links.valid_to is null or clicks.clicked_at < links.valid_to)";

    /// The rows of a query, and whether anything was looked up.
    async fn rows(sql: &str, is_looked_up: bool) -> (String, bool) {
        let mut rules = PhysicalOptimizer::new().rules;
        if is_looked_up {
            rules.push(Arc::new(LookUps));
        }
        let mut config = SessionConfig::new().with_target_partitions(1);
        config.options_mut().optimizer.join_reordering = false;
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_default_features()
            .with_physical_optimizer_rules(rules)
            .build();
        let session = SessionContext::new_with_state(state);
        let plan = session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let shown = displayable(plan.as_ref()).indent(false).to_string();
        let batches = collect(plan, session.task_ctx()).await.unwrap();
        let rows = pretty_format_batches(&batches).unwrap().to_string();
        (rows, shown.contains("LookUp"))
    }

    async fn assert_same_rows(sql: &str) -> String {
        let (joined, is_looked_up) = rows(sql, false).await;
        assert!(!is_looked_up);
        let (found, is_looked_up) = rows(sql, true).await;
        assert!(is_looked_up);
        assert_eq!(found, joined);
        found
    }

    #[tokio::test]
    async fn a_click_gets_the_link_of_its_moment() {
        let select = "select clicks.*, links.publisher";
        // Where no link has another at the same moment, and where one has.
        for only in ["where clicks.link is null or clicks.link <> 'b'", ""] {
            let sql = format!(
                "{CLICKS_WITH_LINKS} {select} {FROM} {only}
                order by clicks.link, clicks.shop, clicks.clicked_at, publisher"
            );
            let rows = assert_same_rows(&sql).await;
            assert!(rows.contains("| a    | 1    | 9          | p1        |"), "{rows}");
            assert!(rows.contains("| a    | 1    | 10         | p2        |"), "{rows}");
            assert!(rows.contains("|      | 1    | 4          |           |"), "{rows}");
            assert!(rows.contains("| c    | 1    | 4          |           |"), "{rows}");
            assert!(rows.contains("| c    | 2    | 4          | p6        |"), "{rows}");
        }
    }

    #[tokio::test]
    async fn several_links_of_a_moment_all_belong_to_the_click() {
        let sql = format!(
            "{CLICKS_WITH_LINKS} select count(*) as pairs, count(publisher) as found
            from (select clicks.*, links.publisher
                from links right join clicks on links.link = clicks.link)"
        );
        // a twice two, b once two, c three times one, d and none without.
        assert!(assert_same_rows(&sql).await.contains("| 11    | 9     |"));
    }

    #[tokio::test]
    async fn nothing_is_found_in_an_empty_table() {
        let sql = format!(
            "{CLICKS_WITH_LINKS}, no_links as (select * from links where shop = 3)
            select count(*) as clicks, count(publisher) as found
            from (select clicks.*, no_links.publisher
                from no_links right join clicks on no_links.link = clicks.link)"
        );
        assert!(assert_same_rows(&sql).await.contains("| 8      | 0     |"));
    }

    #[tokio::test]
    async fn more_pairs_than_are_judged_at_once() {
        const { assert!(PAIRS < 400_000) };
        let sql = "
            with many as (select value % 2 as key, value as at from range(0, 400000)),
            few as (select value % 2 as key, value * 3 as at from range(0, 4))
            select few.at, count(*) as pairs, sum(many.at) as sum
            from many right join few on many.key = few.key and many.at >= few.at
            group by few.at
            order by few.at";
        let rows = assert_same_rows(sql).await;
        // The even numbers below 400000, the odd ones from 3, the even ones from 6, the odd ones from 9.
        assert!(rows.contains("| 0  | 200000 | 39999800000 |"), "{rows}");
        assert!(rows.contains("| 3  | 199999 | 39999999999 |"), "{rows}");
        assert!(rows.contains("| 6  | 199997 | 39999799994 |"), "{rows}");
        assert!(rows.contains("| 9  | 199996 | 39999999984 |"), "{rows}");
    }
}
