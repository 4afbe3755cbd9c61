//! `arrow-json` as the oracle of decoding: the same documents by Weir, written as Parquet and read
//! back, and by `arrow-json`, for random tables of all types.
//!
//! - Documents that the table holds exactly: both take all of them, and every value is equal.
//! - Documents that nearly fit: where both take one, its values are equal; where one takes what the
//!   other refuses, it is for a reason in [`bends`] or [`takes_more`].
//! - [`DIFFERENCES`] has one row for each of these reasons.

use std::io::Cursor as Reader;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::util::display::array_value_to_string;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;

use super::documents::{Doc, Notation, Random, fitting, table};
use crate::columns::ColumnSet;
use crate::dead_letter::Reason;
use crate::decode::{Decoder, Path, Refusal};
use crate::schema::{Column, HiveType, TableSchema};
use crate::write::{Encoder, FileFormat, FileWriter};

/// The table's columns as `arrow-json` takes them: it parses zones as offsets only.
fn arrow_schema(table: &TableSchema) -> SchemaRef {
    let schema = table.file_schema();
    Arc::new(Schema::new(schema.fields().iter().map(|field| with_offset(field)).collect::<Fields>()))
}

fn with_offset(field: &Field) -> Field {
    let data_type = match field.data_type() {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("+00:00".into())),
        DataType::List(element) => DataType::List(Arc::new(with_offset(element))),
        DataType::Map(entries, sorted) => DataType::Map(Arc::new(with_offset(entries)), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|f| with_offset(f)).collect()),
        other => other.clone(),
    };
    Field::new(field.name(), data_type, field.is_nullable())
}

/// What `arrow-json` makes of the documents, one text each.
fn by_arrow(schema: &SchemaRef, docs: &[String]) -> Result<RecordBatch, String> {
    let reader = arrow_json::ReaderBuilder::new(schema.clone()).with_batch_size(docs.len() + 1);
    let mut reader = reader.build(Reader::new(docs.join("\n"))).unwrap();
    match reader.next() {
        Some(batch) => batch.map_err(|problem| problem.to_string()),
        None => Ok(RecordBatch::new_empty(schema.clone())),
    }
}

/// What Weir makes of them: the verdict on each, and the file of those taken, read back.
fn by_weir(table: &TableSchema, docs: &[String], path: Path) -> (Vec<Option<Refusal>>, RecordBatch) {
    let mut decoder = Decoder::new(table, path).unwrap();
    let layout = decoder.layout().clone();
    let mut set = ColumnSet::new(&layout);
    let mut decode = |doc: &String| {
        let verdict = decoder.decode(doc.as_bytes(), true, &mut set).map(|()| set.finish_row());
        verdict.err().map(|refusal| *refusal)
    };
    let verdicts = docs.iter().map(&mut decode).collect();
    let format = FileFormat::new(&layout, table.compression, &[]).unwrap();
    let mut writer = FileWriter::new(&format);
    writer.write_row_group(&set, &mut Encoder::new()).unwrap();
    let file = Bytes::from(writer.finish(&[]).unwrap());
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let schema = reader.schema().clone();
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    (verdicts, concat_batches(&schema, &batches).unwrap())
}

/// The first value that differs, if one does.
fn difference(found: &RecordBatch, expected: &RecordBatch, docs: &[String]) -> Option<String> {
    if found.num_rows() != expected.num_rows() {
        return Some(format!("{} rows instead of {}", found.num_rows(), expected.num_rows()));
    }
    expected.schema().fields().iter().enumerate().find_map(|(i, field)| {
        let (found, expected) = (cast(found.column(i), field.data_type()).unwrap(), expected.column(i));
        let row = (0..found.len()).find(|row| found.slice(*row, 1) != expected.slice(*row, 1))?;
        let show = |array: &dyn Array| array_value_to_string(array, row).unwrap();
        let (found, expected) = (show(&found), show(expected));
        Some(format!("{field} of {}: {found} instead of {expected}", docs[row]))
    })
}

/// One document, as both see it.
struct Seen {
    doc: Doc,
    weir: Option<Refusal>,
    arrow: Result<RecordBatch, String>,
    text: String,
    hex: String,
}

