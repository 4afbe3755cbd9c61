//! The S3 server behind a network that fails: what must hold through faults, and what errors say.

use std::future::Future;
use std::time::{Duration, Instant};

use weir::commit::store::{Put, Retry};
use weir::commit::{LakeStore, ShardWriter};
use weir::error::Error;
use weir_tests::fault_proxy::{ALL_FAULTS, Fault, FaultProxy};
use weir_tests::process;
use weir_tests::python::Python;
use weir_tests::random::Random;
use weir_tests::seaweed::{self, BUCKET, Seaweed};

use crate::chains;
use crate::conformance::runtime;
use crate::place::{Place, check, commit, numbers, quick, s3_lake, shard, try_commit};

/// In thousandths of the requests: one in six fails somehow.
const ROUGH: [(Fault, u64); 8] = [
    (Fault::ErrorBefore, 25),
    (Fault::ErrorAfter, 25),
    (Fault::SlowDown, 25),
    (Fault::ResetBefore, 25),
    (Fault::ResetAfter, 25),
    (Fault::CutAnswer, 15),
    (Fault::Conflict, 25),
    (Fault::Delay, 10),
];

/// Run against the server through the proxy; says the seed if it fails.
fn through_faults<F: Future<Output = ()>>(seed: u64, run: impl FnOnce(Place, FaultProxy) -> F) {
    let Some(python) = Python::get() else { return };
    eprintln!("seed {seed} (the order of concurrent requests is the machine's)");
    let (place, proxy) = Place::behind_proxy(&python, seed);
    runtime().block_on(run(place, proxy));
}

#[test]
fn the_suites_chains_hold_through_faults() {
    through_faults(11, |place, proxy| async move {
        proxy.set(&ROUGH);
        chains::what_is_delivered_again_in_other_pieces_is_committed_once(place.lake().with_retry(quick()))
            .await;
        chains::writers_that_race_on_one_chain_commit_each_record_once(place.lake().with_retry(quick()))
            .await;
        chains::a_chain_without_its_checkpoints_is_the_same_chain(place.lake().with_retry(quick())).await;
        let struck = proxy.struck();
        assert_eq!(struck.len(), ALL_FAULTS.len(), "every fault has struck: {struck:?}");
        eprintln!("{struck:?}");
    });
}

#[test]
fn of_sixteen_that_race_through_faults_at_most_one_is_told_that_it_won() {
    through_faults(12, |place, proxy| async move {
        proxy.set(&ROUGH);
        let lake = place.lake().with_retry(quick());
        let races = (0..20).map(|race| tokio::spawn(race_through_faults(lake.clone(), race)));
        for race in races.collect::<Vec<_>>() {
            race.await.unwrap();
        }
    });
}

/// A winner whose answer was lost is told that the name is taken; the protocol knows its own object
/// by what stands in it.
async fn race_through_faults(lake: LakeStore, race: u32) {
    let key = format!("race/{race}");
    let runners = (0..16u8).map(|runner| {
        let (lake, key) = (lake.clone(), key.clone());
        let bytes = vec![runner; 100 + 700 * usize::from(runner)];
        tokio::spawn(async move { (lake.put_if_absent(&key, bytes.into()).await, runner) })
    });
    let mut told = Vec::new();
    for run in runners.collect::<Vec<_>>() {
        match run.await.unwrap() {
            (Ok(Put::Created), runner) => told.push(runner),
            (Ok(Put::Exists), _) => {}
            (Err(e), _) => assert!(e.retryable(), "{e}"),
        }
    }
    let there = lake.get(&key).await.unwrap().unwrap();
    let winner = there[0];
    assert!(there.len() == 100 + 700 * usize::from(winner) && there.iter().all(|b| *b == winner));
    assert!(
        told.is_empty() || told == [winner],
        "C3: race {race}: {told:?} were told, {winner} stands there"
    );
}

#[test]
fn writers_that_crash_and_are_delivered_again_through_faults_commit_each_record_once() {
    through_faults(13, |place, proxy| async move {
        proxy.set(&ROUGH);
        let lake = place.lake().with_retry(Retry { tries: 3, pause: Duration::from_millis(5) });
        let records = 1_500;
        let lanes = (0..4).map(|lane| tokio::spawn(deliver(lake.clone(), lane, records)));
        let mut errors = 0;
        for lane in lanes.collect::<Vec<_>>() {
            errors += lane.await.unwrap();
        }
        // Out of the storm, the next attempt meets what crashes left behind and takes it away.
        proxy.set(&[]);
        let mut next = ShardWriter::new(lake.clone(), shard());
        let _ = commit(&mut next, &numbers(0..records), "again", 3).await;
        let _ = commit(&mut next, &numbers(records..records + 10), "next", 3).await;
        check_but_for_left_files(&lake, records + 10).await;
        eprintln!("{errors} deliveries failed; {:?}", proxy.struck());
    });
}

