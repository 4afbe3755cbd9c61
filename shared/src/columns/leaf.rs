//! The buffer of one leaf: levels and the values that are there.

use super::bytes::ByteColumn;
use super::dictionary::Headed;
use super::layout::{LeafSpec, Physical};

/// Definition or repetition levels; one number as long as all are the same.
#[derive(Debug, Default, Clone)]
pub struct Levels {
    len: usize,
    uniform: u8,
    spread: Vec<u8>,
}

impl Levels {
    /// Append one.
    #[inline]
    pub fn push(&mut self, level: u8) {
        if !self.spread.is_empty() {
            self.spread.push(level);
        } else if level != self.uniform {
            self.push_other(level);
        }
        self.len += 1;
    }
    /// Append the first level of all, or one that differs from all before it; `len` is counted by the caller.
    #[cold]
    #[inline(never)]
    fn push_other(&mut self, level: u8) {
        if self.len == 0 {
            self.uniform = level;
        } else {
            self.spread.resize(self.len, self.uniform);
            self.spread.push(level);
        }
    }
    /// How many.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// The level of all entries, if they are known to be the same.
    pub fn uniform(&self) -> Option<u8> {
        self.spread.is_empty().then_some(self.uniform)
    }
    /// The entries, if they differ (else see [`Levels::uniform`]).
    pub fn spread(&self) -> &[u8] {
        &self.spread
    }
    /// Entry `i`.
    #[inline]
    pub fn get(&self, i: usize) -> u8 {
        if self.spread.is_empty() { self.uniform } else { self.spread[i] }
    }
    /// Append `level` `n` times.
    pub fn push_run(&mut self, level: u8, n: usize) {
        if n == 0 {
            return;
        }
        if self.spread.is_empty() && self.len == 0 {
            self.uniform = level;
        }
        if !self.spread.is_empty() || level != self.uniform {
            self.spread.resize(self.len, self.uniform);
            self.spread.resize(self.len + n, level);
        }
        self.len += n;
    }
    /// Append all of `levels`.
    pub fn extend(&mut self, levels: &[u8]) {
        let Some(&first) = levels.first() else { return };
        if self.spread.is_empty() && levels.iter().all(|l| *l == first) {
            return self.push_run(first, levels.len());
        }
        self.spread.resize(self.len, self.uniform);
        self.spread.extend_from_slice(levels);
        self.len += levels.len();
    }
    /// Append all of another's.
    pub fn append(&mut self, other: &Levels) {
        match other.uniform() {
            Some(level) => self.push_run(level, other.len),
            None => self.extend(&other.spread),
        }
    }
    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.spread.capacity()
    }
    fn truncate(&mut self, len: usize) {
        self.spread.truncate(len);
        self.len = len;
    }
    fn clear(&mut self) {
        self.truncate(0);
    }
}

/// Values of one leaf, without nulls.
#[derive(Debug)]
pub enum Values {
    /// One byte a value, 0 or 1
    Bool(Vec<u8>),
    /// INT32
    Int32(Vec<i32>),
    /// INT64
    Int64(Vec<i64>),
    /// FLOAT
    Float(Vec<f32>),
    /// DOUBLE
    Double(Vec<f64>),
    /// BYTE_ARRAY
    Bytes(ByteColumn),
    /// FIXED_LEN_BYTE_ARRAY, values end to end
    Fixed {
        /// Bytes of one value.
        width: usize,
        /// All values.
        data: Vec<u8>,
    },
}

/// One leaf.
#[derive(Debug)]
pub struct LeafColumn {
    /// Definition levels, one per entry.
    pub defs: Levels,
    /// Repetition levels, one per entry; empty when `max_rep` is 0.
    pub reps: Levels,
    /// Values of the entries whose definition level is `max_def`.
    pub values: Values,
    /// See [`LeafSpec`].
    pub max_def: u8,
    /// See [`LeafSpec`].
    pub max_rep: u8,
    rows: usize,
}

