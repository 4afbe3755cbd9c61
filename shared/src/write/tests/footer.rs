//! The file profile, as it stands in the bytes: every footer, every page header.

use arrow::array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{
    BoundaryOrder, Compression as Codec, ConvertedType, Encoding, LogicalType, PageType, Repetition,
    TimeUnit, Type as PhysicalType,
};
use parquet::bloom_filter::Sbbf;
use parquet::file::metadata::{ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics;

use super::model::*;
use crate::columns::{ColumnSet, Layout};
use crate::schema::*;
use crate::write::{Encoder, FileFormat, FileWriter};

fn metadata(bytes: &[u8]) -> ParquetMetaData {
    ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Required)
        .parse_and_finish(&Bytes::copy_from_slice(bytes))
        .unwrap()
}

/// One column, written as one row group.
fn single(ty: HiveType, values: Vec<Tree>) -> (Vec<u8>, ParquetMetaData) {
    let table = table(&[("c".into(), ty)]);
    let rows: Vec<Vec<Tree>> = values.into_iter().map(|v| vec![v]).collect();
    let bytes = write(&table, &[&rows]);
    let found = metadata(&bytes);
    (bytes, found)
}

fn chunk(metadata: &ParquetMetaData) -> &ColumnChunkMetaData {
    metadata.row_group(0).column(0)
}

#[test]
fn types_are_those_of_the_profile() {
    use HiveType as H;
    let decimal = |precision, scale| H::Decimal { precision, scale };
    let (none, micros) = (ConvertedType::NONE, LogicalType::timestamp(true, TimeUnit::MICROS));
    let cases = [
        (H::Boolean, PhysicalType::BOOLEAN, None, none, 0),
        (H::TinyInt, PhysicalType::INT32, Some(LogicalType::integer(8, true)), ConvertedType::INT_8, 0),
        (H::SmallInt, PhysicalType::INT32, Some(LogicalType::integer(16, true)), ConvertedType::INT_16, 0),
        (H::Int, PhysicalType::INT32, None, none, 0),
        (H::BigInt, PhysicalType::INT64, None, none, 0),
        (H::Float, PhysicalType::FLOAT, None, none, 0),
        (H::Double, PhysicalType::DOUBLE, None, none, 0),
        (decimal(9, 2), PhysicalType::INT32, Some(LogicalType::decimal(2, 9)), ConvertedType::DECIMAL, 0),
        (decimal(18, 0), PhysicalType::INT64, Some(LogicalType::decimal(0, 18)), ConvertedType::DECIMAL, 0),
        (
            decimal(19, 6),
            PhysicalType::FIXED_LEN_BYTE_ARRAY,
            Some(LogicalType::decimal(6, 19)),
            ConvertedType::DECIMAL,
            9,
        ),
        (
            decimal(38, 10),
            PhysicalType::FIXED_LEN_BYTE_ARRAY,
            Some(LogicalType::decimal(10, 38)),
            ConvertedType::DECIMAL,
            16,
        ),
        (H::String, PhysicalType::BYTE_ARRAY, Some(LogicalType::String), ConvertedType::UTF8, 0),
        (H::Varchar(9), PhysicalType::BYTE_ARRAY, Some(LogicalType::String), ConvertedType::UTF8, 0),
        (H::Char(9), PhysicalType::BYTE_ARRAY, Some(LogicalType::String), ConvertedType::UTF8, 0),
        (H::Binary, PhysicalType::BYTE_ARRAY, None, none, 0),
        (H::Date, PhysicalType::INT32, Some(LogicalType::Date), ConvertedType::DATE, 0),
        (H::Timestamp, PhysicalType::INT64, Some(micros), ConvertedType::TIMESTAMP_MICROS, 0),
    ];
    for (ty, physical, logical, converted, width) in cases {
        let (_, found) = single(ty.clone(), vec![Tree::Null]);
        let leaf = found.file_metadata().schema_descr().column(0);
        let found = (leaf.physical_type(), leaf.logical_type_ref().cloned(), leaf.converted_type());
        assert_eq!(found, (physical, logical, converted), "{ty:?}");
        assert_eq!(leaf.type_length().max(0), width, "{ty:?}");
        assert_eq!((leaf.max_def_level(), leaf.max_rep_level()), (1, 0), "{ty:?}");
    }
}

