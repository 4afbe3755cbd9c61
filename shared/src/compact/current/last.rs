//! Rows of changes → the last one of each key.
//!
//! Changes of one item are ordered by shard, then by number. An item lives in one shard and then in
//! its descendants, and the id of a DynamoDB shard begins with the time it was made. Where events did
//! not name their shard ([`ALL_SHARDS`]) the number alone decides, also beside rows that have one: of
//! a mapping that was given a tumbling window, or lost it.

use std::cmp::Ordering;
use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::super::block::{BlockLeaf, Data};
use super::super::key::Keys;
use super::super::load::{Loaded, Position};
use crate::columns::Layout;
use crate::error::{Error, Result};
use crate::event::ALL_SHARDS;
use crate::record::SequenceNumber;
use crate::schema::TableSchema;

/// Leaves that decide.
#[derive(Debug)]
pub(super) struct Places {
    keys: Vec<usize>,
    op: usize,
    shard: usize,
    sequence: usize,
    subsequence: usize,
}

impl Places {
    pub(super) fn of(schema: &TableSchema, keys: &[String], layout: &Layout) -> Result<Self> {
        let lacks = |problem: String| Error::Schema { table: schema.name.clone(), problem };
        let leaf = |name: &str| {
            let field = layout.fields.iter().find(|field| field.name == name && field.leaves.len() == 1);
            let missing = || lacks(format!("a current state needs a flat column `{name}` of its changes"));
            field.map(|field| field.leaves.start).ok_or_else(missing)
        };
        let op = schema.columns.iter().find(|c| matches!(c.from.as_slice(), [field] if field == "_op"));
        let op = op.ok_or_else(|| lacks("no column is read from `_op`".into()))?;
        let first = layout.provenance.ok_or_else(|| {
            lacks("`weir.provenance` is `footer`: the order of changes stands in its columns".into())
        })?;
        Ok(Self {
            keys: keys.iter().map(|key| leaf(key)).collect::<Result<_>>()?,
            op: leaf(&op.name)?,
            shard: first + 1,
            sequence: first + 2,
            subsequence: first + 3,
        })
    }

    /// All of them.
    pub(super) fn leaves(&self) -> Vec<usize> {
        let others = [self.op, self.shard, self.sequence, self.subsequence];
        self.keys.iter().copied().chain(others).collect()
    }
}

/// A part of all keys by their hash.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub(super) part: u32,
    pub(super) of: u32,
}

/// The part of a key, where there are `of`, a power of two: the highest bits of its hash.
pub(super) fn part_of(key: &[u8; 16], of: u32) -> u32 {
    let high = key.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    ((u64::from(high) * u64::from(of)) >> 32) as u32
}

/// The last change of a key so far.
#[derive(Debug)]
struct Change {
    shard: u32,
    sequence: SequenceNumber,
    subsequence: i32,
    at: Position,
    removed: bool,
}

/// Keys by a hash too wide to meet another one's.
#[derive(Debug, Default)]
pub(super) struct Last {
    by_key: HashMap<[u8; 16], Change>,
    shards: Vec<Box<[u8]>>,
}

impl Last {
    /// Look at the rows of a block; how many of them are of the share.
    pub(super) fn look(
        &mut self,
        loaded: &Loaded,
        places: &Places,
        share: Share,
    ) -> std::result::Result<u64, String> {
        let mut count = 0;
        let block = &loaded.block;
        let keys = Keys::of(block, &places.keys);
        let column = |leaf: usize| Values { leaf: &block.leaves[leaf], rank: 0 };
        let (mut ops, mut shards) = (column(places.op), column(places.shard));
        let (mut sequences, mut subsequences) = (column(places.sequence), column(places.subsequence));
        for row in 0..block.rows as u32 {
            let (op, shard) = (ops.text(row), shards.text(row).unwrap_or_default());
            let (sequence, subsequence) = (sequences.text(row), subsequences.int(row).unwrap_or_default());
            let key = hash(&keys, row);
            if share.of > 1 && part_of(&key, share.of) != share.part {
                continue;
            }
            count += 1;
            let sequence = sequence.and_then(|digits| SequenceNumber::parse(digits).ok());
            let sequence =
                sequence.ok_or_else(|| format!("row {row}: _sequence is no number of a stream"))?;
            let removed = op == Some(b"remove");
            let (shard, at) = (self.shard(shard), loaded.position(row));
            let change = Change { shard, sequence, subsequence, at, removed };
            match self.by_key.get_mut(&key) {
                None => _ = self.by_key.insert(key, change),
                Some(last) if order(&self.shards, &change, last).is_gt() => *last = change,
                Some(_) => {}
            }
        }
        Ok(count)
    }

    /// Places of the last changes, ascending, and whether each is a removal.
    pub(super) fn winners(self) -> Vec<(Position, bool)> {
        let mut winners: Vec<_> =
            self.by_key.into_values().map(|change| (change.at, change.removed)).collect();
        winners.sort_unstable();
        winners
    }

    fn shard(&mut self, name: &[u8]) -> u32 {
        // A block has few shards, and the last ones met come again.
        let known = self.shards.iter().rposition(|shard| **shard == *name);
        let at = known.unwrap_or_else(|| {
            self.shards.push(name.into());
            self.shards.len() - 1
        });
        at as u32
    }
}

