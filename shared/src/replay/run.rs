//! Open letter files, a few at a time → one commit that replaces them. Memory is bounded by the
//! letters of one group of files, however many there are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::judge::{Judge, Verdict};
use super::letters::{Columns, Letters};
use super::lineage::{LetterFileRef, Lineage, fetch, replay_shard, shard_chains};
use crate::clock::EpochMicros;
use crate::commit::left::bury_left;
use crate::commit::{Built, BuiltFile, LakeStore, Outcome, PositionSet, ShardWriter};
use crate::error::{Error, Result};
use crate::naming::{ChainKey, QUARANTINE_TABLE};
use crate::partition::PartitionPath;
use crate::pipeline::data_file;
use crate::quarantine::{LetterFile, StoredLetter, day_of};
use crate::record::{RecordId, SequenceNumber, Shard};
use crate::schema::TableSchema;

/// Letter files that one commit replaces, at most.
const GROUP_FILES: usize = 256;
/// Raw bytes of letters after which a group is committed; the last file may exceed it.
const GROUP_BYTES: usize = 32 << 20;

/// Which letters.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Meant for one of these tables; empty for all.
    pub tables: BTreeSet<String>,
    /// With one of these reasons; empty for all.
    pub reasons: BTreeSet<String>,
    /// That arrived then or later.
    pub since: Option<EpochMicros>,
}

impl Selection {
    /// Whether a file can hold any of them.
    pub fn takes_file(&self, file: &LetterFileRef) -> bool {
        let table = file.source_table().unwrap_or_default();
        let late_enough = |since| file.day().is_none_or(|day| day >= day_of(since));
        (self.tables.is_empty() || self.tables.contains(&table)) && self.since.is_none_or(late_enough)
    }

    /// Whether a letter of such a file is one of them.
    pub fn takes(&self, letter: &StoredLetter) -> bool {
        (self.reasons.is_empty() || self.reasons.contains(&letter.reason))
            && self.since.is_none_or(|since| letter.arrived_at >= since)
    }
}

/// Whether anything is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Judge and count.
    DryRun,
    /// Judge and commit.
    Commit,
}

/// What became of letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Letters judged.
    pub letters: u64,
    /// Rows by table.
    pub rows: BTreeMap<String, u64>,
    /// Letters that stay, by the table they were meant for and the reason they have now.
    pub failed: BTreeMap<(String, String), u64>,
    /// Of these, letters whose reason is another one than before.
    pub new_reasons: u64,
    /// Letters that cannot be judged, by why.
    pub stuck: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// Rows of all tables.
    pub fn resolved(&self) -> u64 {
        self.rows.values().sum()
    }

    fn changes(&self) -> bool {
        self.resolved() + self.new_reasons > 0
    }

    fn add(&mut self, other: &Self) {
        self.letters += other.letters;
        self.new_reasons += other.new_reasons;
        other.rows.iter().for_each(|(k, n)| *self.rows.entry(k.clone()).or_default() += n);
        other.failed.iter().for_each(|(k, n)| *self.failed.entry(k.clone()).or_default() += n);
        other.stuck.iter().for_each(|(k, n)| *self.stuck.entry(k).or_default() += n);
    }
}

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// What became of the letters (would become, for a dry run).
    pub counts: Counts,
    /// Letter files looked at.
    pub files: u64,
    /// Letter files replaced.
    pub replaced: u64,
    /// Commits made.
    pub commits: u64,
    /// Letters that another replay resolved meanwhile.
    pub taken: u64,
    /// Tables and partitions to register with the catalog: those of this run's files and of the last
    /// commit before, whose run may have been killed before it registered them.
    pub partitions: BTreeSet<(String, PartitionPath)>,
    /// Those of this run's rows alone.
    pub filled: BTreeSet<(String, PartitionPath)>,
}

/// One run over the letters of a lake.
pub struct Replay {
    lake: LakeStore,
    judge: Judge,
    selection: Selection,
    mode: Mode,
    run_id: String,
    report: ReplayReport,
}

/// A letter file of a group.
struct Member {
    file: LetterFileRef,
    position: SequenceNumber,
    bytes: Bytes,
    counts: Counts,
}

/// What judging a file once told.
#[derive(Default)]
struct Weighed {
    counts: Counts,
    raw_bytes: usize,
    arrived_through: EpochMicros,
}

