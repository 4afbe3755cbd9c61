//! Which partition an event time belongs to, derived apart from the code that files rows.

use weir::schema::{Granularity, TableSchema};

use crate::generate::strftime;

/// The time-derived values of one partition, and what they should be.
pub(super) struct PartitionOf {
    /// Pattern and value of each key that a time gives.
    keys: Vec<(&'static str, String, bool)>,
    /// The last hour that was judged, with its verdict: rows of a file are of few hours.
    last: Option<(i64, bool)>,
}

impl PartitionOf {
    pub(super) fn new(table: &TableSchema, values: &[String]) -> Self {
        let keys = table.partition_keys.iter().zip(values).filter_map(|(key, value)| {
            let pattern = match key.granularity {
                Granularity::Year => "%Y",
                Granularity::Month => "%Y-%m",
                Granularity::Day => "%Y-%m-%d",
                Granularity::Hour => "%Y-%m-%d-%H",
                Granularity::Identity => return None,
            };
            Some((pattern, value.clone(), table.event_time == Some(key.column)))
        });
        Self { keys: keys.collect(), last: None }
    }

    /// Whether a row with this time, sent with that one, belongs here.
    pub(super) fn is_right(&mut self, stored: Option<i64>, sent: Option<i64>) -> bool {
        let by_event_time = self.keys.iter().all(|(_, _, of_event_time)| *of_event_time);
        // What was sent is the truth; what is stored is asked where it is not known.
        let Some(time) = sent.filter(|_| by_event_time).or(stored) else { return true };
        let hour = time.div_euclid(3_600_000_000);
        if let Some((known, verdict)) = self.last
            && known == hour
        {
            return verdict;
        }
        let right = self.keys.iter().all(|(pattern, value, _)| strftime(pattern, time) == *value);
        self.last = Some((hour, right));
        right
    }
}
