//! What close asks of a stream: which shards there are, and when the first record arrived that no
//! commit lists. Implementations live outside of this package: they need a client.

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::EpochMicros;
use crate::error::Result;
use crate::record::SequenceNumber;

/// A shard of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamShard {
    /// Its id.
    pub id: String,
    /// Whether it takes no more records.
    pub closed: bool,
}

/// All shards that a stream lists, closed ones included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shards {
    /// When the service answered, by its clock. A shard that is made later has no earlier record.
    pub at: EpochMicros,
    /// In any order.
    pub shards: Vec<StreamShard>,
}

/// What stands in a shard after a position.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// A record, which arrived then.
    Record {
        /// By the service's clock.
        arrived: EpochMicros,
    },
    /// Nothing up to the shard's end of then.
    Nothing {
        /// When the service said so, by its clock.
        at: EpochMicros,
    },
    /// Nothing, and nothing will come: the shard is closed and read to its end.
    Ended,
}

/// A batch that the event source mapping gave up on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUpRange {
    /// Shard id.
    pub shard: String,
    /// Last record.
    pub last: SequenceNumber,
    /// Records.
    pub records: u64,
    /// When it was given up.
    pub at: EpochMicros,
}

/// A stream that feeds tables. An implementation asks the service each time and never answers from a
/// local clock. An empty answer proves nothing: it asks on until a record comes or the service says
/// that the reader has reached the end (for Kinesis `MillisBehindLatest = 0`; where the service does
/// not say, see [`Idleness`]).
#[async_trait]
pub trait Stream: Send + Sync {
    /// Key of the stream in the lake ([`crate::naming::stream_key`]).
    fn key(&self) -> &str;

    /// The shards.
    async fn shards(&self) -> Result<Shards>;

    /// What stands after `after` in a shard; from its oldest record if none.
    async fn first_after(&self, shard: &str, after: Option<SequenceNumber>) -> Result<Look>;

    /// Batches that the mapping gave up on: their records come no more.
    async fn given_up(&self) -> Result<Vec<GivenUpRange>> {
        Ok(Vec::new())
    }

    /// For a mapping with a parallelization factor above 1, how long it may hold a record back at
    /// most: maximum record age and the function's time-out. Commits of lanes leave holes that
    /// nobody sees, so that what arrived within this time is taken for missing.
    fn held_back(&self) -> Option<Duration> {
        None
    }

    /// Least allowed lateness of its tables (a minute for DynamoDB, whose times are whole seconds).
    fn least_lateness(&self) -> Duration {
        Duration::ZERO
    }
}

/// The rule for services that do not say how far behind a reader is: five empty answers in a row, at
/// least ten seconds from the first to the last, count as nothing there.
#[derive(Debug, Default)]
pub struct Idleness {
    answers: VecDeque<EpochMicros>,
}

impl Idleness {
    /// Empty answers in a row.
    pub const ANSWERS: usize = 5;
    /// Time from the first of them to the last.
    pub const SPAN: Duration = Duration::from_secs(10);

    /// An empty answer at `at`, by the service's clock. The time of the first answer of the row that
    /// proves it: what arrived before is known.
    pub fn empty(&mut self, at: EpochMicros) -> Option<EpochMicros> {
        self.answers.push_back(at);
        let (first, last) = (*self.answers.front()?, *self.answers.back()?);
        let long = last.0 - first.0 >= Self::SPAN.as_micros() as i64;
        (self.answers.len() >= Self::ANSWERS && long).then_some(first)
    }

    /// A record came: begin anew.
    pub fn record(&mut self) {
        self.answers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_empty_answers_over_ten_seconds_count_as_idle() {
        let at = |seconds: i64| EpochMicros(seconds * 1_000_000);
        let row = |times: &[i64]| {
            let mut idle = Idleness::default();
            times.iter().filter_map(|&t| idle.empty(at(t))).next()
        };
        assert_eq!(row(&[0, 3, 6, 9]), None);
        assert_eq!(row(&[0, 1, 2, 3, 4]), None, "five within ten seconds");
        assert_eq!(row(&[0, 3, 6, 9, 12]), Some(at(0)));
        assert_eq!(row(&[0, 1, 2, 3, 4, 10]), Some(at(0)));
        let mut idle = Idleness::default();
        for t in [0, 3, 6, 9] {
            assert_eq!(idle.empty(at(t)), None);
        }
        idle.record();
        assert_eq!(idle.empty(at(30)), None, "a record between them begins anew");
    }
}
