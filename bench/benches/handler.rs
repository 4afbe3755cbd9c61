#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]
//! The whole handler: event bytes → Parquet bytes, for one Kinesis event of 10,000 records of about
//! 540 B, in MB/s of event text.

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

criterion_group!(benches, handler);
criterion_main!(benches);
