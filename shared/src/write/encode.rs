//! One leaf → one column chunk: dictionary page, data pages v1, and what the footer says of them.

use parquet::bloom_filter::Sbbf;

use super::dictionary::Interner;
use super::extent::{Bounds, Extent, Order};
use super::facts::{ChunkFacts, PageFacts};
use super::pack::{Codec, Packer, pieces};
use super::page::{self, Cut, Kind};
use super::source::Source;
use super::{defect, hybrid};
use crate::columns::{LeafColumn, LeafSpec, Levels};
use crate::error::{Error, Result};
use crate::schema::Compression;

/// Scratch memory above this is given back after a chunk: one partition of huge values must not
/// hold it for the rest of the run.
const KEPT_SCRATCH_BYTES: usize = 8 << 20;
/// Share of look-ups that a bloom filter answers wrongly with "maybe".
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// Scratch memory and compressors, for any number of files one after another.
#[derive(Default)]
pub struct Encoder {
    /// All pages of the chunk, and the end of each.
    raw: Vec<u8>,
    ends: Vec<usize>,
    /// The same compressed.
    packed: Vec<u8>,
    packed_ends: Vec<usize>,
    cuts: Vec<(Cut, Option<Extent>)>,
    indices: Vec<u32>,
    interner: Interner,
    packer: Packer,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

/// How a leaf is to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan<'a> {
    /// Its number in the file.
    pub(super) leaf: usize,
    pub(super) spec: &'a LeafSpec,
    pub(super) compression: Compression,
    pub(super) bloom: bool,
    /// Whether the file is read for hours only.
    pub(super) short_lived: bool,
}

impl Encoder {
    /// An encoder without memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Append the chunk of `leaf` to `out`; also its bloom filter, which the caller places.
    pub(super) fn chunk(
        &mut self,
        leaf: &LeafColumn,
        plan: Plan<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(ChunkFacts, Option<Sbbf>)> {
        let source = Source::choose(&leaf.values, &mut self.interner, &mut self.indices);
        self.raw.clear();
        self.ends.clear();
        self.cuts.clear();
        let dictionary = source.dictionary_page(&mut self.raw);
        if dictionary.is_some() {
            self.ends.push(self.raw.len());
        }
        for cut in page::cuts(leaf, source.byte_len()) {
            levels(&leaf.reps, leaf.max_rep, &cut, &mut self.raw)?;
            levels(&leaf.defs, leaf.max_def, &cut, &mut self.raw)?;
            source.append(cut.values.clone(), &mut self.raw);
            self.ends.push(self.raw.len());
            let extent = source.extent(cut.values.clone());
            self.cuts.push((cut, extent));
        }
        let kind = if source.has_dictionary() { Kind::Indices } else { Kind::Plain };
        let bloom = plan.bloom.then(|| bloom(&source)).transpose()?;

        // Not with a dictionary: its page may hold ids, and the pages of indices repetitions.
        let may_skim = plan.short_lived && kind == Kind::Plain;
        let packed = (&mut self.packed, &mut self.packed_ends);
        let codec =
            self.packer.pack((plan.leaf, plan.compression, may_skim), (&self.raw, &self.ends), packed)?;
        let facts = self.assemble(codec, dictionary, (kind, Order::of(plan.spec)), out)?;
        self.release();
        Ok((facts, bloom))
    }

    /// Headers and bodies into the file.
    fn assemble(
        &mut self,
        codec: Codec,
        dictionary: Option<usize>,
        (kind, order): (Kind, Order),
        out: &mut Vec<u8>,
    ) -> Result<ChunkFacts> {
        let offset = out.len();
        let bodies = match codec {
            Codec::None => (&self.raw, &self.ends),
            Codec::Zstd | Codec::Snappy => (&self.packed, &self.packed_ends),
        };
        let mut bodies = pieces(&self.raw, &self.ends).map(<[u8]>::len).zip(pieces(bodies.0, bodies.1));
        let mut raw_bytes = 0;
        let mut page = |kind, count| {
            let Some((raw_len, body)) = bodies.next() else {
                return Err(Error::Internal("a page is missing".into()));
            };
            let start = out.len();
            page::header(kind, count, raw_len, body, out)?;
            raw_bytes += (out.len() - start + raw_len) as u64;
            out.extend_from_slice(body);
            Ok((out.len() - start) as u32)
        };
        let dictionary_len = dictionary.map(|count| page(Kind::Dictionary, count)).transpose()?.unwrap_or(0);
        let mut pages = Vec::with_capacity(self.cuts.len());
        let mut whole: Option<Extent> = None;
        for (cut, extent) in self.cuts.drain(..) {
            match (&mut whole, &extent) {
                (Some(whole), Some(extent)) => whole.merge(extent, order),
                (None, Some(extent)) => whole = Some(extent.clone()),
                (_, None) => {}
            }
            pages.push(PageFacts {
                len: page(kind, cut.entries.len())?,
                rows: cut.rows as u32,
                nulls: (cut.entries.len() - cut.values.len()) as u32,
                values: cut.values.len() as u32,
                bounds: extent.and_then(|e| Bounds::of(&e, order)),
            });
        }
        let nulls: u64 = pages.iter().map(|p| u64::from(p.nulls)).sum();
        Ok(ChunkFacts {
            codec,
            order,
            offset: offset as u64,
            dictionary_len,
            packed_bytes: (out.len() - offset) as u64,
            raw_bytes,
            entries: nulls + pages.iter().map(|p| u64::from(p.values)).sum::<u64>(),
            nulls,
            bounds: whole.and_then(|e| Bounds::of(&e, order)),
            pages,
            bloom: None,
        })
    }

    fn release(&mut self) {
        for scratch in [&mut self.raw, &mut self.packed] {
            if scratch.capacity() > KEPT_SCRATCH_BYTES {
                *scratch = Vec::new();
            }
        }
        self.packer.shrink_to(KEPT_SCRATCH_BYTES);
    }
}

/// Append the levels of a page: length in four bytes, then the hybrid. No levels if there is only 0.
fn levels(levels: &Levels, max: u8, cut: &Cut, out: &mut Vec<u8>) -> Result<()> {
    if max == 0 {
        return Ok(());
    }
    let width = hybrid::bit_width(u32::from(max));
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    match levels.uniform() {
        Some(level) => hybrid::run(cut.entries.len(), level, width, out),
        None => hybrid::encode(&levels.spread()[cut.entries.clone()], width, out),
    }
    let len = u32::try_from(out.len() - start - 4).map_err(|_| Error::Internal("levels of 4 GiB".into()))?;
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    Ok(())
}

/// The filter of a chunk's values, folded to the size that they need.
fn bloom(source: &Source<'_>) -> Result<Sbbf> {
    let mut filter =
        Sbbf::new_with_ndv_fpp(source.visited().max(1) as u64, BLOOM_FALSE_POSITIVES).map_err(defect)?;
    source.for_each_distinct(|value| filter.insert(value));
    filter.fold_to_target_fpp(BLOOM_FALSE_POSITIVES);
    Ok(filter)
}
