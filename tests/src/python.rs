//! Readers and producers that others wrote, from PyPI, in a virtual environment of the tests' own.
//!
//! It is made once under the target folder, keyed by the content of `tests/requirements.txt` and
//! the interpreter, behind a file lock so that parallel test programs don't make it twice.

use std::collections::hash_map::DefaultHasher;
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::{place, process};

const REQUIREMENTS: &str = include_str!("../requirements.txt");

/// The virtual environment.
#[derive(Debug, Clone)]
pub struct Python {
    bin: PathBuf,
}

impl Python {
    /// The environment, or a notice and `None` where Python or its packages cannot be had: the
    /// test that asks then skips. In CI that is a failure.
    pub fn get() -> Option<Self> {
        static MADE: OnceLock<Result<Python, String>> = OnceLock::new();
        match MADE.get_or_init(make) {
            Ok(python) => Some(python.clone()),
            Err(problem) if place::in_ci() => panic!("no Python environment: {problem}"),
            Err(problem) => {
                eprintln!("skipped: no Python environment: {problem}");
                None
            }
        }
    }

    /// A command of the environment (`aws`, `weed`, `python`).
    pub fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.env("TZ", "UTC").env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// Run a script of `tests/` (`readers/read_lake.py`) and return its output; panics with both
    /// outputs when it fails.
    pub fn run<I, S>(&self, script: &str, arguments: I) -> String
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let script = place::checkout().join("tests").join(script);
        process::run(self.tool("python").arg(script).args(arguments))
    }

    /// The AWS CLI against an endpoint on this machine, with made-up credentials.
    pub fn aws(&self, endpoint: &str) -> Command {
        let mut aws = self.tool("aws");
        aws.args(["--endpoint-url", endpoint, "--region", "us-east-1", "--output", "json"])
            .env("AWS_PAGER", "")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env_remove("AWS_PROFILE")
            .env_remove("AWS_SESSION_TOKEN");
        aws
    }
}

fn make() -> Result<Python, String> {
    let system = place::setting("WEIR_PYTHON").unwrap_or_else(|| "python3".to_owned());
    let version = attempt(Command::new(&system).args(["-c", "import sys; print(sys.prefix, sys.version)"]))?;
    let mut key = DefaultHasher::new();
    (REQUIREMENTS, version).hash(&mut key);

    let folder = place::kept("python").join(format!("{:016x}", key.finish()));
    let lock = File::create(folder.with_extension("lock")).map_err(|e| e.to_string())?;
    lock.lock().map_err(|e| e.to_string())?;
    let python = Python { bin: folder.join("bin") };
    let complete = folder.join("complete");
    if !complete.exists() {
        eprintln!("installing tests/requirements.txt to {} (once)", folder.display());
        fill(&system, &folder)?;
        File::create(complete).map_err(|e| e.to_string())?;
    }
    Ok(python)
}

fn fill(system: &str, folder: &Path) -> Result<(), String> {
    attempt(Command::new(system).args(["-m", "venv", "--clear"]).arg(folder))?;
    let requirements = place::checkout().join("tests/requirements.txt");
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary",
        ":all:",
        "-r",
    ]);
    attempt(pip.arg(requirements)).map(|_| ())
}

fn attempt(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|e| format!("could not start {command:?}: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}
