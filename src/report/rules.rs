//! The rules that figures follow, as `docs/rules.md` tells them: so a page needs no other one.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd, html};

const RULES: &str = include_str!("../../docs/rules.md");

/// A rule: its title, such as `Completed`, and its text as HTML.
#[derive(Debug)]
pub struct Rule {
    pub title: &'static str,
    pub html: String,
}

/// All rules, by id.
pub static ALL: LazyLock<BTreeMap<&'static str, Rule>> = LazyLock::new(|| {
    let sections = RULES.split("\n### ").skip(1).filter_map(|section| {
        let (heading, text) = section.split_once('\n')?;
        let (id, title) = heading.split_once(' ')?;
        let text = text.split("\n## ").next().unwrap_or_default();
        let is_id = id.len() == 2 && id.as_bytes()[1].is_ascii_digit();
        is_id.then(|| (id, Rule { title, html: html_of(text) }))
    });
    sections.collect()
});

/// Without the line that says where to look further, and without links, which lead nowhere from a
/// page that is mailed around.
fn html_of(markdown: &str) -> String {
    let text: Vec<&str> =
        markdown.split("\n\n").filter(|part| !part.trim_start().starts_with("Text: ")).collect();
    let text = text.join("\n\n");
    let is_link =
        |event: &Event| matches!(event, Event::Start(Tag::Link { .. }) | Event::End(TagEnd::Link));
    let events = Parser::new_ext(&text, Options::ENABLE_TABLES).filter(|event| !is_link(event));
    let mut page = String::new();
    html::push_html(&mut page, events);
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;
    use crate::report::figure::Figure;

    #[test]
    fn each_figure_names_rules_that_are_there() {
        let mut named = 0;
        for model in model::layer("show").unwrap() {
            for column in crate::report::figure_columns(model) {
                let figure = Figure::of(column, None).unwrap();
                assert!(!figure.rules.is_empty(), "{}: {}", model.name, column.name);
                for rule in figure.rules {
                    assert!(ALL.contains_key(rule), "{}: {rule}", model.name);
                    named += 1;
                }
            }
        }
        assert!(named > 30, "{named}");
    }

    #[test]
    fn a_rule_has_its_text_and_no_links() {
        let rule = &ALL["M6"];
        assert_eq!(rule.title, "Ledger");
        assert!(rule.html.contains("<table>") && rule.html.contains("<strong>change</strong>"));
        assert!(!rule.html.contains("<a ") && !rule.html.contains("balances.sql"), "{}", rule.html);
        let last = &ALL["Q3"];
        assert!(!last.html.contains("Tables and columns"), "{}", last.html);
    }
}
