//! The lookup join: finds for each row of the probe side its matches in a smaller build side, such
//! as a click's link or a visitor's buyer.
//!
//! DataFusion's hash join copies all columns of all rows. This one passes the probe side's columns
//! on as they are and adds those of the build side. The resulting rows are the same.

mod build_side;

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

use build_side::Probe;

/// Replaces a right join whose left side is collected first by a [`LookupJoin`].
#[derive(Debug)]
pub struct UseLookupJoins;

impl PhysicalOptimizerRule for UseLookupJoins {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = plan.transform_up(|plan| {
            Ok(match LookupJoin::in_place_of(&plan) {
                Some(lookup) => Transformed::yes(Arc::new(lookup)),
                None => Transformed::no(plan),
            })
        });
        Ok(plan?.data)
    }

    fn name(&self) -> &str {
        "use_lookup_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A right join: each row of the right side with its matches on the left side, or with nulls.
#[derive(Debug)]
struct LookupJoin {
    /// The join that this one replaces. It answers the planner.
    join: Arc<dyn ExecutionPlan>,
    build: Arc<dyn ExecutionPlan>,
    probed: Arc<dyn ExecutionPlan>,
    probe: Arc<Probe>,
    metrics: ExecutionPlanMetricsSet,
}

impl LookupJoin {
    fn in_place_of(plan: &Arc<dyn ExecutionPlan>) -> Option<LookupJoin> {
        let join = plan.downcast_ref::<HashJoinExec>()?;
        let is_lookup = join.join_type == JoinType::Right
            && join.mode == PartitionMode::CollectLeft
            && join.null_equality == NullEquality::NullEqualsNothing
            && !join.null_aware
            && join.fetch().is_none();
        is_lookup.then(|| LookupJoin {
            join: plan.clone(),
            build: join.left.clone(),
            probed: join.right.clone(),
            probe: Arc::new(Probe::of(join)),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }
}

impl DisplayAs for LookupJoin {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "LookupJoin: ")?;
        self.join.fmt_as(t, f)
    }
}

impl ExecutionPlan for LookupJoin {
    fn name(&self) -> &str {
        "LookupJoin"
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
        vec![&self.build, &self.probed]
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
        match LookupJoin::in_place_of(&join) {
            Some(lookup) => Ok(Arc::new(lookup)),
            None => Ok(join),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let rows = self.probed.execute(partition, context.clone())?;
        let build = self.build.clone();
        let probe = self.probe.clone();
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let joined = rows.and_then(move |batch| {
            let (build, probe) = (build.clone(), probe.clone());
            let (context, metrics) = (context.clone(), metrics.clone());
            async move {
                let build_side = probe.build_side(build, context).await?;
                let _timer = metrics.elapsed_compute().timer();
                let joined = probe.join(build_side, &batch)?;
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
    #![allow(clippy::disallowed_methods, reason = "a test makes a session of its own")]

    use arrow::util::pretty::pretty_format_batches;
    use datafusion::execution::SessionStateBuilder;
    use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
    use datafusion::physical_plan::{collect, displayable};
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::build_side::PAIRS;
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

    /// The rows of a query, and whether its plan has a lookup join.
    async fn rows(sql: &str, is_lookup_join: bool) -> (String, bool) {
        let mut rules = PhysicalOptimizer::new().rules;
        if is_lookup_join {
            rules.push(Arc::new(UseLookupJoins));
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
        (rows, shown.contains("LookupJoin"))
    }

    async fn assert_same_rows(sql: &str) -> String {
        let (joined, is_lookup_join) = rows(sql, false).await;
        assert!(!is_lookup_join);
        let (found, is_lookup_join) = rows(sql, true).await;
        assert!(is_lookup_join);
        assert_eq!(found, joined);
        found
    }

    #[tokio::test]
    async fn a_click_gets_the_link_of_its_moment() {
        let select = "select clicks.*, links.publisher";
        // Without links that are valid at the same time, and with them.
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
        // Two clicks on a with 2 links each, one on b with 2, three on c with 1, two without.
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
        // Below 400000: all even numbers, odd ones from 3, even ones from 6, odd ones from 9.
        assert!(rows.contains("| 0  | 200000 | 39999800000 |"), "{rows}");
        assert!(rows.contains("| 3  | 199999 | 39999999999 |"), "{rows}");
        assert!(rows.contains("| 6  | 199997 | 39999799994 |"), "{rows}");
        assert!(rows.contains("| 9  | 199996 | 39999999984 |"), "{rows}");
    }
}
