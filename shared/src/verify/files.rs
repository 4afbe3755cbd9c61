//! The files of one commit: there, whole, of the length and the rows that the commit says, from the
//! records that it lists, each record once.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::closed::{ClosedPartitions, superseded};
use super::finding::{Finding, Kind};
use super::footer::{Footer, Opened, Unread, open};
use super::{Origin, Progress, Scope, add, replay};
use crate::commit::format::{CommitHeader, CommittedFile};
use crate::commit::{LakeStore, PositionSet};
use crate::error::Result;
use crate::naming::{ChainKey, SlotName};
use crate::record::{RecordId, SequenceNumber, Shard};

/// Files of one commit that are open at once.
const FILES_AT_ONCE: usize = 8;

/// What all commits of a chain have in common.
pub(super) struct Context {
    pub(super) lake: LakeStore,
    pub(super) chain: ChainKey,
    pub(super) scope: Scope,
    pub(super) rows_at_once: usize,
    pub(super) progress: Arc<Progress>,
    pub(super) closed: Arc<ClosedPartitions>,
}

/// Part of a commit's positions: slice `at` of `of`.
#[derive(Debug, Clone, Copy)]
struct Slice {
    at: u64,
    of: u64,
}

/// What a commit lists.
#[derive(Debug, Clone, Copy)]
struct Listed<'a> {
    /// Its set.
    positions: &'a PositionSet,
    /// The records that its rows may be of.
    records: &'a PositionSet,
    /// For a replay, their exact identities.
    letters: Option<&'a BTreeSet<RecordId>>,
}

/// What a file came to.
#[derive(Default)]
struct Checked {
    findings: Vec<Finding>,
    origin: Option<Origin>,
    /// Place of the position, sub-sequence number, number of the file.
    ids: Vec<(u64, u32, u32)>,
}

/// Look at the files of a commit; where its records come from, if a footer says so.
pub(super) async fn verify(
    context: &Context,
    version: u64,
    header: &CommitHeader,
    set: &PositionSet,
    findings: &mut Vec<Finding>,
) -> Result<Option<Origin>> {
    let files: Vec<_> = header.files.iter().filter(|file| context.scope.takes(file)).collect();
    let rows: u64 = files.iter().map(|file| file.rows).sum();
    let of = rows.div_ceil(context.rows_at_once.max(1) as u64).max(1);
    // Positions of a replay are letter files: its rows are of the records whose letters they held.
    let letters = match context.chain.replayed() {
        Some(_) => match replay::letters(context, version, header, findings).await? {
            Some(letters) => Some(letters),
            None => return Ok(None),
        },
        None => None,
    };
    let records = letters.as_ref().map(|ids| ids.iter().map(|id| id.sequence).collect::<PositionSet>());
    let positions = set;
    let set = records.as_ref().unwrap_or(positions);
    let listed = Listed { positions, records: set, letters: letters.as_ref() };
    let mut origin = None;
    for at in 0..of {
        let slice = Slice { at, of };
        let numbered = files.iter().zip(0u32..);
        let checks: Vec<_> =
            numbered.map(|(file, number)| check(context, version, file, number, listed, slice)).collect();
        let mut checks = stream::iter(checks).buffered(FILES_AT_ONCE);
        let mut ids = Vec::new();
        while let Some(checked) = checks.try_next().await? {
            // Only the first pass tells what is wrong with a file by itself.
            if at == 0 {
                findings.extend(checked.findings);
            }
            origin = origin.or(checked.origin);
            ids.extend(checked.ids);
        }
        findings.extend(twice(&mut ids, &files, set));
    }
    Ok(origin)
}

