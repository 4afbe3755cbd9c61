//! Column buffers to Parquet bytes: a row group of 131,072 clickstream rows (about 540 bytes of
//! JSON each), and the 10,000 rows of one Lambda batch; beside it `ArrowWriter` on the same rows.

use arrow::array::RecordBatch;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression as Codec, ZstdLevel};
use parquet::file::properties::WriterProperties;
use weir::columns::{ColumnSet, Layout};
use weir::schema::Compression;
use weir::write::{Encoder, FileFormat, FileWriter};

#[path = "write/clickstream.rs"]
mod clickstream;

fn ours(layout: &Layout, columns: &ColumnSet, encoder: &mut Encoder) -> Vec<u8> {
    let format = FileFormat::new(layout, Compression::Zstd, &[]).expect("a format");
    let mut writer = FileWriter::new(&format);
    writer.write_row_group(columns, encoder).expect("a row group");
    writer.finish(&[]).expect("a file")
}

fn theirs(batch: &RecordBatch) -> Vec<u8> {
    let level = ZstdLevel::try_new(3).expect("a level");
    let properties = WriterProperties::builder().set_compression(Codec::ZSTD(level)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).expect("a writer");
    writer.write(batch).expect("a batch");
    writer.into_inner().expect("a file")
}

fn write(c: &mut Criterion) {
    let mut group = c.benchmark_group("write");
    group.sample_size(20);
    for rows in [10_000, 131_072] {
        let layout = clickstream::layout();
        let mut columns = ColumnSet::new(&layout);
        clickstream::fill(&mut columns, rows);
        let mut encoder = Encoder::new();
        let file = ours(&layout, &columns, &mut encoder);
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file.clone()));
        let mut reader = reader.expect("a file").with_batch_size(rows).build().expect("a reader");
        let batch = reader.next().expect("a batch").expect("a batch");
        println!("{rows} rows: {} bytes, ArrowWriter {}", file.len(), theirs(&batch).len());
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(format!("{rows} rows"), |b| b.iter(|| ours(&layout, &columns, &mut encoder)));
        group.bench_function(format!("{rows} rows, ArrowWriter"), |b| b.iter(|| theirs(&batch)));
    }
    group.finish();
}

criterion_group!(benches, write);
criterion_main!(benches);
