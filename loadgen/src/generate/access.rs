//! Access-log lines.

use super::fate::Kind;
use super::random::{Draws, bits_of};
use super::text::{TimeWriter, digits, format_of};
use super::zipf::Zipf;
use super::{Event, Plan};

/// Fields of an access-log line.
pub(super) const FIELDS: [&str; 11] = [
    "client_ip",
    "ident",
    "auth",
    "timestamp",
    "verb",
    "request",
    "httpversion",
    "response",
    "bytes",
    "referrer",
    "agent",
];

const VERBS: [&str; 10] = ["GET", "GET", "GET", "GET", "GET", "GET", "GET", "POST", "POST", "HEAD"];
const ANSWERS: [u16; 12] = [200, 200, 200, 200, 200, 200, 200, 200, 304, 302, 404, 500];
const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0",
    "curl/8.14.1",
    "Mozilla/5.0 (compatible; ExampleBot/2.1; +http://example.com/bot)",
];

/// Requests to a web server: clients and pages of Zipf popularity. The stamp stands in the query of
/// the path, as a trace id would.
#[derive(Debug)]
pub(super) struct AccessLog {
    draws: Draws,
    time: TimeWriter,
    clients: Zipf,
    pages: Zipf,
    pad_to: usize,
}

impl AccessLog {
    pub(super) fn new(plan: &Plan, lane: u64) -> Self {
        let draws = Draws::new(bits_of(plan.seed, u64::MAX - lane));
        let time = TimeWriter::new(&format_of(&plan.table, "timestamp"));
        Self {
            draws,
            time,
            clients: Zipf::new(50_000, 0.9),
            pages: Zipf::new(5_000, 1.1),
            pad_to: plan.pad_to,
        }
    }

    pub(super) fn write(&mut self, plan: &Plan, event: &Event, out: &mut Vec<u8>) {
        let start = out.len();
        let draws = &mut self.draws;
        let violation = (event.fate.kind == Kind::Violating).then_some(event.fate.bits >> 44 & 1);
        let client = u64::from(self.clients.draw(draws)).wrapping_mul(0x9e37_79b9);
        out.extend_from_slice(b"{\"client_ip\":\"");
        for (i, part) in
            [client % 223 + 1, client >> 8 & 255, client >> 16 & 255, client >> 24 & 255].iter().enumerate()
        {
            if i > 0 {
                out.push(b'.');
            }
            digits(*part, out);
        }
        out.extend_from_slice(b"\",\"ident\":\"-\",\"auth\":\"-\",\"timestamp\":");
        self.time.write(event.time, out);
        out.extend_from_slice(b",\"verb\":\"");
        out.extend_from_slice(draws.of(&VERBS).as_bytes());
        out.extend_from_slice(b"\",\"request\":\"/articles/");
        digits(u64::from(self.pages.draw(draws)), out);
        out.extend_from_slice(b"?trace=");
        plan.tag.write(event.number, event.intended, out);
        out.extend_from_slice(b"\",\"httpversion\":\"1.1\",\"response\":");
        match violation {
            Some(0) => out.extend_from_slice(b"\"ok\""),
            Some(_) => out.extend_from_slice(b"999"),
            None => digits(u64::from(ANSWERS[draws.below(ANSWERS.len() as u32) as usize]), out),
        }
        out.extend_from_slice(b",\"bytes\":");
        digits((u64::from(draws.below(1 << 16)) * u64::from(draws.below(1 << 8))) >> 6, out);
        out.extend_from_slice(b",\"referrer\":\"-\",\"agent\":\"");
        out.extend_from_slice(draws.of(&AGENTS).as_bytes());
        let missing = self.pad_to.saturating_sub(out.len() - start + 2);
        out.resize(out.len() + missing, b'x');
        out.extend_from_slice(if event.fate.kind == Kind::Malformed { b"\"" } else { b"\"}" });
    }
}
