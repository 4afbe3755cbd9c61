#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]
//! Documents → columns, in MB/s of JSON: flat, wide, nested, strings, and the clickstream. Weir as it
//! runs, and by its tape alone, which is what documents of an unexpected shape cost.

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use weir::decode::Path;
use weir::schema::TableSchema;
use weir_bench::clickstream::{self, Draws};

mod baseline;
mod ours;

use ours::Decoding;

const ROWS: usize = 10_000;

/// A shape of documents: its name, its columns for either side, its NDJSON.
struct Shape {
    name: &'static str,
    schema: SchemaRef,
    table: TableSchema,
    ndjson: Vec<u8>,
}

fn shape(
    name: &'static str,
    (fields, table): (Vec<Field>, TableSchema),
    mut document: impl FnMut(&mut Draws, &mut String),
) -> Shape {
    let (mut draws, mut text) = (Draws::new(7), String::new());
    for _ in 0..ROWS {
        document(&mut draws, &mut text);
        text.push('\n');
    }
    Shape { name, schema: Arc::new(Schema::new(fields)), table, ndjson: text.into_bytes() }
}

fn numbers(count: usize) -> (Vec<Field>, TableSchema) {
    let fields = (0..count).map(|i| Field::new(format!("f{i}"), DataType::Int64, true)).collect();
    let columns: Vec<_> = (0..count).map(|i| (format!("f{i}"), "bigint")).collect();
    (fields, ours::table(&columns))
}

fn write_numbers(count: usize, draws: &mut Draws, out: &mut String) {
    for i in 0..count {
        let _ = write!(out, "{}\"f{i}\":{}", if i == 0 { '{' } else { ',' }, draws.below(1_000_000));
    }
    out.push('}');
}

fn shapes() -> Vec<Shape> {
    let flat = shape("flat, 10 integers", numbers(10), |d, out| write_numbers(10, d, out));
    let wide = shape("wide, 200 integers", numbers(200), |d, out| write_numbers(200, d, out));

    let point = Fields::from(vec![
        Field::new("x", DataType::Float64, true),
        Field::new("tags", DataType::List(Arc::new(Field::new("element", DataType::Utf8, true))), true),
    ]);
    let points = DataType::List(Arc::new(Field::new("element", DataType::Struct(point), true)));
    let columns = (
        vec![Field::new("points", points, true)],
        ours::table(&[("points", "array<struct<x:double,tags:array<string>>>")]),
    );
    let nested = shape("nested, lists of structs of lists", columns, |d, out| {
        out.push_str("{\"points\":[");
        for i in 0..1 + d.below(8) {
            let (comma, x) = (if i == 0 { "" } else { "," }, d.below(1_000_000) as f64 / 64.0);
            let _ = write!(out, "{comma}{{\"x\":{x:?},\"tags\":[\"t{}\",\"u\"]}}", d.below(50));
        }
        out.push_str("]}");
    });

    let names = ["plain", "escaped"];
    let columns = (
        names.map(|name| Field::new(name, DataType::Utf8, true)).to_vec(),
        ours::table(&names.map(|name| (name, "string"))),
    );
    let strings = shape("strings, half of them escaped", columns, |d, out| {
        let (a, b) = (d.bits(), d.bits());
        let _ = write!(
            out,
            "{{\"plain\":\"{a:016x} some words that go on for a while {b:016x}\",\"escaped\":\"line {a:x}\\nand \\\"{b:x}\\\" \\u00e9\"}}"
        );
    });

    let (schema, table) = (baseline::clickstream_schema(), ours::clickstream());
    let clicks = Shape { name: "clickstream", schema, table, ndjson: clickstream::ndjson(ROWS, 7) };
    vec![flat, wide, nested, strings, clicks]
}

fn decode(c: &mut Criterion) {
    for Shape { name, schema, table, ndjson } in shapes() {
        let mut group = c.benchmark_group(format!("decode/{name}, {ROWS} rows"));
        group.throughput(Throughput::Bytes(ndjson.len() as u64));
        group.bench_function("baseline: arrow-json", |b| {
            b.iter(|| baseline::decode(&schema, black_box(&ndjson)))
        });
        let documents = ours::documents(&ndjson);
        for (side, path) in [("weir", Path::Fast), ("weir, tape only", Path::Judge)] {
            let mut decoding = Decoding::new(&table, path);
            group.bench_function(side, |b| {
                b.iter(|| assert_eq!(decoding.decode(black_box(&ndjson), &documents), ROWS))
            });
        }
        group.finish();
    }
}

criterion_group!(benches, decode);
criterion_main!(benches);
