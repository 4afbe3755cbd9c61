use std::time::Duration;

use super::world::{Answer, HOUR, World, partition};
use crate::catalog::Catalog;
use crate::clock::EpochMicros;
use crate::close::*;
use crate::record::SequenceNumber;

const TEN_MINUTES: i64 = HOUR / 6;

#[tokio::test]
async fn a_partition_closes_once_everything_that_arrived_in_time_is_committed() {
    let mut world = World::new(2).await;
    world.commit(0, &[5]).await;
    world.commit(1, &[5, 6]).await;
    let end = 6 * HOUR + TEN_MINUTES;
    // Not over; over, but a shard holds a record that arrived before; over.
    for (now, waits, closes) in
        [(end - 1, None, false), (end + HOUR, Some(end - 1), false), (end + HOUR, Some(end), true)]
    {
        world.at(now);
        world.answer(1, waits.map_or(Answer::Nothing, Answer::Waits));
        let report = world.run().await;
        let open = report.open.iter().find(|open| open.partition == partition(5));
        assert_eq!(open.is_none(), closes, "{now} {waits:?}: {open:?}");
        if waits == Some(end - 1) {
            let Waits::Shard(shard) = &open.unwrap().reason else { panic!("{open:?}") };
            assert_eq!((shard.shard.as_str(), shard.stuck), ("shard-00001", true));
            assert_eq!(report.stuck().count(), 1);
        }
    }
    assert_eq!(world.shown(5).await, (1, ["1.5.a", "1.5.b", "2.5.a", "2.5.b"].map(String::from).to_vec()));
    assert_eq!(world.shown(6).await.0, 0, "the next hour is open");
    let calls = world.services.calls.lock().unwrap().clone();
    assert_eq!((calls.len(), calls[0].rows, calls[0].revision, calls[0].repeated), (1, 4, 1, false));
    assert!(calls[0].id.len() <= 64 && calls[0].location.ends_with("/"), "{:?}", calls[0]);
}

#[tokio::test]
async fn late_rows_make_a_revision_that_holds_everything_once() {
    let mut world = World::new(1).await;
    world.commit(0, &[5]).await;
    world.at(9 * HOUR);
    assert_eq!(world.run().await.closed.len(), 1);
    assert!(world.run().await.closed.is_empty(), "C6: once");
    world.commit(0, &[5, 8]).await;
    let report = world.run().await;
    assert_eq!(report.closed.len(), 1);
    let closed = &report.closed[0];
    assert_eq!((closed.revision, closed.rows, closed.late_rows, closed.why), (2, 4, 2, Why::Late));
    assert_eq!(world.shown(5).await.1, ["1.5.a", "1.5.b", "2.5.a", "2.5.b"]);
    assert_eq!(world.services.calls.lock().unwrap().len(), 2, "the actions run again");
    // Live files and the first revision stay through the grace, and go after it.
    assert_eq!(world.lake.list("t/live/hour=1970-01-01-05").await.unwrap().len(), 2);
    world.settings.grace = Duration::ZERO;
    world.at(i64::MAX / 4);
    world.answer(0, Answer::Waits(9 * HOUR));
    let report = world.run().await;
    assert_eq!(report.files_collected, 3);
    assert!(world.lake.list("t/live/hour=1970-01-01-05").await.unwrap().is_empty());
    assert_eq!(world.lake.list("t/live/hour=1970-01-01-08").await.unwrap().len(), 1);
    assert_eq!(world.shown(5).await.1.len(), 4);
    assert_eq!(world.run().await.files_collected, 0);
}

#[tokio::test]
async fn given_up_batches_hold_nothing_and_are_counted() {
    let mut world = World::new(1).await;
    world.commit(0, &[5]).await;
    let batch = |last: u64, at: i64, records| GivenUpRange {
        shard: "shard-00000".into(),
        last: SequenceNumber::from(last),
        records,
        at: EpochMicros(at),
    };
    *world.clicks.given_up.lock().unwrap() = vec![batch(2, 4 * HOUR, 7), batch(9, 6 * HOUR, 3)];
    world.at(9 * HOUR);
    let report = world.run().await;
    assert_eq!(report.closed[0].given_up, 3, "of those since the partition began");
    assert_eq!(world.services.calls.lock().unwrap()[0].given_up, 3);
}

#[tokio::test]
async fn with_lanes_the_watermark_stays_behind_what_a_mapping_may_hold() {
    let mut world = World::new(1).await;
    world.commit(0, &[5]).await;
    *world.clicks.held_back.lock().unwrap() = Some(Duration::from_secs(6 * 3_600 + 60));
    let end = 6 * HOUR + TEN_MINUTES;
    world.at(end + 6 * HOUR);
    assert!(world.run().await.closed.is_empty());
    world.at(end + 6 * HOUR + 60_000_000);
    assert_eq!(world.run().await.closed.len(), 1);
}

#[tokio::test]
async fn a_stream_that_cannot_be_asked_holds_partitions_visibly_and_a_hand_closes_them() {
    let mut world = World::new(2).await;
    world.commit(0, &[5]).await;
    world.at(9 * HOUR);
    world.answer(1, Answer::Fails);
    let report = world.run().await;
    assert!(report.closed.is_empty());
    assert!(matches!(&report.open[0].reason, Waits::Stream { problem, .. } if problem.contains("throttled")));
    let report = world.run_only(Some(("t".into(), Some(partition(5))))).await;
    assert_eq!((report.closed.len(), report.closed[0].why), (1, Why::ByHand));
}

