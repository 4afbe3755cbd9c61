//! Kinesis Producer Library aggregates
//! (<https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md>):
//! magic, protobuf, MD5. A payload whose checksum or structure is wrong is a plain record, as the
//! Kinesis Client Library treats it.

use md5::{Digest, Md5};

pub(super) const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
const MD5_BYTES: usize = 16;
/// `AggregatedRecord.records` and `Record.data`.
const RECORDS: u64 = 3;
const DATA: u64 = 3;

/// The payloads inside an aggregate, in order; `None`: not an aggregate. Sub-records are never
/// filtered by hash range: what stands in the record was accepted by the stream.
pub(super) fn disaggregate(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let body = bytes.strip_prefix(&MAGIC)?;
    let (message, digest) = body.split_at_checked(body.len().checked_sub(MD5_BYTES)?)?;
    if Md5::digest(message).as_slice() != digest {
        return None;
    }
    let mut payloads = Vec::new();
    each_field(message, &mut |number, value| {
        if number == RECORDS {
            let mut data: &[u8] = &[];
            each_field(value, &mut |number, value| {
                if number == DATA {
                    data = value;
                }
                Some(())
            })?;
            payloads.push(data);
        }
        Some(())
    })?;
    Some(payloads)
}

/// Visit the length-delimited fields of a protobuf message; `None`: it is cut short or has groups.
fn each_field<'a>(mut bytes: &'a [u8], visit: &mut dyn FnMut(u64, &'a [u8]) -> Option<()>) -> Option<()> {
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        match tag & 7 {
            0 => {
                varint(&mut bytes)?;
            }
            1 => bytes = bytes.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(length)?;
                visit(tag >> 3, value)?;
                bytes = rest;
            }
            5 => bytes = bytes.get(4..)?,
            _ => return None,
        }
    }
    Some(())
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
