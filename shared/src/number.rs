//! Number texts to values, exactly or not at all. The text is a valid JSON number.

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
