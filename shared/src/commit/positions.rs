//! Exact sets of positions (C2): which records a commit lists. Sequence numbers for streams, byte
//! ranges for files. The compact form on disk is in [`super::encoding`].

use std::ops::Range;

use crate::record::SequenceNumber;

/// An exact set of positions. A shard uses one kind for life: numbers for streams, ranges for
/// files; the empty set belongs to both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PositionSet {
    /// Sequence numbers, strictly ascending.
    Exact(Vec<SequenceNumber>),
    /// Byte ranges, ascending, disjoint, not touching, none empty.
    Ranges(Vec<Range<u64>>),
}

impl Default for PositionSet {
    fn default() -> Self {
        PositionSet::Exact(Vec::new())
    }
}

impl FromIterator<SequenceNumber> for PositionSet {
    fn from_iter<T: IntoIterator<Item = SequenceNumber>>(numbers: T) -> Self {
        let mut numbers: Vec<_> = numbers.into_iter().collect();
        numbers.sort_unstable();
        numbers.dedup();
        PositionSet::Exact(numbers)
    }
}

impl PositionSet {
    /// From byte ranges in any order; empty ones are dropped, touching ones joined.
    pub fn from_ranges(ranges: impl IntoIterator<Item = Range<u64>>) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().filter(|r| !r.is_empty()).collect();
        ranges.sort_unstable_by_key(|r| r.start);
        let mut joined: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match joined.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => joined.push(range),
            }
        }
        PositionSet::Ranges(joined)
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        match self {
            PositionSet::Exact(numbers) => numbers.is_empty(),
            PositionSet::Ranges(ranges) => ranges.is_empty(),
        }
    }

    /// How many positions: stream records, or bytes of a file.
    pub fn count(&self) -> u64 {
        match self {
            PositionSet::Exact(numbers) => numbers.len() as u64,
            PositionSet::Ranges(ranges) => ranges.iter().map(|r| r.end - r.start).sum(),
        }
    }

    /// The first position.
    pub fn min(&self) -> Option<SequenceNumber> {
        match self {
            PositionSet::Exact(numbers) => numbers.first().copied(),
            PositionSet::Ranges(ranges) => ranges.first().map(|r| r.start.into()),
        }
    }

    /// The last position.
    pub fn max(&self) -> Option<SequenceNumber> {
        match self {
            PositionSet::Exact(numbers) => numbers.last().copied(),
            PositionSet::Ranges(ranges) => ranges.last().map(|r| (r.end - 1).into()),
        }
    }

    /// Whether the position is in it.
    pub fn contains(&self, position: SequenceNumber) -> bool {
        match self {
            PositionSet::Exact(numbers) => numbers.binary_search(&position).is_ok(),
            PositionSet::Ranges(ranges) => position.as_u64().is_some_and(|at| {
                let after = ranges.partition_point(|r| r.start <= at);
                after > 0 && at < ranges[after - 1].end
            }),
        }
    }

    /// Whether some position is in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (PositionSet::Exact(a), PositionSet::Exact(b)) => {
                let (few, many) = if a.len() < b.len() { (a, other) } else { (b, self) };
                few.iter().any(|&n| many.contains(n))
            }
            (PositionSet::Exact(a), ranges @ PositionSet::Ranges(_)) => a.iter().any(|&n| ranges.contains(n)),
            (ranges @ PositionSet::Ranges(_), PositionSet::Exact(b)) => b.iter().any(|&n| ranges.contains(n)),
            (PositionSet::Ranges(a), PositionSet::Ranges(b)) => a.iter().any(|r| {
                let after = b.partition_point(|s| s.end <= r.start);
                after < b.len() && b[after].start < r.end
            }),
        }
    }

    /// Positions of `self` that are not in `other`.
    pub fn subtract(&self, other: &Self) -> Self {
        match (self, other) {
            // The common case: a batch against what was built of it.
            (PositionSet::Exact(a), PositionSet::Exact(b)) if a == b => PositionSet::default(),
            (PositionSet::Exact(a), _) => {
                PositionSet::Exact(a.iter().copied().filter(|&n| !other.contains(n)).collect())
            }
            (PositionSet::Ranges(a), PositionSet::Ranges(b)) => PositionSet::Ranges(subtract_ranges(a, b)),
            (PositionSet::Ranges(a), PositionSet::Exact(b)) => {
                PositionSet::Ranges(subtract_ranges(a, &as_ranges(b)))
            }
        }
    }

    /// Positions in either. A shard never mixes the two kinds; if they meet, numbers that fit a
    /// byte offset become ranges.
    pub fn union(&self, other: &Self) -> Self {
        match (self, other) {
            (a, b) if b.is_empty() => a.clone(),
            (a, b) if a.is_empty() => b.clone(),
            (PositionSet::Exact(a), PositionSet::Exact(b)) => a.iter().chain(b).copied().collect(),
            (PositionSet::Ranges(a), PositionSet::Ranges(b)) => Self::from_ranges(a.iter().chain(b).cloned()),
            (PositionSet::Exact(a), PositionSet::Ranges(b))
            | (PositionSet::Ranges(b), PositionSet::Exact(a)) => {
                Self::from_ranges(as_ranges(a).into_iter().chain(b.iter().cloned()))
            }
        }
    }

    /// Whether every position of `self` is in `other`.
    pub fn within(&self, other: &Self) -> bool {
        self.subtract(other).is_empty()
    }
}

