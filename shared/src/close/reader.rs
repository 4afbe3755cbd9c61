//! What readers see: of a closed partition exactly the files of the revision that the catalog shows,
//! of an open one exactly the live files that commits list; and the revisions there are.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::current::shown_files;
use super::inventory::PARALLEL;
use super::objects::{ActionOutcome, DoneRecord, Plan, RevisionResult, Started, Versioned, Why, decode};
use super::work::values;
use crate::catalog::Catalog;
use crate::clock::EpochMicros;
use crate::commit::LakeStore;
use crate::commit::format::unreadable;
use crate::commit::reader::{ListedFile, live_files};
use crate::error::{Error, Result};
use crate::naming::QUARANTINE_TABLE;
use crate::naming::closed::{self, CloseObject, ClosePrefix};
use crate::partition::PartitionPath;

/// A file that readers see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisibleFile {
    /// Key in the lake.
    pub key: String,
    /// Table.
    pub table: String,
    /// Partition.
    pub partition: PartitionPath,
    /// Rows.
    pub rows: u64,
    /// Length.
    pub bytes: u64,
    /// Revision that it is of; 0 for a live file.
    pub revision: u32,
}

/// A revision.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RevisionStatus {
    /// Table.
    pub table: String,
    /// Partition.
    pub partition: PartitionPath,
    /// Revision, from 1.
    pub revision: u32,
    /// Why it was made.
    pub why: Why,
    /// When it was planned, by the store.
    pub planned_at_us: EpochMicros,
    /// When it was done.
    pub done_at_us: Option<EpochMicros>,
    /// Rows that readers see; none while it is compacted.
    pub rows: Option<u64>,
    /// Rows that it added.
    pub new_rows: u64,
    /// Rows that the dedupe key has left out, with those of revisions before.
    pub removed: u64,
    /// Records that the mapping gave up on.
    pub given_up: u64,
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What became of the actions so far.
    pub actions: Vec<ActionOutcome>,
}

/// The files of one table or of all, as readers see them now.
///
/// # Errors
/// A bad moment of the store or the catalog; a revision whose result is gone.
pub async fn visible_files(
    lake: &LakeStore,
    catalog: &dyn Catalog,
    table: Option<&str>,
) -> Result<Vec<VisibleFile>> {
    let live = live_files(lake, table).await?;
    let tables: BTreeSet<&str> = live.iter().map(|file| file.file.table.as_str()).collect();
    let mut shown: BTreeMap<(String, PartitionPath), u32> = BTreeMap::new();
    // After the commits: what a revision that is seen now holds, they list.
    for table in tables.into_iter().filter(|table| *table != QUARANTINE_TABLE) {
        let entries = match catalog.partitions(table).await {
            Ok(entries) => entries,
            Err(Error::NoSuchTable { .. }) => continue,
            Err(error) => return Err(error),
        };
        let closed = entries.iter().filter(|entry| entry.revision() > 0);
        let closed: BTreeMap<&[String], u32> = closed.map(|e| (e.values.as_slice(), e.revision())).collect();
        let partitions = live.iter().filter(|file| file.file.table == table).map(|file| &file.file.partition);
        for partition in partitions.collect::<BTreeSet<_>>() {
            if let Some(&revision) = closed.get(values(partition).as_slice()) {
                shown.insert((table.to_owned(), partition.clone()), revision);
            }
        }
    }
    let open =
        |file: &ListedFile| !shown.contains_key(&(file.file.table.clone(), file.file.partition.clone()));
    let mut files: Vec<_> = live.into_iter().filter(open).map(VisibleFile::live).collect();
    let reads: Vec<_> =
        shown.iter().map(|((table, partition), r)| of_revision(lake, table, partition, *r)).collect();
    let mut reads = stream::iter(reads).buffered(PARALLEL);
    while let Some(read) = reads.try_next().await? {
        files.extend(read);
    }
    files.extend(shown_files(lake, catalog, table).await?);
    Ok(files)
}

impl VisibleFile {
    fn live(listed: ListedFile) -> Self {
        let ListedFile { key, file, .. } = listed;
        let (table, partition, rows, bytes) = (file.table, file.partition, file.rows, file.bytes);
        Self { key, table, partition, rows, bytes, revision: 0 }
    }
}

async fn of_revision(
    lake: &LakeStore,
    table: &str,
    partition: &PartitionPath,
    revision: u32,
) -> Result<Vec<VisibleFile>> {
    let result = result(lake, table, partition, revision).await?;
    let file = |file: &crate::compact::CompactedFile| VisibleFile {
        key: format!("{}/{}", result.directory, file.name),
        table: table.to_owned(),
        partition: partition.clone(),
        rows: file.rows,
        bytes: file.bytes,
        revision,
    };
    Ok(result.files.iter().map(file).collect())
}

