//! The invariants, judged on what lies in the store against what the stream held.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::reader::{self, ChainName, Commit, Reader, Row};
use super::stream::{self, Record, Stream};
use super::tables::{self, Expected};

/// An invariant that does not hold, and how it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.invariant, super::store::short(&self.what))
    }
}

pub(crate) fn broken<T>(invariant: &'static str, what: impl Into<String>) -> Result<T, Violation> {
    Err(Violation { invariant, what: what.into() })
}

type Objects = BTreeMap<String, Bytes>;

/// What the checks are held against.
pub(crate) struct Truth<'a> {
    pub(crate) streams: &'a [Stream],
    pub(crate) route: bool,
    /// Worlds that delete commits are judged without the deleted ones.
    pub(crate) holes_allowed: bool,
}

/// The name of a stream's key in the lake: its name and 8 hex digits of hash(ARN + creation time).
pub(crate) fn stream_key(identity: &str) -> String {
    let hash = Sha256::digest(format!("{}{identity}\nconsumer {}", stream::ARN, stream::CONSUMER));
    format!("{}-{:02x}{:02x}{:02x}{:02x}", stream::NAME, hash[0], hash[1], hash[2], hash[3])
}

impl Truth<'_> {
    fn record(&self, (key, shard): &ChainName, sequence: &str) -> Option<&Record> {
        // Two incarnations share a key only in a world that is broken that way: the newer counts.
        let stream = self.streams.iter().rev().find(|s| stream_key(&s.identity) == *key)?;
        let shard = stream.shards.iter().find(|s| s.id == *shard)?;
        shard.records.iter().find(|r| r.sequence() == sequence)
    }
}

/// C1, C2, C3 and C8 on all chains.
pub(crate) fn chains(truth: &Truth<'_>, reader: &mut Reader, objects: &Objects) -> Result<(), Violation> {
    let chains = read(reader, objects)?;
    for (name, commits) in &chains {
        for (commit, expected) in commits.iter().zip(1..) {
            if commit.version != expected && !truth.holes_allowed {
                return broken("C3", format!("{name:?} has no version {expected}"));
            }
        }
        let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
        for commit in commits {
            for sequence in &commit.set {
                if let Some(earlier) = seen.insert(sequence, commit.version) {
                    let version = commit.version;
                    return broken("C2", format!("{sequence} is in versions {earlier} and {version}"));
                }
            }
            content(truth, name, commit, (&mut *reader, objects))?;
        }
        let listed: BTreeSet<&str> = commits.iter().flat_map(|c| &c.files).map(|f| f.key.as_str()).collect();
        if let Some(dead) = commits.iter().flat_map(|c| &c.dead).find(|dead| listed.contains(dead.as_str())) {
            return broken("C1", format!("{dead} is called dead and is listed"));
        }
        summaries(name, commits, objects)?;
    }
    registered(&chains, objects)
}

fn read(reader: &mut Reader, objects: &Objects) -> Result<BTreeMap<ChainName, Vec<Rc<Commit>>>, Violation> {
    reader.chains(objects).or_else(|e| broken("C3", e))
}

/// What a commit's files hold is what its records must become, each document once.
fn content(
    truth: &Truth<'_>,
    name: &ChainName,
    commit: &Commit,
    (reader, objects): (&mut Reader, &Objects),
) -> Result<(), Violation> {
    let versions: BTreeSet<&str> = commit.files.iter().map(|f| f.schema_version.as_str()).collect();
    let version = match versions.iter().copied().collect::<Vec<_>>()[..] {
        [] => 0,
        [one] => match tables::version_of(one, truth.route) {
            Some(version) => version,
            None => return broken("C2", format!("version {} has schema {one:?}", commit.version)),
        },
        _ => return broken("C2", format!("version {} mixes schemas {versions:?}", commit.version)),
    };
    let mut expected: BTreeMap<(String, u32), (&Record, usize, Expected)> = BTreeMap::new();
    for sequence in &commit.set {
        let Some(record) = truth.record(name, sequence) else {
            return broken("C2", format!("version {} lists {sequence}, which never was", commit.version));
        };
        for (sub, document) in record.documents.iter().enumerate() {
            let becomes = document.under(version);
            if becomes != Expected::Skipped {
                expected.insert((sequence.clone(), sub as u32), (record, sub, becomes));
            }
        }
    }
    for file in &commit.files {
        let at = format!("version {} lists {}", commit.version, file.key);
        let Some(bytes) = objects.get(&file.key) else { return broken("C1", format!("{at}, which is gone")) };
        let rows =
            reader.rows(&file.key, bytes, file.quarantine).or_else(|e| broken("C1", format!("{at}: {e}")))?;
        if (bytes.len() as u64, rows.len() as u64) != (file.bytes, file.rows) {
            return broken("C2", format!("{at}, which holds other rows"));
        }
        for (position, row) in rows.iter() {
            let Some((record, sub, becomes)) = expected.remove(position) else {
                return broken(
                    "C2",
                    format!("{at}: {position:?} is there twice, or belongs to no record of it"),
                );
            };
            let right = match &becomes {
                Expected::Dead { .. } => "C8",
                _ => "C1",
            };
            if let Err(e) = matches(name, file, record, sub, &becomes, row) {
                return broken(right, format!("{at}: {position:?} {e}: {row:?}"));
            }
        }
    }
    match expected.into_iter().next() {
        None => Ok(()),
        Some((position, (_, _, Expected::Dead { .. }))) => {
            broken("C8", format!("version {} lists {position:?}, whose dead letter is lost", commit.version))
        }
        Some((position, _)) => {
            broken("C1", format!("version {} lists {position:?}, whose row is lost", commit.version))
        }
    }
}

