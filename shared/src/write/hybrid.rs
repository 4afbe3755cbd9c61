//! Small integers → the RLE / bit-packed hybrid of Parquet, for levels and dictionary indices.
//!
//! Specification: <https://parquet.apache.org/docs/file-format/data-pages/encodings/>, "Run Length
//! Encoding / Bit-Packing Hybrid". Without the length prefix, which only levels have.

/// A number that the hybrid takes.
pub(super) trait Small: Copy + Default + PartialEq {
    /// The number as the packer takes it.
    fn wide(self) -> u64;
}

impl Small for u8 {
    #[inline]
    fn wide(self) -> u64 {
        u64::from(self)
    }
}

impl Small for u32 {
    #[inline]
    fn wide(self) -> u64 {
        u64::from(self)
    }
}

/// Bits that hold every number from 0 to `max`.
pub(super) fn bit_width(max: u32) -> u8 {
    (32 - max.leading_zeros()) as u8
}

/// Append `values`, each below 2^`width`.
pub(super) fn encode<T: Small>(values: &[T], width: u8, out: &mut Vec<u8>) {
    if width == 0 {
        return run(values.len(), T::default(), width, out);
    }
    // Runs begin and end on multiples of eight from the page's start, so that what stands between
    // them can be packed in whole groups.
    let mut packed_from = 0;
    let mut at = 0;
    while let Some(group) = values[at..].first_chunk::<8>() {
        if !all_are(group, group[0]) {
            at += 8;
            continue;
        }
        let end = run_end(values, at);
        if run_pays(end - at, width) {
            pack_run(&values[packed_from..at], width, out);
            run(end - at, group[0], width, out);
            packed_from = end;
        }
        at = end;
    }
    pack_run(&values[packed_from..], width, out);
}

/// Append `len` times `value`.
pub(super) fn run<T: Small>(len: usize, value: T, width: u8, out: &mut Vec<u8>) {
    if len > 0 {
        varint((len as u64) << 1, out);
        out.extend_from_slice(&value.wide().to_le_bytes()[..usize::from(width.div_ceil(8))]);
    }
}

/// Where the run that begins at `at` ends: at a whole group, or with the values.
fn run_end<T: Small>(values: &[T], at: usize) -> usize {
    let mut end = at + 8;
    while let Some(group) = values[end..].first_chunk::<8>() {
        if !all_are(group, values[at]) {
            return end;
        }
        end += 8;
    }
    if values[end..].iter().all(|v| *v == values[at]) { values.len() } else { end }
}

#[inline]
fn all_are<T: Small>(group: &[T; 8], value: T) -> bool {
    group.iter().fold(0, |differ, v| differ | (v.wide() ^ value.wide())) == 0
}

/// Whether a run is shorter than the same values packed, its header and that of the next packed
/// run included.
fn run_pays(len: usize, width: u8) -> bool {
    let width = usize::from(width);
    len / 8 * width > 3 + width.div_ceil(8)
}

fn pack_run<T: Small>(values: &[T], width: u8, out: &mut Vec<u8>) {
    if !values.is_empty() {
        varint((values.len().div_ceil(8) as u64) << 1 | 1, out);
        pack(values, width, out);
    }
}

/// Append `values` bit-packed, the last group filled up with zeros.
pub(super) fn pack<T: Small>(values: &[T], width: u8, out: &mut Vec<u8>) {
    macro_rules! widths {
        ($($width:literal)*) => {
            match width {
                $($width => pack_width::<$width, T>(values, out),)*
                _ => unreachable!("no number is wider than 32 bits"),
            }
        };
    }
    widths!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32)
}

fn pack_width<const WIDTH: usize, T: Small>(values: &[T], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + values.len().div_ceil(8) * WIDTH, 0);
    let (groups, rest) = values.as_chunks::<8>();
    let mut packed = out[start..].chunks_exact_mut(WIDTH);
    for (group, bytes) in groups.iter().zip(packed.by_ref()) {
        pack_group::<WIDTH, T>(group, bytes);
    }
    if let Some(bytes) = packed.next() {
        let mut group = [T::default(); 8];
        group[..rest.len()].copy_from_slice(rest);
        pack_group::<WIDTH, T>(&group, bytes);
    }
}

#[inline]
fn pack_group<const WIDTH: usize, T: Small>(group: &[T; 8], bytes: &mut [u8]) {
    let mut pending = 0u64;
    let mut bits = 0;
    let mut at = 0;
    for value in group {
        pending |= value.wide() << bits;
        bits += WIDTH;
        if bits >= 32 {
            bytes[at..at + 4].copy_from_slice(&(pending as u32).to_le_bytes());
            pending >>= 32;
            bits -= 32;
            at += 4;
        }
    }
    bytes[at..WIDTH].copy_from_slice(&pending.to_le_bytes()[..WIDTH - at]);
}

/// Append an unsigned LEB128.
pub(super) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The specification read back literally, bit by bit.
    fn decode(bytes: &[u8], width: usize, len: usize) -> Vec<u32> {
        let mut at = 0;
        let mut out = Vec::new();
        while at < bytes.len() {
            let (mut header, mut shift) = (0u64, 0);
            loop {
                header |= u64::from(bytes[at] & 0x7f) << shift;
                shift += 7;
                at += 1;
                if bytes[at - 1] < 0x80 {
                    break;
                }
            }
            if header & 1 == 0 {
                let mut value = [0; 4];
                let size = width.div_ceil(8);
                value[..size].copy_from_slice(&bytes[at..at + size]);
                at += size;
                out.extend(std::iter::repeat_n(u32::from_le_bytes(value), (header >> 1) as usize));
            } else {
                let groups = (header >> 1) as usize;
                for i in 0..groups * 8 {
                    let bit = |b: usize| u32::from(bytes[at + b / 8] >> (b % 8) & 1);
                    out.push((0..width).map(|b| bit(i * width + b) << b).sum());
                }
                at += groups * width;
            }
        }
        assert!(out.len() >= len && out[len..].iter().all(|v| *v == 0), "only padding after the end");
        out.truncate(len);
        out
    }

    proptest! {
        #[test]
        fn what_was_encoded_reads_back(
            width in 0u8..=32,
            runs in prop::collection::vec((any::<u32>(), 1usize..40), 0..40),
            noise in prop::collection::vec(any::<u32>(), 0..100),
        ) {
            let mask = (1u64 << width).wrapping_sub(1) as u32;
            let mut values: Vec<u32> = Vec::new();
            for (value, len) in runs {
                values.extend(std::iter::repeat_n(value & mask, len));
                values.extend(noise.iter().take(len / 3).map(|v| v & mask));
            }
            let mut out = Vec::new();
            encode(&values, width, &mut out);
            prop_assert_eq!(decode(&out, usize::from(width), values.len()), values.clone());
            if width <= 8 {
                let bytes: Vec<u8> = values.iter().map(|v| *v as u8).collect();
                let mut same = Vec::new();
                encode(&bytes, width, &mut same);
                prop_assert_eq!(same, out);
            }
        }
    }

    #[test]
    fn long_runs_are_short() {
        let mut out = Vec::new();
        encode(&[1u8; 100_000], 1, &mut out);
        assert_eq!(out.len(), 4);
    }

    #[test]
    fn widths_are_those_of_the_largest_number() {
        for (max, width) in [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (255, 8), (256, 9), (u32::MAX, 32)] {
            assert_eq!(bit_width(max), width);
        }
    }
}
