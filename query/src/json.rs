//! Result rows as JSON, one object a line: times RFC 3339 in UTC, binary hexadecimal, nulls kept.

use std::io::Write;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::json::writer::{LineDelimited, WriterBuilder};

/// Write rows as JSON lines.
///
/// # Errors
/// The sink cannot be written.
pub fn write_json_rows(batches: &[RecordBatch], out: impl Write) -> std::io::Result<()> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(out);
    for batch in batches {
        writer.write(batch).map_err(std::io::Error::other)?;
    }
    writer.finish().map_err(std::io::Error::other)
}
