//! Files that lie in the tables' folders and that no commit lists: what they are is read off the
//! chain of their shard, never off their age.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt};

use super::chain::{list, listed, versions};
use super::finding::{Finding, Kind, Sink};
use super::footer::{Opened, open};
use super::repair::{self, Repair};
use super::{Verifier, chain};
use crate::commit::LakeStore;
use crate::commit::format::Commit;
use crate::error::Result;
use crate::naming::{ChainKey, SlotName, live_prefix, partition_prefix};
use crate::record::{SequenceNumber, Shard};

/// A file that no commit read so far lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stray {
    pub(super) key: String,
    pub(super) first: SequenceNumber,
    pub(super) state: State,
}

/// What the chain says of a stray file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing.
    Uncommitted,
    /// This version lists its first record and not the file.
    Dead(u64),
    /// This version drops its name.
    Dropped(u64),
    /// This version lists it: it was being committed while we looked.
    Listed,
}

pub(super) async fn verify(
    verifier: &mut Verifier,
    repair: Option<&Repair<'_>>,
    sink: &mut Sink<'_>,
) -> Result<()> {
    let tables = verifier.tables_to_list(verifier.catalog.tables().await?);
    loop {
        verifier.keys.sort();
        let mut batch = Vec::new();
        for table in &tables {
            let prefix = match &verifier.scope.partition {
                Some(partition) => partition_prefix(table, partition),
                None => live_prefix(table),
            };
            walk(verifier, &prefix, &mut batch, repair, sink).await?;
        }
        judge(verifier, std::mem::take(&mut batch), repair, sink).await?;
        if !verifier.keys.next_slice() {
            return Ok(());
        }
        list_again(verifier).await?;
    }
}

/// The names of the next slice, from the commits.
async fn list_again(verifier: &mut Verifier) -> Result<()> {
    let lake = verifier.lake.clone();
    for chain in verifier.chains.clone() {
        let head = list(&lake, &chain).await?.commit;
        let mut commits = std::pin::pin!(versions(&lake, &chain, 1..=head));
        while let Some((_, bytes)) = commits.try_next().await? {
            let Some(commit) = bytes.and_then(|bytes| Commit::decode("", &bytes).ok()) else { continue };
            let files = commit.header.files.iter().filter(|file| verifier.scope.takes(file));
            files.for_each(|file| verifier.keys.insert(&file.key()));
        }
    }
    Ok(())
}

/// Collect what no commit lists below a folder; full batches are judged on the way.
async fn walk(
    verifier: &mut Verifier,
    prefix: &str,
    batch: &mut Vec<String>,
    repair: Option<&Repair<'_>>,
    sink: &mut Sink<'_>,
) -> Result<()> {
    let lake = verifier.lake.clone();
    let (root, folder, store) = (lake.path("")?, lake.path(prefix)?, lake.object_store());
    let skip = if root.as_ref().is_empty() { 0 } else { root.as_ref().len() + 1 };
    let mut objects = store.list(Some(&folder));
    while let Some(meta) = objects.next().await {
        let meta = match meta {
            Ok(meta) => meta,
            Err(object_store::Error::NotFound { .. }) => continue,
            Err(e) => return Err(listed(prefix, e)),
        };
        let key = &meta.location.as_ref()[skip..];
        let name = key.rsplit('/').next().unwrap_or(key);
        // Readers of Hive tables pass such names over.
        let hidden = name.starts_with(['_', '.']);
        if hidden || !verifier.keys.covers(key) || verifier.keys.contains(key) || other_scope(verifier, key) {
            continue;
        }
        batch.push(key.to_owned());
        if batch.len() >= verifier.budget.strays {
            judge(verifier, std::mem::take(batch), repair, sink).await?;
        }
    }
    Ok(())
}

/// Dead letters of another table than the one asked for.
fn other_scope(verifier: &Verifier, key: &str) -> bool {
    let Some(table) = &verifier.scope.table else { return false };
    let quarantine = live_prefix(crate::naming::QUARANTINE_TABLE);
    let below = key.strip_prefix(&quarantine).and_then(|rest| rest.strip_prefix('/'));
    let partition = below.and_then(|rest| Some(rest.rsplit_once('/')?.0));
    let partition = partition.and_then(|path| crate::partition::PartitionPath::parse(path).ok());
    table != crate::naming::QUARANTINE_TABLE
        && partition.is_some_and(|partition| super::source_table(&partition).as_ref() != Some(table))
}

/// Say of every file what it is, and remove what may be removed.
async fn judge(
    verifier: &mut Verifier,
    keys: Vec<String>,
    repair: Option<&Repair<'_>>,
    sink: &mut Sink<'_>,
) -> Result<()> {
    let lake = verifier.lake.clone();
    let mut by_chain: BTreeMap<ChainKey, Vec<Stray>> = BTreeMap::new();
    for key in keys {
        match slot(&lake, &verifier.chains, &key).await? {
            Some((chain, first)) => {
                by_chain.entry(chain).or_default().push(Stray { key, first, state: State::Uncommitted });
            }
            None => {
                let problem = "no commit lists it, and Weir gives no file such a name";
                let way_out = "whoever reads the folder sees its rows: move it away if nobody else put it here on purpose; --repair leaves it";
                verifier.report(Finding::new(Kind::ForeignFile, key, problem, way_out), sink);
            }
        }
    }
    for (chain, mut strays) in by_chain {
        classify(&lake, &chain, &mut strays).await?;
        strays.retain(|stray| stray.state != State::Listed);
        let broken = verifier.broken.contains(&chain);
        match repair.filter(|_| !broken) {
            Some(repair) => {
                for (stray, removed) in repair::remove(&lake, &chain, strays, repair).await? {
                    let mut finding = finding(&chain, &stray, broken);
                    finding.repaired = removed;
                    verifier.report(finding, sink);
                }
            }
            None => {
                strays.iter().for_each(|stray| verifier.report(finding(&chain, stray, broken), sink));
            }
        }
    }
    Ok(())
}

