//! The envelope that CloudWatch Logs subscriptions write → one document a log event.
//!
//! | log event | document |
//! |---|---|
//! | its message is a JSON object | the message, as the application wrote it |
//! | any other message | `{"id":…,"timestamp":…,"log_group":…,"log_stream":…,"owner":…,"message":"…"}` |
//!
//! A filter's `extractedFields` become `extracted_fields` of the second form. Control messages
//! hold no events of anybody. <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html>

use memchr::memmem;

use super::json::{self, Cursor, Malformed, RawStr};
use super::lines;

const START: &[u8] = b"{\"messageType\"";
/// How far the key is looked for in an inflated payload, where another writer may order keys
/// differently; the service writes it first.
const SEARCH_BYTES: usize = 4_096;

/// What a payload is that may be an envelope.
pub(super) enum Envelope<'a> {
    /// Log events.
    Data(Events<'a>),
    /// The service's own test of the destination.
    Control,
    /// A data message that is cut short or has another shape.
    Broken(Malformed),
    /// Somebody's own documents.
    Other,
}

/// The log events of an envelope.
#[derive(Default)]
pub(super) struct Events<'a> {
    owner: Option<&'a [u8]>,
    group: Option<&'a [u8]>,
    stream: Option<&'a [u8]>,
    /// In order.
    pub(super) list: Vec<Event<'a>>,
}

/// One log event.
#[derive(Default)]
pub(super) struct Event<'a> {
    id: Option<&'a [u8]>,
    timestamp: Option<&'a [u8]>,
    extracted: Option<&'a [u8]>,
    message: Option<RawStr<'a>>,
}

/// A cheap look: `false` for nearly every payload that is none.
#[inline]
pub(super) fn may_be_envelope(text: &[u8], inflated: bool) -> bool {
    if !inflated {
        return text.starts_with(START);
    }
    memmem::find(&text[..text.len().min(SEARCH_BYTES)], &START[1..]).is_some()
}

/// Read the payload.
pub(super) fn read(text: &[u8]) -> Envelope<'_> {
    let mut kind = None;
    let mut events = Events::default();
    let mut has_events = false;
    let outcome = read_members(text, &mut kind, &mut events, &mut has_events);
    match (kind, outcome) {
        (Some(b"DATA_MESSAGE"), Ok(())) if has_events => Envelope::Data(events),
        (Some(b"CONTROL_MESSAGE"), Ok(())) if has_events => Envelope::Control,
        (Some(b"DATA_MESSAGE"), Err(problem)) => Envelope::Broken(problem),
        _ => Envelope::Other,
    }
}

fn read_members<'a>(
    text: &'a [u8],
    kind: &mut Option<&'a [u8]>,
    events: &mut Events<'a>,
    has_events: &mut bool,
) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(text);
    cursor.enter_object()?;
    let mut first = true;
    while let Some(key) = cursor.next_key(&mut first)? {
        match key.raw {
            b"messageType" if cursor.peek() == Some(b'"') => *kind = Some(cursor.string()?.raw),
            b"owner" => events.owner = Some(cursor.raw_value()?),
            b"logGroup" => events.group = Some(cursor.raw_value()?),
            b"logStream" => events.stream = Some(cursor.raw_value()?),
            b"logEvents" if cursor.peek() == Some(b'[') => {
                events.list = read_events(&mut cursor)?;
                *has_events = true;
            }
            _ => cursor.skip_value()?,
        }
    }
    cursor.end()
}

fn read_events<'a>(cursor: &mut Cursor<'a>) -> Result<Vec<Event<'a>>, Malformed> {
    let mut list = Vec::new();
    let mut first_event = true;
    cursor.enter_array()?;
    while cursor.next_item(&mut first_event)? {
        let mut event = Event::default();
        let mut first = true;
        cursor.enter_object()?;
        while let Some(key) = cursor.next_key(&mut first)? {
            match key.raw {
                b"id" => event.id = Some(cursor.raw_value()?),
                b"timestamp" => event.timestamp = Some(cursor.raw_value()?),
                b"extractedFields" => event.extracted = Some(cursor.raw_value()?),
                b"message" => event.message = Some(cursor.string()?),
                _ => cursor.skip_value()?,
            }
        }
        if event.message.is_none() {
            return Err(cursor.malformed("a message in the log event"));
        }
        list.push(event);
    }
    Ok(list)
}

impl Events<'_> {
    /// Append the document of an event.
    pub(super) fn write_document(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        let Some(message) = event.message else { return };
        if message.unescape_into(out).is_some() && json::is_object(&out[start..]) {
            let document = lines::trim(&out[start..], 0..out.len() - start);
            out.truncate(start + document.end);
            out.drain(start..start + document.start);
            return;
        }
        out.truncate(start);
        out.push(b'{');
        let members: [(&str, Option<&[u8]>); 6] = [
            ("id", event.id),
            ("timestamp", event.timestamp),
            ("log_group", self.group),
            ("log_stream", self.stream),
            ("owner", self.owner),
            ("extracted_fields", event.extracted),
        ];
        for (name, value) in members {
            if let Some(value) = value {
                out.extend_from_slice(format!("\"{name}\":").as_bytes());
                out.extend_from_slice(value);
                out.push(b',');
            }
        }
        // As written, escapes and all: the judge of documents says what is wrong with them.
        out.extend_from_slice(b"\"message\":\"");
        out.extend_from_slice(message.raw);
        out.extend_from_slice(b"\"}");
    }
}
