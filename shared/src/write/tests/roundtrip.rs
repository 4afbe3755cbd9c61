//! What was pushed is what the arrow reader reads.

use arrow::array::{Array, RecordBatch};
use arrow::compute::{cast, concat_batches};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use parquet::file::metadata::PageIndexPolicy;
use proptest::prelude::*;

use super::model::*;
use crate::schema::*;

fn reader(bytes: &[u8]) -> ParquetRecordBatchReaderBuilder<Bytes> {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    ParquetRecordBatchReaderBuilder::try_new_with_options(Bytes::copy_from_slice(bytes), options).unwrap()
}

fn read(builder: ParquetRecordBatchReaderBuilder<Bytes>) -> RecordBatch {
    let schema = builder.schema().clone();
    let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

#[track_caller]
fn assert_same(found: &RecordBatch, expected: &RecordBatch) {
    assert_eq!(found.num_rows(), expected.num_rows());
    for (i, field) in expected.schema().fields().iter().enumerate() {
        let (found, expected) = (cast(found.column(i), field.data_type()).unwrap(), expected.column(i));
        if &found != expected {
            let at = (0..found.len()).find(|r| found.slice(*r, 1) != expected.slice(*r, 1));
            let show = |a: &dyn Array| format!("{:?}", a.slice(at.unwrap_or(0), 1));
            panic!("column {field} row {at:?}: {} instead of {}", show(&*found), show(&**expected));
        }
    }
}

fn columns(types: Vec<HiveType>) -> Vec<(String, HiveType)> {
    types.into_iter().enumerate().map(|(i, ty)| (format!("c{i}"), ty)).collect()
}

fn text(name: &str) -> StructField {
    StructField { name: name.into(), key: name.into(), ty: HiveType::String }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_rows_of_any_layout_read_back(
        seed in any::<u64>(), len in 0usize..600, nulls in 1u64..30, snappy in any::<bool>(),
    ) {
        let mut random = Random(seed);
        let count = 1 + random.below(4);
        let mut table = table(&columns((0..count).map(|_| random_type(&mut random, 3)).collect()));
        table.compression = if snappy { Compression::Snappy } else { Compression::Zstd };
        let rows: Vec<Vec<Tree>> = (0..len)
            .map(|_| table.columns.iter().map(|c| random_value(&mut random, &c.ty, nulls)).collect())
            .collect();
        let cut = random.below(len as u64 + 1) as usize;
        let bytes = write(&table, &[&rows[..cut], &rows[cut..]]);
        assert_same(&read(reader(&bytes)), &oracle(&table, &rows));
    }
}

#[test]
fn every_hive_type_reads_as_its_arrow_type() {
    let element = HiveType::Struct(vec![text("sku"), text("lot")]);
    let types = vec![
        HiveType::Boolean,
        HiveType::TinyInt,
        HiveType::SmallInt,
        HiveType::Int,
        HiveType::BigInt,
        HiveType::Float,
        HiveType::Double,
        HiveType::Decimal { precision: 9, scale: 2 },
        HiveType::Decimal { precision: 18, scale: 4 },
        HiveType::Decimal { precision: 38, scale: 10 },
        HiveType::String,
        HiveType::Varchar(10),
        HiveType::Char(3),
        HiveType::Timestamp,
        HiveType::Date,
        HiveType::Binary,
        HiveType::Array(Box::new(HiveType::Array(Box::new(element.clone())))),
        HiveType::Map(Box::new(HiveType::String), Box::new(HiveType::Array(Box::new(HiveType::Int)))),
        element,
    ];
    let table = table(&columns(types));
    let mut random = Random(7);
    let rows: Vec<Vec<Tree>> = (0..300)
        .map(|_| table.columns.iter().map(|c| random_value(&mut random, &c.ty, 5)).collect())
        .collect();
    let bytes = write(&table, &[&rows]);
    assert_eq!(reader(&bytes).schema().fields(), arrow_schema(&table, UTC).fields());
    assert_same(&read(reader(&bytes)), &oracle(&table, &rows));
}

#[test]
fn nulls_and_empty_lists_differ_at_every_level() {
    let list = HiveType::Array(Box::new(HiveType::Array(Box::new(HiveType::Struct(vec![text("a")])))));
    let map = HiveType::Map(Box::new(HiveType::String), Box::new(HiveType::Struct(vec![text("a")])));
    let table = table(&columns(vec![list, map]));
    let (none, some) = (Tree::Null, Tree::Text("x".into()));
    let st = |v: &Tree| Tree::Struct(vec![v.clone()]);
    let lists = [
        Tree::Null,
        Tree::List(vec![]),
        Tree::List(vec![Tree::Null]),
        Tree::List(vec![Tree::List(vec![])]),
        Tree::List(vec![Tree::List(vec![Tree::Null])]),
        Tree::List(vec![Tree::List(vec![st(&none)])]),
        Tree::List(vec![Tree::List(vec![st(&some), Tree::Null, st(&none)]), Tree::Null, Tree::List(vec![])]),
    ];
    let pair = |k: &str, v: Tree| (Tree::Text(k.into()), v);
    let maps = [
        Tree::Null,
        Tree::Map(vec![]),
        Tree::Map(vec![pair("", Tree::Null)]),
        Tree::Map(vec![pair("a", st(&none)), pair("b", st(&some))]),
        Tree::Null,
        Tree::Map(vec![]),
        Tree::Map(vec![pair("a", st(&some))]),
    ];
    let rows: Vec<Vec<Tree>> = lists.into_iter().zip(maps).map(|(l, m)| vec![l, m]).collect();
    assert_same(&read(reader(&write(&table, &[&rows]))), &oracle(&table, &rows));
}

#[test]
fn a_file_without_rows_has_a_schema() {
    let table = table(&columns(vec![HiveType::String, HiveType::BigInt]));
    let bytes = write(&table, &[&[]]);
    let read = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).unwrap();
    assert_eq!(read.metadata().num_row_groups(), 0);
    assert_eq!(read.schema().fields(), arrow_schema(&table, UTC).fields());
}

