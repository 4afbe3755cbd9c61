//! What a batch costs, on memory and on a local disk. Who wins a race, and what else holds on every
//! store, S3 included, is in `tests/tests/stores`.

use std::sync::Arc;

use object_store::memory::InMemory;

use super::{files_of, numbers, shard};
use crate::clock::EpochMicros;
use crate::commit::attempt::{Outcome, ShardWriter};
use crate::commit::known::Folding;
use crate::commit::positions::PositionSet;
use crate::commit::reader;
use crate::commit::store::{LakeStore, Put, Requests};
use crate::naming::{ChainKey, LogEntry};

fn lakes() -> Vec<(LakeStore, Option<tempfile::TempDir>)> {
    let folder = tempfile::tempdir().unwrap();
    let url = url::Url::from_directory_path(folder.path()).unwrap();
    vec![
        (LakeStore::new(Arc::new(InMemory::new()), Default::default(), "memory:///"), None),
        (LakeStore::open(url.as_str(), &[]).unwrap(), Some(folder)),
    ]
}

async fn commit(writer: &mut ShardWriter, batch: &PositionSet, attempt: &str, partitions: u64) -> Outcome {
    let mut build = |left: &PositionSet| Ok(files_of(left, "1", |n| Some(1 + n % partitions)));
    writer.commit(batch, EpochMicros(1), attempt, &mut build).await.unwrap()
}

/// Requests of one commit as (puts, refused, gets, lists, deletes).
async fn cost(
    lake: &LakeStore,
    writer: &mut ShardWriter,
    batch: &PositionSet,
    attempt: &str,
    partitions: u64,
) -> (Outcome, (u64, u64, u64, u64, u64)) {
    let before = lake.requests();
    let outcome = commit(writer, batch, attempt, partitions).await;
    let Requests { puts, refused_puts, gets, lists, deletes } = lake.requests().since(&before);
    (outcome, (puts, refused_puts, gets, lists, deletes))
}

#[tokio::test]
async fn a_warm_writer_alone_on_its_shard_needs_two_puts_and_no_read() {
    for (lake, _folder) in lakes() {
        let mut writer = ShardWriter::new(lake.clone(), shard());
        let (_, first) = cost(&lake, &mut writer, &numbers(0..10), "a", 1).await;
        assert_eq!(first, (2, 0, 0, 1, 0), "cold on an empty log: one list");
        let (outcome, second) = cost(&lake, &mut writer, &numbers(10..20), "b", 1).await;
        assert_eq!(second, (2, 0, 0, 0, 0), "C1: a data file and a version");
        assert!(matches!(&outcome, Outcome::Committed { version: 2, files, .. } if files.len() == 1));
        assert_eq!((outcome.first_pending(), outcome.partitions().len()), (None, 1));
        for k in [2, 5] {
            let start = 100 * k;
            let (_, many) = cost(&lake, &mut writer, &numbers(start..start + 10), "c", k).await;
            assert_eq!(many, (k + 1, 0, 0, 0, 0));
        }
        let mut nothing = |left: &PositionSet| Ok(files_of(left, "1", |_| None));
        let before = lake.requests();
        let skipped = writer.commit(&numbers(900..903), EpochMicros(2), "d", &mut nothing).await.unwrap();
        assert!(matches!(skipped, Outcome::Committed { version: 5, files, .. } if files.is_empty()));
        assert_eq!(
            lake.requests().since(&before).puts,
            1,
            "skipped records are acknowledged by a version alone"
        );
    }
}

#[tokio::test]
async fn a_quarantine_file_costs_a_put_and_folding_one_in_thirty_two() {
    for (lake, _folder) in lakes() {
        let mut writer = ShardWriter::new(lake.clone(), shard());
        let _ = commit(&mut writer, &numbers(0..10), "a", 1).await;
        let mut build =
            |left: &PositionSet| Ok(files_of(left, "1", |n| Some(if n % 2 == 0 { 1 } else { 9 })));
        let before = lake.requests();
        let outcome = writer.commit(&numbers(10..20), EpochMicros(1), "b", &mut build).await.unwrap();
        assert!(matches!(&outcome, Outcome::Committed { files, .. } if files.len() == 2));
        assert_eq!(lake.requests().since(&before).puts, 3, "a data file, a quarantine file, a version");
        let before = lake.requests();
        for i in 2..66 {
            let _ = commit(&mut writer, &numbers(10 * i..10 * i + 10), &format!("c{i}"), 1).await;
        }
        let Requests { puts, gets, lists, .. } = lake.requests().since(&before);
        assert_eq!((puts, gets, lists), (2 * 64 + 2, 0, 0), "two checkpoints");
    }
}

