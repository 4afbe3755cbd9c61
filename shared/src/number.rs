//! Number texts to values, exactly or not at all. The text is a valid JSON number.

use crate::scan::head;

/// Powers of ten of a short number's scale, exact in a double.
pub(crate) const POWERS_F64: [f64; 8] = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6, 1e7];
/// Powers of ten that fit 64 bits.
pub(crate) const POWERS: [u64; 20] = {
    let mut powers = [1; 20];
    let mut n = 1;
    while n < powers.len() {
        powers[n] = powers[n - 1] * 10;
        n += 1;
    }
    powers
};

/// A number without an exponent, of at most seven digits before the point and seven behind it: most
/// numbers. It is unscaled / 10^scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Short {
    pub(crate) negative: bool,
    /// Below 10^14, and so exact in a double.
    pub(crate) unscaled: i64,
    /// Digits behind the point; 0 without a point.
    pub(crate) scale: u8,
    /// Index behind its last digit.
    pub(crate) end: usize,
}

/// The number that begins at `at`, if it is a short one, by the grammar of JSON, and a value can end
/// behind it. Eight bytes at a time, without a branch on how many of them are digits.
#[inline(always)]
pub(crate) fn short(doc: &[u8], at: usize) -> Option<Short> {
    let negative = doc.get(at) == Some(&b'-');
    let start = at + usize::from(negative);
    let bytes = head(doc, start) as u64;
    let whole = digit_count(bytes);
    if whole.wrapping_sub(1) > 6 || (bytes as u8 == b'0' && whole > 1) {
        return None;
    }
    let mut unscaled = value_of(bytes, whole);
    let (mut scale, mut end) = (0, start + whole as usize);
    if doc.get(end) == Some(&b'.') {
        let bytes = head(doc, end + 1) as u64;
        scale = digit_count(bytes);
        if scale.wrapping_sub(1) > 6 {
            return None;
        }
        unscaled = unscaled * POWERS[scale as usize] as i64 + value_of(bytes, scale);
        end += 1 + scale as usize;
    }
    match doc.get(end) {
        None | Some(b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r') => {
            let unscaled = if negative { -unscaled } else { unscaled };
            Some(Short { negative, unscaled, scale: scale as u8, end })
        }
        Some(_) => None,
    }
}

/// How many digits eight bytes begin with; the first byte is the lowest.
#[inline(always)]
fn digit_count(bytes: u64) -> u32 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // A digit is 0x30 to 0x39: its upper half is 3, and still is when 6 is added. What one byte carries over
    // to the next is of no account: it stands behind the first byte that is none.
    let values = bytes ^ (ONES * 0x30);
    let others = (values | values.wrapping_add(ONES * 6)) & (ONES * 0xF0);
    others.trailing_zeros() / 8
}

/// The value of the first `n` of eight bytes, digits all; 1 to 7. Neighbours are added up, first digits,
/// then pairs, then fours.
#[inline(always)]
fn value_of(bytes: u64, n: u32) -> i64 {
    let digits = bytes << (64 - 8 * n);
    let ones = (digits & 0x0F0F_0F0F_0F0F_0F0F).wrapping_mul(10 << 8 | 1) >> 8;
    let pairs = (ones & 0x00FF_00FF_00FF_00FF).wrapping_mul(100 << 16 | 1) >> 16;
    ((pairs & 0x0000_FFFF_0000_FFFF).wrapping_mul(10_000 << 32 | 1) >> 32) as i64
}

/// Digits of a number without its point: `12.50e1` is 1250 with exponent −1.
pub(crate) struct Digits {
    /// All digits as one integer with sign; `None` past 38 digits.
    pub(crate) unscaled: Option<i128>,
    /// Power of ten to multiply with.
    pub(crate) exponent: i64,
}

pub(crate) fn digits(text: &[u8]) -> Digits {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let mut value: Option<i128> = Some(0);
    let mut exponent = 0i64;
    let mut zeros = 0u32;
    let mut after_point = false;
    for (i, &b) in text.iter().enumerate() {
        match b {
            b'.' => after_point = true,
            b'e' | b'E' => {
                let e = std::str::from_utf8(&text[i + 1..]).ok().and_then(|t| t.parse::<i64>().ok());
                exponent += e.unwrap_or(i64::MAX / 4).clamp(-1_000_000, 1_000_000);
                break;
            }
            b'0' => {
                // Zeros count only once another digit follows, so that 1.500 needs one digit.
                zeros += 1;
                exponent -= i64::from(after_point);
            }
            _ => {
                let push = |v: i128, d: u8| v.checked_mul(10)?.checked_add(i128::from(d));
                for _ in 0..zeros {
                    value = value.and_then(|v| push(v, 0));
                }
                zeros = 0;
                value = value.and_then(|v| push(v, b - b'0'));
                exponent -= i64::from(after_point);
            }
        }
    }
    exponent += i64::from(zeros);
    if value == Some(0) {
        exponent = 0;
    }
    Digits { unscaled: value.map(|v| if negative { -v } else { v }), exponent }
}

/// The value times 10^scale as an integer, if it is one and fits an i128.
pub(crate) fn scaled(text: &[u8], scale: u8) -> Option<i128> {
    let Digits { unscaled, exponent } = digits(text);
    let unscaled = unscaled?;
    if unscaled == 0 {
        return Some(0);
    }
    let power = u32::try_from(exponent + i64::from(scale)).ok().filter(|&p| p <= 38)?;
    unscaled.checked_mul(10i128.pow(power))
}

/// An integer, also written as `1.0` or `1e3`.
#[inline]
pub(crate) fn integer(text: &[u8]) -> Option<i128> {
    if text.len() <= 18 {
        let (negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            _ => (false, text),
        };
        let mut v = 0i64;
        let mut plain = true;
        for &b in rest {
            let d = b.wrapping_sub(b'0');
            plain &= d <= 9;
            v = v.wrapping_mul(10).wrapping_add(i64::from(d));
        }
        if plain {
            return Some(i128::from(if negative { -v } else { v }));
        }
    }
    scaled(text, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::number_end;

    #[test]
    fn short_numbers_are_what_their_digits_say() {
        let fractions =
            ["", ".0", ".5", ".25", ".007", ".1234567", ".12345678901234", ".", ".x", "e1", ".5e3"];
        let wholes = ["0", "7", "-0", "-1", "42", "007", "12345678", "123456789", "999999999999999"];
        let mut taken = 0;
        for (whole, fraction) in wholes.iter().flat_map(|w| fractions.iter().map(move |f| (w, f))) {
            for behind in ["", ",", "}", "]", " ", "\n", "x", ",\"some\":\"thing longer\"}"] {
                let text = format!("[{whole}{fraction}{behind}");
                let Some(found) = short(text.as_bytes(), 1) else { continue };
                taken += 1;
                assert_eq!(Some(found.end), number_end(text.as_bytes(), 1), "{text}");
                let number = &text[1..found.end];
                let exact = scaled(number.as_bytes(), found.scale).unwrap();
                assert_eq!(exact, found.unscaled.into(), "{text}");
                assert_eq!(found.negative, number.starts_with('-'), "{text}");
                assert_eq!(
                    found.scale as usize,
                    number.split_once('.').map_or(0, |(_, f)| f.len()),
                    "{text}"
                );
            }
        }
        assert!(taken > 150, "{taken}");
        for refused in ["", "-", ".5", "01", "1.", "1.e3", "1e3", "12345678", "1.12345678", "1x", "+1"] {
            assert_eq!(short(refused.as_bytes(), 0), None, "{refused}");
        }
    }
}
