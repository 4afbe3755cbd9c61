//! `loadgen compare`: what got better or worse between two results, and whether by more than noise.
//!
//! | of | sample | noise |
//! |---|---|---|
//! | run: throughput | one value a second, first and last left out | Mann-Whitney |
//! | run: latencies | the histogram | order statistics: the ranks that hold the quantile 99.9 % of the time, as if a tenth of the events were independent |
//! | cold | one value a start | Mann-Whitney |
//! | sweep | warm batches of a size | Mann-Whitney |
//!
//! A difference counts if it is beyond 3.3 standard deviations (1 in 1,000 by chance) *and* at least
//! 2 %. What changes from run to run but not within one (another machine, another neighbour) no single
//! pair of results can show: repeat the run.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

use crate::report::model::{AnyResult, Cold, ColdFigure, Sweep};
use crate::report::stats::{median, rank_z};
use crate::report::{read, text};
use crate::run::{Outcome, Percentiles};

/// Standard deviations beyond which a difference is not chance.
const BEYOND_NOISE: f64 = 3.3;
/// Smaller differences don't matter to anybody.
const LEAST_SHARE: f64 = 0.02;

/// `loadgen compare`
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The result before
    pub(crate) before: PathBuf,
    /// The result after
    pub(crate) after: PathBuf,
    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What a difference means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Beyond noise, for the better.
    Better,
    /// Beyond noise, for the worse.
    Worse,
    /// Within noise, or too small to matter.
    Same,
    /// Too few values to tell.
    Unknown,
}

/// One line of the comparison.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Difference {
    /// What is compared.
    pub what: String,
    /// Its unit.
    pub unit: &'static str,
    /// Before.
    pub before: f64,
    /// After.
    pub after: f64,
    /// What it means.
    pub verdict: Verdict,
}

/// Compare and print: exit code 0 if nothing is worse, 1 if something is, 2 if the two cannot be
/// compared.
pub fn run(args: &CompareArgs) -> ExitCode {
    compare(args).unwrap_or_else(|error| {
        eprintln!("loadgen: {error:#}");
        ExitCode::from(2)
    })
}

