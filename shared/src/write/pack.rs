//! Pages → compressed pages, at the level that the data earns.

use crate::error::{Error, Result};
use crate::schema::Compression;

/// Below this a chunk is not worth a compressor's frame.
const MIN_CHUNK_BYTES: usize = 64;
/// Below this both zstd levels cost next to nothing, and the better one is taken unseen.
const MIN_SAMPLED_BYTES: usize = 16 << 10;
/// What both levels are tried on. Measurements repeat over hundreds of kilobytes: on a shorter
/// sample they look like ids.
const MAX_SAMPLE_BYTES: usize = 256 << 10;
/// Chunks of a leaf that go by one trial: a column seldom changes its nature.
const CHUNKS_A_TRIAL: u8 = 32;

/// How the pages of a chunk are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    /// Not: it would not have made them smaller.
    None,
    Zstd,
    Snappy,
}

/// The compressors of one thread.
#[derive(Default)]
pub(super) struct Packer {
    /// zstd level 1: as small as level 3, or smaller, where nothing repeats (ids, addresses,
    /// measurements), and several times faster there.
    fast: Option<zstd::bulk::Compressor<'static>>,
    /// zstd level 3.
    thorough: Option<zstd::bulk::Compressor<'static>>,
    snappy: Option<snap::raw::Encoder>,
    /// What the last trial of each leaf said.
    trials: Vec<Trial>,
    page: Vec<u8>,
}

/// Which zstd level suits a leaf.
#[derive(Debug, Clone, Copy, Default)]
struct Trial {
    fast: bool,
    /// Chunks until the next one.
    left: u8,
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Internal(format!("could not compress a page: {error}"))
}

type Zstd = zstd::bulk::Compressor<'static>;

fn zstd_at(level: i32, slot: &mut Option<Zstd>) -> Result<&mut Zstd> {
    let compressor = match slot.take() {
        Some(compressor) => compressor,
        None => Zstd::new(level).map_err(failed)?,
    };
    Ok(slot.insert(compressor))
}

fn zstd_page(compressor: &mut Zstd, page: &[u8], out: &mut Vec<u8>) -> Result<()> {
    out.clear();
    out.reserve(zstd::zstd_safe::compress_bound(page.len()));
    compressor.compress_to_buffer(page, out).map_err(failed)?;
    Ok(())
}

/// The same as [`str::split`] for bytes: the pieces of `bytes` that end at `ends`.
pub(super) fn pieces<'a>(bytes: &'a [u8], ends: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    ends.iter().scan(0, |start, &end| Some(&bytes[std::mem::replace(start, end)..end]))
}

impl Packer {
    /// Compress the pages of a chunk of leaf number `leaf`, which end at `ends` in `raw`, into `packed`; the codec says
    /// whether to use it.
    pub(super) fn pack(
        &mut self,
        (leaf, compression): (usize, Compression),
        (raw, ends): (&[u8], &[usize]),
        (packed, packed_ends): (&mut Vec<u8>, &mut Vec<usize>),
    ) -> Result<Codec> {
        packed.clear();
        packed_ends.clear();
        if raw.len() < MIN_CHUNK_BYTES {
            return Ok(Codec::None);
        }
        let codec = match compression {
            Compression::Zstd => {
                let fast = self.fast_is_as_small(leaf, largest(raw, ends))?;
                let (level, slot) = if fast { (1, &mut self.fast) } else { (3, &mut self.thorough) };
                let compressor = zstd_at(level, slot)?;
                for page in pieces(raw, ends) {
                    zstd_page(compressor, page, &mut self.page)?;
                    packed.extend_from_slice(&self.page);
                    packed_ends.push(packed.len());
                }
                Codec::Zstd
            }
            Compression::Snappy => {
                let compressor = self.snappy.get_or_insert_with(snap::raw::Encoder::new);
                for page in pieces(raw, ends) {
                    let bound = snap::raw::max_compress_len(page.len());
                    if self.page.len() < bound {
                        self.page.resize(bound, 0);
                    }
                    let len = compressor.compress(page, &mut self.page).map_err(failed)?;
                    packed.extend_from_slice(&self.page[..len]);
                    packed_ends.push(packed.len());
                }
                Codec::Snappy
            }
        };
        // Within two percent a reader is better off without unpacking.
        Ok(if packed.len() * 100 > raw.len() * 98 { Codec::None } else { codec })
    }

    /// Try both zstd levels on the first part of a page, or go by what that said lately.
    fn fast_is_as_small(&mut self, leaf: usize, page: &[u8]) -> Result<bool> {
        if page.len() < MIN_SAMPLED_BYTES {
            return Ok(false);
        }
        if self.trials.len() <= leaf {
            self.trials.resize(leaf + 1, Trial::default());
        }
        if self.trials[leaf].left == 0 {
            let sample = &page[..page.len().min(MAX_SAMPLE_BYTES)];
            zstd_page(zstd_at(1, &mut self.fast)?, sample, &mut self.page)?;
            let fast = self.page.len();
            zstd_page(zstd_at(3, &mut self.thorough)?, sample, &mut self.page)?;
            self.trials[leaf] = Trial { fast: fast * 100 <= self.page.len() * 102, left: CHUNKS_A_TRIAL };
        }
        self.trials[leaf].left -= 1;
        Ok(self.trials[leaf].fast)
    }

    /// Give back what an unusually large page took.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        if self.page.capacity() > bytes {
            self.page = Vec::new();
        }
    }
}

fn largest<'a>(raw: &'a [u8], ends: &'a [usize]) -> &'a [u8] {
    pieces(raw, ends).max_by_key(|page| page.len()).unwrap_or_default()
}
