//! Distinct byte strings, numbered in order of first appearance.
//!
//! Looked up for every text that is decoded, so the hash table is our own: open addressing over
//! four-byte places, and strings up to 16 bytes are hashed and compared in registers, whatever their
//! length.

use crate::scan::{HEAD_BYTES, head, keep};

/// Places a new table has; a power of two, as all sizes.
const FIRST_PLACES: usize = 16;
/// How far from where its hash points a string may be placed. At half load a few dozen is already rare:
/// farther away stand only strings that somebody has chosen.
const MAX_DISTANCE: usize = 512;

/// Records end before this; columns drop their dictionaries long before.
const MAX_RECORD_BYTES: usize = u32::MAX as usize - 64;

/// A byte string and its first bytes: [`head`], with zeros behind the end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Headed<'a> {
    bytes: &'a [u8],
    head: u128,
}

impl<'a> Headed<'a> {
    /// `doc[range]`, where the bytes behind it may be read too.
    #[inline(always)]
    pub(crate) fn in_doc(doc: &'a [u8], range: std::ops::Range<usize>) -> Self {
        let head = head(doc, range.start) & keep(range.len());
        Self { bytes: &doc[range], head }
    }

    /// From its parts, as they are passed in registers.
    #[inline(always)]
    pub(super) fn of_parts(bytes: &'a [u8], head: u128) -> Self {
        debug_assert_eq!(head, Headed::from(bytes).head, "a head of other bytes");
        Self { bytes, head }
    }

    #[inline(always)]
    pub(crate) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    #[inline(always)]
    pub(crate) fn head(self) -> u128 {
        self.head
    }

    /// Folded multiplication, 16 bytes a step; the last step overlaps the one before.
    #[inline(always)]
    fn hash(self) -> u64 {
        let fold = |a: u64, b: u64| {
            let product = u128::from(a) * u128::from(b);
            product as u64 ^ (product >> 64) as u64
        };
        let (low, high) = halves(self.head);
        let len = self.bytes.len();
        let mut hash = fold(low ^ 0x2D35_8DCC_AA6C_78A5 ^ len as u64, high ^ 0x8BB8_4B93_962E_ACC9);
        for at in steps(len) {
            // SAFETY: `steps` ends 16 bytes before the end.
            let (low, high) = halves(unsafe { sixteen(self.bytes, at) });
            hash = fold(low ^ hash, high ^ 0x4B33_A62E_D433_D4A3);
        }
        // Where little of a text varies, its hashes lie side by side until now.
        hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
    }
}

impl<'a> From<&'a [u8]> for Headed<'a> {
    #[inline]
    fn from(bytes: &'a [u8]) -> Self {
        Self { bytes, head: head(bytes, 0) }
    }
}

#[inline(always)]
fn halves(bytes: u128) -> (u64, u64) {
    (bytes as u64, (bytes >> 64) as u64)
}

/// Where the 16 bytes begin that are looked at behind the head of a string of `len` bytes: each byte is in
/// one of them, or in two.
#[inline(always)]
fn steps(len: usize) -> impl Iterator<Item = usize> {
    let mut at = HEAD_BYTES;
    let last = len.wrapping_sub(HEAD_BYTES);
    std::iter::from_fn(move || {
        if at >= len {
            return None;
        }
        let step = at.min(last);
        at += HEAD_BYTES;
        Some(step)
    })
}

/// Sixteen bytes from `at` on.
///
/// # Safety
/// `at + 16` must not be behind the end.
#[inline(always)]
unsafe fn sixteen(bytes: &[u8], at: usize) -> u128 {
    debug_assert!(at + HEAD_BYTES <= bytes.len());
    // SAFETY: the caller's promise; the read may be unaligned.
    u128::from_le(unsafe { bytes.as_ptr().add(at).cast::<u128>().read_unaligned() })
}

/// Bytes before a value: its number and its length, four bytes each.
const PREFIX_BYTES: usize = 8;

/// Distinct values in order of first appearance.
#[derive(Debug)]
pub struct Dictionary {
    /// Each value behind its number and length, zeros behind it up to 16 bytes, so that what a search
    /// compares lies side by side: most of the time that looking up takes is waiting for memory.
    records: Vec<u8>,
    /// Where each record begins.
    starts: Vec<u32>,
    /// Bytes of all values.
    byte_len: usize,
    /// Position of the first use of each value, to take back what a bad row added.
    first_use: Vec<u32>,
    /// Start of a record + 1, at the place that the hash of its value points to or behind it; 0 is free. At
    /// most half full.
    places: Vec<u32>,
    /// Values stand so far from their places that somebody must have chosen them.
    crowded: bool,
}

