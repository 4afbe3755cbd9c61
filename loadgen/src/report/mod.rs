//! `loadgen report`: results of other commands as one page that needs nothing but itself; and how those
//! commands print and keep their results.

mod charts;
pub mod model;
pub mod stats;
pub mod text;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use model::AnyResult;

/// How a result is given out.
#[derive(Debug, Clone, Args)]
pub struct OutputArgs {
    /// Print the result as JSON instead of as text
    #[arg(long)]
    pub(crate) json: bool,
    /// Also write the result as JSON to this file, for `loadgen report` and `loadgen compare`
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

impl OutputArgs {
    /// Print a result and keep it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write<T: Serialize>(&self, result: &T, text: &str) -> Result<()> {
        let json = serde_json::to_string_pretty(result)?;
        if let Some(file) = &self.out {
            std::fs::write(file, &json).with_context(|| format!("could not write {}", file.display()))?;
        }
        println!("{}", if self.json { &json } else { text });
        Ok(())
    }
}

/// Read the result of any command.
///
/// # Errors
/// The file cannot be read, or nothing of `loadgen` wrote it.
pub fn read(file: &Path) -> Result<AnyResult> {
    let text = std::fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
    let found = serde_json::from_slice(&text);
    found.with_context(|| {
        format!("{} is no result of `loadgen run`, `cold` or `sweep` (write one with --out)", file.display())
    })
}

/// `loadgen report`
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Results of `loadgen run`, `cold` and `sweep`, written with --out
    #[arg(required = true)]
    pub(crate) results: Vec<PathBuf>,
    /// The page
    #[arg(long, default_value = "report.html")]
    pub(crate) html: PathBuf,
}

/// Write the page.
///
/// # Errors
/// A result cannot be read, the page cannot be written.
pub fn run(args: &ReportArgs) -> Result<ExitCode> {
    let mut results = Vec::new();
    for file in &args.results {
        results.push((file.display().to_string(), read(file)?));
    }
    let page = page(&results)?;
    std::fs::write(&args.html, page).with_context(|| format!("could not write {}", args.html.display()))?;
    println!("{}", args.html.display());
    Ok(ExitCode::SUCCESS)
}

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");
const UPLOT: &str = include_str!("../../vendor/uplot/uPlot.iife.min.js");
const UPLOT_STYLE: &str = include_str!("../../vendor/uplot/uPlot.min.css");

/// The page for results by the name of their file.
///
/// # Errors
/// A histogram that cannot be read.
pub fn page(results: &[(String, AnyResult)]) -> Result<String> {
    let mut sections = Vec::new();
    for (name, result) in results {
        sections.push(charts::section(name, result)?);
    }
    // Inside a script element only `<` could end it.
    let data = serde_json::to_string(&sections)?.replace('<', "\\u003c");
    let parts = [
        ("{{style}}", UPLOT_STYLE),
        ("{{uplot}}", UPLOT),
        ("{{data}}", data.as_str()),
        ("{{script}}", SCRIPT),
    ];
    // One pass over the page: what is put in is not looked at again.
    let mut out = String::with_capacity(PAGE.len() + UPLOT.len() + data.len());
    let mut rest = PAGE;
    for (mark, text) in parts {
        let (before, after) = rest.split_once(mark).context("the page lost a mark")?;
        out.push_str(before);
        out.push_str(text);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}
