//! How each engine spells names, texts and types.
//!
//! Refuses to know statements.

use clap::ValueEnum;

use super::Request;
use crate::model::ColumnKind;

/// The engines that statements are printed for, and dbt.
#[derive(Debug, Clone, Copy, ValueEnum, PartialEq, Eq)]
pub enum Dialect {
    Duckdb,
    Spark,
    Trino,
    Athena,
    Snowflake,
    Bigquery,
    Clickhouse,
    Databricks,
    /// A sources.yml for dbt, whatever the engine
    Dbt,
}

impl Dialect {
    /// As its makers write it.
    pub fn title(self) -> &'static str {
        match self {
            Dialect::Duckdb => "DuckDB",
            Dialect::Spark => "Spark",
            Dialect::Trino => "Trino",
            Dialect::Athena => "Athena",
            Dialect::Snowflake => "Snowflake",
            Dialect::Bigquery => "BigQuery",
            Dialect::Clickhouse => "ClickHouse",
            Dialect::Databricks => "Databricks",
            Dialect::Dbt => "dbt",
        }
    }

    /// A name in a query, quoted, because some engine reserves some of them. All names are of
    /// lower-case letters, digits and underscores, so nothing in them needs escaping. Snowflake
    /// compares quoted names with case and folds others to upper case: there they stay bare.
    pub fn name(self, name: &str) -> String {
        match self {
            Dialect::Duckdb | Dialect::Trino | Dialect::Athena | Dialect::Dbt => {
                format!("\"{name}\"")
            }
            Dialect::Spark | Dialect::Databricks | Dialect::Bigquery | Dialect::Clickhouse => {
                format!("`{name}`")
            }
            Dialect::Snowflake => name.to_owned(),
        }
    }

    /// A name in a statement that defines something. Athena has another grammar for these.
    pub fn defined_name(self, name: &str) -> String {
        match self {
            Dialect::Athena => format!("`{name}`"),
            dialect => dialect.name(name),
        }
    }

    /// A text, in quotes.
    pub fn text(self, text: &str) -> String {
        let text = match self {
            // A backslash is a letter like any other.
            Dialect::Duckdb | Dialect::Trino | Dialect::Dbt => text.replace('\'', "''"),
            Dialect::Snowflake => text.replace('\\', "\\\\").replace('\'', "''"),
            Dialect::Spark
            | Dialect::Databricks
            | Dialect::Athena
            | Dialect::Bigquery
            | Dialect::Clickhouse => text.replace('\\', "\\\\").replace('\'', "\\'"),
        };
        format!("'{text}'")
    }

    /// The word for a type in a query, where it is another than that of the SQL files.
    pub fn type_word(self, word: &str) -> Option<&'static str> {
        match (self, word) {
            (Dialect::Spark | Dialect::Databricks | Dialect::Bigquery, "varchar") => Some("string"),
            (Dialect::Bigquery, "double") => Some("float64"),
            (Dialect::Bigquery, "bigint") => Some("int64"),
            (Dialect::Bigquery, "decimal") => Some("numeric"),
            _ => None,
        }
    }
}

impl Request<'_> {
    /// A layer's schema. `view` cannot be used everywhere in Snowflake.
    pub fn schema_name(&self, layer: &str) -> String {
        match (self.dialect, layer, self.prefix) {
            (Dialect::Snowflake, "view", "") => "views".to_owned(),
            (_, layer, prefix) => format!("{prefix}{layer}"),
        }
    }

    /// A table or view in a query, by its name here (`report.orders`).
    pub fn full_name(&self, model: &str) -> String {
        let (layer, name) = model.split_once('.').unwrap_or_default();
        format!("{}.{}", self.dialect.name(&self.schema_name(layer)), self.dialect.name(name))
    }

    /// The same in a statement that defines it.
    pub fn defined_full_name(&self, model: &str) -> String {
        let (layer, name) = model.split_once('.').unwrap_or_default();
        let schema = self.dialect.defined_name(&self.schema_name(layer));
        format!("{schema}.{}", self.dialect.defined_name(name))
    }
}

/// The type of a column in ClickHouse, which alone wants types to take comments.
pub fn clickhouse_type(kind: ColumnKind) -> String {
    let inner = match kind {
        ColumnKind::Date => "Date32".to_owned(),
        ColumnKind::Text | ColumnKind::Id | ColumnKind::Json => "String".to_owned(),
        ColumnKind::Instant => "DateTime64(6, 'UTC')".to_owned(),
        ColumnKind::Count => "Int64".to_owned(),
        ColumnKind::Boolean => "Bool".to_owned(),
        ColumnKind::Decimal(precision, scale) => format!("Decimal({precision}, {scale})"),
    };
    format!("Nullable({inner})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;

    #[test]
    fn names_need_no_escaping() {
        for model in model::stored().unwrap().into_iter().chain(model::views().unwrap()) {
            let columns = model.columns.iter().map(|column| column.name.as_str());
            for name in columns.chain(model.name.split('.')) {
                assert!(super::super::prefix(name).is_ok(), "{name}");
            }
        }
    }

    #[test]
    fn a_text_ends_where_it_should() {
        for (dialect, expected) in [
            (Dialect::Duckdb, r"'the log''s \n'"),
            (Dialect::Trino, r"'the log''s \n'"),
            (Dialect::Snowflake, r"'the log''s \\n'"),
            (Dialect::Spark, r"'the log\'s \\n'"),
            (Dialect::Databricks, r"'the log\'s \\n'"),
            (Dialect::Athena, r"'the log\'s \\n'"),
            (Dialect::Bigquery, r"'the log\'s \\n'"),
            (Dialect::Clickhouse, r"'the log\'s \\n'"),
        ] {
            assert_eq!(dialect.text(r"the log's \n"), expected, "{dialect:?}");
        }
    }
}
