//! What the command line takes.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Event streams to partitioned Parquet tables, each record exactly once.
#[derive(Debug, Parser)]
#[command(name = "weir", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXAMPLES: &str = "Examples:
  weir demo                                   everything once, in half a minute
  weir up --table clickstream                 a Kinesis endpoint here, filling a lake
  weir ingest events.ndjson.gz --table clickstream
  weir query \"select country, count(*) from clickstream group by 1 order by 2 desc\"
  weir tables show clickstream";

#[derive(Debug, Args)]
pub(super) struct Global {
    /// The lake: a folder, file:///… or s3://bucket/prefix
    #[arg(long, global = true, env = "WEIR_LAKE", default_value = ".weir/lake")]
    pub(super) lake: String,
    /// What says what the tables are: glue://DATABASE, or a folder whose `_weir/catalog/` does
    /// (file:///…); the lake if not given
    #[arg(long, global = true, env = "WEIR_CATALOG")]
    pub(super) catalog: Option<String>,
    /// Folder of table definitions (Glue TableInput JSON); the built-in ones if it does not exist
    #[arg(long, global = true, env = "WEIR_SCHEMAS", default_value = "schemas")]
    pub(super) schemas: PathBuf,
    /// Machine-readable output: JSON on stdout
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Say more on stderr
    #[arg(long, short, global = true)]
    pub(super) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Everything once: generate or take data, ingest it, break things on the way, query the result
    Demo(DemoArgs),
    /// Run a Kinesis endpoint, the function and its mapping until stopped
    Up(UpArgs),
    /// Load NDJSON files (plain, gzip or zstd; local or s3://) into a table; resumable
    Ingest(IngestArgs),
    /// Run SQL over the tables
    Query(QueryArgs),
    /// Keep the catalog in step with the folder of definitions
    Tables(TablesArgs),
    /// Aggregation jobs: list them, check their SQL, run one over closed partitions
    Jobs(JobsArgs),
    /// Print the exact list of a table's files, for tools without a catalog
    Files(FilesArgs),
    /// Show shards, lag, tables, quarantine and what was given up
    Status(StatusArgs),
    /// Check that every record is in the lake exactly once, or say what is wrong
    Verify(VerifyArgs),
    /// Close the partitions of a table that are complete, or one of them now
    Close(CloseArgs),
    /// See the records that could not become rows, and put them in again after a fix
    Quarantine(QuarantineArgs),
    /// Run a Lambda function in this process (the local runtime starts it)
    #[command(hide = true)]
    Function {
        /// Name of the function
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Use this NDJSON file instead of generated events
    #[arg(long, requires = "table")]
    pub(super) data: Option<String>,
    /// Table for the file
    #[arg(long)]
    pub(super) table: Option<String>,
    /// Events to generate
    #[arg(long, default_value_t = 200_000)]
    pub(super) events: u64,
    /// Seed of the generator
    #[arg(long, default_value_t = 7)]
    pub(super) seed: u64,
    /// Keep everything in this folder instead of a temporary one
    #[arg(long)]
    pub(super) keep: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct UpArgs {
    /// Tables that the stream feeds (several with weir.route)
    #[arg(long = "table", env = "WEIR_TABLES", value_delimiter = ',', default_value = "clickstream")]
    pub(super) tables: Vec<String>,
    /// Name of the stream; the first table's name if not given
    #[arg(long, env = "WEIR_STREAM")]
    pub(super) stream: Option<String>,
    /// Instead of a stream of its own, follow this DynamoDB stream at --endpoint
    #[arg(long, value_name = "ARN", requires = "endpoint", conflicts_with_all = ["stream", "shards", "port", "no_limits"])]
    pub(super) dynamodb_stream: Option<String>,
    /// Where the DynamoDB stream is served on this machine (`http://127.0.0.1:4566`)
    #[arg(long, value_name = "URL", requires = "dynamodb_stream")]
    pub(super) endpoint: Option<String>,
    /// Shards, if the stream is made now
    #[arg(long, default_value_t = 2)]
    pub(super) shards: u32,
    /// Port of the Kinesis endpoint on 127.0.0.1 (0: a free one)
    #[arg(long, default_value_t = 4567)]
    pub(super) port: u16,
    /// Folder of the stream's state
    #[arg(long, env = "WEIR_STATE", default_value = ".weir/state")]
    pub(super) state: PathBuf,
    /// Most records a batch
    #[arg(long, default_value_t = 10_000)]
    pub(super) batch_size: usize,
    /// How long a batch may wait to fill (`10s`)
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub(super) window: Duration,
    /// Lanes a shard, 1 to 10
    #[arg(long, default_value_t = 1)]
    pub(super) parallelization_factor: usize,
    /// Deliver in tumbling windows of this length, 1s to 15m; the function's state goes with them
    #[arg(long, value_parser = duration)]
    pub(super) tumbling_window: Option<Duration>,
    /// How often a batch that cannot be halved is tried again before it is given up
    #[arg(long, default_value_t = 10)]
    pub(super) retries: u32,
    /// Do not halve a batch that fails
    #[arg(long)]
    pub(super) no_bisect: bool,
    /// Where batches that are given up go: a folder or s3://bucket/prefix; `failed` in the state folder
    /// if not given
    #[arg(long)]
    pub(super) on_failure: Option<String>,
    /// Do not throttle producers as Kinesis does
    #[arg(long)]
    pub(super) no_limits: bool,
    /// Close complete partitions this often (`0s`: never)
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub(super) close_every: Duration,
    /// How long files stay that a closed revision superseded
    #[arg(long, env = "WEIR_GRACE", default_value = "24h", value_parser = duration)]
    pub(super) grace: Duration,
}

#[derive(Debug, Args)]
pub(super) struct CloseArgs {
    /// Table
    #[arg(long)]
    pub(super) table: String,
    /// Only this partition, now, complete or not (`dt=2026-11-20/hour=2026-11-20-05`)
    #[arg(long)]
    pub(super) partition: Option<String>,
    /// Folder of the stream's state, as `weir up` has it
    #[arg(long, env = "WEIR_STATE", default_value = ".weir/state")]
    pub(super) state: PathBuf,
    /// How long files stay that a closed revision superseded
    #[arg(long, env = "WEIR_GRACE", default_value = "24h", value_parser = duration)]
    pub(super) grace: Duration,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Folder of the stream's state, as `weir up` has it
    #[arg(long, env = "WEIR_STATE", default_value = ".weir/state")]
    pub(super) state: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct IngestArgs {
    /// Files: paths, file:/// or s3:// addresses
    #[arg(required = true)]
    pub(super) files: Vec<String>,
    /// Table to load into
    #[arg(long)]
    pub(super) table: String,
    /// Threads for a plain file; the number of processors if not given
    #[arg(long)]
    pub(super) threads: Option<usize>,
}

#[derive(Debug, Args)]
pub(super) struct QueryArgs {
    /// One SQL statement
    pub(super) sql: String,
}

#[derive(Debug, Args)]
pub(super) struct FilesArgs {
    /// Table
    #[arg(long)]
    pub(super) table: String,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Only this table and its dead letters
    #[arg(long)]
    pub(super) table: Option<String>,
    /// Only this partition of the table (`dt=2026-11-20`)
    #[arg(long, requires = "table")]
    pub(super) partition: Option<String>,
    /// Remove files whose records no commit lists, and files that a commit proves dead; nothing else
    #[arg(long)]
    pub(super) repair: bool,
    /// Compare with the stream behind this Kinesis endpoint (`weir up` prints it)
    #[arg(long)]
    pub(super) endpoint: Option<String>,
    /// Name of the stream; the table's name if not given
    #[arg(long, env = "WEIR_STREAM")]
    pub(super) stream: Option<String>,
    /// Folder of the stream's state, which tells it from others of its name
    #[arg(long, env = "WEIR_STATE", default_value = ".weir/state")]
    pub(super) state: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct TablesArgs {
    #[command(subcommand)]
    pub(super) command: TablesCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum TablesCommand {
    /// Make the catalog say what the folder says; unsafe changes are refused
    Apply(ApplyArgs),
    /// Show what apply would do
    Diff(ApplyArgs),
    /// List the tables, or print one definition as it stands in the catalog
    Show {
        /// Table
        table: Option<String>,
    },
}

/// How the stream will reach the tables: more than 50,000 files in an open partition are refused.
#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    /// Shards that the stream will have
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) shards: u64,
    /// Parallelization factor of its event source mapping
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10))]
    pub(super) parallelization_factor: u64,
    /// Batch window of the mapping, as 10s; the longest there is if not given
    #[arg(long, default_value = "5m", value_parser = duration)]
    pub(super) batch_window: Duration,
    /// Apply tables whose partitions will hold too many files all the same
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
pub(super) struct JobsArgs {
    #[command(subcommand)]
    pub(super) command: JobsCommand,
    /// Folder of jobs, one SQL file each; the built-in ones if it does not exist
    #[arg(long, global = true, env = "WEIR_JOBS", default_value = "jobs")]
    pub(super) jobs: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(super) enum JobsCommand {
    /// List the jobs with their tables
    Ls,
    /// Check all jobs against the folder of definitions: the SQL subset, columns, types
    Check,
    /// Run a job over closed partitions; a revision that is there already is left as it is
    Run {
        /// Job
        name: String,
        /// Only this partition of the source (`dt=2026-11-20`); all closed ones if not given
        #[arg(long)]
        partition: Option<String>,
        /// Memory for sorting and grouping, in MB; what does not fit goes to the scratch folder
        #[arg(long, default_value_t = 512)]
        memory_mb: usize,
    },
}

#[derive(Debug, Args)]
pub(super) struct QuarantineArgs {
    #[command(subcommand)]
    pub(super) command: QuarantineCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum QuarantineCommand {
    /// Group the open letters by table, reason and field
    Ls {
        #[command(flatten)]
        which: WhichLetters,
        /// List the batches that the mapping gave up on instead
        #[arg(long)]
        from_failures: bool,
        #[command(flatten)]
        failures: FailuresArgs,
    },
    /// Print open letters with their raw text
    Show {
        #[command(flatten)]
        which: WhichLetters,
        /// Most letters
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// Most bytes of a letter's raw text
        #[arg(long, default_value_t = 400)]
        bytes: usize,
    },
    /// Judge the letters again by the tables as they are now: what fits becomes rows, once
    Replay {
        #[command(flatten)]
        which: WhichLetters,
        /// Only say what would happen
        #[arg(long)]
        dry_run: bool,
        /// Bring in the batches that the mapping gave up on instead (give the stream's --table)
        #[arg(long, conflicts_with_all = ["reason", "since"])]
        from_failures: bool,
        #[command(flatten)]
        failures: FailuresArgs,
    },
}

#[derive(Debug, Args)]
pub(super) struct WhichLetters {
    /// Only letters meant for these tables
    #[arg(long = "table", value_delimiter = ',')]
    pub(super) tables: Vec<String>,
    /// Only letters with these reasons (`wrong_type`)
    #[arg(long = "reason", value_delimiter = ',')]
    pub(super) reason: Vec<String>,
    /// Only letters that arrived then or later: a time (`2026-11-20T05:00:00Z`), a day, or an age (`2h`)
    #[arg(long)]
    pub(super) since: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct FailuresArgs {
    /// The on-failure destination: a folder or s3://bucket/prefix; `failed` in the state folder if not
    /// given
    #[arg(long)]
    pub(super) failures: Option<String>,
    /// Folder of the stream's state, as `weir up` has it
    #[arg(long, env = "WEIR_STATE", default_value = ".weir/state")]
    pub(super) state: PathBuf,
    /// What tells the stream from one made again under its name, as the function has it: its setting,
    /// or the time the stream was made in milliseconds; from the state folder if not given
    #[arg(long, env = "WEIR_STREAM_IDENTITY")]
    pub(super) stream_identity: Option<String>,
    /// Kinesis endpoint to read batches from of which only positions are known
    #[arg(long)]
    pub(super) endpoint: Option<String>,
}

fn duration(text: &str) -> Result<Duration, String> {
    weir::schema::parse_duration(text)
}
