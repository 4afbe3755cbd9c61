//! Results as aligned text, one unit a table.

use super::model::{Cold, ColdFunction, ColdPlace, ColdStart, Sweep};
use super::stats::{median, quantile};

/// Rows of cells as columns: the first to the left, numbers to the right.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |i: usize| {
        let cells = rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(head[i].chars().count())
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let mut out = String::new();
        for (i, cell) in cells.into_iter().enumerate() {
            let pad = " ".repeat(widths[i] - cell.chars().count());
            match i {
                0 => out.push_str(&format!("{cell}{pad}")),
                _ => out.push_str(&format!("  {pad}{cell}")),
            }
        }
        out.trim_end().to_owned()
    };
    let mut lines = vec![line(head.to_vec())];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines.join("\n")
}

/// Cold starts: medians, and how far apart the middle half of the starts lies.
pub fn cold(cold: &Cold) -> String {
    let place = match &cold.place {
        ColdPlace::Here => format!("on this machine, {} records a batch", cold.records),
        ColdPlace::Lambda { memory_mb } => format!("on Lambda with {memory_mb} MB"),
    };
    let starts = cold.functions.iter().map(|f| f.starts.len()).max().unwrap_or(0);
    let mut out = format!(
        "{starts} cold starts of each {place}; medians in ms, ± half the range of the middle half\n\n"
    );
    let batches =
        cold.functions.iter().flat_map(|f| &f.starts).map(|s| s.batches_ms.len()).max().unwrap_or(0);
    let here = cold.place == ColdPlace::Here;
    let mut head: Vec<String> = vec!["function".into()];
    head.extend(if here {
        vec!["process".into(), "init".into(), "first poll".into()]
    } else {
        vec!["init".to_owned()]
    });
    let has = |pick: fn(&ColdStart) -> bool| cold.functions.iter().flat_map(|f| &f.starts).any(pick);
    let (billed, restored) = (has(|s| s.billed_ms.is_some()), has(|s| s.restore_ms.is_some()));
    head.extend(restored.then(|| "restore".into()));
    head.extend((1..=batches).map(|n| format!("batch {n}")));
    head.extend(billed.then(|| "billed with init".into()));
    head.push(if here { "resident MB".into() } else { "max MB".into() });
    let rows: Vec<Vec<String>> =
        cold.functions.iter().map(|f| cold_row(f, here, billed, restored, batches)).collect();
    out.push_str(&table(&head.iter().map(String::as_str).collect::<Vec<_>>(), &rows));
    if cold.baseline && cold.functions.len() > 1 {
        out.push_str(&format!("\n\nagainst {}\n", cold.functions[0].name));
        for function in &cold.functions[1..] {
            out.push_str(&against(&cold.functions[0], function));
        }
    }
    out.trim_end().to_owned()
}

fn cold_row(
    function: &ColdFunction,
    here: bool,
    billed: bool,
    restored: bool,
    batches: usize,
) -> Vec<String> {
    let spread = |pick: &dyn Fn(&ColdStart) -> Option<f64>| {
        let values: Vec<f64> = function.starts.iter().filter_map(pick).collect();
        let half = (quantile(&values, 0.75) - quantile(&values, 0.25)) / 2.0;
        format!("{:.2} ±{half:.2}", median(&values))
    };
    let mut row = vec![function.name.clone()];
    if here {
        row.push(spread(&|s| s.process_ms));
    }
    row.push(spread(&|s| Some(s.init_ms)));
    if here {
        row.push(spread(&|s| Some(s.first_poll_ms())));
    }
    if restored {
        row.push(spread(&|s| s.restore_ms));
    }
    row.extend((0..batches).map(|n| spread(&|s| s.batches_ms.get(n).copied())));
    if billed {
        row.push(spread(&|s| s.billed_ms));
    }
    let resident: Vec<f64> =
        function.starts.iter().filter_map(|s| s.resident_bytes.last()).map(|b| *b as f64).collect();
    row.push(format!("{:.1}", median(&resident) / f64::from(1 << 20)));
    row
}

/// Ratio of the first polls, and what the first batch takes above the second.
fn against(base: &ColdFunction, other: &ColdFunction) -> String {
    let polls = |f: &ColdFunction| -> Vec<f64> { f.starts.iter().map(ColdStart::first_poll_ms).collect() };
    let first = |f: &ColdFunction| -> Vec<f64> {
        f.starts.iter().filter_map(|s| Some(s.batches_ms.first()? - s.batches_ms.get(1)?)).collect()
    };
    let mut out = format!("{}: first poll {:.2}×", other.name, median(&polls(other)) / median(&polls(base)));
    let (mine, theirs) = (first(other), first(base));
    if !mine.is_empty() {
        out.push_str(&format!(
            "; first batch above second {:.2} ms (the baseline's, which is the runtime's own, {:.2})",
            median(&mine),
            median(&theirs)
        ));
    }
    out + "\n"
}

/// Memory sizes, the best of each column marked.
pub fn sweep(sweep: &Sweep) -> String {
    let mut out = format!(
        "{} by memory ({}), {} records of {:.0} B a batch; prices of {}, {}\n\n",
        sweep.function,
        sweep.throttle,
        sweep.records,
        sweep.payload_bytes as f64 / sweep.records.max(1) as f64,
        sweep.prices_of,
        sweep.architecture
    );
    let best = |pick: fn(&super::model::SweepSize) -> f64| {
        sweep.sizes.iter().filter(|s| s.failed.is_none()).map(pick).fold(f64::INFINITY, f64::min)
    };
    let warm = |s: &super::model::SweepSize| median(&s.batches_ms);
    let bests = [
        best(|s| s.first_poll_ms),
        best(|s| s.first_batch_ms),
        best(|s| median(&s.batches_ms)),
        best(|s| s.usd_per_million_events),
        best(|s| s.usd_per_gb),
    ];
    let mark = |value: f64, best: f64, digits: usize| {
        format!("{value:.digits$}{}", if value <= best { " *" } else { "  " })
    };
    let rows: Vec<Vec<String>> = sweep
        .sizes
        .iter()
        .map(|size| {
            let name = format!("{} MB", size.memory_mb);
            match &size.failed {
                Some(why) => vec![name, format!("{:.2}", size.vcpu), why.clone()],
                None => vec![
                    name,
                    format!("{:.2}", size.vcpu),
                    mark(size.first_poll_ms, bests[0], 1),
                    mark(size.first_batch_ms, bests[1], 1),
                    mark(warm(size), bests[2], 1),
                    format!("{:.1}", size.resident_bytes as f64 / f64::from(1 << 20)),
                    mark(size.usd_per_million_events, bests[3], 4),
                    mark(size.usd_per_gb, bests[4], 5),
                ],
            }
        })
        .collect();
    let head = [
        "memory",
        "vCPU",
        "first poll ms  ",
        "first batch ms  ",
        "warm batch ms  ",
        "resident MB",
        "$ / million events  ",
        "$ / GB  ",
    ];
    out.push_str(&table(&head, &rows));
    out.push_str("\n\n* best of its column");
    if sweep.processors > 0 && sweep.sizes.iter().any(|s| s.vcpu > f64::from(sweep.processors)) {
        out.push_str(&format!(
            "; this machine has {} processors, so larger shares are what it can give",
            sweep.processors
        ));
    }
    out
}