macro_rules! push_of {
    ($(#[$doc:meta])* $name:ident, $variant:ident, $ty:ty) => {
        $(#[$doc])*
        #[inline]
        pub fn $name(&mut self, value: $ty, rep: u8) {
            self.enter(rep);
            match &mut self.values {
                Values::$variant(v) => v.push(value),
                _ => unreachable!("leaf of another type"),
            }
        }
    };
}

impl LeafColumn {
    /// An empty buffer.
    pub fn new(spec: &LeafSpec) -> Self {
        let values = match spec.physical {
            Physical::Bool => Values::Bool(Vec::new()),
            Physical::Int32 => Values::Int32(Vec::new()),
            Physical::Int64 => Values::Int64(Vec::new()),
            Physical::Float => Values::Float(Vec::new()),
            Physical::Double => Values::Double(Vec::new()),
            Physical::Bytes => Values::Bytes(ByteColumn::default()),
            Physical::Fixed(width) => Values::Fixed { width, data: Vec::new() },
        };
        let (defs, reps) = (Levels::default(), Levels::default());
        Self { defs, reps, values, max_def: spec.max_def, max_rep: spec.max_rep, rows: 0 }
    }

    /// Rows begun.
    #[inline]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Say how many rows there are, after levels and values were filled in bulk.
    pub(crate) fn set_rows(&mut self, rows: usize) {
        self.rows = rows;
    }

    #[inline]
    fn level(&mut self, def: u8, rep: u8) {
        self.defs.push(def);
        if self.max_rep > 0 {
            self.reps.push(rep);
        }
        self.rows += usize::from(rep == 0);
    }

    #[inline]
    fn enter(&mut self, rep: u8) {
        self.level(self.max_def, rep);
    }

    /// Append an entry without a value, null or empty from definition level `def` on.
    #[inline]
    pub fn push_null(&mut self, def: u8, rep: u8) {
        debug_assert!(def < self.max_def);
        self.level(def, rep);
    }

    push_of!(
        /// Append a boolean as 0 or 1.
        push_bool, Bool, u8
    );
    push_of!(
        /// Append an INT32.
        push_i32, Int32, i32
    );
    push_of!(
        /// Append an INT64.
        push_i64, Int64, i64
    );
    push_of!(
        /// Append a FLOAT.
        push_f32, Float, f32
    );
    push_of!(
        /// Append a DOUBLE.
        push_f64, Double, f64
    );
    push_of!(
        /// Append a BYTE_ARRAY.
        push_bytes, Bytes, &[u8]
    );

    /// Append a BYTE_ARRAY whose first bytes are at hand (see [`Headed`]); `false` if it is known to be the
    /// same as one before.
    // The parts of `Headed` one by one: so they are passed in registers.
    #[inline(never)]
    pub(crate) fn push_headed(&mut self, bytes: &[u8], head: u128, rep: u8) -> bool {
        self.enter(rep);
        match &mut self.values {
            Values::Bytes(v) => v.push_headed(Headed::of_parts(bytes, head)),
            _ => unreachable!("leaf of another type"),
        }
    }

    /// Append the BYTE_ARRAY of the last entry again, which is not null.
    #[inline]
    pub(crate) fn repeat_last(&mut self, rep: u8) {
        self.enter(rep);
        match &mut self.values {
            Values::Bytes(v) => v.repeat_last(),
            _ => unreachable!("leaf of another type"),
        }
    }

    /// Append the same BYTE_ARRAY as the last one, most likely.
    #[inline]
    pub fn push_repeated(&mut self, value: &[u8], rep: u8) {
        self.enter(rep);
        match &mut self.values {
            Values::Bytes(v) => v.push_repeated(value),
            _ => unreachable!("leaf of another type"),
        }
    }

    /// Append the last `width` bytes of a big-endian two's complement.
    #[inline]
    pub fn push_fixed(&mut self, value: i128, rep: u8) {
        self.enter(rep);
        match &mut self.values {
            Values::Fixed { width, data } => data.extend_from_slice(&value.to_be_bytes()[16 - *width..]),
            _ => unreachable!("leaf of another type"),
        }
    }

    /// The last entry's INT32 or INT64, unless it is null.
    #[inline]
    pub fn last_whole(&self) -> Option<i64> {
        if self.defs.is_empty() || self.defs.get(self.defs.len() - 1) != self.max_def {
            return None;
        }
        match &self.values {
            Values::Int64(v) => v.last().copied(),
            Values::Int32(v) => v.last().map(|&v| v.into()),
            Values::Bool(v) => v.last().map(|&v| v.into()),
            _ => None,
        }
    }

    /// The last entry's bytes, unless it is null.
    #[inline]
    pub fn last_bytes(&self) -> Option<&[u8]> {
        if self.defs.is_empty() || self.defs.get(self.defs.len() - 1) != self.max_def {
            return None;
        }
        match &self.values {
            Values::Bytes(v) if !v.is_empty() => Some(v.get(v.len() - 1)),
            _ => None,
        }
    }

    /// How many values are there (entries that are not null).
    pub fn present(&self) -> usize {
        match &self.values {
            Values::Bool(v) => v.len(),
            Values::Int32(v) => v.len(),
            Values::Int64(v) => v.len(),
            Values::Float(v) => v.len(),
            Values::Double(v) => v.len(),
            Values::Bytes(v) => v.len(),
            Values::Fixed { width, data } => data.len() / width,
        }
    }

    /// Back to `rows` complete rows.
    pub fn truncate(&mut self, rows: usize) {
        let mut entries = self.defs.len();
        let mut values = self.present();
        while self.rows > rows {
            entries -= 1;
            values -= usize::from(self.defs.get(entries) == self.max_def);
            if self.max_rep == 0 || self.reps.get(entries) == 0 {
                self.rows -= 1;
            }
        }
        self.defs.truncate(entries);
        if self.max_rep > 0 {
            self.reps.truncate(entries);
        }
        self.truncate_values(values);
    }

    fn truncate_values(&mut self, len: usize) {
        match &mut self.values {
            Values::Bool(v) => v.truncate(len),
            Values::Int32(v) => v.truncate(len),
            Values::Int64(v) => v.truncate(len),
            Values::Float(v) => v.truncate(len),
            Values::Double(v) => v.truncate(len),
            Values::Bytes(v) => v.truncate(len),
            Values::Fixed { width, data } => data.truncate(len * *width),
        }
    }

    /// Forget everything, keep the memory.
    pub fn clear(&mut self) {
        self.defs.clear();
        self.reps.clear();
        self.rows = 0;
        match &mut self.values {
            Values::Bytes(v) => v.clear(),
            _ => self.truncate_values(0),
        }
    }

    /// Bytes held, roughly.
    pub fn memory(&self) -> usize {
        let values = match &self.values {
            Values::Bool(v) => v.capacity(),
            Values::Int32(v) => v.capacity() * 4,
            Values::Int64(v) => v.capacity() * 8,
            Values::Float(v) => v.capacity() * 4,
            Values::Double(v) => v.capacity() * 8,
            Values::Bytes(v) => v.memory(),
            Values::Fixed { data, .. } => data.capacity(),
        };
        values + self.defs.memory() + self.reps.memory()
    }
}
