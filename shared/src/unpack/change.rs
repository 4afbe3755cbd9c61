//! A change of a DynamoDB item → one JSON document: the new image as plain JSON, and what the change
//! was.
//!
//! ```text
//! {"eventName":"MODIFY","userIdentity":…,"eventSource":"aws:dynamodb",
//!  "dynamodb":{"ApproximateCreationDateTime":1480642020,"Keys":{"id":{"N":"7"}},
//!              "NewImage":{"id":{"N":"7"},"price":{"N":"9.90"}},"OldImage":{"id":{"N":"7"}},…}}
//!   ─► {"id":7,"price":9.90,"_old":{"id":7},"_op":"modify","_changed_at":1480642020,"_ttl":false}
//! ```
//!
//! | attribute | JSON |
//! |---|---|
//! | `S` | text, as written |
//! | `N` | number, digit by digit as written |
//! | `B` | text, base64 |
//! | `BOOL`, `NULL` | `true`, `false`, `null` |
//! | `M`, `L` | object, array |
//! | `SS`, `NS`, `BS` | array |
//!
//! Text is copied, never read, so that [`crate::decode`] stays the one judge of values: an item's
//! number reaches a decimal with all its digits, a text that is no UTF-8 is refused there. What is
//! no typed value at all is refused here, with its path. A removed item has no new image: then its
//! keys stand alone.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_Record.html>

use memchr::memmem;

use super::json::{Cursor, Malformed, RawStr};
use super::{Output, RecordHead, Stop, UnpackCounts, Unpacker, pad};
use crate::dead_letter::{DeadLetter, Reason};
use crate::limits::MAX_ATTRIBUTE_DEPTH;
use crate::record::{Batch, Document};
use crate::scan;

/// Append the document of a payload: it is the document, or the change that one is made from.
///
/// # Errors
/// A change with what is no typed value; `out` may hold part of the document.
pub fn write_document(payload: &[u8], out: &mut Vec<u8>) -> Result<(), NotTyped> {
    match read(payload) {
        Some(change) => change.write_document(out),
        None => {
            out.extend_from_slice(payload);
            Ok(())
        }
    }
}

/// Fields that a change has beside the attributes of its item. An attribute of the same name, with
/// whatever underscores before it, gets one underscore more.
pub const CHANGE_FIELDS: [&str; 4] = ["_op", "_changed_at", "_ttl", "_old"];

/// The `eventSource` of changes.
pub(crate) const DYNAMODB: &[u8] = b"aws:dynamodb";

/// A change as written: what the record says of it, images unread.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ChangeRecord<'a> {
    /// `eventName`
    pub(crate) name: Option<RawStr<'a>>,
    /// `userIdentity`
    pub(crate) identity: Option<&'a [u8]>,
    /// `dynamodb`
    pub(crate) images: Images<'a>,
}

/// The member `dynamodb` of a change.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Images<'a> {
    /// `SequenceNumber`; a change that a Kinesis stream carries has none.
    pub(crate) sequence: Option<RawStr<'a>>,
    /// `ApproximateCreationDateTime`: whole seconds in a DynamoDB stream.
    pub(crate) created: Option<&'a [u8]>,
    precision: Option<RawStr<'a>>,
    keys: Option<&'a [u8]>,
    new: Option<&'a [u8]>,
    old: Option<&'a [u8]>,
}

/// What in a change is no typed value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotTyped {
    /// Class.
    pub reason: Reason,
    /// Path in the change (`NewImage.lines[2].price`).
    pub path: String,
    /// What should stand there.
    pub expected: &'static str,
}

/// The change in a payload that is one and nothing else. A cheap look first: `None` for nearly
/// every payload that is none.
#[inline]
pub(crate) fn read(text: &[u8]) -> Option<ChangeRecord<'_>> {
    // Members of a record, as writers begin them.
    const FIRST: [&[u8]; 6] =
        [b"\"eventI", b"\"eventN", b"\"eventV", b"\"eventS", b"\"awsR", b"\"dynamodb\""];
    let inside = text.trim_ascii_start().strip_prefix(b"{")?;
    let inside = inside.trim_ascii_start();
    if !FIRST.iter().any(|first| inside.starts_with(first)) || memmem::find(text, DYNAMODB).is_none() {
        return None;
    }
    read_members(text).ok().flatten()
}

