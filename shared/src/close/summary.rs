//! What close knows of the whole lake, so that a run reads only what is new: how far each chain is
//! read, and per partition where the rows are that no revision holds yet. A cache: put-if-absent
//! under ascending numbers, each made from the one before, rebuilt from commits if there is none.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::objects::Vector;
use crate::clock::EpochMicros;
use crate::commit::LakeStore;
use crate::commit::format::{CommittedFile, number_text, unreadable};
use crate::commit::store::Put;
use crate::error::{Error, Result};
use crate::naming::{ChainKey, QUARANTINE_TABLE, closed};
use crate::partition::PartitionPath;
use crate::record::SequenceNumber;

const FORMAT: u32 = 1;
/// Summaries that are kept, for runs that read while newer ones are put.
const KEPT: u64 = 4;
const LEVEL: i32 = 1;

/// How far a chain is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ChainState {
    pub(super) stream: String,
    pub(super) shard: String,
    /// Versions up to this one are in the summary.
    pub(super) version: u64,
    /// Largest position of these.
    #[serde(with = "number_text")]
    pub(super) max: Option<SequenceNumber>,
}

impl ChainState {
    pub(super) fn key(&self) -> ChainKey {
        ChainKey { stream: self.stream.clone(), shard: self.shard.clone() }
    }
}

/// A stream, or a loaded file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct StreamState {
    /// Its positions are bytes: a loaded file, which no partition waits for.
    pub(super) file: bool,
    /// Tables with rows of it.
    pub(super) tables: BTreeSet<String>,
    /// Ids of shards that are read to their end.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) ended: BTreeSet<String>,
}

/// Versions of a chain, the first and the last of which hold files of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Span(pub(super) u32, pub(super) u64, pub(super) u64);

/// Why a partition is not further, and when it is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What went wrong.
    pub reason: String,
    /// Tries in a row.
    pub tries: u32,
    /// When it was first met.
    pub since: EpochMicros,
    /// It is left alone until then.
    pub until: EpochMicros,
}

/// A partition that is not at rest.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct PartitionState {
    /// Sorted by chain.
    pub(super) spans: Vec<Span>,
    /// Files and rows in them.
    pub(super) files: u64,
    pub(super) rows: u64,
    /// Newest revision that is known to be done.
    pub(super) revision: u32,
    /// When it was; none once what it superseded is deleted.
    pub(super) done_at: Option<EpochMicros>,
    /// Its directory, which the catalog has to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) directory: Option<String>,
    /// A revision is planned and not done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) underway: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trouble: Option<Trouble>,
}

impl PartitionState {
    /// Nothing to do or to watch: it can be forgotten.
    pub(super) fn at_rest(&self) -> bool {
        self.spans.is_empty() && self.done_at.is_none() && !self.underway && self.trouble.is_none()
    }

    /// Whether a version of a chain may hold files of it.
    pub(super) fn may_hold(&self, chain: u32, version: u64) -> bool {
        let span = self.spans.binary_search_by_key(&chain, |span| span.0).map(|at| self.spans[at]);
        span.is_ok_and(|span| (span.1..=span.2).contains(&version))
    }

    /// What the vector covers is closed.
    pub(super) fn cover(&mut self, chains: &[ChainState], vector: &Vector) {
        self.spans.retain_mut(|span| {
            let covered = chains.get(span.0 as usize).map_or(0, |chain| vector.of(&chain.key()));
            span.1 = span.1.max(covered + 1);
            span.1 <= span.2
        });
        if self.spans.is_empty() {
            (self.files, self.rows) = (0, 0);
        }
    }
}

/// A table's current state with files to delete, or that is not as far as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ViewState {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trouble: Option<Trouble>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Summary {
    format: u32,
    pub(super) chains: Vec<ChainState>,
    pub(super) streams: BTreeMap<String, StreamState>,
    pub(super) tables: BTreeMap<String, BTreeMap<PartitionPath, PartitionState>>,
    /// By table of changes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) views: BTreeMap<String, ViewState>,
    #[serde(skip)]
    index: HashMap<ChainKey, u32>,
    #[serde(skip)]
    number: u64,
    /// As it is stored.
    #[serde(skip)]
    packed: Bytes,
}

