//! `loadgen bench`: what the generator itself costs on one core, so that nobody takes its limit for
//! the target's.
//!
//! Counted is the thread's processor time: what other programs do meanwhile only shows in the caches.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;
use weir::catalog::read_definitions;
use weir::clock::EpochMicros;
use weir::schema::TableSchema;

use crate::generate::{Carrier, Draws, Event, Generator, Plan, RunTag, Shares};
use crate::run::Latencies;
use crate::run::ledger::{Ledger, Sent};
use crate::target::{kpl, write_item};

/// When the events are of: any time will do.
const NOW: EpochMicros = EpochMicros(1_795_000_000_000_000);
/// Bytes of an aggregate, as `loadgen run` makes them.
const AGGREGATE: usize = 50_000;

/// `loadgen bench`
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Tables whose events are made; all in the folder if not given
    pub(crate) tables: Vec<String>,
    /// Folder of table definitions
    #[arg(long, env = "WEIR_SCHEMAS", default_value = "schemas")]
    pub(crate) schemas: PathBuf,
    /// Events of each table
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) events: u64,
    /// Seed of the events
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
    /// The result as JSON on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is done for each event of a table.
#[derive(Debug, Clone, Serialize)]
struct OfTable {
    table: String,
    event_bytes: f64,
    /// Nanoseconds an event: made and serialised.
    made_ns: f64,
    /// The same, and added to an aggregate with its digest.
    aggregated_ns: f64,
    /// The same as made, and turned into an item of DynamoDB.
    item_ns: f64,
}

#[derive(Debug, Serialize)]
struct Measured {
    tables: Vec<OfTable>,
    latency_recorded_ns: f64,
    acknowledgement_noted_ns: f64,
}

/// Measure and print.
///
/// # Errors
/// A table that is not in the folder, or that no event can be made for.
pub fn run(args: &BenchArgs) -> Result<ExitCode> {
    let definitions = read_definitions(&args.schemas)?;
    let known: Vec<&str> = definitions.iter().map(|d| d.name.as_str()).collect();
    if let Some(absent) = args.tables.iter().find(|table| !known.contains(&table.as_str())) {
        bail!("table {absent} is not in {}; tables there: {}", args.schemas.display(), known.join(", "));
    }
    let mut tables = Vec::new();
    for definition in &definitions {
        if args.tables.is_empty() || args.tables.contains(&definition.name) {
            tables.push(of_table(TableSchema::parse(&serde_json::to_string(definition)?)?, args)?);
        }
    }
    let measured = Measured {
        tables,
        latency_recorded_ns: latency_recorded(args.events.max(1_000_000)),
        acknowledgement_noted_ns: acknowledgement_noted(args.events.max(1_000_000)),
    };
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&measured)?),
        false => println!("{}", text(&measured)),
    }
    Ok(ExitCode::SUCCESS)
}

fn of_table(table: TableSchema, args: &BenchArgs) -> Result<OfTable> {
    let name = table.name.clone();
    let plan = Plan {
        carrier: Carrier::choose(&table, None)?,
        table: table.into(),
        tag: RunTag(1),
        seed: args.seed,
        shares: Shares::default(),
        pad_to: 0,
        lines: None,
        of_changes: false,
        keys: Vec::new(),
    };
    let (mut out, mut packed, mut bytes) = (Vec::new(), Vec::new(), 0);
    let made = each_event(&plan, args.events, |event| bytes += event.len())?;
    let aggregated = each_event(&plan, args.events, |event| {
        if out.is_empty() {
            kpl::begin("0123456789abcdef", &mut out);
        }
        kpl::add(event, &mut out);
        if out.len() >= AGGREGATE {
            kpl::seal(&mut out);
            std::hint::black_box(&out);
            out.clear();
        }
    })?;
    let item = each_event(&plan, args.events, |event| {
        packed.clear();
        write_item(event, &[], &mut packed);
        std::hint::black_box(&packed);
    })?;
    let each = |time: Duration| time.as_nanos() as f64 / args.events as f64;
    Ok(OfTable {
        table: name,
        event_bytes: bytes as f64 / args.events as f64,
        made_ns: each(made),
        aggregated_ns: each(aggregated),
        item_ns: each(item),
    })
}

/// Processor time of making events one after another, and of what is done with each.
fn each_event(plan: &Plan, events: u64, mut visit: impl FnMut(&[u8])) -> Result<Duration> {
    let mut generator = Generator::lanes(plan, 1)?.remove(0);
    let mut bytes = Vec::new();
    let begun = thread_time();
    for number in 0..events {
        bytes.clear();
        let event: Event = plan.event(number, EpochMicros(NOW.0 + number as i64 * 5));
        generator.write(plan, &event, &mut bytes);
        visit(&bytes);
    }
    Ok(thread_time() - begun)
}

/// Nanoseconds of a latency recorded, with the draw of its value.
fn latency_recorded(count: u64) -> f64 {
    let (mut latencies, mut draws) = (Latencies::new(), Draws::new(1));
    let begun = thread_time();
    for _ in 0..count {
        latencies.record(1 + i64::from(draws.below(3_000_000)));
    }
    let took = thread_time() - begun;
    std::hint::black_box(&latencies);
    took.as_nanos() as f64 / count as f64
}

/// Nanoseconds of an acknowledgement noted for the check.
fn acknowledgement_noted(count: u64) -> f64 {
    let mut ledger = Ledger::default();
    let begun = thread_time();
    for number in 0..count {
        ledger.note(number, Sent::Acknowledged);
    }
    let took = thread_time() - begun;
    std::hint::black_box(&ledger);
    took.as_nanos() as f64 / count as f64
}

fn text(measured: &Measured) -> String {
    let mut out = format!(
        "{:<24} {:>12} {:>12} {:>12} {:>12}\n",
        "events/s on one core", "bytes", "made", "aggregated", "as an item"
    );
    let a_second = |ns: f64| 1e9 / ns;
    for table in &measured.tables {
        let _ = writeln!(
            out,
            "{:<24} {:>12.0} {:>12.0} {:>12.0} {:>12.0}",
            table.table,
            table.event_bytes,
            a_second(table.made_ns),
            a_second(table.aggregated_ns),
            a_second(table.item_ns)
        );
    }
    let _ = write!(
        out,
        "\na latency recorded        {:.0} ns\nan acknowledgement noted  {:.0} ns",
        measured.latency_recorded_ns, measured.acknowledgement_noted_ns
    );
    out
}

fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes the time it is given and nothing else.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
