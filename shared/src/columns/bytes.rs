//! Byte values with a dictionary that is built while parsing and dropped when it does not pay.

use std::hash::{BuildHasher, Hasher};

use hashbrown::HashTable;

use crate::scan::same;

/// Values seen when the dictionary is judged, and the share of distinct ones (in percent) above
/// which it is dropped. Measured: ids show themselves after a thousand values.
const JUDGEMENTS: [(usize, usize); 2] = [(1_024, 95), (8_192, 50)];
/// Dictionary bytes above which a page would be unwieldy for readers (parquet-mr's default page).
const MAX_DICTIONARY_BYTES: usize = 1 << 20;

/// Distinct values in order of first appearance.
#[derive(Debug, Default)]
pub struct Dictionary {
    bytes: Vec<u8>,
    /// End of each value in `bytes`.
    ends: Vec<u32>,
    /// Position of the first use of each value, to take back what a bad row added.
    first_use: Vec<u32>,
    /// Index of each value, by its hash. Small (five bytes a place): with several dictionaries at work,
    /// waiting for memory is most of the time that looking up takes.
    indices: HashTable<u32>,
}

impl Dictionary {
    /// How many distinct values.
    pub fn len(&self) -> usize {
        self.ends.len()
    }
    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
    /// Value number `i`.
    #[inline]
    pub fn get(&self, i: usize) -> &[u8] {
        slice(&self.bytes, &self.ends, i)
    }
    /// Bytes of all values together.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Index of `value`, added if new.
    #[inline]
    fn intern(&mut self, value: &[u8], position: u32) -> u32 {
        let hash = hash(value);
        let Self { bytes, ends, first_use, indices } = self;
        match indices.find(hash, |&i| same(slice(bytes, ends, i as usize), value)) {
            Some(&index) => index,
            None => {
                let index = ends.len() as u32;
                indices.insert_unique(hash, index, |&i| self::hash(slice(bytes, ends, i as usize)));
                bytes.extend_from_slice(value);
                ends.push(bytes.len() as u32);
                first_use.push(position);
                index
            }
        }
    }

    /// Take back the values first used at `position` or later.
    fn truncate(&mut self, position: usize) {
        let keep = self.first_use.partition_point(|&p| (p as usize) < position);
        for index in keep..self.len() {
            if let Ok(entry) = self.indices.find_entry(hash(self.get(index)), |&i| i as usize == index) {
                entry.remove();
            }
        }
        self.ends.truncate(keep);
        self.first_use.truncate(keep);
        self.bytes.truncate(self.ends.last().map_or(0, |&e| e as usize));
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.first_use.clear();
        self.indices.clear();
    }
}

#[inline]
fn hash(value: &[u8]) -> u64 {
    let mut hasher = foldhash::fast::FixedState::with_seed(0x5745_4952).build_hasher();
    hasher.write(value);
    hasher.finish()
}

#[inline]
fn slice<'a>(bytes: &'a [u8], ends: &[u32], i: usize) -> &'a [u8] {
    let start = if i == 0 { 0 } else { ends[i - 1] as usize };
    &bytes[start..ends[i] as usize]
}

/// Byte values: dictionary and indices, or the bytes themselves.
#[derive(Debug)]
pub struct ByteColumn {
    dictionary: Option<Dictionary>,
    /// Dictionary form: one index a value.
    indices: Vec<u32>,
    /// Plain form: all values end to end, and the end of each.
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Default for ByteColumn {
    fn default() -> Self {
        Self {
            dictionary: Some(Dictionary::default()),
            indices: Vec::new(),
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
        self.push_indexed(value);
    }

    /// Append a value; its index, for [`Self::push_index`], if the column has a dictionary.
    #[inline]
    pub(crate) fn push_indexed(&mut self, value: &[u8]) -> Option<u32> {
        match &mut self.dictionary {
            Some(dictionary) => {
                let index = dictionary.intern(value, self.indices.len() as u32);
                self.indices.push(index);
                self.judge();
                Some(index)
            }
            None => {
                self.bytes.extend_from_slice(value);
                self.ends.push(self.bytes.len() as u32);
                None
            }
        }
    }

    /// Append value number `index` of the dictionary again.
    #[inline]
    pub(crate) fn push_index(&mut self, index: u32) {
        self.indices.push(index);
        self.judge();
    }

    /// Drop the dictionary if it shows that it will not pay.
    #[inline]
    fn judge(&mut self) {
        let Some(dictionary) = &self.dictionary else { return };
        let (n, distinct) = (self.indices.len(), dictionary.len());
        let hopeless = JUDGEMENTS.iter().any(|&(at, percent)| n == at && distinct * 100 > at * percent);
        if hopeless || dictionary.bytes.len() > MAX_DICTIONARY_BYTES {
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
    }

    pub(super) fn memory(&self) -> usize {
        let dictionary = self
            .dictionary
            .as_ref()
            .map_or(0, |d| d.bytes.capacity() + d.ends.capacity() * 8 + d.indices.allocation_size());
        dictionary + self.indices.capacity() * 4 + self.bytes.capacity() + self.ends.capacity() * 4
    }
}
