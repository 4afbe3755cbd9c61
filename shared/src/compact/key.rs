//! Columns of a row → bytes that compare as the row does: ascending, nulls last.
//!
//! | type | bytes after one byte 0 (null: one byte 1, then zeros of the same length, texts none) |
//! |---|---|
//! | boolean | 0 or 1 |
//! | integers, dates, timestamps, decimals | big-endian, the sign bit turned |
//! | float, double | big-endian bits; all turned if negative, else the sign bit; -0 is 0, NaN is greatest |
//! | string, binary | a byte 0 as 0 255, at the end 0 0 |

use std::cmp::Ordering;

use super::block::{Block, BlockLeaf, Data};

/// Bytes of a key that are compared at once.
const PREFIX: usize = 16;

/// The keys of a block's rows.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// The first bytes, big-endian, filled up with zeros.
    prefixes: Vec<u128>,
    /// All bytes, if [`PREFIX`] does not hold every key.
    whole: Option<(Vec<u8>, Vec<u32>)>,
    width: usize,
    /// Rows with a null in some column, if there are any.
    nulls: Vec<bool>,
}

impl Keys {
    /// Keys over some flat leaves.
    pub(super) fn of(block: &Block, leaves: &[usize]) -> Self {
        let columns: Vec<Column<'_>> = leaves.iter().map(|&i| Column::of(&block.leaves[i])).collect();
        let widths: Option<Vec<usize>> = columns.iter().map(Column::width).collect();
        let width: Option<usize> = widths.map(|widths| widths.iter().sum());
        let mut keys = Keys { prefixes: Vec::with_capacity(block.rows), ..Keys::default() };
        let mut whole = (Vec::new(), Vec::new());
        let mut key = Vec::with_capacity(64);
        let mut ranks = vec![0; columns.len()];
        let has_nulls = columns.iter().any(|c| !c.dense);
        for row in 0..block.rows {
            key.clear();
            let mut null = false;
            for (column, rank) in columns.iter().zip(&mut ranks) {
                null |= !column.append(row, rank, &mut key);
            }
            let mut prefix = [0; PREFIX];
            let len = key.len().min(PREFIX);
            prefix[..len].copy_from_slice(&key[..len]);
            keys.prefixes.push(u128::from_be_bytes(prefix));
            if has_nulls {
                keys.nulls.push(null);
            }
            if width.is_none_or(|width| width > PREFIX) {
                whole.0.extend_from_slice(&key);
                whole.1.push(whole.0.len() as u32);
            }
        }
        match width {
            Some(width) if width <= PREFIX => keys.width = width,
            _ => keys.whole = Some(whole),
        }
        keys
    }

    /// The key of a row.
    pub(super) fn get<'a>(&'a self, row: u32, scratch: &'a mut [u8; PREFIX]) -> &'a [u8] {
        match &self.whole {
            Some(whole) => slice(whole, row),
            None => {
                *scratch = self.prefixes[row as usize].to_be_bytes();
                &scratch[..self.width]
            }
        }
    }

    /// Whether some column of the row is null.
    pub(super) fn has_null(&self, row: u32) -> bool {
        self.nulls.get(row as usize).is_some_and(|null| *null)
    }

    /// Compare a row with a key and a place; the row's place is asked for if the keys are the same.
    pub(super) fn compare(&self, row: u32, to: &Bound<'_>, position: impl FnOnce() -> u64) -> Ordering {
        let prefix = self.prefixes[row as usize].cmp(&to.prefix);
        prefix
            .then_with(|| self.get(row, &mut [0; PREFIX]).cmp(to.key))
            .then_with(|| position().cmp(&to.position))
    }

    /// Sort rows by their keys; those that are equal keep the order of their numbers.
    pub(super) fn sort(&self, rows: &mut [u32]) {
        let mut pairs: Vec<(u128, u32)> =
            rows.iter().map(|&row| (self.prefixes[row as usize], row)).collect();
        match &self.whole {
            None => pairs.sort_unstable(),
            Some(whole) => pairs.sort_unstable_by(|a, b| {
                a.0.cmp(&b.0).then_with(|| slice(whole, a.1).cmp(slice(whole, b.1))).then(a.1.cmp(&b.1))
            }),
        }
        for (row, pair) in rows.iter_mut().zip(pairs) {
            *row = pair.1;
        }
    }
}

