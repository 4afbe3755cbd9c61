//! The protocol's cases: attempts, redeliveries, crashes, folding, repairs, races.

use weir::clock::EpochMicros;
use weir::commit::format::Commit;
use weir::commit::store::{Put, Requests};
use weir::commit::{Folding, LakeStore, Outcome, PositionSet, ShardWriter, reader};
use weir::naming::LogEntry;
use weir::record::RecordId;
use weir_tests::random::Random;

use crate::place::{chain, check, commit, files_of, numbers, shard, slot};

fn writer(lake: &LakeStore) -> ShardWriter {
    ShardWriter::new(lake.clone(), shard())
}

fn nothing_left() -> Outcome {
    Outcome::AlreadyCommitted { pending: PositionSet::default() }
}

pub(crate) async fn a_warm_writer_alone_needs_two_puts_and_no_read(lake: LakeStore) {
    let mut writer = writer(&lake);
    let _ = commit(&mut writer, &numbers(0..10), "a", 1).await;
    for (files, start) in [(1, 10), (3, 20)] {
        let before = lake.requests();
        let outcome = commit(&mut writer, &numbers(start..start + 10), "b", files).await;
        assert!(matches!(outcome, Outcome::Committed { .. }) && outcome.first_pending().is_none());
        let expected = Requests { puts: files + 1, ..Requests::default() };
        assert_eq!(lake.requests().since(&before), expected, "{files} files and a version");
    }
    check(&lake, &numbers(0..30)).await;
}

pub(crate) async fn what_is_delivered_again_in_other_pieces_is_committed_once(lake: LakeStore) {
    let mut random = Random::new(5);
    let (mut warm, mut at) = (writer(&lake), 0);
    for delivery in 0..40 {
        // Back by up to 30 records, as after a partial answer, a bisect, a new mapping.
        let start = at - random.below(30).min(at);
        at = at.max(start + 1 + random.below(25));
        let attempt = format!("a{delivery}");
        let batch = numbers(start..at);
        let mut cold = writer(&lake);
        let by = if random.below(3) == 0 { &mut cold } else { &mut warm };
        assert_eq!(commit(by, &batch, &attempt, 2).await.first_pending(), None);
    }
    for start in (0..at).step_by(17) {
        let again = commit(&mut warm, &numbers(start..(start + 17).min(at)), "again", 2).await;
        assert_eq!(again, nothing_left());
    }
    check(&lake, &numbers(0..at)).await;
}

pub(crate) async fn folded_versions_are_still_known(lake: LakeStore) {
    let mut warm = writer(&lake);
    for i in 0..70 {
        let _ = commit(&mut warm, &numbers(10 * i..10 * i + 10), &format!("a{i}"), 1).await;
    }
    for checkpoint in [32, 64] {
        let key = chain().object(LogEntry::Checkpoint(checkpoint));
        assert!(lake.get(&key).await.unwrap().is_some(), "{key}");
    }
    // One list, the checkpoint, the six commits above it, those that the batch meets below it, and two looks
    // beside the file of each commit that lists some of it.
    for (batch, gets) in [(680..700, 7 + 4), (0..5, 8 + 2), (25..35, 9 + 4)] {
        let mut cold = writer(&lake);
        let before = lake.requests();
        assert_eq!(commit(&mut cold, &numbers(batch.clone()), "again", 1).await, nothing_left());
        let expected = Requests { gets, lists: 1, ..Requests::default() };
        assert_eq!(lake.requests().since(&before), expected, "{batch:?}");
    }
    check(&lake, &numbers(0..700)).await;
}

pub(crate) async fn old_ranges_move_to_segments_and_are_still_known(lake: LakeStore) {
    let folding = Folding { every: 4, segment: 8, commits: 2 };
    let mut warm = ShardWriter::with_folding(lake.clone(), shard(), folding);
    for i in 0..41 {
        let _ = commit(&mut warm, &numbers(10 * i..10 * i + 10), &format!("a{i}"), 1).await;
    }
    for segment in [8, 16, 24, 32] {
        let key = chain().object(LogEntry::Segment(segment));
        assert!(lake.get(&key).await.unwrap().is_some(), "{key}");
    }
    let mut cold = ShardWriter::with_folding(lake.clone(), shard(), folding);
    for start in (0..400).step_by(7) {
        let again = commit(&mut cold, &numbers(start..start + 7), "again", 1).await;
        assert_eq!(again, nothing_left(), "C2 at {start}");
    }
    check(&lake, &numbers(0..410)).await;
}