/// Long columns of every kind: plain and dictionary bytes, numbers, nulls in stretches, lists.
fn long_rows(len: u64) -> (TableSchema, Vec<Vec<Tree>>) {
    let table = table(&columns(vec![
        HiveType::String,
        HiveType::String,
        HiveType::BigInt,
        HiveType::Array(Box::new(HiveType::String)),
        HiveType::Double,
        HiveType::Boolean,
    ]));
    let mut random = Random(11);
    let rows = (0..len)
        .map(|i| {
            let id = Tree::Text(format!("{:016x}{:016x}", random.next(), random.next()));
            let word = Tree::Text(format!("word {}", random.below(3_000)));
            let number = if i / 1_000 % 3 == 0 { Tree::Null } else { Tree::Int(i128::from(i)) };
            let tags = (0..i % 4).map(|_| Tree::Text(format!("tag {}", random.next()))).collect();
            let price =
                if random.one_in(50) { Tree::Null } else { Tree::Float(random.below(500) as f64 / 4.0) };
            vec![id, word, number, Tree::List(tags), price, Tree::Bool(random.one_in(3))]
        })
        .collect();
    (table, rows)
}

#[test]
fn chunks_of_several_pages_read_back_whole_and_by_page() {
    let (table, rows) = long_rows(140_000);
    let bytes = write(&table, &[&rows]);
    let expected = oracle(&table, &rows);
    let builder = reader(&bytes);
    let index = builder.metadata().offset_index().unwrap();
    let pages: Vec<usize> = index[0].iter().map(|c| c.page_locations.len()).collect();
    assert!(pages.iter().all(|p| *p > 1) && pages[0] > 4, "several pages a chunk: {pages:?}");
    assert_same(&read(builder), &expected);

    // A selection makes the reader step from page to page by the offset index.
    for start in [0, 29_127, 70_001, 139_990] {
        let selection = RowSelection::from(vec![RowSelector::skip(start), RowSelector::select(10)]);
        let found = read(reader(&bytes).with_row_selection(selection));
        assert_same(&found, &expected.slice(start, 10));
    }
}
