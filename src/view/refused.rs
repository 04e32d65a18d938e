//! What a view must not do, found in its text.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::Volatility;
use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, GroupByExpr, ObjectName, ObjectNamePart, Query, Select, SetExpr, SetOperator,
    SetQuantifier, Statement, TableFactor, TableWithJoins, visit_expressions,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::RAW;
use crate::nearest::nearest;

/// All that is wrong with the text of a view, each as "has a join: …". Empty where it is fine.
pub fn refusals(sql: &str) -> Vec<String> {
    let statements = match Parser::parse_sql(&GenericDialect {}, sql) {
        Ok(statements) => statements,
        Err(error) => return vec![format!("is no SQL: {error}")],
    };
    let [Statement::Query(query)] = statements.as_slice() else {
        return vec!["is not one SELECT".to_owned()];
    };
    let mut found = Found::default();
    found.query(query, &BTreeSet::new());
    let _ = visit_expressions(&statements, |expression| {
        found.expression(expression);
        ControlFlow::<()>::Continue(())
    });
    found.0
}

/// Refusals, each once.
#[derive(Default)]
struct Found(Vec<String>);

impl Found {
    fn refuse(&mut self, trouble: String) {
        if !self.0.contains(&trouble) {
            self.0.push(trouble);
        }
    }

    /// `known` are the names that stand for views of `raw`.
    fn query(&mut self, query: &Query, known: &BTreeSet<String>) {
        let mut known = known.clone();
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.query(&table.query, &known);
            known.insert(table.alias.name.value.to_lowercase());
        }
        if query.order_by.is_some() {
            self.refuse("has ORDER BY: rows have no order".to_owned());
        }
        if query.limit_clause.is_some() || query.fetch.is_some() {
            self.refuse("has LIMIT: every row that goes in counts".to_owned());
        }
        self.body(&query.body, &known);
    }

    fn body(&mut self, body: &SetExpr, known: &BTreeSet<String>) {
        match body {
            SetExpr::Select(select) => self.select(select, known),
            SetExpr::Query(query) => self.query(query, known),
            SetExpr::SetOperation { op, set_quantifier, left, right } => {
                match (op, set_quantifier) {
                    (SetOperator::Union, SetQuantifier::All) => {}
                    (SetOperator::Union, _) => {
                        self.refuse("has UNION, which drops rows: write UNION ALL".to_owned());
                    }
                    (other, _) => self.refuse(format!("has {other}: a row decides about itself")),
                }
                self.body(left, known);
                self.body(right, known);
            }
            _ => self.refuse("is not one SELECT".to_owned()),
        }
    }

    fn select(&mut self, select: &Select, known: &BTreeSet<String>) {
        if matches!(&select.distinct, Some(Distinct::Distinct | Distinct::On(_))) {
            self.refuse("has DISTINCT: rows that came twice are found later".to_owned());
        }
        let is_grouped = match &select.group_by {
            GroupByExpr::All(_) => true,
            GroupByExpr::Expressions(expressions, _) => !expressions.is_empty(),
        };
        if is_grouped || select.having.is_some() {
            self.refuse("has GROUP BY: a row is made of one row".to_owned());
        }
        if select.top.is_some() {
            self.refuse("has TOP: every row that goes in counts".to_owned());
        }
        if select.into.is_some() || !select.lateral_views.is_empty() {
            self.refuse("is not one SELECT".to_owned());
        }
        match select.from.as_slice() {
            [from] => self.from(from, known),
            [] => self.refuse(format!("reads no table: FROM {RAW} is wanted")),
            _ => self.refuse(joins()),
        }
    }

    fn from(&mut self, from: &TableWithJoins, known: &BTreeSet<String>) {
        if !from.joins.is_empty() {
            self.refuse(joins());
        }
        match &from.relation {
            TableFactor::Table { sample: Some(_), .. } => {
                self.refuse("has TABLESAMPLE: every row that goes in counts".to_owned());
            }
            TableFactor::Table { name, args: None, .. } => {
                let table = name_of(name);
                if !table.eq_ignore_ascii_case(RAW) && !known.contains(&table.to_lowercase()) {
                    self.refuse(format!("reads the table {table}: only {RAW} is there"));
                }
            }
            TableFactor::Derived { subquery, lateral: false, .. } => self.query(subquery, known),
            TableFactor::NestedJoin { table_with_joins, .. } => self.from(table_with_joins, known),
            TableFactor::UNNEST { .. } => {
                self.refuse("has UNNEST after FROM: write unnest(…) in the select list".to_owned());
            }
            other => self.refuse(format!("reads {other}: only the table {RAW} is there")),
        }
    }

    fn expression(&mut self, expression: &Expr) {
        match expression {
            Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => {
                self.refuse(
                    "has a query within an expression: a row is made of one row".to_owned(),
                );
            }
            Expr::Function(function) => {
                let name = name_of(&function.name);
                if function.over.is_some() {
                    self.refuse(format!("has a window, {name}(…) OVER: a row is made of one row"));
                } else if let Some(trouble) = function_trouble(&name) {
                    self.refuse(trouble);
                }
            }
            _ => {}
        }
    }
}

