//! Each fault once, in a lake that is whole otherwise: exactly that is found, and repair removes
//! what the protocol lets it and nothing else.

use super::world::{World, file_shard, sequence, shard_of};
use crate::commit::PositionSet;
use crate::naming::{ChainKey, LogEntry, SlotName};
use crate::partition::PartitionPath;
use crate::record::RecordId;
use crate::verify::Kind::*;
use crate::verify::{Budget, Kind, Scope};

/// 100 + 70 records of the stream, 50 lines; every seventh is a dead letter.
const WHOLE: (u64, u64) = (220 - 33, 33);

#[tokio::test]
async fn a_lake_that_attempts_made_is_clean() {
    for provenance in ["columns", "footer"] {
        let world = World::filled(provenance).await;
        let (totals, findings) = world.verify(false).await;
        assert_eq!(findings, []);
        assert!(totals.is_clean());
        assert_eq!((totals.rows, totals.quarantined), WHOLE, "{provenance}");
        assert_eq!((totals.records(), totals.chains, totals.commits), (220, 3, 9));
    }
    let (totals, findings) = World::empty("columns").await.verify(false).await;
    assert_eq!((totals.records(), findings.len()), (0, 0));
}

#[tokio::test]
async fn a_small_budget_makes_more_passes_and_finds_the_same() {
    let world = World::filled("columns").await;
    world.overwrite("t/live/dt=2025-11-20/copy.parquet", "x".into()).await;
    world.rewrite("a", 2, |_, set| *set = set.union(&[sequence(3)].into_iter().collect())).await;
    world.rewrite("a", 4, |_, set| *set = set.union(&[sequence(45)].into_iter().collect())).await;
    let expected = world.verify(false).await;
    assert_eq!(expected.1.len(), 3);
    for n in [1, 2, 3, 7] {
        let budget = Budget { spans: n, files: n, rows: n, strays: n };
        assert_eq!(world.verify_with(false, Scope::default(), budget).await, expected, "budget {n}");
    }
}

/// A fault, what is found, and whether repair may remove it.
struct Case {
    name: &'static str,
    found: Vec<(Kind, String)>,
    repairs: bool,
    /// Whether rows, dead letters or the table are gone.
    loses: bool,
}

