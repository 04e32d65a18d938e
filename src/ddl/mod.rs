//! Statements that register the warehouse's tables and views in another engine.
//!
//! Names, types and comments come from the heads of the SQL files, as those of the Delta tables do.
//! A view is its file's own query: [`views`] changes names, types and a function where an engine
//! spells them differently. Refuses to know whether the tables are there, and to run anything.

mod dbt;
mod dialect;
mod place;
mod tables;
mod views;

use std::fmt::Write;

pub use dialect::Dialect;

use crate::location::Location;
use crate::model::{self, Model};
use crate::stop::Stop;

/// What is asked for.
pub struct Request<'a> {
    /// The job's output root.
    pub root: &'a Location,
    pub dialect: Dialect,
    /// Stands before each schema's name.
    pub prefix: &'a str,
    pub only: Option<Only>,
}

/// A part of the statements.
#[derive(Debug, Clone, Copy, clap::ValueEnum, PartialEq, Eq)]
pub enum Only {
    Tables,
    Views,
}

/// The schemas, in the order in which rows pass through them, and what is in each.
const SCHEMAS: [(&str, &str); 5] = [
    ("reference", "The reference rows of the latest run"),
    ("clean", "Rows of the raw logs, by the UTC date on which they arrived"),
    (
        "attribution",
        "Order lines, by the local date on which they were placed, and who earned them",
    ),
    ("report", "What happened on each local date: visits, orders, refunds, commissions"),
    ("view", "Sums and ratios of the reports"),
];

/// The statements as text, or for dbt a file. Errors: exit 2 when the engine cannot read the root.
pub fn statements(request: &Request) -> Result<String, Stop> {
    if request.dialect == Dialect::Dbt {
        return Ok(dbt::sources(request, &asked(request)?));
    }
    let mut text = place::notes(request)?;
    let models = asked(request)?;
    for (schema, note) in SCHEMAS {
        let models: Vec<_> = models.iter().filter(|model| model.layer() == schema).collect();
        if !models.is_empty() {
            let _ = write!(text, "\n{}\n", request.schema(schema, note));
        }
        for model in models {
            let statement = match model.is_stored {
                true => request.table(model)?,
                false => request.view(model)?,
            };
            let _ = write!(text, "\n{statement}\n");
        }
    }
    Ok(text)
}

/// The tables, then the views; a view comes after those that it reads.
fn asked(request: &Request) -> Result<Vec<&'static Model>, Stop> {
    let mut models = Vec::new();
    if request.only != Some(Only::Views) {
        models.extend(model::stored()?);
    }
    if request.only != Some(Only::Tables) {
        models.extend(model::views()?);
    }
    Ok(models)
}

/// Letters, digits and underscores, with a letter first, in lower case: what no engine folds or
/// refuses. Errors: says so.
pub fn prefix(text: &str) -> Result<String, String> {
    let is_plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let begins_well = text.starts_with(|letter: char| letter.is_ascii_lowercase());
    match begins_well && text.chars().all(|letter| is_plain(letter) || letter == '_') {
        true => Ok(text.to_owned()),
        false => {
            Err("lower-case letters, digits and underscores are wanted, a letter first".into())
        }
    }
}
