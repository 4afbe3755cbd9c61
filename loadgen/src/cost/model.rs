//! What a GB costs: a batch as it was measured, prices, and what has to be assumed.
//!
//! | item | of |
//! |---|---|
//! | Lambda | a batch's billed milliseconds at its memory, and its request; cold starts now and then |
//! | S3 requests | the batch's puts, gets and lists |
//! | logs | the function's line and the service's own three |
//! | metrics | custom metrics of those lines, by the month |
//! | KMS | a call for each put and get, of close too, where the bucket has a key and no bucket key |
//! | Glue calls | live partitions registered, revisions switched, tables read |
//! | close | its reads and writes, its runs, and the time of compaction |

use super::prices::{Architecture, GIB, Prices};

/// A batch as it was measured; payload as it stands in the stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Batch {
    pub(super) event_bytes: f64,
    pub(super) batch_bytes: f64,
    /// Warm, the store's answers included.
    pub(super) batch_ms: f64,
    /// Init and what the first batch takes above a warm one.
    pub(super) cold_ms: f64,
    pub(super) memory_mb: u32,
    pub(super) files: f64,
    pub(super) files_bytes: f64,
    pub(super) puts: f64,
    pub(super) gets: f64,
    pub(super) lists: f64,
    pub(super) log_bytes: f64,
}

/// What is set or assumed, not measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Setting {
    pub(super) architecture: Architecture,
    /// Of a batch's time, what does not grow with its bytes.
    pub(super) fixed_ms: f64,
    /// Events a second of the whole stream.
    pub(super) rate: f64,
    /// Payload of a partition.
    pub(super) partition_bytes: f64,
    pub(super) close_every_s: f64,
    /// CPU of compaction for a GB of live files, at one processor.
    pub(super) close_s_per_gb: f64,
    pub(super) kms: bool,
    /// JSON that a DPU of a streaming job takes.
    pub(super) dpu_bytes_per_second: f64,
}

/// A GB of payload.
const GB: f64 = 1e9;
/// Beside the function's line: START, END and REPORT.
const SERVICE_LOG_BYTES: f64 = 450.0;
/// One in so many invocations meets a new environment.
const COLD_SHARE: f64 = 1.0 / 1_000.0;
/// Metrics of the lines of `ingest` and `close` (functions/src/emf.rs, functions/src/close/line.rs).
const INGEST_METRICS: f64 = 20.0;
const CLOSE_METRICS: f64 = 14.0;
const MONTH_HOURS: f64 = 730.0;
/// Memory that has one processor, in GB.
const VCPU_GIB: f64 = 1_769.0 / 1_024.0;
/// The function `close` as OPERATIONS.md sets it up, and what a run without work takes there.
const CLOSE_MEMORY_MB: u32 = 512;
const CLOSE_RUN_MS: f64 = 500.0;
/// Requests of a run without work, counted in the same way; beside them one get a shard
/// (shared/src/close/tests/cost.rs).
const RUN_PUTS: f64 = 1.0;
const RUN_LISTS: f64 = 4.0;
const RUN_GETS: f64 = 4.0;
/// A revision beside its files, with its commits read: counted from the line of `close` over 60 files
/// of 115 KB and over 247 of 8 KB, into one file each.
const REVISION_PUTS: f64 = 10.0;
const REVISION_LISTS: f64 = 9.0;
const REVISION_GETS: f64 = 11.0;
/// A live file and its commit: files up to a tail's length are read whole.
const FILE_GETS: f64 = 7.0;
const SMALL_FILE_GETS: f64 = 3.0;
const SMALL_FILE_BYTES: f64 = 65_536.0;
/// Bytes of a compacted file.
const CLOSED_FILE_BYTES: f64 = 256e6;
/// Glue calls of a revision: read, update, read back, and the same once more when the grace ends.
const REVISION_GLUE_CALLS: f64 = 6.0;
/// Tables are read again every five minutes by each environment.
const TABLE_READS_PER_HOUR: f64 = 12.0;
/// Firehose's largest buffer.
const FIREHOSE_OBJECT_BYTES: f64 = 128e6;

