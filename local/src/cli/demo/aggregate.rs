//! What the demo's table starts when an hour is closed, an aggregation job and an event, and what
//! became of the job.

use std::collections::BTreeMap;

use anyhow::Result;

use weir::close::ClosedRevision;
use weir_query::{query, write_json_rows};

use super::super::args::Global;
use super::super::lake::Lake;
use super::super::output::table;

/// Runs over each closed hour.
const JOB: &str = "clickstream_products";
/// Table that the job fills.
const TARGET: &str = "clickstream_products";
const ON_CLOSE: &str = "weir.on_close";

/// An hour of the target as the catalog shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Aggregated {
    hour: String,
    revision: u32,
    /// The figures of the hour in a line, as shown.
    figures: Vec<String>,
}

/// Make the table in this lake, so that it starts the job and an event with each revision; where the
/// job's tables are not among the definitions, or the table starts something already, it stays as it is
/// defined.
pub(super) async fn start_on_close(global: &Global, lake: &Lake, name: &str) -> Result<()> {
    let mut definitions = Lake::definitions(global)?;
    let has_target = definitions.iter().any(|definition| definition.name == TARGET);
    definitions.retain(|d| d.name == name && !d.parameters.contains_key(ON_CLOSE));
    if name == "clickstream" && has_target {
        for definition in &mut definitions {
            definition.parameters.insert(ON_CLOSE.into(), format!("aggregate:{JOB},event"));
        }
        lake.put_tables(&definitions).await?;
    }
    Ok(())
}

/// Each hour that the job made so far.
pub(super) async fn aggregated(lake: &Lake) -> Result<Vec<Aggregated>> {
    if lake.catalog.definition(TARGET).await?.is_none() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "select hour, count(*) as products, sum(product_views) as views, sum(carts) as carts, \
         sum(purchases) as purchases, cast(coalesce(sum(revenue), 0) as varchar) as revenue \
         from {TARGET} group by hour"
    );
    let result = query(lake.store.object_store(), super::super::query::tables(lake).await?, &sql).await?;
    let mut lines = Vec::new();
    write_json_rows(&result.batches, &mut lines)?;
    let mut figures = BTreeMap::new();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let row: serde_json::Value = serde_json::from_slice(line)?;
        let text = |name: &str| row[name].as_str().map_or_else(|| row[name].to_string(), str::to_owned);
        let of_hour = ["products", "views", "carts", "purchases", "revenue"].map(text);
        figures.insert(text("hour"), of_hour.to_vec());
    }
    let mut hours = Vec::new();
    for entry in lake.catalog.partitions(TARGET).await? {
        let Some(hour) = entry.values.last() else { continue };
        // An hour in which nobody saw a product has a partition without rows.
        let figures = figures.remove(hour).unwrap_or_else(|| vec!["0".to_owned(); 5]);
        hours.push(Aggregated { hour: hour.clone(), revision: entry.revision(), figures });
    }
    Ok(hours)
}

/// Print what the job made of each hour, an hour with two revisions in two lines. Whether each newest
/// revision of an hour has been aggregated, and no other.
pub(super) fn show(seen: &[Aggregated], newest: &[&ClosedRevision]) -> bool {
    let mut hours: Vec<&Aggregated> = seen.iter().collect();
    hours.sort_by_key(|one| (one.hour.clone(), one.revision));
    hours.dedup();
    let line = |one: &&Aggregated| {
        let why = if one.revision > 1 { "run again for late events" } else { "" };
        let mut cells = vec![one.hour.clone(), one.revision.to_string()];
        cells.extend(one.figures.iter().cloned());
        cells.push(why.to_owned());
        cells
    };
    let headers = ["hour", "revision", "products", "views", "carts", "purchases", "revenue", ""];
    println!("\nwhat jobs/{JOB}.sql made of each closed hour (weir.on_close)");
    println!("{}", table(&headers, &hours.iter().map(line).collect::<Vec<_>>()));
    let mut last = BTreeMap::new();
    hours.iter().for_each(|one| _ = last.insert(one.hour.as_str(), one.revision));
    let wanted =
        newest.iter().filter_map(|closed| Some((closed.partition.values().pop()?.1?, closed.revision)));
    let wanted: BTreeMap<String, u32> = wanted.collect();
    let missed: Vec<_> = wanted.iter().filter(|(hour, at)| last.get(hour.as_str()) != Some(at)).collect();
    missed.iter().for_each(|(hour, at)| println!("REVISION {at} OF {hour} IS NOT AGGREGATED"));
    missed.is_empty()
}
