//! A lake of its own for a function that is started here: a folder that goes when the measurement
//! ends, with one table in its catalog. Nothing is written into a real table.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use weir::catalog::{FolderCatalog, apply, plan_apply, read_definitions};
use weir::commit::LakeStore;
use weir::schema::{TableInput, TableSchema};

/// The table that is used where no folder of definitions is.
const CLICKSTREAM: &str = include_str!("../../schemas/clickstream.json");

/// A lake that is removed with this value.
#[derive(Debug)]
pub struct ScratchLake {
    /// The table, as its catalog has it.
    pub table: Arc<TableSchema>,
    url: String,
    _folder: tempfile::TempDir,
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
        let lake = LakeStore::open(&url, &[])?;
        let catalog = FolderCatalog::new(lake.object_store(), lake.path("")?, url.as_str());
        let definitions = [definition(table, schemas)?, weir::quarantine::definition()?];
        apply(&plan_apply(&definitions, &catalog, &url).await?, &catalog).await?;
        let table = weir::catalog::Catalog::table(&catalog, table).await?;
        Ok(Self { table, url, _folder: folder })
    }

    /// The function's program with the settings that it needs to write here.
    pub fn function(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("WEIR_LAKE", &self.url)
            .env("WEIR_TABLE", &self.table.name)
            .env("WEIR_STREAM_IDENTITY", "loadgen")
            .env_remove("WEIR_TABLES")
            .env_remove("WEIR_CATALOG")
            .env_remove("WEIR_CONSUMER");
        command
    }
}

fn definition(table: &str, schemas: &Path) -> Result<TableInput> {
    if !schemas.is_dir() && table == "clickstream" {
        return Ok(TableInput::from_json(CLICKSTREAM)?);
    }
    let all = read_definitions(schemas)?;
    let known: Vec<String> = all.iter().map(|d| d.name.clone()).collect();
    match all.into_iter().find(|d| d.name == table) {
        Some(definition) => Ok(definition),
        None => bail!("table {table} is not in {}; tables there: {}", schemas.display(), known.join(", ")),
    }
}
