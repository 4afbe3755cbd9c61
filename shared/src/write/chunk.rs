//! One leaf of a column set → one column chunk: dictionary page, data pages, metadata and indexes.

use std::ops::Range;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::bloom_filter::Sbbf;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder};
use parquet::schema::types::ColumnDescPtr;

use crate::columns::{LeafColumn, LeafSpec, Values};
use crate::schema;

use super::header::{self, Body, PLAIN, RLE_DICTIONARY};
use super::numbers::NumberDictionary;
use super::rle;
use super::schema::physical_type;
use super::stats::{Bounds, bounds, statistics};

/// Bytes of values a data page aims at. Large pages compress best and cost readers the least per
/// row (measured); one page is the usual case of a live file.
const PAGE_BYTES: usize = 4 << 20;
/// zstd level of most pages.
const LEVEL: i32 = 3;
/// zstd level of text that is nearly unique (ids, addresses): deeper search finds only false
/// matches there (measured: faster and smaller).
const LEVEL_UNIQUE: i32 = 1;
/// Share of distinct values, in percent, up to which a text dictionary pays at the end.
const MAX_DISTINCT_PERCENT: usize = 75;
/// Bloom filters' share of false positives.
const BLOOM_FPP: f64 = 0.01;

/// Scratch space and compressors, reused from chunk to chunk and from file to file.
#[derive(Default)]
pub struct Encoder {
    page: Vec<u8>,
    packed: Vec<u8>,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    snappy: Option<snap::raw::Encoder>,
    numbers: NumberDictionary,
}

enum Form<'a> {
    Plain,
    Text(&'a [u32]),
    Numbers(usize),
}

/// A chunk under construction.
struct Chunk<'a> {
    leaf: &'a LeafColumn,
    codec: schema::Compression,
    level: i32,
    out: Vec<u8>,
    uncompressed: usize,
}

impl Encoder {
    /// Encode one leaf. The result goes to `SerializedRowGroupWriter::append_column`.
    pub(crate) fn chunk(
        &mut self,
        leaf: &LeafColumn,
        spec: &LeafSpec,
        column: &ColumnDescPtr,
        codec: schema::Compression,
        bloom: bool,
    ) -> Result<(Bytes, ColumnCloseResult)> {
        let form = self.form(leaf);
        let unique = matches!((&leaf.values, &form), (Values::Bytes(_), Form::Plain));
        let level = if unique { LEVEL_UNIQUE } else { LEVEL };
        let mut chunk = Chunk { leaf, codec, level, out: Vec::new(), uncompressed: 0 };
        let dictionary_page = !matches!(form, Form::Plain);
        if dictionary_page {
            self.dictionary(&mut chunk, &form)?;
        }
        let data_offset = chunk.out.len();
        let mut column_index = ColumnIndexBuilder::new(physical_type(spec.physical));
        let mut offset_index = OffsetIndexBuilder::new();
        let mut all: Option<Bounds> = None;
        let pages = pages(leaf);
        let single = pages.len() == 1;
        for page in pages {
            let offset = chunk.out.len();
            self.data(&mut chunk, &form, &page)?;
            let here = bounds(leaf, spec.logical, page.values.start, page.values.end);
            let nulls = (page.entries.len() - page.values.len()) as i64;
            match (&here.min, &here.max) {
                (Some(min), Some(max)) => column_index.append(false, min.clone(), max.clone(), nulls),
                _ if page.values.is_empty() => column_index.append(true, Vec::new(), Vec::new(), nulls),
                _ => column_index.to_invalid(),
            }
            offset_index.append_row_count(page.rows as i64);
            offset_index.append_offset_and_size(offset as i64, (chunk.out.len() - offset) as i32);
            if single {
                all = Some(here);
            }
        }
        let all = all.unwrap_or_else(|| bounds(leaf, spec.logical, 0, leaf.present()));
        let nulls = (leaf.defs.len() - leaf.present()) as u64;
        let mut encodings = vec![Encoding::PLAIN, Encoding::RLE];
        if dictionary_page {
            encodings.push(Encoding::RLE_DICTIONARY);
        }
        let metadata = ColumnChunkMetaData::builder(column.clone())
            .set_encodings(encodings)
            .set_compression(chunk.parquet_codec()?)
            .set_num_values(leaf.defs.len() as i64)
            .set_total_compressed_size(chunk.out.len() as i64)
            .set_total_uncompressed_size(chunk.uncompressed as i64)
            .set_data_page_offset(data_offset as i64)
            .set_dictionary_page_offset(dictionary_page.then_some(0))
            .set_statistics(statistics(leaf, &all, nulls))
            .build()?;
        let close = ColumnCloseResult {
            bytes_written: chunk.out.len() as u64,
            rows_written: leaf.rows() as u64,
            metadata,
            bloom_filter: if bloom { Some(bloom_filter(leaf)?) } else { None },
            column_index: if column_index.valid() { Some(column_index.build()?) } else { None },
            offset_index: Some(offset_index.build()),
        };
        Ok((Bytes::from(chunk.out), close))
    }

