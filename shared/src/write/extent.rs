//! Least and greatest value of a page or a chunk, and the form in which they are stored.

use std::cmp::Ordering;
use std::ops::Range;

use super::source::in_a_row;
use crate::columns::{LeafSpec, Logical, Physical, Values};

/// Longest statistic of byte values; longer ones become a shorter bound.
pub(super) const MAX_BOUND_BYTES: usize = 64;

/// How values of a leaf are ordered, and so how their bounds compare (the format's TypeDefinedOrder).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// 0 before 1
    Bool,
    /// Little-endian INT32
    Int32,
    /// Little-endian INT64
    Int64,
    /// Little-endian FLOAT
    Float,
    /// Little-endian DOUBLE
    Double,
    /// Bytes, unsigned, and valid UTF-8
    Text,
    /// Bytes, unsigned
    Binary,
    /// Big-endian two's complement
    SignedBytes,
}

impl Order {
    /// The order of a leaf.
    pub(super) fn of(leaf: &LeafSpec) -> Self {
        match leaf.physical {
            Physical::Bool => Order::Bool,
            Physical::Int32 => Order::Int32,
            Physical::Int64 => Order::Int64,
            Physical::Float => Order::Float,
            Physical::Double => Order::Double,
            Physical::Bytes if leaf.logical == Logical::Text => Order::Text,
            Physical::Bytes => Order::Binary,
            Physical::Fixed(_) => Order::SignedBytes,
        }
    }

    /// Compare two values in their stored form.
    pub(super) fn compare(self, a: &[u8], b: &[u8]) -> Ordering {
        fn number<const N: usize>(bytes: &[u8]) -> [u8; N] {
            bytes.first_chunk().copied().unwrap_or([0; N])
        }
        match self {
            Order::Bool | Order::Text | Order::Binary => a.cmp(b),
            Order::Int32 => i32::from_le_bytes(number(a)).cmp(&i32::from_le_bytes(number(b))),
            Order::Int64 => i64::from_le_bytes(number(a)).cmp(&i64::from_le_bytes(number(b))),
            Order::Float => f32::from_le_bytes(number(a)).total_cmp(&f32::from_le_bytes(number(b))),
            Order::Double => f64::from_le_bytes(number(a)).total_cmp(&f64::from_le_bytes(number(b))),
            Order::SignedBytes => compare_signed(a, b),
        }
    }
}

/// Both are equally long: only the first byte has a sign.
fn compare_signed(a: &[u8], b: &[u8]) -> Ordering {
    let sign = |v: &[u8]| v.first().map(|b| *b as i8);
    sign(a).cmp(&sign(b)).then_with(|| a.cmp(b))
}

/// Exact least and greatest value, in their stored form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) min: Vec<u8>,
    pub(super) max: Vec<u8>,
}

impl Extent {
    /// The extent of both.
    pub(super) fn merge(&mut self, other: &Extent, order: Order) {
        if order.compare(&other.min, &self.min).is_lt() {
            self.min.clone_from(&other.min);
        }
        if order.compare(&other.max, &self.max).is_gt() {
            self.max.clone_from(&other.max);
        }
    }
}

/// The extent of some values; nothing if there are none (or only NaN).
pub(super) fn of_values(values: &Values, range: Range<usize>) -> Option<Extent> {
    match values {
        Values::Bool(v) => {
            let v = &v[range];
            extent(v.iter().copied().min()?.to_le_bytes(), v.iter().copied().max()?.to_le_bytes())
        }
        Values::Int32(v) => {
            let v = &v[range];
            extent(v.iter().copied().min()?.to_le_bytes(), v.iter().copied().max()?.to_le_bytes())
        }
        Values::Int64(v) => {
            let v = &v[range];
            extent(v.iter().copied().min()?.to_le_bytes(), v.iter().copied().max()?.to_le_bytes())
        }
        Values::Float(v) => {
            let min = v[range.clone()].iter().copied().fold(f32::NAN, f32::min);
            let max = v[range].iter().copied().fold(f32::NAN, f32::max);
            // A reader that looks for 0.0 must find -0.0 and the reverse, so bounds that are zero
            // take the sign that covers both.
            let signed = |bound: f32, zero| if bound == 0.0 { zero } else { bound };
            (!min.is_nan())
                .then(|| extent(signed(min, -0.0).to_le_bytes(), signed(max, 0.0).to_le_bytes()))?
        }
        Values::Double(v) => {
            let min = v[range.clone()].iter().copied().fold(f64::NAN, f64::min);
            let max = v[range].iter().copied().fold(f64::NAN, f64::max);
            let signed = |bound: f64, zero| if bound == 0.0 { zero } else { bound };
            (!min.is_nan())
                .then(|| extent(signed(min, -0.0).to_le_bytes(), signed(max, 0.0).to_le_bytes()))?
        }
        Values::Bytes(v) if v.dictionary().is_some() => of_bytes(range.map(|i| v.get(i))),
        Values::Bytes(v) => of_bytes(in_a_row(v, range)),
        Values::Fixed { width, data } => {
            let values = || data[range.start * width..range.end * width].chunks_exact(*width);
            let (min, max) = (
                values().min_by(|a, b| compare_signed(a, b))?,
                values().max_by(|a, b| compare_signed(a, b))?,
            );
            extent(min, max)
        }
    }
}

