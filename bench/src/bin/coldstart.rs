//! Process start to first poll of functions, in turn, and their first batches:
//!
//! ```text
//! coldstart [--runs 51] [--batches 3] [--records 1000] BASELINE FUNCTION…
//! ```
//!
//! Medians on stdout as a Markdown table. Functions get this process's environment, so their
//! settings (`WEIR_LAKE`, `WEIR_TABLE`, …) are given by it.

use std::process::{Command, ExitCode};
use std::time::Duration;

use weir_bench::clickstream;
use weir_bench::kinesis::{self, Position};
use weir_bench::runtime_api::{self, Start};

struct Asked {
    runs: usize,
    batches: usize,
    records: usize,
    functions: Vec<String>,
}

fn main() -> ExitCode {
    let Some(asked) = asked(std::env::args().skip(1)) else {
        eprintln!("usage: coldstart [--runs 51] [--batches 3] [--records 1000] BASELINE FUNCTION…");
        return ExitCode::from(2);
    };
    let mut starts: Vec<Vec<Start>> = vec![Vec::new(); asked.functions.len()];
    for run in 0..asked.runs {
        let events: Vec<String> = (0..asked.batches).map(|batch| event(run, batch, asked.records)).collect();
        for (function, starts) in asked.functions.iter().zip(&mut starts) {
            match runtime_api::start(&mut Command::new(function), &events) {
                Ok(start) => starts.push(start),
                Err(problem) => {
                    eprintln!("coldstart: {function}: {problem}");
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    report(&asked, &starts);
    ExitCode::SUCCESS
}

fn asked(mut arguments: impl Iterator<Item = String>) -> Option<Asked> {
    let mut asked = Asked { runs: 51, batches: 3, records: 1000, functions: Vec::new() };
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next()?.parse().ok();
        match argument.as_str() {
            "--runs" => asked.runs = number()?,
            "--batches" => asked.batches = number()?,
            "--records" => asked.records = number()?,
            flag if flag.starts_with('-') => return None,
            _ => asked.functions.push(argument),
        }
    }
    (asked.runs > 0 && !asked.functions.is_empty()).then_some(asked)
}

/// Each run continues the stream where the one before it ended: no batch is a redelivery.
fn event(run: usize, batch: usize, records: usize) -> String {
    let number = run * 1_000 + batch;
    let mut at = Position::default();
    at.first_sequence += 2 * (number * records) as u128;
    kinesis::event(&clickstream::records(records, number as u64), at)
}

fn report(asked: &Asked, starts: &[Vec<Start>]) {
    let columns: Vec<String> = (1..=asked.batches).map(|n| format!(" batch {n} ms |")).collect();
    println!("medians of {} alternating starts, {} records a batch\n", asked.runs, asked.records);
    println!("| function | first poll ms | ratio |{}", columns.concat());
    println!("|---|---|---|{}", "---|".repeat(asked.batches));
    let base = median(starts[0].iter().map(|s| s.first_poll));
    for (function, starts) in asked.functions.iter().zip(starts) {
        let name = function.rsplit('/').next().unwrap_or(function);
        let first = median(starts.iter().map(|s| s.first_poll));
        let batches: Vec<String> = (0..asked.batches)
            .map(|n| format!(" {:.2} |", median(starts.iter().map(|s| s.batches[n]))))
            .collect();
        println!("| {name} | {first:.2} | {:.2} |{}", first / base, batches.concat());
    }
}

/// In milliseconds.
fn median(times: impl Iterator<Item = Duration>) -> f64 {
    let mut all: Vec<Duration> = times.collect();
    all.sort_unstable();
    all[all.len() / 2].as_secs_f64() * 1e3
}
