//! The highest rate that is sustained: doubled until it is not, then narrowed.
//!
//! ```text
//! 1000 ✓  2000 ✓  4000 ✓  8000 ✗   6000 ✓  7000 ✗  6500 ✓
//! ```
//!
//! Sustained is a rate that was met, with put → queryable within the bound at the 99th percentile and
//! a truth check that holds. Latency counts from the intended send time, so that a backlog that grows
//! shows in it.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::args::RunArgs;
use super::once::{Done, Load, once};
use super::outcome::Outcome;
use super::place::Place;

/// How long each rate goes on, if not said.
const TIME: Duration = Duration::from_secs(10);
/// The highest rate is known once the lowest that is too much is no further above it.
const NEAR: f64 = 1.1;
/// Rates tried at most: the first could be a thousandth or a thousandfold of what is sustained.
const TRIES: usize = 24;

/// One rate that was tried.
#[derive(Debug, Clone, Serialize)]
struct Step {
    asked: f64,
    reached: f64,
    put_p99_ms: f64,
    queryable_p50_ms: f64,
    queryable_p99_ms: f64,
    generator_cpu_seconds: f64,
    seconds: f64,
    sustained: bool,
    /// What was against it, if anything.
    why_not: Option<String>,
}

#[derive(Debug, Serialize)]
struct Found {
    within_ms: f64,
    steps: Vec<Step>,
    /// Events a second.
    sustained: Option<f64>,
}

/// What is known of the rate that is sought.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Sustained.
    low: Option<f64>,
    /// Not sustained.
    high: Option<f64>,
}

impl Bounds {
    /// The rate to try next, or none once it is known.
    fn next(self, first: f64) -> Option<f64> {
        match (self.low, self.high) {
            (None, None) => Some(first),
            (Some(low), None) => Some(low * 2.0),
            (None, Some(high)) => (high > 2.0).then_some(high / 2.0),
            (Some(low), Some(high)) => (high / low > NEAR).then(|| ((low + high) / 2.0).round()),
        }
    }

    fn learn(&mut self, rate: f64, sustained: bool) {
        match sustained {
            true => self.low = Some(self.low.map_or(rate, |low| low.max(rate))),
            false => self.high = Some(self.high.map_or(rate, |high| high.min(rate))),
        }
    }
}

/// Try rates and print what was found; failure if none was sustained or something was lost.
pub(super) async fn search(args: &RunArgs, place: &Place) -> Result<ExitCode> {
    if !args.target.reaches_lake() {
        bail!("--find-max follows events into the lake: --target kinesis, dynamodb or invoke");
    }
    let plain = args.rate.strip_suffix("/s").and_then(|rate| rate.replace('_', "").parse::<f64>().ok());
    let Some(first) = plain.filter(|rate| *rate >= 1.0) else {
        bail!("--find-max begins at one rate: write --rate 1000/s, found {}", args.rate);
    };
    let (mut bounds, mut steps, mut held) = (Bounds { low: None, high: None }, Vec::new(), true);
    if !args.json {
        println!("{}", heading());
    }
    while let Some(rate) = bounds.next(first).filter(|_| steps.len() < TRIES) {
        let load = Load { rate: &format!("{rate}/s"), time: Some(args.time.unwrap_or(TIME)) };
        let Done { outcome, .. } = once(args, place, load).await?;
        let step = judge(&outcome, args.within);
        if !args.json {
            println!("{}", line(&step));
        }
        bounds.learn(rate, step.sustained);
        steps.push(step);
        if !outcome.held() {
            // What was lost at one rate says nothing good of another.
            held = false;
            break;
        }
    }
    let found = Found { within_ms: args.within.as_secs_f64() * 1e3, steps, sustained: bounds.low };
    if let Some(out) = &args.out {
        let path =
            out.with_file_name(format!("{}.json", out.file_name().unwrap_or_default().to_string_lossy()));
        std::fs::write(&path, serde_json::to_string_pretty(&found)?)
            .with_context(|| format!("could not write {}", path.display()))?;
    }
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&found)?),
        false => println!("{}", verdict(&found)),
    }
    Ok(if held && found.sustained.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn judge(outcome: &Outcome, within: Duration) -> Step {
    let queryable = outcome.queryable.clone().unwrap_or_default();
    let why_not = match () {
        () if !outcome.held() => Some(match &outcome.ended_early {
            Some(why) => why.clone(),
            None => "the truth check does not hold".to_owned(),
        }),
        () if !outcome.met_its_rate() => Some("rate not met".to_owned()),
        () if outcome.behind_at_end > 0 => {
            Some(format!("{} not committed at the end", outcome.behind_at_end))
        }
        () if queryable.p99_ms > within.as_secs_f64() * 1e3 => Some("too late".to_owned()),
        () => None,
    };
    Step {
        asked: outcome.asked_rate,
        reached: outcome.rate,
        put_p99_ms: outcome.put.p99_ms,
        queryable_p50_ms: queryable.p50_ms,
        queryable_p99_ms: queryable.p99_ms,
        generator_cpu_seconds: outcome.cpu_seconds,
        seconds: outcome.seconds,
        sustained: why_not.is_none(),
        why_not,
    }
}

fn heading() -> String {
    format!(
        "{:>10} {:>10} {:>12} {:>14} {:>14}  sustained\n{:>10} {:>10} {:>12} {:>14} {:>14}",
        "asked",
        "reached",
        "put p99",
        "queryable p50",
        "queryable p99",
        "events/s",
        "events/s",
        "ms",
        "ms",
        "ms"
    )
}

fn line(step: &Step) -> String {
    format!(
        "{:>10.0} {:>10.0} {:>12.1} {:>14.1} {:>14.1}  {}",
        step.asked,
        step.reached,
        step.put_p99_ms,
        step.queryable_p50_ms,
        step.queryable_p99_ms,
        step.why_not.as_deref().map_or_else(|| "yes".to_owned(), |why| format!("no: {why}"))
    )
}

fn verdict(found: &Found) -> String {
    let mut out = String::new();
    let _ = match found.sustained {
        Some(rate) => write!(
            out,
            "\nsustained      {rate:.0} events/s with put → queryable within {:.0} ms at the 99th percentile",
            found.within_ms
        ),
        None => write!(
            out,
            "\nsustained      none of these rates; begin lower with --rate or allow more with --within"
        ),
    };
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The search against a system that sustains so many.
    fn found(first: f64, capacity: f64) -> (Option<f64>, usize) {
        let (mut bounds, mut tries) = (Bounds { low: None, high: None }, 0);
        while let Some(rate) = bounds.next(first).filter(|_| tries < TRIES) {
            bounds.learn(rate, rate <= capacity);
            tries += 1;
        }
        (bounds.low, tries)
    }

    #[test]
    fn the_highest_rate_is_found_from_below_and_from_above() {
        for (first, capacity) in [(1_000.0, 43_000.0), (50_000.0, 3_100.0), (100.0, 100.0), (7.0, 900_000.0)]
        {
            let (sustained, tries) = found(first, capacity);
            let sustained = sustained.unwrap();
            assert!(
                sustained <= capacity && capacity / sustained <= NEAR + 0.001,
                "{first} {capacity}: {sustained}"
            );
            assert!(tries <= TRIES, "{first} {capacity}: {tries}");
        }
        assert_eq!(found(64.0, 0.5).0, None, "a system that sustains nothing");
    }
}
