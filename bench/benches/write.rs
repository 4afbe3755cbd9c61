#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]
//! Columns → Parquet bytes of 10,000 and 131,072 clickstream rows, in MB/s of the JSON they came
//! from, at zstd level 3.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use weir_bench::clickstream;

mod baseline;

fn write(c: &mut Criterion) {
    let schema = baseline::clickstream_schema();
    for rows in [10_000, 131_072] {
        let ndjson = clickstream::ndjson(rows, 7);
        let batches = baseline::decode(&schema, &ndjson);
        let mut group = c.benchmark_group(format!("write/clickstream, {rows} rows"));
        group.throughput(Throughput::Bytes(ndjson.len() as u64)).sample_size(20);
        group.bench_function("baseline: ArrowWriter", |b| {
            b.iter(|| baseline::write(&schema, black_box(&batches)))
        });
        group.finish();
    }
}

criterion_group!(benches, write);
criterion_main!(benches);