fn compare(args: &CompareArgs) -> Result<ExitCode> {
    let differences = match (read(&args.before)?, read(&args.after)?) {
        (AnyResult::Run(before), AnyResult::Run(after)) => runs(&before, &after),
        (AnyResult::Cold(before), AnyResult::Cold(after)) => colds(&before, &after),
        (AnyResult::Sweep(before), AnyResult::Sweep(after)) => sweeps(&before, &after),
        (before, after) => bail!(
            "{} is a result of `loadgen {}` and {} one of `loadgen {}`: only results of the same command compare",
            args.before.display(),
            before.kind(),
            args.after.display(),
            after.kind()
        ),
    };
    if differences.is_empty() {
        bail!("the two results have nothing in common to compare: other functions or memory sizes");
    }
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&differences)?),
        false => println!("{}", as_text(&differences)),
    }
    let worse = differences.iter().any(|d| d.verdict == Verdict::Worse);
    Ok(if worse { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A table for each unit.
fn as_text(differences: &[Difference]) -> String {
    let mut units: Vec<&str> = Vec::new();
    for difference in differences {
        if !units.contains(&difference.unit) {
            units.push(difference.unit);
        }
    }
    let tables = units.into_iter().map(|unit| {
        let rows: Vec<Vec<String>> = differences.iter().filter(|d| d.unit == unit).map(row).collect();
        text::table(&[unit, "before", "after", "change", ""], &rows)
    });
    tables.collect::<Vec<_>>().join("\n\n")
}

fn row(d: &Difference) -> Vec<String> {
    let change = match d.before {
        0.0 => String::new(),
        before => format!("{:+.1} %", (d.after / before - 1.0) * 100.0),
    };
    let verdict = match d.verdict {
        Verdict::Better => "better",
        Verdict::Worse => "WORSE",
        Verdict::Same => "within noise",
        Verdict::Unknown => "too few values",
    };
    vec![d.what.clone(), format!("{:.2}", d.before), format!("{:.2}", d.after), change, verdict.into()]
}

/// Whether more is worse.
#[derive(Clone, Copy, PartialEq)]
enum Sense {
    MoreIsWorse,
    MoreIsBetter,
}

fn by_ranks((what, unit): (String, &'static str), before: &[f64], after: &[f64], sense: Sense) -> Difference {
    let (b, a) = (median(before), median(after));
    let verdict = match rank_z(before, after) {
        _ if before.len() < 8 || after.len() < 8 => Verdict::Unknown,
        Some(z) if z.abs() > BEYOND_NOISE && matters(b, a) => judge(a > b, sense),
        _ => Verdict::Same,
    };
    Difference { what, unit, before: b, after: a, verdict }
}

fn matters(before: f64, after: f64) -> bool {
    (after - before).abs() >= LEAST_SHARE * before.abs()
}

fn judge(grew: bool, sense: Sense) -> Verdict {
    match grew == (sense == Sense::MoreIsWorse) {
        true => Verdict::Worse,
        false => Verdict::Better,
    }
}

fn runs(before: &Outcome, after: &Outcome) -> Vec<Difference> {
    // The first and the last second are cut short.
    let inner = |run: &Outcome| -> Vec<f64> {
        let n = run.series.len();
        run.series.iter().skip(1).take(n.saturating_sub(2)).map(|s| s.acknowledged as f64).collect()
    };
    let mut all = vec![by_ranks(
        ("acknowledged".into(), "events/s"),
        &inner(before),
        &inner(after),
        Sense::MoreIsBetter,
    )];
    let kinds = [
        ("put", Some(&before.put), Some(&after.put)),
        ("committed", before.committed.as_ref(), after.committed.as_ref()),
        ("queryable", before.queryable.as_ref(), after.queryable.as_ref()),
    ];
    for (name, before, after) in kinds {
        let (Some(before), Some(after)) = (before, after) else { continue };
        for q in [0.5, 0.9, 0.99, 0.999] {
            all.extend(latency(name, q, before, after));
        }
    }
    all
}

fn latency(name: &str, q: f64, before: &Percentiles, after: &Percentiles) -> Option<Difference> {
    let (b, a) = (bounds(before, q)?, bounds(after, q)?);
    let apart = b.2 < a.0 || a.2 < b.0;
    let verdict = match () {
        () if !b.3 || !a.3 => Verdict::Unknown,
        () if apart && matters(b.1, a.1) => judge(a.1 > b.1, Sense::MoreIsWorse),
        () => Verdict::Same,
    };
    Some(Difference { what: format!("{name} p{}", q * 100.0), unit: "ms", before: b.1, after: a.1, verdict })
}

/// The quantile between the values of the ranks that hold it 99.9 % of the time, in ms; and whether
/// there are enough values for that.
fn bounds(figures: &Percentiles, q: f64) -> Option<(f64, f64, f64, bool)> {
    let bytes = base64_simd::STANDARD.decode_to_vec(&figures.encoded).ok()?;
    let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).ok()?;
    if histogram.is_empty() {
        return None;
    }
    // Events of one request share their latency.
    let independent = (histogram.len() as f64 / 10.0).max(1.0);
    let reach = BEYOND_NOISE * (q * (1.0 - q) / independent).sqrt();
    let at = |q: f64| histogram.value_at_quantile(q.clamp(0.0, 1.0)) as f64 / 1e3;
    let enough = independent * (1.0 - q) >= 10.0;
    Some((at(q - reach), at(q), at(q + reach), enough))
}

fn colds(before: &Cold, after: &Cold) -> Vec<Difference> {
    let short = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
    let mut all = Vec::new();
    for b in &before.functions {
        let same = |f: &&crate::report::model::ColdFunction| short(&f.name) == short(&b.name);
        let Some(a) = after.functions.iter().find(same) else { continue };
        let picks: [(&str, &'static str, ColdFigure); 5] = [
            ("first poll", "ms", |s| Some(s.first_poll_ms())),
            ("batch 1", "ms", |s| s.batches_ms.first().copied()),
            ("batch 2", "ms", |s| s.batches_ms.get(1).copied()),
            ("billed", "ms", |s| s.billed_ms),
            ("memory", "MB", |s| s.resident_bytes.last().map(|b| *b as f64 / f64::from(1 << 20))),
        ];
        for (name, unit, pick) in picks {
            let of =
                |f: &crate::report::model::ColdFunction| f.starts.iter().filter_map(pick).collect::<Vec<_>>();
            let (b_values, a_values) = (of(b), of(a));
            if !b_values.is_empty() && !a_values.is_empty() {
                all.push(by_ranks(
                    (format!("{}: {name}", short(&b.name)), unit),
                    &b_values,
                    &a_values,
                    Sense::MoreIsWorse,
                ));
            }
        }
    }
    all
}

fn sweeps(before: &Sweep, after: &Sweep) -> Vec<Difference> {
    let usable = |s: &&crate::report::model::SweepSize| s.failed.is_none();
    let pairs = before.sizes.iter().filter(usable).filter_map(|b| {
        let a = after.sizes.iter().filter(usable).find(|a| a.memory_mb == b.memory_mb)?;
        Some(by_ranks(
            (format!("warm batch at {} MB", b.memory_mb), "ms"),
            &b.batches_ms,
            &a.batches_ms,
            Sense::MoreIsWorse,
        ))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests;
