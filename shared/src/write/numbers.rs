//! Dictionaries of numbers, made when a chunk is encoded and given up as soon as they don't pay.

use crate::columns::Values;

/// Values looked at before going through all of them.
const SAMPLE: usize = 1_024;
/// Largest dictionary: indices of 16 bits, against values of 32 or 64.
const MAX_DISTINCT: usize = 1 << 16;

/// Distinct numbers by bit pattern and one index a value; reused from chunk to chunk.
#[derive(Default)]
pub(crate) struct NumberDictionary {
    values: Vec<u64>,
    indices: Vec<u32>,
    /// Open addressing: index + 1, 0 is free.
    slots: Vec<u32>,
}

impl NumberDictionary {
    /// One index a value, of the last column built.
    pub(crate) fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// Number of distinct values, if a dictionary pays for this column.
    pub(crate) fn build(&mut self, values: &Values) -> Option<usize> {
        match values {
            Values::Int32(v) => self.intern(v.len(), v.iter().map(|&v| u64::from(v as u32)), 4),
            Values::Int64(v) => self.intern(v.len(), v.iter().map(|&v| v as u64), 8),
            Values::Float(v) => self.intern(v.len(), v.iter().map(|&v| u64::from(v.to_bits())), 4),
            Values::Double(v) => self.intern(v.len(), v.iter().map(|&v| v.to_bits()), 8),
            _ => None,
        }
    }

    /// The distinct values in PLAIN encoding.
    pub(crate) fn write_values(&self, like: &Values, page: &mut Vec<u8>) {
        let wide = matches!(like, Values::Int64(_) | Values::Double(_));
        for value in &self.values {
            page.extend_from_slice(&value.to_le_bytes()[..if wide { 8 } else { 4 }]);
        }
    }

    fn intern(&mut self, n: usize, bits: impl Iterator<Item = u64>, width: usize) -> Option<usize> {
        if n == 0 {
            return None;
        }
        self.values.clear();
        self.indices.clear();
        self.slots.clear();
        self.slots.resize(256, 0);
        let (mut previous, mut index) = (None, 0);
        for (i, value) in bits.enumerate() {
            if previous != Some(value) {
                index = self.index_of(value);
                previous = Some(value);
            }
            self.indices.push(index);
            let distinct = self.values.len();
            if (i + 1 == SAMPLE && distinct * 2 > SAMPLE) || distinct > MAX_DISTINCT {
                return None;
            }
        }
        // Indices and the dictionary together against the values themselves.
        let distinct = self.values.len();
        let index_bits = super::rle::bit_width(distinct as u32 - 1).max(1) as usize;
        (distinct * width + n * index_bits / 8 < n * width * 3 / 4).then_some(distinct)
    }

    #[inline]
    fn index_of(&mut self, value: u64) -> u32 {
        if (self.values.len() + 1) * 2 > self.slots.len() {
            let size = self.slots.len() * 4;
            self.slots.clear();
            self.slots.resize(size, 0);
            for (index, &value) in self.values.iter().enumerate() {
                let mut at = slot(value, size);
                while self.slots[at] != 0 {
                    at = (at + 1) & (size - 1);
                }
                self.slots[at] = index as u32 + 1;
            }
        }
        let size = self.slots.len();
        let mut at = slot(value, size);
        loop {
            match self.slots[at] {
                0 => break,
                index if self.values[index as usize - 1] == value => return index - 1,
                _ => at = (at + 1) & (size - 1),
            }
        }
        self.values.push(value);
        self.slots[at] = self.values.len() as u32;
        self.values.len() as u32 - 1
    }
}

/// Multiplicative hashing: the high bits are the mixed ones.
#[inline]
fn slot(value: u64, size: usize) -> usize {
    ((value ^ value >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize & (size - 1)
}
