//! Numbers → distinct numbers and one index each, given up as soon as that cannot pay.

/// Most distinct numbers: 512 KiB of INT64, within parquet-mr's default dictionary page.
const MAX_DISTINCT: usize = 1 << 16;
/// Values seen when the dictionary is judged, and the share of distinct ones (in percent) above
/// which it is given up, as in [`crate::columns::ByteColumn`].
const JUDGEMENTS: [(usize, usize); 3] = [(1_024, 95), (8_192, 75), (32_768, 50)];

/// A number as a hash table takes it.
pub(super) trait Key: Copy {
    /// Its bits: two numbers are the same entry if these are (so -0.0 is not 0.0).
    fn bits(self) -> u64;
}

macro_rules! key {
    ($ty:ty, $self:ident => $bits:expr) => {
        impl Key for $ty {
            #[inline]
            fn bits($self) -> u64 {
                $bits
            }
        }
    };
}
key!(i32, self => u64::from(self as u32));
key!(i64, self => self as u64);
key!(f32, self => u64::from(self.to_bits()));
key!(f64, self => self.to_bits());

/// Memory of the search for distinct numbers, kept between columns.
#[derive(Debug, Default)]
pub(super) struct Interner {
    /// Open addressing: index + 1, 0 is free.
    slots: Vec<u32>,
}

impl Interner {
    /// The distinct values in order of appearance, and the index of each value in `indices`; or
    /// nothing if the values are better written as they are.
    pub(super) fn intern<T: Key>(&mut self, values: &[T], indices: &mut Vec<u32>) -> Option<Vec<T>> {
        indices.clear();
        indices.reserve(values.len());
        self.slots.clear();
        self.slots.resize(1_024, 0);
        let mut distinct: Vec<T> = Vec::new();
        let (mut from, mut last) = (0, None);
        for (at, percent) in JUDGEMENTS.into_iter().chain([(usize::MAX, 100)]) {
            let to = at.min(values.len());
            for &value in &values[from..to] {
                let index = match last {
                    Some((bits, index)) if bits == value.bits() => index,
                    _ => self.find_or_add(value, &mut distinct),
                };
                last = Some((value.bits(), index));
                indices.push(index);
                if distinct.len() > MAX_DISTINCT {
                    return None;
                }
            }
            from = to;
            if from == at && distinct.len() * 100 > at * percent {
                return None;
            }
        }
        pays(distinct.len(), values.len(), size_of::<T>()).then_some(distinct)
    }

    #[inline]
    fn find_or_add<T: Key>(&mut self, value: T, distinct: &mut Vec<T>) -> u32 {
        let mask = self.slots.len() - 1;
        let mut at = hash(value.bits()) & mask;
        loop {
            match self.slots[at] {
                0 => break,
                slot if distinct[slot as usize - 1].bits() == value.bits() => return slot - 1,
                _ => at = (at + 1) & mask,
            }
        }
        distinct.push(value);
        self.slots[at] = distinct.len() as u32;
        if distinct.len() * 2 > self.slots.len() {
            self.grow(distinct);
        }
        distinct.len() as u32 - 1
    }

    fn grow<T: Key>(&mut self, distinct: &[T]) {
        let size = self.slots.len() * 4;
        self.slots.clear();
        self.slots.resize(size, 0);
        for (index, value) in distinct.iter().enumerate() {
            let mut at = hash(value.bits()) & (size - 1);
            while self.slots[at] != 0 {
                at = (at + 1) & (size - 1);
            }
            self.slots[at] = index as u32 + 1;
        }
    }
}

#[inline]
fn hash(bits: u64) -> usize {
    // Multiplication carries upwards only; folding the product brings high bits back down.
    let product = u128::from(bits ^ 0x5745_4952_5745_4952) * 0x9E37_79B9_7F4A_7C15;
    (product as u64 ^ (product >> 64) as u64) as usize
}

/// Whether `distinct` values of `size` bytes and packed indices are clearly shorter than `values`
/// values as they are. Not at a tie: reading without a dictionary is simpler.
pub(super) fn pays(distinct: usize, values: usize, size: usize) -> bool {
    let width = usize::from(super::hybrid::bit_width(distinct.saturating_sub(1) as u32));
    distinct > 0 && (distinct * size + values * width / 8) * 10 <= values * size * 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_point_at_the_values() {
        let values: Vec<i64> = (0..50_000).map(|i| (i * 7_919) % 900 - 450).collect();
        let mut indices = Vec::new();
        let distinct = Interner::default().intern(&values, &mut indices).unwrap();
        assert_eq!(distinct.len(), 900);
        let back: Vec<i64> = indices.iter().map(|i| distinct[*i as usize]).collect();
        assert_eq!(back, values);
    }

    #[test]
    fn numbers_that_differ_in_bits_are_kept_apart() {
        let values = [0.0, -0.0, f64::NAN, 0.0, f64::NAN].repeat(20);
        let mut indices = Vec::new();
        let distinct = Interner::default().intern(&values, &mut indices).unwrap();
        assert_eq!(distinct.len(), 3);
        assert_eq!(indices[..5], [0, 1, 2, 0, 2]);
    }

    #[test]
    fn distinct_numbers_are_given_up() {
        for n in [10, 1_024, 2_000, 100_000] {
            let values: Vec<i64> = (0..n).collect();
            assert!(Interner::default().intern(&values, &mut Vec::new()).is_none(), "{n} distinct values");
        }
    }
}
