//! Faults of what other faults do not reach: segments, drops, replays, streams and loaded files. And
//! that no kind of finding is without a fault that shows it.

use std::collections::BTreeSet;

use super::faults;
use super::world::{World, sequence};
use crate::commit::checkpoint::Checkpoint;
use crate::commit::{Folding, PositionSet};
use crate::naming::LogEntry;
use crate::record::SequenceNumber;
use crate::verify::Kind::*;
use crate::verify::{Kind, SourceContents};

/// What is found of a fault: kinds with objects, in order.
type Found = Vec<(Kind, String)>;

/// A lake of a file loaded in 20 versions, whose checkpoints name segments of four.
async fn folded() -> World {
    let mut world = World::empty("columns").await;
    let lines: Vec<_> = (0..20).map(|n| n * 5..n * 5 + 5).collect();
    world.load_folding(&lines, Folding { every: 4, segment: 4, commits: 8 }).await;
    let letters = vec!["t".to_owned(), "2025-11-20".to_owned()];
    world.catalog.register_partitions("quarantine", &[letters]).await.unwrap();
    world
}

fn segment(world: &World, last: u64) -> String {
    world.chain("file").object(LogEntry::Segment(last))
}

/// The first records of shard `a` were refused, and are rows by now.
async fn replayed() -> World {
    let mut world = World::filled("columns").await;
    world.replay_letters().await;
    world
}

pub(super) async fn verified(world: &World) -> Found {
    let findings = world.verify(false).await.1;
    assert!(findings.iter().all(|f| !f.way_out.is_empty() && !f.problem.is_empty()), "{findings:#?}");
    findings.into_iter().map(|f| (f.kind, f.object)).collect()
}

async fn compared(world: &World, stream: Option<&[SequenceNumber]>, source: Option<SourceContents>) -> Found {
    let findings = world.compare(stream.map(|records| ("a", records)), source).await;
    findings.into_iter().map(|f| (f.kind, f.object)).collect()
}

/// Every case: its name, what is found, what should be.
async fn cases() -> Vec<(&'static str, Found, Found)> {
    let mut cases = of_segments().await;
    cases.extend(of_drops().await);
    cases.extend(of_replays().await);
    cases.extend(of_sources().await);
    cases.extend(super::closed::cases().await);
    cases
}

async fn of_segments() -> Vec<(&'static str, Found, Found)> {
    let mut cases = vec![("segments as they were made", verified(&folded().await).await, vec![])];
    let world = folded().await;
    let key = segment(&world, 8);
    world.delete(&key).await;
    cases.push(("a segment is gone", verified(&world).await, vec![(FoldedWrongly, key)]));

    let world = folded().await;
    let key = segment(&world, 8);
    world.overwrite(&key, "{}".into()).await;
    cases.push(("a segment cannot be read", verified(&world).await, vec![(FoldedWrongly, key)]));

    let world = folded().await;
    let key = segment(&world, 8);
    world.overwrite(&key, world.read(&segment(&world, 4)).await).await;
    cases.push(("a segment is another one", verified(&world).await, vec![(FoldedWrongly, key)]));

    let world = folded().await;
    let key = segment(&world, 12);
    let mut summary = Checkpoint::decode(&key, &world.read(&key).await).unwrap();
    // Version 10 would look as if it began one byte later: a redelivery of that byte would go unseen.
    let (min, max) = summary.spans[1].unwrap();
    assert_eq!((min, max), (450.into(), 499.into()));
    summary.spans[1] = Some((451.into(), max));
    world.overwrite(&key, summary.encode().unwrap()).await;
    cases.push(("a segment is off by one byte", verified(&world).await, vec![(FoldedWrongly, key)]));
    cases
}

async fn of_drops() -> Vec<(&'static str, Found, Found)> {
    let world = World::filled("columns").await;
    let file = world.files("a", 3, false).await[0].key();
    world.rewrite("a", 2, |header, _| header.drops = vec![file.clone()]).await;
    let found = verified(&world).await;
    let mut cases = vec![("a dropped file is listed", found, vec![(DroppedFileListed, file)])];

    let world = folded().await;
    world.rewrite("file", 3, |header, _| header.drops = vec!["t/live/k=1/x.parquet".to_owned()]).await;
    let checkpoint = world.chain("file").object(LogEntry::Checkpoint(20));
    let expected = vec![(FoldedWrongly, checkpoint)];
    cases.push(("a checkpoint does not know of a drop", verified(&world).await, expected));
    cases
}