impl Summary {
    /// The newest one; none if there is none, or none that this program can read.
    pub(super) async fn newest(lake: &LakeStore) -> Result<Option<Self>> {
        let keys = lake.list_after(closed::SUMMARIES, None, KEPT as usize).await?;
        for key in keys {
            let Some(number) = closed::parse_summary(&key) else { continue };
            // It may have been deleted since, for a newer one.
            let Some(bytes) = lake.get(&key).await? else { continue };
            if let Ok(mut summary) = Self::decode(&key, &bytes) {
                summary.number = number;
                return Ok(Some(summary));
            }
        }
        Ok(None)
    }

    /// Put it as the next one, unless another run was faster or nothing is new. Whether it is the
    /// newest now.
    pub(super) async fn save(&mut self, lake: &LakeStore) -> Result<bool> {
        self.drop_what_rests();
        let packed = self.encode()?;
        if self.number > 0 && packed == self.packed {
            return Ok(true);
        }
        let newest = lake.list_after(closed::SUMMARIES, None, 1).await?;
        let newest = newest.first().and_then(|key| closed::parse_summary(key)).unwrap_or(0);
        if newest > self.number && self.number > 0 {
            return Ok(false);
        }
        let number = newest.max(self.number) + 1;
        let put = lake.put_if_absent(&closed::summary(number), packed.clone()).await?;
        if put == Put::Exists {
            return Ok(false);
        }
        (self.number, self.packed) = (number, packed);
        for old in number.saturating_sub(2 * KEPT)..number.saturating_sub(KEPT) {
            if old > 0 {
                lake.delete(&closed::summary(old)).await?;
            }
        }
        Ok(true)
    }

