//! Row groups into one file in memory.

use std::sync::Arc;

use parquet::schema::types::SchemaDescPtr;

use super::encode::{Encoder, Plan};
use super::facts::RowGroupFacts;
use super::{defect, footer, schema};
use crate::columns::{ColumnSet, Layout, LeafSpec, Physical};
use crate::error::{Error, Result};
use crate::schema::Compression;

pub(super) const MAGIC: &[u8; 4] = b"PAR1";

/// What all files of a table have in common; made once, shared by all open files.
#[derive(Debug, Clone)]
pub struct FileFormat {
    pub(super) schema: SchemaDescPtr,
    leaves: Vec<LeafSpec>,
    blooms: Vec<bool>,
    compression: Compression,
    short_lived: bool,
}

impl FileFormat {
    /// The format for a layout. `bloom` names top-level columns or leaves by their dotted path
    /// (`device.id`); all leaves below a named column get a filter.
    pub fn new(layout: &Layout, compression: Compression, bloom: &[String]) -> Result<Arc<Self>> {
        let has_filter = |leaf: &LeafSpec| {
            let named = |name: &String| *name == leaf.path[0] || *name == leaf.path.join(".");
            leaf.physical != Physical::Bool && bloom.iter().any(named)
        };
        Ok(Arc::new(Self {
            schema: schema::describe(layout).map_err(defect)?,
            blooms: layout.leaves.iter().map(has_filter).collect(),
            leaves: layout.leaves.clone(),
            compression,
            short_lived: false,
        }))
    }

    /// The format of files that are read for hours, until their partition is compacted: no Bloom
    /// filters, and ids are packed for speed.
    ///
    /// # Errors
    /// A layout that is none.
    pub fn short_lived(layout: &Layout, compression: Compression) -> Result<Arc<Self>> {
        let format = Arc::unwrap_or_clone(Self::new(layout, compression, &[])?);
        Ok(Arc::new(Self { short_lived: true, ..format }))
    }
}

/// A file under construction: the compressed bytes so far, and a few bytes per page about them.
#[derive(Debug)]
pub struct FileWriter {
    format: Arc<FileFormat>,
    bytes: Vec<u8>,
    /// Bytes before those, which were taken.
    taken: u64,
    row_groups: Vec<RowGroupFacts>,
    rows: u64,
}

impl FileWriter {
    /// An empty file.
    pub fn new(format: &Arc<FileFormat>) -> Self {
        Self { format: Arc::clone(format), bytes: MAGIC.to_vec(), taken: 0, row_groups: Vec::new(), rows: 0 }
    }

    /// Append all complete rows of `columns` as one row group; without rows, nothing.
    pub fn write_row_group(&mut self, columns: &ColumnSet, encoder: &mut Encoder) -> Result<()> {
        if columns.rows == 0 {
            return Ok(());
        }
        let incomplete = columns.leaves.iter().any(|leaf| leaf.rows() != columns.rows);
        if incomplete || columns.leaves.len() < self.format.leaves.len() {
            return Err(Error::Internal("columns that do not fit the file, or an open row".into()));
        }
        let offset = self.taken + self.bytes.len() as u64;
        let mut chunks = Vec::with_capacity(columns.leaves.len());
        let mut filters = Vec::new();
        // Buffers behind those of the file only feed partition keys.
        for (i, spec) in self.format.leaves.iter().enumerate() {
            let (leaf, compression) = (&columns.leaves[i], self.format.compression);
            let (bloom, short_lived) = (self.format.blooms[i], self.format.short_lived);
            let plan = Plan { leaf: i, spec, compression, bloom, short_lived };
            let (mut chunk, filter) = encoder.chunk(leaf, plan, &mut self.bytes)?;
            chunk.offset += self.taken;
            chunks.push(chunk);
            filters.extend(filter.map(|filter| (i, filter)));
        }
        for (i, filter) in filters {
            let start = self.bytes.len();
            filter.write(&mut self.bytes).map_err(defect)?;
            chunks[i].bloom = Some((self.taken + start as u64, (self.bytes.len() - start) as u32));
        }
        self.row_groups.push(RowGroupFacts { offset, rows: columns.rows as u64, chunks });
        self.rows += columns.rows as u64;
        Ok(())
    }

    /// Bytes so far, without the footer.
    pub fn bytes_written(&self) -> usize {
        self.taken as usize + self.bytes.len()
    }

    /// Bytes that are held: those that were not taken.
    pub fn bytes_held(&self) -> usize {
        self.bytes.len()
    }

    /// Take the bytes so far, for a file that is larger than memory should hold: what
    /// [`Self::finish`] returns follows them.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        self.taken += self.bytes.len() as u64;
        std::mem::take(&mut self.bytes)
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The whole file, or what follows the bytes that were taken. `metadata` is what its footer says beside the format's own facts: shard,
    /// range, schema version and the like.
    pub fn finish(mut self, metadata: &[(String, String)]) -> Result<Vec<u8>> {
        let row_groups = std::mem::take(&mut self.row_groups);
        footer::append(&self.format.schema, row_groups, metadata, (self.taken, &mut self.bytes))
            .map_err(defect)?;
        Ok(self.bytes)
    }
}
