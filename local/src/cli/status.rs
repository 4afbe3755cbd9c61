//! `weir status`: tables, shards and quarantine as the lake's commits have them; open partitions with
//! what they wait for, and revisions; lag, function
//! errors and given-up batches as the local runtime last wrote them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};

use weir::clock::{Clock, EpochMicros, SystemClock};
use weir::close::{CurrentView, Report, RevisionStatus, VisibleFile, revisions, visible_files};
use weir::commit::reader::{ShardStatus, shard_status};

use weir::limits;

use crate::closing::{Closing, LocalServices, LocalStream};
use crate::runtime::poller::Status;
use crate::runtime::read_status;

use super::args::{Global, StatusArgs};
use super::lake::Lake;
use super::output::{count, size, span, table};

/// What is live of a table.
#[derive(Default)]
struct TableLine<'a> {
    partitions: BTreeSet<&'a str>,
    files: u64,
    rows: u64,
    bytes: u64,
}

pub(super) async fn run(global: &Global, args: &StatusArgs) -> Result<ExitCode> {
    let lake = Lake::find(global)?;
    let shards = shard_status(&lake.store).await?;
    let files = visible_files(&lake.store, &*lake.catalog, None).await?;
    let tables = by_table(&files);
    let runtime = read_status(&args.state)?;
    let now = SystemClock.now();
    let open = open_partitions(&lake, args).await?;
    let closed = revisions(&lake.store, None, if global.json { u32::MAX } else { 1 }).await?;
    if global.json {
        let runtime = runtime.as_ref().map(|status| runtime_json(status, now));
        let report = json!({"lake": lake.url, "shards": shards.iter().map(shard_json).collect::<Vec<_>>(),
            "tables": tables.iter().map(table_json).collect::<Vec<_>>(), "runtime": runtime,
            "closing": open, "revisions": closed});
        println!("{report}");
        return Ok(ExitCode::SUCCESS);
    }
    println!("lake {}\n", lake.url);
    if shards.is_empty() {
        println!("no commits yet; put records with `weir up` or load a file with `weir ingest`");
    } else {
        println!("{}\n\n{}", tables_text(&tables), shards_text(&shards));
    }
    if !closed.is_empty() || !open.open.is_empty() {
        println!("\n{}", partitions_text(&open, &closed));
    }
    if !open.views.is_empty() {
        println!("\n{}", views_text(&open.views));
    }
    if let Some(status) = &runtime {
        println!("\n{}", runtime_text(status, now));
    }
    Ok(ExitCode::SUCCESS)
}

/// What a run of close would find, without changing anything.
async fn open_partitions(lake: &Lake, args: &StatusArgs) -> Result<Report> {
    let streams: Vec<_> = LocalStream::running(&args.state)?.into_iter().collect();
    let parts = (lake.store.clone(), lake.catalog.clone());
    let services = LocalServices::new(&args.state, |_| {});
    let closing = Closing::new(parts, &streams, &[], services, (args.state.clone(), limits::CLOSE_GRACE))?;
    closing.look().await
}

fn by_table(files: &[VisibleFile]) -> BTreeMap<&str, TableLine<'_>> {
    let mut tables: BTreeMap<&str, TableLine<'_>> = BTreeMap::new();
    for listed in files {
        let line = tables.entry(&listed.table).or_default();
        line.partitions.insert(listed.partition.as_str());
        line.files += 1;
        line.rows += listed.rows;
        line.bytes += listed.bytes;
    }
    tables
}

