//! Byte values with a dictionary that is built while parsing and dropped when it does not pay.

use super::dictionary::{Dictionary, Headed};
use crate::scan::same;

/// Values seen when the dictionary is judged, and the share of distinct ones (in percent) above
/// which it is dropped. Measured: ids show themselves after a thousand values.
const JUDGEMENTS: [(usize, usize); 2] = [(1_024, 95), (8_192, 50)];
/// Dictionary bytes above which a page would be unwieldy for readers (parquet-mr's default page).
const MAX_DICTIONARY_BYTES: usize = 1 << 20;

/// Byte values: dictionary and indices, or the bytes themselves.
#[derive(Debug)]
pub struct ByteColumn {
    dictionary: Option<Dictionary>,
    /// Dictionary form: one index a value.
    indices: Vec<u32>,
    /// How many of [`JUDGEMENTS`] it has passed, and how many values there are at the next one.
    judged: usize,
    judge_at: usize,
    /// Plain form: all values end to end, and the end of each.
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Default for ByteColumn {
    fn default() -> Self {
        Self {
            dictionary: Some(Dictionary::default()),
            indices: Vec::new(),
            judged: 0,
            judge_at: JUDGEMENTS[0].0,
            bytes: Vec::new(),
            ends: Vec::new(),
        }
    }
}

impl ByteColumn {
    /// How many values.
    #[inline]
    pub fn len(&self) -> usize {
        if self.dictionary.is_some() { self.indices.len() } else { self.ends.len() }
    }
    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The dictionary and one index a value, if the column has kept its dictionary.
    pub fn dictionary(&self) -> Option<(&Dictionary, &[u32])> {
        self.dictionary.as_ref().map(|d| (d, self.indices.as_slice()))
    }
    /// All bytes and the end of each value; only meaningful without a dictionary.
    pub fn plain(&self) -> (&[u8], &[u32]) {
        (&self.bytes, &self.ends)
    }
    /// Value number `i`, in either form.
    pub fn get(&self, i: usize) -> &[u8] {
        match &self.dictionary {
            Some(d) => d.get(self.indices[i] as usize),
            None => &self.bytes[if i == 0 { 0 } else { self.ends[i - 1] as usize }..self.ends[i] as usize],
        }
    }

    /// Append a value.
    #[inline]
    pub fn push(&mut self, value: &[u8]) {
        self.push_headed(Headed::from(value));
    }

    /// Append a value; `false` if it is known to be the same as one before.
    #[inline(always)]
    pub(crate) fn push_headed(&mut self, value: Headed<'_>) -> bool {
        match &mut self.dictionary {
            Some(dictionary) => {
                let (index, added) = dictionary.intern(value, self.indices.len());
                self.indices.push(index);
                if added || self.indices.len() >= self.judge_at {
                    self.judge();
                }
                added
            }
            None => {
                self.bytes.extend_from_slice(value.bytes());
                self.ends.push(self.bytes.len() as u32);
                true
            }
        }
    }

    /// Append a value; its index, for [`Self::push_index`], if the column has a dictionary.
    #[inline]
    pub(crate) fn push_indexed(&mut self, value: &[u8]) -> Option<u32> {
        self.push(value);
        self.dictionary.as_ref().and_then(|_| self.indices.last().copied())
    }

    /// Append value number `index` of the dictionary again.
    #[inline]
    pub(crate) fn push_index(&mut self, index: u32) {
        self.indices.push(index);
        if self.indices.len() >= self.judge_at {
            self.judge();
        }
    }

    /// Drop the dictionary if it shows that it will not pay.
    #[cold]
    #[inline(never)]
    fn judge(&mut self) {
        let Some(dictionary) = &self.dictionary else { return };
        let mut hopeless = dictionary.byte_len() > MAX_DICTIONARY_BYTES || dictionary.is_crowded();
        while let Some(&(at, percent)) = JUDGEMENTS.get(self.judged)
            && at <= self.indices.len()
        {
            hopeless |= dictionary.len() * 100 > self.indices.len() * percent;
            self.judged += 1;
            self.judge_at = JUDGEMENTS.get(self.judged).map_or(usize::MAX, |next| next.0);
        }
        if hopeless {
            self.drop_dictionary();
        }
    }

