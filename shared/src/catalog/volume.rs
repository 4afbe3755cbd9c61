//! How many files a partition will hold before it is compacted: what lists, queries and compaction
//! have to go through.

use std::time::Duration;

use super::apply::{Change, TableChange};
use crate::schema::{Granularity, TableSchema};

/// Live files of a partition beyond which it is not reasonable to go: a list of 50 pages at every
/// query, and an hour's compaction.
pub const MAX_LIVE_FILES: u64 = 50_000;

/// How a stream reaches a table.
#[derive(Debug, Clone, Copy)]
pub struct Feed {
    /// Open shards.
    pub shards: u64,
    /// Parallelization factor.
    pub factor: u64,
    /// Batch window.
    pub window: Duration,
}

impl Feed {
    /// Files of a partition that is open for `span`: one a batch.
    fn files(&self, span: Duration) -> u64 {
        let lanes = u128::from(self.shards) * u128::from(self.factor);
        let batches = span.as_millis().div_ceil(self.window.as_millis().max(1));
        u64::try_from(lanes * batches).unwrap_or(u64::MAX)
    }

    /// Live files of one partition of a table; none if its partitions never end.
    pub fn live_files(&self, table: &TableSchema) -> Option<u64> {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        let span = |granularity| match granularity {
            Granularity::Hour => Some(Duration::from_secs(3_600)),
            Granularity::Day => Some(days(1)),
            Granularity::Month => Some(days(31)),
            Granularity::Year => Some(days(366)),
            Granularity::Identity => None,
        };
        let shortest = table.partition_keys.iter().filter_map(|key| span(key.granularity)).min();
        shortest.map(|span| self.files(span))
    }

    /// Live files of a day.
    pub fn daily_files(&self) -> u64 {
        self.files(Duration::from_secs(86_400))
    }

    /// Refuses a change whose table would hold more than [`MAX_LIVE_FILES`] in a partition.
    pub fn refuse_too_many(&self, change: &mut TableChange) {
        let Ok(schema) = TableSchema::from_input(&change.definition) else { return };
        let Some(files) = self.live_files(&schema).filter(|files| *files > MAX_LIVE_FILES) else { return };
        if matches!(change.change, Change::Refused { .. }) {
            return;
        }
        change.change = Change::Refused {
            reason: format!(
                "a partition would hold {files} live files ({} shards × factor {} with a window of {:?}), more than \
                 {MAX_LIVE_FILES}",
                self.shards, self.factor, self.window
            ),
            way_out: "partition by hour(…), make the batch window longer, or insist with --force".to_owned(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::TableInput;

    fn change(keys: &str) -> TableChange {
        let keys: Vec<&str> = keys.split_whitespace().collect();
        let named = |key: &&str| serde_json::json!({"Name": format!("k_{}", key.split('(').next().unwrap()), "Type": "string"});
        let parameters: serde_json::Map<_, _> = keys
            .iter()
            .map(|key| (format!("weir.partition.k_{}", key.split('(').next().unwrap()), (*key).into()))
            .collect();
        let definition = serde_json::json!({
            "Name": "t", "Parameters": parameters,
            "StorageDescriptor": {"Columns": [{"Name": "ts", "Type": "timestamp"}]},
            "PartitionKeys": keys.iter().map(named).collect::<Vec<_>>(),
        });
        let definition = TableInput::from_json(&definition.to_string()).unwrap();
        TableChange { table: "t".into(), change: Change::Create, definition }
    }

    #[test]
    fn a_partition_that_would_hold_too_many_files_is_refused_with_the_way_out() {
        let second = Duration::from_secs;
        for (keys, shards, factor, window, files, refused) in [
            ("day(ts)", 1, 1, second(10), Some(8_640), false),
            ("day(ts)", 5, 1, second(10), Some(43_200), false),
            ("day(ts)", 6, 1, second(10), Some(51_840), true),
            ("day(ts)", 1, 6, second(10), Some(51_840), true),
            ("day(ts)", 60, 10, second(300), Some(172_800), true),
            ("day(ts) hour(ts)", 60, 1, second(10), Some(21_600), false),
            ("day(ts) hour(ts)", 1_000, 1, second(10), Some(360_000), true),
            ("month(ts)", 1, 1, second(60), Some(44_640), false),
            ("year(ts)", 1, 1, second(60), Some(527_040), true),
            ("hour(ts)", 1, 1, second(7), Some(515), false),
            ("hour(ts)", 1, 1, Duration::ZERO, Some(3_600_000), true),
            ("", 1_000, 10, second(1), None, false),
        ] {
            let feed = Feed { shards, factor, window };
            let mut change = change(keys);
            let schema = TableSchema::from_input(&change.definition).unwrap();
            assert_eq!(feed.live_files(&schema), files, "{keys} {feed:?}");
            feed.refuse_too_many(&mut change);
            match &change.change {
                Change::Refused { reason, way_out } => {
                    assert!(refused && way_out.contains("--force"), "{keys} {feed:?}: {reason}");
                    assert!(reason.contains(&format!("{} live files", files.unwrap())), "{reason}");
                }
                _ => assert!(!refused, "{keys} {feed:?}"),
            }
        }
    }
}