fn table_json((name, t): (&&str, &TableLine<'_>)) -> Value {
    json!({"table": name, "partitions": t.partitions.len(), "files": t.files, "rows": t.rows, "bytes": t.bytes})
}

fn shard_json(s: &ShardStatus) -> Value {
    json!({"stream": s.chain.stream, "shard": s.chain.shard, "version": s.head, "rows": s.rows,
        "quarantined": s.quarantined, "files": s.files, "bytes": s.bytes,
        "from": s.min.map(|n| n.to_string()), "to": s.max.map(|n| n.to_string()),
        "arrived_through_us": s.arrived_through.0})
}

/// The runtime's own file, with whether it runs now.
fn runtime_json(status: &Status, now: EpochMicros) -> Value {
    let mut document = json!(status);
    document["running"] = json!(status.is_running(now));
    document
}

fn tables_text(tables: &BTreeMap<&str, TableLine<'_>>) -> String {
    let row = |(name, t): (&&str, &TableLine<'_>)| {
        let partitions = count(t.partitions.len() as u64);
        vec![(*name).to_owned(), partitions, count(t.files), count(t.rows), size(t.bytes)]
    };
    table(&["table", "partitions", "files", "rows", "size"], &tables.iter().map(row).collect::<Vec<_>>())
}

fn shards_text(shards: &[ShardStatus]) -> String {
    let row = |s: &ShardStatus| {
        let (stream, shard) = (s.chain.stream.clone(), s.chain.shard.clone());
        vec![stream, shard, count(s.head), count(s.rows), count(s.quarantined)]
    };
    let rows: Vec<_> = shards.iter().map(row).collect();
    table(&["stream", "shard", "commits", "rows", "quarantined"], &rows)
}

/// Partitions that a person may want to look at.
const SHOWN: usize = 20;

fn partitions_text(report: &Report, closed: &[RevisionStatus]) -> String {
    let mut parts = Vec::new();
    if !report.open.is_empty() {
        let row = |open: &weir::close::OpenPartition| {
            let (rows, files) = (count(open.rows), count(open.files));
            vec![open.table.clone(), open.partition.to_string(), files, rows, super::close::reason(open)]
        };
        let rows: Vec<_> = report.open.iter().rev().take(SHOWN).map(row).collect();
        parts.push(table(&["open", "partition", "files", "rows", "waits for"], &rows));
        if report.open.len() > SHOWN {
            parts.push(format!("and {} older ones", report.open.len() - SHOWN));
        }
    }
    if !closed.is_empty() {
        let row = |r: &RevisionStatus| {
            let actions = r.actions.iter().map(|a| match (&a.run, &a.reason) {
                // Where it runs, and why there.
                (Some(run), _) if a.action.starts_with("aggregate:") => {
                    format!("{} started: {run}", a.action)
                }
                (Some(_), _) => format!("{} started", a.action),
                (None, reason) => format!("{}: {}", a.action, reason.as_deref().unwrap_or("not started")),
            });
            let state = if r.done_at_us.is_some() { "done" } else { "under way" };
            let rows = r.rows.map_or_else(|| "-".to_owned(), count);
            let actions = actions.collect::<Vec<_>>().join(", ");
            let (table, partition) = (r.table.clone(), r.partition.to_string());
            vec![
                table,
                partition,
                r.revision.to_string(),
                r.why.to_string(),
                rows,
                count(r.removed),
                state.into(),
                actions,
            ]
        };
        let mut newest: Vec<_> = closed.iter().collect();
        newest.sort_by_key(|r| std::cmp::Reverse(r.planned_at_us));
        let rows: Vec<_> = newest.into_iter().take(SHOWN).map(row).collect();
        let headers = ["closed", "partition", "revision", "why", "rows", "duplicates", "state", "actions"];
        parts.push(table(&headers, &rows));
    }
    parts.join("\n\n")
}

fn views_text(views: &[CurrentView]) -> String {
    let row = |view: &CurrentView| {
        let [items, removed, waiting] = [view.items, view.removed, view.waiting].map(count);
        let reason = view.trouble.as_ref().map_or(String::new(), |trouble| trouble.reason.clone());
        vec![view.view.clone(), view.table.clone(), view.state.to_string(), items, removed, waiting, reason]
    };
    let headers =
        ["current state", "of table", "state", "items", "removed items", "partitions not in it", "because"];
    table(&headers, &views.iter().map(row).collect::<Vec<_>>())
}

fn runtime_text(status: &Status, now: EpochMicros) -> String {
    let ago = span(now.millis() - status.updated_at_ms);
    let mut text = if status.is_running(now) {
        format!("weir up runs at {} ({ago} ago)\n\n", status.endpoint)
    } else {
        format!("weir up does not run; this is how it stood {ago} ago\n\n")
    };
    let row = |(shard, s): (&String, &crate::runtime::poller::ShardStatus)| {
        let state = format!("{:?}", s.state).to_lowercase();
        let counts =
            [s.records_pending, s.records_delivered, s.records_given_up, s.function_errors].map(count);
        let [pending, delivered, given_up, errors] = counts;
        vec![shard.clone(), state, span(s.iterator_age_ms), pending, delivered, given_up, errors]
    };
    let rows: Vec<_> = status.shards.iter().map(row).collect();
    let headers = ["shard", "state", "behind", "records pending", "delivered", "given up", "function errors"];
    text += &table(&headers, &rows);
    for (shard, line) in &status.shards {
        if let Some(error) = &line.last_error {
            text += &format!("\nlast error of {shard}: {error}");
        }
    }
    if !status.given_up.is_empty() {
        let row = |b: &crate::runtime::poller::GivenUpBatch| {
            let at = jiff::Timestamp::from_millisecond(b.at_ms).unwrap_or_default();
            let at = at.strftime("%Y-%m-%d %H:%M:%S").to_string();
            let lies = b.object.clone().unwrap_or_else(|| "nowhere: no on-failure destination".to_owned());
            vec![
                at,
                b.shard.clone(),
                count(b.records),
                b.condition.clone(),
                count(b.invocations.into()),
                lies,
            ]
        };
        let rows: Vec<_> = status.given_up.iter().map(row).collect();
        let headers = ["given up (UTC)", "shard", "records", "why", "invocations", "kept at"];
        text += &format!("\n\n{}", table(&headers, &rows));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_is_shown_with_its_lag_and_what_it_gave_up() {
        let status: Status = serde_json::from_value(json!({
            "endpoint": "http://127.0.0.1:4567", "stream": "clicks", "updated_at_ms": 100_000, "running": true,
            "shards": {"shardId-000000000000": {"state": "reading", "checkpoint": "7", "iterator_age_ms": 3_250,
                "records_pending": 1_200, "records_delivered": 98_000, "batches_delivered": 12,
                "retries_in_progress": 2, "batches_given_up": 1, "records_given_up": 3,
                "function_errors": 4, "last_error": "function failed: boom"}},
            "given_up": [{"at_ms": 86_400_000, "shard": "shardId-000000000000", "condition": "RecordAgeExceeded",
                "records": 3, "from": "5", "to": "7", "invocations": 0, "object": "/state/failed/x"}],
        }))
        .unwrap();
        let expected = "\
weir up runs at http://127.0.0.1:4567 (2.0 s ago)

shard                 state    behind  records pending  delivered  given up  function errors
shardId-000000000000  reading   3.2 s            1,200     98,000         3                4
last error of shardId-000000000000: function failed: boom

     given up (UTC)  shard                 records  why                invocations  kept at
1970-01-02 00:00:00  shardId-000000000000        3  RecordAgeExceeded            0  /state/failed/x";
        assert_eq!(runtime_text(&status, EpochMicros::from_millis(102_000)), expected);
        let later = EpochMicros::from_millis(100_000 + 150_000);
        assert!(
            runtime_text(&status, later).starts_with("weir up does not run; this is how it stood 2.5 min")
        );
        assert_eq!(runtime_json(&status, later)["running"], false);
    }
}
