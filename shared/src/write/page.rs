//! Page headers, and where pages are cut.
//!
//! Specification: `PageHeader` in
//! <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>, in
//! Thrift's compact protocol. Only the fields of the file profile exist here.

use std::ops::Range;

use super::hybrid::varint;
use crate::columns::LeafColumn;
use crate::error::{Error, Result};

/// Most entries of a page. Measured: pages of a row group's whole length are best.
const MAX_PAGE_ENTRIES: usize = 131_072;
/// Bytes of values that a page aims at.
const PAGE_BYTES: usize = 1 << 20;

const COMPACT_I32: u8 = 5;
const COMPACT_STRUCT: u8 = 12;
const DATA_PAGE: i32 = 0;
const DICTIONARY_PAGE: i32 = 2;
const PLAIN: i32 = 0;
const PLAIN_DICTIONARY: i32 = 2;
const RLE: i32 = 3;

/// What a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Dictionary,
    /// Values as they are.
    Plain,
    /// Indices into the dictionary.
    Indices,
}

/// Append the header of a page with `count` entries and the bytes `body` as they stand in the file.
pub(super) fn header(kind: Kind, count: usize, raw_len: usize, body: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let size = |n: usize| i32::try_from(n).map_err(|_| Error::Internal(format!("a page of {n} bytes")));
    let (ty, inner_id, encoding) = match kind {
        Kind::Dictionary => (DICTIONARY_PAGE, 7, PLAIN_DICTIONARY),
        Kind::Plain => (DATA_PAGE, 5, PLAIN),
        Kind::Indices => (DATA_PAGE, 5, PLAIN_DICTIONARY),
    };
    let crc = crc32fast::hash(body) as i32;
    for value in [ty, size(raw_len)?, size(body.len())?, crc] {
        field(1, COMPACT_I32, out);
        zigzag(value, out);
    }
    field(inner_id - 4, COMPACT_STRUCT, out);
    let levels: &[i32] = if kind == Kind::Dictionary { &[] } else { &[RLE, RLE] };
    for &value in [size(count)?, encoding].iter().chain(levels) {
        field(1, COMPACT_I32, out);
        zigzag(value, out);
    }
    out.extend_from_slice(&[0, 0]);
    Ok(())
}

fn field(delta: u8, ty: u8, out: &mut Vec<u8>) {
    out.push(delta << 4 | ty);
}

fn zigzag(value: i32, out: &mut Vec<u8>) {
    varint(u64::from(((value << 1) ^ (value >> 31)) as u32), out);
}

/// A run of entries that becomes one page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) entries: Range<usize>,
    /// The values among them.
    pub(super) values: Range<usize>,
    pub(super) rows: usize,
}

/// Cut a column of `value_bytes` into pages of about equal length, which begin with a row each (the
/// page index asks for that).
pub(super) fn cuts(leaf: &LeafColumn, value_bytes: usize) -> impl Iterator<Item = Cut> {
    let entries = leaf.defs.len();
    let pages = value_bytes.div_ceil(PAGE_BYTES).max(entries.div_ceil(MAX_PAGE_ENTRIES)).max(1);
    let step = entries.div_ceil(pages).max(1);
    let (mut entry, mut value) = (0, 0);
    std::iter::from_fn(move || {
        if entry == entries {
            return None;
        }
        let mut end = (entry + step).min(entries);
        if leaf.max_rep > 0 {
            while end < entries && leaf.reps.get(end) != 0 {
                end += 1;
            }
        }
        let rows = if leaf.max_rep > 0 { count(&leaf.reps, entry..end, 0) } else { end - entry };
        let present = count(&leaf.defs, entry..end, leaf.max_def);
        let cut = Cut { entries: entry..end, values: value..value + present, rows };
        (entry, value) = (end, value + present);
        Some(cut)
    })
}

fn count(levels: &crate::columns::Levels, range: Range<usize>, level: u8) -> usize {
    match levels.uniform() {
        Some(uniform) if uniform == level => range.len(),
        Some(_) => 0,
        None => levels.spread()[range].iter().filter(|l| **l == level).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_bytes_are_compact_thrift() {
        let mut out = Vec::new();
        header(Kind::Plain, 3, 100, b"abc", &mut out).unwrap();
        let crc = crc32fast::hash(b"abc") as i32;
        let mut expected = vec![0x15, 0, 0x15, 200, 1, 0x15, 6, 0x15];
        varint(u64::from(((crc << 1) ^ (crc >> 31)) as u32), &mut expected);
        expected.extend([0x1C, 0x15, 6, 0x15, 0, 0x15, 6, 0x15, 6, 0, 0]);
        assert_eq!(out, expected);
    }
}
