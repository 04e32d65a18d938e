//! What the last run saw of its inputs, and which dates it left outdated (D7, D8). One small object
//! below the root, which is written as a whole.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use chrono::NaiveDate;
use object_store::ObjectStoreExt;
use serde::{Deserialize, Serialize};

use crate::location::Location;

const OBJECT: &str = "_lookback/seen.json";

/// What a run has to remember for the next one, beside the tables.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seen {
    /// The file that each stored reference table was read from.
    pub reference: BTreeMap<String, SourceFile>,
    /// By log and landing date: how the raw files look now, where this is not how they looked when
    /// the date was cleaned, although their contents are the same. They were copied, for example.
    pub raw: BTreeMap<String, BTreeMap<NaiveDate, String>>,
    /// Reference rows that changed and for which dates were not made again.
    pub pending: Vec<Pending>,
}

/// A reference file, and how it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    pub name: String,
    pub size: u64,
    /// The store's own tag of the object, or when it was written.
    pub tag: String,
    /// A digest of its content: for Parquet, of its footer.
    pub content: String,
    /// The settings that bear on how it is read.
    pub settings: String,
}

impl SourceFile {
    /// Whether two files hold the same and were read in the same way, wherever they lie (D8).
    pub fn is_same_content(&self, other: &SourceFile) -> bool {
        (&self.name, self.size, &self.content, &self.settings)
            == (&other.name, other.size, &other.content, &other.settings)
    }
}

/// The key of reference rows that changed, and the dates that are outdated by them: landing dates
/// for links and fx rates, order dates for the other tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    pub table: String,
    pub key: Vec<String>,
    pub dates: Vec<NaiveDate>,
}

impl Seen {
    pub(super) async fn read(root: &Location) -> Result<Seen> {
        let object = root.child(OBJECT);
        let Some(bytes) = object.read().await? else { return Ok(Seen::default()) };
        serde_json::from_slice(&bytes).with_context(|| format!("{object}: is not what a run wrote"))
    }

    pub(super) async fn write(&self, root: &Location) -> Result<()> {
        let object = root.child(OBJECT);
        let text = serde_json::to_vec_pretty(self)?;
        let written = object.store().put(object.path(), text.into()).await;
        written.with_context(|| format!("{object}: cannot write"))?;
        Ok(())
    }
}
