//! The SQL files: each is a table, and its head says what the table promises.
//!
//! A head is the comment at the top of the file. Its fields are `grain`, `key`, `kept`, `split`,
//! `order`, `reads`, `params` and `columns`; the rest of it is prose. Refuses to know how a model
//! is run.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result, bail};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// One SQL file.
#[derive(Debug)]
pub struct Model {
    /// `clean.clicks` for `sql/clean/clicks.sql`.
    pub name: &'static str,
    pub sql: &'static str,
    /// First sentence of the head.
    pub purpose: String,
    /// Columns that together are unique and not null; empty where there is no key.
    pub key: Vec<String>,
    /// Kept in the warehouse, rather than for the run.
    pub is_kept: bool,
    /// A column, a date, a number or a boolean: rows of each of its values are kept apart.
    pub split: Option<String>,
    pub reads: BTreeSet<String>,
    pub params: BTreeSet<String>,
    /// Declared for tables that are kept; the first is the partition.
    pub columns: Vec<Column>,
    /// Columns by which the rows are sorted, as the query's end says.
    pub order: Vec<String>,
    /// Rows stay in the order in which they are read.
    pub keeps_order: bool,
}

/// A column of a table that is kept.
#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    pub kind: ColumnKind,
    pub note: String,
}

/// The contract's column types (section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    Date,
    Text,
    /// Text that hardly ever comes again.
    Id,
    /// Microseconds since 1970, UTC.
    Instant,
    Count,
    Boolean,
    Decimal(u8, i8),
    /// Names and values in turn, written as the text of a JSON object.
    Json,
}

impl ColumnKind {
    fn parse(text: &str) -> Result<ColumnKind> {
        Ok(match text {
            "date" => ColumnKind::Date,
            "text" => ColumnKind::Text,
            "id" => ColumnKind::Id,
            "instant" => ColumnKind::Instant,
            "count" => ColumnKind::Count,
            "boolean" => ColumnKind::Boolean,
            "money" => ColumnKind::Decimal(18, 2),
            "rate" => ColumnKind::Decimal(9, 6),
            "decimal(18,4)" => ColumnKind::Decimal(18, 4),
            "decimal(18,8)" => ColumnKind::Decimal(18, 8),
            "json" => ColumnKind::Json,
            other => bail!("unknown column type {other}"),
        })
    }

    /// In memory. Texts are views, which are not copied.
    pub fn data_type(self) -> DataType {
        match self {
            ColumnKind::Date => DataType::Date32,
            ColumnKind::Text | ColumnKind::Id | ColumnKind::Json => DataType::Utf8View,
            ColumnKind::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            ColumnKind::Count => DataType::Int64,
            ColumnKind::Boolean => DataType::Boolean,
            ColumnKind::Decimal(precision, scale) => DataType::Decimal128(precision, scale),
        }
    }
}

impl Model {
    fn parse(name: &'static str, sql: &'static str) -> Result<Model> {
        let mut model = Model {
            name,
            sql,
            purpose: String::new(),
            key: Vec::new(),
            is_kept: false,
            split: None,
            reads: BTreeSet::new(),
            params: BTreeSet::new(),
            columns: Vec::new(),
            order: Vec::new(),
            keeps_order: false,
        };
        let head: Vec<&str> =
            sql.lines().map_while(|line| line.strip_prefix("--")).map(str::trim_end).collect();
        model.purpose = head.first().map(|line| line.trim().to_owned()).unwrap_or_default();
        let list = |text: &str| -> Vec<String> {
            text.split(',').map(|part| part.trim().to_owned()).collect()
        };
        if let Some((_, order)) = sql.split_once("\norder by ") {
            model.order = list(order);
        }
        let mut in_columns = false;
        let mut in_reads = false;
        for line in head {
            if in_reads {
                model.reads.extend(list(line.trim_end_matches(',')));
                in_reads = line.ends_with(',');
                continue;
            }
            if let Some(text) = line.strip_prefix("   ").filter(|_| in_columns) {
                model.columns.push(column(text)?);
                continue;
            }
            in_columns = line.trim() == "columns:";
            match line.trim().split_once(':') {
                Some(("key", text)) => model.key = list(text),
                Some(("kept", text)) => model.is_kept = text.trim().starts_with("as "),
                Some(("split", text)) => model.split = Some(text.trim().to_owned()),
                Some(("order", text)) => model.keeps_order = text.trim() == "as read",
                Some(("reads", text)) => {
                    model.reads = list(text.trim_end_matches(',')).into_iter().collect();
                    in_reads = text.ends_with(',');
                }
                Some(("params", text)) => {
                    let text = text.replace('$', "");
                    model.params = list(&text).into_iter().collect();
                }
                _ => {}
            }
        }
        Ok(model)
    }

