//! `weir quarantine ls|show|replay`: records that could not become rows, and their second chance.

mod failures;
mod letters;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use weir::clock::{Clock, EpochMicros, SystemClock};
use weir::naming::QUARANTINE_TABLE;
use weir::partition::{NULL_PARTITION, PartitionPath};
use weir::replay::{Mode, Replay, ReplayReport, Selection};
use weir::schema::TableSchema;

use crate::ingest::Progress;

use super::args::{Global, QuarantineArgs, QuarantineCommand, WhichLetters};
use super::lake::Lake;
use super::output::{count, table};

pub(super) async fn run(global: &Global, args: &QuarantineArgs) -> Result<ExitCode> {
    let lake = Lake::find(global)?;
    let now = SystemClock.now();
    match &args.command {
        QuarantineCommand::Ls { from_failures: true, failures, which } => {
            failures::ls(global, &lake, which, failures).await
        }
        QuarantineCommand::Ls { which, .. } => {
            letters::ls(global, &lake, &selection(&lake, which, now).await?, now).await
        }
        QuarantineCommand::Show { which, limit, bytes } => {
            let selection = selection(&lake, which, now).await?;
            letters::show(global, &lake, &selection, (*limit, *bytes)).await
        }
        QuarantineCommand::Replay { from_failures: true, which, dry_run, failures } => {
            failures::replay(global, &lake, which, failures, mode(*dry_run)).await
        }
        QuarantineCommand::Replay { which, dry_run, .. } => {
            let selection = selection(&lake, which, now).await?;
            replay(global, &lake, selection, mode(*dry_run), now).await
        }
    }
}

fn mode(dry_run: bool) -> Mode {
    if dry_run { Mode::DryRun } else { Mode::Commit }
}

/// What the flags select. A table that neither the catalog nor the quarantine knows is a slip.
async fn selection(lake: &Lake, which: &WhichLetters, now: EpochMicros) -> Result<Selection> {
    let known = lake.catalog.tables().await?;
    for table in &which.tables {
        if !known.contains(table) {
            bail!("--table {table}: not in the catalog of {}; tables there: {}", lake.url, known.join(", "));
        }
    }
    let since = which.since.as_deref().map(|text| point_in_time(text, now)).transpose()?;
    let of = |list: &[String]| list.iter().cloned().collect::<BTreeSet<_>>();
    Ok(Selection { tables: of(&which.tables), reasons: of(&which.reason), since })
}

/// A time, the begin of a day, or an age.
fn point_in_time(text: &str, now: EpochMicros) -> Result<EpochMicros> {
    if let Ok(age) = weir::schema::parse_duration(text) {
        return Ok(EpochMicros(now.0.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX))));
    }
    let day = format!("{text}T00:00:00Z");
    let time = text.parse::<jiff::Timestamp>().or_else(|_| day.parse());
    let time = time.map_err(|_| {
        anyhow::anyhow!(
            "--since {text}: give a time as 2026-11-20T05:00:00Z, a day as 2026-11-20, or an age as 2h"
        )
    })?;
    Ok(EpochMicros(time.as_microsecond()))
}

async fn replay(
    global: &Global,
    lake: &Lake,
    selection: Selection,
    mode: Mode,
    now: EpochMicros,
) -> Result<ExitCode> {
    if mode == Mode::Commit {
        lake.ensure_tables(global, &[]).await?;
    }
    let run_id = format!("replay-{:x}-{:x}", std::process::id(), now.0);
    let tables = tables(lake).await?;
    let replay = Replay::new(lake.store.clone(), tables, selection, mode, (&run_id, now));
    let bar = spinner();
    let report = replay
        .run(&mut |so_far| {
            bar.set_message(format!(
                "{} letters judged, {} rows",
                count(so_far.counts.letters),
                count(so_far.counts.resolved())
            ));
            bar.tick();
        })
        .await;
    bar.finish_and_clear();
    let report = report.context("could not replay all letters; what is done is done, run it again")?;
    register(lake, &report.partitions).await;
    print(global, &report, mode, closed(lake, &report.filled).await);
    Ok(ExitCode::SUCCESS)
}

fn spinner() -> indicatif::ProgressBar {
    indicatif::ProgressBar::new_spinner()
}

