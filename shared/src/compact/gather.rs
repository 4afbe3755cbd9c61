//! Chosen rows of a block, in a chosen order → the buffers of a row group.

use super::block::{Block, BlockLeaf, Data, Texts};
use crate::columns::{ByteColumn, ColumnSet, Layout, LeafColumn, Values};

/// Where the rows of a block are in its leaves, and scratch memory.
#[derive(Debug)]
pub(super) struct Gather {
    places: Vec<Places>,
    /// Id of a text → its index in the row group's dictionary + 1.
    known: Vec<u32>,
}

/// How a leaf's entries and values are found by row.
#[derive(Debug)]
enum Places {
    /// Row i has value i.
    Dense,
    /// One entry a row; values before it.
    Ranked(Vec<u32>),
    /// The first entry of each row and of one more, and the values before it.
    Nested(Vec<(u32, u32)>),
}

impl Gather {
    /// For a block that is complete.
    pub(super) fn of(block: &Block) -> Self {
        Self { places: block.leaves.iter().map(Places::of).collect(), known: Vec::new() }
    }

    /// Put `rows` of the block into `out`, which is emptied first.
    pub(super) fn rows(&mut self, block: &Block, rows: &[u32], out: &mut ColumnSet) {
        out.clear();
        for (i, leaf) in block.leaves.iter().enumerate() {
            gather(leaf, &self.places[i], rows, &mut self.known, &mut out.leaves[i]);
        }
        out.rows = rows.len();
    }

    /// Put some leaves of `rows` into `out`, whose leaves these are, one after another.
    pub(super) fn leaves(&mut self, block: &Block, leaves: &[usize], rows: &[u32], out: &mut ColumnSet) {
        out.clear();
        for (to, &from) in out.leaves.iter_mut().zip(leaves) {
            gather(&block.leaves[from], &self.places[from], rows, &mut self.known, to);
        }
        out.rows = rows.len();
    }
}

/// Buffers for row groups of a layout, without those of columns that no file has.
pub(super) fn buffers(layout: &Layout) -> ColumnSet {
    ColumnSet { leaves: layout.leaves.iter().map(LeafColumn::new).collect(), rows: 0 }
}

impl Places {
    fn of(leaf: &BlockLeaf) -> Self {
        if leaf.max_rep > 0 {
            let mut places = Vec::new();
            let mut values = 0;
            for entry in 0..leaf.defs.len() {
                if leaf.reps.get(entry) == 0 {
                    places.push((entry as u32, values));
                }
                values += u32::from(leaf.defs.get(entry) == leaf.max_def);
            }
            places.push((leaf.defs.len() as u32, values));
            return Places::Nested(places);
        }
        if leaf.defs.uniform().is_some_and(|def| def == leaf.max_def) {
            return Places::Dense;
        }
        let mut values = 0;
        let rank = |entry: usize| {
            let before = values;
            values += u32::from(leaf.defs.get(entry) == leaf.max_def);
            before
        };
        Places::Ranked((0..leaf.defs.len()).map(rank).collect())
    }
}

fn gather(leaf: &BlockLeaf, places: &Places, rows: &[u32], known: &mut Vec<u32>, out: &mut LeafColumn) {
    match places {
        Places::Dense => {
            out.defs.push_run(leaf.max_def, rows.len());
            copy(&leaf.data, rows.iter().copied(), known, &mut out.values);
        }
        Places::Ranked(ranks) => {
            let mut present = Vec::with_capacity(rows.len());
            for &row in rows {
                let def = leaf.defs.get(row as usize);
                out.defs.push(def);
                if def == leaf.max_def {
                    present.push(ranks[row as usize]);
                }
            }
            copy(&leaf.data, present.into_iter(), known, &mut out.values);
        }
        Places::Nested(places) => {
            let mut present = Vec::new();
            for &row in rows {
                let [(start, value), (end, next)] = [places[row as usize], places[row as usize + 1]];
                for entry in start..end {
                    out.defs.push(leaf.defs.get(entry as usize));
                    out.reps.push(leaf.reps.get(entry as usize));
                }
                present.extend(value..next);
            }
            copy(&leaf.data, present.into_iter(), known, &mut out.values);
        }
    }
    out.set_rows(rows.len());
}

fn copy(data: &Data, places: impl Iterator<Item = u32>, known: &mut Vec<u32>, out: &mut Values) {
    match (data, out) {
        (Data::Bool(from), Values::Bool(to)) => to.extend(places.map(|i| from[i as usize])),
        (Data::Int32(from), Values::Int32(to)) => to.extend(places.map(|i| from[i as usize])),
        (Data::Int64(from), Values::Int64(to)) => to.extend(places.map(|i| from[i as usize])),
        (Data::Float(from), Values::Float(to)) => to.extend(places.map(|i| from[i as usize])),
        (Data::Double(from), Values::Double(to)) => to.extend(places.map(|i| from[i as usize])),
        (Data::Fixed { width, data: from }, Values::Fixed { data: to, .. }) => {
            for i in places {
                to.extend_from_slice(&from[i as usize * width..][..*width]);
            }
        }
        (Data::Bytes(from), Values::Bytes(to)) => copy_texts(from, places, known, to),
        _ => unreachable!("block and row group are of one layout"),
    }
}

fn copy_texts(from: &Texts, places: impl Iterator<Item = u32>, known: &mut Vec<u32>, to: &mut ByteColumn) {
    known.clear();
    known.resize(from.id_count(), 0);
    for place in places {
        let id = from.ids[place as usize];
        match known[id as usize] {
            0 => {
                let index = to.push_indexed(from.get(id));
                known[id as usize] = index.map_or(0, |index| index + 1);
            }
            // What is known is known of a dictionary that may have been dropped since.
            index if to.dictionary().is_some() => to.push_index(index - 1),
            _ => to.push(from.get(id)),
        }
    }
}
