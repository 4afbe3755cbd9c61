//! Lines of a user's file as events: as they are, but for the stamp in the carrier's field.
//!
//! A file has no numbers, and its lines may repeat: without the stamp neither a loss nor a duplicate
//! could be told from what the file holds.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use super::text::digits;
use super::{Event, Plan};
use crate::generate::Carrier;

/// The lines of a file and where the carrier's value stands in each.
#[derive(Debug)]
pub struct Lines {
    bytes: Vec<u8>,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    /// Up to the value that the stamp replaces, or up to and with the opening brace.
    before: Range<usize>,
    after: Range<usize>,
    /// Whether the line has no such field: it is put in.
    absent: bool,
}

impl Lines {
    /// Read an NDJSON file, plain or gzip; empty lines are passed over.
    pub fn read(path: &Path, carrier: &Carrier) -> Result<Arc<Self>> {
        let mut bytes = std::fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let mut plain = Vec::new();
            std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(bytes.as_slice()), &mut plain)
                .with_context(|| format!("could not unpack {}", path.display()))?;
            bytes = plain;
        }
        let (mut lines, mut start) = (Vec::new(), 0);
        for (number, text) in bytes.split(|b| *b == b'\n').enumerate() {
            let range = start..start + text.len();
            start += text.len() + 1;
            if text.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let Some(line) = line(text, range, carrier.field()) else {
                bail!(
                    "{} line {}: not a JSON object, so it cannot carry an event's number; leave such lines out \
                     and make malformed events with --malformed",
                    path.display(),
                    number + 1
                );
            };
            lines.push(line);
        }
        if lines.is_empty() {
            bail!("{} holds no lines", path.display());
        }
        Ok(Arc::new(Self { bytes, lines }))
    }

    /// How many lines.
    pub fn count(&self) -> usize {
        self.lines.len()
    }
}

fn line(text: &[u8], range: Range<usize>, field: &str) -> Option<Line> {
    let object: std::collections::HashMap<std::borrow::Cow<'_, str>, &serde_json::value::RawValue> =
        serde_json::from_slice(text).ok()?;
    let value = object.get(field).map(|value| {
        let at = value.get().as_ptr() as usize - text.as_ptr() as usize;
        range.start + at..range.start + at + value.get().len()
    });
    Some(match value {
        Some(value) => Line { before: range.start..value.start, after: value.end..range.end, absent: false },
        None => {
            let brace = range.start + memchr::memchr(b'{', text)? + 1;
            Line { before: range.start..brace, after: brace..range.end, absent: true }
        }
    })
}

/// Writes the lines in order, from the beginning again after the last.
#[derive(Debug)]
pub(super) struct Replay {
    lines: Arc<Lines>,
}

impl Replay {
    pub(super) fn new(lines: &Arc<Lines>) -> Self {
        Self { lines: Arc::clone(lines) }
    }

    pub(super) fn write(&mut self, plan: &Plan, event: &Event, out: &mut Vec<u8>) {
        let line = &self.lines.lines[(event.number % self.lines.lines.len() as u64) as usize];
        out.extend_from_slice(&self.lines.bytes[line.before.clone()]);
        if line.absent {
            out.push(b'"');
            out.extend_from_slice(plan.carrier.field().as_bytes());
            out.extend_from_slice(b"\":");
        }
        match plan.carrier.is_numeric() {
            true => digits(plan.tag.as_number(event.number) as u64, out),
            false => {
                out.push(b'"');
                plan.tag.write(event.number, event.intended, out);
                out.push(b'"');
            }
        }
        let after = &self.lines.bytes[line.after.clone()];
        if line.absent && !after.trim_ascii_start().starts_with(b"}") {
            out.push(b',');
        }
        out.extend_from_slice(after);
        if event.fate.kind == super::Kind::Malformed {
            let end = out.iter().rposition(|b| *b == b'}').unwrap_or(out.len());
            out.truncate(end);
        }
    }
}