/// Every table that can take rows. One whose definition cannot be read takes none.
async fn tables(lake: &Lake) -> Result<Vec<Arc<TableSchema>>> {
    let mut tables = Vec::new();
    for name in lake.catalog.tables().await? {
        if name == QUARANTINE_TABLE {
            continue;
        }
        match lake.catalog.table(&name).await {
            Ok(table) if table.check_loadable().is_err() => {}
            Ok(table) => tables.push(table),
            Err(error) if error.retryable() => return Err(error.into()),
            Err(error) => eprintln!("letters of table {name} stay as they are: {error}"),
        }
    }
    Ok(tables)
}

/// Show the catalog where rows came. The rows are committed all the same, so this never fails a
/// replay; the next run does it again.
async fn register(lake: &Lake, partitions: &BTreeSet<(String, PartitionPath)>) {
    let progress = Progress { partitions: partitions.clone().into(), ..Progress::default() };
    if let Err(error) = progress.register(&*lake.catalog).await {
        eprintln!("could not register partitions with the catalog: {error}; the next replay does it again");
    }
}

/// How many of the partitions that rows came to are closed: readers see those rows with the next
/// revision. A table whose catalog does not answer counts as none: registering said so before.
async fn closed(lake: &Lake, partitions: &BTreeSet<(String, PartitionPath)>) -> usize {
    let mut asked: BTreeMap<&str, Vec<Vec<String>>> = BTreeMap::new();
    for (table, partition) in partitions {
        let values = partition.values().into_iter();
        let values = values.map(|(_, value)| value.unwrap_or_else(|| NULL_PARTITION.to_owned()));
        asked.entry(table).or_default().push(values.collect());
    }
    let mut closed = 0;
    for (table, asked) in asked {
        let entries = lake.catalog.partitions_of(table, &asked).await.unwrap_or_default();
        closed += entries.iter().filter(|entry| entry.revision() > 0).count();
    }
    closed
}

fn print(global: &Global, report: &ReplayReport, mode: Mode, closed: usize) {
    let counts = &report.counts;
    if global.json {
        let failed: Vec<_> = counts
            .failed
            .iter()
            .map(|((table, reason), n)| serde_json::json!({"table": table, "reason": reason, "letters": n}))
            .collect();
        let line = serde_json::json!({
            "dry_run": mode == Mode::DryRun, "letters": counts.letters, "resolved": counts.resolved(),
            "rows": counts.rows, "failed": failed, "new_reasons": counts.new_reasons,
            "not_judged": counts.stuck, "resolved_by_others": report.taken,
            "letter_files": report.files, "commits": report.commits, "closed_partitions": closed,
        });
        println!("{line}");
        return;
    }
    if counts.letters + report.taken == 0 {
        println!("no letters to replay");
        return;
    }
    let mut lines: Vec<_> = counts
        .rows
        .iter()
        .map(|(table, n)| {
            vec![
                table.clone(),
                count(*n),
                if mode == Mode::DryRun { "would become rows" } else { "became rows" }.into(),
            ]
        })
        .collect();
    lines.extend(
        counts
            .failed
            .iter()
            .map(|((table, reason), n)| vec![table.clone(), count(*n), format!("stay: {reason}")]),
    );
    println!("{}", table(&["table", "letters", "what became of them"], &lines));
    for (why, n) in &counts.stuck {
        println!("{} of them could not be judged: {why}", count(*n));
    }
    if counts.new_reasons > 0 {
        println!("{} stay for another reason than before", count(counts.new_reasons));
    }
    if report.taken > 0 {
        println!("{} were resolved by another replay meanwhile", count(report.taken));
    }
    if closed > 0 {
        println!(
            "partitions among theirs that are closed: {}; their rows show with the next revision (`weir close`, or \
             its next run)",
            count(closed as u64)
        );
    }
    match mode {
        Mode::DryRun => println!("nothing was changed; run it without --dry-run"),
        Mode::Commit if counts.resolved() + counts.new_reasons == 0 => println!("nothing to do"),
        Mode::Commit => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_takes_times_days_and_ages() {
        let now = EpochMicros(1_763_600_000_000_000);
        for (text, expected) in [
            ("2h", Some(now.0 - 7_200_000_000)),
            ("1970-01-02", Some(86_400_000_000)),
            ("1970-01-01T00:00:01Z", Some(1_000_000)),
            ("1970-01-01T01:00:01+01:00", Some(1_000_000)),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(point_in_time(text, now).ok().map(|t| t.0), expected, "{text}");
        }
    }
}
