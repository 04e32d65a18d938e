//! The wrapper of every object store of the program: its `Debug` shows no credentials, and each of
//! its answers counts as progress. It counts the bytes of objects, too.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use crate::progress::{count_read, count_written, tick};

/// A store that can be logged, and that the watchdog watches.
pub struct Watched {
    name: String,
    store: Arc<dyn ObjectStore>,
}

impl Watched {
    /// `name` is what `Debug` and `Display` say: the scheme and the bucket.
    pub fn new(name: &str, store: Arc<dyn ObjectStore>) -> Watched {
        Watched { name: name.to_owned(), store }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[async_trait]
impl ObjectStore for Watched {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let bytes = payload.content_length();
        let put = self.store.put_opts(location, payload, options).await;
        put.inspect(|_| tick()).inspect(|_| count_written(bytes as u64))
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.store.put_multipart_opts(location, options).await.inspect(|_| tick())?;
        Ok(Box::new(Counted(upload)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let has_body = !options.head;
        let got = self.store.get_opts(location, options).await.inspect(|_| tick())?;
        if has_body {
            count_read(got.range.end - got.range.start);
        }
        Ok(got)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let got = self.store.get_ranges(location, ranges).await.inspect(|_| tick())?;
        count_read(got.iter().map(|bytes| bytes.len() as u64).sum());
        Ok(got)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations).inspect(|_| tick()).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix).inspect(|_| tick()).boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list_with_offset(prefix, offset).inspect(|_| tick()).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await.inspect(|_| tick())
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await.inspect(|()| tick())
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.store.rename_opts(from, to, options).await.inspect(|()| tick())
    }
}

/// An upload whose bytes are counted.
#[derive(Debug)]
struct Counted(Box<dyn MultipartUpload>);

#[async_trait]
impl MultipartUpload for Counted {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        count_written(part.content_length() as u64);
        self.0.put_part(part)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.0.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.0.abort().await
    }
}
