//! A line a second on the terminal, and memory by the second.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use super::shared::Shared;

/// Runs until it is aborted.
pub(super) async fn show(shared: Arc<Shared>, talk: bool) {
    let (mut acknowledged, mut throttled) = (0, 0);
    let to_terminal = talk && std::io::stderr().is_terminal();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = shared.read(|c| &c.acknowledged);
        let refused = shared.read(|c| &c.throttled_records);
        let (mut lag, mut age) = (0, 0);
        shared.second(|s| {
            s.rss_bytes = resident();
            s.throttled = refused - throttled;
            (lag, age) = (s.lag, s.iterator_age_ms);
        });
        if to_terminal {
            eprint!(
                "\r\x1b[K{:>5} s  {:>9} events/s  {:>11} acknowledged  {:>9} behind  {:>6} ms old  {:>7} throttled",
                shared.elapsed_us() / 1_000_000,
                now - acknowledged,
                now,
                lag,
                age,
                refused
            );
        }
        (acknowledged, throttled) = (now, refused);
    }
}

/// Resident memory of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = status.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    pages * 4_096
}