/// A key and a place to compare rows with.
#[derive(Debug)]
pub(super) struct Bound<'a> {
    prefix: u128,
    key: &'a [u8],
    position: u64,
}

impl<'a> Bound<'a> {
    pub(super) fn of(key: &'a [u8], position: u64) -> Self {
        let mut prefix = [0; PREFIX];
        let len = key.len().min(PREFIX);
        prefix[..len].copy_from_slice(&key[..len]);
        Self { prefix: u128::from_be_bytes(prefix), key, position }
    }
}

fn slice((bytes, ends): &(Vec<u8>, Vec<u32>), row: u32) -> &[u8] {
    let row = row as usize;
    let start = row.checked_sub(1).map_or(0, |before| ends[before] as usize);
    &bytes[start..ends[row] as usize]
}

/// A flat leaf, row by row.
struct Column<'a> {
    leaf: &'a BlockLeaf,
    dense: bool,
}

impl<'a> Column<'a> {
    fn of(leaf: &'a BlockLeaf) -> Self {
        Self { leaf, dense: leaf.defs.uniform().is_some_and(|def| def == leaf.max_def) }
    }

    /// Bytes of every key; none if they differ.
    fn width(&self) -> Option<usize> {
        let width = match &self.leaf.data {
            Data::Bool(_) => 1,
            Data::Int32(_) | Data::Float(_) => 4,
            Data::Int64(_) | Data::Double(_) => 8,
            Data::Fixed { width, .. } => *width,
            Data::Bytes(_) => return None,
        };
        Some(width + 1)
    }

    /// Append the row's key; false if it is null. `rank` counts the values before the row.
    #[inline]
    fn append(&self, row: usize, rank: &mut usize, key: &mut Vec<u8>) -> bool {
        if !self.dense && self.leaf.defs.get(row) != self.leaf.max_def {
            key.push(1);
            key.resize(key.len() + self.width().map_or(0, |width| width - 1), 0);
            return false;
        }
        let at = *rank;
        *rank += 1;
        key.push(0);
        match &self.leaf.data {
            Data::Bool(v) => key.push(v[at]),
            Data::Int32(v) => key.extend_from_slice(&signed32(v[at]).to_be_bytes()),
            Data::Int64(v) => key.extend_from_slice(&signed64(v[at]).to_be_bytes()),
            Data::Float(v) => key.extend_from_slice(&float(v[at]).to_be_bytes()),
            Data::Double(v) => key.extend_from_slice(&double(v[at]).to_be_bytes()),
            Data::Fixed { width, data } => {
                let start = key.len();
                key.extend_from_slice(&data[at * width..][..*width]);
                key[start] ^= 0x80;
            }
            Data::Bytes(v) => {
                text(v.get(v.ids[at]), key);
                key.extend_from_slice(&[0, 0]);
            }
        }
        true
    }
}

/// The key of a value that is not null.
pub(super) fn int32(value: i32) -> Vec<u8> {
    [&[0], signed32(value).to_be_bytes().as_slice()].concat()
}

/// The key of a value that is not null.
pub(super) fn int64(value: i64) -> Vec<u8> {
    [&[0], signed64(value).to_be_bytes().as_slice()].concat()
}

/// What the keys of all texts begin with that begin with this one.
pub(super) fn prefix_of_text(value: &[u8]) -> Vec<u8> {
    let mut key = vec![0];
    text(value, &mut key);
    key
}

fn text(value: &[u8], key: &mut Vec<u8>) {
    match memchr::memchr(0, value) {
        None => key.extend_from_slice(value),
        Some(_) => value.iter().for_each(|&b| match b {
            0 => key.extend_from_slice(&[0, 255]),
            b => key.push(b),
        }),
    }
}

fn signed32(v: i32) -> u32 {
    v as u32 ^ 1 << 31
}

fn signed64(v: i64) -> u64 {
    v as u64 ^ 1 << 63
}

fn float(v: f32) -> u32 {
    let v = if v.is_nan() { f32::NAN.abs() } else { v + 0.0 };
    let bits = v.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

fn double(v: f64) -> u64 {
    let v = if v.is_nan() { f64::NAN.abs() } else { v + 0.0 };
    let bits = v.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}
