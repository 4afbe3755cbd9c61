#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]
//! Columns → Parquet bytes of 10,000 and 131,072 clickstream rows, in MB/s of the JSON they came
//! from: `ArrowWriter` at zstd level 3, Weir at the level it takes for each column. The sizes of both
//! outputs are printed, for speed alone says nothing.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use weir::decode::Path;
use weir::write::Encoder;
use weir_bench::clickstream;

mod baseline;
mod ours;

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
        let mut decoding = ours::Decoding::new(&ours::clickstream(), Path::Fast);
        assert_eq!(decoding.decode(&ndjson, &ours::documents(&ndjson)), rows);
        let (format, mut encoder) = (decoding.format(), Encoder::new());
        let sizes = (
            ours::write(&format, &mut encoder, &decoding.set).len(),
            baseline::write(&schema, &batches).len(),
        );
        eprintln!("{rows} rows: {} bytes by weir, {} by ArrowWriter", sizes.0, sizes.1);
        group.bench_function("weir", |b| {
            b.iter(|| ours::write(&format, &mut encoder, black_box(&decoding.set)))
        });
        group.finish();
    }
}

criterion_group!(benches, write);
criterion_main!(benches);
