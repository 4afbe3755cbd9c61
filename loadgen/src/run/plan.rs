//! Flags → what the events of a run are, and whether the target can carry them.

use std::sync::Arc;

use anyhow::{Result, bail};
use weir::clock::EpochMicros;
use weir::schema::TableSchema;

use super::args::RunArgs;
use crate::generate::{Carrier, Lines, Percentages, Plan, RunTag, Shares, bits_of};
use crate::target::{Target, TargetKind};

/// The events that the flags ask for.
pub(super) fn plan(args: &RunArgs, table: Arc<TableSchema>, now: EpochMicros) -> Result<Plan> {
    let percentages = Percentages {
        late: args.late,
        malformed: args.malformed,
        violating: args.violating,
        duplicate: args.duplicate,
    };
    if args.replay.is_some() && (args.late > 0.0 || args.violating > 0.0) {
        bail!("--replay sends lines as they are: --late and --violating are for generated events");
    }
    let plan = Plan {
        carrier: Carrier::choose(&table, args.id_column.as_deref())?,
        // Another run of the same seed is another run.
        tag: RunTag((bits_of(args.seed, now.0 as u64) >> 32) as u32),
        seed: args.seed,
        shares: Shares::new(percentages)?,
        pad_to: args.bytes,
        lines: None,
        of_changes: args.target == TargetKind::Dynamodb,
        keys: Vec::new(),
        table,
    };
    if plan.of_changes {
        refuse_what_no_item_can_be(args, &plan)?;
    }
    Ok(plan)
}

fn refuse_what_no_item_can_be(args: &RunArgs, plan: &Plan) -> Result<()> {
    if args.aggregate || args.gzip {
        bail!("--target dynamodb puts an event an item: --aggregate and --gzip are for streams");
    }
    if args.malformed > 0.0 {
        bail!("--malformed: an item in DynamoDB is always well formed; --violating makes dead letters");
    }
    if args.duplicate > 0.0 {
        bail!("--duplicate: an item that is put again as it is makes no second change");
    }
    if args.late > 0.0 && !plan.says_its_time() {
        bail!(
            "--late: the event time of table {} is the time of the change, which nobody sets",
            plan.table.name
        );
    }
    Ok(())
}

/// The same for an opened target: with the stamp in its key, and the lines that are replayed.
pub(super) fn suited(mut plan: Plan, args: &RunArgs, target: &Target) -> Result<Plan> {
    plan.keys = target.keys().to_vec();
    if !plan.keys.is_empty() {
        plan.carrier = of_key(&plan, args.id_column.as_deref())?;
    }
    plan.lines = args.replay.as_ref().map(|file| Lines::read(file, &plan.carrier)).transpose()?;
    Ok(plan)
}

/// A column of the key that can carry the stamp: only then is each event an item of its own.
fn of_key(plan: &Plan, wanted: Option<&str>) -> Result<Carrier> {
    let table = &plan.table;
    let mut carriers = Vec::new();
    for key in &plan.keys {
        let Some(column) = table.columns.iter().find(|c| c.from == [key.clone()]) else {
            bail!("{key} is in the key of the items, and table {} has no column of it", table.name);
        };
        if wanted.is_none_or(|wanted| wanted == column.name) {
            carriers.extend(Carrier::choose(table, Some(&column.name)));
        }
    }
    match carriers.into_iter().next() {
        Some(carrier) => Ok(carrier),
        None => bail!(
            "no column of the items' key ({}) can carry an event's number, as {} would have to: that takes a \
             string, bigint or double without constraints",
            plan.keys.join(", "),
            wanted.unwrap_or("one of them")
        ),
    }
}
