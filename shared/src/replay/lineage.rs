//! Commits → which letter files are open, and which letters which commit has resolved. The one place
//! that knows how a letter file becomes a position of a replay's chain.

use std::collections::{BTreeMap, BTreeSet};

use super::letters::{Columns, Letters};
use crate::clock::EpochMicros;
use crate::commit::LakeStore;
use crate::commit::format::{CommitHeader, CommittedFile};
use crate::commit::reader::{chains, read_headers};
use crate::error::{Error, Result};
use crate::naming::{ChainKey, VERSIONS};
use crate::partition::PartitionPath;
use crate::record::{RecordId, SequenceNumber, Shard};

/// Files of one commit that a position can tell apart: 24 bits beside the 40 of a version, one of
/// them for the chain.
const MAX_FILES: usize = 1 << 23;

/// Commits of replays beside whose files is looked for what overtaken replays left.
const NEWEST: usize = 32;

/// A letter file as a commit lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterFileRef {
    /// Chain of the commit: a shard's own, or its replays'.
    pub chain: ChainKey,
    /// Version of the commit.
    pub version: u64,
    /// Which of the commit's files.
    pub index: usize,
    /// What the commit says of it.
    pub file: CommittedFile,
}

impl LetterFileRef {
    /// Its position in the chain of replays: `version · 2^24 + index · 2`, and 1 if the replays'
    /// chain itself made it.
    ///
    /// # Errors
    /// A commit with more files than any program writes.
    pub fn position(&self) -> Result<SequenceNumber> {
        if self.index >= MAX_FILES || self.version >= VERSIONS {
            let problem = format!("version {} lists too many files to replay", self.version);
            return Err(Error::Format { object: self.chain.prefix(), problem, retryable: false });
        }
        let own = u64::from(self.chain.replayed().is_some());
        Ok((self.version << 24 | (self.index as u64) << 1 | own).into())
    }

    /// Key of the object.
    pub fn key(&self) -> String {
        self.file.key()
    }

    /// The table that its letters were meant for.
    pub fn source_table(&self) -> Option<String> {
        self.value("source_table")
    }

    /// The day that its letters arrived.
    pub fn day(&self) -> Option<String> {
        self.value("day")
    }

    fn value(&self, key: &str) -> Option<String> {
        self.file.partition.values().into_iter().find(|(k, _)| k == key)?.1
    }
}

/// The shard under whose name replays of `chain` write files and commits. Its rows carry the names
/// of the record's own shard all the same.
pub(super) fn replay_shard(chain: &ChainKey) -> Result<Shard> {
    let replay = chain.replay();
    let shard = Shard {
        stream: chain.stream.as_str().into(),
        stream_key: replay.stream.as_str().into(),
        shard: replay.shard.as_str().into(),
    };
    match ChainKey::of(&shard) == replay {
        true => Ok(shard),
        false => {
            let problem = "the shard's name is too long to be replayed".to_owned();
            Err(Error::Format { object: chain.prefix(), problem, retryable: false })
        }
    }
}

/// The chains of shards, replays' left out.
pub(super) async fn shard_chains(lake: &LakeStore) -> Result<Vec<ChainKey>> {
    Ok(chains(lake).await?.into_iter().filter(|chain| chain.replayed().is_none()).collect())
}

/// The letter files of a shard that no replay has replaced, oldest first.
///
/// # Errors
/// A bad moment of the store, or a chain with a hole.
pub async fn open_files(lake: &LakeStore, shard: &ChainKey) -> Result<Vec<LetterFileRef>> {
    Ok(Lineage::read(lake, shard).await?.open())
}

/// What the commits of a shard and of its replays say, without the positions.
pub(super) struct Lineage {
    shard: ChainKey,
    own: Vec<CommitHeader>,
    replays: Vec<CommitHeader>,
}

impl Lineage {
    pub(super) async fn read(lake: &LakeStore, shard: &ChainKey) -> Result<Self> {
        let own = read_headers(lake, shard).await?;
        // Afterwards: what it replaces is in the chain above or in itself.
        let replays = read_headers(lake, &shard.replay()).await?;
        Ok(Self { shard: shard.clone(), own, replays })
    }

    /// The letter files that no replay has replaced, oldest first.
    pub(super) fn open(&self) -> Vec<LetterFileRef> {
        let replaced: BTreeSet<&String> = self.replays.iter().flat_map(|h| &h.replaces).collect();
        let mut open = letter_files(&self.shard, &self.own);
        open.extend(letter_files(&self.shard.replay(), &self.replays));
        open.retain(|file| !replaced.contains(&file.key()));
        open
    }

