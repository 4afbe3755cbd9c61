//! Files of earlier versions of a table, and a revision's files as inputs of the next.

use std::path::Path;

use super::model::*;
use crate::compact::Input;
use crate::schema::{HiveType, StructField};
use crate::write::tests::model::{Random, Tree, random_value, table};

fn columns(text: &[(&str, &str)]) -> Vec<(String, HiveType)> {
    text.iter().map(|(name, ty)| ((*name).to_owned(), ty.parse().unwrap())).collect()
}

/// A value of the old type as the new type has it.
fn grown(value: &Tree, old: &HiveType, new: &HiveType) -> Tree {
    match (value, old, new) {
        (Tree::Struct(values), HiveType::Struct(old), HiveType::Struct(new)) => {
            let member = |field: &StructField| match old.iter().position(|f| f.name == field.name) {
                Some(at) => grown(&values[at], &old[at].ty, &field.ty),
                None => Tree::Null,
            };
            Tree::Struct(new.iter().map(member).collect())
        }
        (Tree::List(values), HiveType::Array(old), HiveType::Array(new)) => {
            Tree::List(values.iter().map(|value| grown(value, old, new)).collect())
        }
        (Tree::Map(pairs), HiveType::Map(_, old), HiveType::Map(_, new)) => {
            Tree::Map(pairs.iter().map(|(key, value)| (key.clone(), grown(value, old, new))).collect())
        }
        (value, ..) => value.clone(),
    }
}

#[test]
fn files_of_an_earlier_version_get_nulls_and_wider_types() {
    let old = columns(&[
        ("gone", "string"),
        ("n", "int"),
        ("s", "struct<a:int,l:array<struct<x:string>>>"),
        ("items", "array<struct<sku:string,tags:array<string>>>"),
        ("m", "map<string,struct<v:float>>"),
        ("d", "decimal(9,2)"),
        ("e", "decimal(18,3)"),
        ("f", "tinyint"),
    ]);
    let new = columns(&[
        ("n", "bigint"),
        ("s", "struct<b:string,a:bigint,l:array<struct<x:string,y:array<int>>>>"),
        ("items", "array<struct<sku:string,qty:int,tags:array<string>>>"),
        ("m", "map<string,struct<v:double,w:date>>"),
        ("d", "decimal(18,2)"),
        ("e", "decimal(30,3)"),
        ("f", "int"),
        ("late", "array<string>"),
        ("at", "timestamp"),
    ]);
    for seed in 0..24 {
        let mut random = Random(seed);
        let nulls = 2 + random.below(6);
        let mut rows_of = |columns: &[(String, HiveType)]| -> Vec<Row> {
            let row = |random: &mut Random| -> Row {
                columns.iter().map(|(_, ty)| random_value(random, ty, nulls)).collect()
            };
            (0..30).map(|_| row(&mut random)).collect()
        };
        let (old_rows, new_rows) = (rows_of(&old), rows_of(&new));
        let (mut before, mut now) = (table(&old), table(&new));
        (before.version, now.version) = ("1".into(), "2".into());
        now.sort = vec!["n".into(), "f".into()];
        let as_new = |row: &Row| -> Row {
            let value = |(name, ty): &(String, HiveType)| match old.iter().position(|c| c.0 == *name) {
                Some(at) => grown(&row[at], &old[at].1, ty),
                None => Tree::Null,
            };
            new.iter().map(value).collect()
        };
        let all: Vec<Row> = old_rows.iter().map(as_new).chain(new_rows.iter().cloned()).collect();
        let expected = model(&all, &[0, 6], &[], None);
        block_on(async {
            let lake = memory_lake();
            let mut inputs = put(&lake, &before, &[vec![old_rows]]).await;
            inputs.extend(put(&lake, &now, &[vec![new_rows]]).await);
            let memory = if seed % 2 == 0 { 1 << 28 } else { 8_000 };
            let scratch = tempfile::tempdir().unwrap();
            let compacted = compact(&lake, &compaction(&now, &inputs, scratch.path(), memory)).await;
            assert_rows(&now, &read(&lake, &compacted).await, &expected);
        });
    }
}

#[test]
fn a_revision_takes_in_the_files_of_the_one_before() {
    for seed in 0..12 {
        let (schema, files) = world(&mut Random(seed), 60);
        let expected = expected(&schema, &files);
        block_on(async {
            let lake = memory_lake();
            let inputs = put(&lake, &schema, &files).await;
            let (first, late) = inputs.split_at(inputs.len() / 2);
            let mut base = compaction(&schema, first, Path::new("/nowhere"), 1 << 28);
            (base.directory, base.work) = ("t/closed/dt=1/r0001-x", "_work/x");
            let done = compact(&lake, &base).await;
            let key = |name: &str| format!("t/closed/dt=1/r0001-x/{name}");
            let files = done.files.iter();
            let files = files.map(|f| Input { key: key(&f.name), rows: f.rows, bytes: f.bytes });
            let second: Vec<Input> = files.chain(late.iter().cloned()).collect();
            let scratch = tempfile::tempdir().unwrap();
            let done = compact(&lake, &compaction(&schema, &second, scratch.path(), 30_000)).await;
            assert_rows(&schema, &read(&lake, &done).await, &expected);
        });
    }
}
