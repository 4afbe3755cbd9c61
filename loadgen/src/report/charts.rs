//! A result as what the page draws: facts as text, charts as columns of numbers.

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use serde::Serialize;

use super::model::{AnyResult, Cold, ColdFigure, Sweep};
use super::stats::median;
use super::text;
use crate::run::{Outcome, Percentiles, summary};

/// One result on the page.
#[derive(Debug, Serialize)]
pub(super) struct Section {
    title: String,
    file: String,
    /// Lines as on the terminal.
    text: String,
    charts: Vec<Chart>,
}

/// One chart: the first column is the x axis.
#[derive(Debug, Serialize)]
struct Chart {
    title: String,
    /// What the picture says, in words.
    summary: String,
    x: Axis,
    y: Axis,
    /// Names of the columns after the first.
    names: Vec<String>,
    columns: Vec<Vec<Option<f64>>>,
    /// Dots instead of lines.
    dots: bool,
}

#[derive(Debug, Serialize)]
struct Axis {
    label: &'static str,
    logarithmic: bool,
    /// Text at a position, where numbers would mislead.
    ticks: Vec<(f64, String)>,
}

impl Axis {
    fn linear(label: &'static str) -> Self {
        Self { label, logarithmic: false, ticks: Vec::new() }
    }
    fn logarithmic(label: &'static str) -> Self {
        Self { label, logarithmic: true, ticks: Vec::new() }
    }
}

pub(super) fn section(file: &str, result: &AnyResult) -> Result<Section> {
    let (title, text, charts) = match result {
        AnyResult::Run(run) => (format!("Run {:08x}", run.config.tag), summary::text(run), run_charts(run)?),
        AnyResult::Cold(cold) => ("Cold starts".to_owned(), text::cold(cold), vec![cold_chart(cold)]),
        AnyResult::Sweep(sweep) => ("Memory sizes".to_owned(), text::sweep(sweep), sweep_charts(sweep)),
    };
    Ok(Section { title, file: file.to_owned(), text, charts })
}

fn run_charts(run: &Outcome) -> Result<Vec<Chart>> {
    let curves: Vec<(&str, &Percentiles)> = [
        ("put", Some(&run.put)),
        ("committed", run.committed.as_ref()),
        ("queryable", run.queryable.as_ref()),
    ]
    .into_iter()
    .filter_map(|(name, figures)| figures.filter(|f| f.count > 0).map(|f| (name, f)))
    .collect();
    let mut charts = Vec::new();
    if !curves.is_empty() {
        charts.push(latency_chart(&curves)?);
    }
    let seconds = || run.series.iter().map(|s| Some(s.second as f64)).collect::<Vec<_>>();
    let of = |pick: fn(&crate::run::Second) -> u64| {
        run.series.iter().map(|s| Some(pick(s) as f64)).collect::<Vec<_>>()
    };
    charts.push(Chart {
        title: "Throughput".into(),
        summary: format!("{:.0} events a second acknowledged of {:.0} asked for", run.rate, run.asked_rate),
        x: Axis::linear("seconds"),
        y: Axis::linear("events a second"),
        names: ["sent", "acknowledged", "committed"].map(String::from).to_vec(),
        columns: vec![seconds(), of(|s| s.sent), of(|s| s.acknowledged), of(|s| s.committed)],
        dots: false,
    });
    let most = |pick: fn(&crate::run::Second) -> u64| run.series.iter().map(pick).max().unwrap_or(0);
    let behind = [
        (
            "Lag",
            "events",
            "acknowledged events are not yet committed",
            (|s| s.lag) as fn(&crate::run::Second) -> u64,
        ),
        ("Iterator age", "ms", "ms lie between an arrival and the newest commit", |s| s.iterator_age_ms),
    ];
    for (title, unit, of_what, pick) in behind {
        charts.push(Chart {
            title: title.into(),
            summary: format!("at most {} {of_what}", most(pick)),
            x: Axis::linear("seconds"),
            y: Axis::linear(unit),
            names: vec![title.to_lowercase()],
            columns: vec![seconds(), of(pick)],
            dots: false,
        });
    }
    Ok(charts)
}

