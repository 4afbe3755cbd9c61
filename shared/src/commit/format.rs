//! One commit as bytes: a line of JSON, then the exact set (see [`super::encoding`]). The set is
//! last, so that a reader of file lists can stop before it. Reading is strict: a format that this
//! program does not know is an error that a newer program can cure, never a skip.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::encoding::{KIND_RANGES, decode_set, encode_set};
use super::positions::PositionSet;
use crate::clock::EpochMicros;
use crate::error::{Error, Result};
use crate::naming;
use crate::partition::PartitionPath;
use crate::record::{RecordId, SequenceNumber};

/// The format this program writes, and the newest it reads.
pub const FORMAT: u32 = 1;

/// A sequence number as text in JSON: 56 digits are no JSON number.
pub(crate) mod number_text {
    use super::SequenceNumber;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(n: &Option<SequenceNumber>, s: S) -> Result<S::Ok, S::Error> {
        match n {
            Some(n) => s.collect_str(n),
            None => s.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<SequenceNumber>, D::Error> {
        let text = Option::<String>::deserialize(d)?;
        text.map(|t| t.parse().map_err(serde::de::Error::custom)).transpose()
    }
}

/// A record's position as `sequence` or `sequence.subsequence`.
mod record_text {
    use super::RecordId;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(id: &RecordId, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{}.{}", id.sequence, id.subsequence))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<RecordId, D::Error> {
        let text = String::deserialize(d)?;
        let (sequence, sub) = text.split_once('.').unwrap_or((&text, "0"));
        let sequence = sequence.parse().map_err(serde::de::Error::custom)?;
        let subsequence = sub.parse().map_err(serde::de::Error::custom)?;
        Ok(RecordId { sequence, subsequence })
    }
}

/// A data file that a commit lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommittedFile {
    /// Table whose folder it is in; [`naming::QUARANTINE_TABLE`] for dead letters.
    pub table: String,
    /// Partition.
    pub partition: PartitionPath,
    /// File name.
    pub name: String,
    /// Rows.
    pub rows: u64,
    /// Length.
    pub bytes: u64,
    /// First record: the file's slot.
    #[serde(with = "record_text")]
    pub first: RecordId,
    /// Version of the table's schema that its rows conform to.
    pub schema_version: String,
    /// Whether it holds dead letters.
    pub quarantine: bool,
}

impl CommittedFile {
    /// Key of the object.
    pub fn key(&self) -> String {
        naming::data_file(&self.table, &self.partition, &self.name)
    }
}

/// Everything of a commit but the set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitHeader {
    /// [`FORMAT`].
    pub format: u32,
    /// The attempt that made it: unique, so that a lost answer is recognised.
    pub attempt: String,
    /// Smallest position; none if the commit lists no record.
    #[serde(with = "number_text")]
    pub min: Option<SequenceNumber>,
    /// Largest position.
    #[serde(with = "number_text")]
    pub max: Option<SequenceNumber>,
    /// Stream records (bytes of a file) that it lists.
    pub positions: u64,
    /// Rows of tables.
    pub rows: u64,
    /// Dead letters.
    pub quarantined: u64,
    /// Data and quarantine files.
    pub files: Vec<CommittedFile>,
    /// Keys of files that this commit makes dead: their first record is listed here or before, and
    /// they are not.
    pub dead: Vec<String>,
    /// Keys that no later commit may list (repair).
    pub drops: Vec<String>,
    /// Keys of listed quarantine files whose letters this commit has judged again: each became a row
    /// or a letter of this commit's files, and the old file is listed no more (replay). A program
    /// that does not know the field refuses the commit, and so counts no record twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<String>,
    /// Arrival time of the newest record that the delivery held.
    pub arrived_through: EpochMicros,
    /// Version of the program.
    pub weir: String,
}

/// A commit as it stands in the log; the set is decoded when asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Everything but the set.
    pub header: CommitHeader,
    set: Bytes,
}

impl Commit {
    /// The bytes of a commit object.
    pub fn encode(header: &CommitHeader, set: &PositionSet) -> Result<Bytes> {
        let broken =
            |problem: &dyn std::fmt::Display| Error::Internal(format!("cannot encode a commit: {problem}"));
        let mut bytes = serde_json::to_vec(header).map_err(|e| broken(&e))?;
        bytes.push(b'\n');
        bytes.extend(encode_set(set).map_err(|e| broken(&e))?);
        Ok(bytes.into())
    }

