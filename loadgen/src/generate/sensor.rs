//! Readings of sensors.

use super::fate::Kind;
use super::random::{Draws, bits_of};
use super::text::{TimeWriter, fixed, format_of, padded};
use super::zipf::Zipf;
use super::{Event, Plan};

/// Fields of a reading.
pub(super) const FIELDS: [&str; 4] = ["group", "series", "timestamp", "value"];

const KINDS: [(&str, u32, u32); 4] = [
    ("temperature", 18_000, 12_000),
    ("pressure", 990_000, 40_000),
    ("humidity", 20_000, 60_000),
    ("vibration", 0, 3_000),
];

/// Readings of a few thousand sensors, each around a level of its own. The stamp stands in the
/// group.
#[derive(Debug)]
pub(super) struct Sensor {
    draws: Draws,
    time: TimeWriter,
    sensors: Zipf,
}

impl Sensor {
    pub(super) fn new(plan: &Plan, lane: u64) -> Self {
        let draws = Draws::new(bits_of(plan.seed, u64::MAX - lane));
        Self {
            draws,
            time: TimeWriter::new(&format_of(&plan.table, "timestamp")),
            sensors: Zipf::new(4_000, 0.3),
        }
    }

    pub(super) fn write(&mut self, plan: &Plan, event: &Event, out: &mut Vec<u8>) {
        let draws = &mut self.draws;
        let sensor = u64::from(self.sensors.draw(draws));
        let (kind, least, spread) = KINDS[sensor as usize % KINDS.len()];
        out.extend_from_slice(b"{\"group\":\"");
        plan.tag.write(event.number, event.intended, out);
        out.extend_from_slice(b"\",\"series\":\"line-");
        padded(sensor / 4, 4, out);
        out.push(b'/');
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\",\"timestamp\":");
        self.time.write(event.time, out);
        out.extend_from_slice(b",\"value\":");
        match event.fate.kind {
            Kind::Violating => out.extend_from_slice(b"\"n/a\""),
            _ => {
                let level = least + (sensor as u32).wrapping_mul(2_654_435_761) % spread.max(1) / 2;
                fixed(u64::from(level + draws.below(spread / 8 + 1)), 3, out);
            }
        }
        if event.fate.kind != Kind::Malformed {
            out.push(b'}');
        }
    }
}
