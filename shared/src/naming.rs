//! Every object key of the lake, relative to its root, and the names' way back. Pure text: never
//! touches a store.
//!
//! ```text
//! <table>/live/<partition>/<hh>-<stream>-<shard>-<first sequence>[.<sub>][-<probe>].parquet
//! quarantine/live/source_table=<table>/day=2026-11-21/<hh>-….parquet
//! _weir/commits/<stream>/<shard>/<10^12 - 1 - version>.commit     a list shows the newest first
//! _weir/commits/<stream>/<shard>/<10^12 - 1 - version>.ckpt
//! _weir/commits/<stream>/<shard>/segments/<version>.bin
//! _weir/commits/<stream>/<shard>.replay/…                         the chain of a replay
//! _weir/catalog/…
//! ```
//!
//! What close keeps is in [`closed`], what compactions leave in [`compaction`], current states in
//! [`current`].

pub mod closed;
pub mod compaction;
pub mod current;

use sha2::{Digest, Sha256};

use crate::partition::PartitionPath;
use crate::record::{RecordId, SequenceNumber, Shard};

/// The table of dead letters.
pub const QUARANTINE_TABLE: &str = "quarantine";
/// Folder of all commit logs.
pub const COMMITS: &str = "_weir/commits";
/// Folder of a folder catalog's state.
pub const CATALOG: &str = "_weir/catalog";
/// One more than the largest version a name can hold.
pub const VERSIONS: u64 = 1_000_000_000_000;

/// End of a replay's shard name; no stream names its shards so.
const REPLAY: &str = ".replay";

/// Longest text taken from a stream's or a file's name: with shard, numbers and staging suffix a
/// file name stays below the 255 bytes of common file systems.
const MAX_NAME: usize = 96;

/// Key of a stream in object names: its name in safe characters, and 8 hex digits of the hash of
/// `identity` (the ARN and the creation time as text), so that a stream made again under the same
/// name is another one. Without that it would look wholly committed: a silent loss.
pub fn stream_key(name: &str, identity: &str) -> String {
    let hash = Sha256::digest(identity.as_bytes());
    format!("{}-{:02x}{:02x}{:02x}{:02x}", safe(name), hash[0], hash[1], hash[2], hash[3])
}

/// Folder of a table's live data: `<table>/live`.
pub fn live_prefix(table: &str) -> String {
    format!("{table}/live")
}

/// Folder of one live partition.
pub fn partition_prefix(table: &str, partition: &PartitionPath) -> String {
    if partition.is_empty() { live_prefix(table) } else { format!("{table}/live/{partition}") }
}

/// Partition of the quarantine: `source_table=<table>/day=<day>`.
pub fn quarantine_partition(source_table: &str, day: &str) -> PartitionPath {
    PartitionPath::from_values([("source_table", Some(source_table)), ("day", Some(day))])
}

/// Key of a live data file.
pub fn data_file(table: &str, partition: &PartitionPath, name: &str) -> String {
    format!("{}/{name}", partition_prefix(table, partition))
}

/// Name of a data file: the slot of its first record, and which try at that slot it is. Whoever
/// is redelivered the record puts at the same name and is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlotName {
    /// The first record.
    pub first: RecordId,
    /// 0 for the slot itself, then 1, 2, …
    pub probe: u32,
}

impl SlotName {
    /// The file name.
    pub fn file_name(&self, shard: &Shard) -> String {
        let sub =
            if self.first.subsequence == 0 { String::new() } else { format!(".{}", self.first.subsequence) };
        let probe = if self.probe == 0 { String::new() } else { format!("-{}", self.probe) };
        format!("{}{}{sub}{probe}.parquet", slot_prefix(shard), self.first.sequence)
    }

    /// Read a file name, or the name at the end of a key, of this shard; anything else is none.
    /// Strict: what [`Self::file_name`] would not write is not read, since files are deleted by it.
    pub fn parse(shard: &Shard, key: &str) -> Option<Self> {
        let name = key.rsplit('/').next()?;
        let slot = name.strip_prefix(slot_prefix(shard).as_str())?.strip_suffix(".parquet")?;
        let (position, probe) = match slot.split_once('-') {
            Some((position, probe)) => (position, probe.parse().ok()?),
            None => (slot, 0),
        };
        let (sequence, subsequence) = match position.split_once('.') {
            Some((sequence, sub)) => (sequence, sub.parse().ok()?),
            None => (position, 0),
        };
        let sequence = SequenceNumber::parse(sequence.as_bytes()).ok()?;
        let parsed = Self { first: RecordId { sequence, subsequence }, probe };
        (parsed.file_name(shard) == name).then_some(parsed)
    }
}

