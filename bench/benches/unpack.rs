#![allow(clippy::unwrap_used, missing_docs, reason = "a bench")]
//! Event text → documents: 10,000 records of about 540 B in one Kinesis event (12.5 MB), in MB/s of
//! event text; and the bytes of compressed records, in MB/s of what is inflated.

use std::hint::black_box;
use std::io::{Read, Write};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use weir::clock::EpochMicros;
use weir::event::ParsedEvent;
use weir::record::Batch;
use weir::unpack::{RecordHead, StreamRecord, UnpackCounts, Unpacked, Unpacker};
use weir_bench::{clickstream, kinesis};

mod baseline;

fn event(c: &mut Criterion) {
    let text = kinesis::event(&clickstream::records(10_000, 7), kinesis::Position::default());
    let mut group = c.benchmark_group("unpack/event of 10000 x 540 B");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("baseline: serde, base64-simd", |b| b.iter(|| baseline::unpack(black_box(&text))));
    group.bench_function("weir", |b| {
        let (mut unpacker, mut event) = (Unpacker::default(), ParsedEvent::default());
        b.iter(|| event.parse(&mut unpacker, black_box(text.as_bytes())).unwrap())
    });
    group.finish();
}

fn compressed(c: &mut Criterion) {
    let plain = clickstream::ndjson(1_000, 7);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(&plain).unwrap();
    let gz = gz.finish().unwrap();
    let zst = zstd::encode_all(plain.as_slice(), 3).unwrap();
    let mut group = c.benchmark_group("unpack/one record of 1000 lines");
    group.throughput(Throughput::Bytes(plain.len() as u64));
    group.bench_function("baseline: gzip, flate2", |b| {
        b.iter(|| {
            let mut out = Vec::new();
            flate2::read::GzDecoder::new(black_box(gz.as_slice())).read_to_end(&mut out).unwrap();
            out
        })
    });
    group.bench_function("baseline: zstd", |b| {
        b.iter(|| zstd::decode_all(black_box(zst.as_slice())).unwrap())
    });
    // With the lines found, which the other side leaves to its decoder.
    let head = RecordHead { sequence: 1.into(), arrived_at: EpochMicros(0) };
    for (side, payload) in [("weir: gzip", &gz), ("weir: zstd", &zst)] {
        let (mut unpacker, mut batch, mut dead) = (Unpacker::default(), Batch::default(), Vec::new());
        group.bench_function(side, |b| {
            b.iter(|| {
                batch.clear();
                let record = StreamRecord { head, payload: black_box(payload) };
                let mut counts = UnpackCounts::default();
                assert_eq!(unpacker.unpack(&mut batch, &mut dead, &mut counts, record), Unpacked::Taken);
                assert_eq!(batch.documents.len(), 1_000);
            })
        });
    }
    group.finish();
}

criterion_group!(benches, event, compressed);
criterion_main!(benches);
