//! Rows of any type, in any number of steps.

use std::path::Path;

use super::model::*;
use crate::commit::LakeStore;
use crate::schema::{HiveType, Provenance};
use crate::write::tests::model::{Random, Tree, table};

#[test]
fn rows_of_any_type_come_out_sorted_and_deduped_as_the_model_says() {
    let (mut parted, mut hashed, mut direct, mut spooled) = (0, 0, 0, 0);
    for seed in 0..80 {
        let mut random = Random(seed);
        let (schema, files) = world(&mut random, 80);
        let rows: usize = files.iter().flatten().map(Vec::len).sum();
        let expected = expected(&schema, &files);
        let memory = [1 << 28, 20_000, 60_000][random.below(3) as usize];
        let scratch = tempfile::tempdir().unwrap();
        block_on(async {
            let lake = memory_lake();
            let inputs = put(&lake, &schema, &files).await;
            let compaction = compaction(&schema, &inputs, scratch.path(), memory);
            let compacted = compact(&lake, &compaction).await;
            assert_eq!(compacted.rows_read, rows as u64, "seed {seed}");
            assert_eq!(compacted.rows_removed, (rows - expected.len()) as u64, "seed {seed}");
            let found = read(&lake, &compacted).await;
            assert_rows(&schema, &found, &expected);
            let left = lake.list(WORK).await.unwrap();
            assert_eq!(left, [format!("{WORK}/finished"), format!("{WORK}/plan")], "seed {seed}");
            let plan = plan(&lake).await;
            parted += usize::from(plan["split"] == true);
            hashed += usize::from(plan["shares"] != 0);
            direct += usize::from(plan["split"] == false && plan["splitters"].as_array().unwrap().len() > 1);
            spooled += usize::from(compacted.files.len() > 1);
        });
        assert_eq!(scratch.path().read_dir().unwrap().count(), 0, "seed {seed}");
    }
    // Every way is gone.
    assert!(parted > 5 && hashed > 5 && spooled > 5, "{parted} {hashed} {spooled}");
    eprintln!("{parted} parted, {hashed} hashed, {direct} direct, {spooled} of several files");
}

#[test]
fn files_in_order_of_time_are_read_without_parting_their_rows_first() {
    let columns = [("at".to_owned(), HiveType::Timestamp), ("n".to_owned(), HiveType::Int)];
    let mut schema = table(&columns);
    schema.sort = vec!["at".into()];
    let row = |file: i128, i: i128| vec![Tree::Int(file * 1_000 + (i * 37) % 1_100), Tree::Int(i)];
    let files: Vec<_> = (0..60).map(|file| vec![(0..50).map(|i| row(file, i)).collect()]).collect();
    let expected = expected(&schema, &files);
    block_on(async {
        let lake = memory_lake();
        let inputs = put(&lake, &schema, &files).await;
        let scratch = tempfile::tempdir().unwrap();
        let compaction = compaction(&schema, &inputs, scratch.path(), 40_000);
        let compacted = compact(&lake, &compaction).await;
        assert_rows(&schema, &read(&lake, &compacted).await, &expected);
        let plan = plan(&lake).await;
        assert_eq!(plan["split"], false);
        assert!(plan["units"].as_array().unwrap().len() > 2, "{plan}");
    });
}

#[test]
fn of_copies_the_one_that_arrived_first_stays() {
    let columns = [("id".to_owned(), HiveType::Int), ("n".to_owned(), HiveType::Int)];
    let mut schema = table(&columns);
    schema.provenance = Provenance::Columns;
    schema.dedupe_key = vec!["id".into()];
    let row = |id: Option<i128>, n: i128, arrived: i128| {
        let text = |t: &str| Tree::Text(t.into());
        let id = id.map_or(Tree::Null, Tree::Int);
        vec![id, Tree::Int(n), text("s"), text("0"), text("1"), Tree::Int(0), Tree::Int(arrived)]
    };
    let files = vec![
        vec![vec![row(Some(1), 0, 50), row(Some(2), 1, 50), row(None, 2, 50)]],
        vec![vec![row(Some(1), 3, 40), row(Some(2), 4, 50), row(None, 5, 40)]],
    ];
    let rows: Vec<Row> = files.iter().flatten().flatten().cloned().collect();
    let expected = model(&rows, &[], &[0], Some(6));
    assert_eq!(expected.iter().map(|r| r[1].clone()).collect::<Vec<_>>(), [1, 2, 3, 5].map(Tree::Int));
    // In memory, and by way of hashes.
    for memory in [1 << 28, 128] {
        block_on(async {
            let lake = memory_lake();
            let inputs = put(&lake, &schema, &files).await;
            let scratch = tempfile::tempdir().unwrap();
            let compacted = compact(&lake, &compaction(&schema, &inputs, scratch.path(), memory)).await;
            assert_rows(&schema, &read(&lake, &compacted).await, &expected);
            assert_eq!(plan(&lake).await["shares"] != 0, memory == 128);
        });
    }
}

#[test]
fn a_compaction_can_move_between_threads() {
    fn assert_send<T: Send>(_: &T) {}
    let schema = table(&[("id".to_owned(), HiveType::Int)]);
    let lake: LakeStore = memory_lake();
    let compaction = compaction(&schema, &[], Path::new("/nowhere"), 1 << 28);
    assert_send(&crate::compact::run(&lake, &clock(), &compaction));
}
