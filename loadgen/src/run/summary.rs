//! The result as a page of text.

use std::fmt::Write;

use super::outcome::{Outcome, Percentiles};

/// Less than this of what was asked for is a rate that was not met.
const MET: f64 = 0.99;

pub(crate) fn text(outcome: &Outcome) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<14} {value}");
    };
    let config = &outcome.config;
    line(
        "run",
        format!("{:08x}  {} → table {}, {}", config.tag, config.target, config.table, config.packing),
    );
    line(
        "sent",
        format!(
            "{} of {} events in {:.1} s, {:.0} events/s; {:.1} MB in {} records, {} requests",
            outcome.acknowledged,
            outcome.scheduled,
            outcome.seconds,
            outcome.rate,
            outcome.payload_bytes as f64 / 1e6,
            outcome.records,
            outcome.requests
        ),
    );
    // The last answers of a short run come a moment after its end.
    let asked_seconds = outcome.scheduled as f64 / outcome.asked_rate;
    if (outcome.acknowledged as f64) < outcome.scheduled as f64 * MET
        || outcome.seconds > asked_seconds / MET + 1.0
    {
        line(
            "rate not met",
            format!("asked for {:.0} events/s, reached {:.0}", outcome.asked_rate, outcome.rate),
        );
    }
    line(
        "trouble",
        format!(
            "{} records throttled, {} tried again, {} requests failed, {} events given up",
            outcome.throttled, outcome.retried, outcome.failed_requests, outcome.given_up
        ),
    );
    for (text, count) in &outcome.failures {
        line("", format!("{count} × {text}"));
    }
    if let Some(why) = &outcome.ended_early {
        line("ended early", why.clone());
    }
    let _ = writeln!(
        out,
        "\n{:<14} {:>10} {:>10} {:>10} {:>10} {:>10} {:>12}",
        "ms", "p50", "p90", "p99", "p99.9", "max", "events"
    );
    latencies(&mut out, "put", Some(&outcome.put));
    latencies(&mut out, "→ committed", outcome.committed.as_ref());
    latencies(&mut out, "→ queryable", outcome.queryable.as_ref());
    out.push('\n');
    if let Some(skew) = &outcome.skew {
        let _ = writeln!(
            out,
            "clocks         the stream's is ahead by {:.0} to {:.0} ms ({} requests)",
            skew.least_ms, skew.most_ms, skew.samples
        );
    }
    let age = outcome.series.iter().map(|s| s.iterator_age_ms).max().unwrap_or(0);
    let lag = outcome.series.iter().map(|s| s.lag).max().unwrap_or(0);
    let _ = writeln!(out, "behind         {age} ms and {lag} events at most");
    let _ = writeln!(out, "memory         {:.1} MB at most", outcome.peak_rss_bytes as f64 / 1e6);
    if outcome.behind_at_end > 0 {
        let _ = writeln!(
            out,
            "not committed  {} acknowledged events when the wait ended: lost or only late, as `loadgen check` will tell",
            outcome.behind_at_end
        );
    }
    truth(outcome, &mut out);
    out.trim_end().to_owned()
}

fn latencies(out: &mut String, name: &str, figures: Option<&Percentiles>) {
    let Some(p) = figures.filter(|p| p.count > 0) else { return };
    let _ = writeln!(
        out,
        "{name:<14} {:>10.1} {:>10.1} {:>10.1} {:>10.1} {:>10.1} {:>12}",
        p.p50_ms, p.p90_ms, p.p99_ms, p.p999_ms, p.max_ms, p.count
    );
}

fn truth(outcome: &Outcome, out: &mut String) {
    let Some(truth) = &outcome.truth else { return };
    let verdict = if truth.holds() { "holds" } else { "DOES NOT HOLD" };
    let _ = writeln!(
        out,
        "truth          {verdict}: {} events in {} rows and {} dead letters of {} files",
        truth.events, truth.rows, truth.letters, truth.files
    );
    for (name, finding) in truth.wrong() {
        if finding.events > 0 {
            let _ = writeln!(out, "               {} {name}: events {:?}", finding.events, finding.numbers);
        }
    }
    if truth.waiting_for_close > 0 {
        let _ = writeln!(
            out,
            "               {} wait for the next revision of their partition",
            truth.waiting_for_close
        );
    }
}