fn finding(chain: &ChainKey, stray: &Stray, broken: bool) -> Finding {
    let remove = "run `weir verify --repair` to remove it";
    match stray.state {
        State::Dead(version) => {
            let problem = format!(
                "version {version} of {} lists its first record and not the file: its rows count twice for readers of the folder",
                chain.prefix()
            );
            Finding::new(Kind::DeadFile, stray.key.clone(), problem, remove)
        }
        State::Dropped(version) => {
            let problem =
                format!("version {version} of {} has dropped it and it is still there", chain.prefix());
            Finding::new(Kind::DeadFile, stray.key.clone(), problem, remove)
        }
        _ if broken => {
            let problem =
                format!("no commit that can be read lists it, and some of {} cannot be read", chain.prefix());
            let way_out = "it may belong to one of those: mend the chain first; --repair leaves it";
            Finding::new(Kind::UnprovenFile, stray.key.clone(), problem, way_out)
        }
        _ => {
            let problem =
                "no commit lists it nor its first record: a crash left it, or its batch is under way";
            let way_out =
                "the batch's next delivery removes it; if there will be none, `weir verify --repair` does";
            Finding::new(Kind::UncommittedFile, stray.key.clone(), problem, way_out)
        }
    }
}

/// Read off the chain as it is now what each file is; its newest version and arrival time.
pub(super) async fn classify(lake: &LakeStore, chain: &ChainKey, strays: &mut [Stray]) -> Result<u64> {
    let mut head = chain::list(lake, chain).await?.commit;
    let mut names: BTreeMap<String, usize> =
        strays.iter().enumerate().map(|(at, stray)| (stray.key.clone(), at)).collect();
    let mut from = 1;
    loop {
        let mut commits = std::pin::pin!(versions(lake, chain, from..=head));
        while let Some((version, bytes)) = commits.try_next().await? {
            let key = chain.object(crate::naming::LogEntry::Commit(version));
            let Some(commit) = bytes.and_then(|bytes| Commit::decode(&key, &bytes).ok()) else { continue };
            for file in &commit.header.files {
                if let Some(at) = names.remove(&file.key()) {
                    strays[at].state = State::Listed;
                }
            }
            for drop in &commit.header.drops {
                if let Some(&at) = names.get(drop) {
                    strays[at].state = State::Dropped(version);
                }
            }
            let (min, max) = (commit.header.min, commit.header.max);
            let meets = |at: &usize| min <= Some(strays[*at].first) && Some(strays[*at].first) <= max;
            let met: Vec<usize> = names.values().copied().filter(meets).collect();
            if let Some(set) = (!met.is_empty()).then(|| commit.set(&key)).and_then(Result::ok) {
                for at in met {
                    if set.contains(strays[at].first) {
                        strays[at].state = State::Dead(version);
                    }
                }
            }
        }
        // Versions that were made meanwhile.
        let next = lake.get(&chain.object(crate::naming::LogEntry::Commit(head + 1))).await?;
        if next.is_none() {
            return Ok(head);
        }
        (from, head) = (head + 1, head + 1);
    }
}

/// The chain and the first record that a name stands for: of a chain that is known, or of the one
/// that the file's footer names (a shard whose first commit never came). None for names that Weir
/// does not give.
async fn slot(
    lake: &LakeStore,
    chains: &BTreeSet<ChainKey>,
    key: &str,
) -> Result<Option<(ChainKey, SequenceNumber)>> {
    let name = key.rsplit('/').next().unwrap_or(key);
    let parse = |chain: &ChainKey| {
        let shard = Shard {
            stream: chain.stream.as_str().into(),
            stream_key: chain.stream.as_str().into(),
            shard: chain.shard.as_str().into(),
        };
        SlotName::parse(&shard, name).map(|slot| (chain.clone(), slot.first.sequence))
    };
    // `<hh>-<stream>-<shard>-<first>…`: stream and shard hold dashes too, so every cut is tried.
    let body = name.get(3..).unwrap_or_default();
    let dashes: Vec<usize> = body.match_indices('-').map(|(at, _)| at).collect();
    for (i, &a) in dashes.iter().enumerate() {
        for &b in &dashes[i + 1..] {
            let chain = ChainKey { stream: body[..a].to_owned(), shard: body[a + 1..b].to_owned() };
            if chains.contains(&chain)
                && let Some(found) = parse(&chain)
            {
                return Ok(Some(found));
            }
        }
    }
    if !name.ends_with(".parquet") {
        return Ok(None);
    }
    let Opened::Footer(footer) = open(lake, key, 0).await? else { return Ok(None) };
    let (Some(stream), Some(shard)) = (footer.value("weir.stream_key"), footer.value("weir.shard")) else {
        return Ok(None);
    };
    let shard = Shard { stream: stream.into(), stream_key: stream.into(), shard: shard.into() };
    Ok(parse(&ChainKey::of(&shard)))
}