    fn form<'a>(&mut self, leaf: &'a LeafColumn) -> Form<'a> {
        match &leaf.values {
            Values::Bytes(v) => match v.dictionary() {
                Some((dictionary, indices))
                    if dictionary.len() * 100 <= indices.len() * MAX_DISTINCT_PERCENT =>
                {
                    Form::Text(indices)
                }
                _ => Form::Plain,
            },
            values => match self.numbers.build(values) {
                Some(distinct) => Form::Numbers(distinct),
                None => Form::Plain,
            },
        }
    }

    fn dictionary(&mut self, chunk: &mut Chunk<'_>, form: &Form<'_>) -> Result<()> {
        let mut page = std::mem::take(&mut self.page);
        page.clear();
        let values = match (form, &chunk.leaf.values) {
            (Form::Text(_), Values::Bytes(v)) => {
                let Some((dictionary, _)) = v.dictionary() else { return Err(defect("dictionary")) };
                (0..dictionary.len()).for_each(|i| push_bytes(dictionary.get(i), &mut page));
                dictionary.len()
            }
            (Form::Numbers(distinct), _) => {
                self.numbers.write_values(&chunk.leaf.values, &mut page);
                *distinct
            }
            _ => return Err(defect("dictionary")),
        };
        self.put(chunk, &page, values, PLAIN, header::dictionary_page)?;
        self.page = page;
        Ok(())
    }

    fn data(&mut self, chunk: &mut Chunk<'_>, form: &Form<'_>, at: &Page) -> Result<()> {
        let mut page = std::mem::take(&mut self.page);
        page.clear();
        let leaf = chunk.leaf;
        if leaf.max_rep > 0 {
            levels(&leaf.reps, leaf.max_rep, &at.entries, &mut page);
        }
        if leaf.max_def > 0 {
            levels(&leaf.defs, leaf.max_def, &at.entries, &mut page);
        }
        let range = at.values.clone();
        let encoding = match form {
            Form::Plain => {
                plain(&leaf.values, range, &mut page);
                PLAIN
            }
            Form::Text(indices) => {
                let distinct = match &leaf.values {
                    Values::Bytes(v) => v.dictionary().map_or(1, |(d, _)| d.len()),
                    _ => 1,
                };
                dictionary_indices(&indices[range], distinct, &mut page);
                RLE_DICTIONARY
            }
            Form::Numbers(distinct) => {
                dictionary_indices(&self.numbers.indices()[range], *distinct, &mut page);
                RLE_DICTIONARY
            }
        };
        self.put(chunk, &page, at.entries.len(), encoding, header::data_page)?;
        self.page = page;
        Ok(())
    }

    /// Compress a page and append it with its header.
    fn put(
        &mut self,
        chunk: &mut Chunk<'_>,
        page: &[u8],
        values: usize,
        encoding: i32,
        header: fn(&Body<'_>, &mut Vec<u8>),
    ) -> Result<()> {
        self.packed.clear();
        match chunk.codec {
            schema::Compression::Zstd => {
                let zstd = match &mut self.zstd {
                    Some(zstd) => zstd,
                    none => none.insert(zstd::bulk::Compressor::new(chunk.level).map_err(external)?),
                };
                zstd.set_compression_level(chunk.level).map_err(external)?;
                self.packed.reserve(zstd::zstd_safe::compress_bound(page.len()));
                zstd.compress_to_buffer(page, &mut self.packed).map_err(external)?;
            }
            schema::Compression::Snappy => {
                self.packed.resize(snap::raw::max_compress_len(page.len()), 0);
                let snappy = self.snappy.get_or_insert_with(snap::raw::Encoder::new);
                let n = snappy.compress(page, &mut self.packed).map_err(external)?;
                self.packed.truncate(n);
            }
        }
        let body = Body { uncompressed: page.len(), compressed: &self.packed, values, encoding };
        let before = chunk.out.len();
        header(&body, &mut chunk.out);
        chunk.uncompressed += chunk.out.len() - before + page.len();
        chunk.out.extend_from_slice(&self.packed);
        Ok(())
    }
}

impl Chunk<'_> {
    fn parquet_codec(&self) -> Result<Compression> {
        Ok(match self.codec {
            schema::Compression::Zstd => Compression::ZSTD(ZstdLevel::try_new(self.level)?),
            schema::Compression::Snappy => Compression::SNAPPY,
        })
    }
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> ParquetError {
    ParquetError::External(Box::new(error))
}

fn defect(what: &str) -> ParquetError {
    ParquetError::General(format!("column without its {what}"))
}

/// A data page: which entries, which values, how many rows.
struct Page {
    entries: Range<usize>,
    values: Range<usize>,
    rows: usize,
}