    /// Append the last value again. The column must not be empty.
    #[inline]
    pub(crate) fn repeat_last(&mut self) {
        if self.dictionary.is_some() {
            let last = self.indices[self.indices.len() - 1];
            self.indices.push(last);
        } else {
            let start = if self.ends.len() < 2 { 0 } else { self.ends[self.ends.len() - 2] as usize };
            self.bytes.extend_from_within(start..);
            self.ends.push(self.bytes.len() as u32);
        }
    }

    /// Append a value that is most likely the same as the last one.
    #[inline]
    pub fn push_repeated(&mut self, value: &[u8]) {
        if let (Some(dictionary), Some(&last)) = (&self.dictionary, self.indices.last())
            && same(dictionary.get(last as usize), value)
        {
            self.indices.push(last);
            return;
        }
        self.push(value);
    }

    fn drop_dictionary(&mut self) {
        let Some(dictionary) = self.dictionary.take() else { return };
        for &i in &self.indices {
            self.bytes.extend_from_slice(dictionary.get(i as usize));
            self.ends.push(self.bytes.len() as u32);
        }
        self.indices = Vec::new();
    }

    pub(super) fn truncate(&mut self, len: usize) {
        match &mut self.dictionary {
            Some(dictionary) => {
                if len < self.indices.len() {
                    self.indices.truncate(len);
                    dictionary.truncate(len);
                    while self.judged > 0 && JUDGEMENTS[self.judged - 1].0 > len {
                        self.judged -= 1;
                        self.judge_at = JUDGEMENTS[self.judged].0;
                    }
                }
            }
            None => {
                self.ends.truncate(len);
                self.bytes.truncate(self.ends.last().map_or(0, |&e| e as usize));
            }
        }
    }

    /// Forget all values and judge the dictionary anew.
    pub(super) fn clear(&mut self) {
        self.indices.clear();
        self.bytes.clear();
        self.ends.clear();
        self.dictionary.get_or_insert_default().clear();
        (self.judged, self.judge_at) = (0, JUDGEMENTS[0].0);
    }

    pub(super) fn memory(&self) -> usize {
        let dictionary = self.dictionary.as_ref().map_or(0, Dictionary::memory);
        dictionary + self.indices.capacity() * 4 + self.bytes.capacity() + self.ends.capacity() * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_dictionary(values: impl Iterator<Item = String>) -> bool {
        let mut column = ByteColumn::default();
        let values: Vec<String> = values.collect();
        values.iter().for_each(|value| column.push(value.as_bytes()));
        assert!((0..values.len()).all(|i| column.get(i) == values[i].as_bytes()));
        column.dictionary().is_some()
    }

    #[test]
    fn a_dictionary_goes_when_it_does_not_pay() {
        let (first, second) = (JUDGEMENTS[0].0, JUDGEMENTS[1].0);
        assert!(has_dictionary((0..first - 1).map(|i| format!("id {i}"))), "not judged yet");
        assert!(!has_dictionary((0..first).map(|i| format!("id {i}"))), "ids");
        assert!(has_dictionary((0..second).map(|i| format!("{}", i / 3))), "a third is distinct");
        assert!(!has_dictionary((0..second).map(|i| format!("{}", i * 2 / 3))), "two thirds are");
        let long = |i: usize| format!("{:2000}", i % 600);
        assert!(!has_dictionary((0..second).map(long)), "too long for a page");
    }

    #[test]
    fn a_judgement_behind_repetitions_is_made_up_for_and_one_in_a_refused_row_is_made_again() {
        let mut column = ByteColumn::default();
        for _ in 0..=JUDGEMENTS[0].0 {
            if column.is_empty() { column.push(b"same") } else { column.repeat_last() }
        }
        column.push(b"other");
        assert_eq!((column.judged, column.judge_at), (1, JUDGEMENTS[1].0));
        column.truncate(JUDGEMENTS[0].0 - 1);
        assert_eq!((column.judged, column.judge_at), (0, JUDGEMENTS[0].0));
        column.clear();
        (0..JUDGEMENTS[0].0).for_each(|i| column.push(&i.to_le_bytes()));
        assert!(column.dictionary().is_none());
    }
}
