//! Positions to compact bytes and back.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | kind: 0 numbers, 1 ranges |
//! | varint | how many |
//! | varint | length of the rest before compression |
//! | … | zstd: for numbers the columns below, each as zigzag varints of its deltas; for ranges gaps and lengths |
//!
//! A Kinesis number has 186 bits: creation time of the shard, a nibble of the shard's index, a
//! record counter (bits 80–143), an opaque byte (72–79), the arrival second (36–71), shard index
//! and format (0–35). Within a shard only the counter and the second change, and both slowly;
//! deltas of the number as a whole would mix the two into 13 bytes a record.

use std::ops::Range;

use super::positions::PositionSet;
use crate::record::SequenceNumber;

/// First bit and width of the columns; together all 256 bits. Other kinds of numbers (DynamoDB's,
/// byte offsets) are cut at the same places, correctly if less tightly.
const COLUMNS: [(u32, u32); 6] = [(0, 36), (36, 36), (72, 8), (80, 64), (144, 64), (208, 48)];
/// No set of one commit is larger than this before compression: two million records.
const MAX_BYTES: usize = 16 << 20;
const KIND_EXACT: u8 = 0;
pub(super) const KIND_RANGES: u8 = 1;
/// Columns of small differences: higher levels take twice the time and save nothing worth it.
const LEVEL: i32 = 1;

/// Why bytes are not positions.
pub type Problem = &'static str;

/// Encode a set.
pub fn encode_set(set: &PositionSet) -> Result<Vec<u8>, Problem> {
    match set {
        PositionSet::Exact(numbers) => encode_numbers(numbers),
        PositionSet::Ranges(ranges) => {
            let mut raw = Vec::with_capacity(ranges.len() * 6);
            let mut at = 0;
            for range in ranges {
                put_varint(&mut raw, range.start - at);
                put_varint(&mut raw, range.end - range.start);
                at = range.end;
            }
            pack(KIND_RANGES, ranges.len(), &raw)
        }
    }
}

/// Decode a set: bounded in memory, and an error for anything [`encode_set`] would not write.
pub fn decode_set(bytes: &[u8]) -> Result<PositionSet, Problem> {
    if bytes.first() == Some(&KIND_RANGES) {
        return decode_ranges(bytes).map(PositionSet::Ranges);
    }
    let numbers = decode_numbers(bytes)?;
    if numbers.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err("numbers are not ascending");
    }
    Ok(PositionSet::Exact(numbers))
}

/// Encode numbers in any order.
pub fn encode_numbers(numbers: &[SequenceNumber]) -> Result<Vec<u8>, Problem> {
    let mut raw = Vec::with_capacity(numbers.len() * 8);
    for (shift, width) in COLUMNS {
        let mut last = 0u64;
        for number in numbers {
            let value = bits(number, shift, width);
            put_varint(&mut raw, zigzag(value.wrapping_sub(last) as i64));
            last = value;
        }
    }
    pack(KIND_EXACT, numbers.len(), &raw)
}

/// Decode numbers in the order they were encoded.
pub fn decode_numbers(bytes: &[u8]) -> Result<Vec<SequenceNumber>, Problem> {
    let (count, raw) = unpack(KIND_EXACT, bytes)?;
    // Each number takes at least one byte in each column: a false count cannot make us allocate.
    if count > raw.len() / COLUMNS.len() {
        return Err("more numbers than bytes");
    }
    let mut numbers = vec![SequenceNumber::default(); count];
    let mut rest = raw.as_slice();
    for (shift, width) in COLUMNS {
        let mut last = 0u64;
        for number in &mut numbers {
            last = last.wrapping_add(unzigzag(get_varint(&mut rest)?) as u64);
            if width < 64 && last >> width != 0 {
                return Err("a field is out of range");
            }
            set_bits(number, shift, last);
        }
    }
    if rest.is_empty() { Ok(numbers) } else { Err("bytes after the last number") }
}

fn decode_ranges(bytes: &[u8]) -> Result<Vec<Range<u64>>, Problem> {
    let (count, raw) = unpack(KIND_RANGES, bytes)?;
    if count > raw.len() / 2 {
        return Err("more ranges than bytes");
    }
    let mut ranges = Vec::with_capacity(count);
    let mut rest = raw.as_slice();
    let mut at = 0u64;
    for i in 0..count {
        let (gap, length) = (get_varint(&mut rest)?, get_varint(&mut rest)?);
        if length == 0 || (gap == 0 && i > 0) {
            return Err("ranges are empty or touch");
        }
        let start = at.checked_add(gap).ok_or("a range is out of bounds")?;
        at = start.checked_add(length).ok_or("a range is out of bounds")?;
        ranges.push(start..at);
    }
    if rest.is_empty() { Ok(ranges) } else { Err("bytes after the last range") }
}

fn pack(kind: u8, count: usize, raw: &[u8]) -> Result<Vec<u8>, Problem> {
    if raw.len() > MAX_BYTES {
        return Err("the set is larger than a commit can hold");
    }
    let mut out = vec![kind];
    put_varint(&mut out, count as u64);
    put_varint(&mut out, raw.len() as u64);
    out.extend(zstd::bulk::compress(raw, LEVEL).map_err(|_| "zstd failed")?);
    Ok(out)
}

