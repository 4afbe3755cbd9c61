//! `weir tables apply|diff|show`.

use std::process::ExitCode;

use anyhow::{Result, bail};

use weir::catalog::{Change, Feed, TableChange, apply, plan_apply};
use weir::schema::{CloseAction, TableSchema};

use super::args::{ApplyArgs, Global, TablesArgs, TablesCommand};
use super::lake::Lake;

pub(super) async fn run(global: &Global, args: &TablesArgs) -> Result<ExitCode> {
    let lake = match &args.command {
        TablesCommand::Apply(_) => Lake::open(global)?,
        TablesCommand::Show { .. } | TablesCommand::Diff(_) => Lake::find(global)?,
    };
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
                bail!(
                    "table {table} is not in the catalog {}; tables there: {known}",
                    lake.catalog.address()
                );
            }
        },
        TablesCommand::Diff(args) => return Ok(printed(&planned(global, &lake, args).await?)),
        TablesCommand::Apply(args) => {
            let changes = planned(global, &lake, args).await?;
            let code = printed(&changes);
            let applied = apply(&changes, &*lake.catalog).await?;
            eprintln!("{applied} of {} tables changed in {}", changes.len(), lake.catalog.address());
            return Ok(code);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What the definitions change, less what must not be.
async fn planned(global: &Global, lake: &Lake, args: &ApplyArgs) -> Result<Vec<TableChange>> {
    let mut definitions = Lake::definitions(global)?;
    definitions.push(weir::quarantine::definition()?);
    let mut changes = plan_apply(&definitions, &*lake.catalog, &lake.url).await?;
    let feed = Feed { shards: args.shards, factor: args.parallelization_factor, window: args.batch_window };
    for change in &mut changes {
        if !args.force {
            feed.refuse_too_many(change);
        }
        refuse_crawlers(lake, change).await?;
    }
    Ok(changes)
}

/// A crawler that `weir.on_close` names must stay out of the lake.
async fn refuse_crawlers(lake: &Lake, change: &mut TableChange) -> Result<()> {
    let Some(glue) = &lake.glue else { return Ok(()) };
    if matches!(change.change, Change::Refused { .. }) {
        return Ok(());
    }
    for action in TableSchema::from_input(&change.definition)?.on_close {
        let CloseAction::Crawler(name) = &action else { continue };
        if let Some(reason) = glue.crawler_overlap(name, &lake.url).await? {
            let way_out = format!("change the crawler, or take `{action}` out of `weir.on_close`");
            change.change = Change::Refused { reason, way_out };
            return Ok(());
        }
    }
    Ok(())
}

fn printed(changes: &[TableChange]) -> ExitCode {
    for change in changes {
        println!("{change}");
    }
    let refused = changes.iter().any(|c| matches!(c.change, Change::Refused { .. }));
    if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
