//! One delivery of a shard's records into the lake: files at slot names, then one version of the
//! chain. Holds C1 to C3 and C5 whatever is redelivered, in whatever pieces, by whomever.
//!
//! It never overwrites, never adopts a file that stands in its way, and never deletes a file on an
//! error: only one that a commit of the same shard proves dead.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::format::{Commit, CommitHeader, CommittedFile, FORMAT};
use super::known::{Folding, Known, hole};
use super::left::bury_left;
use super::log::{CommitLog, LakeLog};
use super::positions::PositionSet;
use super::store::{LakeStore, Put};
use crate::clock::EpochMicros;
use crate::error::{Error, Result};
use crate::naming::{self, ChainKey, LogEntry, SlotName};
use crate::partition::PartitionPath;
use crate::record::{RecordId, SequenceNumber, Shard};

/// Requests under way at once.
const PARALLEL: usize = 16;
/// Crashes in a row on one slot that are survived before an operator has to look.
const MAX_PROBES: u32 = 10_000;
/// Suspects remembered; beyond that they are left to close and repair.
const MAX_SUSPECTS: usize = 4_096;

/// What was built from the records still to commit.
#[derive(Debug, Clone, Default)]
pub struct Built {
    /// Data and quarantine files; none if all records were skipped.
    pub files: Vec<BuiltFile>,
    /// The records they stand for: those asked for, or (short of time) a prefix of them, cut
    /// between whole stream records.
    pub covers: PositionSet,
}

/// A file in memory.
#[derive(Debug, Clone)]
pub struct BuiltFile {
    /// Table whose folder it goes to; [`naming::QUARANTINE_TABLE`] for dead letters.
    pub table: String,
    /// Partition.
    pub partition: PartitionPath,
    /// Whether it holds dead letters.
    pub quarantine: bool,
    /// First record: its slot. One file a table, partition and first record.
    pub first: RecordId,
    /// Content.
    pub bytes: Bytes,
    /// Rows.
    pub rows: u64,
    /// Version of the schema that its rows conform to.
    pub schema_version: String,
}

/// Makes files of the records it is given; called again when some of them turn out to be committed.
pub type Build<'a> = dyn FnMut(&PositionSet) -> Result<Built> + Send + 'a;

/// What became of a batch.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// This attempt made a version.
    Committed {
        /// The version.
        version: u64,
        /// What it lists.
        covers: PositionSet,
        /// Its files; their tables and partitions are to be registered with the catalog.
        files: Vec<CommittedFile>,
        /// Records of the batch that no commit lists: to be reported as failed.
        pending: PositionSet,
    },
    /// Other versions list every record, but for those that `build` left out.
    AlreadyCommitted {
        /// Records of the batch that no commit lists: to be reported as failed.
        pending: PositionSet,
    },
}

impl Outcome {
    /// The first record of the batch that no commit lists (C1): everything before is done.
    pub fn first_pending(&self) -> Option<SequenceNumber> {
        match self {
            Outcome::Committed { pending, .. } | Outcome::AlreadyCommitted { pending } => pending.min(),
        }
    }

    /// Tables and partitions that this attempt added files to, each once.
    pub fn partitions(&self) -> BTreeSet<(&str, &PartitionPath)> {
        match self {
            Outcome::Committed { files, .. } => {
                files.iter().map(|f| (f.table.as_str(), &f.partition)).collect()
            }
            Outcome::AlreadyCommitted { .. } => BTreeSet::new(),
        }
    }
}

/// Writes the chain of one shard. Any number of them, in any number of processes, may write the
/// same chain; each keeps what it knows from batch to batch.
pub struct ShardWriter {
    lake: LakeStore,
    log: LakeLog,
    shard: Shard,
    known: Known,
    /// The last batch met a conflict or failed: look before putting.
    in_doubt: bool,
    /// Quarantine files by their positions in this chain (replay).
    replaced: BTreeMap<SequenceNumber, String>,
    /// Whether close is told where to look.
    announced: bool,
}

impl ShardWriter {
    /// Cold: the first commit looks at the log.
    pub fn new(lake: LakeStore, shard: Shard) -> Self {
        Self::with_folding(lake, shard, Folding::default())
    }

