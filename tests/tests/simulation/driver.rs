//! The ingest attempt of docs/COMMIT_PROTOCOL.md a second time, from the library's public parts,
//! as simply as it can be written, so that one rule at a time can be left out. With every rule kept
//! it must hold what the deployed pipeline holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir::clock::{Clock, EpochMicros};
use weir::commit::format::{Commit, CommitHeader, CommittedFile, FORMAT};
use weir::commit::log::{CommitLog, LakeLog};
use weir::commit::store::Put;
use weir::commit::{BuiltFile, LakeStore, PositionSet};
use weir::event::ParsedEvent;
use weir::naming::{ChainKey, LogEntry, SlotName, stream_key};
use weir::pipeline::{BuildCounts, Delivery, Tables};
use weir::record::{SequenceNumber, Shard};
use weir::schema::TableSchema;
use weir::{Error, Result};

use super::stream::CONSUMER;
use super::world::Broken;

pub(crate) struct Driver {
    lake: LakeStore,
    tables: Vec<Arc<TableSchema>>,
    identity: String,
    broken: Broken,
    shards: BTreeMap<String, Chain>,
}

/// What one process knows of a shard's chain.
struct Chain {
    lake: LakeStore,
    log: LakeLog,
    shard: Shard,
    tables: Tables,
    broken: Broken,
    head: u64,
    looked: bool,
    committed: PositionSet,
    listed: BTreeSet<String>,
    suspects: BTreeSet<String>,
}

impl Driver {
    pub(crate) fn new(
        lake: LakeStore,
        tables: Vec<Arc<TableSchema>>,
        identity: String,
        broken: Broken,
    ) -> Self {
        Self { lake, tables, identity, broken, shards: BTreeMap::new() }
    }

    /// The first record that no commit lists.
    pub(crate) async fn process(
        &mut self,
        event: &ParsedEvent,
        id: &str,
        clock: &dyn Clock,
        build_until: EpochMicros,
    ) -> Result<Option<SequenceNumber>> {
        let Some(origin) = &event.origin else { return Ok(None) };
        if !self.shards.contains_key(&origin.shard) {
            let identity = format!("{}{}\nconsumer {}", origin.stream_arn, self.identity, CONSUMER);
            let shard = Shard {
                stream: origin.stream_name().into(),
                stream_key: stream_key(origin.stream_name(), &identity).into(),
                shard: origin.shard.as_str().into(),
            };
            let chain = Chain {
                lake: self.lake.clone(),
                log: LakeLog::new(self.lake.clone(), ChainKey::of(&shard)),
                tables: Tables::new(&shard, &self.tables)?.shared(),
                shard,
                broken: self.broken,
                head: 0,
                looked: false,
                committed: PositionSet::default(),
                listed: BTreeSet::new(),
                suspects: BTreeSet::new(),
            };
            self.shards.insert(origin.shard.clone(), chain);
        }
        let Some(chain) = self.shards.get_mut(&origin.shard) else { return Ok(None) };
        chain.attempt(event, id, clock, build_until).await
    }
}

impl Chain {
    async fn attempt(
        &mut self,
        event: &ParsedEvent,
        id: &str,
        clock: &dyn Clock,
        build_until: EpochMicros,
    ) -> Result<Option<SequenceNumber>> {
        if !std::mem::replace(&mut self.looked, false) {
            self.walk().await?;
        }
        let positions: PositionSet = event.sequences.iter().copied().collect();
        let mut pending = PositionSet::default();
        let mut todo = self.trim(&positions);
        let mut batch = weir::record::Batch::default();
        batch.bytes.clone_from(&event.batch.bytes);
        batch.documents.clone_from(&event.batch.documents);
        if self.broken == Broken::CutInsideARecord {
            cut_inside(&mut batch);
        }
        while !todo.is_empty() {
            let delivery = Delivery {
                batch: &batch,
                dead: &event.dead_letters,
                positions: &positions,
                now: clock.now(),
            };
            let in_time = || clock.now() < build_until;
            let built = self.tables.build(&delivery, &todo, &in_time, &mut BuildCounts::default())?;
            pending = pending.union(&todo.subtract(&built.covers));
            todo = built.covers;
            if todo.is_empty() {
                break;
            }
            if let Some(files) = self.place(&todo, built.files, id).await?
                && self.append(&todo, &files, id).await?
            {
                break;
            }
            todo = self.trim(&todo);
        }
        self.bury().await;
        self.looked = true;
        Ok(pending.min())
    }

    fn trim(&self, batch: &PositionSet) -> PositionSet {
        match (self.broken, self.committed.max()) {
            (Broken::HighWaterMark, Some(max)) => match batch {
                PositionSet::Exact(numbers) => numbers.iter().copied().filter(|n| *n > max).collect(),
                PositionSet::Ranges(_) => batch.clone(),
            },
            _ => batch.subtract(&self.committed),
        }
    }

    /// Read versions above the head until there is none.
    async fn walk(&mut self) -> Result<()> {
        while let Some(bytes) = self.log.get(LogEntry::Commit(self.head + 1)).await? {
            self.absorb(&bytes)?;
        }
        Ok(())
    }