#[derive(Default)]
struct Group {
    members: Vec<Member>,
    raw_bytes: usize,
    arrived_through: EpochMicros,
}

impl Replay {
    /// A run that judges by `tables`; `run_id` is unique to it, `now` is when letters that fail with
    /// a new reason were refused.
    pub fn new(
        lake: LakeStore,
        tables: Vec<Arc<TableSchema>>,
        selection: Selection,
        mode: Mode,
        (run_id, now): (&str, EpochMicros),
    ) -> Self {
        let tables = tables.into_iter().map(|table| (table.name.clone(), table)).collect();
        let (judge, report) = (Judge::new(tables, now), ReplayReport::default());
        Self { lake, judge, selection, mode, run_id: run_id.to_owned(), report }
    }

    /// Judge every selected letter once. After an error, what is committed stays, and the next run
    /// goes on from there.
    ///
    /// # Errors
    /// A bad moment of the store, or a letter file that cannot be read.
    pub async fn run(mut self, watch: &mut (dyn FnMut(&ReplayReport) + Send)) -> Result<ReplayReport> {
        for chain in shard_chains(&self.lake).await? {
            self.chain(&chain, watch).await?;
        }
        Ok(self.report)
    }

    async fn chain(&mut self, chain: &ChainKey, watch: &mut (dyn FnMut(&ReplayReport) + Send)) -> Result<()> {
        let lineage = Lineage::read(&self.lake, chain).await?;
        if self.mode == Mode::Commit {
            self.report.partitions.extend(lineage.last_partitions());
            if !lineage.newest_replays().is_empty() {
                bury_left(&self.lake, &replay_shard(chain)?, lineage.newest_replays()).await;
            }
        }
        let open = lineage.open().into_iter().filter(|file| self.selection.takes_file(file));
        let open: Vec<_> = open.collect();
        if open.is_empty() {
            return Ok(());
        }
        self.judge.set_stream(&chain.stream);
        let mut writer = ShardWriter::new(self.lake.clone(), replay_shard(chain)?).announced();
        let mut group = Group::default();
        for file in open {
            let bytes = fetch(&self.lake, &file.key()).await?;
            let weighed = self.weigh(&file, &bytes)?;
            self.report.files += 1;
            if self.mode == Mode::DryRun || !weighed.counts.changes() {
                self.report.counts.add(&weighed.counts);
            } else {
                let position = file.position()?;
                group.raw_bytes += weighed.raw_bytes;
                group.arrived_through = group.arrived_through.max(weighed.arrived_through);
                group.members.push(Member { file, position, bytes, counts: weighed.counts });
            }
            if group.raw_bytes >= GROUP_BYTES || group.members.len() >= GROUP_FILES {
                self.commit(&mut writer, std::mem::take(&mut group)).await?;
            }
            watch(&self.report);
        }
        self.commit(&mut writer, group).await?;
        watch(&self.report);
        Ok(())
    }

    /// Judge a file without keeping the rows: most files of most runs change nothing, and only one
    /// that changes may be replaced.
    fn weigh(&mut self, file: &LetterFileRef, bytes: &Bytes) -> Result<Weighed> {
        let table = file.source_table().unwrap_or_default();
        let mut weighed = Weighed::default();
        let counts = &mut weighed.counts;
        for letter in Letters::open(&file.key(), bytes.clone(), Columns::All)? {
            let letter = letter?;
            weighed.raw_bytes += letter.raw.len() + 256;
            weighed.arrived_through = weighed.arrived_through.max(letter.arrived_at);
            if !self.selection.takes(&letter) {
                continue;
            }
            counts.letters += 1;
            let reason = match self.judge.judge(&letter, &table)? {
                Verdict::Row(table) => {
                    *counts.rows.entry(table).or_default() += 1;
                    continue;
                }
                Verdict::Same => letter.reason,
                Verdict::Other(other) => {
                    counts.new_reasons += 1;
                    other.reason
                }
                Verdict::Stuck(why) => {
                    *counts.stuck.entry(why).or_default() += 1;
                    letter.reason
                }
            };
            *counts.failed.entry((table.clone(), reason)).or_default() += 1;
        }
        for rows in self.judge.buffers() {
            drop(rows.take_files()?);
        }
        Ok(weighed)
    }

