//! Values of a row just decoded → its partition, and whether its event time is believable.

use crate::clock::EpochMicros;
use crate::columns::{ColumnSet, Field, Layout, Logical};
use crate::dead_letter::Reason;
use crate::decode::Refusal;
use crate::decode::time::civil_from_days;
use crate::error::{Error, Result};
use crate::limits::MAX_PARTITION_FOLDER_BYTES;
use crate::partition::{NULL_PARTITION, PartitionPath};
use crate::schema::{Granularity, TableSchema};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// One partition value before it is text: cheap to compute and to compare.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum KeyPart {
    Null,
    /// Hours, days, months or years since the epoch, or an integer's, date's or boolean's own value.
    Number(i64),
    Text(Box<[u8]>),
}

/// How one key of the partition is read off a row.
#[derive(Debug)]
struct KeyRule {
    name: String,
    leaf: usize,
    granularity: Granularity,
    logical: Logical,
    text: bool,
    boolean: bool,
}

/// The column that holds the event time.
#[derive(Debug)]
struct EventTime {
    leaf: usize,
    name: String,
    /// Microseconds of one unit of the leaf: a date counts days.
    unit: i64,
}

/// How rows of a table find their partition.
#[derive(Debug)]
pub(crate) struct KeyRules {
    keys: Vec<KeyRule>,
    event_time: Option<EventTime>,
    max_age: Option<i64>,
    max_future: Option<i64>,
}

impl KeyRules {
    pub(crate) fn compile(table: &TableSchema, layout: &Layout) -> Result<Self> {
        let leaf_of = |column: usize| -> Result<&Field> {
            let stored = table.in_file[column];
            let nth = table.in_file[..column].iter().filter(|f| **f == stored).count();
            let fields = if stored { &layout.fields } else { &layout.scratch_fields };
            fields.get(nth).ok_or_else(|| Error::Internal("layout and table differ".into()))
        };
        let spec = |leaf: usize| layout.leaves.iter().chain(&layout.scratch).nth(leaf);
        let mut keys = Vec::new();
        for key in &table.partition_keys {
            let field = leaf_of(key.column)?;
            let leaf = field.leaves.start;
            let Some(spec) = spec(leaf).filter(|_| field.leaves.len() == 1) else {
                return Err(Error::Schema {
                    table: table.name.clone(),
                    problem: format!("partition key {} is derived from a nested column", key.name),
                });
            };
            keys.push(KeyRule {
                name: key.name.clone(),
                leaf,
                granularity: key.granularity,
                logical: spec.logical,
                text: spec.physical == crate::columns::Physical::Bytes,
                boolean: spec.physical == crate::columns::Physical::Bool,
            });
        }
        let event_time = match table.event_time {
            Some(column) => {
                let leaf = leaf_of(column)?.leaves.start;
                let unit = if spec(leaf).is_some_and(|s| s.logical == Logical::Date) { DAY } else { 1 };
                Some(EventTime { leaf, name: table.columns[column].name.clone(), unit })
            }
            None => None,
        };
        let micros = |d: std::time::Duration| d.as_micros() as i64;
        Ok(Self {
            keys,
            event_time,
            max_age: table.max_age.map(micros),
            max_future: table.max_future.map(micros),
        })
    }

    /// Refuse event times that would make garbage partitions. The measure is the arrival time, so
    /// that every attempt decides alike.
    #[inline]
    pub(crate) fn check_event_time(
        &self,
        set: &ColumnSet,
        arrived_at: EpochMicros,
    ) -> Result<(), Box<Refusal>> {
        let Some(EventTime { leaf, name, unit }) = &self.event_time else { return Ok(()) };
        let Some(time) = set.leaves[*leaf].last_whole() else { return Ok(()) };
        let time = time.saturating_mul(*unit);
        let age = arrived_at.0.saturating_sub(time);
        let too_old = self.max_age.is_some_and(|max| age > max);
        let too_new = self.max_future.is_some_and(|max| age < -max);
        if !too_old && !too_new {
            return Ok(());
        }
        let (setting, side) =
            if too_old { ("weir.max_age", "older") } else { ("weir.max_future", "further ahead") };
        Err(Box::new(Refusal {
            reason: Reason::EventTimeBounds,
            path: name.clone(),
            expected: format!("not {side} than {setting} relative to arrival"),
            found: micros_text(time),
        }))
    }