fn see(table: &TableSchema, schema: &SchemaRef, doc: Doc, seed: u64, path: Path) -> Seen {
    let (text, hex) = (doc.text(Notation::Base64, seed), doc.text(Notation::Hex, seed));
    let weir = by_weir(table, std::slice::from_ref(&text), path).0.remove(0);
    let arrow = by_arrow(schema, std::slice::from_ref(&hex));
    Seen { doc, weir, arrow, text, hex }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn documents_that_fit_are_what_arrow_json_makes_of_them(seed in any::<u64>(), rows in 1usize..40) {
        let mut random = Random(seed);
        let table = table(&mut random);
        let schema = arrow_schema(&table);
        let docs: Vec<Doc> = (0..rows).map(|_| fitting(&mut random, &table)).collect();
        let text = |notation| docs.iter().map(|doc| doc.text(notation, seed)).collect::<Vec<_>>();
        let texts = text(Notation::Base64);
        let expected = by_arrow(&schema, &text(Notation::Hex));
        prop_assert!(expected.is_ok(), "arrow-json: {expected:?}");
        for path in [Path::Fast, Path::Judge] {
            let (verdicts, found) = by_weir(&table, &texts, path);
            for (verdict, text) in verdicts.iter().zip(&texts) {
                prop_assert!(verdict.is_none(), "{text} by {path:?}: {verdict:?}");
            }
            let difference = difference(&found, expected.as_ref().unwrap(), &texts);
            prop_assert!(difference.is_none(), "by {path:?}: {}", difference.unwrap());
        }
    }

    #[test]
    fn documents_that_nearly_fit_differ_from_arrow_json_only_as_said(seed in any::<u64>()) {
        let mut random = Random(seed);
        let mut table = table(&mut random);
        // The two write bytes differently, so that an edited text would mean different ones.
        table.columns.retain(|column| !holds_binary(&column.ty));
        table.in_file.truncate(table.columns.len());
        let schema = arrow_schema(&table);
        let path = if random.one_in(2) { Path::Fast } else { Path::Judge };
        for _ in 0..12 {
            let mut doc = fitting(&mut random, &table);
            for _ in 0..1 + random.below(2) {
                doc.edit(&mut random);
            }
            // A record is an object; anything else is a dead letter before it has a value.
            if !matches!(doc, Doc::Object(_)) {
                continue;
            }
            let seen = see(&table, &schema, doc, random.next(), path);
            match (&seen.weir, &seen.arrow) {
                (None, Ok(expected)) => {
                    let found = by_weir(&table, std::slice::from_ref(&seen.text), path).1;
                    let difference = difference(&found, expected, std::slice::from_ref(&seen.text));
                    let by_double = difference.is_some() && seen.doc.goes_by_double();
                    prop_assert!(by_double || difference.is_none(), "by {path:?}: {difference:?}");
                }
                (Some(refusal), Ok(_)) => prop_assert!(bends(refusal, &seen.text), "{}: {refusal:?}", seen.text),
                (None, Err(problem)) => prop_assert!(takes_more(problem, &seen.doc), "{}: {problem}", seen.hex),
                (Some(_), Err(_)) => {}
            }
        }
    }
}

fn holds_binary(ty: &HiveType) -> bool {
    match ty {
        HiveType::Binary => true,
        HiveType::Array(of) | HiveType::Map(_, of) => holds_binary(of),
        HiveType::Struct(fields) => fields.iter().any(|field| holds_binary(&field.ty)),
        _ => false,
    }
}

impl Doc {
    fn any_number(&self, is: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Doc::Number(text) => is(text),
            Doc::List(items) => items.iter().any(|item| item.any_number(is)),
            Doc::Object(members) => members.iter().any(|(_, value)| value.any_number(is)),
            _ => false,
        }
    }

    /// Whether it holds a whole number beyond 2^53 in a notation with point or exponent, which
    /// `arrow-json` reads by way of a double.
    fn goes_by_double(&self) -> bool {
        let large = |text: &str| text.parse::<f64>().is_ok_and(|v| v.abs() >= (1u64 << 53) as f64);
        self.any_number(&|text| text.contains(['.', 'e', 'E']) && large(text))
    }
}

/// Weir refuses what `arrow-json` bends.
fn bends(refusal: &Refusal, text: &str) -> bool {
    let expected = refusal.expected.as_str();
    match refusal.reason {
        // A fraction in a whole column is cut; text in a column of numbers is parsed; a number in a
        // timestamp column is taken as microseconds whatever the format, and in one of dates as days.
        Reason::WrongType => ["integer", "number", "decimal", "timestamp", "date", "boolean", "binary"]
            .iter()
            .any(|kind| expected.starts_with(kind)),
        // Digits below a decimal's scale are cut; a float too large becomes infinite; an integer just
        // outside of 64 bits is in, as a double. A text longer than its `varchar` is no matter of
        // Arrow's.
        Reason::OutOfRange => ["decimal", "number", "integer of 64 bits", "string of at most"]
            .iter()
            .any(|kind| expected.starts_with(kind)),
        // Times without a zone, below the microsecond, with a leap second.
        Reason::InvalidTime => true,
        // `01` and `1.` are no numbers of JSON; a third parser must say so too.
        Reason::MalformedJson => serde_json::from_str::<&serde_json::value::RawValue>(text).is_err(),
        _ => false,
    }
}