    /// Tables and partitions of the newest commit of a replay.
    pub(super) fn last_partitions(&self) -> impl Iterator<Item = (String, PartitionPath)> {
        let files = self.replays.last().into_iter().flat_map(|header| &header.files);
        files.map(|file| (file.table.clone(), file.partition.clone()))
    }

    /// The newest commits of replays.
    pub(super) fn newest_replays(&self) -> &[CommitHeader] {
        &self.replays[self.replays.len().saturating_sub(NEWEST)..]
    }
}

fn letter_files(chain: &ChainKey, headers: &[CommitHeader]) -> Vec<LetterFileRef> {
    let mut found = Vec::new();
    for (header, version) in headers.iter().zip(1..) {
        let files = header.files.iter().enumerate().filter(|(_, file)| file.quarantine);
        found.extend(files.map(|(index, file)| LetterFileRef {
            chain: chain.clone(),
            version,
            index,
            file: file.clone(),
        }));
    }
    found
}

/// A commit of a replay, and what it resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// The replays' chain.
    pub chain: ChainKey,
    /// Version of the commit.
    pub version: u64,
    /// Arrival of the newest letter in it.
    pub arrived_through: EpochMicros,
    /// The letter files it replaced. Every letter of them is a row or a letter of `files`, and
    /// nothing else is: `rows + letters = Σ rows of replaced`.
    pub replaced: Vec<LetterFileRef>,
    /// Letters that became rows.
    pub rows: u64,
    /// Letters that stay letters.
    pub letters: u64,
    /// Files of rows and of letters. Their `first` is a position of the replays' chain.
    pub files: Vec<CommittedFile>,
}

/// Which letter files of a shard are resolved by which commit, in order of the commits.
///
/// # Errors
/// A bad moment of the store; a commit that replaces what no commit lists.
pub async fn resolutions(lake: &LakeStore, shard: &ChainKey) -> Result<Vec<Resolution>> {
    let Lineage { own, replays, .. } = Lineage::read(lake, shard).await?;
    let chain = shard.replay();
    let files = letter_files(shard, &own).into_iter().chain(letter_files(&chain, &replays));
    let mut known: BTreeMap<String, LetterFileRef> = files.map(|file| (file.key(), file)).collect();
    let mut found = Vec::new();
    for (header, version) in replays.into_iter().zip(1..) {
        let mut replaced = Vec::new();
        for key in &header.replaces {
            // Taken out: a second commit that replaces it finds it no more.
            let Some(file) = known.remove(key) else {
                let problem =
                    format!("version {version} replaces {key}, which no commit lists or one replaced before");
                return Err(Error::Format { object: chain.prefix(), problem, retryable: false });
            };
            replaced.push(file);
        }
        let positions = replaced.iter().map(LetterFileRef::position).collect::<Result<Vec<_>>>()?;
        let ends = (positions.iter().min().copied(), positions.iter().max().copied());
        if (header.positions, header.min, header.max) != (positions.len() as u64, ends.0, ends.1) {
            let problem = format!("version {version} replaces other files than its positions say");
            return Err(Error::Format { object: chain.prefix(), problem, retryable: false });
        }
        found.push(Resolution {
            chain: chain.clone(),
            version,
            arrived_through: header.arrived_through,
            replaced,
            rows: header.rows,
            letters: header.quarantined,
            files: header.files,
        });
    }
    Ok(found)
}

/// What became of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is a row of its table.
    Row,
    /// It is a letter of the commit's own file, with the same reason or another one.
    Letter,
}

/// The letters of a resolution, one by one: which quarantined position became what by this commit.
///
/// # Errors
/// A bad moment of the store, or a file that is gone or damaged.
pub async fn fates(
    lake: &LakeStore,
    resolution: &Resolution,
    each: &mut (dyn FnMut(RecordId, Fate) + Send),
) -> Result<()> {
    let mut kept = BTreeSet::new();
    for file in resolution.files.iter().filter(|file| file.quarantine) {
        let key = file.key();
        for letter in Letters::open(&key, fetch(lake, &key).await?, Columns::Identity)? {
            kept.insert(letter?.id);
        }
    }
    for file in &resolution.replaced {
        let key = file.key();
        for letter in Letters::open(&key, fetch(lake, &key).await?, Columns::Identity)? {
            let id = letter?.id;
            each(id, if kept.contains(&id) { Fate::Letter } else { Fate::Row });
        }
    }
    Ok(())
}

pub(super) async fn fetch(lake: &LakeStore, key: &str) -> Result<bytes::Bytes> {
    let gone = || Error::Format {
        object: key.to_owned(),
        problem: "a commit lists it and it is not there; run `weir verify`".into(),
        retryable: true,
    };
    lake.get(key).await?.ok_or_else(gone)
}