    fn absorb(&mut self, bytes: &bytes::Bytes) -> Result<CommitHeader> {
        let commit = Commit::decode("a commit", bytes)?;
        self.committed = self.committed.union(&commit.set("a commit")?);
        self.listed.extend(commit.header.files.iter().map(CommittedFile::key));
        self.suspects.extend(commit.header.dead.iter().cloned());
        self.head += 1;
        Ok(commit.header)
    }

    /// Put every file at a name of its slot; nothing if some records are committed by now.
    async fn place(
        &mut self,
        todo: &PositionSet,
        files: Vec<BuiltFile>,
        id: &str,
    ) -> Result<Option<Vec<CommittedFile>>> {
        let mut placed = Vec::new();
        for built in files {
            let mut probe = 0;
            loop {
                let file = self.named(&built, probe);
                self.suspects.insert(file.key());
                if self.lake.put_if_absent(&file.key(), built.bytes.clone()).await? == Put::Created {
                    placed.push(file);
                    break;
                }
                if probe == 0 {
                    self.walk().await?;
                    if self.broken != Broken::NoRecheck && self.trim(todo) != *todo {
                        return Ok(None);
                    }
                }
                probe = match self.broken {
                    // A name that nobody else will ever step on.
                    Broken::RandomSuffix => {
                        id.bytes().fold(probe + 1_000_000, |h, b| (h ^ u32::from(b)) % 97 + h)
                    }
                    _ => probe + 1,
                };
            }
        }
        Ok(Some(placed))
    }

    fn named(&self, built: &BuiltFile, probe: u32) -> CommittedFile {
        CommittedFile {
            table: built.table.clone(),
            partition: built.partition.clone(),
            name: SlotName { first: built.first, probe }.file_name(&self.shard),
            rows: built.rows,
            bytes: built.bytes.len() as u64,
            first: built.first,
            schema_version: built.schema_version.clone(),
            quarantine: built.quarantine,
        }
    }

    /// Put the next version; false if others were faster with some of the records.
    async fn append(&mut self, todo: &PositionSet, files: &[CommittedFile], id: &str) -> Result<bool> {
        loop {
            let header = self.header(todo, files, id);
            let bytes = Commit::encode(&header, todo)?;
            let entry = LogEntry::Commit(self.head + 1);
            if self.log.create(entry, bytes.clone()).await? == Put::Created {
                self.absorb(&bytes)?;
                return Ok(true);
            }
            let there = self.log.get(entry).await?.ok_or_else(|| Error::Internal("a hole".into()))?;
            let theirs = self.absorb(&there)?;
            if theirs.attempt == id && self.broken != Broken::OwnCommitUnknown {
                return Ok(true);
            }
            self.walk().await?;
            if self.broken == Broken::NoRecheck || self.trim(todo) == *todo {
                continue;
            }
            if self.broken == Broken::OwnCommitUnknown {
                // Who lost takes its files away; but it did not lose.
                for file in files {
                    self.lake.delete(&file.key()).await?;
                }
            }
            return Ok(false);
        }
    }

    fn header(&self, set: &PositionSet, files: &[CommittedFile], id: &str) -> CommitHeader {
        let own: BTreeSet<String> = files.iter().map(CommittedFile::key).collect();
        let first = |key: &str| SlotName::parse(&self.shard, key).map(|slot| slot.first.sequence);
        let dead = self.suspects.iter().filter(|key| {
            let certain = |n| set.contains(n) || self.committed.contains(n);
            !own.contains(*key) && !self.listed.contains(*key) && first(key).is_some_and(certain)
        });
        let rows = |quarantine| files.iter().filter(|f| f.quarantine == quarantine).map(|f| f.rows).sum();
        CommitHeader {
            format: FORMAT,
            attempt: id.to_owned(),
            min: set.min(),
            max: set.max(),
            positions: set.count(),
            rows: rows(false),
            quarantined: rows(true),
            files: files.to_vec(),
            dead: if self.broken == Broken::DeadNotListed { Vec::new() } else { dead.cloned().collect() },
            replaces: Vec::new(),
            drops: Vec::new(),
            arrived_through: EpochMicros(0),
            weir: "driver".into(),
        }
    }

    /// The dead-file rule.
    async fn bury(&mut self) {
        let first = |key: &str| SlotName::parse(&self.shard, key).map(|slot| slot.first.sequence);
        let dead: Vec<String> = self
            .suspects
            .iter()
            .filter(|key| {
                !self.listed.contains(*key) && first(key).is_some_and(|n| self.committed.contains(n))
            })
            .cloned()
            .collect();
        for key in dead {
            if self.lake.delete(&key).await.is_ok() {
                self.suspects.remove(&key);
            }
        }
    }
}

/// Drop the last document of a record that has several.
fn cut_inside(batch: &mut weir::record::Batch) {
    if batch.documents.last().is_some_and(|last| last.id.subsequence > 0) {
        batch.documents.pop();
    }
}