#[test]
fn lists_have_three_levels_and_maps_a_required_key() {
    let list = HiveType::Array(Box::new(HiveType::String));
    let map = HiveType::Map(Box::new(HiveType::String), Box::new(list.clone()));
    let (_, found) = single(map, vec![Tree::Null]);
    let map = &found.file_metadata().schema().get_fields()[0];
    let describe = |t: &parquet::schema::types::Type| {
        let info = t.get_basic_info();
        (t.name().to_owned(), info.repetition(), info.converted_type())
    };
    assert_eq!(describe(map), ("c".into(), Repetition::OPTIONAL, ConvertedType::MAP));
    let pairs = &map.get_fields()[0];
    assert_eq!(describe(pairs), ("key_value".into(), Repetition::REPEATED, ConvertedType::NONE));
    let (key, value) = (&pairs.get_fields()[0], &pairs.get_fields()[1]);
    assert_eq!(describe(key), ("key".into(), Repetition::REQUIRED, ConvertedType::UTF8));
    assert_eq!(describe(value), ("value".into(), Repetition::OPTIONAL, ConvertedType::LIST));
    let repeated = &value.get_fields()[0];
    assert_eq!(describe(repeated), ("list".into(), Repetition::REPEATED, ConvertedType::NONE));
    let element = &repeated.get_fields()[0];
    assert_eq!(describe(element), ("element".into(), Repetition::OPTIONAL, ConvertedType::UTF8));
}

/// First fields of a page header in order: type, raw length, length, checksum.
fn page_header(bytes: &[u8]) -> [i32; 4] {
    let mut at = 0;
    std::array::from_fn(|_| {
        assert_eq!(bytes[at], 0x15, "a 32-bit integer, the next field");
        at += 1;
        let (mut value, mut shift) = (0u32, 0);
        loop {
            value |= u32::from(bytes[at] & 0x7f) << shift;
            shift += 7;
            at += 1;
            if bytes[at - 1] < 0x80 {
                return (value >> 1) as i32 ^ -((value & 1) as i32);
            }
        }
    })
}

#[test]
fn every_page_is_version_1_with_a_checksum_over_its_bytes() {
    let table = table(&[("id".into(), HiveType::String), ("n".into(), HiveType::BigInt)]);
    let mut random = Random(3);
    let rows: Vec<Vec<Tree>> = (0..60_000)
        .map(|_| vec![Tree::Text(format!("{:032x}", random.next())), Tree::Int(i128::from(random.below(99)))])
        .collect();
    for compression in [Compression::Zstd, Compression::Snappy] {
        let table = TableSchema { compression, ..table.clone() };
        let bytes = write(&table, &[&rows, &rows[..10]]);
        let found = metadata(&bytes);
        let mut pages = 0;
        for (group, offsets) in found.row_groups().iter().zip(found.offset_index().unwrap()) {
            for (chunk, offsets) in group.columns().iter().zip(offsets) {
                let (start, len) = chunk.byte_range();
                let first_data = chunk.data_page_offset() as u64;
                let dictionary = (start < first_data).then_some((start, first_data - start, 2));
                let data = offsets.page_locations.iter();
                let data = data.map(|l| (l.offset as u64, l.compressed_page_size as u64, 0));
                let mut expected_start = start;
                for (start, len, kind) in dictionary.into_iter().chain(data) {
                    assert_eq!(start, expected_start, "pages stand end to end");
                    expected_start += len;
                    let page = &bytes[start as usize..(start + len) as usize];
                    let [ty, raw_len, body_len, crc] = page_header(page);
                    assert_eq!(ty, kind);
                    let body = &page[page.len() - body_len as usize..];
                    assert_eq!(crc32fast::hash(body), crc as u32);
                    assert_eq!(chunk.compression() == Codec::UNCOMPRESSED, raw_len == body_len);
                    pages += 1;
                }
                assert_eq!(expected_start, start + len);
            }
        }
        assert!(pages > 6);
    }
}

