//! The heads of the SQL files say what the queries do; these tests hold them to it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{
    Expr, Query, SelectItem, SetExpr, Statement as Sql, Value, Visit, WindowType, visit_expressions,
};
use lookback::engine::{Engine, SqlOverrides, Tuning};
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

/// How many numbers a part of a query gives to rows in no order.
fn numbered_as_they_come(part: &impl Visit) -> usize {
    const NUMBERS: [&str; 3] = ["row_number", "ntile", "lag"];
    let mut count = 0;
    let _: ControlFlow<()> = visit_expressions(part, |expression: &Expr| {
        if let Expr::Function(function) = expression
            && NUMBERS.contains(&function.name.to_string().as_str())
            && let Some(WindowType::WindowSpec(window)) = &function.over
        {
            count += usize::from(window.order_by.is_empty());
        }
        ControlFlow::Continue(())
    });
    count
}

/// Workers of a cluster may compute a part of a query twice, and rows then come in another order. So
/// what rests on such a number has to see it as it was written: the number is the last thing that a
/// table's query does, and a table is written once.
#[test]
fn rows_are_numbered_as_they_come_in_the_outermost_select_alone() {
    let mut checked = 0;
    for model in model::all().unwrap() {
        let Statement::Statement(statement) = parsed(model) else { panic!("{}", model.name) };
        let all = numbered_as_they_come(statement.as_ref());
        let Sql::Query(query) = *statement else { panic!("{}", model.name) };
        let outermost = match query.body.as_ref() {
            SetExpr::Select(select) => numbered_as_they_come(&select.projection),
            _ => 0,
        };
        assert_eq!(all, outermost, "{}: rows are numbered too early", model.name);
        let is_written = !model.is_view && !model.is_shown;
        assert!(all == 0 || is_written, "{}: a view is computed each time", model.name);
        checked += all;
    }
    assert!(checked > 0, "no such number is left: this test can go");
}

/// The columns that come out, by name; none when the query says `*`.
fn columns(model: &Model) -> Option<Vec<String>> {
    let Statement::Statement(statement) = parsed(model) else { panic!("{}", model.name) };
    let Sql::Query(query) = *statement else { panic!("{}", model.name) };
    columns_of(&query.body)
}

fn columns_of(body: &SetExpr) -> Option<Vec<String>> {
    let select = match body {
        SetExpr::Select(select) => select,
        SetExpr::Query(query) => {
            let query: &Query = query;
            return columns_of(&query.body);
        }
        SetExpr::SetOperation { left, .. } => return columns_of(left),
        other => panic!("{other}"),
    };
    let name = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(name.value.clone()),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
            parts.last().map(|part| part.value.clone())
        }
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        _ => None,
    };
    select.projection.iter().map(name).collect()
}

#[test]
fn the_head_names_columns_of_the_query() {
    let mut checked = 0;
    for model in model::all().unwrap() {
        let Some(found) = columns(model) else { continue };
        for name in model.key.iter().chain(&model.split) {
            assert!(found.contains(name), "{}: {name} is no column: {found:?}", model.name);
        }
        if model.is_stored || model.is_view {
            let declared: Vec<_> = model.columns.iter().map(|column| &column.name).collect();
            assert_eq!(found.iter().collect::<Vec<_>>(), declared, "{}", model.name);
            checked += 1;
        }
    }
    let declared = model::readable().unwrap().len();
    assert_eq!(checked, declared, "stored tables and views say which columns they have");
}

/// What all the engines of `lookback ddl` run with little or no change.
#[test]
fn views_are_in_portable_sql() {
    for view in model::views().unwrap() {
        for word in ["filter (where", "::", "interval", "date_trunc", "order by", " over ("] {
            assert!(!query_text(view).contains(word), "{}: {word}", view.name);
        }
    }
}