#[tokio::test]
async fn ten_warm_functions_on_ten_lanes_look_first_and_are_never_refused() {
    for (lake, _folder) in lakes() {
        let mut writers: Vec<_> = (0..10).map(|_| ShardWriter::new(lake.clone(), shard())).collect();
        let mut at = 0;
        for round in 0..6 {
            for (lane, writer) in writers.iter_mut().enumerate() {
                let batch = numbers(at..at + 10);
                at += 10;
                let (_, costs) = cost(&lake, writer, &batch, &format!("{round}/{lane}"), 1).await;
                // The first round is cold, the second meets the conflict that it learns from. One
                // commit in 32 is folded.
                let folded = u64::from((at / 10).is_multiple_of(32));
                if round > 1 {
                    assert_eq!(costs, (2 + folded, 0, 10, 0, 0), "round {round}, lane {lane}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_redelivery_of_what_is_committed_costs_no_put() {
    for (lake, _folder) in lakes() {
        let mut writer = ShardWriter::new(lake.clone(), shard());
        for i in 0..70 {
            let _ = commit(&mut writer, &numbers(10 * i..10 * i + 10), &format!("a{i}"), 1).await;
        }
        // Two looks beside each file of the commits that list it.
        for (batch, gets, looks) in [(680..700, 0, 4), (655..665, 0, 4), (0..5, 1, 2), (25..35, 2, 4)] {
            let mut cold = ShardWriter::new(lake.clone(), shard());
            let (_, warm) = cost(&lake, &mut writer, &numbers(batch.clone()), "again", 1).await;
            assert_eq!(warm, (0, 0, gets + looks, 0, 0), "warm, {batch:?}");
            let (outcome, cold) = cost(&lake, &mut cold, &numbers(batch.clone()), "again", 1).await;
            assert_eq!(outcome, Outcome::AlreadyCommitted { pending: PositionSet::default() });
            let (above, extra) = (6, if batch.start >= 640 { 0 } else { gets });
            assert_eq!(
                cold,
                (0, 0, 1 + above + extra + looks, 1, 0),
                "cold, {batch:?}: checkpoint 64 and 6 above it"
            );
        }
        let (outcome, mixed) = cost(&lake, &mut writer, &numbers(695..705), "b", 1).await;
        assert!(matches!(outcome, Outcome::Committed { covers, .. } if covers == numbers(700..705)));
        assert_eq!(mixed, (2, 0, 2, 0, 0));
    }
}

#[tokio::test]
async fn old_ranges_move_to_segments_and_are_still_known() {
    for (lake, _folder) in lakes() {
        let folding = Folding { every: 4, segment: 8, commits: 2 };
        let mut writer = ShardWriter::with_folding(lake.clone(), shard(), folding);
        for i in 0..61 {
            let _ = commit(&mut writer, &numbers(10 * i..10 * i + 10), &format!("a{i}"), 1).await;
        }
        let chain = ChainKey::of(&shard());
        assert!(lake.get(&chain.object(LogEntry::Segment(8))).await.unwrap().is_some());
        let mut cold = ShardWriter::with_folding(lake.clone(), shard(), folding);
        for start in (0..600).step_by(7) {
            let outcome = commit(&mut cold, &numbers(start..start + 7), "again", 1).await;
            assert_eq!(
                outcome,
                Outcome::AlreadyCommitted { pending: PositionSet::default() },
                "C2 at {start}"
            );
        }
        assert_eq!(reader::read_chain(&lake, &chain).await.unwrap().len(), 61);
    }
}

#[tokio::test]
async fn programs_that_end_segments_elsewhere_share_a_chain() {
    for (lake, _folder) in lakes() {
        let folding = |segment| Folding { every: 8, segment, commits: 2 };
        let mut writers = [3, 2, 6].map(|n| ShardWriter::with_folding(lake.clone(), shard(), folding(n)));
        for i in 0..80 {
            let writer = &mut writers[(i % 3) as usize];
            let _ = commit(writer, &numbers(10 * i..10 * i + 10), &format!("a{i}"), 1).await;
        }
        for segment in [2, 3, 6] {
            let mut cold = ShardWriter::with_folding(lake.clone(), shard(), folding(segment));
            for i in 0..80 {
                let again = commit(&mut cold, &numbers(10 * i..10 * i + 10), "again", 1).await;
                let expected = Outcome::AlreadyCommitted { pending: PositionSet::default() };
                assert_eq!(again, expected, "C2: version {} with segments of {segment}", i + 1);
            }
        }
    }
}

#[tokio::test]
async fn a_crashed_attempts_file_is_met_probed_around_and_deleted() {
    for (lake, _folder) in lakes() {
        let mut writer = ShardWriter::new(lake.clone(), shard());
        let _ = commit(&mut writer, &numbers(0..10), "a", 1).await;
        let left = files_of(&numbers(10..20), "old", |_| Some(1)).files.remove(0);
        let name = crate::naming::SlotName { first: left.first, probe: 0 }.file_name(&shard());
        let key = crate::naming::data_file("t", &left.partition, &name);
        assert_eq!(lake.put_if_absent(&key, left.bytes).await.unwrap(), Put::Created);
        let (outcome, costs) = cost(&lake, &mut writer, &numbers(10..15), "b", 1).await;
        assert_eq!(costs, (3, 1, 1, 0, 1), "file, probe, version; one look; one delete");
        assert!(
            matches!(&outcome, Outcome::Committed { files, .. } if files[0].name.ends_with("-10-1.parquet"))
        );
        assert_eq!(lake.get(&key).await.unwrap(), None, "C5");
        let (_, after) = cost(&lake, &mut writer, &numbers(15..20), "c", 1).await;
        assert_eq!(after, (2, 0, 1, 0, 0), "looks first after a conflict");
    }
}

#[tokio::test]
async fn what_an_overtaken_attempt_left_when_it_died_goes_with_the_redelivery() {
    for (lake, _folder) in lakes() {
        let batch = numbers(0..10);
        let left = files_of(&batch, "overtaken", |_| Some(1)).files.remove(0);
        let key = |probe| {
            let name = crate::naming::SlotName { first: left.first, probe }.file_name(&shard());
            crate::naming::data_file("t", &left.partition, &name)
        };
        let put = async |probe| lake.put_if_absent(&key(probe), left.bytes.clone()).await.unwrap();
        assert_eq!(put(0).await, Put::Created, "a first attempt died before its commit");
        let mut winner = ShardWriter::new(lake.clone(), shard());
        let _ = commit(&mut winner, &batch, "winner", 1).await;
        assert_eq!((put(0).await, put(2).await), (Put::Created, Put::Created), "two more died overtaken");
        for mut redelivered in [winner, ShardWriter::new(lake.clone(), shard())] {
            let _ = (put(0).await, put(2).await);
            let again = commit(&mut redelivered, &batch, "again", 1).await;
            assert_eq!(again, Outcome::AlreadyCommitted { pending: PositionSet::default() });
            for (probe, there) in [(0, false), (1, true), (2, false)] {
                assert_eq!(lake.get(&key(probe)).await.unwrap().is_some(), there, "C5: probe {probe}");
            }
        }
    }
}

#[tokio::test]
async fn the_redelivery_may_come_to_a_writer_that_is_behind() {
    for (lake, _folder) in lakes() {
        let mut behind = ShardWriter::new(lake.clone(), shard());
        let _ = commit(&mut behind, &numbers(0..1), "earlier", 1).await;
        let mut winner = ShardWriter::new(lake.clone(), shard());
        let _ = commit(&mut winner, &numbers(1..10), "winner", 1).await;
        let left = files_of(&numbers(1..10), "overtaken", |_| Some(1)).files.remove(0);
        let name = crate::naming::SlotName { first: left.first, probe: 1 }.file_name(&shard());
        let key = crate::naming::data_file("t", &left.partition, &name);
        assert_eq!(lake.put_if_absent(&key, left.bytes).await.unwrap(), Put::Created);
        let again = commit(&mut behind, &numbers(1..10), "again", 1).await;
        assert_eq!(again, Outcome::AlreadyCommitted { pending: PositionSet::default() });
        assert_eq!(lake.get(&key).await.unwrap(), None, "C5");
    }
}
