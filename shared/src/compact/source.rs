//! A Parquet file of the lake, written by this version of a table or an earlier one → row groups that
//! can be read into blocks of the table as it is now.

use bytes::Bytes;
use parquet::basic::{Compression, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::statistics::Statistics;

use super::Input;
use super::block::{Block, BlockLeaf};
use super::evolve::{self, Mapped};
use super::page::{Codec, PageDecoder};
use crate::columns::Layout;
use crate::commit::LakeStore;
use crate::error::{Error, Result};

/// Files up to this are read in one request.
const WHOLE_FILE_BYTES: u64 = 4 << 20;
/// Bytes of a larger file's end that are read at once.
const TAIL_BYTES: u64 = 64 << 10;

/// How much of a file is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Rows are read next.
    Whole,
    /// Only what its footer says.
    Footer,
}

/// An open file.
#[derive(Debug)]
pub(super) struct Source {
    key: String,
    metadata: ParquetMetaData,
    columns: Vec<Mapped>,
    /// The bytes from here on are in memory.
    start: u64,
    bytes: Bytes,
}

/// Open a file and check what its footer says against what is expected of it.
pub(super) async fn open(lake: &LakeStore, input: &Input, layout: &Layout, part: Part) -> Result<Source> {
    let (key, expected) = (input.key.as_str(), input.bytes);
    let whole = if part == Part::Whole { WHOLE_FILE_BYTES } else { TAIL_BYTES };
    let (start, bytes) = if expected <= whole {
        let bytes = lake.get(key).await?.ok_or_else(|| missing(input))?;
        if bytes.len() as u64 != expected {
            return Err(wrong(key, format!("expected {expected} bytes, found {}", bytes.len())));
        }
        (0, bytes)
    } else {
        match lake.size(key).await? {
            None => return Err(missing(input)),
            Some(found) if found != expected => {
                return Err(wrong(key, format!("expected {expected} bytes, found {found}")));
            }
            Some(_) => {}
        }
        let start = expected.saturating_sub(TAIL_BYTES);
        (start, lake.get_range(key, start..expected).await?)
    };
    let (metadata, start, bytes) = footer(lake, input, start, bytes).await?;
    let columns = evolve::map(layout, metadata.file_metadata().schema_descr())
        .map_err(|problem| wrong(key, problem))?;
    let source = Source { key: key.to_owned(), metadata, columns, start, bytes };
    let found: u64 = (0..source.groups()).map(|group| source.rows(group) as u64).sum();
    if found != input.rows {
        return Err(wrong(key, format!("expected {} rows, found {found}", input.rows)));
    }
    Ok(source)
}

async fn footer(
    lake: &LakeStore,
    input: &Input,
    mut start: u64,
    mut bytes: Bytes,
) -> Result<(ParquetMetaData, u64, Bytes)> {
    loop {
        let mut reader = ParquetMetaDataReader::new();
        match reader.try_parse_sized(&bytes, input.bytes) {
            Ok(()) => {
                let metadata = reader.finish().map_err(|e| wrong(&input.key, e.to_string()))?;
                return Ok((metadata, start, bytes));
            }
            Err(ParquetError::NeedMoreData(n))
                if n as u64 > bytes.len() as u64 && n as u64 <= input.bytes =>
            {
                start = input.bytes - n as u64;
                bytes = lake.get_range(&input.key, start..input.bytes).await?;
            }
            Err(e) => return Err(wrong(&input.key, format!("expected a Parquet file, found none: {e}"))),
        }
    }
}

impl Source {
    /// How many row groups.
    pub(super) fn groups(&self) -> usize {
        self.metadata.num_row_groups()
    }

    /// Rows of a row group.
    pub(super) fn rows(&self, group: usize) -> usize {
        usize::try_from(self.metadata.row_group(group).num_rows()).unwrap_or(0)
    }

    /// The bytes of a row group, at the first one's place in the file.
    pub(super) async fn fetch(&self, lake: &LakeStore, group: usize) -> Result<(u64, Bytes)> {
        let ranges = self.metadata.row_group(group).columns().iter().map(range);
        let bounds = ranges.collect::<Option<Vec<_>>>();
        let outside = || wrong(&self.key, "its footer places a column outside of the file".into());
        let bounds = bounds.ok_or_else(outside)?;
        let start = bounds.iter().map(|r| r.0).min().ok_or_else(outside)?;
        let end = bounds.iter().map(|r| r.1).max().ok_or_else(outside)?;
        let file_end = self.start + self.bytes.len() as u64;
        if end > file_end || start >= end {
            return Err(outside());
        }
        if start >= self.start {
            return Ok((start, self.bytes.slice((start - self.start) as usize..(end - self.start) as usize)));
        }
        Ok((start, lake.get_range(&self.key, start..end).await?))
    }