    /// Cold, with other bounds of what is folded and remembered.
    pub fn with_folding(lake: LakeStore, shard: Shard, folding: Folding) -> Self {
        let log = LakeLog::new(lake.clone(), ChainKey::of(&shard));
        let (known, replaced) = (Known::new(folding), BTreeMap::new());
        Self { lake, log, shard, known, in_doubt: false, replaced, announced: false }
    }

    /// The positions of the next batches stand for these quarantine files: a commit that lists a
    /// position replaces its file.
    pub fn replace(&mut self, files: BTreeMap<SequenceNumber, String>) {
        self.replaced = files;
    }

    /// Before each version a marker of it is put, at the price of one put more: close looks at the
    /// chains of open shards by itself, at others (loaded files, replays) only where it finds one.
    pub fn announced(mut self) -> Self {
        self.announced = true;
        self
    }

    /// The newest version it knows of; none before the first look.
    pub fn head(&self) -> Option<u64> {
        self.known.head()
    }

    /// The shard.
    pub fn shard(&self) -> &Shard {
        &self.shard
    }

    /// Commit what of `batch` no commit lists. `attempt_id` is unique to this call; `build` makes
    /// the files of the records still to commit. After an error nothing is known of the batch, and
    /// the same writer can be used again.
    pub async fn commit(
        &mut self,
        batch: &PositionSet,
        arrived_through: EpochMicros,
        attempt_id: &str,
        build: &mut Build<'_>,
    ) -> Result<Outcome> {
        // Set until the end, so that an error, and a future dropped half-way, leave it set.
        let in_doubt = std::mem::replace(&mut self.in_doubt, true);
        let head = self.known.head();
        self.known.refresh(&self.log, in_doubt).await?;
        // Somebody else is at work on this chain: a look is cheaper than a put that is refused.
        let others = head.is_some() && self.known.head() != head;
        let mut todo = self.known.trim(&self.log, batch).await?;
        let mut attempt = Attempt { id: attempt_id, arrived_through, placed: Vec::new(), conflict: others };
        let mut pending = PositionSet::default();
        let mut committed = None;
        while !todo.is_empty() && committed.is_none() {
            let built = build(&todo)?;
            check(&built, &todo)?;
            pending = pending.union(&todo.subtract(&built.covers));
            todo = built.covers;
            if todo.is_empty() {
                break;
            }
            committed = match self.place(&todo, built.files, &mut attempt).await? {
                Step::Done => self.append(&todo, &mut attempt).await?,
                Step::Overtaken => None,
            };
            if committed.is_none() {
                todo = self.known.trim(&self.log, &todo).await?;
            }
        }
        if todo.count() + pending.count() < batch.count() {
            // A redelivery: whoever had these records may have died.
            let done = batch.subtract(&todo).subtract(&pending);
            bury_left(&self.lake, &self.shard, &self.known.commits_of(&done)).await;
        }
        self.bury().await;
        self.in_doubt = attempt.conflict;
        let Some(version) = committed else { return Ok(Outcome::AlreadyCommitted { pending }) };
        // A checkpoint is only a cache, and the next one is due soon.
        let _ = self.known.fold(&self.log).await;
        let files = attempt.placed.into_iter().map(|p| p.file).collect();
        Ok(Outcome::Committed { version, covers: todo, files, pending })
    }

    /// Put every file at a name of its slot. What an earlier round of this attempt put stays if it
    /// is the same.
    async fn place(
        &mut self,
        todo: &PositionSet,
        files: Vec<BuiltFile>,
        attempt: &mut Attempt<'_>,
    ) -> Result<Step> {
        let earlier = std::mem::take(&mut attempt.placed);
        let mut waiting = Vec::new();
        for file in files {
            match earlier.iter().find(|p| p.holds(&file) && !self.known.drops.contains(&p.file.key())) {
                Some(p) => attempt.placed.push(p.clone()),
                None => waiting.push(self.name(file, 0)),
            }
        }
        let refused = self.put_all(waiting, &mut attempt.placed).await?;
        if refused.is_empty() {
            return Ok(Step::Done);
        }
        // Somebody was here before: has he committed, or did he crash?
        attempt.conflict = true;
        self.known.walk(&self.log).await?;
        if self.known.trim(&self.log, todo).await? != *todo {
            return Ok(Step::Overtaken);
        }
        let mut refused = refused;
        while !refused.is_empty() {
            let next: Result<Vec<_>> = refused.into_iter().map(|p| self.probe(p)).collect();
            refused = self.put_all(next?, &mut attempt.placed).await?;
        }
        Ok(Step::Done)
    }

