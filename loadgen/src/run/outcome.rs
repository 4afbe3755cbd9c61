//! What a run came to: the JSON that `--out` writes and that `loadgen check` reads again.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::truth::Truth;

/// Three digits, up to an hour.
const LONGEST_US: u64 = 3_600_000_000;

/// Recorder of one lane; merged over lanes.
#[derive(Debug, Clone)]
pub struct Latencies(Option<Histogram<u64>>);

impl Latencies {
    /// Nothing recorded.
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_US, 3).ok())
    }

    /// Record microseconds; beyond an hour counts as an hour.
    #[inline]
    pub fn record(&mut self, us: i64) {
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(us.max(1) as u64);
        }
    }

    /// Add another's.
    pub fn merge(&mut self, other: &Self) {
        if let (Some(mine), Some(other)) = (&mut self.0, &other.0) {
            // Both have the same bounds.
            let _ = mine.add(other);
        }
    }

    /// Its figures.
    pub fn summary(&self) -> Percentiles {
        let Some(h) = self.0.as_ref().filter(|h| !h.is_empty()) else { return Percentiles::default() };
        let ms = |us: u64| us as f64 / 1e3;
        Percentiles {
            count: h.len(),
            mean_ms: h.mean() / 1e3,
            p50_ms: ms(h.value_at_quantile(0.5)),
            p90_ms: ms(h.value_at_quantile(0.9)),
            p99_ms: ms(h.value_at_quantile(0.99)),
            p999_ms: ms(h.value_at_quantile(0.999)),
            max_ms: ms(h.max()),
            encoded: self.encoded(),
        }
    }

    /// The histogram in the compressed form that HdrHistogram's tools read, in base64.
    fn encoded(&self) -> String {
        use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
        let mut bytes = Vec::new();
        let written = self.0.as_ref().map(|h| V2DeflateSerializer::new().serialize(h, &mut bytes));
        match written {
            Some(Ok(_)) => base64_simd::STANDARD.encode_to_string(&bytes),
            _ => String::new(),
        }
    }

    /// The percentile distribution as `.hgrm` files have it, in milliseconds.
    pub fn hgrm(&self) -> String {
        use std::fmt::Write;
        let mut out = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
        let Some(h) = &self.0 else { return out };
        for step in h.iter_quantiles(5) {
            let (value, quantile) = (step.value_iterated_to() as f64 / 1e3, step.quantile_iterated_to());
            let tail =
                if quantile < 1.0 { format!("{:14.2}", 1.0 / (1.0 - quantile)) } else { String::new() };
            let below = h.count_between(0, step.value_iterated_to());
            let _ = writeln!(out, "{value:12.3} {quantile:14.12} {below:10} {tail}");
        }
        let _ =
            writeln!(out, "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]", h.mean() / 1e3, h.stdev() / 1e3);
        let _ = writeln!(out, "#[Max     = {:12.3}, Total count    = {:12}]", h.max() as f64 / 1e3, h.len());
        let _ = writeln!(out, "#[Buckets = {:12}, SubBuckets     = {:12}]", h.buckets(), 2_048);
        out
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

/// Figures of one histogram.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Values.
    pub count: u64,
    /// Mean, ms.
    pub mean_ms: f64,
    /// 50 %.
    pub p50_ms: f64,
    /// 90 %.
    pub p90_ms: f64,
    /// 99 %.
    pub p99_ms: f64,
    /// 99.9 %.
    pub p999_ms: f64,
    /// Largest.
    pub max_ms: f64,
    /// The whole histogram (V2, deflated, base64), in microseconds.
    pub encoded: String,
}

/// Figures of one second of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Which, from 0.
    pub second: u64,
    /// Events whose request was sent.
    pub sent: u64,
    /// Events acknowledged.
    pub acknowledged: u64,
    /// Events seen committed, dead letters included.
    pub committed: u64,
    /// Requests that failed.
    pub errors: u64,
    /// Records throttled so far.
    pub throttled: u64,
    /// Acknowledged and not yet seen committed.
    pub lag: u64,
    /// How far behind arrivals the newest commit is, ms.
    pub iterator_age_ms: u64,
    /// Resident memory of the generator.
    pub rss_bytes: u64,
}

