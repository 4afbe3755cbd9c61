//! Repair beside attempts that are under way: whoever is first, no record is lost or doubled.

use bytes::Bytes;

use super::world::{NOW, World, sequence, shard_of};
use crate::commit::{Built, BuiltFile, Outcome, PositionSet, ShardWriter};
use crate::naming::SlotName;
use crate::partition::PartitionPath;
use crate::record::RecordId;
use crate::verify::Kind;

/// An attempt has put its file; a repair drops the name before it commits.
#[tokio::test]
async fn an_attempt_whose_file_is_dropped_puts_it_elsewhere() {
    let mut source = World::empty("columns").await;
    source.deliver("a", 1..4).await;
    let file = source.files("a", 1, false).await[0].clone();
    let bytes = source.read(&file.key()).await;

    let world = World::empty("columns").await;
    world.catalog.register_partitions("t", &[vec!["2025-11-20".to_owned()]]).await.unwrap();
    let covers: PositionSet = (1..4).map(sequence).collect();
    let mut writer = ShardWriter::new(world.lake.clone(), shard_of("a"));
    let mut rounds = 0;
    let mut build = |_: &PositionSet| {
        rounds += 1;
        let built = BuiltFile {
            table: "t".into(),
            partition: PartitionPath::from_values([("dt", Some("2025-11-20"))]),
            quarantine: false,
            first: RecordId { sequence: sequence(1), subsequence: 0 },
            bytes: bytes.clone(),
            rows: 3,
            schema_version: file.schema_version.clone(),
        };
        Ok(Built { files: vec![built], covers: covers.clone() })
    };
    // The file of an attempt that stands between its two puts.
    world.overwrite(&file.key(), bytes.clone()).await;
    let (totals, findings) = world.verify(true).await;
    assert_eq!(
        findings.iter().map(|f| (f.kind, f.repaired)).collect::<Vec<_>>(),
        [(Kind::UncommittedFile, true)]
    );
    assert!(totals.is_clean());

    let outcome = writer.commit(&covers, NOW, "late", &mut build).await.unwrap();
    let Outcome::Committed { version, files, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!((version, rounds), (2, 1));
    assert_ne!(files[0].key(), file.key(), "a dropped name is never listed again");
    let (totals, findings) = world.verify(true).await;
    assert_eq!((findings, totals.rows), (vec![], 3));
}

/// A crash between a repair's commit and its delete: the next repair goes on.
#[tokio::test]
async fn a_repair_that_crashed_is_finished_by_the_next() {
    let world = World::filled("columns").await;
    let slot = SlotName { first: RecordId { sequence: sequence(900), subsequence: 0 }, probe: 0 };
    let orphan = format!("t/live/dt=2025-11-20/{}", slot.file_name(&shard_of("a")));
    world.overwrite(&orphan, Bytes::from_static(b"half a file")).await;
    assert!(world.verify(true).await.0.is_clean());
    // The delete never happened.
    world.overwrite(&orphan, Bytes::from_static(b"half a file")).await;
    let (_, findings) = world.verify(false).await;
    assert_eq!(findings.iter().map(|f| f.kind).collect::<Vec<_>>(), [Kind::DeadFile]);
    let commits = world.verify(true).await.0.commits;
    let (totals, findings) = world.verify(false).await;
    assert_eq!((findings, totals.commits), (vec![], commits), "no second commit of drops");
}
