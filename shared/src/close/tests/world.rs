//! A lake in memory with one table by hours, streams whose answers a test sets, a compactor that
//! joins texts, and services that write down what they were asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::json;

use super::slow::Requests;
use crate::catalog::{Catalog, FolderCatalog, apply, plan_apply};
use crate::clock::{Clock, EpochMicros, ManualClock};
use crate::close::*;
use crate::commit::{Built, BuiltFile, LakeStore, PositionSet, ShardWriter};
use crate::compact::{Compacted, CompactedFile, Compaction, Progress};
use crate::error::{Error, Result};
use crate::partition::PartitionPath;
use crate::record::{RecordId, SequenceNumber, Shard};
use crate::schema::{CloseAction, TableInput};

pub(super) const HOUR: i64 = 3_600_000_000;
pub(super) const KEY: &str = "clicks-00000000";

/// What a shard of the stream answers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    /// Its first record that no commit lists arrived then.
    Waits(i64),
    Nothing,
    Ended,
    Fails,
}

#[derive(Default)]
pub(super) struct Clicks {
    pub(super) now: Mutex<i64>,
    pub(super) shards: Mutex<BTreeMap<String, (bool, Answer)>>,
    pub(super) asked: Mutex<u64>,
    pub(super) given_up: Mutex<Vec<GivenUpRange>>,
    pub(super) held_back: Mutex<Option<std::time::Duration>>,
    /// Each question is two of these.
    pub(super) requests: Mutex<Option<Requests>>,
}

#[async_trait]
impl Stream for Clicks {
    fn key(&self) -> &str {
        KEY
    }
    async fn shards(&self) -> Result<Shards> {
        let shards = self.shards.lock().unwrap();
        let shards = shards.iter().map(|(id, (closed, _))| StreamShard { id: id.clone(), closed: *closed });
        Ok(Shards { at: EpochMicros(*self.now.lock().unwrap()), shards: shards.collect() })
    }
    async fn first_after(&self, shard: &str, _after: Option<SequenceNumber>) -> Result<Look> {
        *self.asked.lock().unwrap() += 1;
        let slow = self.requests.lock().unwrap().clone();
        if let Some(requests) = slow {
            requests.answered().await;
            requests.answered().await;
        }
        let at = EpochMicros(*self.now.lock().unwrap());
        match self.shards.lock().unwrap()[shard].1 {
            Answer::Waits(arrived) => Ok(Look::Record { arrived: EpochMicros(arrived) }),
            Answer::Nothing => Ok(Look::Nothing { at }),
            Answer::Ended => Ok(Look::Ended),
            Answer::Fails => Err(Error::Event("throttled".into())),
        }
    }
    async fn given_up(&self) -> Result<Vec<GivenUpRange>> {
        Ok(self.given_up.lock().unwrap().clone())
    }
    fn held_back(&self) -> Option<std::time::Duration> {
        *self.held_back.lock().unwrap()
    }
}

/// Joins the lines of all inputs into one file.
pub(super) struct Join;

#[async_trait]
impl Compact for Join {
    async fn run(&self, lake: &LakeStore, _: &dyn Clock, what: &Compaction<'_>) -> Result<Progress> {
        let mut text = Vec::new();
        for input in what.inputs {
            let bytes = lake.get(&input.key).await?;
            text.extend(bytes.ok_or_else(|| Error::Format {
                object: input.key.clone(),
                problem: "the plan names it and it is not there".into(),
                retryable: true,
            })?);
        }
        let rows = text.iter().filter(|b| **b == b'\n').count() as u64;
        let file = CompactedFile { name: "part-00000.parquet".into(), rows, bytes: text.len() as u64 };
        let _ = lake.put_if_absent(&format!("{}/{}", what.directory, file.name), text.into()).await?;
        Ok(Progress::Finished(Compacted { files: vec![file], rows_read: rows, rows_removed: 0 }))
    }
}

#[derive(Default)]
pub(super) struct Services {
    pub(super) calls: Mutex<Vec<ActionCall>>,
    /// Answers of the next calls; started if there is none.
    pub(super) answers: Mutex<Vec<ActionState>>,
}

#[async_trait]
impl Actions for Services {
    async fn start(&self, _: &CloseAction, call: &ActionCall) -> Result<ActionState> {
        self.calls.lock().unwrap().push(call.clone());
        let answer = self.answers.lock().unwrap().pop();
        Ok(answer.unwrap_or_else(|| ActionState::Started { run: format!("run of {}", call.id) }))
    }
}

/// What the files of commits hold.
pub(super) enum Content {
    /// Two lines each, which say what they are; [`Join`] compacts them.
    Lines,
    /// This Parquet file, of so many rows.
    Parquet(Bytes, u64),
}

pub(super) struct World {
    pub(super) content: Content,
    pub(super) lake: LakeStore,
    pub(super) catalog: Arc<FolderCatalog>,
    pub(super) clicks: Arc<Clicks>,
    pub(super) services: Arc<Services>,
    pub(super) settings: Settings,
    writers: BTreeMap<String, ShardWriter>,
    runs: u32,
    rows: u64,
}

pub(super) fn partition(hour: i64) -> PartitionPath {
    let at = jiff::Timestamp::from_second(hour * 3_600).unwrap();
    PartitionPath::parse(&format!("hour={}", at.strftime("%Y-%m-%d-%H"))).unwrap()
}

