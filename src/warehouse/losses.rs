//! Files of the warehouse that are gone, or that are not what was written.

use std::collections::HashMap;

use anyhow::{Context, Result};
use futures::TryStreamExt;

use super::{Table, Warehouse};
use crate::location::{Location, in_parallel};

impl Warehouse {
    /// Compares the files of all tables with what their logs say, and remembers those that are gone
    /// or of another size. Returns a text for each. Errors: the store fails.
    pub async fn find_losses(&mut self) -> Result<Vec<String>> {
        let root = self.root.clone();
        let found = in_parallel(self.tables.values_mut().collect(), async |table: &mut Table| {
            let folder = root.child(&table.model.folder());
            let losses = table.find_losses(&folder).await;
            losses.with_context(|| format!("{folder}: cannot list"))
        });
        Ok(found.await?.into_iter().flatten().collect())
    }
}

impl Table {
    async fn find_losses(&mut self, folder: &Location) -> Result<Vec<String>> {
        if self.files.is_empty() {
            return Ok(Vec::new());
        }
        let objects = folder.store().list(Some(folder.path()));
        let sizes: HashMap<String, u64> = objects
            .map_ok(|object| (object.location.to_string(), object.size))
            .try_collect()
            .await?;
        let mut losses = Vec::new();
        for file in &mut self.files {
            let path = folder.child(&file.path);
            let trouble = match sizes.get(path.path().as_ref()) {
                None => "is gone".to_owned(),
                Some(size) if *size != file.size => {
                    format!("has {size} bytes, but {} were written", file.size)
                }
                Some(_) => continue,
            };
            file.is_lost = true;
            self.lost.insert(file.path.clone());
            losses.push(format!("{path}: {trouble}"));
        }
        Ok(losses)
    }
}
