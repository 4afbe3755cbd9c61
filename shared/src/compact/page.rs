//! Pages of a column chunk → entries of a leaf in a [`super::block::Block`].

use super::block::{BlockLeaf, Data};
use super::header::{self, Header, Kind};
use super::hybrid::{self, Sink};
use crate::columns::Levels;

/// How the pages of a chunk are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    None,
    Zstd,
    Snappy,
}

/// Decompressors and scratch memory, for any number of chunks.
#[derive(Default)]
pub(super) struct PageDecoder {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
    snappy: snap::raw::Decoder,
    page: Vec<u8>,
    levels: Vec<u8>,
    dictionary: Dictionary,
}

/// The values of a dictionary page, as the leaf's own kind takes them.
#[derive(Default)]
struct Dictionary {
    /// Texts: ids in the block.
    ids: Vec<u32>,
    int32: Vec<i32>,
    int64: Vec<i64>,
    float: Vec<f32>,
    double: Vec<f64>,
    present: bool,
}

impl std::fmt::Debug for PageDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageDecoder").finish_non_exhaustive()
    }
}

impl PageDecoder {
    /// Append the chunk in `bytes` to `leaf`; how many entries it had.
    pub(super) fn chunk(
        &mut self,
        bytes: &[u8],
        codec: Codec,
        leaf: &mut BlockLeaf,
    ) -> Result<usize, String> {
        let (mut at, mut entries) = (0, 0);
        self.dictionary.present = false;
        while at < bytes.len() {
            let (header, body) = header::read(bytes, at)?;
            let end = body.checked_add(header.body_len).filter(|end| *end <= bytes.len());
            let end = end.ok_or("a page ends behind its column chunk")?;
            let mut page = std::mem::take(&mut self.page);
            let read = self.unpack(&header, codec, &bytes[body..end], &mut page);
            let read = read.and_then(|raw| self.page(&header, raw, leaf));
            self.page = page;
            entries += read?;
            at = end;
        }
        Ok(entries)
    }

    fn unpack<'a>(
        &mut self,
        header: &Header,
        codec: Codec,
        body: &'a [u8],
        page: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], String> {
        if let Some(crc) = header.crc {
            let found = crc32fast::hash(body);
            if crc != found {
                return Err(format!("a page's checksum is {crc:08x}, its bytes have {found:08x}"));
            }
        }
        let raw = match codec {
            Codec::None => return Ok(body),
            Codec::Zstd => {
                let zstd = match &mut self.zstd {
                    Some(zstd) => zstd,
                    none => none.insert(zstd::bulk::Decompressor::new().map_err(|e| e.to_string())?),
                };
                page.clear();
                page.reserve(header.raw_len);
                zstd.decompress_to_buffer(body, page).map_err(|e| format!("a page that zstd refuses: {e}"))?
            }
            Codec::Snappy => {
                page.resize(header.raw_len, 0);
                let read = self.snappy.decompress(body, page);
                read.map_err(|e| format!("a page that snappy refuses: {e}"))?
            }
        };
        if raw != header.raw_len {
            return Err(format!("a page of {raw} bytes, its header says {}", header.raw_len));
        }
        Ok(&page[..raw])
    }

    fn page(&mut self, header: &Header, raw: &[u8], leaf: &mut BlockLeaf) -> Result<usize, String> {
        if header.kind == Kind::Dictionary {
            self.dictionary.load(raw, header.count, &mut leaf.data)?;
            return Ok(0);
        }
        let (count, mut present, mut rest) = (header.count, header.count, raw);
        if leaf.max_rep > 0 {
            rest = levels(rest, leaf.max_rep, count, &mut leaf.reps, &mut self.levels)?.1;
        }
        match leaf.max_def {
            0 => leaf.defs.push_run(0, count),
            max => (present, rest) = levels(rest, max, count, &mut leaf.defs, &mut self.levels)?,
        }
        match header.kind {
            Kind::Indices => self.dictionary.values(rest, present, &mut leaf.data)?,
            Kind::Plain | Kind::Dictionary => plain(rest, present, &mut leaf.data)?,
        }
        Ok(header.count)
    }
}

/// Append the levels of a page; how many are `max`, and what follows them.
fn levels<'a>(
    raw: &'a [u8],
    max: u8,
    count: usize,
    out: &mut Levels,
    pending: &mut Vec<u8>,
) -> Result<(usize, &'a [u8]), String> {
    let cut = || "a page ends inside of its levels".to_owned();
    let (len, rest) = raw.split_first_chunk::<4>().ok_or_else(cut)?;
    let (stored, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or_else(cut)?;
    pending.clear();
    hybrid::decode(stored, 8 - max.leading_zeros() as u8, count, &mut LevelSink(pending))?;
    if let Some(level) = pending.iter().find(|level| **level > max) {
        return Err(format!("level {level}, the column's highest is {max}"));
    }
    out.extend(pending);
    Ok((pending.iter().filter(|level| **level == max).count(), rest))
}

struct LevelSink<'a>(&'a mut Vec<u8>);