fn unpack(kind: u8, bytes: &[u8]) -> Result<(usize, Vec<u8>), Problem> {
    let (&found, mut rest) = bytes.split_first().ok_or("no bytes")?;
    if found != kind {
        return Err("unknown kind of set");
    }
    let count = get_varint(&mut rest)?;
    let length =
        usize::try_from(get_varint(&mut rest)?).ok().filter(|&n| n <= MAX_BYTES).ok_or("too long")?;
    let raw = zstd::bulk::decompress(rest, length).map_err(|_| "not zstd of that length")?;
    if raw.len() != length {
        return Err("not of the length it says");
    }
    Ok((usize::try_from(count).map_err(|_| "too many")?, raw))
}

/// Bits `shift..shift + width` of the number; no column crosses more than two limbs.
fn bits(number: &SequenceNumber, shift: u32, width: u32) -> u64 {
    let limb = |i: u32| if i < 4 { number.0[3 - i as usize] } else { 0 };
    let pair = u128::from(limb(shift / 64)) | u128::from(limb(shift / 64 + 1)) << 64;
    let value = (pair >> (shift % 64)) as u64;
    if width < 64 { value & ((1 << width) - 1) } else { value }
}

fn set_bits(number: &mut SequenceNumber, shift: u32, value: u64) {
    let pair = u128::from(value) << (shift % 64);
    let low = (shift / 64) as usize;
    number.0[3 - low] |= pair as u64;
    if low < 3 {
        number.0[2 - low] |= (pair >> 64) as u64;
    }
}

fn zigzag(v: i64) -> u64 {
    ((v << 1) ^ (v >> 63)) as u64
}

fn unzigzag(v: u64) -> i64 {
    (v >> 1) as i64 ^ -((v & 1) as i64)
}

fn put_varint(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

fn get_varint(bytes: &mut &[u8]) -> Result<u64, Problem> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or("cut short")?;
        *bytes = rest;
        if shift == 63 && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("a number is too long")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A number as Kinesis lays it out (47 hex digits).
    fn kinesis(counter: u64, second: u64) -> SequenceNumber {
        let hex = format!("2{:09x}{:x}{counter:016x}00{second:09x}{:08x}2", 0x636d_0eec_u64, 6, 6);
        let mut number = SequenceNumber::default();
        for digit in hex.bytes() {
            for i in 0..4 {
                let carry = if i < 3 { number.0[i + 1] >> 60 } else { 0 };
                number.0[i] = number.0[i] << 4 | carry;
            }
            number.0[3] |= u64::from((digit as char).to_digit(16).unwrap());
        }
        number
    }

    /// A small deterministic generator (xorshift).
    fn random(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    #[test]
    fn the_layout_is_that_of_real_numbers() {
        // Seen on AWS.
        let real = "49635052289529725553291405520881064510298312199003701250";
        let hex = "20636d0eec0000000000000021d000636d12c4000000002";
        let number: SequenceNumber = real.parse().unwrap();
        assert_eq!(bits(&number, 80, 64), u64::from_str_radix(&hex[11..27], 16).unwrap());
        assert_eq!(bits(&number, 36, 36), u64::from_str_radix(&hex[29..38], 16).unwrap());
        assert_eq!(kinesis(7, 9).to_string().len(), 56);
    }

    #[test]
    fn ten_thousand_kinesis_numbers_take_at_most_four_bytes_each() {
        for (name, step, spread) in
            [("one by one", 1, 400), ("with gaps", 600, 700), ("with wide gaps", 5_000, 40)]
        {
            let (mut seed, mut counter, mut second) = (42, 0x6764_8a17u64, 0x636d_12c4u64);
            let set: PositionSet = (0..10_000)
                .map(|_| {
                    counter += 1 + random(&mut seed) % step;
                    second += u64::from(random(&mut seed).is_multiple_of(spread));
                    kinesis(counter, second)
                })
                .collect();
            let bytes = encode_set(&set).unwrap();
            assert!(bytes.len() <= 40_000, "{name}: {} bytes", bytes.len());
            assert_eq!(decode_set(&bytes).unwrap(), set);
        }
    }

    fn numbers() -> impl Strategy<Value = Vec<SequenceNumber>> {
        prop::collection::vec(any::<[u64; 4]>().prop_map(SequenceNumber), 0..50)
    }

    proptest! {
        #[test]
        fn any_numbers_come_back(numbers in numbers()) {
            prop_assert_eq!(decode_numbers(&encode_numbers(&numbers).unwrap()).unwrap(), numbers.clone());
            let set: PositionSet = numbers.into_iter().collect();
            prop_assert_eq!(decode_set(&encode_set(&set).unwrap()).unwrap(), set);
        }

        #[test]
        fn any_ranges_come_back(ranges in prop::collection::vec(any::<(u64, u64)>(), 0..50)) {
            let set = PositionSet::from_ranges(ranges.into_iter().map(|(a, b)| a.min(b)..a.max(b)));
            prop_assert_eq!(decode_set(&encode_set(&set).unwrap()).unwrap(), set);
        }

        #[test]
        fn garbage_is_an_error_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..3) {
            let _ = decode_set(&bytes);
            // Past compression too.
            for count in [0, bytes.len() / 6, bytes.len() / 2, usize::MAX] {
                let packed = pack(kind, count, &bytes).unwrap();
                if let Ok(set) = decode_set(&packed) {
                    prop_assert_eq!(decode_set(&encode_set(&set).unwrap()).unwrap(), set);
                }
            }
        }

        #[test]
        fn a_flipped_bit_is_never_a_panic(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let set: PositionSet = (0..100).map(|i| kinesis(i * 3, i / 10)).collect();
            let mut bytes = encode_set(&set).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let _ = decode_set(&bytes);
        }
    }
}
