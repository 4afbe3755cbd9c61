//! What the closers of a world are given: a stream that never forgets, a compactor of texts, services
//! with and without a token.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use weir::Result;
use weir::clock::{Clock, EpochMicros};
use weir::close::{ActionCall, ActionState, Actions, Compact, Look, Shards, Stream, StreamShard};
use weir::commit::{Built, BuiltFile, LakeStore, PositionSet, ShardWriter};
use weir::compact::{Compacted, CompactedFile, Compaction, Progress};
use weir::record::{RecordId, SequenceNumber, Shard};
use weir::schema::CloseAction;

use super::store::Shared;
use super::world::{Ended, TABLE, partition};

pub(crate) const STREAM: &str = "clicks-00000000";
pub(crate) const SHARD: &str = "0";

/// A record: when it arrived, and the hour that its event happened in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    pub(crate) arrived: i64,
    pub(crate) hour: i64,
}

/// Records in order; number n is at place n − 1.
#[derive(Clone, Default)]
pub(crate) struct Clicks {
    pub(crate) records: Arc<Mutex<Vec<Record>>>,
    pub(crate) objects: Shared,
}

#[async_trait]
impl Stream for Clicks {
    fn key(&self) -> &str {
        STREAM
    }
    async fn shards(&self) -> Result<Shards> {
        let at = EpochMicros(self.objects.lock().unwrap().now);
        Ok(Shards { at, shards: vec![StreamShard { id: SHARD.into(), closed: false }] })
    }
    async fn first_after(&self, _: &str, after: Option<SequenceNumber>) -> Result<Look> {
        let at = EpochMicros(self.objects.lock().unwrap().now);
        let passed = after.and_then(SequenceNumber::as_u64).unwrap_or(0);
        let waiting = self.records.lock().unwrap().get(passed as usize).copied();
        Ok(waiting
            .map_or(Look::Nothing { at }, |record| Look::Record { arrived: EpochMicros(record.arrived) }))
    }
}

/// Sorts the lines of all inputs into two files; every third time only one of them.
pub(crate) struct Lines {
    pub(crate) process: u64,
    pub(crate) calls: AtomicU64,
}

#[async_trait]
impl Compact for Lines {
    async fn run(&self, lake: &LakeStore, _: &dyn Clock, what: &Compaction<'_>) -> Result<Progress> {
        let mut lines = Vec::new();
        for input in what.inputs {
            let bytes = lake.get(&input.key).await?.ok_or_else(|| weir::Error::Format {
                object: input.key.clone(),
                problem: "a plan names it and it is gone".into(),
                retryable: true,
            })?;
            lines.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect::<Vec<_>>());
        }
        lines.sort();
        let part = self.process + self.calls.fetch_add(1, Ordering::Relaxed);
        let halves = lines.split_at(lines.len() / 2);
        let mut files = Vec::new();
        for (name, half) in [("part-0", halves.0), ("part-1", halves.1)] {
            if name == "part-1" && part.is_multiple_of(3) {
                return Ok(Progress::Unfinished { done: 1, of: 2 });
            }
            let text: String = half.iter().flat_map(|line| [line, "\n"]).collect();
            files.push(CompactedFile {
                name: name.into(),
                rows: half.len() as u64,
                bytes: text.len() as u64,
            });
            let _ = lake.put_if_absent(&format!("{}/{name}", what.directory), Bytes::from(text)).await?;
        }
        Ok(Progress::Finished(Compacted { files, rows_read: lines.len() as u64, rows_removed: 0 }))
    }
}

/// A service whose runs are objects.
pub(crate) struct Services {
    pub(crate) lake: LakeStore,
    pub(crate) process: u64,
    pub(crate) token: bool,
}

#[async_trait]
impl Actions for Services {
    async fn start(&self, _: &CloseAction, call: &ActionCall) -> Result<ActionState> {
        start(&self.lake, call, self.process, self.token).await
    }
}

pub(crate) async fn start(
    lake: &LakeStore,
    call: &ActionCall,
    process: u64,
    token: bool,
) -> Result<ActionState> {
    let runs = format!("service/{}", call.id);
    if !token && call.repeated && !lake.list(&runs).await?.is_empty() {
        return Ok(ActionState::Started { run: "found".into() });
    }
    let run = if token { "token".to_owned() } else { format!("run-{process}") };
    // A call without an answer is an error: nobody repeats it before he has looked.
    let once =
        lake.clone().with_retry(weir::commit::store::Retry { tries: 1, pause: std::time::Duration::ZERO });
    let _ = once.put_if_absent(&format!("{runs}/{run}"), Bytes::from_static(b"run")).await?;
    Ok(ActionState::Started { run })
}

/// An attempt of the deployed code: rows of an hour are one file.
pub(crate) async fn ingest(lake: LakeStore, id: u64, batch: Vec<(u64, i64)>) -> Ended {
    let shard = Shard { stream: STREAM.into(), stream_key: STREAM.into(), shard: SHARD.into() };
    let positions: PositionSet = batch.iter().map(|(number, _)| SequenceNumber::from(*number)).collect();
    let mut build = |wanted: &PositionSet| {
        let mut hours: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
        for (number, hour) in batch.iter().filter(|(number, _)| wanted.contains((*number).into())) {
            hours.entry(*hour).or_default().push(*number);
        }
        let files = hours.into_iter().map(|(hour, numbers)| BuiltFile {
            table: TABLE.into(),
            partition: partition(hour),
            quarantine: false,
            first: RecordId { sequence: numbers[0].into(), subsequence: 0 },
            bytes: Bytes::from(numbers.iter().map(|n| format!("{n}\n")).collect::<String>()),
            rows: numbers.len() as u64,
            schema_version: "1".into(),
        });
        Ok(Built { files: files.collect(), covers: wanted.clone() })
    };
    let last = batch.last().map_or(0, |(number, _)| *number);
    let mut writer = ShardWriter::new(lake, shard);
    let outcome = writer.commit(&positions, EpochMicros(0), &format!("attempt-{id}"), &mut build).await;
    Ended::Ingest { last, committed: outcome.is_ok() }
}
