//! Column buffers: JSON values in, Parquet levels and values out, no rows and no Arrow between.
//!
//! A [`Layout`] is the shape of a table's file: a tree of fields over numbered leaves. A
//! [`ColumnSet`] holds the leaves' buffers of one partition. Values arrive already shredded, with
//! definition and repetition levels (Dremel, as the Parquet format describes them under
//! "Nested Encoding"), so that writing is only encoding. A row that turns out bad is taken back
//! with [`ColumnSet::truncate_row`], which leaves no trace of it, in dictionaries neither.

mod bytes;
mod dictionary;
mod layout;
mod leaf;

pub use bytes::ByteColumn;
pub use dictionary::Dictionary;
pub(crate) use dictionary::Headed;
pub use layout::{Field, FieldKind, Layout, LeafSpec, Logical, Physical};
pub use leaf::{LeafColumn, Levels, Values};

/// The buffers of one partition's rows.
#[derive(Debug)]
pub struct ColumnSet {
    /// One buffer a leaf, in the layout's order: those of the file, then the scratch ones.
    pub leaves: Vec<LeafColumn>,
    /// Complete rows.
    pub rows: usize,
}

impl ColumnSet {
    /// Empty buffers for a layout.
    pub fn new(layout: &Layout) -> Self {
        let all = layout.leaves.iter().chain(&layout.scratch);
        Self { leaves: all.map(LeafColumn::new).collect(), rows: 0 }
    }

    /// The row under construction is complete.
    #[inline]
    pub fn finish_row(&mut self) {
        self.rows += 1;
        debug_assert!(self.leaves.iter().all(|l| l.rows() == self.rows), "a leaf missed the row");
    }

    /// Take back whatever was pushed since the last complete row.
    pub fn truncate_row(&mut self) {
        for leaf in &mut self.leaves {
            leaf.truncate(self.rows);
        }
    }

    /// Bytes held by the buffers, roughly.
    pub fn memory(&self) -> usize {
        self.leaves.iter().map(LeafColumn::memory).sum()
    }

    /// Forget all rows, keep the memory.
    pub fn clear(&mut self) {
        self.rows = 0;
        for leaf in &mut self.leaves {
            leaf.clear();
        }
    }

    /// Push a null that ends at definition level `def` into a run of leaves.
    #[inline]
    pub fn push_null(&mut self, leaves: std::ops::Range<usize>, def: u8, rep: u8) {
        for leaf in &mut self.leaves[leaves] {
            leaf.push_null(def, rep);
        }
    }
}