/// The query without the head and its indentation.
fn query_text(model: &Model) -> String {
    let lines = model.sql.lines().filter(|line| !line.starts_with("--"));
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn views_have_the_types_that_their_heads_declare() {
    let engine = Engine::new(&Tuning::default(), SqlOverrides::new()).unwrap();
    for table in model::stored().unwrap() {
        let nothing = engine.nothing(&table.schema()).unwrap();
        engine.register(table.name, nothing.into_view()).unwrap();
    }
    for view in model::views().unwrap() {
        engine.register_view(view).await.unwrap();
        let rows = engine.table(view.name).await.unwrap();
        // A text is a text, as a view or not.
        let plain = |kind: DataType| if kind == DataType::Utf8 { DataType::Utf8View } else { kind };
        let fields = rows.schema().fields().iter();
        let found: Vec<_> = fields.map(|field| plain(field.data_type().clone())).collect();
        let declared: Vec<_> = view.columns.iter().map(|column| column.kind.data_type()).collect();
        assert_eq!(found, declared, "{}", view.name);
    }
}

/// A ratio is declared once, by the view whose columns it divides, and spelled alike wherever it
/// stands. A column of a ratio's name that is not this ratio, or a ratio without a declaration, is a
/// mistake.
#[test]
fn ratios_are_the_same_everywhere() {
    let views = model::views().unwrap();
    let ratios: Vec<_> = views.iter().flat_map(|view| &view.ratios).collect();
    let names: BTreeSet<_> = ratios.iter().map(|ratio| &ratio.name).collect();
    assert_eq!(names.len(), ratios.len(), "a ratio is declared once: {ratios:?}");
    let mut spelled = 0;
    for model in model::all().unwrap().iter().filter(|model| model.name != "view.performance") {
        // Columns of the basis are qualified, because some engines take the alias for the column.
        let text = query_text(model).replace("performance.", "").replace("( cast", "(cast");
        let text = text.replace(" as decimal(24, 6) ) as", " as decimal(24, 6)) as");
        let mut declared = 0;
        for ratio in &ratios {
            let is_column = columns(model).unwrap_or_default().contains(&ratio.name);
            let sql = format!("{} as {}", ratio.sql(), ratio.name);
            assert_eq!(is_column, text.contains(&sql), "{}: {sql}", model.name);
            declared += text.matches(&sql).count();
        }
        assert_eq!(text.matches("/ nullif(").count(), declared, "{}", model.name);
        spelled += declared;
    }
    assert!(spelled >= 3 * model::named("view.performance").unwrap().ratios.len());
    // What they are made of are columns that add up.
    for view in views {
        for ratio in &view.ratios {
            let terms = [&ratio.above, &ratio.below].into_iter();
            for term in terms.flat_map(|text| text.split(" + ")) {
                assert!(view.columns.iter().any(|column| column.name == term), "{term}");
            }
        }
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

/// Clean clicks and identities have none: they keep the order in which they are read.
#[test]
fn a_total_order_ends_each_stored_table() {
    for model in model::stored().unwrap() {
        if model.keeps_order {
            assert!(model.order.is_empty(), "{}: sorts what need not be", model.name);
            continue;
        }
        let first = model.partition().or(model.columns.first().map(|column| column.name.as_str()));
        assert_eq!(model.order.first().map(String::as_str), first, "{}", model.name);
        for key in &model.key {
            assert!(model.order.contains(key), "{}: {key}", model.name);
        }
    }
}

/// The queries that a table is made of, its steps included, without comments and line breaks.
fn queries(model: &Model, seen: &mut BTreeSet<&'static str>) -> Vec<String> {
    if !seen.insert(model.name) {
        return Vec::new();
    }
    let mut texts = vec![format!("{}: {}", model.name, parsed(model))];
    for name in &model.reads {
        // What another stored table holds has a version of its own.
        if let Ok(read) = model::named(name)
            && !read.is_stored
        {
            texts.extend(queries(read, seen));
        }
    }
    texts.sort();
    texts
}

/// A date is outdated when its tables have other versions, so a version changes when rows do, and not
/// with the text. An edit of a query fails this test, which asks: do rows change? If they do, raise
/// `version` in the head of each table that it names, else leave them. Then run it with
/// `LOOKBACK_PIN=1`, which writes `tests/versions.txt`.
#[test]
#[allow(clippy::disallowed_methods, reason = "tests have switches in the environment")]
fn an_edited_query_has_a_new_version_or_makes_the_same_rows() {
    let lines = model::stored().unwrap().into_iter().map(|model| {
        let queries = queries(model, &mut BTreeSet::new()).join("\n");
        let digest = blake3::hash(queries.as_bytes()).to_hex();
        let version = model.version.as_deref().unwrap_or_default();
        format!("{} {version} {}\n", model.name, &digest.as_str()[..16])
    });
    let now: String = lines.collect();
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/versions.txt");
    if std::env::var_os("LOOKBACK_PIN").is_some() {
        std::fs::write(&file, &now).unwrap();
    }
    let pinned = std::fs::read_to_string(&file).unwrap();
    for (now, pinned) in now.lines().zip(pinned.lines()) {
        assert_eq!(
            now, pinned,
            "the query changed: do its rows change? See the comment of this test"
        );
    }
    assert_eq!(now.lines().count(), pinned.lines().count(), "a stored table is not pinned");
}