    /// Bytes of the newest one that was read or put.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.packed.len() as u64
    }

    /// The chain's place; it is added if it is new.
    pub(super) fn chain(&mut self, key: &ChainKey) -> u32 {
        if let Some(&at) = self.index.get(key) {
            return at;
        }
        let at = self.chains.len() as u32;
        let (stream, shard) = (key.stream.clone(), key.shard.clone());
        self.chains.push(ChainState { stream, shard, version: 0, max: None });
        self.index.insert(key.clone(), at);
        at
    }

    /// The chain as it is known.
    pub(super) fn find(&self, key: &ChainKey) -> Option<&ChainState> {
        self.index.get(key).and_then(|&at| self.chains.get(at as usize))
    }

    /// A file of a version that was not known before. Whether the partition is new here.
    pub(super) fn add(&mut self, chain: u32, version: u64, file: &CommittedFile) -> bool {
        if file.quarantine || file.table == QUARANTINE_TABLE {
            return false;
        }
        if let Some(stream) = self.chains.get(chain as usize).map(|c| c.stream.clone()) {
            let stream = self.streams.entry(stream).or_default();
            if !stream.tables.contains(&file.table) {
                stream.tables.insert(file.table.clone());
            }
        }
        let table = match self.tables.get_mut(&file.table) {
            Some(table) => table,
            None => self.tables.entry(file.table.clone()).or_default(),
        };
        let new = !table.contains_key(&file.partition);
        let partition = table.entry(file.partition.clone()).or_default();
        partition.files += 1;
        partition.rows += file.rows;
        match partition.spans.binary_search_by_key(&chain, |span| span.0) {
            Ok(at) => partition.spans[at].2 = version,
            Err(at) => partition.spans.insert(at, Span(chain, version, version)),
        }
        new
    }

    fn drop_what_rests(&mut self) {
        for partitions in self.tables.values_mut() {
            partitions.retain(|_, partition| !partition.at_rest());
        }
        self.tables.retain(|_, partitions| !partitions.is_empty());
    }

    fn encode(&mut self) -> Result<Bytes> {
        let broken = |e: std::io::Error| Error::Internal(format!("cannot encode a summary: {e}"));
        self.format = FORMAT;
        let mut packed = zstd::Encoder::new(Vec::new(), LEVEL).map_err(broken)?;
        serde_json::to_writer(&mut packed, self).map_err(|e| broken(e.into()))?;
        Ok(packed.finish().map_err(broken)?.into())
    }

    fn decode(key: &str, bytes: &Bytes) -> Result<Self> {
        let text = zstd::Decoder::new(bytes.as_ref()).map_err(|e| unreadable(key, e))?;
        let mut summary: Self = serde_json::from_reader(std::io::BufReader::with_capacity(1 << 16, text))
            .map_err(|e| unreadable(key, e))?;
        if summary.format != FORMAT {
            return Err(unreadable(key, format!("format {}, this program knows {FORMAT}", summary.format)));
        }
        summary.index = summary.chains.iter().zip(0..).map(|(chain, at)| (chain.key(), at)).collect();
        summary.packed = bytes.clone();
        Ok(summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RecordId;

    fn file(partition: &str) -> CommittedFile {
        CommittedFile {
            table: "t".into(),
            partition: PartitionPath::parse(partition).unwrap(),
            name: "x".into(),
            rows: 3,
            bytes: 9,
            first: RecordId { sequence: 1.into(), subsequence: 0 },
            schema_version: "1".into(),
            quarantine: false,
        }
    }

    #[tokio::test]
    async fn a_summary_comes_back_and_the_faster_of_two_runs_wins() {
        let lake = LakeStore::open("memory:///", &[]).unwrap();
        assert_eq!(Summary::newest(&lake).await.unwrap(), None);
        let mut first = Summary::default();
        let chain = first.chain(&ChainKey { stream: "s".into(), shard: "0".into() });
        for version in [1, 2, 5] {
            first.add(chain, version, &file("dt=1"));
        }
        first.chains[0].version = 5;
        assert!(first.save(&lake).await.unwrap());
        let (mut a, mut b) =
            (Summary::newest(&lake).await.unwrap().unwrap(), Summary::newest(&lake).await.unwrap().unwrap());
        assert_eq!(a.tables["t"][&PartitionPath::parse("dt=1").unwrap()].spans, [Span(0, 1, 5)]);
        assert!(a.save(&lake).await.unwrap(), "nothing new");
        assert_eq!(lake.requests().puts, 1);
        a.add(chain, 6, &file("dt=2"));
        b.add(chain, 6, &file("dt=3"));
        assert!(a.save(&lake).await.unwrap());
        assert!(!b.save(&lake).await.unwrap());
        let newest = Summary::newest(&lake).await.unwrap().unwrap();
        assert!(newest.tables["t"].contains_key(&PartitionPath::parse("dt=2").unwrap()));
        for version in 7..40 {
            a.add(chain, version, &file("dt=2"));
            assert!(a.save(&lake).await.unwrap());
        }
        assert!(lake.list(closed::SUMMARIES).await.unwrap().len() <= 2 * KEPT as usize);
    }

    #[test]
    fn what_a_revision_covers_is_taken_out_of_the_spans() {
        let mut summary = Summary::default();
        let key = ChainKey { stream: "s".into(), shard: "0".into() };
        let chain = summary.chain(&key);
        (3..9).for_each(|version| _ = summary.add(chain, version, &file("dt=1")));
        let mut vector = Vector::default();
        let state = |vector: &Vector, summary: &Summary| {
            let mut state = summary.tables["t"][&PartitionPath::parse("dt=1").unwrap()].clone();
            state.cover(&summary.chains, vector);
            state.spans
        };
        vector.cover(&key, 2);
        assert_eq!(state(&vector, &summary), [Span(0, 3, 8)]);
        vector.cover(&key, 5);
        assert_eq!(state(&vector, &summary), [Span(0, 6, 8)]);
        vector.cover(&key, 8);
        assert_eq!(state(&vector, &summary), []);
    }
}
