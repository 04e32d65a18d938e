//! Carries columns that a view does not know through it: which raw row each of its rows is made of.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, Projection, SubqueryAlias, Union, Unnest,
};

/// The plan of a view over `raw` in place of the bare table that it was planned over, with the columns
/// `carried` of `raw` as its last ones. Errors: the plan does what [`super::refusals`] does not allow.
pub fn carrying(plan: LogicalPlan, raw: &LogicalPlan, carried: &[&str]) -> Result<LogicalPlan> {
    Ok(match plan {
        LogicalPlan::TableScan(scan) => {
            LogicalPlanBuilder::from(raw.clone()).alias(scan.table_name)?.build()?
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let input = carrying(Arc::unwrap_or_clone(alias.input), raw, carried)?;
            LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), alias.alias)?)
        }
        LogicalPlan::Filter(mut filter) => {
            filter.input = Arc::new(carrying(Arc::unwrap_or_clone(filter.input), raw, carried)?);
            LogicalPlan::Filter(filter)
        }
        LogicalPlan::Projection(projection) => {
            let input = carrying(Arc::unwrap_or_clone(projection.input), raw, carried)?;
            let is_carried = |expression: &Expr| match expression {
                Expr::Column(column) => carried.contains(&column.name.as_str()),
                _ => false,
            };
            let mut expressions = projection.expr;
            expressions.retain(|expression| !is_carried(expression));
            for name in carried {
                let found = input.schema().columns().into_iter().rfind(|found| found.name == *name);
                expressions.push(Expr::Column(found.with_context(|| format!("{name} is lost"))?));
            }
            LogicalPlan::Projection(Projection::try_new(expressions, Arc::new(input))?)
        }
        LogicalPlan::Unnest(unnest) => {
            let input = carrying(Arc::unwrap_or_clone(unnest.input), raw, carried)?;
            LogicalPlan::Unnest(Unnest::try_new(
                Arc::new(input),
                unnest.exec_columns,
                unnest.options,
            )?)
        }
        LogicalPlan::Union(union) => {
            let inputs = union
                .inputs
                .into_iter()
                .map(|input| Ok(Arc::new(carrying(Arc::unwrap_or_clone(input), raw, carried)?)));
            LogicalPlan::Union(Union::try_new_with_loose_types(inputs.collect::<Result<_>>()?)?)
        }
        other => bail!("has {}", other.display()),
    })
}
