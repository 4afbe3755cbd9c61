//! What the demo says at its end: counts that must add up, dead letters, identities, query results.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use weir::close::{ClosedRevision, VisibleFile, visible_files};
use weir::partition::PartitionPath;
use weir_query::query;

use crate::generate::Kind;

use super::super::lake::Lake;
use super::super::output::{count, size, table};
use super::send::Sent;
use super::{Closed, aggregate};

/// What is in the lake.
struct Counts {
    rows: u64,
    files: usize,
    bytes: u64,
    partitions: usize,
    quarantined: u64,
    /// Duplicates by business key, of the newest revisions.
    removed: u64,
    given_up: u64,
}

/// Print it; whether everything adds up.
pub(super) async fn report(
    lake: &Lake,
    name: &str,
    sent: &Sent,
    (given_up, processes): (u64, u64),
    closed: &Closed,
) -> Result<bool> {
    let mut newest: BTreeMap<&PartitionPath, &ClosedRevision> = BTreeMap::new();
    closed.revisions.iter().for_each(|closed| _ = newest.insert(&closed.partition, closed));
    let newest: Vec<_> = newest.into_values().collect();
    let counts = counts(lake, name, &newest, given_up).await?;
    println!("\n{}", summary(&counts, sent, (&newest, closed.late), processes));
    if counts.quarantined > 0 {
        println!("\nwhy records were quarantined");
        let why = "select reason, path, expected, arrow_cast(count(*), 'Int64') as records, min(found) as example from quarantine group by 1, 2, 3 order by 4 desc limit 10";
        print_rows(lake, why).await?;
    }
    println!("\nrows against distinct record identities");
    let identity = format!(
        "select count(*) as \"rows\", count(distinct _shard || _sequence || cast(_subsequence as varchar)) as identities from {name}"
    );
    print_rows(lake, &identity).await?;
    if name == "clickstream" {
        let sql = "select hour, event_type, count(*) as events, count(distinct user_id) as users, round(avg(latency_ms), 1) as latency_ms from clickstream group by 1, 2 order by 1 desc, 3 desc limit 8";
        println!("\nweir query \"{sql}\"");
        print_rows(lake, sql).await?;
    }
    let aggregated = closed.aggregated.is_empty() || aggregate::show(&closed.aggregated, &newest);
    Ok(adds_up(&counts, sent) && aggregated)
}

async fn counts(lake: &Lake, name: &str, newest: &[&ClosedRevision], given_up: u64) -> Result<Counts> {
    let files = visible_files(&lake.store, &*lake.catalog, None).await?;
    let of = |table: &str| files.iter().filter(|f| f.table == table).cloned().collect::<Vec<_>>();
    let (data, dead) = (of(name), of(weir::naming::QUARANTINE_TABLE));
    let sum = |files: &[VisibleFile]| files.iter().map(|f| f.rows).sum::<u64>();
    Ok(Counts {
        rows: sum(&data),
        files: data.len(),
        bytes: data.iter().map(|f| f.bytes).sum(),
        partitions: data.iter().map(|f| f.partition.as_str()).collect::<BTreeSet<_>>().len(),
        quarantined: sum(&dead),
        removed: newest.iter().map(|closed| closed.removed).sum(),
        given_up,
    })
}

fn summary(
    counts: &Counts,
    sent: &Sent,
    (newest, late): (&[&ClosedRevision], u64),
    processes: u64,
) -> String {
    let line = |what: &str, n: u64, note: String| vec![what.to_owned(), count(n), note];
    let mut lines = vec![line("records sent", sent.records, size(sent.bytes))];
    if let Some(late) = sent.kinds.get(&Kind::Late) {
        lines.push(line("  of them late", *late, "each goes to its own hour".into()));
    }
    if let Some(twice) = sent.kinds.get(&Kind::SentTwice) {
        lines.push(line(
            "  sent twice by the producer",
            *twice,
            "two records; removed by business key at close".into(),
        ));
    }
    let Counts { rows, files, bytes, partitions, quarantined, removed, given_up } = counts;
    let where_to = format!("{} in {files} files, {partitions} partitions", size(*bytes));
    lines.push(line("rows in the lake", *rows, where_to));
    if !newest.is_empty() {
        lines.push(line("  partitions closed", newest.len() as u64, "sorted, deduped, few files".into()));
        let again = newest.iter().filter(|closed| closed.revision > 1).count() as u64;
        lines.push(line("  closed again", again, format!("for {} late events", count(late))));
        lines.push(line(
            "  duplicates removed at close",
            *removed,
            "by business key; open hours keep theirs till then".into(),
        ));
    }
    lines.push(line("dead letters", *quarantined, "raw bytes and reason kept in table quarantine".into()));
    lines.push(line("given up", *given_up, String::new()));
    lines.push(line("function processes", processes, "started, the killed ones among them".into()));
    table(&["", "count", ""], &lines)
}

async fn print_rows(lake: &Lake, sql: &str) -> Result<()> {
    let tables = super::super::query::tables(lake).await?;
    println!("{}", query(lake.store.object_store(), tables, sql).await?.to_table()?);
    Ok(())
}

fn adds_up(counts: &Counts, sent: &Sent) -> bool {
    let Counts { rows, quarantined, removed, given_up, .. } = *counts;
    let expected_dead: u64 = sent.kinds.iter().filter(|(k, _)| k.is_bad()).map(|(_, n)| n).sum();
    let adds_up = rows + removed + quarantined + given_up == sent.records;
    let as_planned = sent.kinds.is_empty() || quarantined == expected_dead;
    println!(
        "\n{} rows + {} duplicates removed + {} dead letters + {} given up = {} records sent: {}",
        count(rows),
        count(removed),
        count(quarantined),
        count(given_up),
        count(sent.records),
        match (adds_up, given_up) {
            (true, 0) => "every record exactly once",
            (true, _) => "no record twice, and some only in the on-failure destination",
            (false, _) => "THIS DOES NOT ADD UP",
        }
    );
    if !as_planned {
        println!("expected {} dead letters", count(expected_dead));
    }
    adds_up && as_planned
}