async fn of_replays() -> Vec<(&'static str, Found, Found)> {
    let mut cases = vec![("a replay", verified(&replayed().await).await, vec![])];
    let replays = "a's replays";

    let world = replayed().await;
    let prefix = world.chain(replays).prefix();
    let mut lost = String::new();
    world
        .rewrite(replays, 1, |header, _| {
            let file = header.files.pop().unwrap();
            header.rows -= file.rows;
            lost = file.key();
        })
        .await;
    let expected = vec![(BrokenCommit, prefix.clone()), (DeadFile, lost)];
    cases.push(("a replay has lost rows", verified(&world).await, expected));

    let world = replayed().await;
    world.rewrite(replays, 1, |header, _| header.replaces[0] = "quarantine/live/x.parquet".to_owned()).await;
    let found = verified(&world).await;
    assert!(found.contains(&(BrokenCommit, prefix.clone())), "{found:?}");
    cases.push((
        "a replay replaces what was never listed",
        found[..1].to_vec(),
        vec![(BrokenCommit, prefix.clone())],
    ));

    let world = replayed().await;
    world.rewrite(replays, 1, |header, _| header.replaces.truncate(1)).await;
    let found = verified(&world).await;
    assert!(found.contains(&(BrokenCommit, prefix.clone())), "{found:?}");
    assert!(found.iter().any(|(kind, _)| *kind == ForeignRows), "rows of letters not replaced: {found:?}");

    // The letters of the first commit in the place of those of the second.
    let world = replayed().await;
    let (first, second) = (world.files("a", 1, true).await, world.files("a", 2, true).await);
    world.overwrite(&second[0].key(), world.read(&first[0].key()).await).await;
    let found = verified(&world).await;
    let twice = (DuplicateRows, second[0].key());
    assert!(found.contains(&twice), "{found:?}");
    cases
}

async fn of_sources() -> Vec<(&'static str, Found, Found)> {
    let world = World::filled("columns").await;
    let stream: Vec<_> = (0..100).map(sequence).collect();
    let whole = SourceContents { bytes: 500, lines: 50 };
    let chain = world.chain("a").prefix();
    let file = "file:///a-b.ndjson".to_owned();
    let mut cases = vec![
        ("stream and file as they were", compared(&world, Some(&stream), Some(whole)).await, vec![]),
        (
            "the stream has no such records",
            compared(&world, Some(&[&stream[..40], &stream[45..]].concat()), None).await,
            vec![(PhantomRecords, chain.clone())],
        ),
        (
            "the file has grown",
            compared(&world, None, Some(SourceContents { bytes: 512, lines: 51 })).await,
            vec![(MissingRange, file.clone())],
        ),
        (
            "the file is shorter",
            compared(&world, None, Some(SourceContents { bytes: 490, lines: 49 })).await,
            vec![(PhantomRecords, file.clone())],
        ),
        (
            "the file has a line more than there are rows and letters",
            compared(&world, None, Some(SourceContents { bytes: 500, lines: 51 })).await,
            vec![(SourceCount, file)],
        ),
    ];
    let gone: PositionSet = [sequence(33)].into_iter().collect();
    world.rewrite("a", 1, |_, set| *set = set.subtract(&gone)).await;
    let found = compared(&world, Some(&stream), None).await;
    assert!(found.contains(&(MissingRange, chain.clone())), "{found:?}");
    cases.push(("a record is in no commit", found[found.len() - 1..].to_vec(), vec![(MissingRange, chain)]));
    cases
}

#[tokio::test]
async fn faults_of_segments_drops_replays_and_sources_are_found_alone() {
    for (name, found, expected) in cases().await {
        assert_eq!(found, expected, "{name}");
    }
}

/// The kind behind another one. A new kind does not compile without its place here, and has no fault
/// before one is planted.
fn after(kind: Kind) -> Option<Kind> {
    Some(match kind {
        MissingVersions => BrokenCommit,
        BrokenCommit => FoldedWrongly,
        FoldedWrongly => DuplicatePositions,
        DuplicatePositions => MissingFile,
        MissingFile => DamagedFile,
        DamagedFile => RowCount,
        RowCount => WrongFile,
        WrongFile => ForeignRows,
        ForeignRows => DuplicateRows,
        DuplicateRows => DroppedFileListed,
        DroppedFileListed => UncommittedFile,
        UncommittedFile => DeadFile,
        DeadFile => UnprovenFile,
        UnprovenFile => ForeignFile,
        ForeignFile => CatalogTable,
        CatalogTable => CatalogPartition,
        CatalogPartition => BrokenRevision,
        BrokenRevision => MissingRange,
        MissingRange => PhantomRecords,
        PhantomRecords => SourceCount,
        SourceCount => return None,
    })
}

#[tokio::test]
async fn every_kind_of_finding_has_a_planted_fault_that_shows_it() {
    let mut shown: BTreeSet<Kind> =
        cases().await.into_iter().flat_map(|(_, found, _)| found).map(|f| f.0).collect();
    shown.extend(faults::kinds().await);
    let mut kind = Some(MissingVersions);
    while let Some(one) = kind {
        assert!(shown.contains(&one), "no planted fault shows {one:?}");
        kind = after(one);
    }
}
