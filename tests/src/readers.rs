//! The five independent readers of a lake, and the count of what went in against what came out.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::python::Python;

/// The readers, by the name that `readers/read_lake.py` takes.
pub const ENGINES: [&str; 5] = ["pyarrow", "duckdb", "polars", "datafusion", "chdb"];

/// What a reader says about files: counts, nulls, sums, bounds and hashes (see `read_lake.py`).
pub fn read(python: &Python, engine: &str, files: &[PathBuf]) -> Value {
    let list = written_list(files);
    let report = python.run("readers/read_lake.py", [engine.as_ref(), list.path().as_os_str()]);
    serde_json::from_str(&report).unwrap()
}

/// Read `files` with every engine, panic unless all agree, and return what they agree on.
pub fn read_alike(python: &Python, files: &[PathBuf]) -> Value {
    let list = written_list(files);
    let engines = ENGINES.join(",");
    let report = python.run("readers/read_lake.py", [engines.as_ref(), list.path().as_os_str()]);
    serde_json::from_str(&report).unwrap()
}

/// Count the lines of NDJSON inputs (plain, gz) against the rows of a table's files and of the
/// quarantine's; panics unless they add up. `columns` are summed on both sides, as
/// `column` or `column=name.in.the.record`.
pub fn recount(
    python: &Python,
    inputs: &[PathBuf],
    rows: &[PathBuf],
    quarantine: &[PathBuf],
    columns: &[&str],
) -> Value {
    let (rows, quarantine) = (written_list(rows), written_list(quarantine));
    let mut arguments: Vec<String> = vec!["--rows".to_owned(), shown(rows.path())];
    arguments.extend(["--quarantine".to_owned(), shown(quarantine.path())]);
    for column in columns {
        arguments.extend(["--sum".to_owned(), (*column).to_owned()]);
    }
    arguments.extend(inputs.iter().map(|input| shown(input)));
    serde_json::from_str(&python.run("readers/recount.py", arguments)).unwrap()
}

fn written_list(files: &[PathBuf]) -> tempfile::NamedTempFile {
    let names: Vec<String> = files.iter().map(|file| shown(file)).collect();
    let list = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
    std::fs::write(list.path(), serde_json::to_vec(&names).unwrap()).unwrap();
    list
}

fn shown(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
