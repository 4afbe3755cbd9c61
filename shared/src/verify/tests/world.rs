//! A lake that real attempts fill: events of a Kinesis stream through the pipeline, redelivered in
//! other pieces, and a file loaded by byte ranges.

use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use serde_json::json;

use crate::catalog::{Catalog, FolderCatalog, apply, plan_apply};
use crate::clock::{EpochMicros, ManualClock};
use crate::commit::format::{Commit, CommitHeader, CommittedFile};
use crate::commit::{Built, Folding, LakeStore, PositionSet, ShardWriter, reader};
use crate::event::ParsedEvent;
use crate::naming::{ChainKey, LogEntry};
use crate::pipeline::{Attempt, Ingest, RowBuffers, data_file, dead_files};
use crate::record::{RecordId, SequenceNumber, Shard};
use crate::replay::{Mode, Replay, Selection};
use crate::schema::TableInput;
use crate::unpack::Unpacker;
use crate::verify::{
    Budget, Finding, Progress, Repair, Scope, SourceContents, StreamComparison, Totals, Verifier,
    compare_source,
};

pub(super) const ARN: &str = "arn:aws:kinesis:us-east-2:123456789012:stream/clicks";
pub(super) const NOW: EpochMicros = EpochMicros(1_763_600_000_000_000);
/// Real numbers are as long.
const BASE: &str = "4959000000000000000000000000000000000000000000000";

pub(super) struct World {
    pub(super) lake: LakeStore,
    pub(super) catalog: Arc<dyn Catalog>,
    attempts: u32,
}

/// Position `n` of every shard.
pub(super) fn sequence(n: u32) -> SequenceNumber {
    format!("{BASE}{n:07}").parse().unwrap()
}

fn document(shard: &str, n: u32) -> String {
    // Every seventh is refused, every fifth is of the day before.
    let day = if n.is_multiple_of(5) { 19 } else { 20 };
    let id = if n.is_multiple_of(7) { "null".to_owned() } else { format!("\"{shard}-{n}\"") };
    format!("{{\"id\":{id},\"ts\":\"2025-11-{day}T01:02:03Z\",\"n\":{n}}}")
}

fn definition(provenance: &str, id_is_required: bool) -> TableInput {
    let table = json!({
        "Name": "t",
        "StorageDescriptor": {"Columns": [
            {"Name": "id", "Type": "string", "Parameters": {"weir.required": id_is_required.to_string()}},
            {"Name": "ts", "Type": "timestamp", "Parameters": {"weir.required": "true"}},
            {"Name": "n", "Type": "int"}
        ]},
        "PartitionKeys": [{"Name": "dt", "Type": "string"}],
        "Parameters": {"weir.partition.dt": "day(ts)", "weir.provenance": provenance}
    });
    TableInput::from_json(&table.to_string()).unwrap()
}

impl World {
    pub(super) async fn empty(provenance: &str) -> Self {
        Self::on(LakeStore::open("memory:///", &[]).unwrap(), provenance).await
    }

    pub(super) async fn on(lake: LakeStore, provenance: &str) -> Self {
        let catalog: Arc<dyn Catalog> =
            Arc::new(FolderCatalog::new(lake.object_store(), Path::default(), "memory:///"));
        let tables = [definition(provenance, true), crate::quarantine::definition().unwrap()];
        let changes = plan_apply(&tables, &*catalog, "memory:///").await.unwrap();
        apply(&changes, &*catalog).await.unwrap();
        Self { lake, catalog, attempts: 0 }
    }

    /// Two shards, batches that overlap on redelivery, and a file loaded in two ranges.
    pub(super) async fn filled(provenance: &str) -> Self {
        let mut world = Self::empty(provenance).await;
        for (shard, batches) in
            [("a", [0..40, 20..60, 60..61, 61..100]), ("b", [0..30, 30..50, 10..50, 50..70])]
        {
            for batch in batches {
                world.deliver(shard, batch).await;
            }
        }
        world.load(&[0..20, 20..50]).await;
        world
    }