#[test]
fn footer_names_version_writer_encodings_and_the_callers_pairs() {
    let (_, found) = single(HiveType::String, vec![Tree::Text("a word".into()); 1_000]);
    let file = found.file_metadata();
    assert_eq!(file.version(), 1);
    assert_eq!(file.created_by(), Some(concat!("weir version ", env!("CARGO_PKG_VERSION"))));
    let pair = &file.key_value_metadata().unwrap()[0];
    assert_eq!((pair.key.as_str(), pair.value.as_deref()), ("weir.shard", Some("shardId-000000000000")));
    assert_eq!(file.column_orders().map(Vec::len), Some(1));
    assert_eq!(file.num_rows(), 1_000);
    let encodings: Vec<_> = chunk(&found).encodings().collect();
    assert_eq!(encodings, [Encoding::PLAIN_DICTIONARY, Encoding::RLE]);

    let (_, found) = single(HiveType::BigInt, (0..1_000).map(Tree::Int).collect());
    let encodings: Vec<_> = chunk(&found).encodings().collect();
    assert_eq!(encodings, [Encoding::PLAIN, Encoding::RLE]);
    assert!(chunk(&found).dictionary_page_offset().is_none());
    assert!(matches!(chunk(&found).compression(), Codec::ZSTD(_)));
}

#[test]
fn page_encodings_are_counted() {
    let options = parquet::file::metadata::ParquetMetaDataOptions::new().with_encoding_stats_as_mask(false);
    let (bytes, _) = single(HiveType::String, vec![Tree::Text("a word".into()); 1_000]);
    let found = ParquetMetaDataReader::new()
        .with_metadata_options(Some(options))
        .parse_and_finish(&Bytes::from(bytes))
        .unwrap();
    let stats = chunk(&found).page_encoding_stats().unwrap();
    let stats: Vec<_> = stats.iter().map(|s| (s.page_type, s.encoding, s.count)).collect();
    let dictionary = Encoding::PLAIN_DICTIONARY;
    assert_eq!(stats, [(PageType::DICTIONARY_PAGE, dictionary, 1), (PageType::DATA_PAGE, dictionary, 1)]);
}

#[test]
fn a_chunk_that_would_not_shrink_is_not_compressed() {
    let mut random = Random(5);
    let bits = (0..4_000).map(|_| Tree::Int(i128::from(random.next() as i64))).collect();
    let (_, found) = single(HiveType::BigInt, bits);
    assert_eq!(chunk(&found).compression(), Codec::UNCOMPRESSED);
    assert_eq!(chunk(&found).compressed_size(), chunk(&found).uncompressed_size());
}

#[test]
fn a_dictionary_that_does_not_pay_is_not_written() {
    let words = (0..500).map(|i| Tree::Text(format!("user {}", i.min(489)))).collect();
    let (_, found) = single(HiveType::String, words);
    assert!(chunk(&found).dictionary_page_offset().is_none());
}

#[track_caller]
fn bounds(ty: HiveType, values: Vec<Tree>) -> Option<(Vec<u8>, bool, Vec<u8>, bool)> {
    let (_, found) = single(ty, values);
    let stats = chunk(&found).statistics().unwrap();
    let (min, max) = (stats.min_bytes_opt()?.to_vec(), stats.max_bytes_opt()?.to_vec());
    // One page: the column index says the same.
    match &found.column_index().unwrap()[0][0] {
        ColumnIndexMetaData::BYTE_ARRAY(index) | ColumnIndexMetaData::FIXED_LEN_BYTE_ARRAY(index) => {
            assert_eq!((index.min_value(0).unwrap(), index.max_value(0).unwrap()), (&min[..], &max[..]));
        }
        ColumnIndexMetaData::NONE => panic!("no column index"),
        _ => {}
    }
    Some((min, stats.min_is_exact(), max, stats.max_is_exact()))
}

#[test]
fn bounds_of_bytes_are_short_and_sound() {
    let text = |s: &str| Tree::Text(s.into());
    let (xs, x63) = ("x".repeat(64), "x".repeat(63));
    let cases = [
        (vec![text("b"), text(""), text("aé")], String::new(), true, "b".into(), true),
        (vec![text(&xs)], xs.clone(), true, xs.clone(), true),
        (vec![text(&"x".repeat(65))], xs.clone(), false, format!("{x63}y"), false),
        // A character that would be cut in two is left out.
        (vec![text(&format!("{x63}é"))], x63.clone(), false, format!("{}y", &x63[1..]), false),
        // After the last code point only the character before it can rise, past the surrogates.
        (
            vec![text(&format!("a\u{D7FF}{}", "\u{10FFFF}".repeat(20)))],
            format!("a\u{D7FF}{}", "\u{10FFFF}".repeat(15)),
            false,
            "a\u{E000}".into(),
            false,
        ),
    ];
    for (values, min, min_exact, max, max_exact) in cases {
        let found = bounds(HiveType::String, values.clone()).unwrap();
        let expected = (min.as_bytes().to_vec(), min_exact, max.as_bytes().to_vec(), max_exact);
        assert_eq!(found, expected, "{values:?}");
    }
    let (_, found) = single(HiveType::Binary, vec![Tree::Binary(vec![0xFF; 65])]);
    assert_eq!(chunk(&found).statistics().unwrap().max_bytes_opt(), None, "no short bound exists");
    assert!(matches!(found.column_index().unwrap()[0][0], ColumnIndexMetaData::NONE));
    let mut value = vec![0xFF; 80];
    value[3] = 7;
    let (min, _, max, exact) = bounds(HiveType::Binary, vec![Tree::Binary(value.clone())]).unwrap();
    assert_eq!((&min[..], &max[..], exact), (&value[..64], &[0xFF, 0xFF, 0xFF, 8][..], false));
}

