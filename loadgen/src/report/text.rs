//! Results as aligned text, one unit a table.

use super::model::{Cold, ColdFigure, ColdFunction, ColdPlace, ColdStart, Sweep, SweepSize};
use super::stats::{median, quantile};

const MIB: f64 = (1u64 << 20) as f64;

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

/// Cold starts: medians, and how far apart the middle half of the starts lies; then memory.
pub fn cold(cold: &Cold) -> String {
    let starts = cold.functions.iter().map(|f| f.starts.len()).max().unwrap_or(0);
    let place = match &cold.place {
        ColdPlace::Here => format!("on this machine, {} records a batch", cold.records),
        ColdPlace::Lambda { memory_mb } => format!("on Lambda with {memory_mb} MB"),
    };
    let mut out =
        format!("{starts} cold starts of each {place}; medians ± half the range of the middle half\n\n");
    let columns = cold_columns(cold);
    let head: Vec<&str> =
        std::iter::once("ms").chain(columns.iter().map(|(name, _)| name.as_str())).collect();
    let rows = cold.functions.iter().map(|function| {
        let cells = columns.iter().map(|(_, pick)| spread(function, pick));
        std::iter::once(function.name.clone()).chain(cells).collect()
    });
    out.push_str(&table(&head, &rows.collect::<Vec<_>>()));
    out.push_str("\n\n");
    let memory = if cold.place == ColdPlace::Here { "resident" } else { "at most" };
    let rows = cold.functions.iter().map(|function| {
        let bytes = function.starts.iter().filter_map(|s| s.resident_bytes.last()).map(|b| *b as f64);
        vec![function.name.clone(), format!("{:.1}", median(&bytes.collect::<Vec<_>>()) / MIB)]
    });
    out.push_str(&table(&["MB", memory], &rows.collect::<Vec<_>>()));
    if let [base, others @ ..] = cold.functions.as_slice()
        && cold.baseline
        && !others.is_empty()
    {
        out.push_str(&format!("\n\nagainst {}\n", base.name));
        out.extend(others.iter().map(|other| against(base, other)));
    }
    out.trim_end().to_owned()
}

/// A figure of a start, where it has it.
type Pick = Box<dyn Fn(&ColdStart) -> Option<f64>>;

/// What is shown of each start: what any of them has.
fn cold_columns(cold: &Cold) -> Vec<(String, Pick)> {
    let starts = || cold.functions.iter().flat_map(|f| &f.starts);
    let fixed: [(&str, ColdFigure); 6] = [
        ("process", |s| s.process_ms),
        ("init", |s| (s.init_ms > 0.0).then_some(s.init_ms)),
        ("first poll", |s| s.process_ms.map(|_| s.first_poll_ms())),
        ("restore", |s| s.restore_ms),
        ("billed", |s| s.billed_ms),
        ("of it start", |s| s.billed_start_ms),
    ];
    let mut columns: Vec<(String, Pick)> = Vec::new();
    for (i, (name, pick)) in fixed.into_iter().enumerate() {
        // What is billed comes after what it is billed for.
        if i == 4 {
            let batches = starts().map(|s| s.batches_ms.len()).max().unwrap_or(0);
            columns.extend((0..batches).map(|n| {
                let pick: Pick = Box::new(move |s| s.batches_ms.get(n).copied());
                (format!("batch {}", n + 1), pick)
            }));
        }
        if starts().any(|start| pick(start).is_some()) {
            columns.push((name.to_owned(), Box::new(pick)));
        }
    }
    columns
}

fn spread(function: &ColdFunction, pick: &dyn Fn(&ColdStart) -> Option<f64>) -> String {
    let values: Vec<f64> = function.starts.iter().filter_map(pick).collect();
    if values.is_empty() {
        return String::new();
    }
    let half = (quantile(&values, 0.75) - quantile(&values, 0.25)) / 2.0;
    format!("{:.2} ±{half:.2}", median(&values))
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

/// Memory sizes: time, cost and memory, the best of each column marked.
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
    let mut times: Vec<SizeColumn> = vec![
        ("first poll", |s| s.first_poll_ms, 1),
        ("first batch", |s| s.first_batch_ms, 1),
        ("warm batch", |s| median(&s.batches_ms), 1),
    ];
    // In the cloud nobody says.
    if sweep.processors > 0 {
        times.push(("its CPU", |s| s.cpu_ms, 1));
    }
    let usd: [SizeColumn; 2] =
        [("a million events", |s| s.usd_per_million_events, 5), ("a GB", |s| s.usd_per_gb, 5)];
    let memory: [SizeColumn; 1] = [("resident", |s| s.resident_bytes as f64 / MIB, 1)];
    let tables = [sizes(sweep, "ms", &times), sizes(sweep, "USD for", &usd), sizes(sweep, "MB", &memory)];
    out.push_str(&tables.join("\n\n"));
    out.push_str("\n\n* best of its column");
    for size in &sweep.sizes {
        if let Some(why) = &size.failed {
            out.push_str(&format!("\n{} MB could not be measured: {why}", size.memory_mb));
        }
    }
    let largest = sweep.sizes.iter().map(|s| s.vcpu).fold(0.0, f64::max);
    if sweep.processors > 0 && largest > f64::from(sweep.processors) {
        out.push_str(&format!(
            "\nthis machine has {} processors: sizes with more had these, and on Lambda may be faster",
            sweep.processors
        ));
    }
    out
}

/// Name, figure, digits.
type SizeColumn = (&'static str, fn(&SweepSize) -> f64, usize);

fn sizes(sweep: &Sweep, unit: &str, columns: &[SizeColumn]) -> String {
    let measured: Vec<&SweepSize> = sweep.sizes.iter().filter(|size| size.failed.is_none()).collect();
    let cells = columns.iter().map(|(_, pick, digits)| {
        let best = measured.iter().map(|size| pick(size)).fold(f64::INFINITY, f64::min);
        let cell = |size: &&SweepSize| {
            let mark = if pick(size) <= best { " *" } else { "  " };
            format!("{:.digits$}{mark}", pick(size))
        };
        measured.iter().map(cell).collect::<Vec<String>>()
    });
    let cells: Vec<Vec<String>> = cells.collect();
    let rows: Vec<Vec<String>> = measured
        .iter()
        .enumerate()
        .map(|(row, size)| {
            let name = format!("{} MB, {:.2} vCPU", size.memory_mb, size.vcpu);
            std::iter::once(name).chain(cells.iter().map(|column| column[row].clone())).collect()
        })
        .collect();
    let heads: Vec<String> = columns.iter().map(|(name, _, _)| format!("{name}  ")).collect();
    let head: Vec<&str> = std::iter::once(unit).chain(heads.iter().map(String::as_str)).collect();
    table(&head, &rows)
}
