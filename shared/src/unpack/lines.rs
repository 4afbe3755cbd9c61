//! Several newline-separated documents in one record → each alone. A newline divides only outside
//! of brackets and strings, so a pretty-printed document stays whole; one that never closes is kept
//! whole to the end, unless a line begins a new object where the one before was cut.

/// Call `document` for each document; blank ones are passed over.
pub(super) fn split(bytes: &[u8], document: &mut dyn FnMut(&[u8])) {
    let body = bytes.trim_ascii_end();
    let mut whole = |bytes: &[u8]| {
        let bytes = bytes.trim_ascii();
        if !bytes.is_empty() {
            document(bytes);
        }
    };
    // The usual case: one line.
    if memchr::memchr(b'\n', body).is_none() {
        return whole(body);
    }
    let mut start = 0;
    while start < body.len() {
        let line_end = memchr::memchr(b'\n', &body[start..]).map_or(body.len(), |n| start + n);
        let end = match depth_at_end(&body[start..line_end]) {
            0 => line_end,
            _ => close_of(body, start, line_end),
        };
        whole(&body[start..end]);
        start = end + 1;
    }
}

/// Open brackets at the end of a text that begins outside of any.
fn depth_at_end(text: &[u8]) -> usize {
    let mut scan = Scan::default();
    text.iter().for_each(|&b| scan.step(b));
    scan.depth
}

/// End of the line in which the document that begins at `start` closes. Where it never does, its
/// first line is taken alone, so that one cut document does not swallow the rest.
fn close_of(body: &[u8], start: usize, line_end: usize) -> usize {
    let mut scan = Scan::default();
    for (i, &b) in body[start..].iter().enumerate() {
        scan.step(b);
        if b == b'\n' && scan.depth == 0 {
            return start + i;
        }
    }
    if scan.depth == 0 { body.len() } else { line_end }
}

#[derive(Default)]
struct Scan {
    depth: usize,
    quoted: bool,
    escaped: bool,
}

impl Scan {
    fn step(&mut self, b: u8) {
        match b {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.quoted => self.escaped = true,
            b'"' => self.quoted = !self.quoted,
            // A raw newline cannot stand in a JSON string: the string was cut.
            b'\n' => self.quoted = false,
            b'{' | b'[' if !self.quoted => self.depth += 1,
            b'}' | b']' if !self.quoted => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }
}
