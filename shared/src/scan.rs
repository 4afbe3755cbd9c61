//! Leaf scanners over raw JSON bytes. They accept only what RFC 8259 allows.

/// Bytes of a text that are at hand in a register.
pub(crate) const HEAD_BYTES: usize = 16;

/// Masks that keep the first `n` bytes of a head.
const KEEP: [u128; HEAD_BYTES + 1] = {
    let mut keep = [u128::MAX; HEAD_BYTES + 1];
    let mut n = 0;
    while n < HEAD_BYTES {
        keep[n] = (1 << (8 * n)) - 1;
        n += 1;
    }
    keep
};

/// Mask of the first `n` bytes of a head, or of all of them.
#[inline(always)]
pub(crate) fn keep(n: usize) -> u128 {
    KEEP[n.min(HEAD_BYTES)]
}

/// The bytes from `at` on in memory order (the first is the lowest); zeros behind the end.
#[inline(always)]
pub(crate) fn head(bytes: &[u8], at: usize) -> u128 {
    match bytes.get(at..at + HEAD_BYTES).and_then(<[u8]>::first_chunk) {
        Some(head) => u128::from_le_bytes(*head),
        None => short_head(bytes, at),
    }
}

#[cold]
#[inline(never)]
fn short_head(bytes: &[u8], at: usize) -> u128 {
    let mut padded = [0; HEAD_BYTES];
    let rest = bytes.get(at..).unwrap_or_default();
    padded[..rest.len()].copy_from_slice(rest);
    u128::from_le_bytes(padded)
}

/// Which bytes of a head are decimal digits: bit `i` for byte `i`.
#[inline(always)]
pub(crate) fn digits(head: u128) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{
            __m128i, _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_set1_epi8, _mm_sub_epi8,
        };
        // SAFETY: SSE2 is part of x86_64, and the two types have the same size and no invalid values.
        unsafe {
            let bytes = std::mem::transmute::<u128, __m128i>(head);
            let values = _mm_sub_epi8(bytes, _mm_set1_epi8(b'0' as i8));
            let capped = _mm_min_epu8(values, _mm_set1_epi8(9));
            _mm_movemask_epi8(_mm_cmpeq_epi8(values, capped)) as u32
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let bytes = head.to_le_bytes();
        bytes.iter().rev().fold(0, |mask, b| mask << 1 | u32::from(b.is_ascii_digit()))
    }
}

/// Index of the first `"`, `\` or control character at or after `at`; `bytes.len()` if none.
#[inline(always)]
pub(crate) fn string_stop(bytes: &[u8], mut at: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{
            _mm_cmpeq_epi8, _mm_loadu_si128, _mm_max_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
        };
        while at + HEAD_BYTES <= bytes.len() {
            // SAFETY: 16 bytes from `at` are inside the slice; SSE2 is part of x86_64.
            let mask = unsafe {
                let chunk = _mm_loadu_si128(bytes.as_ptr().add(at).cast());
                let quote = _mm_cmpeq_epi8(chunk, _mm_set1_epi8(b'"' as i8));
                let slash = _mm_cmpeq_epi8(chunk, _mm_set1_epi8(b'\\' as i8));
                let bound = _mm_set1_epi8(0x1f);
                let control = _mm_cmpeq_epi8(_mm_max_epu8(chunk, bound), bound);
                _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, slash), control)) as u32
            };
            if mask != 0 {
                return at + mask.trailing_zeros() as usize;
            }
            at += HEAD_BYTES;
        }
    }
    while at < bytes.len() && bytes[at] != b'"' && bytes[at] != b'\\' && bytes[at] > 0x1f {
        at += 1;
    }
    at
}

/// Whether two byte strings are the same. Keys and values are short, and a call of `memcmp` takes
/// longer than comparing them here, eight bytes at a time.
#[inline(always)]
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    let n = a.len();
    if n != b.len() {
        return false;
    }
    // SAFETY of all reads: both strings have `n` bytes, and the branches below let no read end behind `n`.
    let word = |s: &[u8], at: usize| unsafe { s.as_ptr().add(at).cast::<u64>().read_unaligned() };
    let half = |s: &[u8], at: usize| unsafe { s.as_ptr().add(at).cast::<u32>().read_unaligned() };
    if n >= 8 {
        let mut at = 0;
        while at + 8 < n {
            if word(a, at) != word(b, at) {
                return false;
            }
            at += 8;
        }
        return word(a, n - 8) == word(b, n - 8);
    }
    if n >= 4 {
        return half(a, 0) == half(b, 0) && half(a, n - 4) == half(b, n - 4);
    }
    // Of one to three bytes: the first, the middle and the last are all.
    n == 0 || (a[0] == b[0] && a[n / 2] == b[n / 2] && a[n - 1] == b[n - 1])
}

/// First byte at or after `at` that is not JSON white space.
#[inline]
pub(crate) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

/// End of the number that starts at `at`, if it is one by the grammar and a value can end there.
#[inline]
pub(crate) fn number_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    let digits = |mut at: usize| {
        let start = at;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        (at > start).then_some(at)
    };
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    at = match bytes.get(at)? {
        b'0' => at + 1,
        b'1'..=b'9' => digits(at)?,
        _ => return None,
    };
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = bytes.get(at) {
            at += 1;
        }
        at = digits(at)?;
    }
    match bytes.get(at) {
        None | Some(b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r') => Some(at),
        Some(_) => None,
    }
}

/// Unescape a string whose first stop at `stop` is a backslash. `at` is the first byte of the
/// content; returns the index behind the closing quote. `None`: not a valid string.
pub(crate) fn unescape(bytes: &[u8], at: usize, mut stop: usize, out: &mut Vec<u8>) -> Option<usize> {
    out.clear();
    out.extend_from_slice(&bytes[at..stop]);
    loop {
        match bytes.get(stop)? {
            b'"' => return Some(stop + 1),
            b'\\' => stop = unescape_one(bytes, stop + 1, out)?,
            _ => return None,
        }
        let next = string_stop(bytes, stop);
        out.extend_from_slice(&bytes[stop..next]);
        stop = next;
    }
}

fn unescape_one(bytes: &[u8], at: usize, out: &mut Vec<u8>) -> Option<usize> {
    let byte = match bytes.get(at)? {
        b'"' => b'"',
        b'\\' => b'\\',
        b'/' => b'/',
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => {
            let high = hex4(bytes, at + 1)?;
            let (code, end) = match high {
                0xd800..=0xdbff => {
                    if bytes.get(at + 5..at + 7)? != b"\\u" {
                        return None;
                    }
                    let low = hex4(bytes, at + 7)?;
                    if !(0xdc00..=0xdfff).contains(&low) {
                        return None;
                    }
                    (0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00), at + 11)
                }
                _ => (high, at + 5),
            };
            let mut utf8 = [0; 4];
            out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut utf8).as_bytes());
            return Some(end);
        }
        _ => return None,
    };
    out.push(byte);
    Some(at + 1)
}

fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.iter().try_fold(0, |v, &b| Some(v << 4 | char::from(b).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn strings_are_the_same_only_if_every_byte_is() {
        for length in 0..=40 {
            let a: Vec<u8> = (0..length).map(|n: u8| n.wrapping_mul(7)).collect();
            assert!(same(&a, &a.clone()), "{length}");
            assert!(!same(&a, &[a.as_slice(), &[0]].concat()), "{length} and one more");
            for at in 0..a.len() {
                let mut b = a.clone();
                b[at] ^= 0x10;
                assert!(!same(&a, &b), "{length}: byte {at}");
            }
        }
    }
}