fn read_members(text: &[u8]) -> Result<Option<ChangeRecord<'_>>, Malformed> {
    let mut cursor = Cursor::new(text);
    let (mut change, mut first) = (ChangeRecord::default(), true);
    let (mut from_dynamodb, mut has_images) = (false, false);
    cursor.enter_object()?;
    while let Some(key) = cursor.next_key(&mut first)? {
        match key.raw {
            b"eventName" => change.name = text_or_skip(&mut cursor)?,
            b"eventSource" => {
                from_dynamodb = text_or_skip(&mut cursor)?.is_some_and(|source| source.raw == DYNAMODB);
            }
            b"userIdentity" => change.identity = Some(cursor.raw_value()?),
            b"dynamodb" => {
                let images = Images::read(&mut cursor)?;
                has_images = images.is_some();
                change.images = images.unwrap_or_default();
            }
            _ => cursor.skip_value()?,
        }
    }
    cursor.end()?;
    Ok((from_dynamodb && has_images).then_some(change))
}

impl<'a> Images<'a> {
    /// Read the member at the cursor; `None` if it is no object.
    pub(crate) fn read(cursor: &mut Cursor<'a>) -> Result<Option<Self>, Malformed> {
        if cursor.peek() != Some(b'{') {
            return cursor.skip_value().map(|()| None);
        }
        let (mut images, mut first) = (Self::default(), true);
        cursor.enter_object()?;
        while let Some(key) = cursor.next_key(&mut first)? {
            match key.raw {
                b"SequenceNumber" => images.sequence = text_or_skip(cursor)?,
                b"ApproximateCreationDateTime" if matches!(cursor.peek(), Some(b'-' | b'0'..=b'9')) => {
                    images.created = Some(cursor.number()?);
                }
                b"ApproximateCreationDateTimePrecision" => images.precision = text_or_skip(cursor)?,
                b"Keys" => images.keys = object_or_skip(cursor)?,
                b"NewImage" => images.new = object_or_skip(cursor)?,
                b"OldImage" => images.old = object_or_skip(cursor)?,
                _ => cursor.skip_value()?,
            }
        }
        Ok(Some(images))
    }
}

impl ChangeRecord<'_> {
    /// Append the document. On an error `out` may hold part of it.
    pub(crate) fn write_document(&self, out: &mut Vec<u8>) -> Result<(), NotTyped> {
        let op = match self.name.map(|name| name.raw) {
            Some(b"INSERT") => "insert",
            Some(b"MODIFY") => "modify",
            Some(b"REMOVE") => "remove",
            _ => return Err(NotTyped::new("INSERT, MODIFY or REMOVE").under("eventName")),
        };
        let images = &self.images;
        let (name, image) = match (images.new, images.keys) {
            (Some(new), _) => ("NewImage", new),
            (None, Some(keys)) => ("Keys", keys),
            (None, None) => return Err(NotTyped::new("the keys of the item").under("Keys")),
        };
        out.push(b'{');
        let start = out.len();
        members(&mut Cursor::new(image), out, MAX_ATTRIBUTE_DEPTH, Names::OfItem)
            .map_err(|problem| problem.under(name))?;
        if out.len() > start {
            out.push(b',');
        }
        if let Some(old) = images.old {
            out.extend_from_slice(b"\"_old\":{");
            members(&mut Cursor::new(old), out, MAX_ATTRIBUTE_DEPTH, Names::AsWritten)
                .map_err(|problem| problem.under("OldImage"))?;
            out.extend_from_slice(b"},");
        }
        out.extend_from_slice(b"\"_op\":\"");
        out.extend_from_slice(op.as_bytes());
        out.push(b'"');
        if let Some(created) = images.created {
            out.extend_from_slice(b",\"_changed_at\":");
            write_seconds(created, self.decimals_of_time(), out);
        }
        let expired = op == "remove" && self.identity.is_some_and(is_time_to_live);
        out.extend_from_slice(if expired { b",\"_ttl\":true}" } else { b",\"_ttl\":false}" });
        Ok(())
    }

    /// Decimal places from the time as written to seconds. A DynamoDB stream writes seconds, a
    /// Kinesis stream (whose changes have no number of their own) says its unit.
    fn decimals_of_time(&self) -> i32 {
        match (self.images.precision.map(|p| p.raw), self.images.sequence) {
            (Some(b"MICROSECOND"), _) => 6,
            (Some(b"MILLISECOND"), _) | (None, None) => 3,
            _ => 0,
        }
    }
}