    /// One event with these records of a shard, by a function that starts cold.
    pub(super) async fn deliver(&mut self, shard: &str, numbers: std::ops::Range<u32>) {
        let records: Vec<_> = numbers
            .map(|n| {
                json!({
                    "kinesis": {
                        "kinesisSchemaVersion": "1.0", "partitionKey": "1",
                        "sequenceNumber": sequence(n).to_string(),
                        "data": base64_simd::STANDARD.encode_to_string(document(shard, n)),
                        "approximateArrivalTimestamp": NOW.millis() as f64 / 1_000.0,
                    },
                    "eventSource": "aws:kinesis", "eventVersion": "1.0",
                    "eventID": format!("shardId-{shard}:{}", sequence(n)),
                    "eventName": "aws:kinesis:record", "awsRegion": "us-east-2", "eventSourceARN": ARN,
                })
            })
            .collect();
        let mut event = ParsedEvent::default();
        event.parse(&mut Unpacker::default(), json!({"Records": records}).to_string().as_bytes()).unwrap();
        let table = self.catalog.table("t").await.unwrap();
        let clock = Arc::new(ManualClock::at(NOW));
        let mut ingest =
            Ingest::new(self.lake.clone(), self.catalog.clone(), vec![table], "made 1".into(), clock);
        self.attempts += 1;
        let id = format!("attempt-{}", self.attempts);
        let build_until = EpochMicros(NOW.0 + 1);
        let done = ingest.process(&Attempt { event: &event, id: &id, build_until }).await.unwrap();
        assert_eq!(done.first_uncommitted, None);
    }

    /// Lines of a file, ten bytes of position each, one commit a range of lines.
    pub(super) async fn load(&mut self, commits: &[std::ops::Range<u32>]) {
        self.load_folding(commits, Folding::default()).await;
    }

    /// The same by a program that folds at other versions.
    pub(super) async fn load_folding(&mut self, commits: &[std::ops::Range<u32>], folding: Folding) {
        let shard = file_shard();
        let table = self.catalog.table("t").await.unwrap();
        let mut writer = ShardWriter::with_folding(self.lake.clone(), shard.clone(), folding);
        for lines in commits {
            let mut rows = RowBuffers::new(table.clone(), shard.clone(), 1 << 20).unwrap();
            let mut dead = Vec::new();
            for n in lines.clone() {
                let id = RecordId { sequence: u64::from(n * 10).into(), subsequence: 0 };
                dead.extend(rows.push(document("f", n).as_bytes(), true, id, NOW).unwrap());
            }
            let mut files: Vec<_> =
                rows.take_files().unwrap().into_iter().map(|file| data_file(&table, file)).collect();
            files.extend(dead_files(&dead, &shard, &table, NOW).unwrap());
            let covers = PositionSet::from_ranges(std::iter::once(
                u64::from(lines.start * 10)..u64::from(lines.end * 10),
            ));
            self.attempts += 1;
            let id = format!("attempt-{}", self.attempts);
            let built = Built { files, covers: covers.clone() };
            let _ = writer.commit(&covers, NOW, &id, &mut |_| Ok(built.clone())).await.unwrap();
        }
        for day in ["2025-11-19", "2025-11-20"] {
            self.catalog.register_partitions("t", &[vec![day.to_owned()]]).await.unwrap();
        }
    }

    pub(super) fn verifier(&self, scope: Scope, budget: Budget) -> Verifier {
        Verifier::new(self.lake.clone(), self.catalog.clone(), scope, budget, Arc::new(Progress::default()))
    }

    /// What a run says.
    pub(super) async fn verify(&self, repair: bool) -> (Totals, Vec<Finding>) {
        self.verify_with(repair, Scope::default(), Budget::default()).await
    }

    pub(super) async fn verify_with(
        &self,
        repair: bool,
        scope: Scope,
        budget: Budget,
    ) -> (Totals, Vec<Finding>) {
        let mut findings = Vec::new();
        let repair = repair.then_some(Repair { attempt: "repair-1" });
        let mut sink = |finding| findings.push(finding);
        let totals = self.verifier(scope, budget).run(repair.as_ref(), &mut sink).await.unwrap();
        findings.sort_by(|a: &Finding, b| (a.kind, &a.object).cmp(&(b.kind, &b.object)));
        (totals, findings)
    }

