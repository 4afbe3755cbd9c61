#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]
//! Deterministic simulation of close: one seed, one world (docs/COMMIT_PROTOCOL.md, 'How it is
//! tested'). Attempts commit late and on time, closers run side by side, die at every call, sleep and
//! wake up, calls land late, answers are lost, the catalog has no conditions and a foreign writer.
mod broken;
mod driver;
mod judge;
mod parts;
mod random;
mod store;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use broken::{Broken, Violation};
use weir_tests::place::setting;
use world::{Stats, World};

/// Worlds of the ordinary test command.
const SEEDS: u64 = 120;
/// Worlds of the long run.
const LONG: u64 = 30_000;

fn run(seed: u64, broken: Broken) -> (Result<(), Violation>, Stats) {
    let mut world = World::new(seed, broken);
    let ended = world.run();
    (ended, world.stats)
}

fn hold(seeds: u64, broken: Broken) {
    let next = AtomicU64::new(0);
    let (failed, closed) = (Mutex::new(Vec::new()), AtomicU64::new(0));
    let (reads, closers) = (AtomicU64::new(0), AtomicU64::new(0));
    side_by_side(|| {
        while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds) {
            let (ended, stats) = run(seed, broken);
            closed.fetch_add(stats.revisions, Ordering::Relaxed);
            reads.fetch_add(stats.reads, Ordering::Relaxed);
            closers.fetch_add(stats.closers, Ordering::Relaxed);
            if let Err(violation) = ended {
                failed.lock().unwrap().push((seed, violation));
            }
        }
    });
    let failed = failed.into_inner().unwrap();
    let told: Vec<_> =
        failed.iter().take(5).map(|(seed, v)| format!("seed {seed}: {}: {}", v.invariant, v.what)).collect();
    eprintln!(
        "{broken:?}: {seeds} worlds, {closers:?} closers, {reads:?} reads, {closed:?} revisions, {} violations",
        failed.len()
    );
    assert!(failed.is_empty(), "{broken:?}: {} of {seeds} worlds: {told:#?}", failed.len());
}

#[test]
fn closed_partitions_are_exact_in_every_world() {
    hold(SEEDS, Broken::Nothing);
}

#[test]
fn the_rules_as_written_hold_without_the_deployed_code() {
    hold(30, Broken::DrivenByTheRules);
}

/// `cargo test --release -p weir-tests --test closing -- --ignored`
#[test]
#[ignore = "the long run"]
fn closed_partitions_are_exact_in_thirty_thousand_worlds() {
    let seeds = setting("WEIR_SIMULATION_SEEDS").map_or(LONG, |text| text.parse().unwrap());
    hold(seeds, Broken::Nothing);
}

/// The rule that is left out, and as what that must show.
const RULES: [(Broken, &[&str]); 8] = [
    (Broken::PlanPinsNothing, &["C4", "C7"]),
    (Broken::NoOwner, &["C4", "C6"]),
    (Broken::NoMarker, &["C6"]),
    (Broken::ResultNamesOneself, &["C4", "C7"]),
    (Broken::SharedDirectory, &["C4", "C7"]),
    (Broken::CollectByPrefix, &["C4", "C7"]),
    (Broken::NoGrace, &["C4"]),
    (Broken::BaseIsLive, &["C4", "C7"]),
];

/// Worlds within which that must be. Most show in the first ten. The rarest is `CollectByPrefix`, in 63 of
/// 1,200 worlds and first in world 95; which world is first changes with every call that is added.
const SEEN_WITHIN: u64 = 400;

#[test]
fn each_rule_of_close_that_is_left_out_is_missed() {
    let (next, unseen) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    side_by_side(|| {
        while let Some(&(broken, invariants)) = RULES.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            let caught = (0..SEEN_WITHIN).find_map(|seed| {
                let violation = run(seed, broken).0.err()?;
                invariants.contains(&violation.invariant).then_some((seed, violation))
            });
            match caught {
                Some((seed, violation)) => {
                    eprintln!("{broken:?}: seed {seed}: {}: {}", violation.invariant, violation.what)
                }
                None => unseen.lock().unwrap().push(broken),
            }
        }
    });
    assert!(unseen.lock().unwrap().is_empty(), "{unseen:?} go unseen");
}

fn side_by_side(work: impl Fn() + Sync) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(&work))));
}
