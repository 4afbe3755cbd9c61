//! The result as a page of text.

use std::fmt::Write;

use super::outcome::{Outcome, Percentiles};

pub(crate) fn text(outcome: &Outcome) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<14} {value}");
    };
    let config = &outcome.config;
    line("run", format!("{:08x}  {}, table {}, {}", config.tag, config.target, config.table, config.packing));
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
    if !outcome.met_its_rate() {
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
    let _ = writeln!(
        out,
        "generator      {:.1} s of processor time, {:.1} MB at most",
        outcome.cpu_seconds,
        outcome.peak_rss_bytes as f64 / 1e6
    );
    if outcome.committed.is_none() {
        return out.trim_end().to_owned();
    }
    let age = outcome.series.iter().map(|s| s.iterator_age_ms).max().unwrap_or(0);
    let lag = outcome.series.iter().map(|s| s.lag).max().unwrap_or(0);
    let _ = writeln!(out, "behind         {age} ms and {lag} events at most");
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outcome() -> Outcome {
        let latency = |ms: f64| {
            json!({"count": 29_700, "mean_ms": ms, "p50_ms": ms, "p90_ms": ms * 2.0, "p99_ms": ms * 3.0, "p999_ms": ms * 4.0,
                "max_ms": ms * 5.0, "encoded": ""})
        };
        let second = json!({"second": 0, "sent": 1, "acknowledged": 1, "committed": 1, "errors": 0, "throttled": 0, "lag": 812,
            "iterator_age_ms": 640, "rss_bytes": 1});
        serde_json::from_value(json!({
            "config": {"tag": 12_648_430, "started_us": 1, "table": "clickstream", "target": "kinesis clicks", "rate": "5000/s",
                "seed": 7, "percentages": [0.0, 0.0, 0.0, 0.0], "id_column": "event_id", "packing": "single", "replay": null, "lanes": 2},
            "seconds": 6.04, "cpu_seconds": 1.23, "scheduled": 30_000, "generated": 30_000, "acknowledged": 30_000, "given_up": 0,
            "rate": 4_967.0, "asked_rate": 5_000.0, "records": 30_000, "requests": 120, "payload_bytes": 16_200_000,
            "event_bytes": 16_200_000, "throttled": 0, "retried": 0, "failed_requests": 0, "failures": {}, "ended_early": null,
            "put": latency(4.2), "committed": latency(600.0), "queryable": latency(620.0),
            "skew": {"samples": 99, "least_ms": -3.4, "most_ms": 0.6}, "series": [second], "peak_rss_bytes": 41_500_000,
            "truth": {"files": 60, "rows": 29_700, "letters": 300, "events": 30_000, "lost": {"events": 0, "numbers": []},
                "duplicated": {"events": 0, "numbers": []}, "misfiled": {"events": 0, "numbers": []},
                "wrongly_quarantined": {"events": 0, "numbers": []}, "wrongly_accepted": {"events": 0, "numbers": []},
                "unsent": {"events": 0, "numbers": []}, "waiting_for_close": 0},
            "ledger": []}))
        .unwrap()
    }

    #[test]
    fn a_run_that_holds_is_told_in_a_few_lines() {
        let expected = "\
run            00c0ffee  kinesis clicks, table clickstream, single
sent           30000 of 30000 events in 6.0 s, 4967 events/s; 16.2 MB in 30000 records, 120 requests
trouble        0 records throttled, 0 tried again, 0 requests failed, 0 events given up

ms                    p50        p90        p99      p99.9        max       events
put                   4.2        8.4       12.6       16.8       21.0        29700
→ committed         600.0     1200.0     1800.0     2400.0     3000.0        29700
→ queryable         620.0     1240.0     1860.0     2480.0     3100.0        29700

clocks         the stream's is ahead by -3 to 1 ms (99 requests)
generator      1.2 s of processor time, 41.5 MB at most
behind         640 ms and 812 events at most
truth          holds: 30000 events in 29700 rows and 300 dead letters of 60 files";
        assert_eq!(text(&outcome()), expected);
    }

    #[test]
    fn what_went_wrong_stands_where_it_is_looked_for() {
        let mut wrong = outcome();
        (wrong.acknowledged, wrong.rate, wrong.throttled, wrong.retried) = (12_000, 1_986.0, 700, 700);
        wrong.failures.insert("connection refused".to_owned(), 3);
        wrong.ended_early = Some("the target is gone: connection refused".to_owned());
        wrong.behind_at_end = 17;
        let truth = wrong.truth.as_mut().unwrap();
        truth.lost = crate::truth::Finding { events: 17, numbers: vec![5, 9] };
        truth.waiting_for_close = 2;
        let said = text(&wrong);
        for line in [
            "rate not met   asked for 5000 events/s, reached 1986",
            "trouble        700 records throttled, 700 tried again, 0 requests failed, 0 events given up",
            "               3 × connection refused",
            "ended early    the target is gone: connection refused",
            "not committed  17 acknowledged events when the wait ended: lost or only late, as `loadgen check` will tell",
            "truth          DOES NOT HOLD: 30000 events in 29700 rows and 300 dead letters of 60 files",
            "               17 lost: events [5, 9]",
            "               2 wait for the next revision of their partition",
        ] {
            assert!(said.lines().any(|found| found == line), "{line}\n{said}");
        }
        let unfollowed = Outcome { committed: None, queryable: None, truth: None, ..outcome() };
        let said = text(&unfollowed);
        assert!(said.ends_with("41.5 MB at most") && !said.contains("behind"), "{said}");
    }
}