/// Where the log of a shard stands: two safe path segments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainKey {
    /// [`stream_key`].
    pub stream: String,
    /// The shard id in safe characters.
    pub shard: String,
}

impl ChainKey {
    /// Of a shard.
    pub fn of(shard: &Shard) -> Self {
        Self { stream: shard.stream_key.to_string(), shard: safe(&shard.shard) }
    }
    /// The chain of what a replay made of this chain's dead letters.
    pub fn replay(&self) -> Self {
        Self { stream: self.stream.clone(), shard: format!("{}{REPLAY}", self.shard) }
    }
    /// For a replay's chain, the chain whose dead letters it judges again.
    pub fn replayed(&self) -> Option<Self> {
        let shard = self.shard.strip_suffix(REPLAY)?.to_owned();
        Some(Self { stream: self.stream.clone(), shard })
    }
    /// Folder of the commits.
    pub fn prefix(&self) -> String {
        format!("{COMMITS}/{}/{}", self.stream, self.shard)
    }
    /// Key of an object of the log.
    pub fn object(&self, entry: LogEntry) -> String {
        match entry {
            LogEntry::Commit(v) => format!("{}/{:012}.commit", self.prefix(), VERSIONS - 1 - v),
            LogEntry::Checkpoint(v) => format!("{}/{:012}.ckpt", self.prefix(), VERSIONS - 1 - v),
            LogEntry::Segment(v) => format!("{}/segments/{v:012}.bin", self.prefix()),
        }
    }
}

/// What stands in the log of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogEntry {
    /// The commit that made this version.
    Commit(u64),
    /// A summary of everything up to this version.
    Checkpoint(u64),
    /// Ranges of older commits, up to this version.
    Segment(u64),
}

impl LogEntry {
    /// Read the name of a commit or checkpoint; segments and foreign names are none.
    pub fn parse(key: &str) -> Option<Self> {
        let (number, extension) = key.rsplit('/').next()?.split_once('.')?;
        if number.len() != 12 || !number.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let version = VERSIONS - 1 - number.parse::<u64>().ok()?;
        match extension {
            "commit" => Some(LogEntry::Commit(version)),
            "ckpt" => Some(LogEntry::Checkpoint(version)),
            _ => None,
        }
    }
}

/// Two hex digits of the shard's hash, so that S3 can split a hot partition, then stream and shard.
fn slot_prefix(shard: &Shard) -> String {
    let chain = ChainKey::of(shard);
    let hash = Sha256::digest(format!("{}/{}", chain.stream, chain.shard).as_bytes());
    format!("{:02x}-{}-{}-", hash[0], chain.stream, chain.shard)
}