/// The revisions of one table or of all, in order of table, partition and revision. Reads the
/// objects of the `newest` ones of each partition.
///
/// # Errors
/// A bad moment of the store.
pub async fn revisions(lake: &LakeStore, table: Option<&str>, newest: u32) -> Result<Vec<RevisionStatus>> {
    let prefix = table.map_or(closed::CLOSE.to_owned(), |table| format!("{}/{table}", closed::CLOSE));
    let mut found: BTreeMap<(String, PartitionPath, u32), BTreeMap<CloseObject, EpochMicros>> =
        BTreeMap::new();
    let mut last: BTreeMap<(String, PartitionPath), u32> = BTreeMap::new();
    for dated in lake.list_dated(&prefix).await? {
        let Some((table, partition, revision, object)) = closed::parse_close(&dated.key) else { continue };
        let newest = last.entry((table.clone(), partition.clone())).or_default();
        *newest = revision.max(*newest);
        found.entry((table, partition, revision)).or_default().insert(object, dated.modified);
    }
    found.retain(|(table, partition, revision), objects| {
        let last = last.get(&(table.clone(), partition.clone())).copied().unwrap_or(0);
        revision.saturating_add(newest) > last && objects.contains_key(&CloseObject::Plan)
    });
    let reads: Vec<_> = found.iter().map(|(at, objects)| status(lake, at, objects)).collect();
    stream::iter(reads).buffered(PARALLEL).try_collect().await
}

async fn status(
    lake: &LakeStore,
    (table, partition, revision): &(String, PartitionPath, u32),
    objects: &BTreeMap<CloseObject, EpochMicros>,
) -> Result<RevisionStatus> {
    let plan: Plan = read(lake, table, partition, *revision, &CloseObject::Plan).await?;
    let result = match objects.contains_key(&CloseObject::Result) {
        true => Some(read::<RevisionResult>(lake, table, partition, *revision, &CloseObject::Result).await?),
        false => None,
    };
    let mut actions = Vec::new();
    if objects.contains_key(&CloseObject::Done) {
        actions = read::<DoneRecord>(lake, table, partition, *revision, &CloseObject::Done).await?.actions;
    } else {
        for object in objects.keys() {
            let CloseObject::Action(name) = object else { continue };
            let done = CloseObject::ActionDone(name.clone());
            let object = if objects.contains_key(&done) { &done } else { object };
            let started: Started = read(lake, table, partition, *revision, object).await?;
            let run = (object == &done).then_some(started.run);
            let reason = run.is_none().then(|| "asked for and not started yet".to_owned());
            actions.push(ActionOutcome { action: started.action, run, reason });
        }
    }
    Ok(RevisionStatus {
        table: table.clone(),
        partition: partition.clone(),
        revision: *revision,
        why: plan.why,
        planned_at_us: objects.get(&CloseObject::Plan).copied().unwrap_or_default(),
        done_at_us: objects.get(&CloseObject::Done).copied(),
        rows: result.as_ref().map(RevisionResult::rows),
        new_rows: plan.new_rows(),
        removed: result.as_ref().map_or(0, |result| result.removed),
        given_up: plan.given_up,
        files: result.as_ref().map_or(0, |result| result.files.len() as u64),
        bytes: result.as_ref().map_or(0, RevisionResult::bytes),
        actions,
    })
}

/// Result of a revision.
pub(super) async fn result(
    lake: &LakeStore,
    table: &str,
    partition: &PartitionPath,
    revision: u32,
) -> Result<RevisionResult> {
    read(lake, table, partition, revision, &CloseObject::Result).await
}

/// Plan and result of a revision.
pub(crate) async fn plan_and_result(
    lake: &LakeStore,
    table: &str,
    partition: &PartitionPath,
    revision: u32,
) -> Result<(Plan, RevisionResult)> {
    let plan = read(lake, table, partition, revision, &CloseObject::Plan).await?;
    Ok((plan, read(lake, table, partition, revision, &CloseObject::Result).await?))
}

async fn read<T: Versioned>(
    lake: &LakeStore,
    table: &str,
    partition: &PartitionPath,
    revision: u32,
    object: &CloseObject,
) -> Result<T> {
    let key = ClosePrefix::of(table, partition).object(revision, object);
    let bytes: Option<Bytes> = lake.get(&key).await?;
    decode(&key, &bytes.ok_or_else(|| unreadable(&key, "the revision needs it and it is not there"))?)
}