pub(crate) async fn a_chain_without_its_checkpoints_is_the_same_chain(lake: LakeStore) {
    let mut warm = writer(&lake);
    for i in 0..34 {
        let _ = commit(&mut warm, &numbers(10 * i..10 * i + 10), &format!("a{i}"), 1).await;
    }
    lake.delete(&chain().object(LogEntry::Checkpoint(32))).await.unwrap();
    let mut cold = writer(&lake);
    assert_eq!(commit(&mut cold, &numbers(0..340), "again", 1).await, nothing_left());
    assert_eq!(commit(&mut cold, &numbers(335..350), "b", 1).await.first_pending(), None);
    check(&lake, &numbers(0..350)).await;
}

pub(crate) async fn a_crashed_attempts_files_are_met_probed_around_and_deleted(lake: LakeStore) {
    let mut warm = writer(&lake);
    let _ = commit(&mut warm, &numbers(0..10), "a", 1).await;
    // Two crashes on one slot, with other rows than the next attempt will have.
    for probe in [0, 1] {
        let put = lake.put_if_absent(&slot(1, 10, probe), "10,11,12".into()).await.unwrap();
        assert_eq!(put, Put::Created);
    }
    let before = lake.requests();
    let outcome = commit(&mut warm, &numbers(10..15), "b", 1).await;
    assert!(matches!(&outcome, Outcome::Committed { files, .. } if files[0].key() == slot(1, 10, 2)));
    let Requests { puts, refused_puts, deletes, .. } = lake.requests().since(&before);
    assert_eq!((puts, refused_puts, deletes), (4, 2, 2));
    check(&lake, &numbers(0..15)).await;
}

pub(crate) async fn a_file_that_a_commit_called_dead_is_deleted_by_whoever_reads_it(lake: LakeStore) {
    let (mut first, mut second) = (writer(&lake), writer(&lake));
    let _ = commit(&mut first, &numbers(0..10), "a", 1).await;
    let _ = commit(&mut second, &numbers(10..20), "b", 1).await;
    // Another attempt's file of record 20, dead since a commit lists the record and not the file; its
    // writer died before it deleted it.
    let dead = slot(2, 20, 0);
    let mut header = header_of(&lake, 2).await;
    (header.files, header.rows, header.dead) = (Vec::new(), 0, vec![dead.clone()]);
    (header.min, header.max, header.positions) = (Some(20.into()), Some(20.into()), 1);
    let bytes = Commit::encode(&header, &numbers(20..21)).unwrap();
    assert_eq!(lake.put_if_absent(&dead, "20".into()).await.unwrap(), Put::Created);
    assert_eq!(lake.put_if_absent(&version(3), bytes).await.unwrap(), Put::Created);
    let _ = commit(&mut second, &numbers(21..30), "c", 1).await;
    assert_eq!(lake.get(&dead).await.unwrap(), None, "C5");
    for listed in reader::live_files(&lake, None).await.unwrap() {
        assert!(lake.get(&listed.key).await.unwrap().is_some(), "C1: {}", listed.key);
    }
}

pub(crate) async fn a_cut_prefix_is_committed_and_the_rest_reported(lake: LakeStore) {
    let mut writer = writer(&lake);
    let mut build = |_: &PositionSet| Ok(files_of(&numbers(0..4), |n| if n < 3 { 1 } else { 9 }));
    let outcome = writer.commit(&numbers(0..10), EpochMicros(7), "a", &mut build).await.unwrap();
    assert_eq!(outcome.first_pending(), Some(4.into()));
    let listed = reader::live_files(&lake, Some("quarantine")).await.unwrap();
    assert_eq!(listed.iter().map(|f| f.key.as_str()).collect::<Vec<_>>(), [slot(9, 3, 0)]);
    let status = &reader::shard_status(&lake).await.unwrap()[0];
    assert_eq!((status.head, status.positions, status.rows, status.quarantined), (1, 4, 3, 1));
    assert_eq!((status.max, status.arrived_through), (Some(3.into()), EpochMicros(7)));
    check(&lake, &numbers(0..4)).await;
}

pub(crate) async fn byte_ranges_of_a_file_commit_and_resume(lake: LakeStore) {
    let ranges = |range: std::ops::Range<u64>| PositionSet::from_ranges([range]);
    let mut build = |left: &PositionSet| {
        let mut built = files_of(&numbers(0..1), |_| 1);
        built.files[0].first = RecordId { sequence: left.min().unwrap(), subsequence: 0 };
        built.covers = left.clone();
        Ok(built)
    };
    let mut warm = writer(&lake);
    let _ = warm.commit(&ranges(0..1000), EpochMicros(1), "a", &mut build).await.unwrap();
    let outcome = warm.commit(&ranges(500..2000), EpochMicros(1), "b", &mut build).await.unwrap();
    assert!(matches!(outcome, Outcome::Committed { covers, .. } if covers == ranges(1000..2000)));
    let again = writer(&lake).commit(&ranges(0..2000), EpochMicros(1), "c", &mut build).await.unwrap();
    assert_eq!(again, nothing_left());
}

