//! Smallest and largest value of a page and of a chunk, in the order the format defines for each
//! type: signed for numbers, bytes for text, two's complement for decimals.

use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::file::statistics::{Statistics, ValueStatistics};

use crate::columns::{ByteColumn, LeafColumn, Logical, Values};

/// Longest text or binary bound kept; longer ones are cut to a valid bound.
const MAX_BOUND: usize = 64;

/// Bounds of some values, as the bytes of PLAIN encoding. `None`: no bound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) min: Option<Vec<u8>>,
    pub(crate) max: Option<Vec<u8>>,
    pub(crate) exact: (bool, bool),
}

macro_rules! numeric {
    ($values:expr) => {{
        let mut values = $values.iter().copied();
        let first = values.next();
        first.map(|first| values.fold((first, first), |(lo, hi), v| (lo.min(v), hi.max(v))))
    }};
}

macro_rules! real {
    ($values:expr) => {{
        // NaN is left out; zeros are widened to both signs (parquet.thrift, TypeDefinedOrder).
        let mut values = $values.iter().copied().filter(|v| !v.is_nan());
        let first = values.next();
        first
            .map(|first| values.fold((first, first), |(lo, hi), v| (lo.min(v), hi.max(v))))
            .map(|(lo, hi)| (if lo == 0.0 { -0.0 } else { lo }, if hi == 0.0 { 0.0 } else { hi }))
    }};
}

fn exact<const N: usize>(pair: Option<([u8; N], [u8; N])>) -> Bounds {
    let (min, max) = pair.map(|(lo, hi)| (lo.to_vec(), hi.to_vec())).unzip();
    Bounds { min, max, exact: (true, true) }
}

/// Bounds of the values `from..to` of a leaf.
pub(crate) fn bounds(leaf: &LeafColumn, logical: Logical, from: usize, to: usize) -> Bounds {
    match &leaf.values {
        Values::Bool(v) => exact(numeric!(v[from..to]).map(|(lo, hi)| ([lo], [hi]))),
        Values::Int32(v) => exact(numeric!(v[from..to]).map(|(lo, hi)| (lo.to_le_bytes(), hi.to_le_bytes()))),
        Values::Int64(v) => exact(numeric!(v[from..to]).map(|(lo, hi)| (lo.to_le_bytes(), hi.to_le_bytes()))),
        Values::Float(v) => {
            exact(real!(v[from..to]).map(|(lo, hi): (f32, f32)| (lo.to_le_bytes(), hi.to_le_bytes())))
        }
        Values::Double(v) => {
            exact(real!(v[from..to]).map(|(lo, hi): (f64, f64)| (lo.to_le_bytes(), hi.to_le_bytes())))
        }
        Values::Fixed { width, data } => {
            let values = data[from * width..to * width].chunks_exact(*width);
            // Big-endian two's complement: with the sign bit flipped it sorts as bytes.
            let key = |v: &&[u8]| {
                let mut v = v.to_vec();
                v[0] ^= 0x80;
                v
            };
            let min = values.clone().min_by_key(key).map(<[u8]>::to_vec);
            Bounds { min, max: values.max_by_key(key).map(<[u8]>::to_vec), exact: (true, true) }
        }
        Values::Bytes(v) => cut(byte_range(v, from, to), logical == Logical::Text),
    }
}

/// The first eight bytes as a number that compares as they do.
#[inline]
fn prefix(v: &[u8]) -> u64 {
    match v.first_chunk::<8>() {
        Some(head) => u64::from_be_bytes(*head),
        None => {
            let mut head = [0; 8];
            head[..v.len()].copy_from_slice(v);
            u64::from_be_bytes(head)
        }
    }
}

fn byte_range(values: &ByteColumn, from: usize, to: usize) -> Option<(&[u8], &[u8])> {
    match values.dictionary() {
        Some((dictionary, _)) if from == 0 && to == values.len() => {
            range_of((0..dictionary.len()).map(|i| dictionary.get(i)))
        }
        Some((dictionary, indices)) => {
            let mut used = vec![false; dictionary.len()];
            indices[from..to].iter().for_each(|&i| used[i as usize] = true);
            range_of((0..used.len()).filter(|&i| used[i]).map(|i| dictionary.get(i)))
        }
        None => range_of((from..to).map(|i| values.get(i))),
    }
}

fn range_of<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<(&'a [u8], &'a [u8])> {
    let first = values.next()?;
    let (mut min, mut max) = (first, first);
    let (mut min_prefix, mut max_prefix) = (prefix(first), prefix(first));
    for value in values {
        let p = prefix(value);
        if p <= min_prefix && value < min {
            (min, min_prefix) = (value, p);
        }
        if p >= max_prefix && value > max {
            (max, max_prefix) = (value, p);
        }
    }
    Some((min, max))
}

fn cut(range: Option<(&[u8], &[u8])>, text: bool) -> Bounds {
    let Some((min, max)) = range else { return Bounds { exact: (true, true), ..Bounds::default() } };
    let at = |v: &[u8]| {
        let mut at = MAX_BOUND;
        while text && v[at] & 0xc0 == 0x80 {
            at -= 1;
        }
        at
    };
    let (mut bounds_min, mut min_exact) = (min.to_vec(), true);
    if min.len() > MAX_BOUND {
        bounds_min.truncate(at(min));
        min_exact = false;
    }
    let (mut bounds_max, mut max_exact) = (Some(max.to_vec()), true);
    if max.len() > MAX_BOUND {
        bounds_max = successor(&max[..at(max)], text);
        max_exact = false;
    }
    Bounds { min: Some(bounds_min), max: bounds_max, exact: (min_exact, max_exact) }
}

/// The smallest short value above everything that begins with `head`.
fn successor(head: &[u8], text: bool) -> Option<Vec<u8>> {
    if !text {
        let at = head.iter().rposition(|&b| b != 0xff)?;
        let mut next = head[..=at].to_vec();
        next[at] += 1;
        return Some(next);
    }
    let mut chars: Vec<char> = std::str::from_utf8(head).ok()?.chars().collect();
    while let Some(last) = chars.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            _ => char::from_u32(last as u32 + 1),
        };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect::<String>().into_bytes());
        }
    }
    None
}

/// Bounds of all pages together.
pub(crate) fn statistics(leaf: &LeafColumn, bounds: &Bounds, nulls: u64) -> Statistics {
    macro_rules! typed {
        ($variant:ident, $of:expr) => {{
            let (min, max) = (bounds.min.as_deref().map($of), bounds.max.as_deref().map($of));
            let stats = ValueStatistics::new(min, max, None, Some(nulls), false);
            Statistics::$variant(stats.with_min_is_exact(bounds.exact.0).with_max_is_exact(bounds.exact.1))
        }};
    }
    macro_rules! le {
        ($ty:ty) => {
            |b: &[u8]| <$ty>::from_le_bytes(b.try_into().unwrap_or_default())
        };
    }
    match &leaf.values {
        Values::Bool(_) => typed!(Boolean, |b: &[u8]| b == [1]),
        Values::Int32(_) => typed!(Int32, le!(i32)),
        Values::Int64(_) => typed!(Int64, le!(i64)),
        Values::Float(_) => typed!(Float, le!(f32)),
        Values::Double(_) => typed!(Double, le!(f64)),
        Values::Bytes(_) => typed!(ByteArray, |b: &[u8]| ByteArray::from(b.to_vec())),
        Values::Fixed { .. } => {
            typed!(FixedLenByteArray, |b: &[u8]| FixedLenByteArray::from(ByteArray::from(b.to_vec())))
        }
    }
}
