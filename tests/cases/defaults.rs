//! What a page may leave out: every default, in one place.

use crate::world::Row;

pub const JOB: &str = r#"
[input]
clicks = "raw/clicks"
orders = "raw/orders"

[output]
root = "warehouse"

[program]
default_rate = "0.03"

[attribution]
tie = "before"
scope = "platform"

[lateness]
late_days = 2
order_horizon_days = 90

[links]
formats = [
  '^https?://s\.click\.aliexpress\.com/e/([0-9A-Za-z_-]+)',
  '[?&]aff_fcid=[0-9a-f]{32}-[0-9]{13}-[0-9]{5}-(_?[0-9A-Za-z]+)(?:&|#|$)',
]
"#;

pub const REFERENCES: [(&str, &str); 3] = [
    (
        "links",
        "link_key,publisher_id,tracking_id,valid_from,valid_to\n_ann,ann,,2020-01-01,\n_bob,bob,,2020-01-01,\n_cat,cat,,2020-01-01,\n",
    ),
    ("stores", "store_id,joined_at,left_at\nacorn,2020-01-01,\nbirch,2020-01-01,\n"),
    ("rates", "scope,scope_id,store_id,rate,valid_from,valid_to\n"),
];

/// A raw log: the columns that are written even if a page does not name them, and the others.
pub struct Log {
    pub name: &'static str,
    pub time: &'static str,
    pub always: &'static [&'static str],
    pub optional: &'static [&'static str],
}

pub const CLICKS: Log = Log {
    name: "clicks",
    time: "clicked_at",
    always: &["click_id", "clicked_at", "url", "buyer_id"],
    optional: &["visitor_id", "store_id", "product_id", "country", "device"],
};

pub const ORDERS: Log = Log {
    name: "orders",
    time: "event_at",
    always: &[
        "event_id",
        "event_type",
        "event_at",
        "order_id",
        "line_id",
        "buyer_id",
        "store_id",
        "amount",
        "currency",
    ],
    optional: &["product_id", "category_id", "quantity", "country", "reason", "visitor_id"],
};

pub fn usual_type(column: &str) -> &'static str {
    match column {
        "clicked_at" | "event_at" => "timestamp[us]",
        "amount" => "decimal",
        "quantity" => "int64",
        _ => "string",
    }
}

/// The value of a column that the page's table does not have, in the log's row `number`.
pub fn filled_in(column: &str, number: usize, row: &Row) -> Option<String> {
    let is_placed = || row.get("event_type").is_none_or(|it| it.as_deref() == Some("placed"));
    let value = match column {
        "click_id" => format!("c{number}"),
        "event_id" => format!("e{number}"),
        "url" => {
            let link = row.get("link").cloned().unwrap_or(Some("_ann".to_owned()))?;
            format!("https://s.click.aliexpress.com/e/{link}")
        }
        "event_type" => "placed".to_owned(),
        "order_id" => "o1".to_owned(),
        "line_id" => "1".to_owned(),
        "buyer_id" if is_placed() => "Ana".to_owned(),
        "store_id" if is_placed() => "acorn".to_owned(),
        "amount" if is_placed() => "100.00".to_owned(),
        "currency" if is_placed() => "USD".to_owned(),
        _ => return None,
    };
    Some(value)
}
