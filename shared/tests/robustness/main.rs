#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "tests")]
//! What reads foreign bytes, under mutated seeds: no panic, memory within a bound, time in proportion.
//! The same entry points as the fuzz targets (`shared/fuzz`), on a stable compiler, the same inputs on
//! every run. A binary of its own, for its allocator counts.

#[path = "../../fuzz/entry.rs"]
mod entry;
mod meter;
mod repeats;
mod seeds;

use meter::cost_of;
use seeds::{Random, mutated};

/// An entry point, its seeds, what it may hold: so many bytes and so many times its input.
struct Target {
    name: &'static str,
    call: fn(&[u8]),
    seeds: fn() -> Vec<Vec<u8>>,
    base_bytes: usize,
    times_input: usize,
}

/// Bombs are bounded by `entry::LIMITS`; a document costs some tens of bytes to keep track of, and a
/// dead letter its text. A set may be 16 MiB before compression.
const TARGETS: [Target; 6] = [
    Target { name: "event", call: entry::event, seeds: seeds::event, base_bytes: 4 << 20, times_input: 32 },
    Target {
        name: "unpack",
        call: entry::unpack,
        seeds: seeds::unpack,
        base_bytes: 4 << 20,
        times_input: 128,
    },
    Target { name: "kpl", call: entry::kpl, seeds: seeds::kpl, base_bytes: 4 << 20, times_input: 128 },
    Target {
        name: "decode",
        call: entry::decode,
        seeds: seeds::decode,
        base_bytes: 4 << 20,
        times_input: 256,
    },
    Target {
        name: "commit",
        call: entry::commit,
        seeds: seeds::commit,
        base_bytes: 32 << 20,
        times_input: 32,
    },
    Target {
        name: "change",
        call: entry::change,
        seeds: seeds::change,
        base_bytes: 4 << 20,
        times_input: 128,
    },
];

/// Mutations of each target in the test command; the fuzzer has all night.
const MUTATIONS: u64 = 4_000;

/// Prints what led to a panic, for the one who repeats it.
struct Shown<'a>(&'a str, &'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let end = self.1.len().min(4_096);
            eprintln!("{} on {} bytes: {}", self.0, self.1.len(), self.1[..end].escape_ascii());
        }
    }
}

fn hold(target: &Target) {
    let seeds = (target.seeds)();
    assert!(seeds.len() >= 2, "{}: {} seeds", target.name, seeds.len());
    let (mut random, mut worst) = (Random(17), (0.0, 0, 0));
    for i in 0..seeds.len() as u64 + MUTATIONS {
        let bytes = seeds.get(i as usize).cloned().unwrap_or_else(|| mutated(&seeds, &mut random));
        let what = format!("{} {i}", target.name);
        let shown = Shown(&what, &bytes);
        let cost = cost_of(|| (target.call)(&bytes));
        let bound = target.base_bytes + target.times_input * bytes.len();
        assert!(cost.peak_bytes <= bound, "{what}: holds {} bytes, more than {bound}", cost.peak_bytes);
        let share = cost.peak_bytes as f64 / bound as f64;
        if share > worst.0 {
            worst = (share, cost.peak_bytes, bytes.len());
        }
        drop(shown);
    }
    eprintln!("{}: at most {} bytes for an input of {}", target.name, worst.1, worst.2);
}

#[test]
fn mutated_events_are_read_or_refused_within_bounds() {
    hold(&TARGETS[0]);
}

#[test]
fn mutated_payloads_are_opened_or_dead_letters_within_bounds() {
    hold(&TARGETS[1]);
}

#[test]
fn mutated_aggregates_with_a_right_digest_are_opened_or_dead_letters_within_bounds() {
    hold(&TARGETS[2]);
}

#[test]
fn mutated_documents_are_the_same_by_either_path_within_bounds() {
    hold(&TARGETS[3]);
}

#[test]
fn mutated_commits_are_read_or_refused_within_bounds() {
    hold(&TARGETS[4]);
}

#[test]
fn mutated_changes_of_items_are_documents_or_dead_letters_within_bounds() {
    hold(&TARGETS[5]);
}

#[test]
#[ignore = "writes the seeds of the long run to target/fuzz-seeds (docs/TESTING.md)"]
fn the_seeds_as_files() {
    for target in &TARGETS {
        let folder = format!("{}/../target/fuzz-seeds/{}", env!("CARGO_MANIFEST_DIR"), target.name);
        std::fs::create_dir_all(&folder).unwrap();
        for (i, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(format!("{folder}/{i:04}"), seed).unwrap();
        }
    }
}
