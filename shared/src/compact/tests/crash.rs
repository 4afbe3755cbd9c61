//! Processes that are killed between any two calls, and processes side by side.

use std::sync::Arc;

use object_store::memory::InMemory;

use super::model::*;
use super::store::Mortal;
use crate::clock::{EpochMicros, ManualClock};
use crate::commit::LakeStore;
use crate::compact::{Progress, run};
use crate::write::tests::model::Random;

/// A world of several steps: its table parts rows, and looks for copies by hashes.
fn several_steps() -> (crate::schema::TableSchema, Vec<Vec<Vec<Row>>>) {
    let seeds = (0..).map(|seed| world(&mut Random(seed), 40));
    let mut found = seeds.filter(|(schema, files)| {
        !schema.sort.is_empty() && !schema.dedupe_key.is_empty() && files.len() > 3
    });
    found.next().unwrap()
}

const MEMORY: u64 = 16_000;

#[test]
fn a_kill_at_any_call_leaves_what_the_next_run_finishes() {
    let (schema, files) = several_steps();
    let expected = expected(&schema, &files);
    let scratch = tempfile::tempdir().unwrap();
    let mut kills = 0;
    for late in [false, true] {
        for calls in (1..).step_by(5) {
            let killed = block_on(async {
                let store = Arc::new(InMemory::new());
                let lake = LakeStore::new(store.clone(), Default::default(), "memory:///");
                let inputs = put(&lake, &schema, &files).await;
                let compaction = compaction(&schema, &inputs, scratch.path(), MEMORY);
                let mortal = LakeStore::new(
                    Arc::new(Mortal::new(store, calls, late)),
                    Default::default(),
                    "mortal:///",
                );
                let first = run(&mortal, &clock(), &compaction).await;
                let compacted = compact(&lake, &compaction).await;
                assert_rows(&schema, &read(&lake, &compacted).await, &expected);
                assert_eq!(lake.list(WORK).await.unwrap().len(), 2, "killed at call {calls}");
                first.is_err()
            });
            if !killed {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills > 15, "{kills}");
}

#[test]
fn runners_side_by_side_make_one_result() {
    let (schema, files) = several_steps();
    let expected = expected(&schema, &files);
    let scratch = tempfile::tempdir().unwrap();
    for seed in 0..5 {
        block_on(async {
            let store = Arc::new(InMemory::new());
            let lake = LakeStore::new(store.clone(), Default::default(), "memory:///");
            let inputs = put(&lake, &schema, &files).await;
            let compaction = compaction(&schema, &inputs, scratch.path(), MEMORY);
            let open = |calls| {
                let mortal = Mortal::new(store.clone(), calls, true);
                LakeStore::new(Arc::new(mortal), Default::default(), "mortal:///")
            };
            // Two go to the end, one is killed on the way.
            let lakes = [open(i64::MAX), open(i64::MAX), open(60 + 20 * seed)];
            let clocks = [1_000, 7_000 + seed * 1_000, 3_000].map(|at| ManualClock::at(EpochMicros(at)));
            let (a, b, _) = futures::join!(
                run(&lakes[0], &clocks[0], &compaction),
                run(&lakes[1], &clocks[1], &compaction),
                run(&lakes[2], &clocks[2], &compaction),
            );
            let (Progress::Finished(a), Progress::Finished(b)) = (a.unwrap(), b.unwrap()) else {
                panic!("not finished");
            };
            assert_eq!(a, b, "seed {seed}");
            assert_rows(&schema, &read(&lake, &a).await, &expected);
            let again = compact(&lake, &compaction).await;
            assert_eq!(again, a);
            assert_eq!(lake.list(WORK).await.unwrap().len(), 2);
        });
    }
}

#[test]
fn no_step_is_begun_that_would_not_end_in_time() {
    let (schema, files) = several_steps();
    let scratch = tempfile::tempdir().unwrap();
    block_on(async {
        let lake = memory_lake();
        let inputs = put(&lake, &schema, &files).await;
        let mut compaction = compaction(&schema, &inputs, scratch.path(), MEMORY);
        compaction.until = EpochMicros(10_000_000);
        let progress = run(&lake, &clock(), &compaction).await.unwrap();
        let Progress::Unfinished { done: 0, of } = progress else { panic!("{progress:?}") };
        assert!(of > 5, "{of}");
        assert!(lake.list("t/closed").await.unwrap().is_empty());
    });
}