/// For each part the rows of a block that are the last of their key in it.
pub(super) fn parted(
    loaded: &Loaded,
    places: &Places,
    parts: u32,
) -> std::result::Result<Vec<Vec<u32>>, String> {
    let mut last = Last::default();
    last.look(loaded, places, Share { part: 0, of: 1 })?;
    let keys = Keys::of(&loaded.block, &places.keys);
    let mut parted: Vec<Vec<u32>> = vec![Vec::new(); parts as usize];
    for row in rows(loaded, &last.winners()).map(|(row, _)| row) {
        parted[part_of(&hash(&keys, row), parts) as usize].push(row);
    }
    Ok(parted)
}

/// Rows of a block that are winners, and whether each is a removal.
pub(super) fn rows<'a>(
    loaded: &'a Loaded,
    winners: &'a [(Position, bool)],
) -> impl Iterator<Item = (u32, bool)> + 'a {
    loaded.runs().flat_map(move |(rows, first)| {
        within(winners, first, rows.len() as u64)
            .iter()
            .map(move |(at, removed)| (rows.start as u32 + (at - first) as u32, *removed))
    })
}

/// The winners among `rows` rows from a place on.
pub(super) fn within(winners: &[(Position, bool)], first: Position, rows: u64) -> &[(Position, bool)] {
    let from = winners.partition_point(|winner| winner.0 < first);
    let count = winners[from..].partition_point(|winner| winner.0 < first + rows);
    &winners[from..from + count]
}

fn hash(keys: &Keys, row: u32) -> [u8; 16] {
    let mut key = [0; 16];
    key.copy_from_slice(&Sha256::digest(keys.get(row, &mut [0; 16]))[..16]);
    key
}

fn order(shards: &[Box<[u8]>], a: &Change, b: &Change) -> Ordering {
    let [of_a, of_b] = [a, b].map(|change| &*shards[change.shard as usize]);
    let of_all = |shard: &[u8]| shard == ALL_SHARDS.as_bytes();
    // The number as the stream wrote it: that of all shards has ten digits more.
    let number = |change: &Change, shard: &[u8]| match of_all(shard) {
        true => change.sequence.without_ten_digits(),
        false => change.sequence,
    };
    let by_shard = match of_all(of_a) == of_all(of_b) {
        true => of_a.cmp(of_b).then(a.sequence.cmp(&b.sequence)),
        false => number(a, of_a).cmp(&number(b, of_b)).then(of_a.cmp(of_b)),
    };
    by_shard.then(a.subsequence.cmp(&b.subsequence))
}

/// The values of a flat leaf, row by row.
struct Values<'a> {
    leaf: &'a BlockLeaf,
    rank: usize,
}

impl<'a> Values<'a> {
    fn next(&mut self, row: u32) -> Option<usize> {
        let there = self.leaf.defs.get(row as usize) == self.leaf.max_def;
        self.rank += usize::from(there);
        there.then(|| self.rank - 1)
    }

    fn text(&mut self, row: u32) -> Option<&'a [u8]> {
        let at = self.next(row)?;
        match &self.leaf.data {
            Data::Bytes(texts) => Some(texts.get(texts.ids[at])),
            _ => None,
        }
    }

    fn int(&mut self, row: u32) -> Option<i32> {
        let at = self.next(row)?;
        match &self.leaf.data {
            Data::Int32(values) => values.get(at).copied(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_change_has_the_later_shard_then_the_larger_number_and_of_all_shards_the_number() {
        let shards: Vec<Box<[u8]>> =
            ["shardId-1-a", "shardId-2-b", ALL_SHARDS].map(|s| s.as_bytes().into()).into();
        let change = |shard: u32, sequence: &str, subsequence| Change {
            shard,
            sequence: sequence.parse().unwrap(),
            subsequence,
            at: 0,
            removed: false,
        };
        let ascending = [
            (change(0, "9", 0), change(0, "10", 0)),
            (change(0, "10", 0), change(0, "10", 1)),
            (change(0, "99", 0), change(1, "5", 0)),
            (change(2, "70000000001", 0), change(2, "80000000000", 0)),
            (change(2, "70000000001", 0), change(0, "8", 0)),
            (change(1, "7", 0), change(2, "80000000001", 0)),
        ];
        for (a, b) in ascending {
            assert!(order(&shards, &a, &b).is_lt() && order(&shards, &b, &a).is_gt(), "{a:?} {b:?}");
            assert!(order(&shards, &a, &a).is_eq());
        }
    }

    #[test]
    fn parts_are_ranges_of_the_hash_and_halve_into_those_of_more_parts() {
        let key = |high: u32| {
            let mut key = [7; 16];
            key[..4].copy_from_slice(&high.to_be_bytes());
            key
        };
        for high in [0, 1, u32::MAX / 3, 1 << 31, u32::MAX] {
            for of in [1, 2, 64, 4_096] {
                assert!(part_of(&key(high), of) < of);
                assert_eq!(part_of(&key(high), of * 2) / 2, part_of(&key(high), of));
            }
        }
    }
}
