use std::path::Path;

use super::model::*;
use crate::clock::EpochMicros;
use crate::commit::LakeStore;
use crate::compact::{Compaction, Limits};
use crate::schema::{HiveType, TableSchema};
use crate::write::tests::model::{Random, Tree, random_type, random_value, table};

/// A random table whose first columns can be sorted, and rows of it in files.
fn world(random: &mut Random) -> (TableSchema, Vec<Vec<Vec<Row>>>) {
    let flat = |random: &mut Random| random_type(random, 0);
    let mut columns: Vec<(String, HiveType)> = (0..3).map(|i| (format!("k{i}"), flat(random))).collect();
    columns.extend((0..4).map(|i| (format!("c{i}"), random_type(random, 2))));
    let mut schema = table(&columns);
    schema.version = "1".into();
    schema.sort = (0..random.below(3)).map(|i| format!("k{i}")).collect();
    schema.dedupe_key = (0..random.below(3)).map(|i| format!("k{}", 2 - i)).collect();
    let nulls = 2 + random.below(8);
    let row = |random: &mut Random| columns.iter().map(|(_, ty)| random_value(random, ty, nulls)).collect();
    let group = |random: &mut Random| (0..1 + random.below(60)).map(|_| row(random)).collect();
    let file = |random: &mut Random| (0..1 + random.below(2)).map(|_| group(random)).collect();
    let files = (0..1 + random.below(6)).map(|_| file(random)).collect();
    (schema, files)
}

fn numbers(table: &TableSchema, names: &[String]) -> Vec<usize> {
    names.iter().map(|n| table.columns.iter().position(|c| c.name == *n).unwrap()).collect()
}

#[test]
fn rows_of_any_type_come_out_sorted_and_deduped_as_the_model_says() {
    for seed in 0..120 {
        let mut random = Random(seed);
        let (schema, files) = world(&mut random);
        let rows: Vec<Row> = files.iter().flatten().flatten().cloned().collect();
        let (sort, dedupe) = (numbers(&schema, &schema.sort), numbers(&schema, &schema.dedupe_key));
        let expected = model(&rows, &sort, &dedupe, None);
        block_on(async {
            let lake = LakeStore::open("memory:///", &[]).unwrap();
            let inputs = put(&lake, &schema, &files).await;
            let compaction = Compaction {
                schema: &schema,
                inputs: &inputs,
                directory: DIRECTORY,
                work: WORK,
                scratch: Path::new("/nowhere"),
                limits: Limits::default(),
                until: EpochMicros(i64::MAX),
            };
            let compacted = compact(&lake, &compaction).await;
            assert_eq!(compacted.rows_read, rows.len() as u64, "seed {seed}");
            assert_eq!(compacted.rows_removed, (rows.len() - expected.len()) as u64, "seed {seed}");
            assert_rows(&schema, &read(&lake, &compacted).await, &expected);
        });
    }
}

#[test]
fn of_copies_the_one_that_arrived_first_stays() {
    let columns = [("id".to_owned(), HiveType::Int), ("n".to_owned(), HiveType::Int)];
    let mut schema = table(&columns);
    schema.provenance = crate::schema::Provenance::Columns;
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
    block_on(async {
        let lake = LakeStore::open("memory:///", &[]).unwrap();
        let inputs = put(&lake, &schema, &files).await;
        let compaction = Compaction {
            schema: &schema,
            inputs: &inputs,
            directory: DIRECTORY,
            work: WORK,
            scratch: Path::new("/nowhere"),
            limits: Limits::default(),
            until: EpochMicros(i64::MAX),
        };
        let compacted = compact(&lake, &compaction).await;
        assert_rows(&schema, &read(&lake, &compacted).await, &expected);
    });
}

#[test]
fn a_compaction_can_move_between_threads() {
    fn assert_send<T: Send>(_: &T) {}
    let schema = table(&[("id".to_owned(), HiveType::Int)]);
    let lake = LakeStore::open("memory:///", &[]).unwrap();
    let compaction = Compaction {
        schema: &schema,
        inputs: &[],
        directory: DIRECTORY,
        work: WORK,
        scratch: Path::new("/nowhere"),
        limits: Limits::default(),
        until: EpochMicros(i64::MAX),
    };
    assert_send(&crate::compact::run(&lake, &clock(), &compaction));
}
