//! The costs as text: USD for a GB, for a million events, and what else costs.

use super::{CostTable, Costs};
use crate::report::text::table;

/// Tables of one unit each.
pub(super) fn text(costs: &CostTable) -> String {
    let totals: Vec<f64> = costs.weir.iter().map(Costs::total).collect();
    let mut out = format!(
        "events of {:.0} B, {:.0} a second; prices of {} in {}; GB are 10^9 bytes of payload\n\n",
        costs.event_bytes, costs.rate, costs.prices_of, costs.region
    );
    out.push_str(&per("USD for a GB", &costs.weir, 1.0, 5));
    out.push_str("\n\n");
    let events_per_gb = 1e9 / costs.event_bytes;
    out.push_str(&per("USD for a million events", &costs.weir, 1e6 / events_per_gb, 5));
    out.push_str("\n\n");
    let mut head = vec!["instead: USD for a GB".to_owned(), String::new()];
    head.extend(costs.weir.iter().map(|weir| format!("times Weir, {}", size(weir))));
    let rows = costs.others.iter().map(|(name, usd)| {
        let ratios = totals.iter().map(|total| times(usd / total));
        [name.clone(), format!("{usd:.5}")].into_iter().chain(ratios).collect()
    });
    out.push_str(&with_head(&head, &rows.collect::<Vec<_>>()));
    out.push_str("\n\n");
    let rows = costs.stream.iter().map(|(name, usd)| vec![name.clone(), format!("{usd:.5}")]);
    out.push_str(&table(&["the stream, whoever reads it: USD for a GB", ""], &rows.collect::<Vec<_>>()));
    out.push('\n');
    for weir in &costs.weir {
        let from =
            weir.measured_in.as_ref().map_or("computed".to_owned(), |file| format!("measured, {file}"));
        out.push_str(&format!("\n{}: {:.1} ms at {} MB, {from}", size(weir), weir.batch_ms, weir.memory_mb));
    }
    out.push_str(&format!("\nassumed: {}", costs.assumed.join("; ")));
    out
}

fn per(head: &str, weir: &[Costs], factor: f64, digits: usize) -> String {
    let heads: Vec<String> = std::iter::once(head.to_owned()).chain(weir.iter().map(size)).collect();
    let usd = |value: f64| format!("{:.digits$}", value * factor);
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (i, (name, _)) in weir.first().map_or(&[][..], |weir| &weir.items).iter().enumerate() {
        rows.push(std::iter::once(name.clone()).chain(weir.iter().map(|w| usd(w.items[i].1))).collect());
    }
    rows.push(std::iter::once("all of Weir".to_owned()).chain(weir.iter().map(|w| usd(w.total()))).collect());
    with_head(&heads, &rows)
}

fn with_head(head: &[String], rows: &[Vec<String>]) -> String {
    table(&head.iter().map(String::as_str).collect::<Vec<_>>(), rows)
}

/// The batch, as the head of its column.
fn size(weir: &Costs) -> String {
    match weir.batch_bytes {
        bytes if bytes < 1e6 => format!("batch of {:.0} KB", bytes / 1e3),
        bytes => format!("batch of {:.1} MB", bytes / 1e6),
    }
}

fn times(ratio: f64) -> String {
    match ratio {
        ratio if ratio < 1.0 => format!("{ratio:.2}×"),
        ratio if ratio < 10.0 => format!("{ratio:.1}×"),
        ratio => format!("{ratio:.0}×"),
    }
}
