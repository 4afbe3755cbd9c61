#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]
//! Deterministic simulation of ingest: one seed, one world (docs/COMMIT_PROTOCOL.md, 'How it is
//! tested').
//!
//! ```text
//! seed ─► plan ─► world: stream ─► mappings ─► instances (the deployed pipeline) ─► store, catalog
//!                   │        every store call waits for the seed's word          │
//!                   └────────────── invariants C1 C2 C3 C5 C8 ◄── reader ◄────────┘
//! ```
mod actions;
mod caught;
mod check;
mod driver;
mod function;
mod mapping;
mod random;
mod reader;
mod shrink;
mod store;
mod stream;
mod tables;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use weir_tests::place::setting;
use world::{Broken, Plan, run};

/// Worlds of the ordinary test command.
const SEEDS: u64 = 2_000;
/// Worlds of the long run.
const LONG: u64 = 100_000;

/// Run the worlds of some seeds on all cores; a failure is shrunk and told with its command.
fn hold(seeds: std::ops::Range<u64>, broken: Broken) {
    let (next, attempts, commits) = (AtomicU64::new(seeds.start), AtomicU64::new(0), AtomicU64::new(0));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let plan = Plan::new(seed, broken);
            let run = run(&plan, false);
            if let Some(violation) = run.violation {
                panic!("{}", shrink::report(&plan, &violation));
            }
            attempts.fetch_add(run.attempts, Ordering::Relaxed);
            commits.fetch_add(run.commits as u64, Ordering::Relaxed);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
    eprintln!("worlds {seeds:?}: {attempts:?} attempts, {commits:?} commits");
}

#[test]
fn the_invariants_hold_in_every_world() {
    hold(0..SEEDS, Broken::Nothing);
}

/// `WEIR_SIMULATION_SEEDS=200000 cargo test --release -p weir-tests --test simulation -- --ignored`
#[test]
#[ignore = "the long run: a quarter of an hour"]
fn the_invariants_hold_in_a_hundred_thousand_worlds() {
    let seeds = setting("WEIR_SIMULATION_SEEDS").map_or(LONG, |text| text.parse().unwrap());
    hold(0..seeds, Broken::Nothing);
}

/// What a failure says to repeat; without a seed it does nothing.
#[test]
fn one_seed_is_repeated() {
    let Some(seed) = setting("WEIR_SIMULATION_SEED") else { return };
    let name = setting("WEIR_SIMULATION_WORLD").unwrap_or_else(|| "Nothing".into());
    let broken = ALL.into_iter().find(|broken| format!("{broken:?}") == name).unwrap();
    let plan = Plan::new(seed.parse().unwrap(), broken);
    let run = run(&plan, true);
    println!("{}", run.trace.join("\n"));
    if let Some(violation) = run.violation {
        panic!("{}", shrink::report(&plan, &violation));
    }
}

#[test]
fn a_seed_gives_the_same_trace_each_time() {
    for seed in 0..40 {
        let plan = Plan::new(seed, Broken::Nothing);
        assert_eq!(run(&plan, true).trace, run(&plan, true).trace, "seed {seed}");
    }
}

#[test]
fn the_protocol_as_written_holds_without_the_deployed_code() {
    hold(0..200, Broken::DrivenByTheRules);
}

const ALL: [Broken; 15] = [
    Broken::Nothing,
    Broken::DrivenByTheRules,
    Broken::SweepUnlisted,
    Broken::FileOverwrite,
    Broken::DeleteOwnOnError,
    Broken::OwnCommitUnknown,
    Broken::CommitsDeleted,
    Broken::HighWaterMark,
    Broken::NoRecheck,
    Broken::VersionOverwrite,
    Broken::DeadNotListed,
    Broken::RandomSuffix,
    Broken::CutInsideARecord,
    Broken::SameIdentity,
    Broken::DeafMapping,
];
