//! Page headers in Thrift's compact protocol
//! (<https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>). The
//! `parquet` crate keeps its own writer of them private.

use super::rle::varint;

/// Encoding numbers of the format.
pub(crate) const PLAIN: i32 = 0;
/// Levels.
const RLE: i32 = 3;
/// Indices into a dictionary page.
pub(crate) const RLE_DICTIONARY: i32 = 8;

const I32: u8 = 5;
const STRUCT: u8 = 12;
const DATA_PAGE: i32 = 0;
const DICTIONARY_PAGE: i32 = 2;

/// What follows a page header.
pub(crate) struct Body<'a> {
    pub(crate) uncompressed: usize,
    pub(crate) compressed: &'a [u8],
    pub(crate) values: usize,
    pub(crate) encoding: i32,
}

/// Append the header of a data page (version 1).
pub(crate) fn data_page(body: &Body<'_>, out: &mut Vec<u8>) {
    common(DATA_PAGE, body, out);
    field(1, STRUCT, out);
    for value in [body.values as i32, body.encoding, RLE, RLE] {
        field(1, I32, out);
        zigzag(value, out);
    }
    out.extend([0, 0]);
}

/// Append the header of a dictionary page.
pub(crate) fn dictionary_page(body: &Body<'_>, out: &mut Vec<u8>) {
    common(DICTIONARY_PAGE, body, out);
    field(3, STRUCT, out);
    for value in [body.values as i32, body.encoding] {
        field(1, I32, out);
        zigzag(value, out);
    }
    out.extend([0, 0]);
}

/// Fields 1 to 4: type, sizes and the checksum of the bytes as stored.
fn common(page_type: i32, body: &Body<'_>, out: &mut Vec<u8>) {
    let crc = crc32fast::hash(body.compressed) as i32;
    for value in [page_type, body.uncompressed as i32, body.compressed.len() as i32, crc] {
        field(1, I32, out);
        zigzag(value, out);
    }
}

/// A field header: distance to the field before, and the type.
fn field(delta: u8, kind: u8, out: &mut Vec<u8>) {
    out.push(delta << 4 | kind);
}

fn zigzag(value: i32, out: &mut Vec<u8>) {
    varint(u64::from((value << 1 ^ value >> 31) as u32), out);
}