    /// The partition column of a table that is kept.
    pub fn partition(&self) -> &str {
        self.columns.first().map(|column| column.name.as_str()).unwrap_or_default()
    }

    /// `report/orders` for `report.orders`: the table's folder below the root.
    pub fn folder(&self) -> String {
        self.name.replace('.', "/")
    }

    /// All declared columns.
    pub fn schema(&self) -> SchemaRef {
        let fields: Vec<Field> = self
            .columns
            .iter()
            .map(|column| Field::new(&column.name, column.kind.data_type(), true))
            .collect();
        Arc::new(Schema::new(fields))
    }
}

/// `click_id  text  the log's own id`
fn column(text: &str) -> Result<Column> {
    let mut words = text.split_whitespace();
    let name = words.next().context("a column without a name")?.to_owned();
    let kind = ColumnKind::parse(words.next().context("a column without a type")?)?;
    Ok(Column { name, kind, note: words.collect::<Vec<_>>().join(" ") })
}

macro_rules! sources {
    ($($layer:ident / $table:ident),* $(,)?) => {
        &[$((
            concat!(stringify!($layer), ".", stringify!($table)),
            include_str!(concat!("../sql/", stringify!($layer), "/", stringify!($table), ".sql")),
        )),*]
    };
}

/// In the order in which a row travels.
const SOURCES: &[(&str, &str)] = sources![
    clean / checked_clicks,
    clean / repeated_click_ids,
    clean / known_click_ids,
    clean / repeated_clicks,
    clean / clicks,
    clean / checked_order_events,
    clean / repeated_event_ids,
    clean / known_event_ids,
    clean / repeated_order_events,
    clean / order_events,
    clean / rejects,
    attribution / new_lines,
    attribution / placements,
    attribution / repetitions,
    attribution / placed_lines,
    attribution / shoppers,
    attribution / shopper_lines,
    attribution / shopper_clicks,
    attribution / timeline,
    attribution / winners,
    attribution / winning_clicks,
    attribution / credits,
    attribution / conversions,
    attribution / moved_lines,
    attribution / moved_events,
    attribution / order_slices,
    attribution / moving_lines,
    attribution / line_events,
    attribution / movements,
    report / earned_orders,
    report / visits,
    report / repeated_visits,
    report / traffic,
    report / orders,
    report / refunds,
    report / transaction_details,
    summary / rejected_rows,
    summary / order_lines,
    summary / commission,
    summary / unbooked_events,
    explain / order_lines,
    explain / buyer_clicks,
    explain / buyer_visitors,
    explain / rejected_rows,
    explain / rates,
    explain / order_events,
    check / nothing_is_lost,
    check / each_line_placed_once,
    check / each_click_lies_in_its_window,
    check / money_is_never_null,
    check / orders_equal_the_ledger,
    check / refunds_equal_the_ledger,
];

static MODELS: LazyLock<Result<Vec<Model>>> = LazyLock::new(|| {
    let parse = |(name, sql): &(&'static str, &'static str)| {
        Model::parse(name, sql).with_context(|| format!("sql file of {name}"))
    };
    SOURCES.iter().map(parse).collect()
});

/// All models, in the order in which a row travels. Errors: a head that cannot be read, which a
/// test rules out.
pub fn all() -> Result<&'static [Model]> {
    match &*MODELS {
        Ok(models) => Ok(models),
        Err(error) => bail!("{error:#}"),
    }
}

/// The model of a table, by its name (`clean.clicks`).
pub fn named(name: &str) -> Result<&'static Model> {
    all()?.iter().find(|model| model.name == name).with_context(|| format!("no model {name}"))
}

/// The tables that are kept in the warehouse.
pub fn kept() -> Result<Vec<&'static Model>> {
    Ok(all()?.iter().filter(|model| model.is_kept).collect())
}

/// A layer's models, in order.
pub fn layer(layer: &str) -> Result<Vec<&'static Model>> {
    Ok(all()?.iter().filter(|model| model.name.split('.').next() == Some(layer)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sql_file_is_known() {
        let mut files = BTreeSet::new();
        for layer in std::fs::read_dir("sql").unwrap() {
            let layer = layer.unwrap().path();
            for file in std::fs::read_dir(&layer).unwrap() {
                let file = file.unwrap().path();
                let names = (layer.file_name().unwrap(), file.file_stem().unwrap());
                files.insert(format!("{}.{}", names.0.display(), names.1.display()));
            }
        }
        let known: BTreeSet<String> = SOURCES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(files, known);
    }

    #[test]
    fn keys_are_columns_and_kept_tables_declare_theirs() {
        for model in all().unwrap() {
            assert_eq!(model.is_kept, !model.columns.is_empty(), "{}", model.name);
            for key in &model.key {
                let is_column = model.columns.iter().any(|column| &column.name == key);
                assert!(is_column || !model.is_kept, "{}: {key}", model.name);
            }
        }
    }
}
