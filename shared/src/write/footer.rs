//! What was written → page index, file metadata and the end of the file, by the parquet library.

use std::cmp::Ordering;
use std::io::{Read, Write};

use parquet::basic::{BoundaryOrder, Compression, Encoding, PageType, Type as PhysicalType, ZstdLevel};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray, FixedLenByteArrayType,
    FloatType, Int32Type, Int64Type,
};
use parquet::errors::Result;
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, FileMetaData, KeyValue, OffsetIndexBuilder, PageEncodingStats,
    ParquetMetaDataBuilder, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::file::statistics::{Statistics, TypedStatistics, ValueStatistics};
use parquet::file::writer::TrackedWrite;
use parquet::schema::types::{ColumnDescPtr, SchemaDescPtr};

use super::extent::{Bound, Bounds};
use super::facts::{ChunkFacts, RowGroupFacts};
use super::pack::Codec;

/// Format version 1.
const VERSION: i32 = 1;

/// Append everything after the last page to `bytes`, which follow `taken` others.
pub(super) fn append(
    schema: &SchemaDescPtr,
    row_groups: Vec<RowGroupFacts>,
    metadata: &[(String, String)],
    (taken, bytes): (u64, &mut Vec<u8>),
) -> Result<()> {
    let rows = row_groups.iter().map(|g| g.rows as i64).sum();
    let pairs = metadata.iter().map(|(k, v)| KeyValue::new(k.clone(), v.clone())).collect::<Vec<_>>();
    let pairs = (!pairs.is_empty()).then_some(pairs);
    let created_by = format!("weir version {}", env!("CARGO_PKG_VERSION"));
    // The library sets the column orders (TypeDefinedOrder for each) when it writes.
    let file = FileMetaData::new(VERSION, rows, Some(created_by), pairs, SchemaDescPtr::clone(schema), None);
    let (mut column_index, mut offset_index) = (Vec::new(), Vec::new());
    let mut builder = ParquetMetaDataBuilder::new(file);
    for (ordinal, group) in row_groups.iter().enumerate() {
        let columns = || schema.columns().iter().zip(&group.chunks);
        column_index.push(columns().map(|(d, c)| column_index_of(d, c)).collect::<Result<Vec<_>>>()?);
        offset_index.push(columns().map(|(_, c)| offset_index_of(c)).collect::<Vec<_>>());
        let chunks = columns().map(|(d, c)| chunk_metadata(d, c)).collect::<Result<Vec<_>>>()?;
        builder = builder.add_row_group(
            RowGroupMetaData::builder(SchemaDescPtr::clone(schema))
                .set_num_rows(group.rows as i64)
                .set_total_byte_size(group.chunks.iter().map(|c| c.raw_bytes as i64).sum())
                .set_ordinal(ordinal as i16)
                .set_file_offset(group.offset as i64)
                .set_column_metadata(chunks)
                .build()?,
        );
    }
    if !row_groups.is_empty() {
        builder = builder.set_column_index(Some(column_index)).set_offset_index(Some(offset_index));
    }
    let mut tail = Vec::with_capacity(4 << 10);
    // The library takes offsets from what has passed through its writer, so the pages pass through
    // it too; they are not copied.
    let skip = usize::try_from(taken).unwrap_or(usize::MAX).saturating_add(bytes.len());
    let mut written = TrackedWrite::new(AfterFirst { skip, rest: &mut tail });
    std::io::copy(&mut std::io::repeat(0).take(taken), &mut written)?;
    written.write_all(bytes)?;
    ParquetMetaDataWriter::new_with_tracked(written, &builder.build()).finish()?;
    bytes.extend_from_slice(&tail);
    Ok(())
}

/// Keeps what follows the first `skip` bytes.
struct AfterFirst<'a> {
    skip: usize,
    rest: &'a mut Vec<u8>,
}

impl Write for AfterFirst<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        self.rest.extend_from_slice(&bytes[skipped..]);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn chunk_metadata(column: &ColumnDescPtr, chunk: &ChunkFacts) -> Result<ColumnChunkMetaData> {
    let has_dictionary = chunk.dictionary_len > 0;
    let values = if has_dictionary { Encoding::PLAIN_DICTIONARY } else { Encoding::PLAIN };
    let stats = |page_type, count| PageEncodingStats { page_type, encoding: values, count };
    let dictionary = has_dictionary.then(|| stats(PageType::DICTIONARY_PAGE, 1));
    let data = stats(PageType::DATA_PAGE, chunk.pages.len() as i32);
    let (bloom_offset, bloom_length) = chunk.bloom.unzip();
    ColumnChunkMetaData::builder(ColumnDescPtr::clone(column))
        .set_compression(match chunk.codec {
            Codec::None => Compression::UNCOMPRESSED,
            Codec::Zstd => Compression::ZSTD(ZstdLevel::default()),
            Codec::Snappy => Compression::SNAPPY,
        })
        // PLAIN must not be listed beside a dictionary: readers of version 1 take it as a sign that
        // some data pages do not use the dictionary.
        .set_encodings(vec![values, Encoding::RLE])
        .set_page_encoding_stats(dictionary.into_iter().chain([data]).collect())
        .set_num_values(chunk.entries as i64)
        .set_total_compressed_size(chunk.packed_bytes as i64)
        .set_total_uncompressed_size(chunk.raw_bytes as i64)
        .set_dictionary_page_offset(has_dictionary.then_some(chunk.offset as i64))
        .set_data_page_offset((chunk.offset + u64::from(chunk.dictionary_len)) as i64)
        .set_statistics(statistics(column.physical_type(), chunk))
        .set_bloom_filter_offset(bloom_offset.map(|o| o as i64))
        .set_bloom_filter_length(bloom_length.map(|l| l as i32))
        .build()
}

