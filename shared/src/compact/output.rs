//! Row groups → files of a closed partition, each put under its name.

use std::sync::Arc;

use bytes::Bytes;

use super::CompactedFile;
use super::source::wrong;
use crate::columns::{ColumnSet, Layout};
use crate::commit::LakeStore;
use crate::commit::store::Put;
use crate::error::Result;
use crate::schema::TableSchema;
use crate::write::{Encoder, FileFormat, FileWriter};

/// Writes files of one directory one after another.
#[derive(Debug)]
pub(super) struct Output<'a> {
    lake: &'a LakeStore,
    schema: &'a TableSchema,
    directory: &'a str,
    format: Arc<FileFormat>,
    encoder: Encoder,
    open: Option<FileWriter>,
    files: Vec<CompactedFile>,
}

impl<'a> Output<'a> {
    pub(super) fn new(
        lake: &'a LakeStore,
        schema: &'a TableSchema,
        layout: &Layout,
        directory: &'a str,
    ) -> Result<Self> {
        let format = FileFormat::new(layout, schema.compression, &schema.bloom)?;
        let (encoder, open, files) = (Encoder::new(), None, Vec::new());
        Ok(Self { lake, schema, directory, format, encoder, open, files })
    }

    /// Append a row group; a file that has reached its size is put.
    pub(super) async fn write(&mut self, rows: &ColumnSet) -> Result<()> {
        let writer = self.open.get_or_insert_with(|| FileWriter::new(&self.format));
        writer.write_row_group(rows, &mut self.encoder)?;
        if writer.bytes_written() as u64 >= self.schema.compact_bytes {
            self.put().await?;
        }
        Ok(())
    }

    /// All files.
    pub(super) async fn finish(mut self) -> Result<Vec<CompactedFile>> {
        self.put().await?;
        Ok(self.files)
    }

    async fn put(&mut self) -> Result<()> {
        let Some(writer) = self.open.take() else { return Ok(()) };
        let rows = writer.rows();
        let bytes = Bytes::from(writer.finish(&footer(self.schema, rows))?);
        let name = format!("part-{:05}.parquet", self.files.len());
        let key = format!("{}/{name}", self.directory);
        let len = bytes.len() as u64;
        if self.lake.put_if_absent(&key, bytes).await? == Put::Exists {
            // Another runner did the same: the same inputs make the same bytes.
            let found = self.lake.size(&key).await?;
            if found != Some(len) {
                return Err(wrong(
                    &key,
                    format!("expected the {len} bytes of this compaction, found {found:?}"),
                ));
            }
        }
        self.files.push(CompactedFile { name, rows, bytes: len });
        Ok(())
    }
}

/// What the footer of a compacted file says beside its columns.
fn footer(schema: &TableSchema, rows: u64) -> Vec<(String, String)> {
    [
        ("weir.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("weir.table", schema.name.clone()),
        ("weir.schema_version", schema.version.clone()),
        ("weir.rows", rows.to_string()),
    ]
    .map(|(k, v)| (k.to_owned(), v))
    .into()
}