fn matches(
    (_, chain_shard): &ChainName,
    file: &reader::Listed,
    record: &Record,
    sub: usize,
    becomes: &Expected,
    row: &Row,
) -> Result<(), String> {
    match (becomes, row) {
        (Expected::Row { partition, n }, Row::Data { n: found, stream, shard, arrived_us }) => {
            let whole = (*found, stream.as_str(), shard, *arrived_us)
                == (Some(*n), stream::NAME, chain_shard, record.arrived_ms * 1_000);
            if !whole || file.quarantine {
                return Err("is another row".into());
            }
            if file.partition != *partition {
                return Err(format!("stands in {}, not in {partition}", file.partition));
            }
            Ok(())
        }
        (Expected::Dead { reason, path }, Row::Dead { reason: found, path: at, raw, whole, explained }) => {
            if (found.as_str(), at.as_str()) != (*reason, *path) || !whole || !explained {
                return Err(format!("should be {reason} at {path:?}"));
            }
            if *raw != record.documents[sub].text().as_bytes() {
                return Err("has lost its bytes".into());
            }
            let day = format!("source_table=t/day={}", record.day());
            if file.partition == day { Ok(()) } else { Err(format!("stands in {}", file.partition)) }
        }
        _ => Err(format!("should be {becomes:?}")),
    }
}

/// Checkpoints and segments are caches of the commits: a wrong one would blind the redelivery check.
fn summaries(name: &ChainName, commits: &[Rc<Commit>], objects: &Objects) -> Result<(), Violation> {
    let ends_of = |version: u64| {
        let commit = commits.iter().find(|c| c.version == version)?;
        Some(commit.set.first().cloned().zip(commit.set.last().cloned()).unwrap_or(("1".into(), "0".into())))
    };
    let found = reader::summaries(objects, name).or_else(|e| broken("C2", e))?;
    for (version, summary) in &found {
        let right = summary.head == *version
            && summary.base + summary.ends.len() as u64 == *version
            && (summary.base + 1..).zip(&summary.ends).all(|(v, ends)| {
                // A commit that a broken world deleted cannot be compared.
                ends_of(v).is_none_or(|of_commit| of_commit == *ends)
            });
        let covers = |(at, min, max): &(u64, String, String)| {
            let spans = found.iter().filter(|(v, s)| v == at && s.segments.is_empty());
            spans.flat_map(|(_, s)| &s.ends).any(|(first, last)| first >= min && last <= max)
        };
        if !right || !summary.segments.iter().all(covers) {
            return broken(
                "C2",
                format!("the summary of {name:?} at version {version} is wrong: {summary:?}"),
            );
        }
    }
    Ok(())
}

/// A partition that readers may see holds something that a commit lists.
fn registered(chains: &BTreeMap<ChainName, Vec<Rc<Commit>>>, objects: &Objects) -> Result<(), Violation> {
    let listed: BTreeSet<&str> =
        chains.values().flatten().flat_map(|c| &c.files).map(|f| f.partition.as_str()).collect();
    for key in objects.keys().filter_map(|k| k.strip_prefix("_weir/catalog/partitions/")) {
        let partition = key.split_once('/').map_or("", |(_, p)| p.trim_end_matches(".json"));
        if !listed.contains(partition) {
            return broken(
                "C5",
                format!("partition {partition} is registered and no commit has a file in it"),
            );
        }
    }
    Ok(())
}

/// C1 at the moment of an acknowledgement: commits list the records, in files that are there.
pub(crate) fn acknowledged(
    reader: &mut Reader,
    objects: &Objects,
    name: &ChainName,
    sequences: &[String],
) -> Result<(), Violation> {
    let chains = read(reader, objects)?;
    let none = Vec::new();
    let commits = chains.get(name).unwrap_or(&none);
    for sequence in sequences {
        let Some(commit) = commits.iter().find(|c| c.set.contains(sequence)) else {
            return broken("C1", format!("{sequence} was acknowledged and no commit lists it"));
        };
        if let Some(gone) = commit.files.iter().find(|f| !objects.contains_key(&f.key)) {
            return broken("C1", format!("{sequence} was acknowledged and {} is gone", gone.key));
        }
    }
    Ok(())
}

/// Data files that no commit lists, each with the key of the commit that lists its first record: with
/// one it is dead for good.
pub(crate) fn orphans(
    reader: &mut Reader,
    objects: &Objects,
) -> Result<Vec<(String, Option<String>)>, Violation> {
    let chains = read(reader, objects)?;
    let listed: BTreeSet<&str> =
        chains.values().flatten().flat_map(|c| &c.files).map(|f| f.key.as_str()).collect();
    let mut orphans = Vec::new();
    for key in objects.keys().filter(|k| k.ends_with(".parquet") && !listed.contains(k.as_str())) {
        let proof = chains.iter().find_map(|(name, commits)| {
            let (first, _) = reader::slot(key, name)?;
            let commit = commits.iter().find(|c| c.set.contains(&first))?;
            Some(reader::commit_key(name, commit.version))
        });
        orphans.push((key.clone(), proof));
    }
    Ok(orphans)
}

/// C1 in the end: every record of the stream is in a commit.
pub(crate) fn complete(reader: &mut Reader, objects: &Objects, stream: &Stream) -> Result<(), Violation> {
    let chains = read(reader, objects)?;
    for shard in &stream.shards {
        let commits = chains.get(&(stream_key(&stream.identity), shard.id.clone()));
        let listed: BTreeSet<&String> = commits.into_iter().flatten().flat_map(|c| &c.set).collect();
        for record in shard.records.iter().filter(|r| !r.oversize) {
            if !listed.contains(&record.sequence()) {
                return broken("C1", format!("{} was delivered in the end and is lost", record.sequence()));
            }
        }
    }
    Ok(())
}
