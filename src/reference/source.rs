//! Whether a reference file is the one that was read before (D8).

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::future::try_join_all;
use object_store::{Error, ObjectMeta, ObjectStoreExt};

use super::{TABLES, location};
use crate::engine::footer;
use crate::job::Job;
use crate::location::Location;
use crate::warehouse::SourceFile;

/// A change of how files are read. A file that was read in another way is read again.
const VERSION: u32 = 1;

/// Files up to this size are read whole, because a second request takes longer than the rest.
const SMALL: u64 = 1 << 20;

/// What the stores say about a job's reference files. It can be asked before anything else is known.
pub struct Heads(BTreeMap<&'static str, ObjectMeta>);

impl Heads {
    /// Errors: a store fails.
    pub async fn ask(job: &Job) -> Result<Heads> {
        let heads = TABLES.map(async |name| {
            let head = match location(job, name) {
                Some(location) => location.head().await?,
                None => None,
            };
            anyhow::Ok(head.map(|head| (name, head)))
        });
        Ok(Heads(try_join_all(heads).await?.into_iter().flatten().collect()))
    }

    /// None where there is no such file.
    pub fn of(&self, name: &str) -> Option<&ObjectMeta> {
        self.0.get(name)
    }
}

pub enum Found {
    /// There is no such file.
    Missing,
    /// The same as before, perhaps copied.
    Unchanged(SourceFile),
    Changed(SourceFile, Bytes),
}

/// The settings that bear on how a reference file is read.
pub fn settings(job: &Job) -> String {
    format!("version={VERSION} time_zone={} nobody={:?}", job.zone, job.nobody)
}

/// Looks for a file. Reads it whole only if it is not the one of `before`. Errors: the store fails.
pub async fn find(
    location: &Location,
    head: Option<&ObjectMeta>,
    before: Option<&SourceFile>,
    settings: &str,
) -> Result<Found> {
    let Some(head) = head else {
        // Reading tells a missing bucket from a missing object.
        location.read().await?;
        return Ok(Found::Missing);
    };
    let mut source = source(location, head, settings);
    let likely = before.filter(|before| is_alike(before, &source));
    if let Some(before) = likely.filter(|before| before.tag == source.tag) {
        source.content = before.content.clone();
        return Ok(Found::Unchanged(source));
    }
    if let Some(before) = likely.filter(|_| is_parquet(&source) && SMALL < head.size) {
        let footer = footer::read(location.store().as_ref(), location.path(), head.size).await;
        source.content = digest(&footer.with_context(|| format!("{location}: cannot read"))?);
        if before.content == source.content {
            return Ok(Found::Unchanged(source));
        }
    }
    let Some((head, content)) = read(location).await? else { return Ok(Found::Missing) };
    // It may have been replaced since.
    let mut source = self::source(location, &head, settings);
    source.content = match is_parquet(&source) {
        true => digest(&footer::of(&content)),
        false => digest(&content),
    };
    let is_same =
        |before: &SourceFile| is_alike(before, &source) && before.content == source.content;
    match before.is_some_and(is_same) {
        true => Ok(Found::Unchanged(source)),
        false => Ok(Found::Changed(source, content)),
    }
}

/// A file of which the content is not known yet.
fn source(location: &Location, head: &ObjectMeta, settings: &str) -> SourceFile {
    SourceFile {
        name: location.path().filename().unwrap_or_default().to_owned(),
        size: head.size,
        // What the store says about the bytes of an object: its tag, else when it was written.
        tag: head.e_tag.clone().unwrap_or_else(|| head.last_modified.to_rfc3339()),
        content: String::new(),
        settings: settings.to_owned(),
    }
}

fn is_alike(one: &SourceFile, other: &SourceFile) -> bool {
    (&one.name, one.size, &one.settings) == (&other.name, other.size, &other.settings)
}

/// Of a Parquet file the footer stands for the content: it describes the rest.
fn is_parquet(source: &SourceFile) -> bool {
    source.name.ends_with(".parquet")
}

/// The object and what the store says about it. None: there is none.
async fn read(location: &Location) -> Result<Option<(ObjectMeta, Bytes)>> {
    let read = async {
        let found = location.store().get(location.path()).await?;
        Ok((found.meta.clone(), found.bytes().await?))
    };
    match read.await {
        Err(Error::NotFound { .. }) => Ok(None),
        found => Ok(Some(found.with_context(|| format!("{location}: cannot read"))?)),
    }
}

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().as_str()[..32].to_owned()
}
