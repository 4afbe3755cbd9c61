//! The RLE / bit-packed hybrid of Parquet → levels and dictionary indices.
//!
//! Specification: <https://parquet.apache.org/docs/file-format/data-pages/encodings/>.

/// One piece of the hybrid.
enum Piece<'a> {
    Run(u32, usize),
    Packed(&'a [u8], usize),
}

/// Takes decoded numbers.
pub(super) trait Sink {
    /// The same number so many times.
    fn run(&mut self, value: u32, times: usize);
    /// One number.
    fn one(&mut self, value: u32);
}

/// Hand `count` numbers to `sink`.
pub(super) fn decode(bytes: &[u8], width: u8, count: usize, sink: &mut impl Sink) -> Result<(), String> {
    if width > 32 {
        return Err(format!("numbers of {width} bits"));
    }
    let (mut at, mut left) = (0, count);
    while left > 0 {
        let (piece, next) = piece(bytes, at, width)?;
        at = next;
        let len = match piece {
            Piece::Run(value, len) => {
                let len = len.min(left);
                sink.run(value, len);
                len
            }
            Piece::Packed(packed, len) => {
                let len = len.min(left);
                unpack(packed, usize::from(width), len, sink)?;
                len
            }
        };
        left -= len;
    }
    Ok(())
}

fn piece(bytes: &[u8], at: usize, width: u8) -> Result<(Piece<'_>, usize), String> {
    let ends = || "levels or indices end before their page's values".to_owned();
    let (header, at) = varint(bytes, at).ok_or_else(ends)?;
    let len = usize::try_from(header >> 1).map_err(|_| ends())?;
    if header & 1 == 0 {
        let size = usize::from(width.div_ceil(8));
        let stored = bytes.get(at..at + size).ok_or_else(ends)?;
        let mut value = [0; 4];
        value[..size].copy_from_slice(stored);
        if len == 0 {
            return Err("a run of no values".into());
        }
        return Ok((Piece::Run(u32::from_le_bytes(value), len), at + size));
    }
    let size = len.checked_mul(usize::from(width)).ok_or_else(ends)?;
    if len == 0 {
        return Err("a run of no values".into());
    }
    // Writers may leave out the padding of the last group.
    let end = at.checked_add(size).ok_or_else(ends)?.min(bytes.len());
    Ok((Piece::Packed(&bytes[at..end], len.saturating_mul(8)), end))
}

#[inline]
fn unpack(packed: &[u8], width: usize, len: usize, sink: &mut impl Sink) -> Result<(), String> {
    if len.saturating_mul(width).div_ceil(8) > packed.len() {
        return Err("levels or indices end before their page's values".into());
    }
    let mask = (1u64 << width) - 1;
    // Numbers whose eight bytes from their first one on are inside.
    let whole = match width {
        0 => 0,
        width => len.min((packed.len() * 8).saturating_sub(63) / width),
    };
    for i in 0..whole {
        let bit = i * width;
        let word = packed[bit / 8..].first_chunk::<8>().map_or(0, |word| u64::from_le_bytes(*word));
        sink.one((word >> (bit % 8) & mask) as u32);
    }
    for i in whole..len {
        let bit = i * width;
        let mut word = [0; 8];
        let rest = &packed[bit / 8..];
        let rest = &rest[..rest.len().min(8)];
        word[..rest.len()].copy_from_slice(rest);
        sink.one((u64::from_le_bytes(word) >> (bit % 8) & mask) as u32);
    }
    Ok(())
}

/// An unsigned LEB128 and where the next byte is.
pub(super) fn varint(bytes: &[u8], mut at: usize) -> Option<(u64, usize)> {
    let (mut value, mut shift) = (0u64, 0);
    loop {
        let byte = *bytes.get(at)?;
        at += 1;
        if shift >= 64 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((value, at));
        }
        shift += 7;
    }
}
