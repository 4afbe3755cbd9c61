//! A lake of its own for a function that is measured, with one table in its catalog: a folder that
//! goes when the measurement ends, or an address that the user gives. Nothing is written into a real
//! table.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use weir::catalog::{FolderCatalog, apply, plan_apply, read_definitions};
use weir::commit::LakeStore;
use weir::schema::{TableInput, TableSchema};

/// The table that is used where no folder of definitions is.
const CLICKSTREAM: &str = include_str!("../../schemas/clickstream.json");

/// A scratch lake. A folder is removed with this value.
#[derive(Debug)]
pub struct ScratchLake {
    /// The table, as its catalog has it.
    pub table: Arc<TableSchema>,
    url: String,
    _folder: Option<tempfile::TempDir>,
}

impl ScratchLake {
    /// Make one with a table of the folder of definitions.
    ///
    /// # Errors
    /// No such table there, or no room for the folder.
    pub async fn make(table: &str, schemas: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("weir-loadgen-").tempdir();
        let folder = folder.context("could not make a folder for the scratch lake")?;
        let url = format!("file://{}", folder.path().display());
        let made = Self::at(&url, &[], table, schemas).await?;
        Ok(Self { _folder: Some(folder), ..made })
    }

    /// One at an address that a function in the cloud reaches; what is written there stays.
    ///
    /// # Errors
    /// No such table in the folder, an address that cannot be written.
    pub async fn at(url: &str, store: &[(String, String)], table: &str, schemas: &Path) -> Result<Self> {
        let lake = LakeStore::open(url, store)?;
        let url = url.trim_end_matches('/').to_owned();
        let catalog = FolderCatalog::new(lake.object_store(), lake.path("")?, url.as_str());
        let definitions = [definition(table, schemas)?, weir::quarantine::definition()?];
        let applied = async { apply(&plan_apply(&definitions, &catalog, &url).await?, &catalog).await }.await;
        applied.with_context(|| format!("could not make a table in the scratch lake {url}"))?;
        let table = weir::catalog::Catalog::table(&catalog, table).await?;
        Ok(Self { table, url, _folder: None })
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The settings that a function needs to write here and nowhere else: variables that are set or
    /// removed.
    pub fn settings(&self) -> Vec<(String, Option<String>)> {
        let set = [
            ("WEIR_LAKE", Some(self.url.as_str())),
            ("WEIR_TABLE", Some(self.table.name.as_str())),
            ("WEIR_STREAM_IDENTITY", Some("loadgen")),
            ("WEIR_TABLES", None),
            ("WEIR_CATALOG", None),
            ("WEIR_CONSUMER", None),
        ];
        set.map(|(name, value)| (name.to_owned(), value.map(str::to_owned))).into()
    }

    /// The function's program with the settings that it needs to write here.
    pub fn function(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, value) in self.settings() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }
}

fn definition(table: &str, schemas: &Path) -> Result<TableInput> {
    if !schemas.is_dir() && table == "clickstream" {
        return Ok(TableInput::from_json(CLICKSTREAM)?);
    }
    if !schemas.is_dir() {
        bail!("there is no folder {}; give that of the table definitions with --schemas", schemas.display());
    }
    let all = read_definitions(schemas)?;
    let known: Vec<String> = all.iter().map(|d| d.name.clone()).collect();
    match all.into_iter().find(|d| d.name == table) {
        Some(definition) => Ok(definition),
        None => bail!("table {table} is not in {}; tables there: {}", schemas.display(), known.join(", ")),
    }
}