    /// What a run says that compares a shard with its stream and the loaded file with what is left of
    /// it.
    pub(super) async fn compare(
        &self,
        stream: Option<(&str, &[SequenceNumber])>,
        source: Option<SourceContents>,
    ) -> Vec<Finding> {
        let mut verifier = self.verifier(Scope::default(), Budget::default());
        let mut findings = Vec::new();
        let mut sink = |finding| findings.push(finding);
        for chain in verifier.chains().await.unwrap() {
            let report = verifier.chain(&chain, &mut sink).await.unwrap();
            if let (Some(contents), Some(origin), Some(_)) = (source, &report.origin, &report.bytes) {
                let found = compare_source(&report, origin, contents);
                found.into_iter().for_each(|finding| verifier.report(finding, &mut sink));
            } else if let Some((_, records)) = stream.filter(|(shard, _)| self.chain(shard) == chain) {
                let mut comparison = StreamComparison::new(&verifier, report);
                comparison.records(&verifier, records).await.unwrap();
                comparison.finish(&mut verifier, &mut sink).await.unwrap();
            }
        }
        verifier.finish(None, &mut sink).await.unwrap();
        findings
    }

    /// Take dead letters for rows: the column that they lack may be null from now on.
    pub(super) async fn replay_letters(&mut self) {
        let changes =
            plan_apply(&[definition("columns", false)], &*self.catalog, "memory:///").await.unwrap();
        apply(&changes, &*self.catalog).await.unwrap();
        let tables = vec![self.catalog.table("t").await.unwrap()];
        let (selection, mode) = (Selection::default(), Mode::Commit);
        let replay = Replay::new(self.lake.clone(), tables, selection, mode, ("replay-1", NOW));
        let report = replay.run(&mut |_| {}).await.unwrap();
        assert!(report.counts.resolved() > 0, "{report:?}");
    }

    // What faults are made of: the objects, changed behind the program's back.

    pub(super) fn chain(&self, name: &str) -> ChainKey {
        match name {
            "file" => ChainKey::of(&file_shard()),
            "a's replays" => ChainKey::of(&shard_of("a")).replay(),
            shard => ChainKey::of(&shard_of(shard)),
        }
    }

    pub(super) async fn delete(&self, key: &str) {
        self.lake.object_store().delete(&self.lake.path(key).unwrap()).await.unwrap();
    }

    pub(super) async fn read(&self, key: &str) -> Bytes {
        self.lake.get(key).await.unwrap().unwrap()
    }

    pub(super) async fn overwrite(&self, key: &str, bytes: Bytes) {
        let path = self.lake.path(key).unwrap();
        self.lake.object_store().put(&path, PutPayload::from(bytes)).await.unwrap();
    }

    pub(super) fn commit_key(&self, chain: &str, version: u64) -> String {
        self.chain(chain).object(LogEntry::Commit(version))
    }

    pub(super) async fn files(&self, chain: &str, version: u64, quarantine: bool) -> Vec<CommittedFile> {
        let commits = reader::read_chain(&self.lake, &self.chain(chain)).await.unwrap();
        let files = &commits[version as usize - 1].commit.header.files;
        files.iter().filter(|file| file.quarantine == quarantine).cloned().collect()
    }

    /// Write a commit again with other content.
    pub(super) async fn rewrite(
        &self,
        chain: &str,
        version: u64,
        edit: impl FnOnce(&mut CommitHeader, &mut PositionSet),
    ) {
        let key = self.commit_key(chain, version);
        let commit = Commit::decode(&key, &self.read(&key).await).unwrap();
        let (mut header, mut set) = (commit.header.clone(), commit.set(&key).unwrap());
        edit(&mut header, &mut set);
        (header.min, header.max, header.positions) = (set.min(), set.max(), set.count());
        self.overwrite(&key, Commit::encode(&header, &set).unwrap()).await;
    }
}

pub(super) fn shard_of(name: &str) -> Shard {
    let stream_key = crate::naming::stream_key("clicks", &format!("{ARN}made 1"));
    Shard { stream: "clicks".into(), stream_key: stream_key.into(), shard: format!("shardId-{name}").into() }
}

pub(super) fn file_shard() -> Shard {
    let stream_key = crate::naming::stream_key("a-b.ndjson", "identity");
    Shard { stream: "file:///a-b.ndjson".into(), stream_key: stream_key.into(), shard: "0".into() }
}