/// How a run was asked for: enough to tell from a number what was sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Tag of the run in every event.
    pub tag: u32,
    /// Wall clock at the start, microseconds since 1970.
    pub started_us: i64,
    /// Table.
    pub table: String,
    /// Kind and name of the target.
    pub target: String,
    /// The schedule.
    pub rate: String,
    /// Seed.
    pub seed: u64,
    /// Late, malformed, violating, duplicate, in percent.
    pub percentages: [f64; 4],
    /// Column that carries the stamp.
    pub id_column: String,
    /// How events were packed.
    pub packing: String,
    /// File that was replayed.
    pub replay: Option<String>,
    /// Lanes.
    pub lanes: u64,
    /// Whether events were items of a table whose changes are the rows.
    #[serde(default)]
    pub of_changes: bool,
}

/// How the generator's clock and the stream's stand to each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Skew {
    /// Requests compared.
    pub samples: u64,
    /// The stream's clock is ahead by at least that much (negative: behind), ms.
    pub least_ms: f64,
    /// And by at most that much, ms.
    pub most_ms: f64,
}

/// Less than this of what was asked for is a rate that was not met.
const MET: f64 = 0.99;

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it was asked for.
    pub config: Config,
    /// Seconds from the first send to the last answer.
    pub seconds: f64,
    /// Processor time of the generator meanwhile, watching included.
    #[serde(default)]
    pub cpu_seconds: f64,
    /// Events that the schedule asked for.
    pub scheduled: u64,
    /// Events made, copies included.
    pub generated: u64,
    /// Events acknowledged, copies included.
    pub acknowledged: u64,
    /// Events given up.
    pub given_up: u64,
    /// Events a second, acknowledged.
    pub rate: f64,
    /// Events a second that were asked for.
    pub asked_rate: f64,
    /// Records and requests that were acknowledged or sent, and their payload.
    pub records: u64,
    /// Requests.
    pub requests: u64,
    /// Payload of acknowledged records.
    pub payload_bytes: u64,
    /// Bytes of events before packing.
    pub event_bytes: u64,
    /// Records throttled.
    pub throttled: u64,
    /// Records tried again.
    pub retried: u64,
    /// Requests without an answer for their records.
    pub failed_requests: u64,
    /// What failures said, and how often.
    pub failures: BTreeMap<String, u64>,
    /// Why it ended early.
    pub ended_early: Option<String>,
    /// Intended send → acknowledged.
    pub put: Percentiles,
    /// Intended send → the commit is seen.
    pub committed: Option<Percentiles>,
    /// Intended send → a reader has read the row.
    pub queryable: Option<Percentiles>,
    /// Clocks.
    pub skew: Option<Skew>,
    /// Acknowledged events that no commit listed when the wait at the end was over: perhaps not lost,
    /// only late.
    #[serde(default)]
    pub behind_at_end: u64,
    /// Second by second.
    pub series: Vec<Second>,
    /// Largest resident memory of the generator.
    pub peak_rss_bytes: u64,
    /// The check at the end.
    pub truth: Option<Truth>,
    /// What was acknowledged, as runs of (state, events): 0 not, 1 yes, 2 perhaps twice, 3 unknown.
    pub ledger: Vec<(u8, u64)>,
}

impl Outcome {
    /// Whether the rate that was asked for was reached. The last answers of a short run come a moment
    /// after its end.
    pub fn met_its_rate(&self) -> bool {
        let asked_seconds = self.scheduled as f64 / self.asked_rate;
        self.acknowledged as f64 >= self.scheduled as f64 * MET && self.seconds <= asked_seconds / MET + 1.0
    }

    /// Whether everything was sent, and is where it belongs.
    pub fn held(&self) -> bool {
        self.ended_early.is_none()
            && self.given_up == 0
            && self.truth.as_ref().is_none_or(crate::truth::Truth::holds)
    }
}
