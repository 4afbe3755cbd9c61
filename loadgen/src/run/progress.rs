//! A line a second on the terminal, and memory by the second.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::shared::Shared;

/// A line that is there while a run goes on.
pub(super) struct Progress {
    task: JoinHandle<()>,
    to_terminal: bool,
}

/// Figures of one line.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    seconds: u64,
    rate: u64,
    acknowledged: u64,
    behind: u64,
    age_ms: u64,
    throttled: u64,
}

impl Progress {
    /// Begin; the line is shown where `talk` and standard error is a terminal.
    pub(super) fn start(shared: Arc<Shared>, talk: bool) -> Self {
        let to_terminal = talk && std::io::stderr().is_terminal();
        Self { task: tokio::spawn(show(shared, to_terminal)), to_terminal }
    }

    /// End, and take the line away: the summary comes next.
    pub(super) fn stop(self) {
        self.task.abort();
        if self.to_terminal {
            eprint!("\r\x1b[K");
        }
    }
}

async fn show(shared: Arc<Shared>, to_terminal: bool) {
    let mut last = Line::default();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let acknowledged = shared.read(|c| &c.acknowledged);
        let throttled = shared.read(|c| &c.throttled_records);
        let mut line = Line {
            seconds: shared.elapsed_us() as u64 / 1_000_000,
            rate: acknowledged - last.acknowledged,
            acknowledged,
            throttled,
            ..Line::default()
        };
        shared.second(|s| {
            s.rss_bytes = resident();
            s.throttled = throttled - last.throttled;
            (line.behind, line.age_ms) = (s.lag, s.iterator_age_ms);
        });
        if to_terminal {
            eprint!("\r\x1b[K{}", line.text());
        }
        last = line;
    }
}

impl Line {
    /// Short enough for 80 columns: a longer one would leave its rest behind.
    fn text(&self) -> String {
        let Self { seconds, rate, acknowledged, behind, age_ms, throttled } = self;
        let mut text = format!(
            "{seconds:>4} s {rate:>7}/s {acknowledged:>10} put {behind:>8} behind {age_ms:>6} ms old"
        );
        if *throttled > 0 {
            text.push_str(&format!(" {throttled:>6} throttled"));
        }
        text
    }
}

/// Resident memory of this process.
pub(super) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = status.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    pages * 4_096
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_a_terminal() {
        let line =
            Line { seconds: 7, rate: 4_998, acknowledged: 34_986, behind: 2_511, age_ms: 812, throttled: 0 };
        assert_eq!(line.text(), "   7 s    4998/s      34986 put     2511 behind    812 ms old");
        let full = Line {
            seconds: 3_599,
            rate: 200_000,
            acknowledged: 700_000_000,
            behind: 1_000_000,
            age_ms: 60_000,
            throttled: 99_999,
        };
        assert!(full.text().len() < 80 && full.text().ends_with("  99999 throttled"), "{}", full.text());
    }
}
