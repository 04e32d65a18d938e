//! The statements that make a view, and its query as an engine spells it.
//!
//! The queries are written in what all engines share. What they do not share is changed here, word
//! by word, so that the text stays the one of the file. Refuses to know what a query means.

use anyhow::{Context, Result};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer, Word};

use regex::Regex;

use super::{Dialect, Request};
use crate::model::{self, Model};
use crate::stop::Stop;

impl Request<'_> {
    /// Makes or replaces a view, with comments. Errors: a file that is no SQL, which tests rule out.
    pub fn view(&self, model: &Model) -> Result<String, Stop> {
        let name = self.full_name(model.name);
        let note = self.dialect.text(&model.purpose);
        let query = self.query(model)?;
        Ok(match self.dialect {
            Dialect::Duckdb | Dialect::Dbt => {
                format!("create or replace view {name} as\n{query};\n{}", self.comments(model))
            }
            Dialect::Trino => {
                let text = format!("create or replace view {name} comment {note} as\n{query};");
                // The view has its own comment by now.
                let columns = self.comments(model);
                let columns = columns.split_once('\n').map(|(_, columns)| columns);
                format!("{text}\n{}", columns.unwrap_or_default())
            }
            Dialect::Athena => format!("create or replace view {name} as\n{query};"),
            Dialect::Spark | Dialect::Databricks | Dialect::Clickhouse => format!(
                "create or replace view {name} (\n{}\n)\ncomment {note}\nas\n{query};",
                self.columns(model)
            ),
            Dialect::Snowflake => format!(
                "create or replace view {name} (\n{}\n)\ncomment = {note}\nas\n{query};",
                self.columns(model)
            ),
            Dialect::Bigquery => format!(
                "create or replace view {name} (\n{}\n)\noptions (description = {note})\nas\n{query};",
                self.columns(model)
            ),
        })
    }

    /// A view's query with the engine's names, types and [`expressions`].
    fn query(&self, model: &Model) -> Result<String> {
        let mut query = without_head(model.sql).to_owned();
        for (shared, own) in expressions(self.dialect) {
            query = Regex::new(shared)?.replace_all(&query, own).into_owned();
        }
        let tokens = Tokenizer::new(&GenericDialect {}, &query).with_unescape(false).tokenize();
        let tokens = tokens.with_context(|| format!("{}: is no SQL", model.name))?;
        let mut text = String::new();
        let mut rest = tokens.as_slice();
        while let [token, after @ ..] = rest {
            rest = match rest {
                [Token::Word(layer), Token::Period, Token::Word(name), after @ ..]
                    if is_known(layer, name) =>
                {
                    text.push_str(&self.full_name(&format!("{layer}.{name}")));
                    after
                }
                _ => {
                    let spelled = match token {
                        Token::Word(word) => self.dialect.type_word(&word.value),
                        _ => None,
                    };
                    text.push_str(&spelled.map_or_else(|| token.to_string(), str::to_owned));
                    after
                }
            };
        }
        if self.dialect == Dialect::Clickhouse {
            text.push_str(CLICKHOUSE_SETTINGS);
        }
        Ok(text)
    }
}

/// Days between two instants, in UTC.
const DAYS: &str = r"cast\(cast\((\w+) as date\) - cast\((\w+) as date\) as bigint\)";
/// A ratio of two sums with six decimals.
const RATIO: &str =
    r"cast\(\s*cast\((.+?) as decimal\(24, 6\)\)\s*/ (nullif\(.+?, 0\))\s*as decimal\(24, 6\)\s*\)";