/// Plant fault `n`; none when there are no more.
async fn plant(world: &mut World, n: usize) -> Option<Case> {
    let folder = |chain: &str| world.chain(chain).prefix();
    let data = world.files("a", 2, false).await[0].clone();
    let dead = world.files("a", 1, true).await[0].clone();
    let case = |name, found: Vec<(Kind, String)>, repairs, loses| Some(Case { name, found, repairs, loses });
    match n {
        0 => {
            world.delete(&data.key()).await;
            case("a data file is gone", vec![(MissingFile, data.key())], false, true)
        }
        1 => {
            world.delete(&dead.key()).await;
            case("a quarantine file is gone", vec![(MissingFile, dead.key())], false, true)
        }
        2 => {
            let copy = format!("t/live/{}/copy.parquet", data.partition);
            world.overwrite(&copy, world.read(&data.key()).await).await;
            case("a copy under a name of its own", vec![(ForeignFile, copy)], false, false)
        }
        3 => {
            let slot = SlotName { first: data.first, probe: 3 };
            let copy = format!("t/live/{}/{}", data.partition, slot.file_name(&shard_of("a")));
            world.overwrite(&copy, world.read(&data.key()).await).await;
            case("a copy at a slot of its first record", vec![(DeadFile, copy)], true, false)
        }
        4 => {
            world.delete(&world.commit_key("a", 2)).await;
            let mut found = vec![(MissingVersions, folder("a"))];
            let fresh = World::filled("columns").await;
            for quarantine in [false, true] {
                let files = fresh.files("a", 2, quarantine).await;
                found.extend(files.into_iter().map(|file| (UnprovenFile, file.key())));
            }
            case("a commit in the middle is gone", found, false, true)
        }
        5 => {
            let bytes = world.read(&data.key()).await;
            world.overwrite(&data.key(), bytes.slice(..bytes.len() - 7)).await;
            case("a file is cut", vec![(DamagedFile, data.key())], false, true)
        }
        6 => {
            let bytes = world.read(&data.key()).await;
            let zeros = bytes.len();
            world.overwrite(&data.key(), vec![0; zeros].into()).await;
            case("a file is zeros", vec![(DamagedFile, data.key())], false, true)
        }
        7 => {
            world
                .rewrite("a", 2, |header, _| {
                    let file = header.files.iter_mut().find(|file| !file.quarantine).unwrap();
                    file.rows += 1;
                    header.rows += 1;
                })
                .await;
            case("a row count is changed", vec![(RowCount, data.key())], false, false)
        }
        8 => {
            world.rewrite("a", 2, |header, _| header.quarantined += 1).await;
            case("a sum is changed", vec![(BrokenCommit, world.commit_key("a", 2))], false, false)
        }
        9 => {
            world.rewrite("a", 3, |_, set| *set = set.union(&[sequence(3)].into_iter().collect())).await;
            case(
                "one position is listed twice",
                vec![(DuplicatePositions, world.commit_key("a", 3))],
                false,
                false,
            )
        }
        10 => {
            world
                .rewrite("file", 2, |_, set| {
                    *set = set.union(&PositionSet::from_ranges(std::iter::once(190..200)))
                })
                .await;
            case(
                "bytes are listed twice",
                vec![(DuplicatePositions, world.commit_key("file", 2))],
                false,
                false,
            )
        }
        11 => {
            world.rewrite("a", 1, |_, set| *set = set.subtract(&[sequence(3)].into_iter().collect())).await;
            let file = world.files("a", 1, false).await.into_iter().find(|f| f.rows > 10).unwrap();
            case("a row of no listed record", vec![(ForeignRows, file.key())], false, false)
        }
        12 => {
            let slot = SlotName { first: RecordId { sequence: sequence(500), subsequence: 0 }, probe: 0 };
            let orphan = format!("t/live/dt=2025-11-20/{}", slot.file_name(&shard_of("b")));
            world.overwrite(&orphan, world.read(&data.key()).await).await;
            case("a crash left a file", vec![(UncommittedFile, orphan)], true, false)
        }
        13 => {
            // Its footer names the shard, and no chain does.
            let mut other = World::empty("columns").await;
            other.deliver("new", 0..9).await;
            let mut found = Vec::new();
            for quarantine in [false, true] {
                for file in other.files("new", 1, quarantine).await {
                    world.overwrite(&file.key(), other.read(&file.key()).await).await;
                    found.push((UncommittedFile, file.key()));
                }
            }
            case("a crash before a shard's first commit", found, true, false)
        }
        14 => {
            let copy = data.key();
            world
                .rewrite("a", 1, |header, _| {
                    let twin =
                        header.files.iter().position(|file| !file.quarantine && file.rows > 10).unwrap();
                    let twin = header.files[twin].clone();
                    header.rows += twin.rows;
                    header.files.push(twin);
                })
                .await;
            let twice = world.files("a", 1, false).await.into_iter().find(|f| f.rows > 10).unwrap();
            assert_ne!(twice.key(), copy);
            case("a commit lists a file twice", vec![(DuplicateRows, twice.key())], false, false)
        }
        15 => {
            let quarantine = world.files("a", 2, true).await[0].key();
            // Dead letters of records that are rows too: the file of another commit's content.
            let rows = world.read(&world.files("a", 2, false).await[0].key()).await;
            world.overwrite(&quarantine, rows.clone()).await;
            world
                .rewrite("a", 2, |header, _| {
                    let rows_of_data = header.files.iter().find(|f| !f.quarantine).unwrap().rows;
                    let file = header.files.iter_mut().find(|f| f.quarantine).unwrap();
                    header.quarantined = header.quarantined - file.rows + rows_of_data;
                    (file.rows, file.bytes) = (rows_of_data, rows.len() as u64);
                })
                .await;
            let found = vec![
                (WrongFile, quarantine.clone()),
                (WrongFile, quarantine.clone()),
                (DuplicateRows, quarantine),
            ];
            case("rows stand in the quarantine too", found, false, true)
        }
        16 => {
            let key = "_weir/catalog/partitions/t/dt=2025-11-19.json";
            world.delete(key).await;
            case(
                "a partition is not declared",
                vec![(CatalogPartition, "t/dt=2025-11-19".into())],
                false,
                false,
            )
        }
        17 => {
            world.delete("_weir/catalog/tables/t.json").await;
            case("a table is not in the catalog", vec![(CatalogTable, "t".into())], false, true)
        }
        18 => {
            world.overwrite(&world.commit_key("a", 2), "{}\n".into()).await;
            let fresh = World::filled("columns").await;
            let mut found = vec![(BrokenCommit, world.commit_key("a", 2))];
            for quarantine in [false, true] {
                let files = fresh.files("a", 2, quarantine).await;
                found.extend(files.into_iter().map(|file| (UnprovenFile, file.key())));
            }
            case("a commit cannot be read", found, false, true)
        }
        19 => {
            world.load(std::slice::from_ref(&(70..80))).await;
            case("a load was interrupted", vec![(MissingRange, "file:///a-b.ndjson".into())], false, false)
        }
        _ => None,
    }
}

/// The kinds that these faults show: `every_fault_is_found_alone…` holds them to it.
pub(super) async fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for n in 0.. {
        let mut world = World::filled("columns").await;
        let Some(case) = plant(&mut world, n).await else { break };
        kinds.extend(case.found.into_iter().map(|(kind, _)| kind));
    }
    kinds
}

