//! Copies by `weir.dedupe_key` in a partition that does not fit into memory: keys become hashes, each
//! share of all hashes is looked at by itself, and later steps get the places of the rows to leave out.
//!
//! ```text
//! group of inputs ──► keys-<group>: shares of (hash, arrival, place)      one step a group
//! keys-* ──► losers-<share>: for each group the places of copies          one step a share
//! ```
//!
//! Hashes are 128 bits of SHA-256: nobody can make two keys that meet there.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::Compaction;
use super::key::Keys;
use super::load::{Loaded, Position, Units};
use super::order::Rules;
use super::page::PageDecoder;
use super::plan::{self, Plan};
use super::source::wrong;
use crate::columns::Layout;
use crate::commit::LakeStore;
use crate::error::Result;
use crate::naming::compaction::Task;

/// Bytes of a key in a file of keys.
const ENTRY: usize = 32;

/// Places of rows that are left out, ascending.
#[derive(Debug, Default)]
pub(super) struct Losers(Vec<Position>);

impl Losers {
    /// Those among the inputs of some groups.
    pub(super) async fn of(lake: &LakeStore, work: &str, plan: &Plan, groups: &[u32]) -> Result<Self> {
        let mut all = Vec::new();
        for share in 0..plan.shares {
            let key = format!("{work}/{}", Task::Losers(share).name());
            for &group in groups {
                let bytes = section(lake, &key, group).await?;
                all.extend(bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)));
            }
        }
        all.sort_unstable();
        Ok(Self(all))
    }

    /// How many there are in all inputs.
    pub(super) async fn count(lake: &LakeStore, work: &str, plan: &Plan) -> Result<u64> {
        let mut count = 0;
        for share in 0..plan.shares {
            let key = format!("{work}/{}", Task::Losers(share).name());
            let last = plan.groups.len() as u64 - 1;
            count += (offset(lake, &key, last).await? - (last + 1) * 8) / 8;
        }
        Ok(count)
    }

    /// For each row of a block whether it is one; nothing if none is.
    pub(super) fn among(&self, loaded: &Loaded) -> Vec<bool> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let mut found = vec![false; loaded.block.rows];
        for (rows, first) in loaded.runs() {
            let from = self.0.partition_point(|place| *place < first);
            let inside = self.0[from..].iter().take_while(|place| **place - first < rows.len() as u64);
            inside.for_each(|place| found[rows.start + (*place - first) as usize] = true);
        }
        found
    }
}

/// Keys of a group of inputs.
pub(super) async fn keys(
    lake: &LakeStore,
    compaction: &Compaction<'_>,
    layout: &Layout,
    (plan, rules): (&Plan, &Rules),
    group: u32,
) -> Result<()> {
    let units = plan::whole(plan.group(group));
    let wanted: Vec<usize> = rules.dedupe.iter().copied().chain(rules.arrived_at).collect();
    let mut shares: Vec<Vec<u8>> = vec![Vec::new(); plan.shares as usize];
    let mut decoder = PageDecoder::default();
    let mut reader = Units::of(lake, compaction.inputs, layout, &units);
    while let Some((source, number)) = reader.next().await? {
        let mut loaded = Loaded::new(layout);
        loaded.load(lake, source, number, Some(&wanted), &mut decoder).await?;
        let keys = Keys::of(&loaded.block, &rules.dedupe);
        let arrived = rules.arrivals(&loaded.block);
        let mut scratch = [0; 16];
        for row in (0..loaded.block.rows as u32).filter(|row| !keys.has_null(*row)) {
            let hash = Sha256::digest(keys.get(row, &mut scratch));
            let high = hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            let share = &mut shares[(high % u64::from(plan.shares)) as usize];
            share.extend_from_slice(&hash[..16]);
            share.extend_from_slice(&arrived(row).to_le_bytes());
            share.extend_from_slice(&loaded.position(row).to_le_bytes());
        }
    }
    put(lake, &format!("{}/{}", compaction.work, Task::Keys(group).name()), &shares).await
}

/// The copies in a share of all hashes: of the same key the row that arrived first stays, and of those
/// the one that stands first in the inputs.
pub(super) async fn losers(lake: &LakeStore, work: &str, plan: &Plan, share: u32) -> Result<()> {
    let groups = plan.groups.len() as u32 - 1;
    let mut keys: Vec<(u128, i64, Position)> = Vec::new();
    for group in 0..groups {
        let bytes = section(lake, &format!("{work}/{}", Task::Keys(group).name()), share).await?;
        keys.extend(bytes.as_chunks::<ENTRY>().0.iter().map(|entry| {
            let word = |at: usize| entry[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
            (entry.first_chunk().map_or(0, |hash| u128::from_be_bytes(*hash)), word(16) as i64, word(24))
        }));
    }
    keys.sort_unstable();
    let mut places: Vec<Position> =
        keys.chunk_by(|a, b| a.0 == b.0).flat_map(|same| &same[1..]).map(|k| k.2).collect();
    drop(keys);
    places.sort_unstable();
    let mut sections: Vec<Vec<u8>> = vec![Vec::new(); groups as usize];
    for place in places {
        sections[plan.group_of((place >> 32) as u32) as usize].extend_from_slice(&place.to_le_bytes());
    }
    put(lake, &format!("{work}/{}", Task::Losers(share).name()), &sections).await
}

/// Sections one after another, behind the place of each and of the end.
async fn put(lake: &LakeStore, key: &str, sections: &[Vec<u8>]) -> Result<()> {
    let mut at = (sections.len() as u64 + 1) * 8;
    let mut bytes = Vec::with_capacity(at as usize + sections.iter().map(Vec::len).sum::<usize>());
    bytes.extend_from_slice(&at.to_le_bytes());
    for section in sections {
        at += section.len() as u64;
        bytes.extend_from_slice(&at.to_le_bytes());
    }
    sections.iter().for_each(|section| bytes.extend_from_slice(section));
    // Who else did the step made the same bytes.
    let _ = lake.put_if_absent(key, Bytes::from(bytes)).await?;
    Ok(())
}

async fn section(lake: &LakeStore, key: &str, number: u32) -> Result<Bytes> {
    let header = u64::from(number) * 8..u64::from(number) * 8 + 16;
    let header = lake.get_range(key, header).await?;
    let (Some(from), Some(to)) = (header.first_chunk(), header.last_chunk()) else {
        return Err(wrong(key, "it is cut".into()));
    };
    let (from, to) = (u64::from_le_bytes(*from), u64::from_le_bytes(*to));
    if from == to {
        return Ok(Bytes::new());
    }
    lake.get_range(key, from..to).await
}

async fn offset(lake: &LakeStore, key: &str, number: u64) -> Result<u64> {
    let bytes = lake.get_range(key, number * 8..number * 8 + 8).await?;
    bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)).ok_or_else(|| wrong(key, "it is cut".into()))
}
