//! Pages → compressed pages, at the level that the data earns.

use zstd::zstd_safe::{CParameter, ParamSwitch};

use crate::error::{Error, Result};
use crate::schema::Compression;

/// Below this a chunk is not worth a compressor's frame.
const MIN_CHUNK_BYTES: usize = 64;
/// Below this all ways cost next to nothing, and the best one is taken unseen.
const MIN_SAMPLED_BYTES: usize = 16 << 10;
/// What all ways are tried on. Measurements repeat over hundreds of kilobytes: on a shorter
/// sample they look like ids.
const MAX_SAMPLE_BYTES: usize = 256 << 10;
/// Chunks of a leaf that go by one trial: a column seldom changes its nature.
const CHUNKS_A_TRIAL: u8 = 32;
/// The same after a trial that took the way which finds no repetitions, should some come.
const SKIMMED_A_TRIAL: u8 = 8;

/// How the pages of a chunk are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    /// Not: it would not have made them smaller.
    None,
    Zstd,
    Snappy,
}

/// How zstd is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Huffman codes and hardly a look for repetitions, at less than half of the instructions of `Fast`:
    /// for what is made of few letters and nothing else (ids), where a sample is within 8 % of the
    /// others and a page within 3 %. Only in files that are read for hours.
    Skim,
    /// Level 1: as small as level 3, or smaller, where little repeats (addresses, measurements), and
    /// several times faster there. Matches are six bytes or more whatever the page's length: by itself
    /// level 1 wants seven in pages above 256 KiB, and measurements become a third larger.
    Fast,
    /// Level 3.
    Thorough,
}

/// Fastest first; in the order of the enum, whose numbers are their places.
const WAYS: [Way; 3] = [Way::Skim, Way::Fast, Way::Thorough];

impl Way {
    fn compressor(self) -> Result<Zstd> {
        let (level, parameters): (_, &[CParameter]) = match self {
            Way::Skim => (
                1,
                &[
                    CParameter::TargetLength(8),
                    CParameter::MinMatch(7),
                    CParameter::HashLog(12),
                    CParameter::LiteralCompressionMode(ParamSwitch::Enable),
                ],
            ),
            Way::Fast => (1, &[CParameter::MinMatch(6)]),
            Way::Thorough => (3, &[]),
        };
        let mut compressor = Zstd::new(level).map_err(failed)?;
        for &parameter in parameters {
            compressor.set_parameter(parameter).map_err(failed)?;
        }
        Ok(compressor)
    }

    /// How large this way's outcome may be to be taken, in percent of the smallest.
    fn allowance(self) -> usize {
        if self == Way::Skim { 108 } else { 102 }
    }
}

/// The compressors of one thread.
#[derive(Default)]
pub(super) struct Packer {
    /// One for each of [`WAYS`], once it was needed.
    zstd: [Option<Zstd>; WAYS.len()],
    snappy: Option<snap::raw::Encoder>,
    /// What the last trial of each leaf said.
    trials: Vec<Trial>,
    page: Vec<u8>,
}

/// Which way suits a leaf.
#[derive(Debug, Clone, Copy)]
struct Trial {
    way: Way,
    /// Chunks until the next one.
    left: u8,
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Internal(format!("could not compress a page: {error}"))
}

type Zstd = zstd::bulk::Compressor<'static>;

/// The same as [`str::split`] for bytes: the pieces of `bytes` that end at `ends`.
pub(super) fn pieces<'a>(bytes: &'a [u8], ends: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    ends.iter().scan(0, |start, &end| Some(&bytes[std::mem::replace(start, end)..end]))
}

