//! gzip and zstd by their magic bytes, with a bound on what comes out.

use std::io::Read;

use super::Broken;
use crate::dead_letter::Reason;

#[derive(Debug, Clone, Copy)]
pub(super) enum Codec {
    Gzip,
    Zstd,
}

impl Codec {
    /// RFC 1952 section 2.3.1; RFC 8878 section 3.1.1.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x1f, 0x8b, ..] => Some(Codec::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Codec::Zstd),
            _ => None,
        }
    }
}

pub(super) fn inflate(codec: Codec, bytes: &[u8], bound: usize) -> Result<Vec<u8>, Broken> {
    let broken = |found: String| Broken { reason: Reason::Compression, expected: "a whole gzip or zstd stream", found };
    let mut out = Vec::new();
    let read = match codec {
        Codec::Gzip => flate2::read::MultiGzDecoder::new(bytes).take(bound as u64 + 1).read_to_end(&mut out),
        Codec::Zstd => zstd::stream::read::Decoder::with_buffer(bytes)
            .and_then(|decoder| decoder.take(bound as u64 + 1).read_to_end(&mut out)),
    };
    match read {
        Err(error) => Err(broken(error.to_string())),
        Ok(_) if out.len() > bound => Err(broken(format!("more than {bound} bytes inflated"))),
        Ok(_) => Ok(out),
    }
}