    /// Bytes that a row group takes in a block, about.
    pub(super) fn decoded_bytes(&self, group: usize) -> u64 {
        let chunk = |chunk: &ColumnChunkMetaData| {
            let values = chunk.num_values().max(0) as u64;
            let raw = chunk.uncompressed_size().max(0) as u64;
            let levels = u64::from(chunk.column_descr().max_rep_level() > 0) * 10;
            let has_dictionary = chunk.dictionary_page_offset().is_some();
            values * levels
                + match chunk.column_type() {
                    // An id a value; also a place for each that is in no dictionary.
                    PhysicalType::BYTE_ARRAY if has_dictionary => values * 4 + raw,
                    PhysicalType::BYTE_ARRAY => values * 12 + raw,
                    PhysicalType::INT32 | PhysicalType::FLOAT => values * 4,
                    PhysicalType::INT64 | PhysicalType::DOUBLE => values * 8,
                    PhysicalType::BOOLEAN => values,
                    PhysicalType::INT96 | PhysicalType::FIXED_LEN_BYTE_ARRAY => raw,
                }
        };
        self.metadata.row_group(group).columns().iter().map(chunk).sum()
    }

    /// What the footer says of a leaf's values in a row group, if the file has it as the table does.
    pub(super) fn statistics(&self, group: usize, leaf: usize) -> Option<&Statistics> {
        match self.columns[leaf] {
            Mapped::Same(column) => self.metadata.row_group(group).column(column).statistics(),
            _ => None,
        }
    }

    /// Append a row group to a block: all leaves, or those that are wanted.
    pub(super) fn load(
        &self,
        group: usize,
        (start, bytes): &(u64, Bytes),
        wanted: Option<&[usize]>,
        decoder: &mut PageDecoder,
        block: &mut Block,
    ) -> Result<()> {
        let rows = self.rows(group);
        let metadata = self.metadata.row_group(group);
        for (i, (leaf, mapped)) in block.leaves.iter_mut().zip(&self.columns).enumerate() {
            if wanted.is_some_and(|wanted| !wanted.contains(&i)) {
                continue;
            }
            let mut chunk = |column: usize, into: &mut BlockLeaf| {
                let chunk = metadata.column(column);
                let read = self.chunk(chunk, *start, bytes, decoder, into);
                read.map_err(|problem| wrong(&self.key, format!("column {}: {problem}", chunk.column_path())))
            };
            let had = leaf.rows();
            match mapped {
                Mapped::Same(column) => chunk(*column, leaf)?,
                Mapped::Widened(column, spec) => {
                    let mut narrow = BlockLeaf::new(spec);
                    chunk(*column, &mut narrow)?;
                    evolve::widen(&narrow, leaf);
                }
                Mapped::Like { column, spec, def, rep } => {
                    let mut like = BlockLeaf::new(spec);
                    chunk(*column, &mut like)?;
                    evolve::absent(&like, *def, *rep, leaf);
                }
                Mapped::Absent => leaf.push_nulls(rows),
            }
            let found = leaf.rows() - had;
            if found != rows {
                let problem = format!("row group {group}: expected {rows} rows, found {found}");
                return Err(wrong(&self.key, problem));
            }
        }
        block.rows += rows;
        Ok(())
    }

    fn chunk(
        &self,
        chunk: &ColumnChunkMetaData,
        start: u64,
        bytes: &[u8],
        decoder: &mut PageDecoder,
        leaf: &mut BlockLeaf,
    ) -> Result<(), String> {
        let codec = match chunk.compression() {
            Compression::UNCOMPRESSED => Codec::None,
            Compression::ZSTD(_) => Codec::Zstd,
            Compression::SNAPPY => Codec::Snappy,
            other => return Err(format!("expected zstd, snappy or plain pages, found {other}")),
        };
        let (from, to) = range(chunk).ok_or("its footer places it outside of the file")?;
        let piece = bytes.get((from - start) as usize..(to - start) as usize);
        let piece = piece.ok_or("its footer places it outside of the file")?;
        let entries = decoder.chunk(piece, codec, leaf)?;
        match chunk.num_values() {
            said if said == entries as i64 => Ok(()),
            said => Err(format!("expected {said} entries, found {entries}")),
        }
    }
}

/// Where a column chunk lies.
fn range(chunk: &ColumnChunkMetaData) -> Option<(u64, u64)> {
    let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
    let start = u64::try_from(start).ok()?;
    let length = u64::try_from(chunk.compressed_size()).ok()?;
    Some((start, start.checked_add(length)?))
}

fn missing(input: &Input) -> Error {
    wrong(&input.key, format!("expected {} rows in {} bytes, found no object", input.rows, input.bytes))
}

/// Bytes that are not what the inputs' commits promise: time does not heal it.
pub(super) fn wrong(key: &str, problem: String) -> Error {
    Error::Format { object: key.to_owned(), problem, retryable: false }
}
