//! The page: Markdown in, sections out.

use anyhow::{Context, Result, ensure};

pub struct Section {
    pub heading: String,
    pub table: Option<Table>,
    pub code: Option<String>,
    /// List items, one line each, backticks taken away.
    pub items: Vec<String>,
}

/// An empty cell is None, `""` is an empty text.
pub struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Option<String>>>,
}

impl Section {
    pub fn table(&self) -> Result<&Table> {
        self.table.as_ref().context("wants a table")
    }

    pub fn code(&self) -> Result<&str> {
        self.code.as_deref().context("wants a code block")
    }
}

pub fn sections(text: &str) -> Result<Vec<Section>> {
    ensure!(text.starts_with("# "), "a page begins with its claim, as a title");
    let mut sections: Vec<Section> = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ").filter(|_| !is_code) {
            sections.push(Section {
                heading: heading.trim().to_owned(),
                table: None,
                code: None,
                items: Vec::new(),
            });
        }
        let Some(section) = sections.last_mut() else { continue };
        if line.starts_with("```") {
            is_code = !is_code;
            section.code.get_or_insert_default();
        } else if is_code {
            section.code.get_or_insert_default().extend([line, "\n"]);
        } else if let Some(row) = line.strip_prefix('|') {
            add_row(section, row)?;
        } else if let Some(item) = line.trim_start().strip_prefix("- ") {
            section.items.push(item.replace('`', "").trim().to_owned());
        }
    }
    ensure!(!is_code, "a code block is not closed");
    Ok(sections)
}

fn add_row(section: &mut Section, line: &str) -> Result<()> {
    let hidden = line.trim_end().trim_end_matches('|').replace("\\|", "\u{0}");
    let cells: Vec<Option<String>> =
        hidden.split('|').map(|text| cell(&text.replace('\u{0}', "|"))).collect();
    let Some(table) = &mut section.table else {
        let columns = cells
            .into_iter()
            .map(|name| name.context("a column without a name"))
            .collect::<Result<_>>()?;
        section.table = Some(Table { columns, rows: Vec::new() });
        return Ok(());
    };
    if cells.iter().flatten().all(|text| text.trim_matches([':', '-']).is_empty())
        && line.contains("---")
    {
        return Ok(());
    }
    ensure!(
        cells.len() == table.columns.len(),
        "{} cells under {} columns: |{line}",
        cells.len(),
        table.columns.len()
    );
    table.rows.push(cells);
    Ok(())
}

fn cell(text: &str) -> Option<String> {
    let text = text.trim();
    let quoted = |mark| text.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
    let text = quoted('`')
        .or_else(|| quoted('"'))
        .map_or_else(|| (!text.is_empty()).then_some(text), Some)?;
    Some(text.to_owned())
}