async fn check(
    context: &Context,
    version: u64,
    file: &CommittedFile,
    number: u32,
    listed: Listed<'_>,
    slice: Slice,
) -> Result<Checked> {
    let key = file.key();
    let mut checked = Checked::default();
    let mut tell = |kind, problem: String, way_out: &str| {
        checked.findings.push(Finding::new(kind, key.clone(), problem, way_out));
    };
    if slice.at == 0 {
        add(&context.progress.files, 1);
    }
    let restore = "bring it back from a backup or a version of the bucket: its records count as loaded and will not come again";
    let footer = match open(&context.lake, &key, file.bytes).await? {
        Opened::Footer(footer) => footer,
        Opened::Missing => {
            let whose = (file.table.as_str(), &file.partition);
            if superseded(&context.lake, &context.closed, (&context.chain, version), whose).await? {
                return Ok(Checked::default());
            }
            tell(Kind::MissingFile, format!("version {version} lists it and it is not there"), restore);
            return Ok(checked);
        }
        Opened::Length(found) => {
            let problem = format!("it has {found} bytes, version {version} says {}", file.bytes);
            tell(Kind::DamagedFile, problem, restore);
            return Ok(checked);
        }
        Opened::Damaged(problem) => {
            tell(Kind::DamagedFile, format!("it is no whole Parquet file: {problem}"), restore);
            return Ok(checked);
        }
    };
    for problem in misplaced(context, file, &footer, listed) {
        tell(Kind::WrongFile, problem, "tell which of the two is right before anything is moved or deleted");
    }
    let mut columns_rows = None;
    let (set, letters) = (listed.records, listed.letters);
    let mut rows =
        Rows { set, letters, slice, number, first: None, foreign: None, cursor: 0, ids: Vec::new() };
    if let Some(columns) = footer.identity_columns() {
        match footer.identities(&context.lake, &key, columns, &mut |id| rows.take(id)).await {
            Ok(read) => columns_rows = Some(read),
            Err(Unread::Store(error)) => return Err(error),
            Err(Unread::Damaged(problem)) => {
                tell(Kind::DamagedFile, format!("its columns of positions: {problem}"), restore);
                return Ok(checked);
            }
        }
        if let Some(first) = rows.first.filter(|first| letters.is_none() && *first != file.first) {
            let problem =
                format!("its first record is {}, version {version} says {}", text(first), text(file.first));
            tell(
                Kind::WrongFile,
                problem,
                "tell which of the two is right before anything is moved or deleted",
            );
        }
    }
    if slice.at == 0 {
        add(&context.progress.rows, columns_rows.unwrap_or(0));
    }
    if let Some(problem) = counts(file, &footer, columns_rows, version) {
        tell(
            Kind::RowCount,
            problem,
            "trust the columns: the rows that are there are what readers see; tell what wrote the other count",
        );
    }
    if let Some((first, count)) = rows.foreign {
        let problem = format!(
            "{count} rows (first {}) are of records that version {version} does not list",
            text(first)
        );
        let way_out = "they may be counted in another commit too: compare with the file of that record";
        tell(Kind::ForeignRows, problem, way_out);
    }
    checked.ids = rows.ids;
    checked.origin = origin(file, &footer);
    Ok(checked)
}

/// Where name or footer disagree with the commit that lists the file.
fn misplaced(context: &Context, file: &CommittedFile, footer: &Footer, listed: Listed<'_>) -> Vec<String> {
    let chain = &context.chain;
    let Listed { positions, records: set, .. } = listed;
    let shard = Shard {
        stream: chain.stream.as_str().into(),
        stream_key: chain.stream.as_str().into(),
        shard: chain.shard.as_str().into(),
    };
    let mut problems = Vec::new();
    if SlotName::parse(&shard, &file.name).map(|slot| slot.first) != Some(file.first) {
        problems.push(format!("its name is not the slot of record {}", text(file.first)));
    }
    if !positions.contains(file.first.sequence) {
        problems.push(format!("its first record {} is not in the commit that lists it", text(file.first)));
    }
    if let (Some(stream), Some(shard)) = (footer.value("weir.stream_key"), footer.value("weir.shard")) {
        let says =
            ChainKey::of(&Shard { stream: stream.into(), stream_key: stream.into(), shard: shard.into() });
        if says != chain.replayed().unwrap_or_else(|| chain.clone()) {
            problems.push(format!("its footer says {}, the commit is of {}", says.prefix(), chain.prefix()));
        }
    }
    let table = footer.value("weir.table").filter(|table| *table != file.table);
    problems
        .extend(table.map(|table| format!("its footer says table {table}, the commit says {}", file.table)));
    let schema = footer.value("weir.schema_version").filter(|version| *version != file.schema_version);
    problems.extend(schema.map(|version| {
        format!("its footer says schema version {version}, the commit says {}", file.schema_version)
    }));
    for end in ["weir.first", "weir.last"] {
        let sequence =
            footer.value(end).and_then(|text| text.split('.').next()?.parse::<SequenceNumber>().ok());
        let outside = sequence.filter(|sequence| !set.contains(*sequence));
        problems
            .extend(outside.map(|n| format!("{end} of its footer, {n}, is not in the commit that lists it")));
    }
    problems
}

