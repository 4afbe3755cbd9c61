//! Column sets → Parquet files in the profile that Athena, Redshift Spectrum, Spark and the rest read
//! alike: format version 1, data pages v1, PLAIN and dictionary encodings, microsecond timestamps in
//! UTC with the legacy annotation, checksums, exact statistics and page indexes.
//!
//! Pages are encoded straight from the column buffers; footer, schema and indexes come from the
//! `parquet` crate.

mod chunk;
mod header;
mod numbers;
mod rle;
mod schema;
mod stats;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use parquet::file::metadata::KeyValue;
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;

use crate::columns::{ColumnSet, Layout};
use crate::error::{Error, Result};
use crate::schema::Compression;

pub use chunk::Encoder;

/// A Parquet file under construction, in memory.
pub struct FileWriter {
    file: SerializedFileWriter<Vec<u8>>,
    layout: Arc<Layout>,
    codec: Compression,
    /// For each leaf whether it gets a bloom filter.
    bloom: Vec<bool>,
    rows: u64,
}

fn defect(error: parquet::errors::ParquetError) -> Error {
    Error::Internal(format!("could not encode Parquet: {error}"))
}

impl FileWriter {
    /// An empty file for a layout; `bloom` names top-level columns.
    ///
    /// # Errors
    /// A layout that Parquet cannot hold: a defect.
    pub fn new(layout: &Arc<Layout>, codec: Compression, bloom: &[String]) -> Result<Self> {
        let properties = WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_created_by(format!("weir version {}", env!("CARGO_PKG_VERSION")))
            .build();
        let message = schema::message(layout).map_err(defect)?;
        let file = SerializedFileWriter::new(Vec::new(), message, Arc::new(properties)).map_err(defect)?;
        let bloom = layout.leaves.iter().map(|l| bloom.contains(&l.path[0])).collect();
        Ok(Self { file, layout: layout.clone(), codec, bloom, rows: 0 })
    }

    /// Append all complete rows of a column set as one row group; nothing for an empty one.
    ///
    /// # Errors
    /// Only defects.
    pub fn write_row_group(&mut self, encoder: &mut Encoder, set: &ColumnSet) -> Result<()> {
        if set.rows == 0 {
            return Ok(());
        }
        let columns = self.file.schema_descr().columns().to_vec();
        let mut group = self.file.next_row_group().map_err(defect)?;
        for (i, spec) in self.layout.leaves.iter().enumerate() {
            let chunk = encoder.chunk(&set.leaves[i], spec, &columns[i], self.codec, self.bloom[i]);
            let (bytes, close) = chunk.map_err(defect)?;
            group.append_column(&bytes, close).map_err(defect)?;
        }
        group.close().map_err(defect)?;
        self.rows += set.rows as u64;
        Ok(())
    }

    /// Bytes of the row groups so far.
    pub fn bytes_written(&self) -> usize {
        self.file.bytes_written()
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The whole file, with key-value metadata in its footer.
    ///
    /// # Errors
    /// Only defects.
    pub fn finish(mut self, metadata: &[(String, String)]) -> Result<Vec<u8>> {
        for (key, value) in metadata {
            self.file.append_key_value_metadata(KeyValue::new(key.clone(), value.clone()));
        }
        self.file.into_inner().map_err(defect)
    }
}