impl Packer {
    /// Compress the pages of a chunk of leaf number `leaf`, which end at `ends` in `raw`, into `packed`; the codec says
    /// whether to use it.
    pub(super) fn pack(
        &mut self,
        (leaf, compression, may_skim): (usize, Compression, bool),
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
                let way = self.way(leaf, may_skim, largest(raw, ends))?;
                for page in pieces(raw, ends) {
                    self.zstd_page(way, page)?;
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

    /// A page into `self.page`.
    fn zstd_page(&mut self, way: Way, page: &[u8]) -> Result<()> {
        let slot = &mut self.zstd[way as usize];
        let compressor = match slot {
            Some(compressor) => compressor,
            None => slot.insert(way.compressor()?),
        };
        self.page.clear();
        self.page.reserve(zstd::zstd_safe::compress_bound(page.len()));
        compressor.compress_to_buffer(page, &mut self.page).map_err(failed)?;
        Ok(())
    }

    /// Try all ways on the first part of a page, or go by what that said lately.
    fn way(&mut self, leaf: usize, may_skim: bool, page: &[u8]) -> Result<Way> {
        if page.len() < MIN_SAMPLED_BYTES {
            return Ok(Way::Thorough);
        }
        if self.trials.len() <= leaf {
            self.trials.resize(leaf + 1, Trial { way: Way::Thorough, left: 0 });
        }
        let skims_in_vain = self.trials[leaf].way == Way::Skim && !may_skim;
        if self.trials[leaf].left == 0 || skims_in_vain {
            let sample = &page[..page.len().min(MAX_SAMPLE_BYTES)];
            let mut sizes = [usize::MAX; WAYS.len()];
            for way in WAYS.into_iter().filter(|way| *way != Way::Skim || may_skim) {
                self.zstd_page(way, sample)?;
                sizes[way as usize] = self.page.len();
            }
            let smallest = sizes.into_iter().min().unwrap_or_default();
            let suits = |way: &Way| sizes[*way as usize].saturating_mul(100) <= smallest * way.allowance();
            let way = WAYS.into_iter().find(suits).unwrap_or(Way::Thorough);
            let left = if way == Way::Skim { SKIMMED_A_TRIAL } else { CHUNKS_A_TRIAL };
            self.trials[leaf] = Trial { way, left };
        }
        self.trials[leaf].left -= 1;
        Ok(self.trials[leaf].way)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A small deterministic generator (xorshift).
    fn random(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    /// A page of length-prefixed texts.
    fn texts(count: usize, mut text: impl FnMut(usize) -> String) -> Vec<u8> {
        let mut page = Vec::new();
        for n in 0..count {
            let text = text(n);
            page.extend_from_slice(&(text.len() as u32).to_le_bytes());
            page.extend_from_slice(text.as_bytes());
        }
        page
    }

    fn uuid(seed: &mut u64) -> String {
        let hex = format!("{:016x}{:016x}", random(seed), random(seed));
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    #[test]
    fn the_way_suits_what_the_page_holds_and_every_page_comes_back() {
        let mut seed = 42;
        let ids = texts(8_000, |_| uuid(&mut seed));
        let measures: Vec<u8> = (0..40_000)
            .flat_map(|_| (f64::from((random(&mut seed) % 20_000) as u32) / 1_000.0).to_le_bytes())
            .collect();
        let lines = texts(8_000, |n| {
            format!(
                "GET /shop/{}/cart?step={} HTTP/1.1 from an agent of some kind",
                random(&mut seed) % 9,
                n % 7
            )
        });
        let mut packer = Packer::default();
        assert_eq!(packer.way(0, true, &ids).unwrap(), Way::Skim);
        assert_ne!(packer.way(0, false, &ids).unwrap(), Way::Skim, "not where it may not");
        assert_ne!(packer.way(1, true, &measures).unwrap(), Way::Skim);
        assert_ne!(packer.way(2, true, &lines).unwrap(), Way::Skim);
        for (leaf, raw) in [&ids, &measures, &lines].into_iter().enumerate() {
            let (mut packed, mut ends) = (Vec::new(), Vec::new());
            let request = (leaf + 10, Compression::Zstd, true);
            let codec = packer.pack(request, (raw, &[raw.len()]), (&mut packed, &mut ends)).unwrap();
            assert_eq!(codec, Codec::Zstd);
            assert!(zstd::bulk::decompress(&packed, raw.len()).unwrap() == *raw, "leaf {leaf}");
        }
    }

    #[test]
    fn a_column_of_ids_that_begins_to_repeat_is_tried_again_soon() {
        let mut seed = 7;
        let ids = texts(8_000, |_| uuid(&mut seed));
        let lines = texts(4_000, |n| format!("the same line again and again, number {}", n % 5));
        let mut packer = Packer::default();
        assert_eq!(packer.way(0, true, &ids).unwrap(), Way::Skim);
        let later = (0..SKIMMED_A_TRIAL).map(|_| packer.way(0, true, &lines).unwrap()).last();
        assert_ne!(later, Some(Way::Skim));
    }
}
