//! The usual way, to beat: a serde event type, `arrow-json`, `ArrowWriter`.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each bench uses a part")]

use std::io::Cursor;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use arrow_json::ReaderBuilder;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

/// The clickstream table's columns.
pub fn clickstream_schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let int = |name: &str| Field::new(name, DataType::Int32, true);
    let structure = |fields: Vec<Field>| DataType::Struct(Fields::from(fields));
    let item =
        structure(vec![text("sku"), int("qty"), Field::new("price", DataType::Decimal128(10, 2), true)]);
    let entry = structure(vec![Field::new("key", DataType::Utf8, false), text("value")]);
    let device = structure(vec![text("os"), text("browser"), int("width"), int("height")]);
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let list = DataType::List(Arc::new(Field::new("element", item, true)));
    let map = DataType::Map(Arc::new(Field::new("key_value", entry, false)), false);
    Arc::new(Schema::new(vec![
        text("event_id"),
        text("event_type"),
        Field::new("event_time", time, true),
        Field::new("user_id", DataType::Int64, true),
        text("session_id"),
        text("page_url"),
        text("referrer"),
        text("ip"),
        text("user_agent"),
        Field::new("device", device, true),
        text("country"),
        Field::new("latency_ms", DataType::Float64, true),
        Field::new("is_bot", DataType::Boolean, true),
        Field::new("items", list, true),
        Field::new("properties", map, true),
    ]))
}

/// NDJSON → batches of 8,192 rows.
pub fn decode(schema: &SchemaRef, ndjson: &[u8]) -> Vec<RecordBatch> {
    let reader = ReaderBuilder::new(schema.clone()).with_batch_size(8192).build(Cursor::new(ndjson)).unwrap();
    reader.map(Result::unwrap).collect()
}

/// Batches → one Parquet file, zstd level 3, page index and statistics.
pub fn write(schema: &SchemaRef, batches: &[RecordBatch]) -> Vec<u8> {
    let zstd = Compression::ZSTD(ZstdLevel::try_new(3).unwrap());
    let properties = WriterProperties::builder().set_compression(zstd).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties)).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.into_inner().unwrap()
}

/// The parts of a Kinesis event that matter.
#[derive(serde::Deserialize)]
pub struct Event {
    #[serde(rename = "Records")]
    pub records: Vec<EventRecord>,
}

/// One record of an event.
#[derive(serde::Deserialize)]
pub struct EventRecord {
    pub kinesis: Payload,
}

/// Its payload, in base64.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payload {
    pub data: String,
    pub sequence_number: String,
    pub approximate_arrival_timestamp: f64,
}

/// Event text → one buffer of NDJSON.
pub fn unpack(event: &str) -> Vec<u8> {
    let event: Event = serde_json::from_str(event).unwrap();
    let mut lines = Vec::new();
    for record in &event.records {
        lines.extend(base64_simd::STANDARD.decode_to_vec(record.kinesis.data.as_bytes()).unwrap());
        lines.push(b'\n');
    }
    lines
}
