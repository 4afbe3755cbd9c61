//! A lake whose process is killed at its n-th call: that call may still take effect, nothing after it.
//! Every call lets others go on first.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

#[derive(Debug)]
pub(crate) struct Mortal {
    store: Arc<dyn ObjectStore>,
    /// Calls until it is killed.
    left: Arc<AtomicI64>,
    /// Whether the last call takes effect.
    late: bool,
}

impl Mortal {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, calls: i64, late: bool) -> Self {
        Self { store, left: Arc::new(AtomicI64::new(calls)), late }
    }

    /// Whether the call takes effect, and whether its answer arrives.
    async fn call(&self) -> (bool, bool) {
        tokio::task::yield_now().await;
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        (left > 1 || left == 1 && self.late, left > 1)
    }
}

fn killed() -> Error {
    // Not retryable: a process that was killed does not try again.
    Error::NotSupported { source: "killed".into() }
}

impl std::fmt::Display for Mortal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("mortal")
    }
}

#[async_trait]
impl ObjectStore for Mortal {
    async fn put_opts(&self, to: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let (takes_effect, answers) = self.call().await;
        let put = match takes_effect {
            true => self.store.put_opts(to, payload, options).await,
            false => Err(killed()),
        };
        if answers { put } else { Err(killed()) }
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(killed())
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        match self.call().await {
            (_, true) => self.store.get_opts(from, options).await,
            _ => Err(killed()),
        }
    }

    async fn get_ranges(&self, from: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match self.call().await {
            (_, true) => self.store.get_ranges(from, ranges).await,
            _ => Err(killed()),
        }
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        if self.left.fetch_sub(1, Ordering::SeqCst) > 1 {
            return self.store.delete_stream(paths);
        }
        paths.and_then(|_| async { Err(killed()) }).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        if self.left.fetch_sub(1, Ordering::SeqCst) > 1 {
            return self.store.list(prefix);
        }
        futures::stream::once(async { Err(killed()) }).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        match self.call().await {
            (_, true) => self.store.list_with_delimiter(prefix).await,
            _ => Err(killed()),
        }
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(killed())
    }
}