#[test]
fn bounds_of_wide_decimals_are_signed() {
    let ty = HiveType::Decimal { precision: 38, scale: 0 };
    for (values, min, max) in
        [(vec![-1, 1], -1, 1), (vec![-5, -1], -5, -1), (vec![1 << 90, 3, -(1 << 80)], -(1 << 80), 1 << 90)]
    {
        let found = bounds(ty.clone(), values.into_iter().map(Tree::Int).collect()).unwrap();
        let bytes = |v: i128| v.to_be_bytes().to_vec();
        assert_eq!(found, (bytes(min), true, bytes(max), true));
    }
}

/// Bounds of doubles, with and without a dictionary.
#[test]
fn bounds_of_floats_leave_out_nan_and_cover_both_zeros() {
    let nan = f64::NAN;
    let cases = [
        (vec![1.5, nan, -2.0], Some((-2.0, 1.5))),
        (vec![0.0], Some((-0.0, 0.0))),
        (vec![-0.0, 3.0], Some((-0.0, 3.0))),
        (vec![f64::NEG_INFINITY, f64::INFINITY, nan], Some((f64::NEG_INFINITY, f64::INFINITY))),
        (vec![nan, nan], None),
    ];
    for (values, expected) in cases {
        for repeat in [1, 100] {
            let values: Vec<Tree> = values.repeat(repeat).into_iter().map(Tree::Float).collect();
            let (_, found) = single(HiveType::Double, values);
            let Some(Statistics::Double(stats)) = chunk(&found).statistics() else { panic!("statistics") };
            let found_bounds = stats.min_opt().zip(stats.max_opt());
            let bits = |(a, b): (f64, f64)| (a.to_bits(), b.to_bits());
            assert_eq!(found_bounds.map(|(a, b)| bits((*a, *b))), expected.map(bits));
            let index = &found.column_index().unwrap()[0][0];
            assert_eq!(matches!(index, ColumnIndexMetaData::NONE), expected.is_none());
        }
    }
}

#[test]
fn statistics_by_page_and_chunk_are_those_of_the_values() {
    let table = table(&[("n".into(), HiveType::Int), ("s".into(), HiveType::String)]);
    let value = |i: i128| if i % 7 == 0 || i < 160_000 { Tree::Null } else { Tree::Int(i / 3) };
    let text = |i: i128| Tree::Text(format!("k{:07}", (300_000 - i) / 200));
    let rows: Vec<Vec<Tree>> = (0..300_000).map(|i| vec![value(i), text(i)]).collect();
    let bytes = write(&table, &[&rows]);
    let found = metadata(&bytes);
    let offsets = &found.offset_index().unwrap()[0];
    let starts = |column: usize| {
        let rows = offsets[column].page_locations.iter().map(|l| l.first_row_index as usize);
        rows.chain([300_000]).collect::<Vec<_>>()
    };
    let ColumnIndexMetaData::INT32(index) = &found.column_index().unwrap()[0][0] else { panic!() };
    let mut nulls = 0;
    for (page, window) in starts(0).windows(2).enumerate() {
        let values = rows[window[0]..window[1]].iter().map(|r| match &r[0] {
            Tree::Int(v) => Some(*v as i32),
            _ => None,
        });
        let present: Vec<i32> = values.clone().flatten().collect();
        assert_eq!(index.min_value(page), present.iter().min());
        assert_eq!(index.max_value(page), present.iter().max());
        assert_eq!(index.is_null_page(page), present.is_empty());
        assert_eq!(index.null_count(page), Some((values.count() - present.len()) as i64));
        nulls += index.null_count(page).unwrap();
    }
    let order = |column: usize| found.column_index().unwrap()[0][column].get_boundary_order();
    assert!(index.is_null_page(0) && order(0) == Some(BoundaryOrder::ASCENDING));
    let Some(Statistics::Int32(stats)) = chunk(&found).statistics() else { panic!() };
    assert_eq!((stats.min_opt(), stats.max_opt()), (Some(&53_333), Some(&99_999)));
    assert_eq!(stats.null_count_opt(), Some(nulls as u64));

    let ColumnIndexMetaData::BYTE_ARRAY(index) = &found.column_index().unwrap()[0][1] else { panic!() };
    for (page, window) in starts(1).windows(2).enumerate() {
        let key = |row: usize| match &rows[row][1] {
            Tree::Text(text) => text.clone().into_bytes(),
            _ => unreachable!("no nulls"),
        };
        assert_eq!(index.min_value(page).unwrap(), key(window[1] - 1));
        assert_eq!(index.max_value(page).unwrap(), key(window[0]));
    }
    assert!(starts(1).len() > 3 && order(1) == Some(BoundaryOrder::DESCENDING));
}

