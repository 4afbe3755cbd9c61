//! When each event is to be sent: fixed before the first one, whatever the target does.
//!
//! | text | meaning |
//! |---|---|
//! | `20000/s` | that rate until the end |
//! | `0..50000/s over 60s` | from the first rate to the second, evenly |
//! | `1000/s for 30s, 5000/s for 30s` | steps; the last one without a time goes on |
//! | `1000/s for 9s, 20000/s for 1s, repeat` | bursts |

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Result, bail};

/// Offsets from the start of a run, in microseconds, by event number.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    parts: Vec<Part>,
    repeats: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Part {
    /// Events a microsecond at its begin and at its end.
    from: f64,
    to: f64,
    /// Its begin and its length; the last one may have no end.
    begin_us: f64,
    length_us: f64,
    /// Events before it.
    before: f64,
}

impl Part {
    fn events_after(&self, us: f64) -> f64 {
        let slope = if self.length_us.is_finite() { (self.to - self.from) / self.length_us } else { 0.0 };
        self.from * us + slope / 2.0 * us * us
    }

    fn events(&self) -> f64 {
        if self.length_us.is_finite() { (self.from + self.to) / 2.0 * self.length_us } else { f64::INFINITY }
    }

    /// When `events` have been sent since its begin.
    fn time_of(&self, events: f64) -> f64 {
        let slope = if self.length_us.is_finite() { (self.to - self.from) / self.length_us } else { 0.0 };
        if slope == 0.0 {
            return events / self.from;
        }
        // Of from·t + slope/2·t² = events, in the form that stays exact for small slopes.
        let root = (self.from * self.from + 2.0 * slope * events).max(0.0).sqrt();
        2.0 * events / (self.from + root)
    }
}

impl Schedule {
    /// When event `number` is to be sent.
    #[inline]
    pub fn intended_us(&self, number: u64) -> i64 {
        let mut events = number as f64;
        let mut base = 0.0;
        if self.repeats {
            let (period, each) = self.period();
            let round = (events / each).floor();
            base = round * period;
            events -= round * each;
        }
        let at = self.parts.partition_point(|part| part.before <= events).saturating_sub(1);
        let part = &self.parts[at];
        (base + part.begin_us + part.time_of(events - part.before)) as i64
    }

    /// How many events are to be sent before that time.
    #[inline]
    pub fn due(&self, us: i64) -> u64 {
        let mut us = us.max(0) as f64;
        let mut base = 0.0;
        if self.repeats {
            let (period, each) = self.period();
            let round = (us / period).floor();
            base = round * each;
            us -= round * period;
        }
        let at = self.parts.partition_point(|part| part.begin_us <= us).saturating_sub(1);
        let part = &self.parts[at];
        let inside = part.events_after((us - part.begin_us).min(part.length_us));
        // What a whole number of events was rounded to may lie a hair below it.
        (base + part.before + inside + 1e-6) as u64
    }

    /// How long it takes by itself, if it ends.
    pub fn length(&self) -> Option<Duration> {
        let last = self.parts.last()?;
        let end = last.begin_us + last.length_us;
        (!self.repeats && end.is_finite()).then(|| Duration::from_micros(end as u64))
    }

    fn period(&self) -> (f64, f64) {
        self.parts.last().map_or((1.0, 1.0), |p| (p.begin_us + p.length_us, p.before + p.events()))
    }
}