fn joins() -> String {
    "has a join: a row is made of one row".to_owned()
}

fn name_of(name: &ObjectName) -> String {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => name.value.to_lowercase(),
        _ => name.to_string(),
    }
}

fn function_trouble(name: &str) -> Option<String> {
    if name == "unnest" {
        return None;
    }
    let is = |of: &str, aliases: &[String]| of == name || aliases.iter().any(|alias| alias == name);
    let scalars = SessionStateDefaults::default_scalar_functions();
    if let Some(function) = scalars.iter().find(|known| is(known.name(), known.aliases())) {
        return match function.signature().volatility {
            Volatility::Immutable => None,
            _ => Some(format!("calls {name}(), whose value changes from run to run")),
        };
    }
    let aggregates = SessionStateDefaults::default_aggregate_functions();
    if aggregates.iter().any(|known| is(known.name(), known.aliases())) {
        return Some(format!("has an aggregate, {name}(…): a row is made of one row"));
    }
    let windows = SessionStateDefaults::default_window_functions();
    if windows.iter().any(|known| is(known.name(), known.aliases())) {
        return Some(format!("has a window, {name}(…): a row is made of one row"));
    }
    let meant = match nearest(name, scalars.iter().map(|known| known.name())) {
        Some(near) => format!(": is {near}() meant?"),
        None => String::new(),
    };
    Some(format!("calls {name}(), which is no known function{meant}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_may_project_filter_unnest_and_append() {
        for sql in [
            "select event_id as click_id, to_timestamp_millis(ts) as clicked_at, url from raw",
            "select * from raw where url like '%aff_fcid=%'",
            "select id, unnest(items) as item from raw",
            "select item['id'] as line_id from (select unnest(items) as item from raw) as lines",
            "with lines as (select unnest(items) as item from raw) select item from lines",
            "select a from raw union all select b from raw where b is not null",
            "select case when a = 1 then coalesce(b, 'x') end, cast(c as decimal(18, 2)) from RAW",
        ] {
            assert_eq!(refusals(sql), Vec::<String>::new(), "{sql}");
        }
    }

    #[test]
    fn what_needs_more_than_one_row_is_refused() {
        for (sql, trouble) in [
            ("select * from raw join raw as b on true", "has a join"),
            ("select * from raw, raw as b", "has a join"),
            ("select * from stores", "reads the table stores"),
            ("select * from raw where id in (select id from raw)", "has a query within"),
            ("select count(*) from raw", "has an aggregate, count"),
            ("select a from raw group by a", "has GROUP BY"),
            ("select distinct a from raw", "has DISTINCT"),
            ("select a from raw order by a", "has ORDER BY"),
            ("select a from raw limit 3", "has LIMIT"),
            ("select row_number() over (order by a) from raw", "has a window, row_number"),
            ("select a from raw union select b from raw", "has UNION"),
            ("select a from raw except select b from raw", "has EXCEPT"),
            ("select now() from raw", "calls now()"),
            ("select current_date from raw", "calls current_date()"),
            ("select random() from raw", "calls random()"),
            ("select uuid() from raw", "calls uuid()"),
            ("select to_epoch(a) from raw", "calls to_epoch(), which is no known function"),
            ("insert into raw select * from raw", "is not one SELECT"),
            ("select a from raw; select b from raw", "is not one SELECT"),
            ("selec a", "is no SQL"),
            ("select 1", "reads no table"),
        ] {
            let found = refusals(sql);
            assert!(found.iter().any(|found| found.starts_with(trouble)), "{sql}: {found:?}");
        }
    }
}