/// Cut a leaf into pages of whole rows.
fn pages(leaf: &LeafColumn) -> Vec<Page> {
    let entries = leaf.defs.len();
    let count = plain_size(&leaf.values).div_ceil(PAGE_BYTES).max(1);
    if count == 1 {
        return vec![Page { entries: 0..entries, values: 0..leaf.present(), rows: leaf.rows() }];
    }
    let rows_each = leaf.rows().div_ceil(count).max(1);
    let mut pages: Vec<Page> = Vec::with_capacity(count);
    let (mut row, mut value) = (0, 0);
    for entry in 0..entries {
        let begins_row = leaf.max_rep == 0 || leaf.reps.get(entry) == 0;
        if begins_row && row % rows_each == 0 {
            pages.push(Page { entries: entry..entry, values: value..value, rows: 0 });
        }
        value += usize::from(leaf.defs.get(entry) == leaf.max_def);
        row += usize::from(begins_row);
        if let Some(page) = pages.last_mut() {
            page.entries.end = entry + 1;
            page.values.end = value;
            page.rows += usize::from(begins_row);
        }
    }
    pages
}

fn plain_size(values: &Values) -> usize {
    match values {
        Values::Bool(v) => v.len() / 8,
        Values::Int32(v) => v.len() * 4,
        Values::Int64(v) => v.len() * 8,
        Values::Float(v) => v.len() * 4,
        Values::Double(v) => v.len() * 8,
        Values::Bytes(v) => match v.dictionary() {
            Some((_, indices)) => indices.len() * 2,
            None => v.plain().0.len() + v.len() * 4,
        },
        Values::Fixed { data, .. } => data.len(),
    }
}

fn levels(levels: &crate::columns::Levels, max: u8, range: &Range<usize>, page: &mut Vec<u8>) {
    let width = rle::bit_width(max.into());
    let length_at = page.len();
    page.extend([0; 4]);
    match levels.uniform() {
        Some(level) => rle::repeat(level.into(), range.len(), width, page),
        None => rle::encode(&levels.spread()[range.clone()], width, page),
    }
    let length = (page.len() - length_at - 4) as u32;
    page[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
}

fn dictionary_indices(indices: &[u32], distinct: usize, page: &mut Vec<u8>) {
    // At least one bit: not every reader takes a width of 0.
    let width = rle::bit_width(distinct.saturating_sub(1) as u32).max(1);
    page.push(width as u8);
    rle::encode(indices, width, page);
}

fn push_bytes(value: &[u8], page: &mut Vec<u8>) {
    page.extend_from_slice(&(value.len() as u32).to_le_bytes());
    page.extend_from_slice(value);
}

fn plain(values: &Values, range: Range<usize>, page: &mut Vec<u8>) {
    match values {
        Values::Bool(v) => page.extend(
            v[range].chunks(8).map(|bits| bits.iter().enumerate().fold(0, |byte, (i, bit)| byte | bit << i)),
        ),
        Values::Int32(v) => v[range].iter().for_each(|v| page.extend_from_slice(&v.to_le_bytes())),
        Values::Int64(v) => v[range].iter().for_each(|v| page.extend_from_slice(&v.to_le_bytes())),
        Values::Float(v) => v[range].iter().for_each(|v| page.extend_from_slice(&v.to_le_bytes())),
        Values::Double(v) => v[range].iter().for_each(|v| page.extend_from_slice(&v.to_le_bytes())),
        Values::Bytes(v) => {
            page.reserve(plain_size(values));
            range.for_each(|i| push_bytes(v.get(i), page));
        }
        Values::Fixed { width, data } => {
            page.extend_from_slice(&data[range.start * width..range.end * width])
        }
    }
}

fn bloom_filter(leaf: &LeafColumn) -> Result<Sbbf> {
    let distinct = match &leaf.values {
        Values::Bytes(v) => v.dictionary().map_or(v.len(), |(d, _)| d.len()),
        _ => leaf.present(),
    };
    let mut filter = Sbbf::new_with_ndv_fpp(distinct.max(1) as u64, BLOOM_FPP)?;
    match &leaf.values {
        Values::Bytes(v) => match v.dictionary() {
            Some((dictionary, _)) => (0..dictionary.len()).for_each(|i| filter.insert(dictionary.get(i))),
            None => (0..v.len()).for_each(|i| filter.insert(v.get(i))),
        },
        Values::Int32(v) => v.iter().for_each(|v| filter.insert(v)),
        Values::Int64(v) => v.iter().for_each(|v| filter.insert(v)),
        Values::Float(v) => v.iter().for_each(|v| filter.insert(v)),
        Values::Double(v) => v.iter().for_each(|v| filter.insert(v)),
        Values::Fixed { width, data } => data.chunks_exact(*width).for_each(|v| filter.insert(v)),
        Values::Bool(_) => {}
    }
    Ok(filter)
}
