//! Each promise, broken on purpose by another SQL text: the run ends with exit 4,
//! names what is broken, and no report changes.

use lookback::engine::SqlOverrides;
use lookback::model;
use lookback::plan::Rebuild;

use crate::in_memory::{State, World, wait_for, world};

/// A promise, the table whose SQL is replaced, by what, and words of the message that must name
/// what is broken.
struct Breach {
    promise: &'static str,
    table: &'static str,
    sql: String,
    names: &'static [&'static str],
}

/// The table's own rows as `made`, and what to select of them.
fn sql_overrides(table: &'static str, select: &str) -> String {
    format!("with made as ({}\n)\n{select}", model::named(table).unwrap().sql)
}

fn breaches() -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (table, names) in [
        ("clean.clicks", &["dt 2026-0", "click_id "][..]),
        ("clean.order_events", &["event_id "][..]),
        ("attribution.conversions", &["order_date 2026-03-0", "order_id ", "line_id "][..]),
        ("report.traffic", &["report_date 2026-03-0", "publisher_id "][..]),
        ("report.orders", &["report_date 2026-03-0", "store_id ", "publisher_id "][..]),
        ("report.refunds", &["report_date 2026-03-0", "store_id ", "publisher_id "][..]),
        ("report.transaction_details", &["report_date 2026-03-0", "event_id "][..]),
        ("report.unbooked_events", &["report_date 2026-03-0", "event_id "][..]),
    ] {
        let twice = "select made.* from made cross join (values (1), (2)) as copies (copy) \
                     order by 1";
        let sql = sql_overrides(table, twice);
        breaches.push(Breach { promise: "has each", table, sql, names });
    }
    let null_key = "select * replace (cast(null as varchar) as store_id) from made order by 1";
    let others = [
        ("no null in it", "report.orders", null_key, &["store_id (null)"][..]),
        (
            "the raw rows are the clean rows and the rejected ones",
            "clean.clicks",
            "select * from made where click_id > (select min(click_id) from made) order by 1",
            &["log clicks", "dt 2026-0"][..],
        ),
        (
            "the raw rows are the clean rows and the rejected ones",
            "clean.rejects",
            "select * from made where false",
            &["log clicks", "dt 2026-0"][..],
        ),
        (
            "Every line placed on the dates is in conversions once",
            "attribution.conversions",
            "select * from made where order_id > (select min(order_id) from made) order by 1",
            &["order_id ", "line_id ", "expected_rows 1, rows_there 0"][..],
        ),
        (
            "click happened before the order and no longer ago than the window",
            "attribution.conversions",
            "select * replace (clicked_at - interval '72 hours' as clicked_at) from made order by 1",
            &["order_id ", "click_id ", "clicked_at 2026-0"][..],
        ),
        (
            "Every movement has its amounts",
            "attribution.movements",
            "select * replace (cast(null as decimal(18, 2)) as pending_commission) from made",
            &["event_id ", "movement "][..],
        ),
        (
            "Every event of the dates is a movement or an unbooked event",
            "attribution.unbooked_events",
            "select * from made where event_id > (select min(event_id) from made)",
            &["report_date 2026-03-0", "event_type "][..],
        ),
        (
            // As many as there are, but one in place of another.
            "Every event of the dates is a movement or an unbooked event",
            "report.unbooked_events",
            "select * replace (concat(event_id, '?') as event_id) from made order by 1",
            &["report_date 2026-03-0", "event_type ", "difference_of_ids "][..],
        ),
        (
            "The sums of report.orders are those of the ledger",
            "report.orders",
            "select * replace (cast(placed_amount + 0.01 as decimal(18, 2)) as placed_amount) \
             from made order by 1",
            &["report_date 2026-03-0", "placed_amount_too_much 0.0"][..],
        ),
        (
            "The sums of report.refunds are those of the ledger",
            "report.refunds",
            "select * replace (refunds + 1 as refunds) from made order by 1",
            &["report_date 2026-03-0", "refunds_too_many "][..],
        ),
    ];
    for (promise, table, select, names) in others {
        breaches.push(Breach { promise, table, sql: sql_overrides(table, select), names });
    }
    breaches
}

fn reports(state: &State) -> Vec<(&&'static str, &std::collections::BTreeMap<String, String>)> {
    let is_report = |name: &str| name.starts_with("report.") || name.starts_with("attribution.");
    state.iter().filter(|(name, _)| is_report(name)).collect()
}

#[test]
fn a_broken_promise_ends_the_run_and_no_report_changes() {
    wait_for(async {
        let published = world(4);
        published.run(published.backfill(0, 3)).await.unwrap();
        let before = published.state().await;
        for breach in breaches() {
            let world = published.fork();
            // Something to do on every date, so that only the promise stands in its way.
            world.edit("reference/rates.csv", ",0.09", ",0.08").await;
            assert_broken(&world, &before, breach).await;
        }
    });
}

async fn assert_broken(world: &World, before: &State, breach: Breach) {
    let Breach { promise, table, sql, names } = breach;
    let sql_overrides = SqlOverrides::from([(table, sql)]);
    let stop = match world.run_with(world.backfill(0, 3), Rebuild::All, sql_overrides).await {
        Ok(_) => panic!("{promise} ({table}): nobody noticed"),
        Err(stop) => stop,
    };
    let text = stop.to_string();
    assert_eq!(stop.exit_code(), 4, "{promise} ({table}): {text}");
    assert!(text.contains("promise broken") && text.contains(promise), "{promise}: {text}");
    for name in names {
        assert!(text.contains(name), "{promise}: {name} is missing: {text}");
    }
    assert_eq!(reports(&world.state().await), reports(before), "{promise} ({table})");
}

#[test]
fn every_check_has_a_test_that_breaks_it() {
    let promises: Vec<&str> = breaches().iter().map(|breach| breach.promise).collect();
    for check in model::layer("audit").unwrap() {
        let is_broken = promises.iter().any(|promise| check.purpose.contains(promise));
        assert!(is_broken, "{}: {}", check.name, check.purpose);
    }
}