fn extent<B: AsRef<[u8]>>(min: B, max: B) -> Option<Extent> {
    Some(Extent { min: min.as_ref().to_vec(), max: max.as_ref().to_vec() })
}

/// The extent of byte values.
pub(super) fn of_bytes<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<Extent> {
    let first = values.next()?;
    let (mut min, mut max) = (first, first);
    let (mut min_prefix, mut max_prefix) = (prefix(first), prefix(first));
    for value in values {
        // Most values lie between the bounds already in their first eight bytes.
        let p = prefix(value);
        if p <= min_prefix && value < min {
            (min, min_prefix) = (value, p);
        }
        if p >= max_prefix && value > max {
            (max, max_prefix) = (value, p);
        }
    }
    extent(min, max)
}

/// The first eight bytes as a number that orders as they do; shorter values are filled with zeros.
#[inline]
fn prefix(value: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    match value.first_chunk::<8>() {
        Some(chunk) => bytes = *chunk,
        None => bytes[..value.len()].copy_from_slice(value),
    }
    u64::from_be_bytes(bytes)
}

/// A statistic as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) bytes: Box<[u8]>,
    /// Whether it is a value that occurs, not only a bound.
    pub(super) exact: bool,
}

/// Stored statistics of a page or chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) min: Bound,
    pub(super) max: Bound,
}

impl Bounds {
    /// Cut an extent to the stored size; nothing if no short upper bound exists.
    pub(super) fn of(extent: &Extent, order: Order) -> Option<Self> {
        let exact = |bytes: &[u8]| Bound { bytes: bytes.into(), exact: true };
        let cut = |bytes: Vec<u8>| Bound { bytes: bytes.into(), exact: false };
        let short = |bytes: &[u8]| bytes.len() <= MAX_BOUND_BYTES || order == Order::SignedBytes;
        let min = match short(&extent.min) {
            true => exact(&extent.min),
            false => cut(prefix_of(&extent.min, order).to_vec()),
        };
        let max = match short(&extent.max) {
            true => exact(&extent.max),
            false => cut(successor(prefix_of(&extent.max, order), order)?),
        };
        Some(Self { min, max })
    }
}

/// At most [`MAX_BOUND_BYTES`] from the start, whole characters if it is text.
fn prefix_of(bytes: &[u8], order: Order) -> &[u8] {
    let mut end = MAX_BOUND_BYTES.min(bytes.len());
    // No character is longer than four bytes; text that is not UTF-8 is cut anywhere.
    if order == Order::Text {
        let is_boundary = |at: usize| at == bytes.len() || bytes[at] & 0xC0 != 0x80;
        end = (end - 3..=end).rev().find(|at| is_boundary(*at)).unwrap_or(end);
    }
    &bytes[..end]
}

/// The least short value above everything that begins with `prefix`.
fn successor(prefix: &[u8], order: Order) -> Option<Vec<u8>> {
    if order == Order::Text {
        let text = std::str::from_utf8(prefix).ok()?;
        let (at, next) = text.char_indices().rev().find_map(|(at, c)| {
            // The step over the surrogates keeps the order of code points.
            let next = if c == '\u{D7FF}' { Some('\u{E000}') } else { char::from_u32(c as u32 + 1) };
            next.filter(|next| at + next.len_utf8() <= MAX_BOUND_BYTES).map(|next| (at, next))
        })?;
        let mut up = text[..at].to_owned();
        up.push(next);
        return Some(up.into_bytes());
    }
    let at = prefix.iter().rposition(|b| *b != 0xFF)?;
    let mut up = prefix[..=at].to_vec();
    up[at] += 1;
    Some(up)
}
