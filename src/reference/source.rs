//! Whether a reference file is the one that was read before (D8).

use anyhow::{Context, Result};
use bytes::Bytes;
use object_store::{ObjectMeta, ObjectStoreExt};
use parquet::file::FOOTER_SIZE;

use crate::job::Job;
use crate::location::Location;
use crate::warehouse::SourceFile;

/// A change of how files are read. A file that was read in another way is read again.
const VERSION: u32 = 1;

pub enum Found {
    /// The job names no file.
    Absent,
    /// The same as before, perhaps copied.
    Unchanged(SourceFile),
    Changed(SourceFile, Bytes),
}

/// The settings that bear on how a reference file is read.
pub fn settings(job: &Job) -> String {
    format!("version={VERSION} time_zone={} nobody={:?}", job.zone, job.nobody)
}

/// Looks for a file. Reads it whole only if it is not the one of `before`. None: there is no such
/// file. Errors: the store fails.
pub async fn find(
    location: &Location,
    before: Option<&SourceFile>,
    settings: String,
) -> Result<Option<Found>> {
    let Some(meta) = location.head().await? else {
        // Reading tells a missing bucket from a missing object.
        location.read().await?;
        return Ok(None);
    };
    let name = location.path().filename().unwrap_or_default().to_owned();
    let before = before.filter(|before| {
        (&before.name, before.size, &before.settings) == (&name, meta.size, &settings)
    });
    let tag = tag(&meta);
    let mut source = SourceFile { name, size: meta.size, tag, content: String::new(), settings };
    if let Some(before) = before.filter(|before| before.tag == source.tag) {
        source.content = before.content.clone();
        return Ok(Some(Found::Unchanged(source)));
    }
    if source.name.ends_with(".parquet") {
        source.content = digest(&footer(location, meta.size).await?);
        if let Some(before) = before.filter(|before| before.content == source.content) {
            let content = before.content.clone();
            return Ok(Some(Found::Unchanged(SourceFile { content, ..source })));
        }
    }
    let Some(content) = location.read().await? else { return Ok(None) };
    if source.content.is_empty() {
        source.content = digest(&content);
    }
    match before.is_some_and(|before| before.content == source.content) {
        true => Ok(Some(Found::Unchanged(source))),
        false => Ok(Some(Found::Changed(source, content))),
    }
}

/// What the store says about the bytes of an object: its tag, else when it was written.
fn tag(meta: &ObjectMeta) -> String {
    meta.e_tag.clone().unwrap_or_else(|| meta.last_modified.to_rfc3339())
}

/// The end of a Parquet file, which describes the rest. The whole file where it is no Parquet.
async fn footer(location: &Location, size: u64) -> Result<Bytes> {
    let get = async |bytes: u64| {
        let range = size.saturating_sub(bytes)..size;
        let read = location.store().get_range(location.path(), range).await;
        read.with_context(|| format!("{location}: cannot read"))
    };
    let end = get(FOOTER_SIZE as u64).await?;
    let length = end.first_chunk().map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)));
    get(length.saturating_add(FOOTER_SIZE as u64)).await
}

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().as_str()[..32].to_owned()
}
