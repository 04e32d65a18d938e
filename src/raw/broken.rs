//! Which files a query could not read, found after it failed (B1).

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use chrono::NaiveDate;
use object_store::ObjectStoreExt;

use super::rows::Reading;
use super::scan::{Alike, data_file, decode, scan};
use super::schema::Trouble;
use super::through_view::columns_of_all;
use super::{RawLog, relative};
use crate::engine::Engine;
use crate::engine::elsewhere::NOTHING_RUNS;
use crate::location::WAS_REPLACED;
use crate::location::is_of_store;

impl RawLog {
    /// Finds the files of these dates that cannot be read (B1), or not through their view, after a
    /// query over them failed or lost rows. Returns a complaint for each. Errors: the store fails.
    pub async fn find_broken(
        &self,
        engine: &Engine,
        dates: &BTreeSet<NaiveDate>,
        reading: Reading<'_>,
    ) -> Result<Vec<String>> {
        let mut troubles = Vec::new();
        let all = self.numbered(dates);
        for (date, file) in all.iter().copied() {
            let source = &self.sources[file.source];
            let name = format!("{}/{}", source.location, relative(&source.location, &file.meta));
            let files = vec![data_file(file, date)?];
            let rows = scan(engine, &Alike { source, file, files, first: 0 })?;
            // In a separate task, because bytes may make the decoder panic: it is a bad file.
            let fork = engine.fork()?;
            let decoded = tokio::spawn(async move { decode(&fork, rows).await });
            let trouble = match decoded.await {
                Ok(Ok(rows)) if rows == file.rows => {
                    if let Some(view) = source.shape.view() {
                        let names = columns_of_all(&all);
                        let alike =
                            Alike { source, file, files: vec![data_file(file, date)?], first: 0 };
                        let rows = self.alike_through_view(engine, view, &alike, &names, reading);
                        let decoded = match rows.await {
                            Ok(rows) => decode(engine, rows).await,
                            Err(error) => Err(error),
                        };
                        let Err(error) = decoded else { continue };
                        let text =
                            format!("its rows do not go through view {}: {error}", view.file);
                        troubles.push(Trouble { file: name, text });
                    }
                    continue;
                }
                Ok(Ok(rows)) => format!(": it holds {rows} rows, and says {}", file.rows),
                Ok(Err(error)) if is_of_store(&error) || is_of_others(engine, &error) => {
                    return Err(error.context(name));
                }
                Ok(Err(error)) => {
                    // An error about the footer may come from the file or from the store.
                    let found = source.location.store().head(&file.meta.location).await;
                    found.with_context(|| name.clone())?;
                    let error = error.to_string();
                    format!(
                        ": {}",
                        error.replace("Parquet error: Parquet error: ", "Parquet error: ")
                    )
                }
                Err(_) => String::new(),
            };
            let text = format!("is no readable Parquet file{trouble}");
            troubles.push(Trouble { file: name, text });
        }
        Ok(Trouble::together(troubles))
    }
}

/// Whether an error says that those are lost who would have looked at a file.
fn is_of_others(engine: &Engine, error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    let said = [NOTHING_RUNS, "Permission denied", "No such file", WAS_REPLACED];
    let is_said = said.iter().any(|sign| text.contains(sign));
    engine.elsewhere().is_some_and(|elsewhere| is_said || !elsewhere.is_there())
}
