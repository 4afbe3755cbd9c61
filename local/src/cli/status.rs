//! `weir status`: shards, lag, tables, quarantine.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;

use weir::commit::reader::{live_files, shard_status};

use super::args::Global;
use super::lake::Lake;
use super::output::{count, megabytes, table};

pub(super) async fn run(global: &Global) -> Result<ExitCode> {
    let lake = Lake::open(global)?;
    let shards = shard_status(&lake.store).await?;
    let files = live_files(&lake.store, None).await?;
    let mut tables: BTreeMap<&str, (std::collections::BTreeSet<&str>, u64, u64, u64)> = BTreeMap::new();
    for listed in &files {
        let entry = tables.entry(&listed.file.table).or_default();
        entry.0.insert(listed.file.partition.as_str());
        entry.1 += 1;
        entry.2 += listed.file.rows;
        entry.3 += listed.file.bytes;
    }
    if global.json {
        let shards: Vec<_> = shards
            .iter()
            .map(|s| {
                serde_json::json!({"stream": s.chain.stream, "shard": s.chain.shard, "version": s.head, "rows": s.rows,
                    "quarantined": s.quarantined, "files": s.files, "bytes": s.bytes,
                    "from": s.min.map(|n| n.to_string()), "to": s.max.map(|n| n.to_string()),
                    "arrived_through_us": s.arrived_through.0})
            })
            .collect();
        let tables: Vec<_> = tables
            .iter()
            .map(|(name, t)| serde_json::json!({"table": name, "partitions": t.0.len(), "files": t.1, "rows": t.2, "bytes": t.3}))
            .collect();
        println!("{}", serde_json::json!({"lake": lake.url, "shards": shards, "tables": tables}));
        return Ok(ExitCode::SUCCESS);
    }
    println!("lake {}\n", lake.url);
    if shards.is_empty() {
        println!("no commits yet; put records with `weir up` or load a file with `weir ingest`");
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = tables
        .iter()
        .map(|(name, t)| {
            vec![(*name).to_owned(), count(t.0.len() as u64), count(t.1), count(t.2), megabytes(t.3)]
        })
        .collect();
    println!("{}\n", table(&["table", "partitions", "files", "rows", "size"], &rows));
    let rows: Vec<_> = shards
        .iter()
        .map(|s| {
            vec![
                s.chain.stream.clone(),
                s.chain.shard.clone(),
                count(s.head),
                count(s.rows),
                count(s.quarantined),
            ]
        })
        .collect();
    println!("{}", table(&["stream", "shard", "commits", "rows", "quarantined"], &rows));
    Ok(ExitCode::SUCCESS)
}