/// Weir takes what `arrow-json` refuses.
fn takes_more(problem: &str, doc: &Doc) -> bool {
    // It counts the digits of a decimal as written, before the exponent moves the point, and knows no
    // `0e-0`.
    let exponent = problem.contains("decimal") && doc.any_number(&|text| text.contains(['e', 'E']));
    // A whole number that its double rounds out of range.
    exponent || (problem.contains("failed to parse") && doc.goes_by_double())
}

/// What one of the two does with a value: takes it as this text, or refuses it.
#[derive(Debug, PartialEq)]
enum Outcome {
    Is(String),
    Refused,
}

fn outcome(batch: Option<RecordBatch>) -> Outcome {
    batch.map_or(Outcome::Refused, |b| Outcome::Is(array_value_to_string(b.column(0), 0).unwrap()))
}

/// Where the two differ on purpose: type, value as written, what Weir does, what `arrow-json` does
/// (`!` is a refusal). Weir bends no value, and takes what JSON says in any notation.
const DIFFERENCES: [(&str, &str, &str, &str); 28] = [
    ("int", "1.5", "!", "1"),
    ("int", "\"7\"", "!", "7"),
    ("bigint", "9007199254740993.0", "9007199254740993", "9007199254740992"),
    ("bigint", "9223372036854775807e0", "9223372036854775807", "!"),
    ("bigint", "-9223372036854775809", "!", "-9223372036854775808"),
    ("float", "1e39", "!", "inf"),
    ("float", "16777217", "!", "16777216.0"),
    ("double", "9007199254740993", "!", "9007199254740992.0"),
    ("double", "-100000000000000000000000000000000000000001", "!", "-1e41"),
    ("double", "1e999", "!", "inf"),
    ("double", "\"1.5\"", "!", "1.5"),
    ("decimal(5,2)", "1.239", "!", "1.23"),
    ("decimal(5,2)", "\"1.25\"", "!", "1.25"),
    ("decimal(5,2)", "0e-0", "0.00", "!"),
    ("timestamp", "\"2026-11-20T05:00:00\"", "!", "2026-11-20T05:00:00Z"),
    ("timestamp", "\"2026-11-20T05:00:00.1234567Z\"", "!", "2026-11-20T05:00:00.123456Z"),
    ("timestamp", "\"2026-11-20\"", "!", "2026-11-20T00:00:00Z"),
    ("timestamp", "\"2026-12-31T23:59:60Z\"", "!", "2027-01-01T00:00:00Z"),
    ("timestamp", "1500000", "!", "1970-01-01T00:00:01.500Z"),
    ("date", "\"2026-11-20T05:00:00\"", "!", "2026-11-20"),
    ("date", "3", "!", "1970-01-04"),
    ("binary", "\"abcd\"", "69b71d", "abcd"),
    ("varchar(2)", "\"abc\"", "!", "abc"),
    ("string", "\"\\udbff\\udfff\"", "\u{10FFFF}", "\u{FFFFF}"),
    ("map<string,int>", "{\"a\":1,\"a\":2}", "{a: 2}", "{a: 1, a: 2}"),
    ("int", "01", "!", "1"),
    ("double", "1.", "!", "1.0"),
    ("double", "-.5", "!", "-0.5"),
];

#[test]
fn each_difference_from_arrow_json_is_as_said() {
    for (ty, value, weir, arrow) in DIFFERENCES {
        let table = TableSchema::for_test("t", vec![Column::new("v", ty.parse().unwrap())]);
        let doc = [format!("{{\"v\":{value}}}")];
        let expected = |text: &str| if text == "!" { Outcome::Refused } else { Outcome::Is(text.into()) };
        for path in [Path::Fast, Path::Judge] {
            let (verdicts, batch) = by_weir(&table, &doc, path);
            let found = outcome(verdicts[0].is_none().then_some(batch));
            assert_eq!(found, expected(weir), "{value} as {ty}, by Weir, {path:?}");
        }
        let found = outcome(by_arrow(&arrow_schema(&table), &doc).ok());
        assert_eq!(found, expected(arrow), "{value} as {ty}, by arrow-json");
    }
}
