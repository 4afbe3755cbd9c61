//! The on-failure destination of a mapping → what it gave up on. Each object is read once a process.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use weir::Result;
use weir::clock::EpochMicros;
use weir::close::GivenUpRange;
use weir::commit::LakeStore;
use weir::replay::failures::read;

/// A destination, by its address.
pub struct Failures {
    store: LakeStore,
    /// ARN and batch of each object that was read.
    seen: Mutex<BTreeMap<String, Vec<(String, GivenUpRange)>>>,
}

impl Failures {
    /// A folder or `s3://bucket/prefix`.
    pub fn new(store: LakeStore) -> Self {
        Self { store, seen: Mutex::default() }
    }

    /// Batches of a stream.
    ///
    /// # Errors
    /// A bad moment of the destination. An object that is no batch is passed over.
    pub async fn of(&self, stream_arn: &str) -> Result<Vec<GivenUpRange>> {
        let seen = || self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for key in self.store.list("").await? {
            if seen().contains_key(&key) {
                continue;
            }
            let Some(bytes) = self.store.get(&key).await? else { continue };
            let batches = read(&key, &bytes).unwrap_or_default().into_iter().filter_map(|batch| {
                let at: jiff::Timestamp = batch.at.parse().ok()?;
                let at = EpochMicros(at.as_microsecond());
                let (shard, last, records) = (batch.shard, batch.last, batch.records);
                Some((batch.stream_arn, GivenUpRange { shard, last, records, at }))
            });
            let batches = batches.collect();
            seen().insert(key, batches);
        }
        let seen = seen();
        let of = seen.values().flatten().filter(|(arn, _)| arn == stream_arn);
        Ok(of.map(|(_, batch)| batch.clone()).collect())
    }
}
