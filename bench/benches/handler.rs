#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]
//! The whole handler: event bytes → Parquet bytes, for one Kinesis event of 10,000 records of about
//! 540 B, in MB/s of event text.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
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
    group.finish();
}

criterion_group!(benches, handler);
criterion_main!(benches);
