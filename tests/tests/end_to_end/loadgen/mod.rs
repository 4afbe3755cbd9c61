//! `loadgen run` as its users meet it.

mod places;
mod targets;
mod trouble;
mod truth;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use weir_tests::lake::Lake;
use weir_tests::process::{self, Running};
use weir_tests::python::Python;
use weir_tests::{binaries, place};

const WITHIN: Duration = Duration::from_secs(30);

fn start(lake: &Lake, port: u16) -> Running {
    start_with(lake, port, &["--no-limits"], &[])
}

fn start_with(lake: &Lake, port: u16, arguments: &[&str], environment: &[(&str, String)]) -> Running {
    let (state, port) = (lake.path().join("state").to_string_lossy().into_owned(), port.to_string());
    let mut up = lake.weir(["up", "--table", "clickstream", "--port", &port, "--window", "1s"]);
    up.args(["--state", &state]).args(arguments).envs(environment.iter().cloned());
    let mut up = Running::start(&mut up, &lake.path().join("up.log"));
    up.wait_for_text("Ctrl-C stops", WITHIN);
    up
}

fn loadgen(lake: &Path, arguments: &[&str]) -> Command {
    let mut loadgen = Command::new(binaries::loadgen());
    loadgen.args(arguments).arg("--lake").arg(lake).current_dir(place::checkout());
    for name in ["WEIR_CATALOG", "WEIR_STREAM", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL"] {
        loadgen.env_remove(name);
    }
    loadgen
}

/// What a run or a check said, and whether it held.
fn answer(mut command: Command) -> (Value, i32) {
    let output = process::output(&mut command);
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    let said = serde_json::from_slice(&output.stdout);
    (said.unwrap_or_else(|e| panic!("{command:?}: {e}: {talk}")), output.status.code().unwrap())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { std::fs::copy(&path, &target).map(|_| ()).unwrap() }
    }
}

fn parquet_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(parquet_files(&path)),
            false if path.extension().is_some_and(|e| e == "parquet") => found.push(path),
            false => {}
        }
    }
    found.sort();
    found
}

/// A proxy that refuses a part of what is put, and its address.
fn refusing(python: &Python, endpoint: &str, lake: &Lake, each: usize) -> (Running, String) {
    let script = weir_tests::place::checkout().join("tests/producers/refusing_proxy.py");
    let log = lake.path().join("proxy.log");
    let mut proxy =
        Running::start(python.tool("python").arg(script).args([endpoint, &each.to_string()]), &log);
    let said = proxy.wait_for_text("port ", WITHIN);
    let port = said.trim().rsplit(' ').next().unwrap().to_owned();
    (proxy, format!("http://127.0.0.1:{port}"))
}
