//! What the pages of a chunk hold: dictionary indices or the values themselves.

use std::ops::Range;

use super::dictionary::{Interner, pays};
use super::extent::{self, Extent};
use super::hybrid;
use crate::columns::{ByteColumn, Dictionary, Values};

enum Distinct<'a> {
    Bytes(&'a Dictionary),
    Numbers(Values),
}

/// The values of a column, in the form that pays.
pub(super) struct Source<'a> {
    values: &'a Values,
    dictionary: Option<(Distinct<'a>, &'a [u32])>,
}

impl<'a> Source<'a> {
    /// Decide from the data; `indices` is memory for those of numbers.
    pub(super) fn choose(values: &'a Values, interner: &mut Interner, indices: &'a mut Vec<u32>) -> Self {
        let numbers = match values {
            Values::Int32(v) => interner.intern(v, indices).map(Values::Int32),
            Values::Int64(v) => interner.intern(v, indices).map(Values::Int64),
            Values::Float(v) => interner.intern(v, indices).map(Values::Float),
            Values::Double(v) => interner.intern(v, indices).map(Values::Double),
            Values::Bytes(v) => return Self { values, dictionary: byte_dictionary(v) },
            Values::Bool(_) | Values::Fixed { .. } => None,
        };
        Self { values, dictionary: numbers.map(|n| (Distinct::Numbers(n), indices.as_slice())) }
    }

    /// Append the dictionary page, if there is one; how many values it has.
    pub(super) fn dictionary_page(&self, out: &mut Vec<u8>) -> Option<usize> {
        let (distinct, _) = self.dictionary.as_ref()?;
        match distinct {
            Distinct::Bytes(dictionary) => plain_bytes((0..dictionary.len()).map(|i| dictionary.get(i)), out),
            Distinct::Numbers(values) => plain(values, 0..len(values), out),
        }
        Some(self.distinct())
    }

    /// Number of values in the dictionary.
    fn distinct(&self) -> usize {
        match &self.dictionary {
            Some((Distinct::Bytes(dictionary), _)) => dictionary.len(),
            Some((Distinct::Numbers(values), _)) => len(values),
            None => 0,
        }
    }

    /// Bytes of all data pages, without levels.
    pub(super) fn byte_len(&self) -> usize {
        match (&self.dictionary, self.values) {
            (Some((_, indices)), _) => indices.len() * usize::from(self.index_width()) / 8,
            (None, Values::Bytes(v)) => byte_len(v) + v.len() * 4,
            (None, Values::Fixed { data, .. }) => data.len(),
            (None, values) => len(values) * value_size(values),
        }
    }

    fn index_width(&self) -> u8 {
        hybrid::bit_width(self.distinct().saturating_sub(1) as u32)
    }

    /// Append the values of a data page.
    pub(super) fn append(&self, range: Range<usize>, out: &mut Vec<u8>) {
        match &self.dictionary {
            Some((_, indices)) => {
                let width = self.index_width();
                out.push(width);
                hybrid::encode(&indices[range], width, out);
            }
            None => plain(self.values, range, out),
        }
    }

    /// Least and greatest value of a page.
    pub(super) fn extent(&self, range: Range<usize>) -> Option<Extent> {
        let Some((distinct, indices)) = &self.dictionary else {
            return extent::of_values(self.values, range);
        };
        let whole = range.len() == indices.len();
        match distinct {
            Distinct::Bytes(dictionary) if whole => {
                extent::of_bytes((0..dictionary.len()).map(|i| dictionary.get(i)))
            }
            Distinct::Bytes(dictionary) => {
                let mut used = vec![false; dictionary.len()];
                for &index in &indices[range] {
                    used[index as usize] = true;
                }
                let occurs = |i: &usize| used[*i];
                extent::of_bytes((0..dictionary.len()).filter(occurs).map(|i| dictionary.get(i)))
            }
            Distinct::Numbers(values) if whole => extent::of_values(values, 0..len(values)),
            Distinct::Numbers(_) => extent::of_values(self.values, range),
        }
    }

