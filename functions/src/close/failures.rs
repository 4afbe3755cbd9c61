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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn batches_of_both_kinds_of_streams_are_told_apart_and_other_objects_passed_over() {
        let store = LakeStore::open("memory:///", &[]).unwrap();
        let changes = "arn:aws:dynamodb:eu-west-1:1:table/orders/stream/2026-11-20T05:00:00.000";
        let clicks = "arn:aws:kinesis:eu-west-1:1:stream/clicks";
        let document = |name: &str, arn: &str| {
            format!(
                r#"{{"requestContext":{{"condition":"RecordAgeExceeded"}},"timestamp":"2026-11-20T05:00:01.500Z",
                "{name}":{{"shardId":"shardId-1","startSequenceNumber":"100","endSequenceNumber":"800000000003126276362",
                "batchSize":7,"streamArn":"{arn}"}},"payload":{{"Records":[]}}}}"#
            )
        };
        for (key, text) in [
            ("a", document("DDBStreamBatchInfo", changes)),
            ("b", document("KinesisBatchInfo", clicks)),
            ("c", "{}".to_owned()),
        ] {
            let _ = store.put_if_absent(key, text.into()).await.unwrap();
        }
        let failures = Failures::new(store);
        for arn in [changes, clicks] {
            let found = failures.of(arn).await.unwrap();
            let [batch] = &found[..] else { panic!("{found:?}") };
            assert_eq!((batch.shard.as_str(), batch.records), ("shardId-1", 7));
            assert_eq!(batch.last.to_string(), "800000000003126276362");
            assert_eq!(batch.at, EpochMicros(1_795_150_801_500_000));
        }
    }
}