impl FromStr for Schedule {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut schedule = Self { parts: Vec::new(), repeats: false };
        let (mut begin_us, mut before) = (0.0, 0.0);
        for piece in text.split(',').map(str::trim) {
            if schedule.repeats {
                bail!("--rate {text:?}: `repeat` comes last");
            }
            if piece == "repeat" {
                schedule.repeats = true;
                continue;
            }
            if f64::is_infinite(begin_us) {
                bail!(
                    "--rate {text:?}: only the last step goes on without a time; write `for 10s` behind the others"
                );
            }
            let (from, to, length_us) = part(piece).map_err(|problem| {
                anyhow::anyhow!(
                    "--rate {text:?}: {problem}; write `20000/s`, `0..50000/s over 60s` or `1000/s for 9s, 20000/s for 1s, repeat`"
                )
            })?;
            let part = Part { from, to, begin_us, length_us, before };
            begin_us += length_us;
            before += part.events();
            // A pause has no events; the next part begins later.
            schedule.parts.push(part);
        }
        if schedule.parts.is_empty() || (schedule.repeats && !begin_us.is_finite()) {
            bail!("--rate {text:?}: what repeats needs a time in every step");
        }
        if schedule.repeats && before < 1.0 {
            bail!("--rate {text:?}: nothing would ever be sent");
        }
        Ok(schedule)
    }
}

fn part(piece: &str) -> Result<(f64, f64, f64), String> {
    let (rates, time) = match piece.split_once(char::is_whitespace) {
        Some((rates, rest)) => (rates, Some(rest.trim())),
        None => (piece, None),
    };
    let per_second = rates.strip_suffix("/s").ok_or_else(|| format!("`{rates}` does not end in /s"))?;
    let rate = |text: &str| match text.replace('_', "").parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate >= 0.0 => Ok(rate / 1e6),
        _ => Err(format!("`{text}` is no rate")),
    };
    let (from, to) = match per_second.split_once("..") {
        Some((from, to)) => (rate(from)?, rate(to)?),
        None => (rate(per_second)?, rate(per_second)?),
    };
    let length = match time.map(|time| time.split_once(char::is_whitespace).unwrap_or((time, ""))) {
        None if from != to => return Err("a ramp needs a time".to_owned()),
        None if from == 0.0 => return Err("a rate of 0 needs a time".to_owned()),
        None => f64::INFINITY,
        Some(("over" | "for", length)) => weir::schema::parse_duration(length.trim())?.as_micros() as f64,
        Some((word, _)) => return Err(format!("expected `over` or `for`, found `{word}`")),
    };
    Ok((from, to, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_due_when_they_are_intended() {
        for text in [
            "20000/s",
            "0..50000/s over 60s",
            "50000..0/s over 60s",
            "1000/s for 30s, 5000/s for 30s",
            "1000/s for 9s, 20000/s for 1s, repeat",
            "0/s for 2s, 100/s for 1s, repeat",
            "1..7/s over 10s, 7/s",
        ] {
            let schedule: Schedule = text.parse().unwrap();
            let (mut last, end) = (0, schedule.length().map_or(50_000_000, |l| l.as_micros() as i64));
            for number in (0..2_000u64)
                .chain((2_000..schedule.due(end)).step_by(997))
                .filter(|n| *n < schedule.due(end))
            {
                let at = schedule.intended_us(number);
                assert!(at >= last, "{text}: {number} at {at} after {last}");
                last = at;
                // To a rounding of one microsecond.
                assert!(
                    schedule.due(at - 2) <= number && schedule.due(at + 2) >= number,
                    "{text}: {number} at {at}"
                );
            }
        }
    }

    #[test]
    fn totals_are_those_of_the_text() {
        for (text, us, events) in [
            ("20000/s", 1_000_000, 20_000),
            ("300/s", 6_000_000, 1_800),
            ("0..50000/s over 60s", 60_000_000, 1_500_000),
            ("1000/s for 30s, 5000/s for 30s", 60_000_000, 180_000),
            ("1000/s for 9s, 20000/s for 1s, repeat", 20_000_000, 58_000),
        ] {
            let due = text.parse::<Schedule>().unwrap().due(us);
            assert_eq!(due, events, "{text}");
        }
    }

    #[test]
    fn what_is_no_rate_says_how_one_is_written() {
        for text in [
            "",
            "fast",
            "100",
            "10..20/s",
            "0/s",
            "10/s at 5s",
            "10/s, 20/s",
            "repeat, 5/s",
            "5/s, repeat",
            "-1/s",
        ] {
            let problem = text.parse::<Schedule>().unwrap_err().to_string();
            assert!(problem.contains("--rate"), "{text}: {problem}");
        }
    }
}
