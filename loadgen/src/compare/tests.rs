//! Differences that are there are found, and noise is not.

use super::*;
use crate::report::model::{ColdFunction, ColdPlace, ColdStart};
use crate::run::Latencies;

/// Starts around `ms`, scattered by a fifth.
fn cold(ms: f64) -> Cold {
    let start = |i: u32| ColdStart {
        process_ms: Some(0.5),
        init_ms: ms * (0.9 + 0.2 * f64::from(i * 7 % 20) / 20.0),
        batches_ms: vec![ms * 3.0 + f64::from(i % 5), ms * 2.0 + f64::from(i % 3)],
        billed_ms: None,
        billed_start_ms: None,
        restore_ms: None,
        resident_bytes: vec![10 << 20, 20 << 20],
    };
    let functions =
        vec![ColdFunction { name: "target/lambda/ingest".into(), starts: (0..40).map(start).collect() }];
    Cold { place: ColdPlace::Here, records: 10, baseline: false, functions }
}

fn verdicts(differences: &[Difference]) -> Vec<Verdict> {
    differences.iter().map(|d| d.verdict).collect()
}

#[test]
fn a_tenth_more_is_worse_a_tenth_less_is_better_and_the_same_is_noise() {
    use Verdict::{Better, Same, Worse};
    for (before, after, expected) in
        [(10.0, 12.0, Worse), (12.0, 10.0, Better), (10.0, 10.0, Same), (10.0, 10.05, Same)]
    {
        let found = verdicts(&colds(&cold(before), &cold(after)));
        assert_eq!(found[0], expected, "{before} {after}");
        // Memory is the same.
        assert_eq!(found[3], Same);
    }
    let mut few = cold(10.0);
    few.functions[0].starts.truncate(5);
    assert_eq!(verdicts(&colds(&few, &cold(20.0)))[0], Verdict::Unknown);
    let mut other = cold(10.0);
    other.functions[0].name = "else".into();
    assert!(colds(&other, &cold(10.0)).is_empty());
}

#[test]
fn quantiles_of_few_events_are_not_judged() {
    let figures = |count: u64, scale: f64| {
        let mut latencies = Latencies::new();
        for i in 0..count {
            latencies.record((scale * (1_000.0 + (i * 7_919 % 10_000) as f64)) as i64);
        }
        latencies.summary()
    };
    for (q, count, scale, expected) in [
        (0.5, 50_000, 1.2, Verdict::Worse),
        (0.5, 50_000, 0.8, Verdict::Better),
        (0.5, 50_000, 1.001, Verdict::Same),
        (0.99, 50_000, 1.2, Verdict::Worse),
        (0.999, 50_000, 3.0, Verdict::Unknown),
        (0.5, 50, 3.0, Verdict::Unknown),
    ] {
        let found = latency("put", q, &figures(count, 1.0), &figures(count, scale)).unwrap();
        assert_eq!(found.verdict, expected, "{q} {count} {scale}: {found:?}");
    }
    assert_eq!(latency("put", 0.5, &figures(0, 1.0), &figures(9, 1.0)), None);
}
