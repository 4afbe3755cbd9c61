//! Rows in the order of the keys → Parquet files in the profile of the lake: version 1.0 with pages v1,
//! plain and dictionary encodings, times in microseconds with the old type beside the new one.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_writer::ArrowWriterOptions;
use datafusion::parquet::basic::{Compression as Codec, ZstdLevel};
use datafusion::parquet::errors::{ParquetError, Result};
use datafusion::parquet::file::metadata::KeyValue;
use datafusion::parquet::file::properties::{WriterProperties, WriterVersion};
use datafusion::parquet::schema::types::ColumnPath;
use weir::schema::{Compression, TableSchema};

/// Size of a file at which the next one is begun: a file is held in memory until it is put.
const FILE_BYTES: usize = 64 << 20;

/// Rows of a row group: large enough to pack well, small enough to skip.
const ROW_GROUP_ROWS: usize = 131_072;

/// Files of one result.
pub(super) struct OutputFiles {
    schema: SchemaRef,
    properties: WriterProperties,
    open: Option<ArrowWriter<Vec<u8>>>,
}

impl OutputFiles {
    pub(super) fn new(table: &TableSchema, footer: &[(&str, String)]) -> Result<Self> {
        let compression = match table.compression {
            Compression::Zstd => Codec::ZSTD(ZstdLevel::try_new(3)?),
            Compression::Snappy => Codec::SNAPPY,
        };
        let footer =
            footer.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone())).collect();
        let mut properties = WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_compression(compression)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_created_by(format!("weir version {}", env!("CARGO_PKG_VERSION")))
            .set_key_value_metadata(Some(footer));
        for column in &table.bloom {
            properties = properties.set_column_bloom_filter_enabled(ColumnPath::from(column.as_str()), true);
        }
        Ok(Self { schema: table.file_schema().into(), properties: properties.build(), open: None })
    }

    /// Add rows; answers with a file when one is full.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<Option<Vec<u8>>> {
        let mut writer = match self.open.take() {
            Some(writer) => writer,
            None => self.begin()?,
        };
        let batch = batch.clone().with_schema(self.schema.clone()).map_err(ParquetError::from)?;
        writer.write(&batch)?;
        if writer.bytes_written() + writer.in_progress_size() >= FILE_BYTES {
            return writer.into_inner().map(Some);
        }
        self.open = Some(writer);
        Ok(None)
    }

    /// The last file; without any rows one that has only columns, so that the directory exists for
    /// readers that look for it.
    pub(super) fn finish(mut self, files_before: usize) -> Result<Option<Vec<u8>>> {
        match self.open.take() {
            Some(writer) => writer.into_inner().map(Some),
            None if files_before == 0 => self.begin()?.into_inner().map(Some),
            None => Ok(None),
        }
    }

    fn begin(&self) -> Result<ArrowWriter<Vec<u8>>> {
        // The table's definition says what the columns are; a second description could contradict it.
        let options =
            ArrowWriterOptions::new().with_properties(self.properties.clone()).with_skip_arrow_metadata(true);
        ArrowWriter::try_new_with_options(Vec::new(), self.schema.clone(), options)
    }
}
