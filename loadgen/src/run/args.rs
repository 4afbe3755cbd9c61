//! What `loadgen run` and `loadgen check` take.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::schedule::Schedule;
use crate::target::{AwsArgs, TargetKind};

/// The lake that is checked.
#[derive(Debug, Clone, Args)]
pub struct LakeArgs {
    /// The lake: a folder, file:///… or s3://bucket/prefix
    #[arg(long, env = "WEIR_LAKE", default_value = ".weir/lake")]
    pub(super) lake: String,
    /// What says what the tables are: glue://DATABASE, or a folder whose `_weir/catalog/` does; the lake
    /// if not given
    #[arg(long, env = "WEIR_CATALOG")]
    pub(super) catalog: Option<String>,
    /// Folder of table definitions, for a table that the catalog does not hold
    #[arg(long, env = "WEIR_SCHEMAS", default_value = "schemas")]
    pub(super) schemas: PathBuf,
}

/// `loadgen run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Where events are put
    #[arg(long, value_enum, default_value = "kinesis")]
    pub(super) target: TargetKind,
    /// Name of the stream, or of the table in DynamoDB; the lake's table's name if not given
    #[arg(long, env = "WEIR_STREAM")]
    pub(super) stream: Option<String>,
    /// With --target invoke: start this function's program here, once a worker
    #[arg(long, conflicts_with = "function")]
    pub(super) program: Option<PathBuf>,
    /// With --target invoke: invoke this function
    #[arg(long)]
    pub(super) function: Option<String>,
    /// Table that the events are for
    #[arg(long, default_value = "clickstream")]
    pub(super) table: String,
    #[command(flatten)]
    pub(super) lake: LakeArgs,
    /// Events a second: `20000/s`, `0..50000/s over 60s`, `1000/s for 9s, 20000/s for 1s, repeat`
    #[arg(long, default_value = "1000/s", value_parser = |text: &str| text.parse::<Schedule>().map(|_| text.to_owned()))]
    pub(super) rate: String,
    /// How long to send; the end of the schedule if it has one
    #[arg(long = "for", value_parser = duration)]
    pub(super) time: Option<Duration>,
    /// How many events to send
    #[arg(long)]
    pub(super) count: Option<u64>,
    /// Lanes that make and send events side by side
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) workers: u16,
    /// Requests under way in each lane
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) in_flight: u16,
    /// Longest that an event waits for others to fill its request: 10ms, of an invoke 1s if not given
    #[arg(long, value_parser = duration)]
    pub(super) linger: Option<Duration>,
    /// The same seed, rate and workers give the same events
    #[arg(long, default_value_t = 7)]
    pub(super) seed: u64,
    /// Percent of events hours behind
    #[arg(long, default_value_t = 0.0)]
    pub(super) late: f64,
    /// Percent that is no JSON
    #[arg(long, default_value_t = 0.0)]
    pub(super) malformed: f64,
    /// Percent against the table's types or constraints
    #[arg(long, default_value_t = 0.0)]
    pub(super) violating: f64,
    /// Percent sent twice
    #[arg(long, default_value_t = 0.0)]
    pub(super) duplicate: f64,
    /// Least bytes of an event
    #[arg(long, default_value_t = 0)]
    pub(super) bytes: usize,
    /// Put aggregates of the Kinesis Producer Library
    #[arg(long, conflicts_with = "gzip")]
    pub(super) aggregate: bool,
    /// Put lines of many events compressed with gzip
    #[arg(long)]
    pub(super) gzip: bool,
    /// Events' bytes in an aggregate or a compressed record
    #[arg(long, default_value_t = 50_000)]
    pub(super) packed_bytes: usize,
    /// Send the lines of this NDJSON file (plain or gzip) instead of generated events, again and again
    #[arg(long)]
    pub(super) replay: Option<PathBuf>,
    /// Column that carries the event's stamp; chosen if not given
    #[arg(long)]
    pub(super) id_column: Option<String>,
    /// Try one rate after another, from --rate, and say the highest that is sustained; each goes for
    /// --for (10s if not given)
    #[arg(long, conflicts_with_all = ["no_watch", "count"])]
    pub(super) find_max: bool,
    /// With --find-max: the longest put → queryable, at the 99th percentile, of a rate that is sustained
    #[arg(long, default_value = "3s", value_parser = duration, requires = "find_max")]
    pub(super) within: Duration,
    /// Do not follow the lake and do not check it
    #[arg(long)]
    pub(super) no_watch: bool,
    /// How long nothing may move at the end before the check
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub(super) settle: Duration,
    /// How long the target may be out of reach
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub(super) patience: Duration,
    /// Write FILE.json and FILE.put.hgrm, FILE.committed.hgrm, FILE.queryable.hgrm
    #[arg(long)]
    pub(super) out: Option<PathBuf>,
    /// The result as JSON on stdout
    #[arg(long)]
    pub(super) json: bool,
    // Last: its heading holds for what stands behind it.
    #[command(flatten)]
    pub(super) aws: AwsArgs,
}

/// `loadgen check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The JSON that `loadgen run --out` wrote
    pub(super) result: PathBuf,
    #[command(flatten)]
    pub(super) lake: LakeArgs,
    /// The result as JSON on stdout
    #[arg(long)]
    pub(super) json: bool,
    // Last: its heading holds for what stands behind it.
    #[command(flatten)]
    pub(super) aws: AwsArgs,
}

fn duration(text: &str) -> Result<Duration, String> {
    match text.strip_suffix("ms") {
        Some(ms) => ms.trim().parse().map(Duration::from_millis).map_err(|_| format!("`{text}` is no time")),
        None => weir::schema::parse_duration(text),
    }
}
