//! Writers against stores: request counts and races. The simulation is in `tests/tests/simulation`.
mod requests;
#[cfg(feature = "aws")]
mod s3;

use bytes::Bytes;

use super::attempt::{Built, BuiltFile};
use super::positions::PositionSet;
use crate::naming::{QUARANTINE_TABLE, quarantine_partition};
use crate::partition::PartitionPath;
use crate::record::{RecordId, SequenceNumber, Shard};

fn shard() -> Shard {
    Shard { stream: "s".into(), stream_key: "s-00000000".into(), shard: "shardId-000000000000".into() }
}

/// One file of table `t` (or the quarantine, for partition 9) a partition; its bytes say what it holds.
fn files_of(set: &PositionSet, salt: &str, partition: impl Fn(u64) -> Option<u64>) -> Built {
    let PositionSet::Exact(numbers) = set else { panic!("numbers expected") };
    let mut groups = std::collections::BTreeMap::<u64, Vec<SequenceNumber>>::new();
    for &n in numbers {
        if let Some(p) = partition(n.as_u64().unwrap()) {
            groups.entry(p).or_default().push(n);
        }
    }
    let file = |(p, rows): (u64, Vec<SequenceNumber>)| {
        let text: Vec<_> = rows.iter().map(|n| n.to_string()).collect();
        let day = format!("2026-11-{p:02}");
        BuiltFile {
            table: if p == 9 { QUARANTINE_TABLE } else { "t" }.into(),
            partition: if p == 9 {
                quarantine_partition("t", &day)
            } else {
                PartitionPath::from_values([("dt", Some(day.as_str()))])
            },
            quarantine: p == 9,
            first: RecordId { sequence: rows[0], subsequence: 0 },
            bytes: Bytes::from(format!("{salt}:{}", text.join(","))),
            rows: rows.len() as u64,
            schema_version: salt.into(),
        }
    };
    Built { files: groups.into_iter().map(file).collect(), covers: set.clone() }
}

fn numbers(range: std::ops::Range<u64>) -> PositionSet {
    range.map(SequenceNumber::from).collect()
}