    /// Hand every distinct value that is known (else every value) to `visit`, in its stored form.
    pub(super) fn for_each_distinct(&self, mut visit: impl FnMut(&[u8])) {
        let values = match &self.dictionary {
            Some((Distinct::Bytes(dictionary), _)) => {
                return (0..dictionary.len()).for_each(|i| visit(dictionary.get(i)));
            }
            Some((Distinct::Numbers(values), _)) => values,
            None => self.values,
        };
        match values {
            Values::Bool(v) => v.iter().for_each(|v| visit(&[*v])),
            Values::Int32(v) => v.iter().for_each(|v| visit(&v.to_le_bytes())),
            Values::Int64(v) => v.iter().for_each(|v| visit(&v.to_le_bytes())),
            Values::Float(v) => v.iter().for_each(|v| visit(&v.to_le_bytes())),
            Values::Double(v) => v.iter().for_each(|v| visit(&v.to_le_bytes())),
            Values::Bytes(v) => (0..v.len()).for_each(|i| visit(v.get(i))),
            Values::Fixed { width, data } => data.chunks_exact(*width).for_each(visit),
        }
    }

    /// How many values [`Source::for_each_distinct`] visits.
    pub(super) fn visited(&self) -> usize {
        if self.dictionary.is_some() { self.distinct() } else { len(self.values) }
    }

    /// Whether data pages hold indices.
    pub(super) fn has_dictionary(&self) -> bool {
        self.dictionary.is_some()
    }
}

/// The dictionary that was built while parsing, unless plain values are as short: parsing judges
/// after a thousand values, and a small partition never has them.
fn byte_dictionary(column: &ByteColumn) -> Option<(Distinct<'_>, &[u32])> {
    let (dictionary, indices) = column.dictionary()?;
    let mean = dictionary.byte_len().checked_div(dictionary.len()).unwrap_or(0) + 4;
    pays(dictionary.len(), indices.len(), mean).then_some((Distinct::Bytes(dictionary), indices))
}

fn byte_len(column: &ByteColumn) -> usize {
    match column.dictionary() {
        Some((dictionary, indices)) => indices.iter().map(|i| dictionary.get(*i as usize).len()).sum(),
        None => column.plain().0.len(),
    }
}

fn len(values: &Values) -> usize {
    match values {
        Values::Bool(v) => v.len(),
        Values::Int32(v) => v.len(),
        Values::Int64(v) => v.len(),
        Values::Float(v) => v.len(),
        Values::Double(v) => v.len(),
        Values::Bytes(v) => v.len(),
        Values::Fixed { width, data } => data.len() / width,
    }
}

fn value_size(values: &Values) -> usize {
    match values {
        Values::Bool(_) => 1,
        Values::Int32(_) | Values::Float(_) => 4,
        _ => 8,
    }
}

fn plain(values: &Values, range: Range<usize>, out: &mut Vec<u8>) {
    match values {
        Values::Bool(v) => {
            let v = &v[range];
            hybrid::pack(v, 1, out);
        }
        Values::Int32(v) => numbers(&v[range], |v| v.to_le_bytes(), out),
        Values::Int64(v) => numbers(&v[range], |v| v.to_le_bytes(), out),
        Values::Float(v) => numbers(&v[range], |v| v.to_le_bytes(), out),
        Values::Double(v) => numbers(&v[range], |v| v.to_le_bytes(), out),
        Values::Bytes(v) => match v.dictionary() {
            Some((dictionary, indices)) => {
                plain_bytes(indices[range].iter().map(|i| dictionary.get(*i as usize)), out);
            }
            None => plain_bytes(in_a_row(v, range), out),
        },
        Values::Fixed { width, data } => {
            out.extend_from_slice(&data[range.start * width..range.end * width]);
        }
    }
}

/// Values of a column without a dictionary, one after another.
pub(super) fn in_a_row(column: &ByteColumn, range: Range<usize>) -> impl Iterator<Item = &[u8]> {
    let (bytes, ends) = column.plain();
    let first = range.start.checked_sub(1).map_or(0, |before| ends[before] as usize);
    ends[range].iter().scan(first, |start, &end| {
        let start = std::mem::replace(start, end as usize);
        Some(&bytes[start..end as usize])
    })
}

fn numbers<T: Copy, const N: usize>(values: &[T], bytes: impl Fn(T) -> [u8; N], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + values.len() * N, 0);
    for (slot, &value) in out[start..].as_chunks_mut::<N>().0.iter_mut().zip(values) {
        *slot = bytes(value);
    }
}

fn plain_bytes<'v>(values: impl Iterator<Item = &'v [u8]>, out: &mut Vec<u8>) {
    for value in values {
        out.extend_from_slice(&(value.len() as u32).to_le_bytes());
        out.extend_from_slice(value);
    }
}