#[test]
fn bloom_filters_find_every_value_and_few_others() {
    let item =
        HiveType::Struct(vec![StructField { name: "n".into(), key: "n".into(), ty: HiveType::BigInt }]);
    let mut table = table(&[("id".into(), HiveType::String), ("item".into(), item)]);
    table.bloom = vec!["id".into(), "item.n".into()];
    let id = |i: i64| format!("id-{i:05}");
    let rows: Vec<Vec<Tree>> = (0..5_000)
        .map(|i| vec![Tree::Text(id(i)), Tree::Struct(vec![Tree::Int(i128::from(i % 50))])])
        .collect();
    let bytes = write(&table, &[&rows, &rows[..10]]);
    for (group, rows) in metadata(&bytes).row_groups().iter().zip([5_000, 10]) {
        let filter = |column: usize| {
            let chunk = group.column(column);
            let start = chunk.bloom_filter_offset().unwrap() as usize;
            Sbbf::from_bytes(&bytes[start..start + chunk.bloom_filter_length().unwrap() as usize]).unwrap()
        };
        let (ids, numbers) = (filter(0), filter(1));
        assert!((0..rows).all(|i| ids.check(id(i).as_str()) && numbers.check(&(i % 50))));
        let wrong = (5_000..15_000).filter(|i| ids.check(id(*i).as_str())).count();
        assert!(wrong < 300, "{wrong} of 10,000 absent ids found");
    }
}

#[test]
fn an_open_file_is_little_more_than_its_bytes() {
    let table = table(&[("id".into(), HiveType::String), ("n".into(), HiveType::BigInt)]);
    let layout = Layout::of(&table);
    let format = FileFormat::new(&layout, Compression::Zstd, &[]).unwrap();
    let mut writer = FileWriter::new(&format);
    let mut columns = ColumnSet::new(&layout);
    let rows: Vec<_> = (0..100).map(|i| vec![Tree::Text("x".into()), Tree::Int(i)]).collect();
    fill(&mut columns, &layout, &rows);
    let before = writer.bytes_written();
    writer.write_row_group(&columns, &mut Encoder::new()).unwrap();
    assert!(before == 4 && (100..2_000).contains(&writer.bytes_written()));
    assert_eq!(writer.rows(), 100);
    let bytes = Bytes::from(writer.finish(&[]).unwrap());
    let read = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
    let batches: Vec<RecordBatch> = read.map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 100);
}

#[test]
fn columns_of_another_table_or_with_an_open_row_are_refused() {
    let narrow = Layout::of(&table(&[("a".into(), HiveType::Int)]));
    let wide = Layout::of(&table(&[("a".into(), HiveType::Int), ("b".into(), HiveType::Int)]));
    let format = FileFormat::new(&wide, Compression::Zstd, &[]).unwrap();
    let mut other = ColumnSet::new(&narrow);
    fill(&mut other, &narrow, &[vec![Tree::Int(1)]]);
    let mut open = ColumnSet::new(&wide);
    fill(&mut open, &wide, &[vec![Tree::Int(1), Tree::Int(2)]]);
    open.leaves[0].push_i32(3, 0);
    for columns in [other, open] {
        assert!(FileWriter::new(&format).write_row_group(&columns, &mut Encoder::new()).is_err());
    }
}
