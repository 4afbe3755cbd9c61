//! Objects in memory that were put when a clock of the test says, and copies of all of them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::clock::{Clock, ManualClock};

#[derive(Debug)]
pub(super) struct Dated {
    store: InMemory,
    born: Arc<Mutex<BTreeMap<Path, i64>>>,
    pub(super) clock: Arc<ManualClock>,
}

impl Dated {
    pub(super) fn new(clock: Arc<ManualClock>) -> Self {
        Self { store: InMemory::new(), born: Arc::default(), clock }
    }

    /// The same objects, and from now on a store of its own.
    pub(super) fn fork(&self) -> Self {
        let born = Mutex::new(self.born.lock().unwrap().clone());
        let clock = ManualClock::at(self.clock.now());
        Self { store: self.store.fork(), born: Arc::new(born), clock: Arc::new(clock) }
    }
}

fn date(born: &Mutex<BTreeMap<Path, i64>>, mut meta: ObjectMeta) -> ObjectMeta {
    let at = born.lock().unwrap().get(&meta.location).copied().unwrap_or(0);
    meta.last_modified = Default::default();
    meta.last_modified += Duration::from_micros(at as u64);
    meta
}

impl fmt::Display for Dated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dated")
    }
}

#[async_trait]
impl ObjectStore for Dated {
    async fn put_opts(&self, to: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let put = self.store.put_opts(to, payload, options).await?;
        self.born.lock().unwrap().insert(to.clone(), self.clock.now().0);
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(to, options).await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        let mut found = self.store.get_opts(from, options).await?;
        found.meta = date(&self.born, found.meta);
        Ok(found)
    }

    async fn get_ranges(&self, from: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.store.get_ranges(from, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let born = self.born.clone();
        self.store.list(prefix).map(move |meta| Ok(date(&born, meta?))).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}
