//! Closed partitions: the files of the newest revision are there, whole, and hold the rows that
//! commits list, less those the dedupe key removed. What a revision superseded may be gone.

use std::collections::{BTreeMap, BTreeSet};

use super::Scope;
use super::Verifier;
use super::finding::{Finding, Kind, Sink};
use super::footer::{Opened, open};
use crate::close::{RevisionResult, Vector, reader};
use crate::commit::LakeStore;
use crate::error::{Error, Result};
use crate::naming::ChainKey;
use crate::naming::closed::{self, CloseObject, ClosePrefix};
use crate::partition::{NULL_PARTITION, PartitionPath};

/// The newest done revision of a partition.
#[derive(Debug)]
pub(super) struct ClosedPartition {
    pub(super) revision: u32,
    /// Versions of chains that it covers.
    pub(super) vector: Vector,
    result: RevisionResult,
}

/// Table and partition → its newest done revision.
pub(super) type ClosedPartitions = BTreeMap<(String, PartitionPath), ClosedPartition>;

const RESTORE: &str = "bring it back from a backup or a version of the bucket; while the live files stand, `weir status` says until when, they hold the same rows";

/// All partitions with a done revision, and what is wrong with their objects.
pub(super) async fn load(
    lake: &LakeStore,
    scope: &Scope,
    findings: &mut Vec<Finding>,
) -> Result<ClosedPartitions> {
    let prefix = match (&scope.table, &scope.partition) {
        (Some(table), Some(partition)) => ClosePrefix::of(table, partition).as_str().to_owned(),
        (Some(table), None) => format!("{}/{table}", closed::CLOSE),
        (None, _) => closed::CLOSE.to_owned(),
    };
    let mut newest: BTreeMap<(String, PartitionPath), u32> = BTreeMap::new();
    for key in lake.list(&prefix).await? {
        if let Some((table, partition, revision, CloseObject::Done)) = closed::parse_close(&key) {
            let known = newest.entry((table, partition)).or_default();
            *known = revision.max(*known);
        }
    }
    let mut found = ClosedPartitions::new();
    for ((table, partition), revision) in newest {
        match newest_of(lake, &table, &partition, revision).await {
            Ok(closed) => _ = found.insert((table, partition), closed),
            Err(Error::Format { object, problem, .. }) => {
                let way_out = "bring the object back from a backup or a version of the bucket";
                findings.push(Finding::new(Kind::BrokenRevision, object, problem, way_out));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

async fn newest_of(
    lake: &LakeStore,
    table: &str,
    partition: &PartitionPath,
    revision: u32,
) -> Result<ClosedPartition> {
    let (plan, result) = reader::plan_and_result(lake, table, partition, revision).await?;
    Ok(ClosedPartition { revision, vector: plan.vector, result })
}

/// Whether a listed file that is not there was superseded by a revision.
pub(super) async fn superseded(
    lake: &LakeStore,
    known: &ClosedPartitions,
    (chain, version): (&ChainKey, u64),
    (table, partition): (&str, &PartitionPath),
) -> Result<bool> {
    let covers = |closed: &ClosedPartition| version <= closed.vector.of(chain);
    if known.get(&(table.to_owned(), partition.clone())).is_some_and(covers) {
        return Ok(true);
    }
    // It may have been closed while we looked.
    let scope = Scope { table: Some(table.to_owned()), partition: Some(partition.clone()) };
    Ok(load(lake, &scope, &mut Vec::new()).await?.values().any(covers))
}

/// The files of the newest revisions, against what the commits list and the catalog shows.
pub(super) async fn verify(verifier: &mut Verifier, sink: &mut Sink<'_>) -> Result<()> {
    let partitions = verifier.closed.clone();
    let tables: BTreeSet<&String> = partitions.keys().map(|(table, _)| table).collect();
    let mut shown: BTreeMap<(&String, Vec<String>), u32> = BTreeMap::new();
    for table in tables {
        match verifier.catalog.partitions(table).await {
            Ok(entries) => {
                shown.extend(entries.into_iter().map(|e| ((table, e.values.clone()), e.revision())));
            }
            Err(Error::NoSuchTable { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    for ((table, partition), closed) in partitions.iter() {
        let (result, name) = (&closed.result, format!("{table}/{partition}"));
        let null = || NULL_PARTITION.to_owned();
        let values = partition.values().into_iter().map(|(_, value)| value.unwrap_or_else(null)).collect();
        let revision = shown.get(&(table, values)).copied().unwrap_or(0);
        if revision < closed.revision {
            let problem = format!("revision {} is done, and the catalog shows {revision}", closed.revision);
            let way_out = "the next run of close switches it; `weir close` runs it now";
            verifier.report(Finding::new(Kind::CatalogPartition, name.clone(), problem, way_out), sink);
        }
        let committed = verifier.closed_rows.get(&(table.clone(), partition.clone())).copied().unwrap_or(0);
        if !verifier.has_broken_chain()
            && (committed, result.rows() + result.removed) != (result.committed, result.committed)
        {
            let problem = format!(
                "commits list {committed} rows of it up to revision {}, which says {} and holds {} rows and {} removed ones",
                closed.revision,
                result.committed,
                result.rows(),
                result.removed
            );
            let way_out = "tell what wrote the revision; the live files hold the truth while they stand";
            verifier.report(Finding::new(Kind::RowCount, name, problem, way_out), sink);
        }
        for file in &result.files {
            let key = format!("{}/{}", result.directory, file.name);
            let finding = match open(&verifier.lake, &key, file.bytes).await? {
                Opened::Footer(footer) => {
                    let (rows, groups) = footer.rows();
                    let differs = rows != file.rows || groups != file.rows;
                    differs.then(|| {
                        (Kind::RowCount, format!("its result says {} rows, its footer {rows}", file.rows))
                    })
                }
                Opened::Missing => Some((
                    Kind::MissingFile,
                    format!("revision {} names it and it is not there", closed.revision),
                )),
                Opened::Length(found) => Some((
                    Kind::DamagedFile,
                    format!("it has {found} bytes, revision {} says {}", closed.revision, file.bytes),
                )),
                Opened::Damaged(problem) => {
                    Some((Kind::DamagedFile, format!("it is no whole Parquet file: {problem}")))
                }
            };
            if let Some((kind, problem)) = finding {
                verifier.report(Finding::new(kind, key, problem, RESTORE), sink);
            }
        }
    }
    Ok(())
}