/// Text as one path segment. What had to be changed gets 8 hex digits of its hash, so that two
/// texts never become one.
fn safe(text: &str) -> String {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !text.is_empty() && text.len() <= MAX_NAME && text.bytes().all(fits) && !text.starts_with('.') {
        return text.to_owned();
    }
    let mut out: String =
        text.bytes().take(MAX_NAME - 9).map(|b| if fits(b) { char::from(b) } else { '-' }).collect();
    if out.starts_with('.') {
        out.replace_range(..1, "-");
    }
    let hash = Sha256::digest(text.as_bytes());
    out.push_str(&format!("-{:02x}{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2], hash[3]));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(stream: &str, shard: &str) -> Shard {
        let stream_key = stream_key(stream, "arn:aws:kinesis:eu-west-1:1:stream/x 1700000000").into();
        Shard { stream: stream.into(), stream_key, shard: shard.into() }
    }

    fn id(sequence: &str, subsequence: u32) -> RecordId {
        RecordId { sequence: sequence.parse().unwrap(), subsequence }
    }

    #[test]
    fn slot_names_come_back() {
        let big = "49590338271490256608559692538361571095921575989136588898";
        for (stream, id_of_shard) in
            [("clicks", "shardId-000000000000"), ("file:///a/b c.ndjson.gz", "0"), ("a-1", "x-2")]
        {
            let shard = shard(stream, id_of_shard);
            for first in [id(big, 0), id(big, 17), id("0", 0)] {
                for probe in [0, 1, 12] {
                    let slot = SlotName { first, probe };
                    let name = slot.file_name(&shard);
                    assert_eq!(SlotName::parse(&shard, &name), Some(slot), "{name}");
                    assert_eq!(SlotName::parse(&shard, &format!("t/live/dt=1/{name}")), Some(slot));
                    assert!(name.len() + 4 < 255 && !name.contains(['/', '#', '%']), "{name}");
                }
            }
        }
    }

    #[test]
    fn names_that_are_not_slots_of_the_shard_are_not_read() {
        let here = shard("clicks", "shardId-000000000000");
        let there = shard("clicks", "shardId-000000000001");
        let name = SlotName { first: id("123", 0), probe: 0 }.file_name(&here);
        assert_eq!(SlotName::parse(&there, &name), None);
        for (from, to) in [
            ("-123.", "-0123."),
            ("-123.", "-123-0."),
            ("-123.", "-123.0."),
            ("-123.", "-123-x."),
            ("parquet", "json"),
        ] {
            assert_eq!(SlotName::parse(&here, &name.replace(from, to)), None, "{from} {to}");
        }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let shard = shard("clicks", "shardId-000000000000");
        let chain = ChainKey::of(&shard);
        assert_eq!(shard.stream_key.len(), "clicks-".len() + 8);
        let folder = format!("_weir/commits/{}/shardId-000000000000", shard.stream_key);
        assert_eq!(chain.object(LogEntry::Commit(1)), format!("{folder}/999999999998.commit"));
        assert_eq!(chain.object(LogEntry::Checkpoint(32)), format!("{folder}/999999999967.ckpt"));
        assert_eq!(chain.object(LogEntry::Segment(1024)), format!("{folder}/segments/000000001024.bin"));
        let dt = PartitionPath::from_values([("dt", Some("2026-11-20"))]);
        assert_eq!(data_file("clicks", &dt, "x.parquet"), "clicks/live/dt=2026-11-20/x.parquet");
        assert_eq!(data_file("clicks", &PartitionPath::default(), "x"), "clicks/live/x");
        let day = quarantine_partition("clicks", "2026-11-21");
        assert_eq!(
            data_file(QUARANTINE_TABLE, &day, "x"),
            "quarantine/live/source_table=clicks/day=2026-11-21/x"
        );
    }

    #[test]
    fn a_list_shows_the_newest_version_first_and_entries_come_back() {
        let chain = ChainKey::of(&shard("s", "0"));
        let mut keys: Vec<_> =
            [1, 9, 10, 99, 1000, 999_999].map(|v| chain.object(LogEntry::Commit(v))).into();
        keys.sort();
        let versions: Vec<_> = keys.iter().map(|k| LogEntry::parse(k)).collect();
        assert_eq!(versions, [999_999, 1000, 99, 10, 9, 1].map(|v| Some(LogEntry::Commit(v))));
        assert_eq!(LogEntry::parse(&chain.object(LogEntry::Checkpoint(64))), Some(LogEntry::Checkpoint(64)));
        for foreign in
            ["segments/000000001024.bin", "1.commit", "99999999999x.commit", "999999999998.json", ""]
        {
            assert_eq!(LogEntry::parse(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn streams_of_one_name_and_unsafe_names_stay_apart() {
        assert_ne!(stream_key("s", "arn 1"), stream_key("s", "arn 2"));
        let names = ["a/b", "a b", "a-b", "", ".", "..", "ü", &"x".repeat(300), &"x".repeat(301)];
        let keys: std::collections::BTreeSet<_> = names.iter().map(|n| safe(n)).collect();
        assert_eq!(keys.len(), names.len());
        assert!(keys.iter().all(|k| k.len() <= MAX_NAME && !k.starts_with('.') && !k.contains('/')));
    }
}
