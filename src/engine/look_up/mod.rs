//! Joins that find for each row the one that belongs to it in a smaller table, as a click's link or a
//! visitor's buyer.
//!
//! The engine's own join copies all columns of all rows for that. Here they are handed on as they
//! are, and what was found is put beside them. The rows that come out are the same.

mod looking;

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{JoinType, NullEquality, Result};
use datafusion::config::ConfigOptions;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan,
    InputDistributionRequirements, PlanProperties, ReplaceChildrenOptions,
};
use futures::TryStreamExt;

use looking::Looking;

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

impl LookUp {
    fn in_place_of(plan: &Arc<dyn ExecutionPlan>) -> Option<LookUp> {
        let join = plan.downcast_ref::<HashJoinExec>()?;
        let is_look_up = join.join_type == JoinType::Right
            && join.mode == PartitionMode::CollectLeft
            && join.null_equality == NullEquality::NullEqualsNothing
            && !join.null_aware
            && join.fetch().is_none();
        is_look_up.then(|| LookUp {
            join: plan.clone(),
            left: join.left.clone(),
            right: join.right.clone(),
            looking: Arc::new(Looking::of(join)),
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
                let known = looking.known(left, context).await?;
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

#[cfg(test)]
mod tests {
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::execution::SessionStateBuilder;
    use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
    use datafusion::physical_plan::{collect, displayable};
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::looking::PAIRS;
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
