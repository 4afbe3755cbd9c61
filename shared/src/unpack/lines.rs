//! Text → documents: one, or one a line.
//!
//! A document ends at a newline outside of all its brackets. In JSON a newline inside a string must
//! be escaped, so for well-formed documents, printed on one line or on many, this rule is exact. If the
//! brackets of a document never close, it is broken, and it and all after it end at each newline that
//! is followed by `{`: the broken one costs itself and nothing well-formed on lines of their own.
//! White space around a document (`\r`, blank lines, the last newline) belongs to none.

use std::ops::Range;

use crate::dead_letter::Reason;

use super::{Output, Stop};

/// Push the documents of the text that stands in the buffer from `start` to its end.
#[inline]
pub(super) fn split(out: &mut Output<'_>, start: usize) -> Result<(), Stop> {
    let text = &out.batch.bytes[start..];
    let several = memchr::memchr(b'\n', text).is_some_and(|at| !text[at..].iter().all(|b| is_space(*b)));
    if several {
        return split_lines(out, start);
    }
    let document = trim(text, 0..text.len());
    if document.is_empty() {
        let raw = text.to_vec();
        return out.reject(Reason::Empty, "a JSON document", "white space", raw);
    }
    out.push(start + document.start, start + document.end)
}

fn split_lines(out: &mut Output<'_>, start: usize) -> Result<(), Stop> {
    let mut at = start;
    let mut broken = false;
    while at < out.batch.bytes.len() {
        let rest = &out.batch.bytes[at..];
        // Once broken, the rest is not looked through to its end again for each line.
        let whole = if broken { None } else { document_length(rest) };
        let length = whole.unwrap_or_else(|| {
            broken = true;
            memchr::memmem::find(rest, b"\n{").unwrap_or(rest.len())
        });
        let document = trim(rest, 0..length);
        if !document.is_empty() {
            out.push(at + document.start, at + document.end)?;
        }
        at += length + 1;
    }
    Ok(())
}

/// Bytes up to the first newline outside of all brackets, or to the end; `None` if a bracket is still
/// open there.
fn document_length(text: &[u8]) -> Option<usize> {
    let mut depth = 0isize;
    let mut at = text.iter().position(|b| !is_space(*b)).unwrap_or(text.len());
    while let Some(&byte) = text.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'\n' if depth <= 0 => return Some(at),
            b'"' => {
                at = after_string(text, at + 1);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    (depth <= 0).then_some(text.len())
}

/// Past the closing quote; at the newline if one comes first, as no string of JSON holds one.
fn after_string(text: &[u8], mut at: usize) -> usize {
    while let Some(n) = text.get(at..).and_then(|rest| memchr::memchr3(b'"', b'\\', b'\n', rest)) {
        match text[at + n] {
            b'\\' => at += n + 2,
            b'"' => return at + n + 1,
            _ => return at + n,
        }
    }
    text.len()
}

/// A range of the text without the white space at its ends.
#[inline]
pub(super) fn trim(text: &[u8], mut range: Range<usize>) -> Range<usize> {
    while range.start < range.end && is_space(text[range.end - 1]) {
        range.end -= 1;
    }
    while range.start < range.end && is_space(text[range.start]) {
        range.start += 1;
    }
    range
}

#[inline]
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}
