//! Deterministic clickstream events for the demo, with a share of each kind of wrong.

use weir::clock::EpochMicros;

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast, the same everywhere.
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A row
    Good,
    /// A row of an hour long past
    Late,
    /// A row that the stream holds twice: the producer sent it again
    SentTwice,
    /// Not JSON
    Malformed,
    /// A text where a number belongs
    WrongType,
    /// Without a required field
    MissingRequired,
    /// A price with more digits than the column holds
    TooManyDigits,
    /// From the year 2199
    AbsurdTime,
}

impl Kind {
    /// Whether it must become a dead letter.
    pub fn is_bad(self) -> bool {
        !matches!(self, Kind::Good | Kind::Late | Kind::SentTwice)
    }
}

/// Generates events of the time before `now`.
#[derive(Debug)]
pub struct Generator {
    random: Random,
    now: EpochMicros,
    hours: u64,
    number: u64,
}

const HOUR_MS: u64 = 3_600_000;

const TYPES: [&str; 10] = [
    "page_view",
    "page_view",
    "page_view",
    "page_view",
    "page_view",
    "page_view",
    "click",
    "click",
    "add_to_cart",
    "purchase",
];
const PAGES: [&str; 6] = ["/", "/cart", "/checkout", "/search", "/p/shoes", "/p/books"];
const COUNTRIES: [&str; 10] = ["US", "US", "US", "DE", "FR", "IN", "BR", "JP", "GB", "NG"];
const SYSTEMS: [&str; 5] = ["ios", "android", "windows", "macos", "linux"];
const BROWSERS: [&str; 4] = ["chrome", "safari", "firefox", "edge"];

impl Generator {
    /// Events that are not late lie within `hours` before `now`, late ones one to six hours before that.
    /// The same arguments give the same events.
    pub fn new(seed: u64, now: EpochMicros, hours: u64) -> Self {
        Self { random: Random(seed), now, hours, number: 0 }
    }

    /// Replace `out` by the next event.
    pub fn next_event(&mut self, out: &mut String) -> Kind {
        use std::fmt::Write;
        self.number += 1;
        let kind = match self.random.below(1_000) {
            0..20 => Kind::Late,
            20..25 => Kind::SentTwice,
            25..29 => Kind::Malformed,
            29..33 => Kind::WrongType,
            33..36 => Kind::MissingRequired,
            36..38 => Kind::TooManyDigits,
            38..40 => Kind::AbsurdTime,
            _ => Kind::Good,
        };
        let r = &mut self.random;
        let ago = match kind {
            Kind::Late => HOUR_MS * (self.hours + 1) + r.below(5 * HOUR_MS),
            _ => r.below(self.hours * HOUR_MS),
        };
        let time = match kind {
            Kind::AbsurdTime => "2199-01-01T00:00:00Z".to_owned(),
            _ => rfc3339(self.now.millis() - ago as i64),
        };
        let user = (500_000.0 * (r.below(1 << 20) as f64 / (1 << 20) as f64).powi(6)) as u64;
        out.clear();
        let _ = write!(out, "{{\"event_id\":\"{:016x}-{:012}\"", r.next(), self.number);
        if kind != Kind::MissingRequired {
            let _ = write!(
                out,
                ",\"event_type\":\"{}\"",
                if kind == Kind::TooManyDigits { "purchase" } else { r.pick(&TYPES) }
            );
        }
        let _ = write!(out, ",\"event_time\":\"{time}\"");
        match kind {
            Kind::WrongType => out.push_str(",\"user_id\":\"unknown\""),
            _ => {
                let _ = write!(out, ",\"user_id\":{user}");
            }
        }
        let _ = write!(
            out,
            ",\"session_id\":\"{:016x}\",\"page_url\":\"https://shop.example.com{}/{}\",\"ip\":\"{}.{}.{}.{}\",\"device\":{{\"os\":\"{}\",\"browser\":\"{}\",\"width\":{},\"height\":{}}},\"country\":\"{}\",\"latency_ms\":{}.{:03},\"is_bot\":{}",
            user.wrapping_mul(2_654_435_761),
            r.pick(&PAGES),
            r.below(400),
            1 + r.below(223),
            r.below(256),
            r.below(256),
            r.below(256),
            r.pick(&SYSTEMS),
            r.pick(&BROWSERS),
            360 + 10 * r.below(150),
            640 + 20 * r.below(30),
            r.pick(&COUNTRIES),
            r.below(400),
            r.below(1_000),
            r.below(50) == 0,
        );
        if kind == Kind::TooManyDigits || r.below(10) == 0 {
            let cents = if kind == Kind::TooManyDigits { "999" } else { "99" };
            let _ = write!(
                out,
                ",\"items\":[{{\"sku\":\"SKU-{:06}\",\"qty\":{},\"price\":{}.{cents}}}]",
                r.below(20_000),
                1 + r.below(4),
                r.below(500)
            );
        }
        if r.below(10) < 3 {
            let _ = write!(
                out,
                ",\"properties\":{{\"ab_test\":\"{}\",\"campaign\":\"spring-{}\"}}",
                r.pick(&["A", "B", "C"]),
                r.below(9)
            );
        }
        if kind != Kind::Malformed {
            out.push('}');
        }
        kind
    }
}

fn rfc3339(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis).map(|t| format!("{t:.3}")).unwrap_or_default()
}
