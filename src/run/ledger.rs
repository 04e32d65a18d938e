//! Makes the ledger from conversions and events: what each event did to its line's commission.

use anyhow::Result;
use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::workspace::{Workspace, number};
use crate::days::DateRange;
use crate::engine::Params;
use crate::model;

/// Order lines to book per bucket, so that memory does not grow with the number of lines.
const BUCKET_LINES: u64 = 200_000;

/// Makes `attribution.movements`, `attribution.ledger_lines` and `attribution.unbooked_events` of
/// some report dates.
pub async fn make_movements(workspace: &Workspace<'_>, dates: DateRange) -> Result<()> {
    let params = workspace.params(dates);
    let engine = &workspace.engine;
    let lines = engine.materialise_each(&["attribution.lines_to_book"], &params).await?;
    let buckets = order_buckets(workspace, lines, &params).await?;
    let by_bucket = [
        "attribution.line_history",
        "attribution.ledger_lines",
        "attribution.ledger_events",
        "attribution.movements",
        "attribution.unbooked_events",
    ];
    let results =
        ["attribution.ledger_lines", "attribution.movements", "attribution.unbooked_events"];
    engine.materialise_by_bucket(&by_bucket, &buckets, &results).await?;
    engine.forget("attribution.lines_to_book")
}

/// Divides the orders to book into buckets. Returns the parameters of each. Clean events and
/// conversions are sorted by order, so a bucket reads its part of each file.
async fn order_buckets(
    workspace: &Workspace<'_>,
    lines: u64,
    params: &Params,
) -> Result<Vec<Params>> {
    let mut params = params.clone();
    params.insert("buckets", number(workspace.buckets(lines, BUCKET_LINES)));
    let model = model::named("attribution.order_buckets")?;
    let mut cuts = Vec::new();
    for batch in &workspace.engine.collect(model, &params).await? {
        let column = cast(batch.column(0), &DataType::Utf8)?;
        cuts.extend(column.as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    // The first bucket begins before all orders, and the last has no end.
    let firsts: Vec<String> = [String::new()].into_iter().chain(cuts.into_iter().skip(1)).collect();
    let nexts = firsts.iter().skip(1).cloned().map(Some).chain([None]);
    let buckets = firsts.iter().cloned().zip(nexts).enumerate().map(|(bucket, (first, next))| {
        let mut params = params.clone();
        params.insert("bucket", number(bucket as i64));
        params.insert("first_order", ScalarValue::Utf8View(Some(first)));
        params.insert("next_order", ScalarValue::Utf8View(next));
        params
    });
    Ok(buckets.collect())
}
