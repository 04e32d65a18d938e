//! A `sources.yml` for dbt: tables, views and columns with their descriptions, and tests of the keys.
//!
//! Refuses to know engines: dbt finds the tables that were registered there.

use std::fmt::Write;

use super::{Request, SCHEMAS};
use crate::model::Model;

/// The file's text.
pub fn sources(request: &Request, models: &[&Model]) -> String {
    let mut text = String::from(
        "# Sources of lookback for dbt 1.10.5 or later. The tests of keys need the package
# dbt-labs/dbt_utils (packages.yml, dbt deps). The tables and views are those that
# `lookback ddl JOB --dialect ENGINE` registers.
version: 2

sources:
",
    );
    for (layer, note) in SCHEMAS {
        let models: Vec<_> = models.iter().filter(|model| model.layer() == layer).collect();
        if models.is_empty() {
            continue;
        }
        let name = request.schema_name(layer);
        let _ = writeln!(text, "  - name: {name}\n    description: {}", quoted(note));
        if name == "view" {
            text.push_str(
                "    schema: \"{{ 'views' if target.type == 'snowflake' else 'view' }}\"\n",
            );
        }
        text.push_str("    tables:\n");
        for model in models {
            table(&mut text, model);
        }
    }
    text
}

fn table(text: &mut String, model: &Model) {
    let (_, name) = model.name.split_once('.').unwrap_or_default();
    let _ = writeln!(text, "      - name: {name}\n        description: {}", quoted(&model.purpose));
    if let [_, _, ..] = model.key.as_slice() {
        let _ = write!(
            text,
            "        data_tests:
          - dbt_utils.unique_combination_of_columns:
              arguments:
                combination_of_columns: [{}]
",
            model.key.join(", ")
        );
    }
    text.push_str("        columns:\n");
    for column in &model.columns {
        let _ = writeln!(
            text,
            "          - name: {}\n            description: {}\n            data_type: {}",
            column.name,
            quoted(&column.note),
            column.kind.sql_name()
        );
        let tests = match model.key.as_slice() {
            [key] if key == &column.name => "[unique, not_null]",
            keys if keys.contains(&column.name) => "[not_null]",
            _ => continue,
        };
        let _ = writeln!(text, "            data_tests: {tests}");
    }
}

/// A text of JSON is one of YAML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