impl Unpacker {
    /// A change of a DynamoDB item, which stands in the batch's buffer, as written, from `start` to
    /// its end.
    pub(crate) fn take_change(
        &mut self,
        batch: &mut Batch,
        dead: &mut Vec<DeadLetter>,
        counts: &mut UnpackCounts,
        (head, start): (RecordHead, usize),
        change: &ChangeRecord<'_>,
    ) {
        let payload_bytes = (batch.bytes.len() - start) as u64;
        let mut out = Output::new(batch, dead, counts, head, self.limits);
        // A record's first document is always within the bound.
        let _ = out.push_change(start, |document| change.write_document(document));
        counts.records += 1;
        counts.payload_bytes += payload_bytes;
        pad(&mut batch.bytes);
    }
}

impl Output<'_> {
    /// The document of a change that stands in the buffer from `start` to its end, or the change as
    /// a dead letter.
    pub(super) fn push_change(
        &mut self,
        raw_start: usize,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), NotTyped>,
    ) -> Result<(), Stop> {
        self.counts.changes += 1;
        let start = self.batch.bytes.len();
        let Err(NotTyped { reason, path, expected }) = write(&mut self.batch.bytes) else {
            let (id, end) = (self.next_id()?, self.batch.bytes.len());
            let arrived_at = self.head.arrived_at;
            self.batch.documents.push(Document { id, arrived_at, raw_start, start, end });
            return Ok(());
        };
        let raw = self.batch.bytes[raw_start..start].to_vec();
        self.batch.bytes.truncate(raw_start);
        self.reject(reason, expected, "something else", raw)?;
        if let Some(letter) = self.dead.last_mut() {
            letter.path = path;
        }
        Ok(())
    }
}

impl NotTyped {
    fn new(expected: &'static str) -> Self {
        Self { reason: Reason::Envelope, path: String::new(), expected }
    }

    fn under(mut self, parent: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{parent}{dot}{}", self.path);
        self
    }
}

impl From<Malformed> for NotTyped {
    fn from(problem: Malformed) -> Self {
        Self::new(problem.expected)
    }
}

/// Whether names of attributes stand beside [`CHANGE_FIELDS`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    OfItem,
    AsWritten,
}

/// The members of a map of typed values, without its braces.
fn members(cursor: &mut Cursor<'_>, out: &mut Vec<u8>, depth: usize, names: Names) -> Result<(), NotTyped> {
    let (mut first, mut comma) = (true, false);
    cursor.enter_object()?;
    while let Some(key) = cursor.next_key(&mut first)? {
        if comma {
            out.push(b',');
        }
        comma = true;
        out.push(b'"');
        if names == Names::OfItem && meets_a_change_field(key) {
            out.push(b'_');
        }
        out.extend_from_slice(key.raw);
        out.extend_from_slice(b"\":");
        value(cursor, out, depth).map_err(|problem| problem.under(&String::from_utf8_lossy(key.raw)))?;
    }
    Ok(())
}

fn value(cursor: &mut Cursor<'_>, out: &mut Vec<u8>, depth: usize) -> Result<(), NotTyped> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(NotTyped { reason: Reason::TooDeep, ..NotTyped::new("fewer levels") });
    };
    let mut first = true;
    cursor.enter_object()?;
    let Some(ty) = cursor.next_key(&mut first)? else { return Err(NotTyped::new("a typed value")) };
    match ty.raw {
        b"S" | b"B" => text(cursor, out)?,
        b"N" => number(cursor, out)?,
        b"BOOL" => out.extend_from_slice(if cursor.boolean()? { b"true" } else { b"false" }),
        b"NULL" if cursor.boolean()? => out.extend_from_slice(b"null"),
        b"M" => {
            out.push(b'{');
            members(cursor, out, depth, Names::AsWritten)?;
            out.push(b'}');
        }
        b"L" => list(cursor, out, &mut |cursor, out| value(cursor, out, depth))?,
        b"SS" | b"BS" => list(cursor, out, &mut text)?,
        b"NS" => list(cursor, out, &mut number)?,
        _ => return Err(NotTyped::new("S, N, B, BOOL, NULL, M, L, SS, NS or BS")),
    }
    match cursor.next_key(&mut first)? {
        None => Ok(()),
        Some(_) => Err(NotTyped::new("one type")),
    }
}

