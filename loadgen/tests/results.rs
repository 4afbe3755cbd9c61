#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]
//! What the commands print of fixed inputs, letter for letter (`tests/golden`), and what they say of
//! wrong flags and files. A changed output is written beside the golden file, to be looked at and
//! moved over it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use weir_loadgen::report::model::AnyResult;
use weir_loadgen::report::{read, text};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// In the folder of the inputs, so that no path of this machine is printed.
fn loadgen(arguments: &[&str]) -> Output {
    let mut loadgen = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    loadgen.args(arguments).current_dir(folder("inputs")).output().unwrap()
}

fn check(name: &str, found: &str) {
    let golden = folder("golden").join(name);
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    if found.trim_end() != expected.trim_end() {
        let beside = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&beside, found.trim_end().to_owned() + "\n").unwrap();
        panic!("{} differs; compare it with {}:\n{found}", golden.display(), beside.display());
    }
}

fn printed(output: &Output) -> String {
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn results_are_printed_aligned_and_rounded_with_one_unit_a_table() {
    for (input, golden) in
        [("cold.json", "cold.txt"), ("cold-lambda.json", "cold-lambda.txt"), ("sweep.json", "sweep.txt")]
    {
        check(
            golden,
            &match read(&folder("inputs").join(input)).unwrap() {
                AnyResult::Cold(cold) => text::cold(&cold),
                AnyResult::Sweep(sweep) => text::sweep(&sweep),
                AnyResult::Run(_) => panic!("{input}"),
            },
        );
    }
}

#[test]
fn costs_are_printed_of_measured_batches_and_of_a_computed_one() {
    check("cost.txt", &printed(&loadgen(&["cost", "--sweep", "sweep.json", "--sweep", "sweep-100kb.json"])));
    check("cost-computed.txt", &printed(&loadgen(&["cost", "--sweep", "sweep.json", "--kms"])));
}

#[test]
fn comparisons_say_what_got_worse_by_more_than_noise() {
    let output = loadgen(&["compare", "cold.json", "cold-after.json"]);
    assert_eq!(output.status.code(), Some(1));
    check("compare-cold.txt", &printed(&output));
    let output = loadgen(&["compare", "sweep.json", "sweep.json"]);
    assert_eq!(output.status.code(), Some(0));
    check("compare-sweep.txt", &printed(&output));
}

#[test]
fn wrong_flags_and_files_name_the_way_out() {
    for (arguments, code, part) in [
        (&["compare", "cold.json", "sweep.json"][..], 2, "only results of the same command compare"),
        (&["compare", "cold.json", "nowhere.json"], 2, "could not read nowhere.json"),
        (&["compare", "cold.json", "../golden/cold.txt"], 2, "write one with --out"),
        (&["report", "../golden/cold.txt"], 1, "write one with --out"),
        (&["report", "cold.json", "--html", "/nowhere/page.html"], 1, "could not write /nowhere/page.html"),
        (&["cost"], 2, "--sweep <SWEEP>"),
        (&["cost", "--batch-ms", "80"], 2, "--batch-bytes"),
        (&["cost", "--sweep", "cold.json"], 1, "write one with `loadgen sweep"),
        (&["cost", "--sweep", "sweep.json", "--prices", "cold.json"], 1, "--print-prices"),
        (&["cost", "--sweep", "sweep.json", "--close-every", "often"], 2, "--close-every"),
        (&["cold"], 2, "<PROGRAMS>..."),
        (&["cold", "nowhere"], 1, "cargo build --profile lambda"),
        (&["sweep", "nowhere"], 1, "cargo build --profile lambda"),
        (&["sweep", "nowhere", "--memory", "64"], 2, "128..=10240"),
        (&["sweep", "nowhere", "--records", "10000"], 1, "fewer --records"),
        (&["sweep", "--function", "f"], 2, "--scratch-lake"),
        (&["sweep", "nowhere", "--table", "none"], 1, "there is no folder schemas"),
        (&["cold", "--function", "f", "--baseline", "b"], 2, "cannot be used with"),
    ] {
        let output = loadgen(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(part), "{arguments:?} lacks {part:?}: {said}");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    }
}
