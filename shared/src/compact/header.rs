//! Page headers: Thrift's compact protocol → what a page holds.
//!
//! Specification: `PageHeader` in
//! <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>.

use super::hybrid::varint;

/// A page of the file profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Dictionary,
    /// Values as they are.
    Plain,
    /// Indices into the dictionary.
    Indices,
}

/// What a page's header says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// Entries, nulls included; values of a dictionary.
    pub(super) count: usize,
    pub(super) raw_len: usize,
    pub(super) body_len: usize,
    pub(super) crc: Option<u32>,
}

/// The header at `at`, and where the page's body begins.
pub(super) fn read(bytes: &[u8], at: usize) -> Result<(Header, usize), String> {
    let mut reader = Reader { bytes, at };
    let mut fields = [0i64; 8];
    let (mut inner, mut crc) = ([0i64; 8], None);
    let mut which = 0;
    reader.each_field(|reader, id, ty| {
        match id {
            4 => crc = Some(reader.zigzag()? as u32),
            1..=3 => fields[usize::from(id.unsigned_abs())] = reader.zigzag()?,
            5 | 7 => {
                which = id;
                reader.each_field(|reader, id, ty| match id {
                    1..=4 if ty == I32 => {
                        inner[usize::from(id.unsigned_abs())] = reader.zigzag()?;
                        Ok(())
                    }
                    _ => reader.skip(ty, 0),
                })?;
            }
            _ => reader.skip(ty, 0)?,
        }
        Ok(())
    })?;
    let [_, page, raw, packed, ..] = fields;
    let [_, count, encoding, def_encoding, rep_encoding, ..] = inner;
    let kind = match (page, which, encoding) {
        (2, 7, 0 | 2) => Kind::Dictionary,
        (0, 5, 0) => Kind::Plain,
        (0, 5, 2 | 8) => Kind::Indices,
        _ => {
            return Err(format!(
                "a page of type {page} and encoding {encoding} is not of Weir's file profile"
            ));
        }
    };
    if kind != Kind::Dictionary && (def_encoding != 3 || rep_encoding != 3) {
        return Err("levels that are not RLE".into());
    }
    let size = |n: i64| usize::try_from(n).map_err(|_| "a page of negative size".to_owned());
    let header = Header { kind, count: size(count)?, raw_len: size(raw)?, body_len: size(packed)?, crc };
    Ok((header, reader.at))
}

const I32: u8 = 5;
const DEEPEST: usize = 8;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, String> {
        let byte = self.bytes.get(self.at).copied().ok_or("a page header is cut")?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, String> {
        let (value, at) = varint(self.bytes, self.at).ok_or("a page header is cut")?;
        self.at = at;
        Ok(value)
    }

    fn zigzag(&mut self) -> Result<i64, String> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn each_field(
        &mut self,
        mut field: impl FnMut(&mut Self, i16, u8) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut id = 0i16;
        loop {
            let byte = self.byte()?;
            if byte == 0 {
                return Ok(());
            }
            id = match byte >> 4 {
                0 => self.zigzag()? as i16,
                delta => id.saturating_add(i16::from(delta)),
            };
            field(self, id, byte & 15)?;
        }
    }

    fn skip(&mut self, ty: u8, depth: usize) -> Result<(), String> {
        if depth > DEEPEST {
            return Err("a page header nests too deep".into());
        }
        match ty {
            1 | 2 => {}
            3 => self.at += 1,
            4..=6 => drop(self.varint()?),
            7 => self.at += 8,
            8 => {
                let len = self.varint()?;
                self.at = self.at.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
            }
            9 | 10 => {
                let byte = self.byte()?;
                let len = if byte >> 4 == 15 { self.varint()? } else { u64::from(byte >> 4) };
                for _ in 0..len {
                    self.skip(byte & 15, depth + 1)?;
                }
            }
            12 => self.each_field(|reader, _, ty| reader.skip(ty, depth + 1))?,
            _ => return Err(format!("a page header has a field of type {ty}")),
        }
        Ok(())
    }
}
