//! Events → aggregates of the Kinesis Producer Library.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | magic `F3 89 9A C2` |
//! | n | protobuf: field 1 the partition key, then a field 3 for each event (1: index of its key, 3: its bytes) |
//! | 16 | MD5 of the protobuf |
//!
//! <https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md>

use md5::{Digest, Md5};

const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];
/// Most bytes that an event's frame and an aggregate's frame add.
pub const FRAME: usize = 16;

/// Begin an aggregate in `out`, under one partition key.
pub fn begin(partition_key: &str, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&MAGIC);
    out.push(1 << 3 | 2);
    varint(partition_key.len() as u64, out);
    out.extend_from_slice(partition_key.as_bytes());
}

/// Add an event.
#[inline]
pub fn add(event: &[u8], out: &mut Vec<u8>) {
    // Key index 0 in two bytes, then the tag and the length of the data.
    let inner = 3 + varint_bytes(event.len() as u64) + event.len();
    out.push(3 << 3 | 2);
    varint(inner as u64, out);
    out.extend_from_slice(&[1 << 3, 0, 3 << 3 | 2]);
    varint(event.len() as u64, out);
    out.extend_from_slice(event);
}

/// Seal it with its digest.
pub fn seal(out: &mut Vec<u8>) {
    let digest = Md5::digest(&out[MAGIC.len()..]);
    out.extend_from_slice(&digest);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint_bytes(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_what_is_written() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            varint(value, &mut out);
            assert_eq!(out.len(), varint_bytes(value), "{value}");
        }
    }
}
