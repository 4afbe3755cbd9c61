//! The built programs, before they do any work.

use std::process::Command;

use weir_tests::{binaries, process};

#[test]
fn loadgen_says_that_it_is_not_built_yet() {
    let answer = process::output(&mut Command::new(binaries::loadgen()));
    assert_eq!(answer.status.code(), Some(2));
    assert!(answer.stdout.is_empty(), "talk belongs on stderr");
    assert!(String::from_utf8(answer.stderr).unwrap().contains("not built yet"));
}

#[test]
fn the_programs_under_test_are_built() {
    for program in [binaries::weir(), binaries::ingest()] {
        assert!(program.is_file(), "{} is not there", program.display());
    }
}
