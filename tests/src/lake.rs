//! A scratch lake in a folder, and `weir` run against it as a user would.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::{binaries, place, process};

/// A lake that is removed when dropped.
#[derive(Debug)]
pub struct Lake {
    folder: tempfile::TempDir,
    /// For a lake that is not in the folder: its address and what its store needs.
    elsewhere: Option<(String, Vec<(&'static str, String)>)>,
}

impl Lake {
    /// An empty lake, without tables.
    pub fn empty() -> Self {
        Self { folder: tempfile::Builder::new().prefix("weir-lake-").tempdir().unwrap(), elsewhere: None }
    }

    /// An empty lake at another address, with what its store needs in the environment; the folder is
    /// scratch.
    pub fn at(url: &str, environment: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let elsewhere = Some((url.to_owned(), environment.into_iter().collect()));
        Self { elsewhere, ..Self::empty() }
    }

    /// A lake with the tables of `schemas/` applied.
    pub fn with_tables() -> Self {
        let lake = Self::empty();
        lake.apply_tables();
        lake
    }

    /// Apply the tables of `schemas/`.
    pub fn apply_tables(&self) {
        process::run(&mut self.weir(["tables", "apply"]));
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Its address, as `WEIR_LAKE` takes it.
    pub fn url(&self) -> String {
        match &self.elsewhere {
            Some((url, _)) => url.clone(),
            None => format!("file://{}", self.path().display()),
        }
    }

    /// `weir ARGUMENTS` on this lake.
    pub fn weir<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut weir = Command::new(binaries::weir());
        weir.args(arguments)
            .current_dir(place::checkout())
            .env("WEIR_LAKE", self.url())
            .env_remove("WEIR_CATALOG")
            .env("NO_COLOR", "1");
        for (name, value) in self.elsewhere.iter().flat_map(|(_, environment)| environment) {
            weir.env(name, value);
        }
        weir
    }

    /// What its store needs in the environment.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        self.elsewhere.iter().flat_map(|(_, environment)| environment.clone()).collect()
    }

    /// The rows of `weir query SQL`.
    pub fn query(&self, sql: &str) -> Vec<Value> {
        let rows = process::run(&mut self.weir(["query", sql, "--json"]));
        rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect()
    }

    /// The one number that `weir query SQL` answers.
    pub fn number(&self, sql: &str) -> i64 {
        let rows = self.query(sql);
        let [Value::Object(row)] = rows.as_slice() else { panic!("{sql}: not one row: {rows:?}") };
        row.values().next().and_then(Value::as_i64).unwrap_or_else(|| panic!("{sql}: no number: {row:?}"))
    }

    /// The files of a table, by `weir files`: one a line; addresses unless they are on this machine.
    pub fn files(&self, table: &str) -> Vec<PathBuf> {
        let list = process::run(&mut self.weir(["files", "--table", table]));
        list.lines().map(|line| local(line.trim())).collect()
    }

    /// As if closers that were killed had been so for 25 minutes: after 20 another run takes over.
    pub fn let_closers_die(&self) {
        age(&self.path().join("_weir/close"), Duration::from_secs(25 * 60));
    }

    /// Every Parquet file that lies under the table's folder, committed or not.
    pub fn lying_files(&self, table: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(&self.path().join(table), &mut found);
        found.sort();
        found
    }
}

fn age(folder: &Path, by: Duration) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            age(&path, by);
        } else if let Ok(file) = File::options().write(true).open(&path) {
            let written = file.metadata().unwrap().modified().unwrap();
            file.set_modified(written - by).unwrap();
        }
    }
}

fn local(address: &str) -> PathBuf {
    PathBuf::from(address.strip_prefix("file://").unwrap_or(address))
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|e| e == "parquet") {
            found.push(path);
        }
    }
}