#[tokio::test]
async fn one_broken_partition_keeps_its_reason_and_never_blocks_the_others() {
    let mut world = World::new(1).await;
    world.commit(0, &[4, 5]).await;
    let key = world.lake.list("t/live/hour=1970-01-01-04").await.unwrap().remove(0);
    let kept = world.lake.get(&key).await.unwrap().unwrap();
    world.lake.delete(&key).await.unwrap();
    let mut tries = Vec::new();
    for minute in 0..30 {
        world.at(9 * HOUR + minute * 60_000_000);
        let report = world.run().await;
        assert_eq!(report.closed.len(), usize::from(minute == 0), "the other one closes at once");
        let Waits::Trouble(trouble) = &report.open[0].reason else { panic!("{:?}", report.open) };
        assert!(trouble.reason.contains("it is not there"), "{}", trouble.reason);
        tries.push(trouble.tries);
    }
    assert!(tries[29] < 10 && tries[29] > 4, "pauses grow: {tries:?}");
    let _ = world.lake.put_if_absent(&key, kept).await.unwrap();
    world.at(12 * HOUR);
    assert_eq!(world.run().await.closed.len(), 1);
    assert_eq!(world.shown(4).await, (1, vec!["1.4.a".into(), "1.4.b".into()]));
}

#[tokio::test]
async fn an_action_that_cannot_start_is_shown_tried_again_and_does_not_keep_late_rows_out() {
    let mut world = World::new(1).await;
    world.commit(0, &[5]).await;
    world.at(9 * HOUR);
    let refused = || ActionState::Refused { reason: "no such job".into() };
    world.services.answers.lock().unwrap().extend([refused(), refused()]);
    let report = world.run().await;
    let Waits::Trouble(trouble) = &report.open[0].reason else { panic!("{:?}", report.open) };
    assert_eq!(trouble.reason, "closed, but event is not started: no such job");
    assert_eq!(world.shown(5).await.0, 1, "readers have the revision");
    world.commit(0, &[5]).await;
    world.at(10 * HOUR);
    // The first revision ends without its action, and the second one starts it.
    world.run().await;
    world.at(11 * HOUR);
    world.run().await;
    assert_eq!(world.shown(5).await.0, 2);
    let calls = world.services.calls.lock().unwrap().clone();
    let seen: Vec<_> = calls.iter().map(|call| (call.revision, call.repeated)).collect();
    assert_eq!(seen, [(1, false), (1, true), (2, false)]);
}

#[tokio::test]
async fn a_foreign_write_of_the_catalog_is_repaired_within_the_grace() {
    let mut world = World::new(1).await;
    world.commit(0, &[5]).await;
    let before = world.catalog.partitions("t").await.unwrap();
    assert!(before.is_empty());
    world.at(9 * HOUR);
    world.run().await;
    let key = "_weir/catalog/partitions/t/hour=1970-01-01-05.json";
    let shown = world.shown(5).await;
    world.lake.delete(key).await.unwrap();
    let values = vec!["1970-01-01-05".to_owned()];
    world.catalog.register_partitions("t", &[values]).await.unwrap();
    assert_eq!(world.shown(5).await.0, 0);
    world.run().await;
    assert_eq!(world.shown(5).await, shown);

    let right = world.catalog.partitions("t").await.unwrap().remove(0);
    // The right revision in a wrong place: of a loser, or where a crawler puts it.
    for wrong in ["t/closed/hour=1970-01-01-05/r0001-loser", "t/live/hour=1970-01-01-05"] {
        let entry = world.lake.get(key).await.unwrap().unwrap();
        let mut entry: serde_json::Value = serde_json::from_slice(&entry).unwrap();
        entry["StorageDescriptor"]["Location"] = format!("memory:///{wrong}/").into();
        entry["Parameters"]["mine"] = "kept".into();
        world.lake.delete(key).await.unwrap();
        let _ = world.lake.put_if_absent(key, entry.to_string().into()).await.unwrap();
        world.run().await;
        assert_eq!(world.shown(5).await, shown, "{wrong}");
        let entry = &world.catalog.partitions("t").await.unwrap()[0];
        assert_eq!(entry.storage_descriptor.location, right.storage_descriptor.location, "{wrong}");
        assert_eq!(entry.parameters["mine"], "kept", "nothing else is changed");
    }
}

#[tokio::test]
async fn loaded_files_and_replays_are_found_by_their_markers_and_the_summary_is_only_a_cache() {
    let mut world = World::new(1).await;
    world.commit(0, &[5]).await;
    world.at(9 * HOUR);
    world.run().await;
    // A shard that no stream lists: nobody looks at it but for the marker.
    world.commit(7, &[5]).await;
    assert!(world.run().await.closed.is_empty());
    let chain = crate::naming::ChainKey { stream: super::world::KEY.into(), shard: "shard-00007".into() };
    let marker = crate::naming::closed::touched(&chain, 1);
    let _ = world.lake.put_if_absent(&marker, bytes::Bytes::new()).await.unwrap();
    assert_eq!(world.run().await.closed.len(), 1);
    assert!(world.lake.list("_weir/touched").await.unwrap().is_empty(), "the marker has served");
    for key in world.lake.list("_weir/summary").await.unwrap() {
        world.lake.delete(&key).await.unwrap();
    }
    assert!(world.run().await.closed.is_empty(), "everything is closed already");
    assert_eq!(world.shown(5).await.0, 2);
}
