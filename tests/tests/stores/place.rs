//! Kinds of stores, and what is committed to them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use weir::clock::EpochMicros;
use weir::commit::store::Retry;
use weir::commit::{Built, BuiltFile, LakeStore, Outcome, PositionSet, ShardWriter, reader};
use weir::naming::{ChainKey, QUARANTINE_TABLE, SlotName, data_file, quarantine_partition};
use weir::partition::PartitionPath;
use weir::record::{RecordId, SequenceNumber, Shard};
use weir_tests::fault_proxy::FaultProxy;
use weir_tests::python::Python;
use weir_tests::seaweed::{self, BUCKET, Seaweed};

/// A store that can hold any number of empty lakes.
pub(crate) enum Place {
    Memory,
    Disk(tempfile::TempDir),
    S3 { endpoint: String, _server: Arc<Seaweed> },
}

impl Place {
    pub(crate) fn disk() -> Self {
        Self::Disk(tempfile::Builder::new().prefix("weir-store-").tempdir().unwrap())
    }

    pub(crate) fn s3(python: &Python) -> Self {
        let server = Seaweed::shared(python);
        Self::S3 { endpoint: server.endpoint(), _server: server }
    }

    /// The same server through a proxy.
    pub(crate) fn behind_proxy(python: &Python, seed: u64) -> (Self, FaultProxy) {
        let server = Seaweed::shared(python);
        let proxy = FaultProxy::start(server.port(), seed);
        (Self::S3 { endpoint: proxy.endpoint(), _server: server }, proxy)
    }

    /// An empty lake. A prefix that no other lake of this process has.
    pub(crate) fn lake(&self) -> LakeStore {
        static LAKES: AtomicU64 = AtomicU64::new(0);
        let name = format!("{}-{}", std::process::id(), LAKES.fetch_add(1, Ordering::Relaxed));
        match self {
            Self::Memory => LakeStore::open("memory:///", &[]).unwrap(),
            Self::Disk(folder) => {
                LakeStore::open(&format!("file://{}/{name}", folder.path().display()), &[]).unwrap()
            }
            Self::S3 { endpoint, .. } => s3_lake(endpoint, &format!("stores/{name}")),
        }
    }
}

/// The lake below a prefix of the bucket, through the server or a proxy.
pub(crate) fn s3_lake(endpoint: &str, prefix: &str) -> LakeStore {
    let options = seaweed::environment(endpoint).map(|(name, value)| (name.to_owned(), value));
    LakeStore::open(&format!("s3://{BUCKET}/{prefix}"), &options).unwrap()
}

/// As patient as a function, in less time.
pub(crate) fn quick() -> Retry {
    Retry { tries: 6, pause: Duration::from_millis(5) }
}

pub(crate) fn shard() -> Shard {
    Shard { stream: "s".into(), stream_key: "s-00000000".into(), shard: "shardId-000000000000".into() }
}

pub(crate) fn chain() -> ChainKey {
    ChainKey::of(&shard())
}

pub(crate) fn numbers(range: Range<u64>) -> PositionSet {
    range.map(SequenceNumber::from).collect()
}

/// The partition of table `t` that stands for a number; 9 is the quarantine's.
pub(crate) fn partition(number: u64) -> (&'static str, PartitionPath) {
    let day = format!("2026-11-{number:02}");
    match number {
        9 => (QUARANTINE_TABLE, quarantine_partition("t", &day)),
        _ => ("t", PartitionPath::from_values([("dt", Some(day.as_str()))])),
    }
}

/// Where the file that begins with `first` stands in partition `p`.
pub(crate) fn slot(p: u64, first: u64, probe: u32) -> String {
    let (table, path) = partition(p);
    let first = RecordId { sequence: first.into(), subsequence: 0 };
    data_file(table, &path, &SlotName { first, probe }.file_name(&shard()))
}

/// One file a partition; its bytes are its numbers, so that what is listed can be read back.
pub(crate) fn files_of(set: &PositionSet, partition_of: impl Fn(u64) -> u64) -> Built {
    let PositionSet::Exact(numbers) = set else { panic!("numbers expected") };
    let mut groups = BTreeMap::<u64, Vec<u64>>::new();
    for number in numbers {
        let number = number.as_u64().unwrap();
        groups.entry(partition_of(number)).or_default().push(number);
    }
    let file = |(p, rows): (u64, Vec<u64>)| {
        let (table, path) = partition(p);
        let text: Vec<_> = rows.iter().map(u64::to_string).collect();
        BuiltFile {
            table: table.into(),
            partition: path,
            quarantine: p == 9,
            first: RecordId { sequence: rows[0].into(), subsequence: 0 },
            bytes: Bytes::from(text.join(",")),
            rows: rows.len() as u64,
            schema_version: "1".into(),
        }
    };
    Built { files: groups.into_iter().map(file).collect(), covers: set.clone() }
}

/// Commit with `partitions` files a batch at most.
pub(crate) async fn try_commit(
    writer: &mut ShardWriter,
    batch: &PositionSet,
    attempt: &str,
    partitions: u64,
) -> weir::Result<Outcome> {
    let mut build = |left: &PositionSet| Ok(files_of(left, |n| 1 + n % partitions));
    writer.commit(batch, EpochMicros(1), attempt, &mut build).await
}

/// The same where nothing may go wrong.
pub(crate) async fn commit(
    writer: &mut ShardWriter,
    batch: &PositionSet,
    attempt: &str,
    partitions: u64,
) -> Outcome {
    try_commit(writer, batch, attempt, partitions).await.unwrap()
}

/// C1, C2, C3 and C5 of the one chain, by what lies in the store: exactly these records are listed,
/// each once; each listed file holds what its commit says; nothing else lies under the tables.
pub(crate) async fn check(lake: &LakeStore, expected: &PositionSet) {
    let mut listed = PositionSet::default();
    let mut files = Vec::new();
    let mut rows = Vec::new();
    for version in reader::read_chain(lake, &chain()).await.unwrap() {
        let set = version.set().unwrap();
        assert!(!set.overlaps(&listed), "C2: version {} lists a record again", version.version);
        listed = listed.union(&set);
        for file in &version.commit.header.files {
            let bytes = lake.get(&file.key()).await.unwrap();
            let bytes = bytes.unwrap_or_else(|| panic!("C1: {} is listed and not there", file.key()));
            assert_eq!(bytes.len() as u64, file.bytes, "{}", file.key());
            let text = std::str::from_utf8(&bytes).unwrap();
            rows.extend(text.split(',').map(|n| n.parse::<u64>().unwrap()));
            files.push(file.key());
        }
    }
    assert_eq!(&listed, expected, "C1: what the commits list");
    rows.sort_unstable();
    let expected_rows: PositionSet = rows.iter().copied().map(SequenceNumber::from).collect();
    assert_eq!((rows.len() as u64, &expected_rows), (expected.count(), expected), "C1, C2: rows of files");
    files.sort();
    let mut lying = lake.list("t").await.unwrap();
    lying.extend(lake.list(QUARANTINE_TABLE).await.unwrap());
    lying.sort();
    assert_eq!(lying, files, "C5: what lies there is what commits list");
}