/// Requests to the store for a GB.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Requests {
    puts_and_lists: f64,
    puts: f64,
    gets: f64,
}

impl Requests {
    fn usd(&self, prices: &Prices) -> f64 {
        self.puts_and_lists * prices.s3.thousand_puts_and_lists / 1e3
            + self.gets * prices.s3.thousand_gets / 1e3
    }
}

impl Batch {
    /// The same for fewer or more bytes: what is not fixed grows with them, and a batch stays one file
    /// for each partition.
    pub(super) fn at(&self, batch_bytes: f64, fixed_ms: f64) -> Self {
        let fixed = fixed_ms.min(self.batch_ms);
        let share = batch_bytes / self.batch_bytes;
        let batch_ms = fixed + (self.batch_ms - fixed) * share;
        Self { batch_bytes, batch_ms, files_bytes: self.files_bytes * share, ..*self }
    }

    fn batches(&self) -> f64 {
        GB / self.batch_bytes
    }

    fn ingest(&self) -> Requests {
        let n = self.batches();
        Requests { puts_and_lists: n * (self.puts + self.lists), puts: n * self.puts, gets: n * self.gets }
    }

    fn gb_per_hour(&self, rate: f64) -> f64 {
        rate * self.event_bytes * 3_600.0 / GB
    }
}

/// Item and USD for a GB of payload.
pub(super) fn weir(prices: &Prices, b: &Batch, s: &Setting) -> Vec<(&'static str, f64)> {
    let shards = shards(prices, b, s.rate);
    let hours = 1.0 / b.gb_per_hour(s.rate);
    let revisions = GB / s.partition_bytes;
    let runs = hours * 3_600.0 / s.close_every_s;
    let parquet_gb = b.batches() * b.files_bytes / GB;
    let closing = closing(b, (shards, revisions, runs, parquet_gb));
    let gib_second = prices.lambda.gib_second(s.architecture);
    let compaction = parquet_gb * s.close_s_per_gb * VCPU_GIB * gib_second;
    let run = prices.lambda.usd(s.architecture, CLOSE_MEMORY_MB, CLOSE_RUN_MS);
    let ingest = b.ingest();
    let cold = COLD_SHARE * f64::from(b.memory_mb) / 1_024.0 * b.cold_ms / 1e3 * gib_second;
    let log_gib =
        (b.batches() * (b.log_bytes + SERVICE_LOG_BYTES) + runs * (b.log_bytes + SERVICE_LOG_BYTES)) / GIB;
    let kms_calls = if s.kms { ingest.puts + ingest.gets + closing.puts + closing.gets } else { 0.0 };
    let glue_calls =
        revisions * (shards + REVISION_GLUE_CALLS) + hours * TABLE_READS_PER_HOUR * (shards + 1.0);
    vec![
        ("Lambda", b.batches() * (prices.lambda.usd(s.architecture, b.memory_mb, b.batch_ms) + cold)),
        ("S3 requests", ingest.usd(prices)),
        ("logs", log_gib * prices.logs.gib_ingested),
        ("metrics", hours / MONTH_HOURS * (INGEST_METRICS + CLOSE_METRICS) * prices.logs.metric_month),
        ("KMS", kms_calls * prices.kms.ten_thousand_requests / 1e4),
        ("Glue calls", glue_calls * prices.glue.million_catalog_requests / 1e6),
        ("close", compaction + closing.usd(prices) + runs * run),
    ]
}

