//! What is to become of an event: told from seed and number alone, so that the check at the end
//! needs no memory of what was sent.

use anyhow::{Result, bail};

use super::random::bits_of;

/// What an event is made as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A row of the partition of its send time
    Good,
    /// A row of a partition long past
    Late,
    /// No JSON: must become a dead letter
    Malformed,
    /// Against the table's types or constraints: must become a dead letter
    Violating,
}

/// An event's kind and what goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    /// Kind.
    pub kind: Kind,
    /// Whether the producer sends it twice.
    pub twice: bool,
    /// How far its event time lies behind its send time.
    pub late_us: i64,
    /// Draws for whoever makes it.
    pub bits: u64,
}

/// Shares of each kind of trouble, in 2^-20ths.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shares {
    late: u32,
    malformed: u32,
    violating: u32,
    twice: u32,
}

/// In percent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Percentages {
    /// Event times hours behind.
    pub late: f64,
    /// No JSON.
    pub malformed: f64,
    /// Against the schema.
    pub violating: f64,
    /// Sent twice.
    pub duplicate: f64,
}

const ONE: f64 = (1 << 20) as f64;

impl Shares {
    /// Refuses shares that make more than everything.
    pub fn new(percent: Percentages) -> Result<Self> {
        let Percentages { late, malformed, violating, duplicate } = percent;
        let all = [late, malformed, violating, duplicate];
        if all.iter().any(|p| !(0.0..=100.0).contains(p)) || late + malformed + violating > 100.0 {
            bail!(
                "the shares --late {late} --malformed {malformed} --violating {violating} are percentages; \
                 together they are at most 100, and so is --duplicate {duplicate}"
            );
        }
        let part = |percent: f64| (percent / 100.0 * ONE).round() as u32;
        Ok(Self {
            late: part(late),
            malformed: part(malformed),
            violating: part(violating),
            twice: part(duplicate),
        })
    }

    /// Whether some events break the table's rules.
    pub fn has_violating(&self) -> bool {
        self.violating > 0
    }

    /// What becomes of an event; late ones are one hour to `max_late_us` behind.
    #[inline]
    pub fn fate(&self, seed: u64, number: u64, max_late_us: i64) -> Fate {
        let bits = bits_of(seed, number);
        let draw = (bits & 0xf_ffff) as u32;
        let kind = if draw < self.late {
            Kind::Late
        } else if draw < self.late + self.malformed {
            Kind::Malformed
        } else if draw < self.late + self.malformed + self.violating {
            Kind::Violating
        } else {
            Kind::Good
        };
        let twice = ((bits >> 20 & 0xf_ffff) as u32) < self.twice;
        let late_us = match kind {
            Kind::Late => late_by(bits, max_late_us),
            _ => 0,
        };
        Fate { kind, twice, late_us, bits }
    }
}

fn late_by(bits: u64, max_late_us: i64) -> i64 {
    let least = 3_600_000_000.min(max_late_us);
    let spread = (max_late_us - least + 1) as u128;
    least + ((u128::from(bits >> 40) * spread) >> 24) as i64
}

impl Kind {
    /// Whether a row must come of it.
    pub fn is_good(self) -> bool {
        matches!(self, Kind::Good | Kind::Late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_met_and_repeat() {
        let percent = Percentages { late: 2.0, malformed: 0.5, violating: 1.0, duplicate: 3.0 };
        let shares = Shares::new(percent).unwrap();
        let count = 1_000_000;
        let mut found = [0.0f64; 4];
        for number in 0..count {
            let fate = shares.fate(9, number, 6 * 3_600_000_000);
            assert_eq!(fate, shares.fate(9, number, 6 * 3_600_000_000));
            match fate.kind {
                Kind::Late => {
                    assert!((3_600_000_000..=6 * 3_600_000_000).contains(&fate.late_us));
                    found[0] += 1.0;
                }
                Kind::Malformed => found[1] += 1.0,
                Kind::Violating => found[2] += 1.0,
                Kind::Good => {}
            }
            found[3] += f64::from(u8::from(fate.twice));
        }
        for (found, expected) in found.into_iter().zip([2.0, 0.5, 1.0, 3.0]) {
            assert!((found / count as f64 * 100.0 - expected).abs() < 0.1, "{found} {expected}");
        }
        assert!(Shares::new(Percentages { late: 60.0, malformed: 50.0, ..percent }).is_err());
    }
}
