//! The bytes of a file on their way to a store. On object storage they go up in the background, while
//! other files are made, and are kept for readers. A commit waits for them.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use datafusion::common::runtime::SpawnedTask;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use object_store::buffered::BufWriter;
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::errors::ParquetError;

use crate::location::Location;
use crate::progress::tick;

/// Larger files are not kept. Whoever reads one waits until it is up.
const KEPT_UP_TO: usize = 64 << 20;

/// The end of an upload, for all who wait for it. An upload that nobody waits for any more ends.
#[derive(Clone)]
pub struct Upload(Shared<BoxFuture<'static, Result<(), Arc<ParquetError>>>>);

impl Upload {
    pub(in crate::warehouse) fn done() -> Upload {
        Upload(async { Ok(()) }.boxed().shared())
    }

    fn of(task: SpawnedTask<Result<(), ParquetError>>) -> Upload {
        let end = async {
            let ended = task.join().await.map_err(|error| ParquetError::External(error.into()));
            ended.flatten().map_err(Arc::new)
        };
        Upload(end.boxed().shared())
    }

    /// Waits until the file is in the store. Errors: the store fails.
    pub async fn finish(&self, path: &str) -> Result<()> {
        self.0.clone().await.with_context(|| format!("{path}: cannot write"))
    }
}

/// Hides what an upload is.
impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Upload")
    }
}

/// What is known of a file once its writer has completed it.
pub struct Written {
    pub hasher: blake3::Hasher,
    pub upload: Option<Upload>,
}

/// An object whose bytes are hashed while it is written.
pub struct Sink {
    location: Location,
    /// None when it is completed.
    object: Option<BufWriter>,
    /// The bytes so far, if they are kept.
    kept: Option<Vec<Bytes>>,
    length: usize,
    written: Arc<Mutex<Written>>,
}

impl Sink {
    pub fn open(location: Location) -> (Sink, Arc<Mutex<Written>>) {
        // Past the store that keeps: it would forget the file when its upload begins.
        let store = location.kept().map_or(location.store(), |kept| kept.behind());
        let object = BufWriter::new(store.clone(), location.path().clone());
        let written = Written { hasher: blake3::Hasher::new(), upload: None };
        let written = Arc::new(Mutex::new(written));
        let kept = location.kept().is_some().then(Vec::new);
        let sink =
            Sink { location, object: Some(object), kept, length: 0, written: written.clone() };
        (sink, written)
    }

    /// The open object. Errors: it was completed.
    fn object(&mut self) -> parquet::errors::Result<&mut BufWriter> {
        let completed = || ParquetError::General("the file was completed before".to_owned());
        self.object.as_mut().ok_or_else(completed)
    }

    async fn end(&mut self) -> parquet::errors::Result<()> {
        let upload = match (self.location.kept().cloned(), self.kept.take()) {
            (Some(kept), Some(parts)) => {
                let mut all = BytesMut::with_capacity(self.length);
                for part in parts {
                    all.extend_from_slice(&part);
                }
                let mut object = std::mem::take(&mut self.object);
                let slot = kept.upload_slot().await;
                let task = SpawnedTask::spawn(async move {
                    let _one_of_few = slot;
                    match object.as_mut() {
                        Some(object) => AsyncFileWriter::complete(object).await,
                        None => Ok(()),
                    }
                });
                kept.keep(self.location.path(), all.freeze()).await;
                Upload::of(task)
            }
            _ => {
                AsyncFileWriter::complete(self.object()?).await?;
                Upload::done()
            }
        };
        if let Ok(mut written) = self.written.lock() {
            written.upload = Some(upload);
        }
        Ok(())
    }
}

impl AsyncFileWriter for Sink {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, parquet::errors::Result<()>> {
        tick();
        if let Ok(mut written) = self.written.lock() {
            written.hasher.update(&bytes);
        }
        self.length += bytes.len();
        match &mut self.kept {
            Some(_) if self.length > KEPT_UP_TO => self.kept = None,
            Some(parts) => parts.push(bytes.clone()),
            None => {}
        }
        async move { AsyncFileWriter::write(self.object()?, bytes).await }.boxed()
    }

    fn complete(&mut self) -> BoxFuture<'_, parquet::errors::Result<()>> {
        self.end().boxed()
    }
}
