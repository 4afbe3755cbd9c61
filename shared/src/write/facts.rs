//! What the footer says about a column chunk, as small as it can be kept while the file is open.

use super::extent::{Bounds, Order};
use super::pack::Codec;

/// A data page that was written.
#[derive(Debug)]
pub(super) struct PageFacts {
    /// Bytes, header included.
    pub(super) len: u32,
    pub(super) rows: u32,
    pub(super) nulls: u32,
    pub(super) values: u32,
    /// Nothing if there is no value, only NaN, or no short bound.
    pub(super) bounds: Option<Bounds>,
}

/// A column chunk that was written.
#[derive(Debug)]
pub(super) struct ChunkFacts {
    pub(super) codec: Codec,
    pub(super) order: Order,
    /// Of the chunk's first page in the file.
    pub(super) offset: u64,
    /// Bytes of the dictionary page, header included; 0 without one.
    pub(super) dictionary_len: u32,
    /// All pages with headers, as they stand in the file.
    pub(super) packed_bytes: u64,
    /// The same before compression.
    pub(super) raw_bytes: u64,
    /// Entries, nulls included.
    pub(super) entries: u64,
    pub(super) nulls: u64,
    pub(super) bounds: Option<Bounds>,
    pub(super) pages: Vec<PageFacts>,
    /// Offset and bytes of the bloom filter.
    pub(super) bloom: Option<(u64, u32)>,
}

/// A row group that was written.
#[derive(Debug)]
pub(super) struct RowGroupFacts {
    pub(super) offset: u64,
    pub(super) rows: u64,
    pub(super) chunks: Vec<ChunkFacts>,
}
