//! A stream against its chain, in windows of any size; and a lake of a million records.

use super::world::{World, sequence};
use crate::commit::{LakeStore, PositionSet};
use crate::record::SequenceNumber;
use crate::verify::{Budget, Compared, Kind, Scope, StreamComparison};

async fn compare(
    world: &World,
    records: &[SequenceNumber],
    window: usize,
    spans: usize,
) -> (Compared, Vec<Kind>) {
    let mut verifier = world.verifier(Scope::default(), Budget { spans, ..Budget::default() });
    let mut kinds = Vec::new();
    let mut sink = |finding: crate::verify::Finding| kinds.push(finding.kind);
    let report = verifier.chain(&world.chain("a"), &mut sink).await.unwrap();
    let mut comparison = StreamComparison::new(&verifier, report);
    for chunk in records.chunks(window) {
        comparison.records(&verifier, chunk).await.unwrap();
    }
    let compared = comparison.finish(&mut verifier, &mut sink).await.unwrap();
    (compared, kinds)
}

#[tokio::test]
async fn a_stream_is_compared_record_by_record() {
    let mut world = World::empty("columns").await;
    for n in 0..10 {
        world.deliver("a", n * 10..n * 10 + 10).await;
    }
    let whole: Vec<_> = (0..100).map(sequence).collect();
    // Six are not loaded yet; the first fifty have left the stream.
    let behind: Vec<_> = (50..106).map(sequence).collect();
    for window in [1, 7, 10, 1_000] {
        for spans in [2, 3, 1_000] {
            let (compared, kinds) = compare(&world, &whole, window, spans).await;
            let expected = Compared { records: 100, committed: 100, ..Compared::default() };
            assert_eq!((compared, kinds), (expected, vec![]), "window {window}, {spans} spans");
            let (compared, kinds) = compare(&world, &behind, window, spans).await;
            let expected = Compared { records: 56, committed: 50, waiting: 6, ..Compared::default() };
            assert_eq!((compared, kinds), (expected, vec![]), "window {window}, {spans} spans");
        }
    }
    // A commit that never listed two of its records, and a stream that lost one.
    let gone: PositionSet = [sequence(33), sequence(34)].into_iter().collect();
    world.rewrite("a", 4, |_, set| *set = set.subtract(&gone)).await;
    let holed: Vec<_> = (0..100).filter(|n| *n != 71).map(sequence).collect();
    for window in [1, 7, 1_000] {
        let (compared, kinds) = compare(&world, &holed, window, 3).await;
        let expected = Compared { records: 99, committed: 97, waiting: 0, missing: 2, phantoms: 1 };
        assert_eq!(compared, expected, "window {window}");
        assert!(kinds.ends_with(&[Kind::MissingRange, Kind::PhantomRecords]), "{kinds:?}");
    }
}

/// `cargo test --release -p weir --lib -- --ignored --nocapture a_million_records`
#[tokio::test]
#[ignore = "makes a million records first: minutes without optimization"]
async fn a_million_records_of_a_stream_are_judged_in_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let url = url::Url::from_directory_path(folder.path()).unwrap();
    let mut world = World::on(LakeStore::open(url.as_str(), &[]).unwrap(), "columns").await;
    for n in 0..100 {
        world.deliver("a", n * 10_000..n * 10_000 + 10_000).await;
    }
    let begun = std::time::Instant::now();
    let (totals, findings) = world.verify(false).await;
    let took = begun.elapsed();
    println!("{} records in {} files: {took:?}", totals.records(), totals.files);
    assert_eq!((findings, totals.records()), (vec![], 1_000_000));
    assert!(took.as_secs() < 30, "{took:?}");
}
