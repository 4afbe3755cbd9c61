//! Counters of one invocation. Names are `noun_unit` in lower case.

use std::collections::BTreeMap;

/// What one batch cost and came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct BatchMetrics {
    /// Stream records delivered.
    pub records_count: u64,
    /// Stream records that an earlier commit lists already.
    pub redelivered_count: u64,
    /// Bytes of their payloads as they stood in the stream.
    pub payload_bytes: u64,
    /// Bytes that came out of gzip and zstd.
    pub inflated_bytes: u64,
    /// Documents unpacked from them.
    pub documents_count: u64,
    /// Control messages, which hold no document and are skipped.
    pub control_messages_count: u64,
    /// Rows committed.
    pub rows_count: u64,
    /// Dead letters by [reason](crate::dead_letter::Reason::as_str).
    pub dead_letters: BTreeMap<&'static str, u64>,
    /// Fields the table does not know, by path.
    pub unknown_fields: BTreeMap<String, u64>,
    /// Data and quarantine files written.
    pub files_count: u64,
    /// Their bytes.
    pub files_bytes: u64,
    /// Partitions that got rows.
    pub partitions_count: u64,
    /// Commits appended to the shard's log.
    pub commits_count: u64,
    /// Partitions that the catalog did not take; `close` repairs them.
    pub unregistered_partitions_count: u64,
    /// Requests to the store.
    pub requests: RequestCounts,
    /// Where the time went.
    pub stages: StageTimes,
}

impl BatchMetrics {
    /// Dead letters of every reason.
    pub fn dead_letters_count(&self) -> u64 {
        self.dead_letters.values().sum()
    }
    /// Fields of every unknown path.
    pub fn unknown_fields_count(&self) -> u64 {
        self.unknown_fields.values().sum()
    }
}

/// Requests by kind, also refused and repeated ones: all are billed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct RequestCounts {
    /// Puts of files and commits.
    pub put_count: u64,
    /// Gets of commits and checkpoints.
    pub get_count: u64,
    /// Lists of the log.
    pub list_count: u64,
    /// Deletes of dead files.
    pub delete_count: u64,
}

impl RequestCounts {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.put_count + self.get_count + self.list_count + self.delete_count
    }
}

/// Wall time of the stages, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct StageTimes {
    /// Event text to documents.
    pub unpack_us: u64,
    /// Documents to columns to the bytes of Parquet files.
    pub build_us: u64,
    /// Redelivery check, putting files, commit.
    pub commit_us: u64,
}