impl Default for Dictionary {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            starts: Vec::new(),
            byte_len: 0,
            first_use: Vec::new(),
            places: vec![0; FIRST_PLACES],
            crowded: false,
        }
    }
}

impl Dictionary {
    /// How many distinct values.
    pub fn len(&self) -> usize {
        self.starts.len()
    }
    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }
    /// Value number `i`.
    #[inline]
    pub fn get(&self, i: usize) -> &[u8] {
        let (prefix, record) = self.records[self.starts[i] as usize..].split_at(PREFIX_BYTES);
        let len = prefix.last_chunk().map_or(0, |len| u32::from_le_bytes(*len));
        &record[..len as usize]
    }
    /// Bytes of all values together.
    pub fn byte_len(&self) -> usize {
        self.byte_len
    }
    /// Whether looking up has become slow, as it does for values that were chosen for that.
    pub(super) fn is_crowded(&self) -> bool {
        self.crowded
    }

    /// Number of `value`, and whether it was added just now. `position` is that of its use.
    #[inline(always)]
    pub(super) fn intern(&mut self, value: Headed<'_>, position: usize) -> (u32, bool) {
        match self.find(value) {
            Some(number) => (number, false),
            None => (self.add(value, position), true),
        }
    }

    /// The number of a value.
    #[inline(always)]
    fn find(&self, value: Headed<'_>) -> Option<u32> {
        let mask = self.places.len() - 1;
        let mut place = value.hash() as usize & mask;
        loop {
            // SAFETY: there are a power of two of places, so no place is behind `mask`.
            let start = unsafe { *self.places.get_unchecked(place) };
            if start == 0 {
                return None;
            }
            // SAFETY: a record begins there (`add` lets none begin where 32 bits do not reach), and each has
            // its prefix and 16 bytes at least.
            let (prefix, head) = unsafe {
                let record = self.records.as_ptr().add(start as usize - 1);
                let prefix = u64::from_le(record.cast::<u64>().read_unaligned());
                (prefix, sixteen(&self.records, start as usize - 1 + PREFIX_BYTES))
            };
            if head == value.head && (prefix >> 32) as usize == value.bytes.len() {
                let goes_on = steps(value.bytes.len()).all(|at| {
                    // SAFETY: `steps` ends 16 bytes before the end; the record's value is as long.
                    unsafe {
                        let other = start as usize - 1 + PREFIX_BYTES + at;
                        sixteen(&self.records, other) == sixteen(value.bytes, at)
                    }
                });
                if goes_on {
                    return Some(prefix as u32);
                }
            }
            place = (place + 1) & mask;
        }
    }

    #[cold]
    #[inline(never)]
    fn add(&mut self, value: Headed<'_>, position: usize) -> u32 {
        if (self.len() + 1) * 2 > self.places.len() {
            self.grow();
        }
        let hash = value.hash();
        let place = self.free_place(hash);
        self.crowded |= place.wrapping_sub(hash as usize) & (self.places.len() - 1) > MAX_DISTANCE;
        let (number, start) = (self.len() as u32, self.records.len());
        assert!(start + value.bytes.len() < MAX_RECORD_BYTES, "a dictionary that was to be dropped");
        self.records.extend_from_slice(&number.to_le_bytes());
        self.records.extend_from_slice(&(value.bytes.len() as u32).to_le_bytes());
        self.records.extend_from_slice(value.bytes);
        let zeros = HEAD_BYTES.saturating_sub(value.bytes.len());
        self.records.resize(self.records.len() + zeros, 0);
        self.starts.push(start as u32);
        self.byte_len += value.bytes.len();
        self.first_use.push(position as u32);
        self.places[place] = start as u32 + 1;
        number
    }

    fn free_place(&self, hash: u64) -> usize {
        let mask = self.places.len() - 1;
        let mut place = hash as usize & mask;
        while self.places[place] != 0 {
            place = (place + 1) & mask;
        }
        place
    }

    fn grow(&mut self) {
        let size = self.places.len() * 2;
        self.places.clear();
        self.places.resize(size, 0);
        for number in 0..self.len() {
            let place = self.free_place(Headed::from(self.get(number)).hash());
            self.places[place] = self.starts[number] + 1;
        }
    }

    /// Take back the values first used at `position` or later.
    pub(super) fn truncate(&mut self, position: usize) {
        let kept = self.first_use.partition_point(|&p| (p as usize) < position);
        // What stays was placed before them, so that no search for it passes the places they leave.
        for number in kept..self.len() {
            let mask = self.places.len() - 1;
            let mut place = Headed::from(self.get(number)).hash() as usize & mask;
            while self.places[place] != self.starts[number] + 1 {
                place = (place + 1) & mask;
            }
            self.places[place] = 0;
            self.byte_len -= self.get(number).len();
        }
        if let Some(&end) = self.starts.get(kept) {
            self.records.truncate(end as usize);
        }
        self.starts.truncate(kept);
        self.first_use.truncate(kept);
    }

    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.starts.clear();
        self.byte_len = 0;
        self.first_use.clear();
        self.places.fill(0);
        self.crowded = false;
    }

    /// Bytes held beyond those of an empty one.
    pub(super) fn memory(&self) -> usize {
        let places = self.places.capacity() - FIRST_PLACES;
        let numbers = self.starts.capacity() + self.first_use.capacity() + places;
        self.records.capacity() + numbers * 4
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn random(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    /// Texts that share beginnings and ends, of all lengths around the steps of 16 bytes.
    fn text(state: &mut u64) -> Vec<u8> {
        let len = (random(state) % 53) as usize;
        let mut text = vec![b"\0ab"[(random(state) % 3) as usize]; len];
        if let Some(at) = (random(state) as usize).checked_rem(len) {
            text[at] = b"\0xy"[(random(state) % 3) as usize];
        }
        text
    }

    #[test]
    fn it_numbers_texts_as_a_map_does_also_after_taking_back() {
        let mut state = 11;
        for _ in 0..20 {
            let mut dictionary = Dictionary::default();
            let (mut model, mut order, mut uses) = (HashMap::new(), Vec::new(), Vec::new());
            for position in 0..3_000 {
                let text = text(&mut state);
                let doc = [b"behind".as_slice(), &text, b"before and more than sixteen"].concat();
                let value = match position % 2 {
                    0 => Headed::from(text.as_slice()),
                    _ => Headed::in_doc(&doc, 6..6 + text.len()),
                };
                let (number, added) = dictionary.intern(value, uses.len());
                let expected = *model.entry(text.clone()).or_insert_with(|| {
                    order.push((text.clone(), uses.len()));
                    order.len() as u32 - 1
                });
                assert_eq!(number, expected);
                assert_eq!(added, order[number as usize].1 == uses.len());
                uses.push(number);
                if random(&mut state).is_multiple_of(50) {
                    let kept = uses.len() - (random(&mut state) as usize % uses.len().min(40));
                    uses.truncate(kept);
                    dictionary.truncate(kept);
                    while order.last().is_some_and(|(_, first)| *first >= kept) {
                        model.remove(&order.pop().unwrap().0);
                    }
                }
                assert_eq!(dictionary.len(), order.len());
            }
            for (number, (text, _)) in order.iter().enumerate() {
                assert_eq!(dictionary.get(number), text);
            }
            assert_eq!(dictionary.byte_len(), order.iter().map(|(text, _)| text.len()).sum::<usize>());
            assert!(!dictionary.is_crowded());
            dictionary.clear();
            assert_eq!(dictionary.intern(Headed::from(b"one".as_slice()), 0), (0, true));
            assert_eq!(dictionary.intern(Headed::from(b"one".as_slice()), 1), (0, false));
        }
    }

    #[test]
    fn texts_of_the_same_hash_are_noticed() {
        // One factor of the first product is zero, whatever the other half holds.
        let low = (0x2D35_8DCC_AA6C_78A5_u64 ^ 16).to_le_bytes();
        let mut dictionary = Dictionary::default();
        for n in 0..2_000_u64 {
            let text = [low, n.to_le_bytes()].concat();
            assert_eq!(dictionary.intern(Headed::from(text.as_slice()), n as usize), (n as u32, true));
        }
        assert!(dictionary.is_crowded());
    }
}
