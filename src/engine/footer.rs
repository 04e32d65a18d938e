//! The end of a Parquet file, where its footer is, in one request.
//!
//! Refuses to know what a footer says. Trusts only its length.

use bytes::{Bytes, BytesMut};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, Result};
use parquet::file::FOOTER_SIZE;
use parquet::file::metadata::FooterTail;

use crate::location::FOOTER_HINT;

/// The footer of a file and the bytes after it, which say how long it is. Where these bytes make no
/// sense, all that was read of the file's end. Errors: the store fails.
pub async fn read(store: &dyn ObjectStore, path: &Path, size: u64) -> Result<Bytes> {
    if size == 0 {
        return Ok(Bytes::new());
    }
    let start = size.saturating_sub(FOOTER_HINT);
    let end = store.get_range(path, start..size).await?;
    let is_whole = end.len() as u64 == size - start;
    let is_longer = |length: &u64| is_whole && (end.len() as u64) < *length && *length <= size;
    let Some(length) = length(&end).filter(is_longer) else { return Ok(of(&end)) };
    let missing = store.get_range(path, size - length..start).await?;
    let mut whole = BytesMut::with_capacity(missing.len() + end.len());
    whole.extend_from_slice(&missing);
    whole.extend_from_slice(&end);
    Ok(whole.freeze())
}

/// The same, of a file or an end of it that was read already.
pub fn of(end: &Bytes) -> Bytes {
    let size = end.len() as u64;
    let start = length(end).and_then(|length| size.checked_sub(length)).unwrap_or(0);
    end.slice(start as usize..)
}

/// How long a footer is, with the bytes after it.
fn length(end: &[u8]) -> Option<u64> {
    let tail = FooterTail::try_new(end.last_chunk()?).ok()?;
    Some(tail.metadata_length() as u64 + FOOTER_SIZE as u64)
}