fn closing(b: &Batch, (shards, revisions, runs, parquet_gb): (f64, f64, f64, f64)) -> Requests {
    let live_files = b.batches() * b.files;
    let closed_files = (parquet_gb * GB / CLOSED_FILE_BYTES).max(revisions);
    let file_gets = if b.files_bytes / b.files <= SMALL_FILE_BYTES { SMALL_FILE_GETS } else { FILE_GETS };
    let puts = closed_files + revisions * REVISION_PUTS + runs * RUN_PUTS;
    Requests {
        puts_and_lists: puts + revisions * REVISION_LISTS + runs * RUN_LISTS,
        puts,
        gets: live_files * file_gets + revisions * REVISION_GETS + runs * (shards + RUN_GETS),
    }
}

fn shards(prices: &Prices, b: &Batch, rate: f64) -> f64 {
    let by_bytes = rate * b.event_bytes / prices.kinesis.shard_bytes_per_second;
    by_bytes.max(rate / prices.kinesis.shard_records_per_second).ceil()
}

/// What else could write the same tables: name and USD for a GB.
pub(super) fn others(prices: &Prices, b: &Batch, s: &Setting) -> Vec<(String, f64)> {
    let firehose = &prices.firehose;
    let put = prices.s3.thousand_puts_and_lists / 1e3;
    let rounded = rounded_up(b.event_bytes, firehose.record_unit_bytes);
    let converted = GB * rounded / GIB * (firehose.gib_ingested + firehose.gib_converted);
    let objects = GB / FIREHOSE_OBJECT_BYTES;
    let partition_objects = objects.max(GB / s.partition_bytes);
    let partitioned = converted
        + GB / GIB * firehose.gib_partitioned
        + partition_objects * firehose.thousand_partition_objects / 1e3;
    // Two workers of a quarter of a DPU are the least of a streaming job, and workers are quarters.
    let bytes_per_second = s.rate * b.event_bytes;
    let dpus = ((bytes_per_second / s.dpu_bytes_per_second * 4.0).ceil() / 4.0).max(0.5);
    let glue = dpus * prices.glue.dpu_hour / b.gb_per_hour(s.rate);
    vec![
        ("Firehose with format conversion".into(), converted + objects * put),
        ("Firehose, conversion and dynamic partitions".into(), partitioned + partition_objects * put),
        (format!("Glue streaming, {dpus} DPU, its requests aside"), glue),
    ]
}

/// The stream itself: name and USD for a GB.
pub(super) fn stream(prices: &Prices, b: &Batch, rate: f64) -> Vec<(String, f64)> {
    let kinesis = &prices.kinesis;
    let hours = 1.0 / b.gb_per_hour(rate);
    let by_records = shards(prices, b, rate);
    let by_bytes = (rate * b.event_bytes / kinesis.shard_bytes_per_second).ceil();
    let units =
        |record_bytes: f64| GB * rounded_up(record_bytes, kinesis.put_unit_bytes) / kinesis.put_unit_bytes;
    let provisioned = |shards: f64, record_bytes: f64| {
        shards * kinesis.shard_hour * hours + units(record_bytes) * kinesis.million_put_units / 1e6
    };
    let on_demand = |record_bytes: f64| {
        let gib = GB * rounded_up(record_bytes, kinesis.on_demand_record_unit_bytes) / GIB;
        gib * (kinesis.on_demand_gib_in + kinesis.on_demand_gib_out) + hours * kinesis.on_demand_stream_hour
    };
    let aggregate = kinesis.put_unit_bytes;
    vec![
        (format!("Kinesis, {by_records:.0} shards, single records"), provisioned(by_records, b.event_bytes)),
        (format!("Kinesis, {by_bytes:.0} shards, aggregates of 25 KB"), provisioned(by_bytes, aggregate)),
        ("Kinesis on demand, single records".into(), on_demand(b.event_bytes)),
        ("Kinesis on demand, aggregates of 25 KB".into(), on_demand(aggregate)),
    ]
}

/// Billed bytes for a byte, where records are rounded up to whole units.
fn rounded_up(record_bytes: f64, unit: f64) -> f64 {
    (record_bytes / unit).ceil() * unit / record_bytes
}