    /// Put files in parallel; those whose name is taken come back.
    async fn put_all(&mut self, files: Vec<Placed>, placed: &mut Vec<Placed>) -> Result<Vec<Placed>> {
        // Before the put: a put without an answer may have landed, or may land later.
        self.known.suspects.extend(files.iter().map(|p| p.file.key()));
        let puts = files.into_iter().map(|p| {
            let lake = self.lake.clone();
            async move { Ok::<_, Error>((lake.put_if_absent(&p.file.key(), p.bytes.clone()).await?, p)) }
        });
        let answers: Vec<_> = stream::iter(puts).buffer_unordered(PARALLEL).try_collect().await?;
        let mut refused = Vec::new();
        for (answer, file) in answers {
            match answer {
                Put::Created => placed.push(file),
                Put::Exists => refused.push(file),
            }
        }
        Ok(refused)
    }

    /// Put the next version. None if others were faster with some of the records, or a repair
    /// dropped a name: trim, and build again.
    async fn append(&mut self, todo: &PositionSet, attempt: &mut Attempt<'_>) -> Result<Option<u64>> {
        loop {
            if attempt.placed.iter().any(|p| self.known.drops.contains(&p.file.key())) {
                attempt.conflict = true;
                return Ok(None);
            }
            let bytes = Commit::encode(&self.header(todo, attempt), todo)?;
            let version = self.known.head().unwrap_or(0) + 1;
            let entry = LogEntry::Commit(version);
            if self.announced {
                let marker = naming::closed::touched(&ChainKey::of(&self.shard), version);
                // Before the version: a crash between the two leaves a marker too many, not one too few.
                let _ = self.lake.put_if_absent(&marker, Bytes::from_static(b"\n")).await?;
            }
            if self.log.create(entry, bytes.clone()).await? == Put::Created {
                self.known.absorb(&self.log, version, &bytes)?;
                return Ok(Some(version));
            }
            let there = self.log.get(entry).await?.ok_or_else(|| hole(&self.log, version))?;
            self.known.absorb(&self.log, version, &there)?;
            if there == bytes {
                // With the attempt's id in it: our own put, whose answer was lost.
                return Ok(Some(version));
            }
            attempt.conflict = true;
            self.known.walk(&self.log).await?;
            if self.known.trim(&self.log, todo).await? != *todo {
                return Ok(None);
            }
        }
    }

    fn header(&self, set: &PositionSet, attempt: &Attempt<'_>) -> CommitHeader {
        let files: Vec<_> = attempt.placed.iter().map(|p| p.file.clone()).collect();
        let listed: BTreeSet<_> = files.iter().map(CommittedFile::key).collect();
        let unlisted = self.known.suspects.iter().filter(|key| !listed.contains(*key));
        let dead = unlisted.filter(|key| {
            let first = SlotName::parse(&self.shard, key).map(|slot| slot.first.sequence);
            first.is_some_and(|first| set.contains(first)) || self.is_dead(key)
        });
        let replaces = self.replaced.iter().filter(|(position, _)| set.contains(**position));
        let rows = |quarantine| files.iter().filter(|f| f.quarantine == quarantine).map(|f| f.rows).sum();
        CommitHeader {
            format: FORMAT,
            attempt: attempt.id.to_owned(),
            min: set.min(),
            max: set.max(),
            positions: set.count(),
            rows: rows(false),
            quarantined: rows(true),
            dead: dead.cloned().collect(),
            drops: Vec::new(),
            replaces: replaces.map(|(_, key)| key.clone()).collect(),
            arrived_through: attempt.arrived_through,
            weir: env!("CARGO_PKG_VERSION").to_owned(),
            files,
        }
    }

    /// The dead-file rule: some commit lists the file's first record and does not list the file. By
    /// C2 no later commit can, so the fact is permanent and a delete is harmless however late.
    fn is_dead(&self, key: &str) -> bool {
        let Some(slot) = SlotName::parse(&self.shard, key) else { return false };
        let commit = self.known.commit_of(slot.first.sequence);
        commit.is_some_and(|commit| commit.header.files.iter().all(|file| file.key() != key))
    }

