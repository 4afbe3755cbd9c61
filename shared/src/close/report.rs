//! What a run came to, and why partitions are open.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::Closer;
use super::current::CurrentView;
use super::summary::{PartitionState, Summary, Trouble};
use super::watermark::{HoldingShard, StreamMark};
use super::work::ClosedRevision;
use crate::clock::EpochMicros;
use crate::partition::PartitionPath;
use crate::schema::TableSchema;

/// A run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// When, by the services' clocks.
    pub at_us: EpochMicros,
    /// Streams, and who holds them back.
    pub streams: Vec<StreamMark>,
    /// Revisions that are done now.
    pub closed: Vec<ClosedRevision>,
    /// Current states of tables of changes.
    pub views: Vec<CurrentView>,
    /// Partitions that are not at rest.
    pub open: Vec<OpenPartition>,
    /// Tables that could not be looked at, and why.
    pub tables: BTreeMap<String, String>,
    /// Partitions that failed.
    pub failures: u64,
    /// Superseded files that were deleted.
    pub files_collected: u64,
    /// Commits that were new.
    pub commits_read: u64,
    /// Whether partitions were left to the next run.
    pub out_of_time: bool,
    /// Whether what was learned is stored for the next run.
    pub summary_saved: bool,
    /// Bytes of the summary.
    pub summary_bytes: u64,
}

impl Report {
    /// Shards whose oldest record without a commit is older than any batch takes.
    pub fn stuck(&self) -> impl Iterator<Item = &HoldingShard> {
        self.streams.iter().flat_map(|stream| &stream.holding).filter(|shard| shard.stuck)
    }
}

/// Why a partition is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenPartition {
    /// Table.
    pub table: String,
    /// Partition.
    pub partition: PartitionPath,
    /// Newest revision; 0 if it was never closed.
    pub revision: u32,
    /// Files and rows that no revision holds.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// When its period and lateness are over; none without a time key.
    pub complete_at_us: Option<EpochMicros>,
    /// Why it is open.
    pub reason: Waits,
}

/// What a partition waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Waits {
    /// Its period or its lateness is not over.
    Time,
    /// It is over, and this shard may still hold records of it.
    Shard(HoldingShard),
    /// It is over, and a stream has not said how far it is committed.
    Stream {
        /// Key of the stream.
        stream: String,
        /// Why.
        problem: String,
    },
    /// A step failed, or waits for something.
    Trouble(Trouble),
    /// No partition key is one of time: it is closed by hand.
    Hand,
    /// It is closed by the next run.
    Turn,
}

/// Of the tables that a run looked at.
pub(super) fn open_partitions(
    closer: &Closer,
    tables: &BTreeMap<String, Arc<TableSchema>>,
    summary: &Summary,
    report: &Report,
) -> Vec<OpenPartition> {
    let mut open = Vec::new();
    for (name, table) in tables {
        let watermark = closer.watermark(name, summary, report);
        for (partition, state) in summary.tables.get(name).into_iter().flatten() {
            if state.spans.is_empty() && !state.underway && state.trouble.is_none() {
                continue;
            }
            let ends = closer.complete_at(table, partition);
            let reason = waits(closer, (name, state), ends, watermark, (summary, report));
            open.push(OpenPartition {
                table: name.clone(),
                partition: partition.clone(),
                revision: state.revision,
                files: state.files,
                rows: state.rows,
                complete_at_us: ends,
                reason,
            });
        }
    }
    open
}

fn waits(
    closer: &Closer,
    (table, state): (&str, &PartitionState),
    ends: Option<EpochMicros>,
    watermark: Option<EpochMicros>,
    (summary, report): (&Summary, &Report),
) -> Waits {
    if let Some(trouble) = &state.trouble {
        return Waits::Trouble(trouble.clone());
    }
    let Some(ends) = ends else { return Waits::Hand };
    if state.revision > 0 || watermark.is_some_and(|watermark| ends <= watermark) {
        return Waits::Turn;
    }
    if ends > report.at_us {
        return Waits::Time;
    }
    let feeding = || report.streams.iter().filter(|mark| closer.feeds(mark, table, summary));
    if let Some(mark) = feeding().find(|mark| mark.watermark_us.is_none()) {
        let problem = mark.problem.clone().unwrap_or_default();
        return Waits::Stream { stream: mark.stream.clone(), problem };
    }
    let oldest = feeding().filter_map(|mark| mark.holding.first()).min_by_key(|shard| shard.oldest_us);
    match oldest.filter(|shard| shard.oldest_us <= ends) {
        Some(shard) => Waits::Shard(shard.clone()),
        None => Waits::Time,
    }
}
