//! The programs as users run them, built once in the profile and target folder of the test run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::place;

/// `weir`, the command line.
pub fn weir() -> PathBuf {
    built("weir")
}

/// `ingest`, the function that is deployed.
pub fn ingest() -> PathBuf {
    built("ingest")
}

/// `close`, the function that closes partitions.
pub fn close() -> PathBuf {
    built("close")
}

/// `aggregate`, the function that runs jobs.
pub fn aggregate() -> PathBuf {
    built("aggregate")
}

/// `loadgen`.
pub fn loadgen() -> PathBuf {
    built("loadgen")
}

fn built(name: &str) -> PathBuf {
    static BUILT: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    BUILT.get_or_init(build).get(name).unwrap_or_else(|| panic!("cargo built no binary {name}")).clone()
}

/// One call of cargo for all of them. `--workspace` and a test target make cargo choose the same
/// features as `cargo test --workspace` does, so that nothing is compiled a second time. Parallel
/// test runs wait for each other on cargo's own lock.
fn build() -> BTreeMap<String, PathBuf> {
    let (target, profile) = place::target();
    let profile = if profile == "debug" { "dev".to_owned() } else { profile };
    let mut cargo = Command::new(place::setting("CARGO").unwrap_or_else(|| "cargo".to_owned()));
    cargo
        .current_dir(place::checkout())
        .args(["build", "--locked", "--workspace", "--message-format=json-render-diagnostics"])
        .args([
            "--bin",
            "weir",
            "--bin",
            "ingest",
            "--bin",
            "close",
            "--bin",
            "aggregate",
            "--bin",
            "loadgen",
            "--test",
            "end_to_end",
        ])
        .args(["--profile", &profile, "--target-dir"])
        .arg(target)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    // What cargo tells this test about its package would look like a change to build scripts.
    for name in own_variables() {
        cargo.env_remove(name);
    }
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "could not build the programs under test: {}", output.status);
    executables(&String::from_utf8(output.stdout).unwrap())
}

#[allow(clippy::disallowed_methods, reason = "names only, to remove them from a child's environment")]
fn own_variables() -> Vec<std::ffi::OsString> {
    let ours = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_", "OUT_DIR"];
    let is_ours = |name: &std::ffi::OsString| ours.iter().any(|o| name.to_string_lossy().starts_with(o));
    std::env::vars_os().map(|(name, _)| name).filter(is_ours).collect()
}

/// Name → path of the binaries that cargo's messages list.
fn executables(messages: &str) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for line in messages.lines() {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let is_binary = message["target"]["kind"][0] == "bin";
        if let (true, Some(name), Some(path)) =
            (is_binary, message["target"]["name"].as_str(), message["executable"].as_str())
        {
            found.insert(name.to_owned(), PathBuf::from(path));
        }
    }
    found
}