pub(crate) async fn a_hole_or_an_unknown_format_is_a_retryable_error_and_never_a_skip(lake: LakeStore) {
    let mut warm = writer(&lake);
    for i in 0..3 {
        let _ = commit(&mut warm, &numbers(10 * i..10 * i + 10), &format!("a{i}"), 1).await;
    }
    let mut build = |left: &PositionSet| Ok(files_of(left, |_| 1));
    lake.delete(&version(2)).await.unwrap();
    let cold = writer(&lake).commit(&numbers(90..99), EpochMicros(1), "b", &mut build).await.unwrap_err();
    assert!(cold.retryable() && cold.to_string().contains("hole"), "{cold}");
    assert!(reader::read_chain(&lake, &chain()).await.unwrap_err().to_string().contains("hole"));
    let _ = lake.put_if_absent(&version(4), "{\"format\":2}\n".into()).await.unwrap();
    let newer = warm.commit(&numbers(90..99), EpochMicros(1), "c", &mut build).await.unwrap_err();
    assert!(newer.retryable() && newer.to_string().contains("format 2"), "{newer}");
}

pub(crate) async fn a_name_that_a_repair_dropped_is_never_listed(lake: LakeStore) {
    let mut stale = writer(&lake);
    let _ = commit(&mut stale, &numbers(0..10), "a", 1).await;
    let mut header = header_of(&lake, 1).await;
    (header.min, header.max, header.files, header.positions) = (None, None, Vec::new(), 0);
    header.drops = vec![slot(1, 10, 0), slot(1, 10, 1)];
    let repair = Commit::encode(&header, &PositionSet::default()).unwrap();
    assert_eq!(lake.put_if_absent(&version(2), repair).await.unwrap(), Put::Created);
    // This writer puts at the slot, is refused version 2, and learns of the drop.
    let outcome = commit(&mut stale, &numbers(10..20), "b", 1).await;
    let Outcome::Committed { version: 3, files, .. } = &outcome else { panic!("{outcome:?}") };
    assert_eq!(files[0].key(), slot(1, 10, 2));
    let _ = commit(&mut writer(&lake), &numbers(20..30), "c", 1).await;
    check(&lake, &numbers(0..30)).await;
}

pub(crate) async fn writers_that_race_on_one_chain_commit_each_record_once(lake: LakeStore) {
    for round in 0..3 {
        let base = 1_000 * round;
        let writers = (0..16).map(|i| {
            let mut writer = writer(&lake);
            // Overlapping batches: each record is in two of them.
            let (batch, attempt) = (numbers(base + 10 * i..base + 10 * i + 20), format!("{round}/{i}"));
            tokio::spawn(async move { commit(&mut writer, &batch, &attempt, 2).await })
        });
        for writer in writers.collect::<Vec<_>>() {
            assert_eq!(writer.await.unwrap().first_pending(), None);
        }
    }
    let all = (0..3)
        .fold(PositionSet::default(), |all, round| all.union(&numbers(1_000 * round..1_000 * round + 170)));
    check(&lake, &all).await;
}

pub(crate) async fn sixteen_times_the_same_batch_is_one_commit(lake: LakeStore) {
    for round in 0..3u64 {
        let batch = numbers(100 * round..100 * round + 50);
        let writers = (0..16).map(|i| {
            let (mut writer, batch) = (writer(&lake), batch.clone());
            tokio::spawn(async move { commit(&mut writer, &batch, &format!("{round}/{i}"), 1).await })
        });
        let mut winners = 0;
        for writer in writers.collect::<Vec<_>>() {
            winners += u32::from(matches!(writer.await.unwrap(), Outcome::Committed { .. }));
        }
        assert_eq!(winners, 1, "C2: winners of round {round}");
    }
    assert_eq!(reader::read_chain(&lake, &chain()).await.unwrap().len(), 3);
    let all =
        (0..3).fold(PositionSet::default(), |all, round| all.union(&numbers(100 * round..100 * round + 50)));
    check(&lake, &all).await;
}

fn version(version: u64) -> String {
    chain().object(LogEntry::Commit(version))
}

async fn header_of(lake: &LakeStore, number: u64) -> weir::commit::format::CommitHeader {
    let key = version(number);
    Commit::decode(&key, &lake.get(&key).await.unwrap().unwrap()).unwrap().header
}