impl World {
    /// A table whose partitions wait ten minutes, and shards that hold nothing.
    pub(super) async fn new(shards: usize) -> Self {
        Self::over(LakeStore::open("memory:///", &[]).unwrap(), shards, &[]).await
    }

    /// The same in another lake, with more columns.
    pub(super) async fn over(lake: LakeStore, shards: usize, columns: &[(&str, &str)]) -> Self {
        let catalog = Arc::new(FolderCatalog::new(lake.object_store(), "".into(), "memory:///"));
        let mut all =
            vec![json!({"Name": "ts", "Type": "timestamp", "Parameters": {"weir.required": "true"}})];
        all.extend(columns.iter().map(|(name, ty)| json!({"Name": name, "Type": ty})));
        let table = json!({
            "Name": "t",
            "StorageDescriptor": {"Columns": all},
            "PartitionKeys": [{"Name": "hour", "Type": "string"}],
            "Parameters": {"weir.partition.hour": "hour(ts)", "weir.event_time": "ts", "weir.allowed_lateness": "10m", "weir.on_close": "event"}
        });
        let table = TableInput::from_json(&table.to_string()).unwrap();
        apply(&plan_apply(&[table], &*catalog, "memory:///").await.unwrap(), &*catalog).await.unwrap();
        let clicks = Arc::new(Clicks::default());
        for n in 0..shards {
            clicks.shards.lock().unwrap().insert(format!("shard-{n:05}"), (false, Answer::Nothing));
        }
        let mut settings = Settings::new("unused".into());
        settings.margin = std::time::Duration::ZERO;
        let services = Arc::new(Services::default());
        let (content, writers) = (Content::Lines, BTreeMap::new());
        Self { content, lake, catalog, clicks, services, settings, writers, runs: 0, rows: 0 }
    }

    pub(super) fn at(&self, now: i64) {
        *self.clicks.now.lock().unwrap() = now;
    }

    pub(super) fn answer(&self, shard: usize, answer: Answer) {
        let closed = matches!(answer, Answer::Ended);
        self.clicks.shards.lock().unwrap().insert(format!("shard-{shard:05}"), (closed, answer));
    }

    /// One commit of a shard with two rows in each of these hours.
    pub(super) async fn commit(&mut self, shard: usize, hours: &[i64]) {
        let id = format!("shard-{shard:05}");
        let shard = Shard { stream: KEY.into(), stream_key: KEY.into(), shard: id.as_str().into() };
        let writer = self.writers.entry(id).or_insert_with(|| ShardWriter::new(self.lake.clone(), shard));
        self.rows += 1;
        let first: SequenceNumber = self.rows.into();
        let row = self.rows;
        let file = |hour: i64| match &self.content {
            Content::Lines => (Bytes::from(format!("{row}.{hour}.a\n{row}.{hour}.b\n")), 2),
            Content::Parquet(bytes, rows) => (bytes.clone(), *rows),
        };
        let mut build = |wanted: &PositionSet| {
            let files = hours.iter().map(|hour| (hour, file(*hour))).map(|(hour, (bytes, rows))| BuiltFile {
                table: "t".into(),
                partition: partition(*hour),
                quarantine: false,
                first: RecordId { sequence: first, subsequence: 0 },
                bytes,
                rows,
                schema_version: "1".into(),
            });
            Ok(Built { files: files.collect(), covers: wanted.clone() })
        };
        let positions: PositionSet = std::iter::once(first).collect();
        let _ = writer.commit(&positions, EpochMicros(0), &format!("{row}"), &mut build).await.unwrap();
    }

    pub(super) fn closer(&self) -> Closer {
        let compact: Arc<dyn Compact> = match self.content {
            Content::Lines => Arc::new(Join),
            Content::Parquet(..) => Arc::new(StreamingCompact),
        };
        Closer::new(
            (self.lake.clone(), self.catalog.clone()),
            vec![self.clicks.clone()],
            (compact, self.services.clone()),
            Arc::new(ManualClock::at(EpochMicros(0))),
            self.settings.clone(),
        )
    }

    pub(super) async fn run(&mut self) -> Report {
        self.run_only(None).await
    }

    pub(super) async fn run_only(&mut self, only: Option<(String, Option<PartitionPath>)>) -> Report {
        self.runs += 1;
        let run = Run { id: format!("run{}", self.runs), until: EpochMicros(600_000_000), only };
        self.closer().run(&run).await.unwrap()
    }

    /// What the catalog shows of a partition: its revision, and the lines in the folder, sorted.
    pub(super) async fn shown(&self, hour: i64) -> (u32, Vec<String>) {
        let values: Vec<_> = partition(hour).values().into_iter().map(|(_, v)| v.unwrap()).collect();
        let entry = self.catalog.partition("t", &values).await.unwrap().unwrap();
        let location = entry.storage_descriptor.location.trim_end_matches('/').to_owned();
        let folder = location.trim_start_matches("memory:").trim_start_matches('/').to_owned();
        let mut lines = Vec::new();
        for key in self.lake.list(&folder).await.unwrap() {
            let text = String::from_utf8(self.lake.get(&key).await.unwrap().unwrap().to_vec()).unwrap();
            lines.extend(text.lines().map(str::to_owned));
        }
        lines.sort();
        (entry.revision(), lines)
    }
}