fn as_ranges(numbers: &[SequenceNumber]) -> Vec<Range<u64>> {
    let ranges = numbers.iter().filter_map(|n| n.as_u64()).filter(|&n| n < u64::MAX).map(|n| n..n + 1);
    match PositionSet::from_ranges(ranges) {
        PositionSet::Ranges(ranges) => ranges,
        PositionSet::Exact(_) => Vec::new(),
    }
}

fn subtract_ranges(from: &[Range<u64>], what: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut left = Vec::with_capacity(from.len());
    let mut next = 0;
    for range in from {
        let mut start = range.start;
        while next < what.len() && what[next].end <= start {
            next += 1;
        }
        let mut at = next;
        while at < what.len() && what[at].start < range.end {
            if start < what[at].start {
                left.push(start..what[at].start);
            }
            start = start.max(what[at].end);
            at += 1;
        }
        if start < range.end {
            left.push(start..range.end);
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn naive(set: &PositionSet) -> BTreeSet<u64> {
        (0..64).filter(|&n| set.contains(n.into())).collect()
    }

    fn sets() -> impl Strategy<Value = PositionSet> {
        let exact = prop::collection::vec(0u64..64, 0..20)
            .prop_map(|v| v.into_iter().map(SequenceNumber::from).collect::<PositionSet>());
        let ranges = prop::collection::vec((0u64..60, 0u64..8), 0..8)
            .prop_map(|v| PositionSet::from_ranges(v.into_iter().map(|(s, n)| s..(s + n).min(64))));
        prop_oneof![exact, ranges]
    }

    proptest! {
        #[test]
        fn sets_behave_as_a_naive_set_does(a in sets(), b in sets()) {
            let (x, y) = (naive(&a), naive(&b));
            prop_assert_eq!(naive(&a.subtract(&b)), &x - &y);
            prop_assert_eq!(naive(&a.union(&b)), &x | &y);
            prop_assert_eq!(a.overlaps(&b), !x.is_disjoint(&y));
            prop_assert_eq!(a.within(&b), x.is_subset(&y));
            prop_assert_eq!(a.count(), x.len() as u64);
            prop_assert_eq!(a.min(), x.first().map(|&n| n.into()));
            prop_assert_eq!(a.max(), x.last().map(|&n| n.into()));
            prop_assert_eq!(a.is_empty(), x.is_empty());
        }
    }
}
