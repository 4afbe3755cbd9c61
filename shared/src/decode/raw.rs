//! Where each node of a tape stood in the raw text. The tape has no positions and its numbers are
//! already 64 bits wide; exact digits, JSON text columns and rescued fields need the raw bytes.

use crate::scan::{number_end, skip_space, string_stop};

/// Fill `spans` with one `(start, end)` per tape node, in tape order. `doc` must be valid JSON: it is
/// only called on text that has just been parsed, and gives up quietly (short `spans`) otherwise.
pub(crate) fn node_spans(doc: &[u8], spans: &mut Vec<(u32, u32)>, open: &mut Vec<u32>) {
    spans.clear();
    open.clear();
    let mut at = 0;
    loop {
        at = skip_space(doc, at);
        let Some(&b) = doc.get(at) else { return };
        let start = at;
        match b {
            b'{' | b'[' => {
                open.push(spans.len() as u32);
                spans.push((start as u32, 0));
                at += 1;
            }
            b'}' | b']' => {
                at += 1;
                let Some(node) = open.pop() else { return };
                spans[node as usize].1 = at as u32;
            }
            b',' | b':' => at += 1,
            b'"' => {
                at = string_end(doc, at + 1);
                spans.push((start as u32, at as u32));
            }
            b't' | b'n' => {
                at += 4;
                spans.push((start as u32, at as u32));
            }
            b'f' => {
                at += 5;
                spans.push((start as u32, at as u32));
            }
            _ => {
                let Some(end) = number_end(doc, at) else { return };
                at = end;
                spans.push((start as u32, at as u32));
            }
        }
    }
}

fn string_end(doc: &[u8], mut at: usize) -> usize {
    loop {
        at = string_stop(doc, at);
        match doc.get(at) {
            Some(b'\\') => at += 2,
            Some(b'"') => return at + 1,
            Some(_) => at += 1,
            None => return doc.len(),
        }
    }
}

/// The text of the scalar at `path` in a document, without decoding the rest: what `weir.route`
/// compares. `None`: no such member, no scalar, or no JSON.
pub fn text_at(doc: &[u8], path: &[String]) -> Option<String> {
    let (mut spans, mut open) = (Vec::new(), Vec::new());
    node_spans(doc, &mut spans, &mut open);
    let text = |i: usize| spans.get(i).and_then(|&(start, end)| doc.get(start as usize..end as usize));
    let mut at = 0;
    for key in path {
        if !text(at)?.starts_with(b"{") {
            return None;
        }
        let end = spans[at].1;
        let mut found = None;
        let mut member = at + 1;
        // The last of equal keys wins, as everywhere.
        while spans.get(member).is_some_and(|span| span.0 < end) {
            if serde_json::from_slice::<String>(text(member)?).ok()? == *key {
                found = Some(member + 1);
            }
            let value_end = spans.get(member + 1)?.1;
            member += 2;
            while spans.get(member).is_some_and(|span| span.0 < value_end) {
                member += 1;
            }
        }
        at = found?;
    }
    let value = text(at)?;
    match value.first()? {
        b'"' => serde_json::from_slice(value).ok(),
        b'{' | b'[' => None,
        _ => String::from_utf8(value.to_vec()).ok(),
    }
}