    /// Whether the row just decoded belongs to the partition `parts`.
    #[inline]
    pub(crate) fn matches(&self, set: &ColumnSet, parts: &[KeyPart]) -> bool {
        self.keys.iter().zip(parts).all(|(key, part)| {
            let leaf = &set.leaves[key.leaf];
            match part {
                KeyPart::Null => leaf.last_whole().is_none() && leaf.last_bytes().is_none(),
                KeyPart::Number(n) => leaf.last_whole().is_some_and(|v| key.bucket(v) == *n),
                KeyPart::Text(text) => leaf.last_bytes() == Some(text),
            }
        })
    }

    /// The partition of the row just decoded.
    pub(crate) fn parts(&self, set: &ColumnSet) -> Vec<KeyPart> {
        let part = |key: &KeyRule| {
            let leaf = &set.leaves[key.leaf];
            match (key.text, leaf.last_bytes(), leaf.last_whole()) {
                (true, Some(text), _) => KeyPart::Text(text.into()),
                (false, _, Some(v)) => KeyPart::Number(key.bucket(v)),
                _ => KeyPart::Null,
            }
        };
        self.keys.iter().map(part).collect()
    }

    /// Refuse values that no folder of a partition can say: Hive writes an empty text and its own
    /// word for null as null, and a store takes no endless name.
    pub(crate) fn check_parts(&self, parts: &[KeyPart]) -> Result<(), Box<Refusal>> {
        for (key, part) in self.keys.iter().zip(parts) {
            let KeyPart::Text(text) = part else { continue };
            let refuse = |expected: String, found: &str| {
                let (reason, path) = (Reason::Constraint, key.name.clone());
                Err(Box::new(Refusal { reason, path, expected, found: found.into() }))
            };
            if text.is_empty() || **text == *NULL_PARTITION.as_bytes() {
                return refuse(
                    "a partition value that Hive does not read as null".into(),
                    "an empty text or Hive's word for null",
                );
            }
            let text = String::from_utf8_lossy(text);
            let folder = PartitionPath::from_values([(key.name.as_str(), Some(&*text))]);
            if folder.as_str().len() > MAX_PARTITION_FOLDER_BYTES {
                let found = format!("{} bytes", folder.as_str().len());
                return refuse(
                    format!("a partition folder of at most {MAX_PARTITION_FOLDER_BYTES} bytes"),
                    &found,
                );
            }
        }
        Ok(())
    }

    /// The Hive path of a partition.
    pub(crate) fn path(&self, parts: &[KeyPart]) -> PartitionPath {
        let texts: Vec<_> = self.keys.iter().zip(parts).map(|(key, part)| key.text_of(part)).collect();
        let values = self.keys.iter().zip(&texts).map(|(key, text)| (key.name.as_str(), text.as_deref()));
        PartitionPath::from_values(values)
    }
}

impl KeyRule {
    #[inline]
    fn bucket(&self, value: i64) -> i64 {
        if self.granularity == Granularity::Identity {
            return value;
        }
        let days = match self.logical {
            Logical::Date => value,
            _ if self.granularity == Granularity::Hour => return value.div_euclid(HOUR),
            _ => value.div_euclid(DAY),
        };
        match self.granularity {
            Granularity::Hour => days * 24,
            Granularity::Month => {
                let (year, month, _) = civil_from_days(days);
                year * 12 + month - 1
            }
            Granularity::Year => civil_from_days(days).0,
            Granularity::Day | Granularity::Identity => days,
        }
    }

    fn text_of(&self, part: &KeyPart) -> Option<String> {
        let n = match part {
            KeyPart::Null => return None,
            KeyPart::Text(text) => return Some(String::from_utf8_lossy(text).into_owned()),
            KeyPart::Number(n) => *n,
        };
        Some(match self.granularity {
            Granularity::Hour => format!("{}-{:02}", day_text(n.div_euclid(24)), n.rem_euclid(24)),
            Granularity::Day => day_text(n),
            Granularity::Month => format!("{:04}-{:02}", n.div_euclid(12), n.rem_euclid(12) + 1),
            Granularity::Year => format!("{n:04}"),
            Granularity::Identity => match self.logical {
                Logical::Date => day_text(n),
                Logical::Timestamp => micros_text(n),
                _ if self.boolean => (n != 0).to_string(),
                _ => n.to_string(),
            },
        })
    }
}

fn day_text(days: i64) -> String {
    let (year, month, day) = civil_from_days(days);
    format!("{year:04}-{month:02}-{day:02}")
}

fn micros_text(micros: i64) -> String {
    let (seconds, fraction) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let day = day_text(seconds.div_euclid(86_400));
    let s = seconds.rem_euclid(86_400);
    let text = format!("{day} {:02}:{:02}:{:02}", s / 3_600, s / 60 % 60, s % 60);
    if fraction == 0 { text } else { format!("{text}.{fraction:06}") }
}