/// Expressions that the engine has not, or has with another meaning, each with the engine's own. A day
/// must not begin at the midnight of the session's zone. ClickHouse cuts quotients off.
fn expressions(dialect: Dialect) -> Vec<(&'static str, &'static str)> {
    match dialect {
        Dialect::Duckdb | Dialect::Dbt => {
            vec![(DAYS, "date_diff('day', timezone('UTC', $2), timezone('UTC', $1))")]
        }
        Dialect::Spark | Dialect::Databricks => vec![(
            DAYS,
            "cast(floor(unix_seconds($1) / 86400) - floor(unix_seconds($2) / 86400) as bigint)",
        )],
        Dialect::Trino | Dialect::Athena => {
            vec![(DAYS, "date_diff('day', cast($2 as date), cast($1 as date))")]
        }
        Dialect::Snowflake => vec![(
            DAYS,
            "cast(floor(date_part(epoch_second, $1) / 86400)
            - floor(date_part(epoch_second, $2) / 86400) as bigint)",
        )],
        Dialect::Bigquery => {
            vec![(DAYS, "date_diff(date($1, 'UTC'), date($2, 'UTC'), day)")]
        }
        Dialect::Clickhouse => vec![(
            RATIO,
            "cast(\n        round(cast($1 as decimal(38, 10)) / $2, 6)\n        as decimal(24, 6)\n    )",
        )],
    }
}

/// With these a query means in ClickHouse what it means elsewhere: nulls stay nulls in casts, joins and
/// sums, and a name is a column before it is an alias.
const CLICKHOUSE_SETTINGS: &str = "
settings
    aggregate_functions_null_for_empty = 1,
    cast_keep_nullable = 1,
    join_use_nulls = 1,
    prefer_column_name_to_alias = 1";

/// Whether two words around a dot are a table or a view.
fn is_known(layer: &Word, name: &Word) -> bool {
    model::named(&format!("{layer}.{name}")).is_ok()
}

/// The query of an SQL file, without the comment at its top.
fn without_head(sql: &str) -> &str {
    let mut rest = sql;
    while rest.starts_with("--") {
        rest = rest.split_once('\n').map(|(_, rest)| rest).unwrap_or_default();
    }
    rest.trim()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::ValueEnum;

    use super::*;
    use crate::location::Location;

    fn query(dialect: Dialect, prefix: &str, view: &str) -> String {
        let root = Location::parse("warehouse", Path::new("/")).unwrap();
        let request = Request { root: &root, dialect, prefix, only: None };
        request.query(model::named(view).unwrap()).unwrap()
    }

    #[test]
    fn names_are_the_engines_and_the_rest_of_the_text_is_the_files() {
        let view = model::named("view.performance_by_day").unwrap();
        for (dialect, prefix, expected) in [
            (Dialect::Duckdb, "", r#"from "view"."performance""#),
            (Dialect::Athena, "us_", r#"from "us_view"."performance""#),
            (Dialect::Spark, "us_", "from `us_view`.`performance`"),
            (Dialect::Snowflake, "", "from views.performance"),
            (Dialect::Snowflake, "us_", "from us_view.performance"),
        ] {
            let expected = without_head(view.sql).replace("from view.performance", expected);
            assert_eq!(query(dialect, prefix, view.name), expected, "{dialect:?}");
        }
    }

    #[test]
    fn types_are_the_engines() {
        let text = query(Dialect::Bigquery, "", "view.performance_by_day");
        assert!(text.contains("cast(sum(performance.clicks) as int64) as clicks"), "{text}");
        assert!(!text.contains("decimal"), "{text}");
    }

    /// What is not the same everywhere is spelled in the one way that is known here.
    #[test]
    fn what_engines_have_otherwise_is_replaced() {
        for view in model::views().unwrap() {
            for dialect in Dialect::value_variants() {
                let text = query(*dialect, "", view.name);
                let has_own = expressions(*dialect).iter().any(|(shared, _)| shared == &DAYS);
                assert!(!has_own || !text.contains(") - cast("), "{}: {text}", view.name);
                let divisions = text.matches('/').count();
                let rounded = text.matches("round(cast(").count();
                assert!(*dialect != Dialect::Clickhouse || divisions == rounded, "{text}");
            }
        }
    }

    /// A backslash is a letter for some engines only, and `;` ends a statement also in comments for
    /// tools that look for nothing else.
    #[test]
    fn a_view_has_neither_backslash_nor_semicolon() {
        for view in model::views().unwrap() {
            assert!(!without_head(view.sql).contains(['\\', ';']), "{}", view.name);
        }
    }
}