#[tokio::test]
async fn every_fault_is_found_alone_and_repair_removes_only_what_it_may() {
    let clean = World::filled("columns").await.verify(false).await.0;
    for n in 0.. {
        let mut world = World::filled("columns").await;
        let Some(case) = plant(&mut world, n).await else {
            assert!(n >= 20, "cases were left out");
            return;
        };
        let mut expected = case.found.clone();
        expected.sort();
        let found = |findings: &[crate::verify::Finding]| -> Vec<(Kind, String)> {
            findings.iter().map(|f| (f.kind, f.object.clone())).collect()
        };
        let (before, findings) = world.verify(false).await;
        assert_eq!(found(&findings), expected, "{}: {findings:#?}", case.name);
        assert!(findings.iter().all(|f| !f.way_out.is_empty() && !f.problem.is_empty() && !f.repaired));

        let (repaired, findings) = world.verify(true).await;
        assert_eq!(found(&findings), expected, "{} with repair", case.name);
        assert_eq!(repaired.is_clean(), case.repairs, "{}: {findings:#?}", case.name);
        assert!(findings.iter().all(|f| f.repaired == case.repairs));

        let (after, findings) = world.verify(false).await;
        if case.repairs {
            assert_eq!(findings, [], "{} after repair", case.name);
            assert_eq!((after.rows, after.quarantined), (clean.rows, clean.quarantined), "{}", case.name);
        } else {
            assert_eq!(found(&findings), expected, "{} stays", case.name);
            assert_eq!(after, before, "{}", case.name);
        }
        // Attempts go on as if nothing had been.
        if !case.loses {
            world.deliver("b", 60..80).await;
            let rows = world.verify(false).await.0.rows;
            assert_eq!(rows, before.rows + 10 - 2, "{}", case.name);
        }
    }
}

#[tokio::test]
async fn folded_ranges_that_disagree_are_found_and_name_what_a_lost_commit_listed() {
    let mut world = World::empty("columns").await;
    for n in 0..40 {
        world.deliver("a", n * 3..n * 3 + 3).await;
    }
    assert_eq!(world.verify(false).await.1, []);
    let checkpoint = world.chain("a").object(LogEntry::Checkpoint(32));
    let saved = world.read(&checkpoint).await;

    world.overwrite(&checkpoint, "{}".into()).await;
    let (_, findings) = world.verify(true).await;
    let kinds: Vec<_> = findings.iter().map(|f| (f.kind, f.object.as_str(), f.repaired)).collect();
    assert_eq!(kinds, [(FoldedWrongly, checkpoint.as_str(), false)]);

    world.overwrite(&checkpoint, saved).await;
    world.rewrite("a", 7, |_, set| *set = set.union(&[sequence(9_000)].into_iter().collect())).await;
    let (_, findings) = world.verify(false).await;
    assert_eq!(findings.iter().map(|f| f.kind).collect::<Vec<_>>(), [FoldedWrongly]);
    assert!(findings[0].problem.contains("version 7"), "{}", findings[0]);

    world.delete(&world.commit_key("a", 7)).await;
    world.delete(&world.commit_key("a", 8)).await;
    let (_, findings) = world.verify(false).await;
    assert_eq!(findings[0].kind, MissingVersions);
    let listed = format!("{} to {}", sequence(18), sequence(20));
    assert!(
        findings[0].problem.contains("versions 7 to 8") && findings[0].problem.contains(&listed),
        "{}",
        findings[0]
    );

    // The newest commits are gone: the checkpoint still knows that they were.
    for version in 30..=40 {
        world.delete(&world.commit_key("a", version)).await;
    }
    let (_, findings) = world.verify(false).await;
    let holes: Vec<_> = findings.iter().filter(|f| f.kind == MissingVersions).collect();
    assert!(holes[1].problem.contains("versions 30 to 32"), "{}", holes[1]);
}

#[tokio::test]
async fn a_table_or_a_partition_is_judged_alone() {
    let world = World::filled("columns").await;
    let partition = PartitionPath::from_values([("dt", Some("2025-11-19"))]);
    world.overwrite("t/live/dt=2025-11-20/copy.parquet", "x".into()).await;
    world.overwrite("quarantine/live/source_table=u/day=2025-11-20/copy.parquet", "x".into()).await;
    let scope = |table: &str, partition| Scope { table: Some(table.into()), partition };
    for (scope, findings) in [
        (Scope::default(), 2),
        (scope("t", None), 1),
        (scope("t", Some(partition)), 0),
        (scope("quarantine", None), 1),
        (scope("nothing", None), 0),
    ] {
        let (totals, found) = world.verify_with(false, scope.clone(), Budget::default()).await;
        assert_eq!(found.len(), findings, "{scope:?}: {found:?}");
        match scope.table.as_deref() {
            Some("nothing") => assert_eq!(totals.records(), 0),
            Some("quarantine") => assert_eq!((totals.rows, totals.quarantined), (0, WHOLE.1)),
            Some(_) if scope.partition.is_some() => assert_eq!((totals.rows, totals.quarantined), (37, 0)),
            _ => assert_eq!((totals.rows, totals.quarantined), WHOLE),
        }
    }
}

#[test]
fn chains_of_names_with_dashes_are_told_apart() {
    assert_eq!(ChainKey::of(&file_shard()).stream.matches('-').count(), 2);
}