type Item<'f> = &'f mut dyn FnMut(&mut Cursor<'_>, &mut Vec<u8>) -> Result<(), NotTyped>;

fn list(cursor: &mut Cursor<'_>, out: &mut Vec<u8>, item: Item<'_>) -> Result<(), NotTyped> {
    let (mut first, mut n) = (true, 0);
    out.push(b'[');
    cursor.enter_array()?;
    while cursor.next_item(&mut first)? {
        if n > 0 {
            out.push(b',');
        }
        item(cursor, out).map_err(|problem| problem.under(&format!("[{n}]")))?;
        n += 1;
    }
    out.push(b']');
    Ok(())
}

fn text(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), NotTyped> {
    let text = cursor.string()?;
    out.push(b'"');
    out.extend_from_slice(text.raw);
    out.push(b'"');
    Ok(())
}

fn number(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), NotTyped> {
    let digits = cursor.string()?.raw;
    if scan::number_end(digits, 0) != Some(digits.len()) {
        return Err(NotTyped::new("a number as text"));
    }
    out.extend_from_slice(digits);
    Ok(())
}

/// The time in seconds: a number of JSON with its exponent moved.
fn write_seconds(number: &[u8], decimals: i32, out: &mut Vec<u8>) {
    if decimals == 0 {
        out.extend_from_slice(number);
        return;
    }
    let at = number.iter().position(|b| matches!(b, b'e' | b'E'));
    let (digits, exponent) = number.split_at(at.unwrap_or(number.len()));
    let exponent = std::str::from_utf8(exponent).ok().and_then(|e| e.get(1..)?.parse::<i32>().ok());
    out.extend_from_slice(digits);
    out.extend_from_slice(format!("e{}", exponent.unwrap_or(0).saturating_sub(decimals)).as_bytes());
}

fn meets_a_change_field(name: RawStr<'_>) -> bool {
    let meets = |name: &[u8]| {
        name.first() == Some(&b'_') && {
            let rest = &name[name.iter().take_while(|b| **b == b'_').count()..];
            CHANGE_FIELDS.iter().any(|field| &field.as_bytes()[1..] == rest)
        }
    };
    if name.escaped { name.to_text().is_some_and(|name| meets(name.as_bytes())) } else { meets(name.raw) }
}

/// Whether the service itself made the change, which it does when an item's time is over.
fn is_time_to_live(identity: &[u8]) -> bool {
    let members = || -> Result<bool, Malformed> {
        let mut cursor = Cursor::new(identity);
        let (mut first, mut service, mut principal) = (true, false, false);
        cursor.enter_object()?;
        while let Some(key) = cursor.next_key(&mut first)? {
            // The stream's own API writes small letters, libraries of some languages large ones.
            if key.raw.eq_ignore_ascii_case(b"type") {
                service = text_or_skip(&mut cursor)?.is_some_and(|text| text.raw == b"Service");
            } else if key.raw.eq_ignore_ascii_case(b"principalId") {
                principal =
                    text_or_skip(&mut cursor)?.is_some_and(|text| text.raw == b"dynamodb.amazonaws.com");
            } else {
                cursor.skip_value()?;
            }
        }
        Ok(service && principal)
    };
    members().unwrap_or(false)
}

fn text_or_skip<'a>(cursor: &mut Cursor<'a>) -> Result<Option<RawStr<'a>>, Malformed> {
    if cursor.peek() == Some(b'"') {
        return cursor.string().map(Some);
    }
    cursor.skip_value().map(|()| None)
}

fn object_or_skip<'a>(cursor: &mut Cursor<'a>) -> Result<Option<&'a [u8]>, Malformed> {
    let is_object = cursor.peek() == Some(b'{');
    let value = cursor.raw_value()?;
    Ok(is_object.then_some(value))
}

#[cfg(test)]
mod tests;
