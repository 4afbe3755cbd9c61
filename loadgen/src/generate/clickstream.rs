//! Clickstream events of sessions: visitors come, look at pages of Zipf popularity, click, fill a
//! cart, buy or leave. What stays the same in a session is rendered once, so that an event is a few
//! copies into the caller's buffer.

use std::sync::Arc;

use weir::schema::{HiveType, TableSchema, TimeFormat};

use super::fate::Kind;
use super::random::Draws;
use super::text::{TimeWriter, digits, fixed, padded};
use super::zipf::Zipf;
use super::{Event, Plan};

/// Fields it writes; a table that needs others is not its own.
pub(super) const FIELDS: [&str; 15] = [
    "event_id",
    "event_type",
    "event_time",
    "user_id",
    "session_id",
    "page_url",
    "referrer",
    "ip",
    "user_agent",
    "device",
    "country",
    "latency_ms",
    "is_bot",
    "items",
    "properties",
];

/// Sessions open at once in one generator.
const SESSIONS: u32 = 2_048;
const USERS: u32 = 500_000;
const PAGES_A_CATEGORY: u32 = 400;
const CATEGORIES: [&str; 6] = ["shoes", "bags", "books", "phones", "garden", "toys"];
const COUNTRIES: [&str; 16] =
    ["US", "US", "US", "US", "US", "DE", "FR", "IN", "BR", "JP", "GB", "CN", "NG", "AU", "CA", "ES"];
const SYSTEMS: [&str; 5] = ["ios", "android", "windows", "macos", "linux"];
const BROWSERS: [&str; 4] = ["chrome", "safari", "firefox", "edge"];
const WINDOWS: [(u32, u32); 5] = [(360, 640), (390, 844), (1280, 720), (1440, 900), (1920, 1080)];
const REFERRERS: [&str; 6] = [
    "\"https://www.google.com/\"",
    "\"https://news.example.com/item?id=4242\"",
    "null",
    "null",
    "\"https://t.example/xyz\"",
    "\"https://example.org/caf\u{e9}?q=\\\"a\\\"\"",
];

/// How a visit goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Looking,
    Cart,
}

#[derive(Debug, Clone)]
struct Session {
    stage: Stage,
    user: u64,
    /// `,"session_id":…`
    id: Vec<u8>,
    /// `,"ip":…` to `"country":…`
    visitor: Vec<u8>,
    bot: bool,
}

/// What all generators of a run share.
#[derive(Debug)]
pub(super) struct Shop {
    pages: Zipf,
    users: Zipf,
    urls: Vec<Box<[u8]>>,
}

impl Shop {
    pub(super) fn new() -> Arc<Self> {
        let urls = CATEGORIES.iter().flat_map(|category| {
            (0..PAGES_A_CATEGORY).map(move |page| {
                format!(",\"page_url\":\"https://shop.example.com/p/{category}/{page}\"").into_bytes().into()
            })
        });
        let urls: Vec<Box<[u8]>> = urls.collect();
        Arc::new(Self { pages: Zipf::new(urls.len() as u32, 1.07), users: Zipf::new(USERS, 0.9), urls })
    }
}

/// How an event can break the table's rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Violation {
    TextForUser,
    NoType,
    UnknownType,
    PriceOfTooManyDigits,
}

/// Makes events of its own sessions.
#[derive(Debug)]
pub(super) struct Clickstream {
    shop: Arc<Shop>,
    draws: Draws,
    sessions: Vec<Session>,
    time: TimeWriter,
    violations: Vec<Violation>,
    pad_to: usize,
}

impl Clickstream {
    pub(super) fn new(plan: &Plan, shop: &Arc<Shop>, lane: u64) -> Self {
        let mut draws = Draws::new(super::random::bits_of(plan.seed, u64::MAX - lane));
        let sessions = (0..SESSIONS).map(|_| begin(shop, &mut draws)).collect();
        let violations = violations(&plan.table);
        let time = TimeWriter::new(&TimeFormat::Rfc3339);
        Self { shop: Arc::clone(shop), draws, sessions, time, violations, pad_to: plan.pad_to }
    }

    /// Whether its events can break a rule of the table.
    pub(super) fn can_violate(&self) -> bool {
        !self.violations.is_empty()
    }

    #[inline]
    pub(super) fn write(&mut self, plan: &Plan, event: &Event, out: &mut Vec<u8>) {
        let start = out.len();
        let draws = &mut self.draws;
        let at = draws.below(SESSIONS) as usize;
        let session = &mut self.sessions[at];
        let violation = match event.fate.kind {
            Kind::Violating => {
                self.violations.get((event.fate.bits >> 44) as usize % self.violations.len()).copied()
            }
            _ => None,
        };
        let (kind, leaves) = step(session, draws.below(1_000));
        out.extend_from_slice(b"{\"event_id\":\"");
        plan.tag.write(event.number, event.intended, out);
        out.push(b'"');
        match violation {
            Some(Violation::NoType) => {}
            Some(Violation::UnknownType) => out.extend_from_slice(b",\"event_type\":\"teleport\""),
            _ => {
                out.extend_from_slice(b",\"event_type\":\"");
                out.extend_from_slice(kind.as_bytes());
                out.push(b'"');
            }
        }
        out.extend_from_slice(b",\"event_time\":");
        self.time.write(event.time, out);
        out.extend_from_slice(b",\"user_id\":");
        match violation {
            Some(Violation::TextForUser) => out.extend_from_slice(b"\"unknown\""),
            _ => digits(session.user, out),
        }
        out.extend_from_slice(&session.id);
        let page = self.shop.pages.draw(draws) as usize;
        out.extend_from_slice(&self.shop.urls[page]);
        out.extend_from_slice(&session.visitor);
        out.extend_from_slice(b",\"latency_ms\":");
        let bits = draws.bits();
        // The product of three draws is about as skewed as the times of real pages.
        let skewed = ((bits & 0xffff) * (bits >> 16 & 0xffff)) >> 16;
        fixed(((skewed * (bits >> 32 & 0xffff)) >> 16) * 9 + 3_000, 3, out);
        out.extend_from_slice(if session.bot { b",\"is_bot\":true" } else { b",\"is_bot\":false" });
        let too_many = violation == Some(Violation::PriceOfTooManyDigits);
        if too_many || kind == "add_to_cart" || kind == "purchase" {
            items(draws, too_many, out);
        }
        self.properties(bits >> 48, start, out);
        if event.fate.kind != Kind::Malformed {
            out.push(b'}');
        }
        if leaves {
            self.sessions[at] = begin(&self.shop, &mut self.draws);
        }
    }

