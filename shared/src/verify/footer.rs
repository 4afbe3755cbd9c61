//! A Parquet file in the lake → its footer and the identities of its rows, by range reads: the tail
//! of the file, and of the columns only those that say where a row comes from.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use object_store::{GetOptions, GetRange, ObjectStoreExt};
use parquet::column::page::PageReader;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{
    ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use crate::commit::LakeStore;
use crate::error::{Error, Result};
use crate::record::{RecordId, SequenceNumber};

/// Bytes of a file's end that are read at once: the footer of a wide table, and of a small file the
/// provenance columns too, which stand last.
const TAIL: u64 = 64 << 10;
/// Rows decoded at once.
const BATCH: usize = 4_096;

/// A file that could be opened.
#[derive(Debug)]
pub(super) struct Footer {
    pub(super) metadata: ParquetMetaData,
    tail: Window,
}

/// What opening a file came to.
#[derive(Debug)]
pub(super) enum Opened {
    Footer(Box<Footer>),
    Missing,
    /// Not the expected length.
    Length(u64),
    /// The bytes are no Parquet.
    Damaged(String),
}

/// Why the rows of a file could not be read: a bad moment, or bad bytes.
pub(super) enum Unread {
    Store(Error),
    Damaged(String),
}

/// A part of a file, at its place.
#[derive(Debug, Clone)]
struct Window {
    start: u64,
    bytes: Bytes,
}

impl Window {
    fn slice(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let from = start.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
        let range = from.and_then(|from| Some(from..from.checked_add(length)?));
        match range.filter(|range| range.end <= self.bytes.len()) {
            Some(range) => Ok(self.bytes.slice(range)),
            None => Err(ParquetError::EOF(format!("{length} bytes at {start} are not in the column chunk"))),
        }
    }
}

impl Length for Window {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Window {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        let rest = self.len().saturating_sub(start) as usize;
        Ok(self.slice(start, rest)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        self.slice(start, length)
    }
}

/// Open a file that should have `length` bytes; 0 asks the store.
pub(super) async fn open(lake: &LakeStore, key: &str, length: u64) -> Result<Opened> {
    let expected = match length {
        0 => match head(lake, key).await? {
            None => return Ok(Opened::Missing),
            Some(length) => length,
        },
        length => length,
    };
    let (tail, found) = match get(lake, key, expected.saturating_sub(TAIL)..expected).await {
        Ok(Some(got)) => got,
        Ok(None) => return Ok(Opened::Missing),
        // The range may lie behind the end of a file that was cut.
        Err(error) => match head(lake, key).await? {
            None => return Ok(Opened::Missing),
            Some(found) if found != expected => return Ok(Opened::Length(found)),
            Some(_) => return Err(error),
        },
    };
    if found != expected {
        return Ok(Opened::Length(found));
    }
    let mut tail = tail;
    loop {
        let mut reader = ParquetMetaDataReader::new();
        match reader.try_parse_sized(&tail.bytes, expected) {
            Ok(()) => {
                return Ok(match reader.finish() {
                    Ok(metadata) => Opened::Footer(Box::new(Footer { metadata, tail })),
                    Err(e) => Opened::Damaged(e.to_string()),
                });
            }
            Err(ParquetError::NeedMoreData(n)) if (n as u64) > tail.bytes.len() as u64 => {
                match get(lake, key, expected.saturating_sub(n as u64)..expected).await? {
                    Some((more, _)) if more.bytes.len() > tail.bytes.len() => tail = more,
                    Some(_) => return Ok(Opened::Damaged("the footer is cut".into())),
                    None => return Ok(Opened::Missing),
                }
            }
            Err(e) => return Ok(Opened::Damaged(e.to_string())),
        }
    }
}

impl Footer {
    /// A value of the footer's own metadata.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        let pairs = self.metadata.file_metadata().key_value_metadata()?;
        pairs.iter().find(|pair| pair.key == key)?.value.as_deref()
    }

    /// Rows, by the footer and by its row groups.
    pub(super) fn rows(&self) -> (u64, u64) {
        let groups = self.metadata.row_groups().iter().map(|g| g.num_rows().max(0) as u64).sum();
        (self.metadata.file_metadata().num_rows().max(0) as u64, groups)
    }

    /// The columns that hold sequence and sub-sequence numbers; none with provenance in the footer.
    pub(super) fn identity_columns(&self) -> Option<[usize; 2]> {
        let schema = self.metadata.file_metadata().schema_descr();
        let find = |names: [&str; 2]| {
            schema.columns().iter().position(|c| names.iter().any(|name| c.path().string() == *name))
        };
        Some([find(["_sequence", "sequence"])?, find(["_subsequence", "subsequence"])?])
    }

    /// Row by row the identities, in the order of the file; their number.
    pub(super) async fn identities(
        &self,
        lake: &LakeStore,
        key: &str,
        columns: [usize; 2],
        each: &mut (dyn FnMut(RecordId) + Send),
    ) -> Result<u64, Unread> {
        let mut rows = 0;
        for group in self.metadata.row_groups() {
            let ranges = columns.map(|c| chunk_range(group.column(c)));
            let [Some(a), Some(b)] = ranges else {
                return Err(Unread::Damaged("its footer places a column outside of the file".into()));
            };
            let (start, end) = (a.start.min(b.start), a.end.max(b.end));
            let window = if start >= self.tail.start {
                self.tail.clone()
            } else {
                match get(lake, key, start..end).await.map_err(Unread::Store)? {
                    Some((window, _)) => window,
                    None => return Err(Unread::Damaged("it is gone".into())),
                }
            };
            let read = identities_of(group, Arc::new(window), columns, each);
            rows += read.map_err(|e| Unread::Damaged(e.to_string()))?;
        }
        Ok(rows)
    }
}

/// Where a column chunk lies; the library's own function panics on a damaged footer.
fn chunk_range(chunk: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
    let start = u64::try_from(start).ok()?;
    let length = u64::try_from(chunk.compressed_size()).ok().filter(|&n| n > 0)?;
    Some(start..start.checked_add(length)?)
}

fn identities_of(
    group: &RowGroupMetaData,
    window: Arc<Window>,
    columns: [usize; 2],
    each: &mut (dyn FnMut(RecordId) + Send),
) -> ParquetResult<u64> {
    let reader = |column: usize| {
        let chunk = group.column(column);
        let rows = usize::try_from(group.num_rows()).unwrap_or(0);
        let pages = SerializedPageReader::new(Arc::clone(&window), chunk, rows, None)?;
        let pages: Box<dyn PageReader> = Box::new(pages);
        Ok::<_, ParquetError>(get_column_reader(chunk.column_descr_ptr(), pages))
    };
    let (ColumnReader::ByteArrayColumnReader(mut sequences), ColumnReader::Int32ColumnReader(mut subs)) =
        (reader(columns[0])?, reader(columns[1])?)
    else {
        return Err(ParquetError::General("the columns of positions are not text and int".into()));
    };
    let (mut texts, mut numbers) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
    let mut rows = 0;
    loop {
        let read = batch::<ByteArrayType>(&mut sequences, &mut texts)?;
        if batch::<Int32Type>(&mut subs, &mut numbers)? != read {
            return Err(ParquetError::General("the columns of positions differ in length".into()));
        }
        if read == 0 {
            return Ok(rows);
        }
        for (text, sub) in texts.iter().zip(&numbers) {
            let text: &ByteArray = text;
            let sequence = SequenceNumber::parse(text.data()).ok();
            let id = sequence.zip(u32::try_from(*sub).ok());
            let Some((sequence, subsequence)) = id else {
                let found = String::from_utf8_lossy(text.data()).into_owned();
                return Err(ParquetError::General(format!("{found:?}.{sub} is no position")));
            };
            each(RecordId { sequence, subsequence });
        }
        rows += read as u64;
    }
}

/// The next values; a null is an error, since every row comes from somewhere.
fn batch<T: DataType>(reader: &mut ColumnReaderImpl<T>, values: &mut Vec<T::T>) -> ParquetResult<usize> {
    values.clear();
    let mut levels = Vec::new();
    let (rows, found, _) = reader.read_records(BATCH, Some(&mut levels), None, values)?;
    if rows == found { Ok(rows) } else { Err(ParquetError::General("a row without a position".into())) }
}

async fn get(lake: &LakeStore, key: &str, range: Range<u64>) -> Result<Option<(Window, u64)>> {
    let path = lake.path(key)?;
    let start = range.start;
    let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
    let found = match lake.object_store().get_opts(&path, options).await {
        Ok(found) => found,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(e) => return Err(unread(key, e)),
    };
    let length = found.meta.size;
    let bytes = found.bytes().await.map_err(|e| unread(key, e))?;
    Ok(Some((Window { start, bytes }, length)))
}

async fn head(lake: &LakeStore, key: &str) -> Result<Option<u64>> {
    match lake.object_store().head(&lake.path(key)?).await {
        Ok(meta) => Ok(Some(meta.size)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(e) => Err(unread(key, e)),
    }
}

fn unread(key: &str, source: object_store::Error) -> Error {
    Error::Store { operation: "read", object: key.to_owned(), retryable: true, source: Box::new(source) }
}
