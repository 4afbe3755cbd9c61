//! What every event carries: the run, its number and its intended send time, as a text in the form
//! of a UUID, or as the number of a column that holds no text.
//!
//! | characters | holds |
//! |---|---|
//! | 0–7 | tag of the run |
//! | 9–22 (three groups of four) | intended send time, microseconds since 1970 / 16 |
//! | 24–35 | number of the event, from 0 |

use weir::clock::EpochMicros;

/// Length of the text.
pub(super) const STAMP_BYTES: usize = 36;
/// Bits of the event's number where a stamp is a whole number; the run's low bits stand above.
const NUMBER_BITS: u32 = 39;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Tells the events of a run from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunTag(pub u32);

/// What a stamp says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Number of the event.
    pub number: u64,
    /// When it was to be sent, to 16 µs; none where the stamp is a number.
    pub intended: Option<EpochMicros>,
}

impl RunTag {
    /// The stamp of an event as text.
    #[inline]
    pub fn write(self, number: u64, intended: EpochMicros, out: &mut Vec<u8>) {
        let mut text = [b'-'; STAMP_BYTES];
        hex(&mut text[..8], u64::from(self.0));
        let time = (intended.0 as u64) >> 4;
        hex(&mut text[9..13], time >> 32);
        hex(&mut text[14..18], time >> 16);
        hex(&mut text[19..23], time);
        hex(&mut text[24..], number);
        out.extend_from_slice(&text);
    }

    /// The stamp as a whole number below 2^53, which a double holds too.
    pub fn as_number(self, number: u64) -> i64 {
        ((i64::from(self.0) & 0xfff) | 0x1000) << NUMBER_BITS | (number & ((1 << NUMBER_BITS) - 1)) as i64
    }

    /// The event a whole number belongs to, if it is of this run.
    pub fn of_number(self, value: i64) -> Option<Stamp> {
        let number = (value & ((1 << NUMBER_BITS) - 1)) as u64;
        (self.as_number(number) == value).then_some(Stamp { number, intended: None })
    }

    /// The text that begins every stamp of this run.
    pub fn prefix(self) -> [u8; 9] {
        let mut prefix = [b'-'; 9];
        hex(&mut prefix[..8], u64::from(self.0));
        prefix
    }

    /// The first stamp of this run in a text.
    pub fn find(self, text: &[u8]) -> Option<Stamp> {
        let prefix = self.prefix();
        // Nearly always the whole text is the stamp.
        if text.len() == STAMP_BYTES && text.starts_with(&prefix) {
            return parse(text);
        }
        memchr::memmem::find_iter(text, &prefix).find_map(|at| parse(text.get(at..at + STAMP_BYTES)?))
    }
}

fn parse(text: &[u8]) -> Option<Stamp> {
    let time = unhex(&text[9..13])? << 32 | unhex(&text[14..18])? << 16 | unhex(&text[19..23])?;
    let number = unhex(&text[24..STAMP_BYTES])?;
    Some(Stamp { number, intended: Some(EpochMicros((time << 4) as i64)) })
}

#[inline]
fn hex(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = HEX[(value & 15) as usize];
        value >>= 4;
    }
}

fn unhex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_comes_back_from_any_text_around_it() {
        let tag = RunTag(0x00c0_ffee);
        for number in [0, 1, 77, 0xffff_ffff_ffff] {
            let intended = EpochMicros(1_795_000_000_123_456);
            let mut text = b"GET /p/shoes?t=".to_vec();
            tag.write(number, intended, &mut text);
            text.extend_from_slice(b" HTTP/1.1");
            let found = tag.find(&text).unwrap();
            assert_eq!((found.number, found.intended), (number, Some(EpochMicros(intended.0 & !15))));
            assert_eq!(RunTag(7).find(&text), None);
            assert_eq!(tag.find(&text[..40]), None, "cut");
        }
    }

    #[test]
    fn a_number_comes_back_and_others_are_not_of_the_run() {
        let tag = RunTag(0xabcd_e123);
        for number in [0, 1, (1 << 39) - 1] {
            let value = tag.as_number(number);
            assert_eq!(value as f64 as i64, value);
            assert_eq!(tag.of_number(value).map(|s| s.number), Some(number));
            assert_eq!(RunTag(0xabcd_e124).of_number(value), None);
        }
        assert_eq!(tag.of_number(12), None);
    }
}