    fn properties(&mut self, bits: u64, start: usize, out: &mut Vec<u8>) {
        let missing = self.pad_to.saturating_sub(out.len() - start);
        if missing > 0 {
            out.extend_from_slice(b",\"properties\":{\"pad\":\"");
            let frame = b",\"properties\":{\"pad\":\"\"}}".len();
            out.resize(out.len() + missing.saturating_sub(frame), b'x');
            out.extend_from_slice(b"\"}");
        } else if bits % 10 < 3 {
            out.extend_from_slice(b",\"properties\":{\"ab_test\":\"");
            out.push(b'A' + (bits >> 8) as u8 % 3);
            out.extend_from_slice(b"\",\"campaign\":\"spring-");
            out.push(b'0' + (bits >> 4) as u8 % 9);
            out.extend_from_slice(b"\"}");
        }
    }
}

fn violations(table: &TableSchema) -> Vec<Violation> {
    let column = |name: &str| table.columns.iter().find(|c| c.name == name);
    let mut found = Vec::new();
    if column("user_id").is_some_and(|c| c.ty.is_integer()) {
        found.push(Violation::TextForUser);
    }
    if column("event_type").is_some_and(|c| c.required && c.default.is_none()) {
        found.push(Violation::NoType);
    }
    if column("event_type").is_some_and(|c| c.allowed.is_some()) {
        found.push(Violation::UnknownType);
    }
    if column("items").is_some_and(|c| c.ty.any(&|ty| matches!(ty, HiveType::Decimal { scale: ..=3, .. }))) {
        found.push(Violation::PriceOfTooManyDigits);
    }
    found
}

/// The next event of a session, and whether it is the last.
#[inline]
fn step(session: &mut Session, draw: u32) -> (&'static str, bool) {
    match (session.stage, draw) {
        (Stage::Looking, ..690) => ("page_view", false),
        (Stage::Looking, 690..750) => ("page_view", true),
        (Stage::Looking, 750..930) => ("click", false),
        (Stage::Looking, _) => {
            session.stage = Stage::Cart;
            ("add_to_cart", false)
        }
        (Stage::Cart, ..250) => ("page_view", false),
        (Stage::Cart, 250..400) => ("click", false),
        (Stage::Cart, 400..500) => ("add_to_cart", false),
        (Stage::Cart, 500..700) => ("page_view", true),
        (Stage::Cart, _) => {
            session.stage = Stage::Looking;
            ("purchase", true)
        }
    }
}

fn begin(shop: &Shop, draws: &mut Draws) -> Session {
    let user = u64::from(shop.users.draw(draws));
    let id = format!(",\"session_id\":\"{:016x}\"", draws.bits()).into_bytes();
    let (width, height) = WINDOWS[draws.below(WINDOWS.len() as u32) as usize];
    let (a, b) = (draws.bits(), draws.bits());
    let visitor = format!(
        ",\"referrer\":{},\"ip\":\"{}.{}.{}.{}\",\"user_agent\":\"Mozilla/5.0 (Windows NT 10.0; Win64; x64) \
         AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36\",\"device\":{{\"os\":\"{}\",\
         \"browser\":\"{}\",\"width\":{width},\"height\":{height}}},\"country\":\"{}\"",
        draws.of(&REFERRERS),
        1 + (a & 0xff) % 223,
        a >> 8 & 0xff,
        a >> 16 & 0xff,
        a >> 24 & 0xff,
        100 + b % 40,
        draws.of(&SYSTEMS),
        draws.of(&BROWSERS),
        draws.of(&COUNTRIES),
    );
    Session { stage: Stage::Looking, user, id, visitor: visitor.into_bytes(), bot: draws.below(50) == 0 }
}

fn items(draws: &mut Draws, too_many_digits: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"items\":[");
    for i in 0..=draws.below(3) {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"sku\":\"SKU-");
        padded(u64::from(draws.below(20_000)), 6, out);
        out.extend_from_slice(b"\",\"qty\":");
        out.push(b'1' + draws.below(4) as u8);
        out.extend_from_slice(b",\"price\":");
        fixed(u64::from(100 + draws.below(49_900)), 2, out);
        if too_many_digits {
            out.extend_from_slice(b"99");
        }
        out.push(b'}');
    }
    out.push(b']');
}
