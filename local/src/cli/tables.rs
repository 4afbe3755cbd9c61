//! `weir tables apply|diff|show`.

use std::process::ExitCode;

use anyhow::{Result, bail};

use weir::catalog::{Change, apply, plan_apply};

use super::args::{Global, TablesArgs, TablesCommand};
use super::lake::Lake;

pub(super) async fn run(global: &Global, args: &TablesArgs) -> Result<ExitCode> {
    let lake = Lake::open(global)?;
    match &args.command {
        TablesCommand::Show { table: None } => {
            for name in lake.catalog.tables().await? {
                println!("{name}");
            }
        }
        TablesCommand::Show { table: Some(table) } => match lake.catalog.definition(table).await? {
            Some(definition) => println!("{}", definition.to_json()?),
            None => {
                let known = lake.catalog.tables().await?.join(", ");
                bail!("table {table} is not in the catalog of {}; tables there: {known}", lake.url);
            }
        },
        command @ (TablesCommand::Apply | TablesCommand::Diff) => {
            let mut definitions = Lake::definitions(global)?;
            definitions.push(weir::quarantine::definition()?);
            let changes = plan_apply(&definitions, &*lake.catalog, &lake.url).await?;
            for change in &changes {
                println!("{change}");
            }
            if matches!(command, TablesCommand::Apply) {
                let applied = apply(&changes, &*lake.catalog).await?;
                eprintln!("{applied} of {} tables changed in {}", changes.len(), lake.url);
            }
            if changes.iter().any(|c| matches!(c.change, Change::Refused { .. })) {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