    /// Delete what is dead for certain. A failure leaves the file to a later attempt.
    async fn bury(&mut self) {
        let called = self.known.dead.iter().filter(|key| !self.known.lists(key));
        let mut dead: BTreeSet<String> = called.cloned().collect();
        dead.extend(self.known.suspects.iter().filter(|key| self.is_dead(key)).cloned());
        let deletes = dead.into_iter().map(|key| {
            let lake = self.lake.clone();
            async move { lake.delete(&key).await.is_ok().then_some(key) }
        });
        let gone: Vec<_> = stream::iter(deletes).buffer_unordered(PARALLEL).collect().await;
        for key in gone.into_iter().flatten() {
            self.known.suspects.remove(&key);
            self.known.dead.remove(&key);
        }
        if self.known.suspects.len() > MAX_SUSPECTS {
            self.known.suspects.clear();
        }
    }

    /// A file at the given probe of its slot, or the first one above that no repair has dropped.
    fn name(&self, built: BuiltFile, probe: u32) -> Placed {
        let file = CommittedFile {
            table: built.table,
            partition: built.partition,
            name: SlotName { first: built.first, probe }.file_name(&self.shard),
            rows: built.rows,
            bytes: built.bytes.len() as u64,
            first: built.first,
            schema_version: built.schema_version,
            quarantine: built.quarantine,
        };
        let mut placed = Placed { file, probe, bytes: built.bytes };
        while self.known.drops.contains(&placed.file.key()) {
            placed.at(&self.shard, placed.probe + 1);
        }
        placed
    }

    fn probe(&self, mut placed: Placed) -> Result<Placed> {
        loop {
            placed.at(&self.shard, placed.probe + 1);
            if placed.probe > MAX_PROBES {
                let problem = format!("{MAX_PROBES} files stand in its way; run `weir verify --repair`");
                return Err(Error::Format { object: placed.file.key(), problem, retryable: true });
            }
            if !self.known.drops.contains(&placed.file.key()) {
                return Ok(placed);
            }
        }
    }
}

/// What one call of [`ShardWriter::commit`] carries from round to round.
struct Attempt<'a> {
    id: &'a str,
    arrived_through: EpochMicros,
    placed: Vec<Placed>,
    conflict: bool,
}

/// Whether files could be placed.
enum Step {
    Done,
    /// Some of the records are committed by now.
    Overtaken,
}

/// A file and the name chosen for it.
#[derive(Clone)]
struct Placed {
    file: CommittedFile,
    probe: u32,
    bytes: Bytes,
}

impl Placed {
    fn holds(&self, built: &BuiltFile) -> bool {
        let (f, b) = (&self.file, built);
        (&f.table, &f.partition, f.first, f.rows, &f.schema_version, &self.bytes)
            == (&b.table, &b.partition, b.first, b.rows, &b.schema_version, &b.bytes)
    }

    fn at(&mut self, shard: &Shard, probe: u32) {
        self.probe = probe;
        self.file.name = SlotName { first: self.file.first, probe }.file_name(shard);
    }
}

/// What a caller must not get wrong: a file in two roles, or a set that is not of this batch, would
/// break C1 or C2 for good.
fn check(built: &Built, todo: &PositionSet) -> Result<()> {
    let broken = |problem: String| Err(Error::Internal(problem));
    if !built.covers.within(todo) {
        return broken("the files cover records that were not asked for".into());
    }
    let mut slots = BTreeSet::new();
    for file in &built.files {
        let (table, partition, first) = (&file.table, &file.partition, file.first);
        if !built.covers.contains(first.sequence) {
            return broken(format!(
                "a file of {table} begins with {}, which it does not cover",
                first.sequence
            ));
        }
        if file.quarantine != (table == naming::QUARANTINE_TABLE) {
            return broken(format!("a file of {table} has quarantine = {}", file.quarantine));
        }
        if !slots.insert((table, partition, first)) {
            return broken(format!("two files of {table}/{partition} begin with the same record"));
        }
    }
    Ok(())
}
