//! The current state of changes beside a naive model: a map by key, the latest change wins.

use std::collections::BTreeMap;

use super::model::*;
use crate::commit::LakeStore;
use crate::compact::{Current, CurrentState, Input, current};
use crate::record::SequenceNumber;
use crate::schema::{HiveType, Provenance, TableSchema};
use crate::write::tests::model::{Random, Tree, table};

fn schema() -> TableSchema {
    let columns = [
        ("customer".to_owned(), HiveType::String),
        ("number".to_owned(), HiveType::BigInt),
        ("value".to_owned(), HiveType::String),
        ("_op".to_owned(), HiveType::String),
    ];
    let mut schema = table(&columns);
    schema.columns[3].from = vec!["_op".into()];
    schema.provenance = Provenance::Columns;
    schema
}

fn below(random: &mut Random, n: usize) -> usize {
    random.below(n as u64) as usize
}

/// A change of one of `keys` items; numbers of one shard are of very different lengths.
fn change(random: &mut Random, keys: usize, sequence: u64) -> Row {
    let key = below(random, keys) as i128;
    let shard = format!("shardId-{:020}-{:08x}", below(random, 3), key % 5);
    let removed = below(random, 4) == 0;
    let value = if removed { Tree::Null } else { Tree::Text(format!("v{sequence}")) };
    let op = if removed { "remove" } else { "modify" };
    let text = |t: &str| Tree::Text(t.into());
    vec![
        text(&format!("c{}", key % 7)),
        Tree::Int(key),
        value,
        text(op),
        text("orders"),
        text(&shard),
        text(&(SequenceNumber::from(sequence).to_string() + &"0".repeat((sequence % 3) as usize))),
        Tree::Int(0),
        Tree::Int(sequence as i128),
    ]
}

fn text(tree: &Tree) -> String {
    let Tree::Text(text) = tree else { panic!("{tree:?} is no text") };
    text.clone()
}

/// The rows of items that are there, by key.
fn model(rows: &[Row]) -> BTreeMap<String, Row> {
    let order = |row: &Row| (text(&row[5]), text(&row[6]).parse::<SequenceNumber>().unwrap());
    let mut last: BTreeMap<String, Row> = BTreeMap::new();
    for row in rows {
        let key = format!("{:?}{:?}", row[0], row[1]);
        if last.get(&key).is_none_or(|other| order(row) > order(other)) {
            last.insert(key, row.clone());
        }
    }
    last.retain(|_, row| text(&row[3]) != "remove");
    last
}

async fn put_as(
    lake: &LakeStore,
    schema: &TableSchema,
    files: &[Vec<Vec<Row>>],
    version: &str,
) -> Vec<Input> {
    let schema = TableSchema { version: version.into(), ..schema.clone() };
    put(lake, &schema, files).await
}

fn inputs_of(state: &CurrentState, directory: &str, removed: &str) -> Vec<Input> {
    let input = |folder: &str, file: &crate::compact::CompactedFile| Input {
        key: format!("{folder}/{}", file.name),
        rows: file.rows,
        bytes: file.bytes,
    };
    let there = state.files.iter().map(|file| input(directory, file));
    there.chain(state.removed.iter().map(|file| input(removed, file))).collect()
}

async fn values(lake: &LakeStore, state: &CurrentState, directory: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for file in &state.files {
        let bytes = lake.get(&format!("{directory}/{}", file.name)).await.unwrap().unwrap();
        let rows = parquet::record::reader::RowIter::from_file_into(Box::new(
            parquet::file::reader::SerializedFileReader::new(bytes).unwrap(),
        ));
        for row in rows.map(Result::unwrap) {
            let columns: Vec<_> = row.get_column_iter().map(|(_, field)| field.to_string()).collect();
            let twice = found.insert(columns[..2].concat(), columns[2].clone());
            assert_eq!(twice, None, "an item stands there twice");
        }
    }
    found
}

fn expected(rows: &[Row]) -> BTreeMap<String, String> {
    let shown = |row: &Row| {
        let Tree::Int(number) = row[1] else { panic!() };
        (format!("\"{}\"{number}", text(&row[0])), format!("\"{}\"", text(&row[2])))
    };
    model(rows).values().map(shown).collect()
}

/// Whatever comes late, twice or in another order, and however little memory there is.
#[test]
fn the_state_is_the_latest_image_of_each_item_step_by_step() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let schema = schema();
        let keys = ["customer".to_owned(), "number".to_owned()];
        let count = 30 + below(&mut random, 300);
        let items = 1 + below(&mut random, 60);
        let mut numbers: Vec<u64> = (1..=count as u64).collect();
        for i in (1..numbers.len()).rev() {
            numbers.swap(i, below(&mut random, i + 1));
        }
        let rows: Vec<Row> = numbers.iter().map(|n| change(&mut random, items, *n)).collect();
        block_on(async {
            let lake = LakeStore::open("memory:///", &[]).unwrap();
            let (mut base, mut seen, mut at) = (Vec::new(), Vec::new(), 0);
            for step in 0.. {
                if at == rows.len() {
                    break;
                }
                let take = (1 + below(&mut random, rows.len())).min(rows.len() - at);
                let mut new = rows[at..at + take].to_vec();
                at += take;
                seen.extend(new.iter().cloned());
                // Some that were there before: a partition closed again has all its rows.
                let again = below(&mut random, seen.len());
                new.extend(seen[again..].iter().take(20).cloned());
                let middle = below(&mut random, new.len());
                let files = vec![vec![new[middle..].to_vec()], vec![new[..middle].to_vec()]];
                let files: Vec<_> = files.into_iter().filter(|f| !f[0].is_empty()).collect();
                let mut inputs = put_as(&lake, &schema, &files, &format!("s{step}")).await;
                let at = below(&mut random, inputs.len() + 1);
                inputs.splice(at..at, base);
                let (directory, removed) = (format!("now/closed/r{step}"), format!("_weir/now/r{step}"));
                let memory = [64 << 20, 4_096][below(&mut random, 2)];
                let what = Current {
                    schema: &schema,
                    keys: &keys,
                    inputs: &inputs,
                    directory: &directory,
                    removed: &removed,
                    memory,
                };
                let state = current(&lake, &what).await.unwrap();
                assert_eq!(
                    values(&lake, &state, &directory).await,
                    expected(&seen),
                    "seed {seed} step {step}"
                );
                assert_eq!(current(&lake, &what).await.unwrap(), state, "a run that began again");
                base = inputs_of(&state, &directory, &removed);
            }
        });
    }
}

#[test]
fn a_table_without_the_order_of_its_changes_has_no_state() {
    let lake = LakeStore::open("memory:///", &[]).unwrap();
    let what = |schema: &TableSchema, keys: &[String]| {
        let what = Current { schema, keys, inputs: &[], directory: "a", removed: "b", memory: 1 };
        block_on(current(&lake, &what)).unwrap_err().to_string()
    };
    let (mut footer, mut no_op) = (schema(), schema());
    footer.provenance = Provenance::Footer;
    no_op.columns[3].from = vec!["op".into()];
    assert!(what(&footer, &[]).contains("weir.provenance"), "{}", what(&footer, &[]));
    assert!(what(&no_op, &[]).contains("`_op`"));
    assert!(what(&schema(), &["other".to_owned()]).contains("`other`"));
}