/// Deliver all records in pieces until each is acknowledged: a piece that fails or whose writer
/// dies comes again, cut otherwise. Two lanes have every piece. How many deliveries failed.
async fn deliver(lake: LakeStore, lane: u64, records: u64) -> u32 {
    let mut random = Random::new(100 + lane);
    let mut writer = ShardWriter::new(lake.clone(), shard());
    let (mut at, mut failed) = (0, 0);
    for attempt in 0u32.. {
        let end = (at + 1 + random.below(40)).min(records);
        let name = format!("{lane}/{attempt}");
        let batch = numbers(at..end);
        let commit = try_commit(&mut writer, &batch, &name, 3);
        // Every second attempt dies some time on its way, wherever that is.
        let life = if random.below(2) == 0 { random.below(60) } else { 60_000 };
        match tokio::time::timeout(Duration::from_millis(life), commit).await {
            Ok(Ok(outcome)) => {
                assert_eq!(outcome.first_pending(), None);
                at = end;
            }
            Ok(Err(e)) => {
                assert!(e.retryable(), "{e}");
                failed += 1;
            }
            Err(_) => {
                writer = ShardWriter::new(lake.clone(), shard());
                failed += 1;
            }
        }
        if at == records {
            return failed;
        }
    }
    unreachable!("attempts do not end")
}

/// C1 and C2 of all records. A crash may leave a file whose record another attempt had committed
/// by then: no commit lists it, and only a repair takes it away.
async fn check_but_for_left_files(lake: &LakeStore, records: u64) {
    let listed = weir::commit::reader::live_files(lake, None).await.unwrap();
    for key in lake.list("t").await.unwrap() {
        if listed.iter().all(|file| file.key != key) {
            lake.delete(&key).await.unwrap();
        }
    }
    check(lake, &numbers(0..records)).await;
}

fn put_of(lake: &LakeStore) -> (Error, Duration) {
    let begun = Instant::now();
    let error = runtime().block_on(lake.put_if_absent("t/x", "1".into())).unwrap_err();
    (error, begun.elapsed())
}

/// The error with its causes, as programs print it.
fn text(error: &Error) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    format!("{error}: {source}")
}

#[test]
fn a_store_that_fails_on_and_on_is_a_clear_retryable_error_within_a_bound() {
    let Some(python) = Python::get() else { return };
    let (place, proxy) = Place::behind_proxy(&python, 14);
    let cases = [
        (Fault::SlowDown, "SlowDown: injected; try again later"),
        (Fault::ErrorBefore, "InternalError: injected; try again later"),
        (Fault::ResetBefore, "check the network and AWS_ENDPOINT_URL"),
        (Fault::Conflict, "ConditionalRequestConflict"),
    ];
    for (fault, expected) in cases {
        proxy.set(&[(fault, 1_000)]);
        let (error, took) = put_of(&place.lake());
        let text = text(&error);
        eprintln!("{took:.1?} {text}");
        assert!(
            error.retryable() && text.starts_with("could not put t/x: ") && text.contains(expected),
            "{text}"
        );
        assert!(took < Duration::from_secs(25), "{fault:?} took {took:?}");
    }
    proxy.set(&[]);
    assert_eq!(runtime().block_on(place.lake().put_if_absent("t/x", "1".into())).unwrap(), Put::Created);
}

#[test]
fn what_only_a_person_can_change_is_said_at_once_and_not_tried_again() {
    let Some(python) = Python::get() else { return };
    let server = Seaweed::shared(&python);
    let with = |bucket: &str, changes: &[(&str, &str)]| {
        let options = seaweed::environment(&server.endpoint()).map(|(name, value)| {
            let changed = changes.iter().find(|(changed, _)| *changed == name);
            (name.to_owned(), changed.map_or(value, |(_, value)| (*value).to_owned()))
        });
        LakeStore::open(&format!("s3://{bucket}/x"), &options).unwrap()
    };
    let address = "create the bucket, or correct the address s3://no-such-bucket/x";
    let cases = [
        (with("no-such-bucket", &[]), "NoSuchBucket", address),
        (with(BUCKET, &[("AWS_ACCESS_KEY_ID", "nobody")]), "InvalidAccessKeyId", "check AWS_ACCESS_KEY_ID"),
        (with(BUCKET, &[("AWS_SECRET_ACCESS_KEY", "x")]), "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
    ];
    for (lake, code, advice) in cases {
        let begun = Instant::now();
        runtime().block_on(async {
            let key = "t/x";
            let mut errors = vec![
                lake.get(key).await.unwrap_err(),
                lake.list("t").await.unwrap_err(),
                lake.folders("t").await.unwrap_err(),
            ];
            // This server makes a missing bucket for a put; others answer NoSuchBucket.
            if code != "NoSuchBucket" {
                errors.push(lake.put_if_absent(key, "1".into()).await.unwrap_err());
            }
            for error in errors {
                let text = text(&error);
                eprintln!("{text}");
                assert!(!error.retryable() && text.contains(code) && text.contains(advice), "{text}");
            }
        });
        assert!(begun.elapsed() < Duration::from_secs(5), "{code} took {:?}", begun.elapsed());
    }
}

#[test]
fn a_store_that_is_not_there_is_given_up_within_a_bound() {
    let endpoint = format!("http://127.0.0.1:{}", process::free_port());
    let (error, took) = put_of(&s3_lake(&endpoint, "x"));
    let text = text(&error);
    assert!(error.retryable() && text.contains("refused") && text.contains("AWS_ENDPOINT_URL"), "{text}");
    assert!(took < Duration::from_secs(25), "{took:?}");
    eprintln!("{took:.1?} {text}");
}
