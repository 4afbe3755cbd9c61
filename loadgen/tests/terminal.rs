#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]
//! What `loadgen` says on a terminal, in a pipe and of what it cannot do. After a change of the help:
//! `WEIR_BLESS=1 cargo test -p weir-loadgen --test terminal` writes it anew.

use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::json;

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Without an environment: what is set there stands in the help.
fn loadgen(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(arguments).env_clear().current_dir(checkout()).stdin(Stdio::null());
    command
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// A folder that is removed.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
#[allow(clippy::disallowed_methods, reason = "whoever changes the help asks for it")]
fn the_help_is_as_it_was() {
    for (arguments, file) in [
        (&["--help"][..], "help.txt"),
        (&["run", "--help"], "help_run.txt"),
        (&["bench", "--help"], "help_bench.txt"),
    ] {
        let output = loadgen(arguments).output().unwrap();
        let (help, problem) = said(&output);
        assert!(output.status.success() && problem.is_empty(), "{problem}");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
        if std::env::var_os("WEIR_BLESS").is_some() {
            std::fs::write(&path, &help).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(help, expected, "{file}: see the head of this test");
    }
}

#[test]
fn a_rate_that_cannot_be_met_is_reported_with_what_was_reached_and_a_pipe_gets_no_progress() {
    let lake = scratch();
    let mut run = loadgen(&[
        "run",
        "--target",
        "none",
        "--rate",
        "900000000/s",
        "--for",
        "2s",
        "--workers",
        "1",
        "--lake",
    ]);
    let output = run.arg(lake.path()).output().unwrap();
    let (summary, talk) = said(&output);
    assert_eq!((output.status.code(), talk.as_str()), (Some(0), ""));
    let line = |name: &str| {
        let found = summary.lines().find(|line| line.starts_with(name));
        found.unwrap_or_else(|| panic!("no {name}: {summary}"))
    };
    assert!(
        line("rate not met").starts_with("rate not met   asked for 900000000 events/s, reached "),
        "{summary}"
    );
    let reached: f64 = line("rate not met").rsplit(' ').next().unwrap().parse().unwrap();
    assert!(reached > 1_000.0 && reached < 900_000_000.0, "{summary}");
    assert!(line("run").ends_with("  none, table clickstream, single"), "{summary}");
    assert!(line("generator").contains(" s of processor time, "), "{summary}");
    assert!(!summary.contains("truth"), "nothing is checked where nothing was put: {summary}");
}

#[test]
fn a_terminal_gets_a_line_that_is_renewed_and_taken_away() {
    let (mut master, mut slave) = (0, 0);
    let none = std::ptr::null_mut();
    // SAFETY: both descriptors are written by the call, and nothing else is asked for.
    assert_eq!(unsafe { libc::openpty(&raw mut master, &raw mut slave, none, none.cast(), none.cast()) }, 0);
    // SAFETY: they were opened just now and belong to nobody else.
    let (master, slave) = unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    let lake = scratch();
    let mut run = loadgen(&["run", "--target", "none", "--rate", "2000/s", "--for", "3s", "--lake"]);
    let child = run.arg(lake.path()).stdout(Stdio::piped()).stderr(slave).spawn().unwrap();
    // The last end of the terminal, but the child's, goes with the command.
    drop(run);
    let mut talk = Vec::new();
    // The terminal of a child that has ended gives an error, not an end.
    let _ = std::fs::File::from(master).read_to_end(&mut talk);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let talk = String::from_utf8(talk).unwrap();
    let lines: Vec<&str> = talk.split("\r\x1b[K").collect();
    assert!(lines.len() >= 4 && lines[0].is_empty() && lines[lines.len() - 1].is_empty(), "{talk:?}");
    for line in &lines[1..lines.len() - 1] {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["1" | "2" | "3", "s", rate, acknowledged, "put", "0", "behind", "0", "ms", "old"] = words[..]
        else {
            panic!("{line:?}")
        };
        let rate: u64 = rate.trim_end_matches("/s").parse().unwrap();
        assert!(rate > 500 && acknowledged.parse::<u64>().unwrap() >= rate, "{line:?}");
        assert!(line.len() < 80, "{line:?}");
    }
}

#[test]
fn what_cannot_be_generated_or_asked_for_is_named_with_the_way_out() {
    let folder = scratch();
    let table = json!({"Name": "tight", "StorageDescriptor": {"Columns": [
        {"Name": "id", "Type": "string"},
        {"Name": "code", "Type": "string", "Parameters": {"weir.pattern": "a{40}", "weir.max_length": "10"}},
    ]}});
    std::fs::write(folder.path().join("tight.json"), table.to_string()).unwrap();
    let lake = folder.path().to_str().unwrap();
    let run = ["run", "--target", "none", "--lake", lake, "--schemas", lake];
    for (arguments, texts) in [
        (
            &["--table", "tight", "--for", "1s"][..],
            &["cannot generate events for table tight: column code"][..],
        ),
        (
            &["--table", "none_such", "--for", "1s"],
            &["table none_such is neither in the catalog", "tables there: tight"],
        ),
        (&["--table", "tight", "--rate", "5/s"], &["goes on for ever", "--for 60s"]),
        (&["--table", "tight", "--find-max"], &["--find-max follows events into the lake"]),
        (&["--table", "tight", "--for", "1s", "--program", "x"], &["are for --target invoke"]),
        (
            &["--table", "tight", "--for", "1s", "--catalog", "hive://x"],
            &["could not open the catalog hive://x", "glue://DATABASE"],
        ),
        (
            &["--table", "tight", "--for", "1s", "--catalog", "glue://"],
            &["names no database", "glue://analytics"],
        ),
    ] {
        let output = loadgen(&[&run[..], arguments].concat()).output().unwrap();
        let (out, problem) = said(&output);
        assert_eq!((output.status.code(), out.as_str()), (Some(1), ""), "{arguments:?}: {problem}");
        assert!(texts.iter().all(|text| problem.contains(text)), "{arguments:?}: {problem}");
    }
}

#[test]
fn the_generators_own_cost_is_measured() {
    let output = loadgen(&["bench", "clickstream", "--events", "2000", "--json"]).output().unwrap();
    let (out, problem) = said(&output);
    let measured: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {problem}"));
    let table = &measured["tables"][0];
    assert_eq!(table["table"], "clickstream");
    assert!((450.0..600.0).contains(&table["event_bytes"].as_f64().unwrap()), "{table}");
    for figure in
        [&table["made_ns"], &table["aggregated_ns"], &table["item_ns"], &measured["latency_recorded_ns"]]
    {
        assert!(figure.as_f64().unwrap() > 0.0, "{measured}");
    }
}