impl Sink for LevelSink<'_> {
    fn run(&mut self, value: u32, times: usize) {
        self.0.resize(self.0.len() + times, value.min(255) as u8);
    }
    #[inline]
    fn one(&mut self, value: u32) {
        self.0.push(value.min(255) as u8);
    }
}

/// Looks every index up; one that the dictionary does not have is remembered.
struct Lookup<'a, T> {
    dictionary: &'a [T],
    out: &'a mut Vec<T>,
    missing: Option<u32>,
}

impl<T: Copy> Sink for Lookup<'_, T> {
    fn run(&mut self, value: u32, times: usize) {
        match self.dictionary.get(value as usize) {
            Some(&found) => self.out.resize(self.out.len() + times, found),
            None => self.missing = Some(value),
        }
    }
    #[inline]
    fn one(&mut self, value: u32) {
        match self.dictionary.get(value as usize) {
            Some(&found) => self.out.push(found),
            None => self.missing = Some(value),
        }
    }
}

fn look_up<T: Copy>(page: &[u8], count: usize, dictionary: &[T], out: &mut Vec<T>) -> Result<(), String> {
    if count == 0 {
        return Ok(());
    }
    let (&width, indices) = page.split_first().ok_or("a page of indices without their width")?;
    out.reserve(count);
    let mut sink = Lookup { dictionary, out, missing: None };
    hybrid::decode(indices, width, count, &mut sink)?;
    match sink.missing {
        None => Ok(()),
        Some(index) => Err(format!("index {index} into a dictionary of {}", dictionary.len())),
    }
}

impl Dictionary {
    fn load(&mut self, page: &[u8], count: usize, like: &mut Data) -> Result<(), String> {
        self.present = true;
        self.ids.clear();
        match like {
            Data::Bytes(texts) => {
                let mut rest = page;
                for _ in 0..count {
                    let cut = || "a dictionary page ends inside of its values".to_owned();
                    let (len, after) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
                    let split = after.split_at_checked(u32::from_le_bytes(*len) as usize);
                    let (value, after) = split.ok_or_else(cut)?;
                    self.ids.push(texts.intern(value)?);
                    rest = after;
                }
                Ok(())
            }
            Data::Int32(_) => plain_into(&mut self.int32, page, count),
            Data::Int64(_) => plain_into(&mut self.int64, page, count),
            Data::Float(_) => plain_into(&mut self.float, page, count),
            Data::Double(_) => plain_into(&mut self.double, page, count),
            Data::Bool(_) | Data::Fixed { .. } => Err("a dictionary of a type that has none".into()),
        }
    }

    fn values(&self, page: &[u8], count: usize, data: &mut Data) -> Result<(), String> {
        if !self.present {
            return Err("a page of indices without a dictionary".into());
        }
        match data {
            Data::Bytes(texts) => look_up(page, count, &self.ids, &mut texts.ids),
            Data::Int32(out) => look_up(page, count, &self.int32, out),
            Data::Int64(out) => look_up(page, count, &self.int64, out),
            Data::Float(out) => look_up(page, count, &self.float, out),
            Data::Double(out) => look_up(page, count, &self.double, out),
            Data::Bool(_) | Data::Fixed { .. } => Err("indices of a type that has no dictionary".into()),
        }
    }
}

/// A number of a plain page.
trait Plain: Copy {
    const SIZE: usize;
    fn read(bytes: &[u8]) -> Self;
}

macro_rules! plain {
    ($($ty:ty)*) => {$(
        impl Plain for $ty {
            const SIZE: usize = size_of::<$ty>();
            #[inline]
            fn read(bytes: &[u8]) -> Self {
                <$ty>::from_le_bytes(bytes.first_chunk().copied().unwrap_or_default())
            }
        }
    )*};
}
plain!(i32 i64 f32 f64);

fn plain_into<T: Plain>(out: &mut Vec<T>, page: &[u8], count: usize) -> Result<(), String> {
    out.clear();
    extend(out, page, count)
}

fn extend<T: Plain>(out: &mut Vec<T>, page: &[u8], count: usize) -> Result<(), String> {
    let bytes = count.checked_mul(T::SIZE).and_then(|len| page.get(..len));
    let bytes = bytes.ok_or("a page ends inside of its values")?;
    out.extend(bytes.chunks_exact(T::SIZE).map(T::read));
    Ok(())
}

fn plain(page: &[u8], count: usize, data: &mut Data) -> Result<(), String> {
    match data {
        Data::Int32(out) => extend(out, page, count),
        Data::Int64(out) => extend(out, page, count),
        Data::Float(out) => extend(out, page, count),
        Data::Double(out) => extend(out, page, count),
        Data::Bytes(texts) => texts.extend_plain(page, count),
        Data::Fixed { width, data } => {
            let bytes = count.checked_mul(*width).and_then(|len| page.get(..len));
            data.extend_from_slice(bytes.ok_or("a page ends inside of its values")?);
            Ok(())
        }
        Data::Bool(out) => {
            let bytes = page.get(..count.div_ceil(8)).ok_or("a page ends inside of its values")?;
            out.extend((0..count).map(|i| bytes[i / 8] >> (i % 8) & 1));
            Ok(())
        }
    }
}
