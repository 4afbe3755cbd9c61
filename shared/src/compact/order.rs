//! Rows of a block → those that stay, in the order of the new files.

use std::hash::{BuildHasher, Hasher};

use hashbrown::HashTable;

use super::block::{Block, Data};
use super::copies::Losers;
use super::key::{Bound, Keys};
use super::load::Loaded;
use super::sample::Splitter;
use crate::columns::Layout;
use crate::error::{Error, Result};

/// Leaves that decide, by number.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) sort: Vec<usize>,
    pub(super) dedupe: Vec<usize>,
    pub(super) arrived_at: Option<usize>,
}

/// How the copies of `weir.dedupe_key` are told.
#[derive(Debug, Clone, Copy)]
pub(super) enum Copies<'a> {
    /// All rows are in the block: look for them.
    Here,
    /// They were looked for before.
    Known(&'a Losers),
}

/// The rows of a bucket.
#[derive(Debug)]
pub(super) struct Ordered {
    /// Rows of the block that stay.
    pub(super) rows: Vec<u32>,
    /// How many of the bucket's rows do not.
    pub(super) removed: u64,
}

impl Rules {
    /// Find the columns of `weir.sort` and `weir.dedupe_key`.
    pub(super) fn of(layout: &Layout, sort: &[String], dedupe: &[String]) -> Result<Self> {
        let find = |names: &[String]| names.iter().map(|name| leaf(layout, name)).collect::<Result<_>>();
        let arrived_at = layout.provenance.map(|first| first + 4);
        Ok(Self { sort: find(sort)?, dedupe: find(dedupe)?, arrived_at })
    }

    /// Those of a block's rows that are of a bucket and stay, in order.
    pub(super) fn bucket(
        &self,
        loaded: &Loaded,
        (from, to): (Option<&Splitter>, Option<&Splitter>),
        copies: Copies<'_>,
    ) -> Ordered {
        let keys = Keys::of(&loaded.block, &self.sort);
        let mut rows: Vec<u32> = (0..loaded.block.rows as u32).collect();
        let [from, to] = [from.map(Splitter::bound), to.map(Splitter::bound)];
        let order = |row: u32, bound: &Bound<'_>| keys.compare(row, bound, || loaded.position(row));
        rows.retain(|&row| {
            from.as_ref().is_none_or(|from| order(row, from).is_ge())
                && to.as_ref().is_none_or(|to| order(row, to).is_lt())
        });
        let all = rows.len();
        let removed = match copies {
            Copies::Here => self.copies(&loaded.block),
            Copies::Known(losers) => losers.among(loaded),
        };
        rows.retain(|row| !removed.get(*row as usize).is_some_and(|removed| *removed));
        let removed = (all - rows.len()) as u64;
        if !self.sort.is_empty() {
            keys.sort(&mut rows);
        }
        Ordered { rows, removed }
    }

    /// For each of some buckets the rows that are of it and stay, in the order of the inputs.
    pub(super) fn part(&self, loaded: &Loaded, splitters: &[Splitter], losers: &Losers) -> Vec<Vec<u32>> {
        let keys = Keys::of(&loaded.block, &self.sort);
        let bounds: Vec<Bound<'_>> = splitters.iter().map(Splitter::bound).collect();
        let removed = losers.among(loaded);
        let mut parted: Vec<Vec<u32>> = vec![Vec::new(); splitters.len() + 1];
        for row in 0..loaded.block.rows as u32 {
            if removed.get(row as usize).is_some_and(|removed| *removed) {
                continue;
            }
            let after = |bound: &Bound<'_>| keys.compare(row, bound, || loaded.position(row)).is_ge();
            parted[bounds.partition_point(after)].push(row);
        }
        parted
    }

    /// Of rows with the same key the one that arrived first stays, and of those the one that stands
    /// first in the inputs. Rows with a null in the key all stay.
    fn copies(&self, block: &Block) -> Vec<bool> {
        if self.dedupe.is_empty() {
            return Vec::new();
        }
        let all = 0..block.rows as u32;
        let keys = Keys::of(block, &self.dedupe);
        let arrived = self.arrivals(block);
        let mut removed = vec![false; block.rows];
        let mut kept: HashTable<u32> = HashTable::new();
        let mut scratch = [0; 16];
        for row in all.filter(|row| !keys.has_null(*row)) {
            let key = keys.get(row, &mut scratch);
            let same = |other: &u32| keys.get(*other, &mut [0; 16]) == key;
            match kept.find_mut(hash(key), same) {
                Some(first) if arrived(row) < arrived(*first) => {
                    removed[*first as usize] = true;
                    *first = row;
                }
                Some(_) => removed[row as usize] = true,
                None => {
                    kept.insert_unique(hash(key), row, |row| hash(keys.get(*row, &mut [0; 16])));
                }
            }
        }
        removed
    }

    /// When a row arrived; 0 for all if the files do not say.
    pub(super) fn arrivals<'a>(&self, block: &'a Block) -> impl Fn(u32) -> i64 + 'a {
        let times = self.arrived_at.and_then(|leaf| match &block.leaves[leaf].data {
            // Rows without it would not be found by their number.
            Data::Int64(times) if times.len() == block.rows => Some(times.as_slice()),
            _ => None,
        });
        move |row| times.map_or(0, |times| times[row as usize])
    }
}

fn leaf(layout: &Layout, name: &str) -> Result<usize> {
    let field = layout.fields.iter().find(|field| field.name == name && field.leaves.len() == 1);
    field
        .map(|field| field.leaves.start)
        .ok_or_else(|| Error::Internal(format!("no column {name} to order by")))
}

fn hash(key: &[u8]) -> u64 {
    let mut hasher = foldhash::fast::FixedState::with_seed(0x5745_4952).build_hasher();
    hasher.write(key);
    hasher.finish()
}
