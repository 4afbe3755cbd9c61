//! Row groups → files of a closed partition: small ones in memory, large ones by way of the scratch
//! folder, each put under its name when it is whole.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::source::{self, Part, wrong};
use super::{CompactedFile, Input};
use crate::columns::{ColumnSet, Layout};
use crate::commit::LakeStore;
use crate::commit::store::Put;
use crate::error::{Error, Result};
use crate::naming::compaction::Task;
use crate::schema::TableSchema;
use crate::write::{Encoder, FileFormat, FileWriter};

/// What is written, and where to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) schema: &'a TableSchema,
    pub(super) layout: &'a Layout,
    /// Folder below the lake.
    pub(super) directory: &'a str,
    /// Names the files.
    pub(super) task: Task,
    /// Bytes of a file, about.
    pub(super) file_bytes: u64,
    /// Where a file goes before it is put, once so many bytes of it are held; without, it stays in
    /// memory.
    pub(super) scratch: Option<(&'a Path, u64)>,
}

/// Writes the files of one step one after another.
#[derive(Debug)]
pub(super) struct Output<'a> {
    lake: &'a LakeStore,
    target: Target<'a>,
    format: Arc<FileFormat>,
    encoder: Encoder,
    open: Option<(FileWriter, Option<Spool>)>,
    files: Vec<CompactedFile>,
}

/// The beginning of a file, on this machine. It has no name there, so a crash leaves nothing.
#[derive(Debug)]
struct Spool {
    file: File,
    folder: PathBuf,
}

impl<'a> Output<'a> {
    pub(super) fn new(lake: &'a LakeStore, target: Target<'a>) -> Result<Self> {
        let schema = target.schema;
        let format = FileFormat::new(target.layout, schema.compression, &schema.bloom)?;
        let (encoder, open, files) = (Encoder::new(), None, Vec::new());
        Ok(Self { lake, target, format, encoder, open, files })
    }

    /// Append a row group. A file that has become much larger than was planned is put, and the next
    /// one begun.
    pub(super) async fn write(&mut self, rows: &ColumnSet) -> Result<()> {
        let (writer, spool) = self.open.get_or_insert_with(|| (FileWriter::new(&self.format), None));
        writer.write_row_group(rows, &mut self.encoder)?;
        if let Some((folder, _)) = self.target.scratch.filter(|(_, held)| writer.bytes_held() as u64 >= *held)
        {
            let spool = match spool {
                Some(spool) => spool,
                none => none.insert(Spool::open(folder)?),
            };
            spool.append(&writer.take_bytes())?;
        }
        // A quarter more than planned, rather than a small file behind it.
        if writer.bytes_written() as u64 >= self.target.file_bytes * 5 / 4 {
            self.put().await?;
        }
        Ok(())
    }

    /// All files.
    pub(super) async fn finish(mut self) -> Result<Vec<CompactedFile>> {
        self.put().await?;
        Ok(self.files)
    }

    /// A file that has columns and no rows.
    pub(super) async fn finish_without_rows(mut self) -> Result<Vec<CompactedFile>> {
        self.open = Some((FileWriter::new(&self.format), None));
        self.finish().await
    }

    async fn put(&mut self) -> Result<()> {
        let Some((writer, spool)) = self.open.take() else { return Ok(()) };
        let rows = writer.rows();
        let rest = writer.finish(&self.footer(rows))?;
        let body = match spool {
            None => Bytes::from(rest),
            Some(mut spool) => {
                spool.append(&rest)?;
                drop(rest);
                spool.map()?
            }
        };
        let name = self.target.task.part_file(self.files.len());
        let key = format!("{}/{name}", self.target.directory);
        let mut bytes = body.len() as u64;
        if self.lake.put_if_absent(&key, body).await? == Put::Exists {
            // Who else did the step made the same bytes, if it was the same program; if not, the same
            // rows, which is what counts.
            let found = self.lake.size(&key).await?.unwrap_or(0);
            if found != bytes {
                let other = Input { key, rows, bytes: found };
                let _ = source::open(self.lake, &other, self.target.layout, Part::Footer).await?;
                bytes = found;
            }
        }
        self.files.push(CompactedFile { name, rows, bytes });
        Ok(())
    }

    /// What the footer of a compacted file says beside its columns.
    fn footer(&self, rows: u64) -> Vec<(String, String)> {
        let schema = self.target.schema;
        [
            ("weir.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("weir.table", schema.name.clone()),
            ("weir.schema_version", schema.version.clone()),
            ("weir.rows", rows.to_string()),
        ]
        .map(|(k, v)| (k.to_owned(), v))
        .into()
    }
}

impl Spool {
    fn open(folder: &Path) -> Result<Self> {
        let folder = folder.to_path_buf();
        let mut number = 0u32;
        loop {
            let path = folder.join(format!("weir-compact-{number}"));
            match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
                Ok(file) => {
                    let unlinked = std::fs::remove_file(&path);
                    unlinked.map_err(|e| failed(&folder, e))?;
                    return Ok(Self { file, folder });
                }
                // Another runner is between the two calls.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && number < 1_000 => number += 1,
                Err(e) => return Err(failed(&folder, e)),
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| failed(&self.folder, e))
    }

    /// The whole file, read from the disk as it is sent.
    fn map(self) -> Result<Bytes> {
        // SAFETY: nobody else can open the file, which has no name, and it is not written any more.
        let map = unsafe { memmap2::Mmap::map(&self.file) }.map_err(|e| failed(&self.folder, e))?;
        Ok(Bytes::from_owner(map))
    }
}

fn failed(folder: &Path, source: io::Error) -> Error {
    let way_out = match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "; give the function more ephemeral storage, or the table a smaller weir.compact_size"
        }
        _ => "; the folder for scratch files must exist and be writable",
    };
    let object = folder.display().to_string();
    let retryable = source.kind() == io::ErrorKind::StorageFull;
    Error::Store {
        operation: "write scratch files in",
        object,
        retryable,
        source: format!("{source}{way_out}").into(),
    }
}

/// Rows that a step or all steps should have, and have not.
pub(super) fn rows_differ(directory: &str, what: &str, expected: u64, found: u64) -> Error {
    wrong(directory, format!("{what}: expected {expected} rows, found {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_scratch_folder_says_so_with_the_way_out() {
        let error = failed(Path::new("/tmp/x"), io::ErrorKind::StorageFull.into());
        assert!(error.retryable());
        assert_eq!(error.to_string(), "could not write scratch files in /tmp/x");
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(source.contains("ephemeral storage"), "{source}");
    }
}