    async fn commit(&mut self, writer: &mut ShardWriter, group: Group) -> Result<()> {
        if group.members.is_empty() {
            return Ok(());
        }
        let positions: PositionSet = group.members.iter().map(|m| m.position).collect();
        writer.replace(group.members.iter().map(|m| (m.position, m.file.key())).collect());
        let attempt = format!("{}-{}", self.run_id, self.report.commits);
        let (judge, selection) = (&mut self.judge, &self.selection);
        let mut build = |wanted: &PositionSet| build(judge, selection, &group.members, wanted);
        let outcome = writer.commit(&positions, group.arrived_through, &attempt, &mut build).await?;
        let covers = match &outcome {
            Outcome::Committed { covers, .. } => {
                self.report.commits += 1;
                covers.clone()
            }
            Outcome::AlreadyCommitted { .. } => PositionSet::default(),
        };
        for member in &group.members {
            if covers.contains(member.position) {
                self.report.counts.add(&member.counts);
                self.report.replaced += 1;
            } else {
                self.report.taken += member.counts.letters;
            }
        }
        let touched = outcome.partitions().into_iter().map(|(table, path)| (table.to_owned(), path.clone()));
        self.report.filled.extend(touched);
        self.report.partitions.extend(self.report.filled.iter().cloned());
        Ok(())
    }
}

/// The files that replace the members in `wanted`: rows by table and partition, and the letters that
/// stay, by the partition they were in.
fn build(
    judge: &mut Judge,
    selection: &Selection,
    members: &[Member],
    wanted: &PositionSet,
) -> Result<Built> {
    let first = wanted.min().ok_or_else(|| Error::Internal("a replay of nothing".into()))?;
    let first = RecordId { sequence: first, subsequence: 0 };
    let mut kept = BTreeMap::new();
    for member in members.iter().filter(|m| wanted.contains(m.position)) {
        let table = member.file.source_table().unwrap_or_default();
        for letter in Letters::open(&member.file.key(), member.bytes.clone(), Columns::All)? {
            let letter = letter?;
            let stays = if selection.takes(&letter) {
                match judge.judge(&letter, &table)? {
                    Verdict::Row(_) => continue,
                    Verdict::Same | Verdict::Stuck(_) => letter,
                    Verdict::Other(other) => *other,
                }
            } else {
                letter
            };
            keep(&mut kept, member, &table, &stays)?;
        }
    }
    let mut files = Vec::new();
    for rows in judge.buffers() {
        let table = rows.table().clone();
        files.extend(rows.take_files()?.into_iter().map(|f| BuiltFile { first, ..data_file(&table, f) }));
    }
    for (partition, kept) in kept {
        let version = judge.schema(&kept.table).map_or(kept.version, |table| table.version.clone());
        let day = partition.values().pop().and_then(|(_, day)| day).unwrap_or_default();
        let Some(file) = kept.letters.finish((&kept.table, &version), &kept.shard, &day)? else { continue };
        files.push(BuiltFile {
            table: QUARANTINE_TABLE.into(),
            partition,
            quarantine: true,
            first,
            bytes: file.bytes.into(),
            rows: file.rows,
            schema_version: version,
        });
    }
    Ok(Built { files, covers: wanted.clone() })
}

/// Letters of one partition that stay.
struct Kept {
    letters: LetterFile,
    table: String,
    shard: Shard,
    version: String,
}

fn keep(
    kept: &mut BTreeMap<PartitionPath, Kept>,
    member: &Member,
    table: &str,
    letter: &StoredLetter,
) -> Result<()> {
    let file = &member.file.file;
    let here = match kept.entry(file.partition.clone()) {
        std::collections::btree_map::Entry::Occupied(here) => here.into_mut(),
        std::collections::btree_map::Entry::Vacant(free) => {
            let shard = Shard {
                stream: letter.stream.as_str().into(),
                stream_key: member.file.chain.stream.as_str().into(),
                shard: letter.shard.as_str().into(),
            };
            let (letters, version) = (LetterFile::new()?, file.schema_version.clone());
            free.insert(Kept { letters, table: table.to_owned(), shard, version })
        }
    };
    here.letters.push(letter)
}
