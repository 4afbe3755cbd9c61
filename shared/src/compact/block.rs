//! Rows in memory as they came from pages: levels, numbers, and texts as ids into one arena.
//!
//! Texts of a dictionary page are interned once, those of a plain page are not looked at at all:
//! the page's bytes become a part of the arena. What the new file's dictionary is, [`super::gather`]
//! decides row group by row group.

use std::hash::{BuildHasher, Hasher};

use hashbrown::HashTable;

use crate::columns::{Layout, LeafSpec, Levels, Physical};

/// Rows of some leaves.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) rows: usize,
    pub(super) leaves: Vec<BlockLeaf>,
}

/// Entries of one leaf.
#[derive(Debug)]
pub(super) struct BlockLeaf {
    pub(super) defs: Levels,
    pub(super) reps: Levels,
    pub(super) data: Data,
    pub(super) max_def: u8,
    pub(super) max_rep: u8,
}

/// Values without nulls.
#[derive(Debug)]
pub(super) enum Data {
    Bool(Vec<u8>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Fixed { width: usize, data: Vec<u8> },
    Bytes(Texts),
}

/// Byte values: one id each.
#[derive(Debug, Default)]
pub(super) struct Texts {
    arena: Vec<u8>,
    /// Start and length of each distinct value that came from a dictionary, and of each other value.
    spans: Vec<(u32, u32)>,
    pub(super) ids: Vec<u32>,
    interned: HashTable<u32>,
}

impl Block {
    /// No rows yet, for all leaves of the file.
    pub(super) fn new(layout: &Layout) -> Self {
        Self { rows: 0, leaves: layout.leaves.iter().map(BlockLeaf::new).collect() }
    }

    /// Bytes of all entries.
    pub(super) fn memory(&self) -> usize {
        self.leaves.iter().map(BlockLeaf::memory).sum()
    }
}

impl BlockLeaf {
    pub(super) fn new(spec: &LeafSpec) -> Self {
        let data = match spec.physical {
            Physical::Bool => Data::Bool(Vec::new()),
            Physical::Int32 => Data::Int32(Vec::new()),
            Physical::Int64 => Data::Int64(Vec::new()),
            Physical::Float => Data::Float(Vec::new()),
            Physical::Double => Data::Double(Vec::new()),
            Physical::Fixed(width) => Data::Fixed { width, data: Vec::new() },
            Physical::Bytes => Data::Bytes(Texts::default()),
        };
        let (defs, reps) = (Levels::default(), Levels::default());
        Self { defs, reps, data, max_def: spec.max_def, max_rep: spec.max_rep }
    }

    fn memory(&self) -> usize {
        let values = match &self.data {
            Data::Bool(v) => v.len(),
            Data::Int32(v) => v.len() * 4,
            Data::Int64(v) => v.len() * 8,
            Data::Float(v) => v.len() * 4,
            Data::Double(v) => v.len() * 8,
            Data::Fixed { data, .. } => data.len(),
            Data::Bytes(v) => v.arena.len() + v.spans.len() * 8 + v.ids.len() * 4 + v.interned.len() * 5,
        };
        values + self.defs.memory() + self.reps.memory()
    }

    /// How many rows begin in it.
    pub(super) fn rows(&self) -> usize {
        if self.max_rep == 0 {
            return self.defs.len();
        }
        match self.reps.uniform() {
            Some(0) => self.reps.len(),
            Some(_) => 0,
            None => self.reps.spread().iter().filter(|rep| **rep == 0).count(),
        }
    }

    /// Append rows that are null from the outermost level on.
    pub(super) fn push_nulls(&mut self, rows: usize) {
        self.defs.push_run(0, rows);
        if self.max_rep > 0 {
            self.reps.push_run(0, rows);
        }
    }

    /// Append the levels of a leaf of the same shape.
    pub(super) fn append_levels(&mut self, other: &Self) {
        self.defs.append(&other.defs);
        self.reps.append(&other.reps);
    }
}

impl Texts {
    /// The value of an id.
    #[inline]
    pub(super) fn get(&self, id: u32) -> &[u8] {
        let (start, len) = self.spans[id as usize];
        &self.arena[start as usize..start as usize + len as usize]
    }

    /// How many ids there are.
    pub(super) fn id_count(&self) -> usize {
        self.spans.len()
    }

    /// Values of a plain page: `count` times a length in four bytes and the value.
    pub(super) fn extend_plain(&mut self, page: &[u8], count: usize) -> Result<(), String> {
        let base = self.arena.len();
        if base + page.len() > u32::MAX as usize {
            return Err("more than 4 GiB of text at once".into());
        }
        self.spans.reserve(count);
        self.ids.reserve(count);
        let mut at = 0;
        for _ in 0..count {
            let len = page.get(at..).and_then(|rest| rest.first_chunk::<4>());
            let len = len.map(|len| u32::from_le_bytes(*len)).ok_or("a page ends inside of its values")?;
            let start = at + 4;
            at = start.saturating_add(len as usize);
            if at > page.len() {
                return Err("a value ends behind its page".into());
            }
            self.ids.push(self.spans.len() as u32);
            self.spans.push(((base + start) as u32, len));
        }
        self.arena.extend_from_slice(&page[..at]);
        Ok(())
    }

    /// The id of a value of a dictionary page.
    pub(super) fn intern(&mut self, value: &[u8]) -> Result<u32, String> {
        let Self { arena, spans, interned, .. } = self;
        let get = |id: u32| {
            let (start, len) = spans[id as usize];
            &arena[start as usize..start as usize + len as usize]
        };
        if let Some(&id) = interned.find(hash(value), |&id| get(id) == value) {
            return Ok(id);
        }
        let id = spans.len() as u32;
        interned.insert_unique(hash(value), id, |&id| hash(get(id)));
        let start = u32::try_from(arena.len()).map_err(|_| "more than 4 GiB of text at once".to_owned())?;
        arena.extend_from_slice(value);
        spans.push((start, value.len() as u32));
        Ok(id)
    }
}

fn hash(value: &[u8]) -> u64 {
    let mut hasher = foldhash::fast::FixedState::with_seed(0x5745_4952).build_hasher();
    hasher.write(value);
    hasher.finish()
}
