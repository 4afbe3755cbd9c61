//! Clickstream records as `clickstream.py` writes them: the same fields, shares and lengths, other
//! draws.

use std::fmt::Write as _;

/// A small generator of draws (SplitMix64).
#[derive(Debug, Clone)]
pub struct Draws(u64);

impl Draws {
    /// The draws of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// In 0 to 1.
    pub fn share(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len() as u64) as usize]
    }
}

const CATEGORIES: [&str; 6] = ["shoes", "bags", "books", "phones", "garden", "toys"];
const COUNTRIES: [&str; 12] = ["DE", "FR", "IN", "BR", "JP", "GB", "CN", "NG", "AU", "CA", "ES", "IT"];
const REFERRERS: [&str; 6] = [
    "\"https://www.google.com/\"",
    "\"https://news.ycombinator.com/item?id=4242\"",
    "null",
    "null",
    "\"https://t.co/xyz\"",
    "\"https://example.org/café?q=\\\"a\\\"\"",
];

/// `count` records, each one JSON document without a line end; event times rise over two minutes
/// after 2026-11-20T08:10Z, so all are of one partition.
pub fn records(count: usize, seed: u64) -> Vec<Vec<u8>> {
    records_within(count, seed, 0..120_000)
}

/// The same with event times that rise over a window of milliseconds after 2026-11-20T08:10Z.
pub fn records_within(count: usize, seed: u64, window_ms: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    let mut draws = Draws::new(seed);
    let (count, length) = (count as u64, window_ms.end - window_ms.start);
    let at = |i: u64| window_ms.start + i * length / count.max(1);
    (0..count).map(|i| record(&mut draws, at(i)).into_bytes()).collect()
}

/// The same as NDJSON.
pub fn ndjson(count: usize, seed: u64) -> Vec<u8> {
    let mut lines = records(count, seed).join(&b'\n');
    lines.push(b'\n');
    lines
}

fn record(draws: &mut Draws, at_ms: u64) -> String {
    let kind = match draws.below(100) {
        0..70 => "page_view",
        70..90 => "click",
        90..97 => "add_to_cart",
        _ => "purchase",
    };
    let user = (draws.share().powf(-1.0 / 0.7) as u64) % 500_000;
    let mut out = String::with_capacity(700);
    let (a, b, c) = (draws.bits(), draws.bits(), at_ms + 600_000);
    let _ = write!(
        out,
        r#"{{"event_id":"{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}","event_type":"{kind}","event_time":"2026-11-20T08:{:02}:{:02}.{:03}Z","user_id":{user},"session_id":"{:016x}""#,
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        b >> 52,
        b & 0xffff_ffff_ffff,
        c / 60_000,
        c / 1000 % 60,
        c % 1000,
        user.wrapping_mul(2_654_435_761),
    );
    visit(draws, &mut out);
    if matches!(kind, "add_to_cart" | "purchase") {
        items(draws, &mut out);
    }
    if draws.share() < 0.3 {
        let (test, campaign) = (draws.of(&["A", "B", "C"]), draws.below(9));
        let _ = write!(out, r#","properties":{{"ab_test":"{test}","campaign":"spring-{campaign}"}}"#);
    }
    out.push('}');
    out
}

fn visit(draws: &mut Draws, out: &mut String) {
    let (category, page, referrer) = (draws.of(&CATEGORIES), draws.below(400), draws.of(&REFERRERS));
    let _ = write!(
        out,
        r#","page_url":"https://shop.example.com/p/{category}/{page}","referrer":{referrer},"ip":"{}.{}.{}.{}""#,
        1 + draws.below(223),
        draws.below(256),
        draws.below(256),
        draws.below(256),
    );
    let version = 100 + draws.below(40);
    let _ = write!(
        out,
        r#","user_agent":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36""#,
    );
    let (os, browser) = (
        draws.of(&["ios", "android", "windows", "macos", "linux"]),
        draws.of(&["chrome", "safari", "firefox", "edge"]),
    );
    let (width, height) =
        (draws.of(&["360", "390", "1280", "1440", "1920"]), draws.of(&["640", "844", "720", "900", "1080"]));
    let country = if draws.below(52) < 40 { "US" } else { draws.of(&COUNTRIES) };
    // The product of three shares is about as skewed as the log-normal of the Python generator.
    let latency_us = (draws.share() * draws.share() * draws.share() * 600_000.0) as u64 + 3_000;
    let bot = draws.share() < 0.02;
    let _ = write!(
        out,
        r#","device":{{"os":"{os}","browser":"{browser}","width":{width},"height":{height}}},"country":"{country}","latency_ms":{}.{:03},"is_bot":{bot}"#,
        latency_us / 1000,
        latency_us % 1000,
    );
}

fn items(draws: &mut Draws, out: &mut String) {
    out.push_str(r#","items":["#);
    for i in 0..=draws.below(3) {
        let comma = if i == 0 { "" } else { "," };
        let (sku, qty, cents) = (draws.below(20_000), 1 + draws.below(4), 100 + draws.below(49_900));
        let (whole, rest) = (cents / 100, cents % 100);
        let _ = write!(out, r#"{comma}{{"sku":"SKU-{sku:06}","qty":{qty},"price":{whole}.{rest:02}}}"#);
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_json_of_about_540_bytes_and_repeatable() {
        let made = records(10_000, 7);
        let bytes: usize = made.iter().map(Vec::len).sum();
        assert!((520..560).contains(&(bytes / made.len())), "{} bytes a record", bytes / made.len());
        assert_eq!(made, records(10_000, 7));
        assert_ne!(made[0], records(1, 8)[0]);
        for record in made {
            let parsed: serde_json::Value = serde_json::from_slice(&record).expect("valid JSON");
            assert!(parsed["event_time"].as_str().is_some_and(|t| t.starts_with("2026-11-20T08:1")));
        }
    }
}