fn statistics(ty: PhysicalType, chunk: &ChunkFacts) -> Statistics {
    /// Numbers also go to the deprecated `min` and `max`, which old readers know; for byte arrays
    /// those have no sound order.
    fn typed<D: DataType>(
        chunk: &ChunkFacts,
        numeric: bool,
        value: impl Fn(&[u8]) -> D::T,
    ) -> TypedStatistics<D> {
        let bound = |side: fn(&Bounds) -> &Bound| chunk.bounds.as_ref().map(side);
        let (min, max) = (bound(|b| &b.min), bound(|b| &b.max));
        let value = |b: &Bound| value(&b.bytes);
        ValueStatistics::new(min.map(value), max.map(value), None, Some(chunk.nulls), false)
            .with_min_is_exact(min.is_some_and(|b| b.exact))
            .with_max_is_exact(max.is_some_and(|b| b.exact))
            .with_backwards_compatible_min_max(numeric)
    }
    fn number<const N: usize>(bytes: &[u8]) -> [u8; N] {
        bytes.first_chunk().copied().unwrap_or([0; N])
    }
    let array = |bytes: &[u8]| ByteArray::from(bytes.to_vec());
    match ty {
        PhysicalType::BOOLEAN => {
            Statistics::Boolean(typed::<BoolType>(chunk, false, |b| b.first() == Some(&1)))
        }
        PhysicalType::INT32 => {
            Statistics::Int32(typed::<Int32Type>(chunk, true, |b| i32::from_le_bytes(number(b))))
        }
        PhysicalType::INT64 => {
            Statistics::Int64(typed::<Int64Type>(chunk, true, |b| i64::from_le_bytes(number(b))))
        }
        PhysicalType::FLOAT => {
            Statistics::Float(typed::<FloatType>(chunk, true, |b| f32::from_le_bytes(number(b))))
        }
        PhysicalType::DOUBLE => {
            Statistics::Double(typed::<DoubleType>(chunk, true, |b| f64::from_le_bytes(number(b))))
        }
        PhysicalType::FIXED_LEN_BYTE_ARRAY => {
            Statistics::FixedLenByteArray(typed::<FixedLenByteArrayType>(chunk, false, |b| {
                FixedLenByteArray::from(array(b))
            }))
        }
        PhysicalType::BYTE_ARRAY | PhysicalType::INT96 => {
            Statistics::ByteArray(typed::<ByteArrayType>(chunk, false, array))
        }
    }
}

fn column_index_of(column: &ColumnDescPtr, chunk: &ChunkFacts) -> Result<ColumnIndexMetaData> {
    let mut index = ColumnIndexBuilder::new(column.physical_type());
    for page in &chunk.pages {
        let (min, max) = match &page.bounds {
            Some(bounds) => (bounds.min.bytes.to_vec(), bounds.max.bytes.to_vec()),
            None if page.values == 0 => (Vec::new(), Vec::new()),
            // The index cannot say "values, but no bounds" (only NaN, for one) of a single page.
            None => return Ok(ColumnIndexMetaData::NONE),
        };
        index.append(page.values == 0, min, max, i64::from(page.nulls));
    }
    index.set_boundary_order(boundary_order(chunk));
    index.build()
}

/// Whether both bounds only rise, or only fall, from page to page.
fn boundary_order(chunk: &ChunkFacts) -> BoundaryOrder {
    let bounds: Vec<&Bounds> = chunk.pages.iter().filter_map(|p| p.bounds.as_ref()).collect();
    let never = |turn: Ordering| {
        bounds.windows(2).all(|pair| {
            let [a, b] = pair else { return true };
            chunk.order.compare(&a.min.bytes, &b.min.bytes) != turn
                && chunk.order.compare(&a.max.bytes, &b.max.bytes) != turn
        })
    };
    if never(Ordering::Greater) {
        BoundaryOrder::ASCENDING
    } else if never(Ordering::Less) {
        BoundaryOrder::DESCENDING
    } else {
        BoundaryOrder::UNORDERED
    }
}

fn offset_index_of(chunk: &ChunkFacts) -> OffsetIndexMetaData {
    let mut index = OffsetIndexBuilder::new();
    let mut offset = chunk.offset + u64::from(chunk.dictionary_len);
    for page in &chunk.pages {
        index.append_offset_and_size(offset as i64, page.len as i32);
        index.append_row_count(i64::from(page.rows));
        offset += u64::from(page.len);
    }
    index.build()
}
