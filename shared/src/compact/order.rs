//! Rows of a block → those that stay, in the order of the new files.

use std::hash::{BuildHasher, Hasher};

use hashbrown::HashTable;

use super::block::{Block, Data};
use super::key::Keys;
use crate::columns::Layout;
use crate::error::{Error, Result};

/// Leaves that decide, by number.
#[derive(Debug)]
pub(super) struct Rules {
    sort: Vec<usize>,
    dedupe: Vec<usize>,
    arrived_at: Option<usize>,
}

impl Rules {
    /// Find the columns of `weir.sort` and `weir.dedupe_key`.
    pub(super) fn of(layout: &Layout, sort: &[String], dedupe: &[String]) -> Result<Self> {
        let find = |names: &[String]| names.iter().map(|name| leaf(layout, name)).collect::<Result<_>>();
        let arrived_at = layout.provenance.map(|first| first + 4);
        Ok(Self { sort: find(sort)?, dedupe: find(dedupe)?, arrived_at })
    }

    /// The rows of a block that holds everything.
    pub(super) fn order(&self, block: &Block) -> Vec<u32> {
        let mut rows = self.dedupe(block);
        if !self.sort.is_empty() {
            Keys::of(block, &self.sort).sort(&mut rows);
        }
        rows
    }

    /// Of rows with the same key the one that arrived first stays, and of those the one that stands
    /// first in the inputs. Rows with a null in the key all stay.
    fn dedupe(&self, block: &Block) -> Vec<u32> {
        let all = 0..block.rows as u32;
        if self.dedupe.is_empty() {
            return all.collect();
        }
        let keys = Keys::of(block, &self.dedupe);
        let arrived = self.arrivals(block);
        let mut removed = vec![false; block.rows];
        let mut kept: HashTable<u32> = HashTable::new();
        let mut scratch = [0; 16];
        for row in all.clone().filter(|row| !keys.has_null(*row)) {
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
        all.filter(|row| !removed[*row as usize]).collect()
    }

    /// When a row arrived; 0 for all if the files do not say.
    fn arrivals<'a>(&self, block: &'a Block) -> impl Fn(u32) -> i64 + 'a {
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
