//! The heads of the SQL files say what the queries do; these tests hold them to it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{Expr, Value, visit_expressions};
use lookback::model::{self, Model};

fn parsed(model: &Model) -> Statement {
    let mut statements = DFParser::parse_sql(model.sql).unwrap();
    assert_eq!(statements.len(), 1, "{}: one statement a file", model.name);
    statements.pop_front().unwrap()
}

#[test]
fn reads_names_the_tables_of_the_query() {
    for model in model::all().unwrap() {
        let (tables, _) = resolve_table_references(&parsed(model), true).unwrap();
        let found: BTreeSet<String> = tables.iter().map(ToString::to_string).collect();
        assert_eq!(model.reads, found, "{}", model.name);
    }
}

#[test]
fn params_names_the_parameters_of_the_query() {
    for model in model::all().unwrap() {
        let Statement::Statement(statement) = parsed(model) else { panic!("{}", model.name) };
        let mut found = BTreeSet::new();
        let _: ControlFlow<()> = visit_expressions(statement.as_ref(), |expression: &Expr| {
            if let Expr::Value(value) = expression
                && let Value::Placeholder(name) = &value.value
            {
                found.insert(name.trim_start_matches('$').to_owned());
            }
            ControlFlow::Continue(())
        });
        assert_eq!(model.params, found, "{}", model.name);
    }
}

#[test]
fn lines_are_short_and_keywords_are_lowercase() {
    for model in model::all().unwrap() {
        for line in model.sql.lines() {
            assert!(line.len() <= 100, "{}: {line}", model.name);
        }
        for keyword in ["SELECT", "FROM", "WHERE", "JOIN"] {
            assert!(!model.sql.contains(keyword), "{}: {keyword}", model.name);
        }
    }
}

/// Clean clicks have none: they keep the order in which they are read.
#[test]
fn a_total_order_ends_each_table_that_is_kept() {
    for model in model::kept().unwrap() {
        if model.keeps_order {
            assert!(model.order.is_empty(), "{}: sorts what need not be", model.name);
            continue;
        }
        assert_eq!(model.order.first().map(String::as_str), Some(model.partition()));
        for key in &model.key {
            assert!(model.order.contains(key), "{}: {key}", model.name);
        }
    }
}
