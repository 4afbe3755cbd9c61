//! Events for a table: what each is made as, what it carries, and its bytes.
//!
//! ```text
//! number ─► fate (seed, shares) ─► event (send time, event time) ─► generator ─► bytes
//! ```
//!
//! Kind and event time follow from the number alone, so that whoever meets a row later can tell what
//! was sent without a list of it.

mod access;
mod any;
mod carrier;
mod clickstream;
mod fate;
mod pattern;
mod random;
mod replay;
mod sensor;
mod stamp;
mod text;
mod zipf;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use weir::clock::EpochMicros;
use weir::schema::{Column, TableSchema};
use weir::unpack::CHANGE_FIELDS;

pub use carrier::Carrier;
pub use fate::{Fate, Kind, Percentages, Shares};
pub use random::{Draws, bits_of};
pub use replay::Lines;
pub use stamp::{RunTag, Stamp};
pub(crate) use text::strftime;

/// Furthest that a late event lies behind.
const LATEST: Duration = Duration::from_secs(6 * 3600);

/// What the events of a run have in common.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Table they are meant for.
    pub table: Arc<TableSchema>,
    /// Column that carries the stamp.
    pub carrier: Carrier,
    /// The run.
    pub tag: RunTag,
    /// Seed of everything random.
    pub seed: u64,
    /// Shares of trouble.
    pub shares: Shares,
    /// Least bytes of an event; 0 for as they come.
    pub pad_to: usize,
    /// Lines of a file instead of generated events.
    pub lines: Option<Arc<Lines>>,
    /// Whether events are items whose changes become rows: what a change says of itself is not made.
    pub of_changes: bool,
    /// Top-level fields that the items' key is: right in every event.
    pub keys: Vec<String>,
}

/// One event to be made.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// Number in the run, from 0.
    pub number: u64,
    /// When it is to be sent.
    pub intended: EpochMicros,
    /// Its event time.
    pub time: EpochMicros,
    /// What is to become of it.
    pub fate: Fate,
}

impl Plan {
    /// The event of a number that is to be sent at a time.
    #[inline]
    pub fn event(&self, number: u64, intended: EpochMicros) -> Event {
        let fate = self.shares.fate(self.seed, number, self.max_late_us());
        Event { number, intended, time: EpochMicros(intended.0 - fate.late_us), fate }
    }

    /// Whether an event says its own time; else the change of an item does.
    pub fn says_its_time(&self) -> bool {
        let column = self.table.event_time.map(|at| &self.table.columns[at]);
        column.is_none_or(|column| !self.is_of_change(column))
    }

    /// Whether a column is read from what a change says of itself.
    fn is_of_change(&self, column: &Column) -> bool {
        self.of_changes
            && matches!(column.from.as_slice(), [field] if CHANGE_FIELDS.contains(&field.as_str()))
    }

    /// Late events stay within what the table takes.
    fn max_late_us(&self) -> i64 {
        let most = self.table.max_age.map_or(LATEST, |age| LATEST.min(age / 2));
        most.as_micros() as i64
    }
}

/// Makes the bytes of events; each lane of a run has its own.
#[derive(Debug)]
pub struct Generator(Shape);

#[derive(Debug)]
enum Shape {
    Clickstream(Box<clickstream::Clickstream>),
    AccessLog(Box<access::AccessLog>),
    Sensor(Box<sensor::Sensor>),
    Any(Box<any::Any>),
    Replay(replay::Replay),
}

impl Generator {
    /// Generators for the lanes of a run, or the column that none can be made for.
    pub fn lanes(plan: &Plan, count: usize) -> Result<Vec<Self>> {
        if let Some(lines) = &plan.lines {
            return Ok((0..count).map(|_| Self(Shape::Replay(replay::Replay::new(lines)))).collect());
        }
        let shop = clickstream::Shop::new();
        let lane = |lane: u64| -> Result<Self> {
            let made = match () {
                () if is_made_of(plan, &clickstream::FIELDS, "event_id") => {
                    Shape::Clickstream(Box::new(clickstream::Clickstream::new(plan, &shop, lane)))
                }
                () if is_made_of(plan, &access::FIELDS, "request") => {
                    Shape::AccessLog(Box::new(access::AccessLog::new(plan, lane)))
                }
                () if is_made_of(plan, &sensor::FIELDS, "group") && plan.pad_to == 0 => {
                    Shape::Sensor(Box::new(sensor::Sensor::new(plan, lane)))
                }
                () => Shape::Any(Box::new(any::Any::new(plan, lane)?)),
            };
            Ok(Self(made))
        };
        let lanes: Vec<Self> = (0..count as u64).map(lane).collect::<Result<_>>()?;
        if plan.shares.has_violating() && lanes.iter().any(|lane| !lane.can_violate()) {
            bail!("--violating: table {} has no rule that an event could break", plan.table.name);
        }
        Ok(lanes)
    }

    /// Append the bytes of an event; allocates nothing but room in `out`.
    #[inline]
    pub fn write(&mut self, plan: &Plan, event: &Event, out: &mut Vec<u8>) {
        match &mut self.0 {
            Shape::Clickstream(shape) => shape.write(plan, event, out),
            Shape::AccessLog(shape) => shape.write(plan, event, out),
            Shape::Sensor(shape) => shape.write(plan, event, out),
            Shape::Any(shape) => shape.write(plan, event, out),
            Shape::Replay(shape) => shape.write(plan, event, out),
        }
    }

    fn can_violate(&self) -> bool {
        match &self.0 {
            Shape::Clickstream(shape) => shape.can_violate(),
            Shape::Any(shape) => shape.can_violate(),
            Shape::AccessLog(_) | Shape::Sensor(_) => true,
            Shape::Replay(_) => false,
        }
    }
}

/// Whether the table reads exactly these fields, and the stamp stands in `stamped`.
fn is_made_of(plan: &Plan, fields: &[&str], stamped: &str) -> bool {
    plan.carrier.field() == stamped
        && !plan.carrier.is_numeric()
        && plan.keys.iter().all(|key| key == stamped)
        && plan.table.route.is_none()
        && plan.table.columns.len() == fields.len()
        && plan
            .table
            .columns
            .iter()
            .all(|c| matches!(c.from.as_slice(), [field] if fields.contains(&field.as_str())))
}