/// Rows by commit, footer, row groups, footer metadata and columns, if they are not all the same.
fn counts(file: &CommittedFile, footer: &Footer, columns: Option<u64>, version: u64) -> Option<String> {
    let (rows, groups) = footer.rows();
    let said = footer.value("weir.rows").and_then(|text| text.parse().ok());
    let others = [Some(rows), Some(groups), said, columns];
    if others.iter().flatten().all(|&n| n == file.rows) {
        return None;
    }
    let name = |what: &str, n: Option<u64>| n.map(|n| format!(", {what} {n}")).unwrap_or_default();
    Some(format!(
        "version {version} says {} rows, its footer {rows}{}{}{}",
        file.rows,
        name("its row groups", (groups != rows).then_some(groups)),
        name("weir.rows", said.filter(|&n| n != rows)),
        name("its columns", columns.filter(|&n| n != rows)),
    ))
}

fn origin(file: &CommittedFile, footer: &Footer) -> Option<Origin> {
    let stream = footer.value("weir.stream")?.to_owned();
    let table = footer.value("weir.source_table").unwrap_or(&file.table).to_owned();
    Some(Origin { stream, table })
}

/// Takes the identities of a file's rows.
struct Rows<'a> {
    set: &'a PositionSet,
    letters: Option<&'a BTreeSet<RecordId>>,
    slice: Slice,
    number: u32,
    first: Option<RecordId>,
    /// The first that the commit does not list, and how many there are.
    foreign: Option<(RecordId, u64)>,
    cursor: usize,
    ids: Vec<(u64, u32, u32)>,
}

impl Rows<'_> {
    fn take(&mut self, id: RecordId) {
        self.first = Some(self.first.map_or(id, |first| first.min(id)));
        let listed = self.letters.is_none_or(|letters| letters.contains(&id));
        match self.place(id.sequence).filter(|_| listed) {
            Some((place, slice)) if slice == self.slice.at => {
                self.ids.push((place, id.subsequence, self.number));
            }
            Some(_) => {}
            None => {
                let (first, count) = self.foreign.unwrap_or((id, 0));
                self.foreign = Some((first.min(id), count + 1));
            }
        }
    }

    /// Where in the set a position stands, and in which slice that is. Rows come in order, mostly:
    /// the place of the row before, or the next, is tried first.
    fn place(&mut self, position: SequenceNumber) -> Option<(u64, u64)> {
        match self.set {
            PositionSet::Exact(numbers) => {
                let here = |at: usize| numbers.get(at).is_some_and(|&n| n == position);
                let at = if here(self.cursor) {
                    self.cursor
                } else if here(self.cursor + 1) {
                    self.cursor + 1
                } else {
                    numbers.binary_search(&position).ok()?
                };
                self.cursor = at;
                Some((at as u64, slice_of(at as u64, numbers.len() as u64, self.slice.of)))
            }
            PositionSet::Ranges(ranges) => {
                let at = position.as_u64()?;
                let inside = |i: usize| ranges.get(i).is_some_and(|range| range.contains(&at));
                if !inside(self.cursor) {
                    let after = ranges.partition_point(|range| range.start <= at);
                    self.cursor = after.checked_sub(1).filter(|&i| inside(i))?;
                }
                let (start, end) = (ranges.first()?.start, ranges.last()?.end);
                Some((at, slice_of(at - start, end - start, self.slice.of)))
            }
        }
    }
}

fn slice_of(at: u64, length: u64, slices: u64) -> u64 {
    (u128::from(at) * u128::from(slices) / u128::from(length.max(1))) as u64
}

/// Records that stand in the files more than once: one finding for each file that repeats some.
fn twice(ids: &mut [(u64, u32, u32)], files: &[&CommittedFile], set: &PositionSet) -> Vec<Finding> {
    ids.sort_unstable();
    let mut repeats: std::collections::BTreeMap<(u32, u32), (RecordId, u64)> = Default::default();
    for pair in ids.windows(2) {
        let ((place, sub, file), (other_place, other_sub, other)) = (pair[0], pair[1]);
        if (place, sub) == (other_place, other_sub) {
            let sequence = match set {
                PositionSet::Exact(numbers) => numbers[place as usize],
                PositionSet::Ranges(_) => place.into(),
            };
            let id = RecordId { sequence, subsequence: sub };
            repeats.entry((file, other)).or_insert((id, 0)).1 += 1;
        }
    }
    let name = |number: u32| files[number as usize].key();
    let finding = |((file, other), (first, count)): ((u32, u32), (RecordId, u64))| {
        let there = if file == other { "it".to_owned() } else { name(file) };
        let problem = format!("{count} of its records (first {}) stand in {there} already", text(first));
        let way_out =
            "readers see them twice: tell what wrote the commit, and load the source into a fresh table";
        Finding::new(Kind::DuplicateRows, name(other), problem, way_out)
    };
    repeats.into_iter().map(finding).collect()
}

fn text(id: RecordId) -> String {
    format!("{}.{}", id.sequence, id.subsequence)
}