/// Latency over 1 / (1 - quantile): what one in ten, in a hundred, in a thousand events waits at least.
fn latency_chart(curves: &[(&str, &Percentiles)]) -> Result<Chart> {
    const POINTS: usize = 120;
    let largest = curves.iter().map(|(_, p)| p.count).max().unwrap_or(1) as f64;
    let grid: Vec<f64> =
        (0..POINTS).map(|i| largest.max(10.0).powf(i as f64 / (POINTS - 1) as f64)).collect();
    let mut columns = vec![grid.iter().map(|x| Some(*x)).collect()];
    for (name, figures) in curves {
        let bytes = base64_simd::STANDARD.decode_to_vec(&figures.encoded);
        let bytes = bytes.with_context(|| format!("the histogram {name} is no base64"))?;
        let histogram: Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|e| anyhow::anyhow!("the histogram {name} cannot be read: {e}"))?;
        let at = |x: &f64| {
            (*x <= figures.count as f64).then(|| histogram.value_at_quantile(1.0 - 1.0 / x) as f64 / 1e3)
        };
        columns.push(grid.iter().map(at).collect());
    }
    let ticks = [
        (1.0, "min"),
        (2.0, "p50"),
        (10.0, "p90"),
        (100.0, "p99"),
        (1e3, "p99.9"),
        (1e4, "p99.99"),
        (1e5, "p99.999"),
        (1e6, "p99.9999"),
    ];
    let said: Vec<String> = curves
        .iter()
        .map(|(name, p)| format!("{name}: p50 {:.1} ms, p99 {:.1} ms", p.p50_ms, p.p99_ms))
        .collect();
    Ok(Chart {
        title: "Latency by percentile".into(),
        summary: said.join("; "),
        x: Axis {
            ticks: ticks.map(|(at, name)| (at, name.to_owned())).to_vec(),
            ..Axis::logarithmic("percentile")
        },
        y: Axis::logarithmic("ms from the intended send time"),
        names: curves.iter().map(|(name, _)| (*name).to_owned()).collect(),
        columns,
        dots: false,
    })
}

/// Every start as a dot, so that two modes don't hide in a median.
fn cold_chart(cold: &Cold) -> Chart {
    let most = cold.functions.iter().map(|f| f.starts.len()).max().unwrap_or(0);
    let mut names = Vec::new();
    let mut columns =
        vec![(0..most).map(|i| Some(i as f64 * 100.0 / (most.max(2) - 1) as f64)).collect::<Vec<_>>()];
    let mut said = Vec::new();
    for function in &cold.functions {
        let short = function.name.rsplit('/').next().unwrap_or(&function.name);
        let picks: [(&str, ColdFigure); 3] = [
            ("first poll", |s| Some(s.first_poll_ms())),
            ("batch 1", |s| s.batches_ms.first().copied()),
            ("batch 2", |s| s.batches_ms.get(1).copied()),
        ];
        for (name, pick) in picks {
            let mut values: Vec<f64> = function.starts.iter().filter_map(pick).collect();
            if values.is_empty() {
                continue;
            }
            values.sort_by(f64::total_cmp);
            said.push(format!("{short}, {name}: median {:.2} ms", median(&values)));
            names.push(format!("{short}: {name}"));
            columns.push((0..most).map(|i| values.get(i).copied()).collect());
        }
    }
    Chart {
        title: "Cold starts, sorted".into(),
        summary: said.join("; "),
        x: Axis::linear("percent of starts"),
        y: Axis::logarithmic("ms"),
        names,
        columns,
        dots: true,
    }
}

fn sweep_charts(sweep: &Sweep) -> Vec<Chart> {
    let sizes: Vec<_> = sweep.sizes.iter().filter(|s| s.failed.is_none()).collect();
    let memory = || sizes.iter().map(|s| Some(f64::from(s.memory_mb))).collect::<Vec<_>>();
    let ticks: Vec<(f64, String)> =
        sizes.iter().map(|s| (f64::from(s.memory_mb), s.memory_mb.to_string())).collect();
    let axis = || Axis { ticks: ticks.clone(), ..Axis::logarithmic("MB of memory") };
    let cheapest =
        sizes.iter().min_by(|a, b| a.usd_per_gb.total_cmp(&b.usd_per_gb)).map_or(0, |s| s.memory_mb);
    vec![
        Chart {
            title: "Time by memory".into(),
            summary: format!(
                "from {} to {} MB",
                sizes.first().map_or(0, |s| s.memory_mb),
                sizes.last().map_or(0, |s| s.memory_mb)
            ),
            x: axis(),
            y: Axis::logarithmic("ms"),
            names: ["first poll", "first batch", "warm batch"].map(String::from).to_vec(),
            columns: vec![
                memory(),
                sizes.iter().map(|s| Some(s.first_poll_ms)).collect(),
                sizes.iter().map(|s| Some(s.first_batch_ms)).collect(),
                sizes.iter().map(|s| Some(median(&s.batches_ms))).collect(),
            ],
            dots: false,
        },
        Chart {
            title: "Lambda's cost by memory".into(),
            summary: format!("cheapest at {cheapest} MB"),
            x: axis(),
            y: Axis::linear("USD for a million events"),
            names: vec!["USD for a million events".into()],
            columns: vec![memory(), sizes.iter().map(|s| Some(s.usd_per_million_events)).collect()],
            dots: false,
        },
    ]
}
