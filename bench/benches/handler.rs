#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]
//! The whole handler: event bytes → Parquet bytes, for one Kinesis event of 10,000 records of about
//! 540 B, and for one DynamoDB event of 10,000 changes, in MB/s of event text.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use weir::clock::EpochMicros;
use weir::commit::PositionSet;
use weir::event::ParsedEvent;
use weir::pipeline::{BuildCounts, Delivery, Tables};
use weir::record::Shard;
use weir::schema::TableSchema;
use weir::unpack::Unpacker;
use weir_bench::{clickstream, kinesis};

mod baseline;

/// An event of a DynamoDB stream: 10,000 changes of orders, of some 900 B each.
fn changes() -> String {
    let sample = include_str!("../../schemas/samples/orders_changes.good.ndjson");
    let modify = sample.lines().nth(1).unwrap();
    let (before, after) = modify.split_once("\"SequenceNumber\":\"").unwrap();
    let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
    let records: Vec<String> = (0..10_000)
        .map(|n| {
            let before = before.replace("\"N\":\"1042\"", &format!("\"N\":\"{}\"", 1_000 + n));
            format!("{before}\"SequenceNumber\":\"{}{after}", 4_421_584_500_000_000_017_450_439_090u128 + n)
        })
        .collect();
    format!("{{\"Records\":[{}],\"shardId\":\"shardId-00000001414576573621-f55eea83\"}}", records.join(","))
}

fn handler_of_changes(c: &mut Criterion) {
    let text = changes();
    let mut group = c.benchmark_group("handler/event of 10000 changes");
    group.throughput(Throughput::Bytes(text.len() as u64)).sample_size(30);
    group.bench_function("weir", |b| {
        let table = Arc::new(TableSchema::parse(include_str!("../../schemas/orders_changes.json")).unwrap());
        let shard = Shard { stream: "s".into(), stream_key: "s-0".into(), shard: "shardId-0".into() };
        let mut tables = Tables::new(&shard, &[table]).unwrap();
        let (mut unpacker, mut event) = (Unpacker::default(), ParsedEvent::default());
        let mut counts = BuildCounts::default();
        b.iter(|| {
            event.parse(&mut unpacker, black_box(text.as_bytes())).unwrap();
            let positions: PositionSet = event.sequences.iter().copied().collect();
            let (batch, dead, now) = (&event.batch, event.dead_letters.as_slice(), EpochMicros(0));
            let delivery = Delivery { batch, dead, positions: &positions, now };
            let built = tables.build(&delivery, &positions, &|| true, &mut counts).unwrap();
            assert_eq!(counts.rows.values().sum::<u64>(), 10_000, "{:?}", counts.dead);
            built
        })
    });
    group.finish();
}

fn handler(c: &mut Criterion) {
    let schema = baseline::clickstream_schema();
    let text = kinesis::event(&clickstream::records(10_000, 7), kinesis::Position::default());
    let mut group = c.benchmark_group("handler/event of 10000 x 540 B");
    group.throughput(Throughput::Bytes(text.len() as u64)).sample_size(30);
    group.bench_function("baseline: serde, arrow-json, ArrowWriter", |b| {
        b.iter(|| {
            let ndjson = baseline::unpack(black_box(&text));
            baseline::write(&schema, &baseline::decode(&schema, &ndjson))
        })
    });
    group.bench_function("weir", |b| {
        let table = Arc::new(TableSchema::parse(include_str!("../../schemas/clickstream.json")).unwrap());
        let shard = Shard { stream: "s".into(), stream_key: "s-0".into(), shard: "shardId-0".into() };
        let mut tables = Tables::new(&shard, &[table]).unwrap();
        let (mut unpacker, mut event) = (Unpacker::default(), ParsedEvent::default());
        let mut counts = BuildCounts::default();
        b.iter(|| {
            event.parse(&mut unpacker, black_box(text.as_bytes())).unwrap();
            let positions: PositionSet = event.sequences.iter().copied().collect();
            let (batch, dead, now) = (&event.batch, event.dead_letters.as_slice(), EpochMicros(0));
            let delivery = Delivery { batch, dead, positions: &positions, now };
            let built = tables.build(&delivery, &positions, &|| true, &mut counts).unwrap();
            assert_eq!(built.files.iter().filter(|f| !f.quarantine).map(|f| f.rows).sum::<u64>(), 10_000);
            built
        })
    });
    group.finish();
}

criterion_group!(benches, handler, handler_of_changes);
criterion_main!(benches);