    /// Read a commit object; `key` is for the error's text.
    pub fn decode(key: &str, bytes: &Bytes) -> Result<Self> {
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        let end = memchr::memchr(b'\n', bytes).ok_or_else(|| unreadable(key, "no line of JSON"))?;
        let line = &bytes[..end];
        let versioned: Versioned = serde_json::from_slice(line).map_err(|e| unreadable(key, e))?;
        if versioned.format != FORMAT {
            let (found, known) = (versioned.format, FORMAT);
            return Err(unreadable(
                key,
                format!("format {found}, this program knows {known}; deploy a newer one"),
            ));
        }
        let header = serde_json::from_slice(line).map_err(|e| unreadable(key, e))?;
        Ok(Self { header, set: bytes.slice(end + 1..) })
    }

    /// Whether it lists ranges of a file's bytes, and not records of a stream.
    pub fn is_of_file(&self) -> bool {
        self.set.first() == Some(&KIND_RANGES)
    }

    /// The exact set.
    pub fn set(&self, key: &str) -> Result<PositionSet> {
        let set = decode_set(&self.set).map_err(|problem| unreadable(key, problem))?;
        if (set.min(), set.max()) != (self.header.min, self.header.max) {
            return Err(unreadable(key, "the set does not span what the header says"));
        }
        Ok(set)
    }
}

/// Bytes of the log that this program cannot read: a later moment or a newer program may.
pub(crate) fn unreadable(key: &str, problem: impl std::fmt::Display) -> Error {
    Error::Format { object: key.to_owned(), problem: problem.to_string(), retryable: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> (CommitHeader, PositionSet) {
        let set: PositionSet = [
            "7".parse().unwrap(),
            "49635052289529725553291405520881064510298312199003701250".parse().unwrap(),
        ]
        .into_iter()
        .collect();
        let file = CommittedFile {
            table: "clicks".into(),
            partition: PartitionPath::from_values([("dt", Some("2026-11-20"))]),
            name: "ab-s-0-7.3.parquet".into(),
            rows: 2,
            bytes: 10,
            first: RecordId { sequence: 7.into(), subsequence: 3 },
            schema_version: "1f".into(),
            quarantine: false,
        };
        let header = CommitHeader {
            format: FORMAT,
            attempt: "a".into(),
            min: set.min(),
            max: set.max(),
            positions: 2,
            rows: 2,
            quarantined: 0,
            files: vec![file],
            dead: vec!["x".into()],
            drops: vec![],
            replaces: vec![],
            arrived_through: EpochMicros(5),
            weir: "0.1.0".into(),
        };
        (header, set)
    }

    #[test]
    fn commits_come_back() {
        let (header, set) = example();
        let bytes = Commit::encode(&header, &set).unwrap();
        let commit = Commit::decode("k", &bytes).unwrap();
        assert_eq!(commit.header, header);
        assert_eq!(commit.set("k").unwrap(), set);
        assert_eq!(header.files[0].key(), "clicks/live/dt=2026-11-20/ab-s-0-7.3.parquet");
    }

    #[test]
    fn what_a_replay_replaces_comes_back_and_other_commits_do_not_mention_it() {
        let (mut header, set) = example();
        assert!(!serde_json::to_string(&header).unwrap().contains("replaces"));
        header.replaces = vec!["quarantine/live/source_table=t/day=2026-11-20/x.parquet".into()];
        let commit = Commit::decode("k", &Commit::encode(&header, &set).unwrap()).unwrap();
        assert_eq!(commit.header, header);
    }

    #[test]
    fn what_is_not_understood_is_a_retryable_error() {
        let (header, set) = example();
        let text = |h: &CommitHeader| String::from_utf8_lossy(&serde_json::to_vec(h).unwrap()).into_owned();
        let cases = [
            text(&header).replace("\"format\":1", "\"format\":2") + "\n",
            text(&header).replace("\"attempt\"", "\"surprise\":1,\"attempt\"") + "\n",
            text(&header),
            "{}\n".to_owned(),
            "\n".to_owned(),
            String::new(),
        ];
        for case in cases {
            let error = Commit::decode("k", &Bytes::from(case.clone())).unwrap_err();
            assert!(error.retryable(), "{case}: {error}");
        }
        let other = PositionSet::from_ranges(std::iter::once(1..5));
        let commit = Commit::decode("k", &Commit::encode(&header, &other).unwrap()).unwrap();
        assert!(commit.set("k").unwrap_err().retryable());
        assert_ne!(set, other);
    }
}
