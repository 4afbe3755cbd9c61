//! The RLE / bit-packed hybrid of levels and dictionary indices
//! (<https://parquet.apache.org/docs/file-format/data-pages/encodings/#RLE>).

/// Shortest run of equal values that is written as one.
const MIN_RUN: usize = 8;

/// Bits that the largest value needs.
pub(crate) fn bit_width(max: u32) -> u32 {
    32 - max.leading_zeros()
}

/// Append the hybrid encoding of `values`, each below 2^`width`.
pub(crate) fn encode<T: Copy + Into<u32> + PartialEq>(values: &[T], width: u32, out: &mut Vec<u8>) {
    let (mut packed_from, mut at) = (0, 0);
    while at < values.len() {
        let value = values[at];
        let mut run = 1;
        while at + run < values.len() && values[at + run] == value {
            run += 1;
        }
        // A packed run must hold whole groups of eight: it takes what it lacks from this run.
        let borrowed = (8 - (at - packed_from) % 8) % 8;
        if run >= MIN_RUN + borrowed {
            pack(&values[packed_from..at + borrowed], width, out);
            repeat(value.into(), run - borrowed, width, out);
            packed_from = at + run;
        }
        at += run;
    }
    pack(&values[packed_from..], width, out);
}

/// Append one run.
pub(crate) fn repeat(value: u32, run: usize, width: u32, out: &mut Vec<u8>) {
    if run == 0 {
        return;
    }
    varint((run as u64) << 1, out);
    out.extend_from_slice(&value.to_le_bytes()[..width.div_ceil(8) as usize]);
}

fn pack<T: Copy + Into<u32>>(values: &[T], width: u32, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let groups = values.len().div_ceil(8);
    varint((groups as u64) << 1 | 1, out);
    let end = out.len() + groups * width as usize;
    out.reserve(end - out.len() + 8);
    let (mut bits, mut filled) = (0u64, 0);
    for &value in values {
        bits |= u64::from(value.into()) << filled;
        filled += width;
        if filled >= 32 {
            out.extend_from_slice(&(bits as u32).to_le_bytes());
            bits >>= 32;
            filled -= 32;
        }
    }
    while out.len() < end {
        out.push(bits as u8);
        bits >>= 8;
    }
    out.truncate(end);
}

/// Append an unsigned LEB128.
pub(crate) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
