//! Documents → rows in the buffers of their partitions, in bounded memory.
//!
//! A row is decoded into the partition of the row before it; when its key says otherwise, it is
//! taken back and decoded again where it belongs. That is free on input ordered in time, and on any
//! other it costs one more look at the text.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;

use crate::clock::EpochMicros;
use crate::columns::{ColumnSet, LeafColumn};
use crate::dead_letter::DeadLetter;
use crate::decode::{Decoder, Path, Refusal};
use crate::error::Result;
use crate::limits::ROW_GROUP_ROWS;
use crate::partition::PartitionPath;
use crate::record::{RecordId, SequenceNumber, Shard};
use crate::schema::TableSchema;
use crate::write::{Encoder, FileFormat, FileOrigin, FileWriter};

use super::keys::{KeyPart, KeyRules};

/// Rows between two looks at the memory.
const MEMORY_CHECK_ROWS: u32 = 1_024;

/// A finished file of one partition.
#[derive(Debug)]
pub struct PartitionFile {
    /// Hive path of the partition.
    pub partition: PartitionPath,
    /// Identity of its first row: the slot it goes to.
    pub first: RecordId,
    /// Rows.
    pub rows: u64,
    /// The Parquet file.
    pub bytes: Bytes,
}

/// Rows of one table, by partition, until they are taken as files.
pub struct RowBuffers {
    table: Arc<TableSchema>,
    shard: Shard,
    decoder: Decoder,
    keys: KeyRules,
    encoder: Encoder,
    format: Arc<FileFormat>,
    open: Vec<Open>,
    by_key: HashMap<Vec<KeyPart>, usize, foldhash::fast::FixedState>,
    current: usize,
    spare: Vec<ColumnSet>,
    budget: usize,
    until_check: u32,
    unchecked_bytes: usize,
    digits: Vec<u8>,
    rows: u64,
}

struct Open {
    parts: Vec<KeyPart>,
    /// Smallest and largest identity of its rows.
    range: Option<(RecordId, RecordId)>,
    set: ColumnSet,
    writer: Option<FileWriter>,
    /// Rows in row groups already encoded.
    encoded_rows: u64,
    /// Value of `touched` when a row last came: idle partitions are encoded first.
    touched: u64,
    /// Sequence number of the last row in `set`, if it is of the shard that follows.
    last: Option<SequenceNumber>,
}

impl RowBuffers {
    /// Buffers for `table`, holding at most about `budget` bytes of rows not yet encoded.
    ///
    /// # Errors
    /// A table that cannot be compiled.
    pub fn new(table: Arc<TableSchema>, shard: Shard, budget: usize) -> Result<Self> {
        Self::with_path(table, shard, budget, Path::Fast)
    }

    /// The same with a choice of decode path, for tests that compare them.
    ///
    /// # Errors
    /// A table that cannot be compiled.
    pub fn with_path(table: Arc<TableSchema>, shard: Shard, budget: usize, path: Path) -> Result<Self> {
        let decoder = Decoder::new(&table, path)?;
        let keys = KeyRules::compile(&table, decoder.layout())?;
        let format = FileFormat::short_lived(decoder.layout(), table.compression)?;
        Ok(Self {
            table,
            shard,
            decoder,
            keys,
            encoder: Encoder::new(),
            format,
            open: Vec::new(),
            by_key: HashMap::default(),
            current: 0,
            spare: Vec::new(),
            budget,
            until_check: MEMORY_CHECK_ROWS,
            unchecked_bytes: 0,
            digits: Vec::new(),
            rows: 0,
        })
    }

    /// The table.
    pub fn table(&self) -> &Arc<TableSchema> {
        &self.table
    }

    /// The shard whose records follow (the table and its buffers stay).
    pub fn set_shard(&mut self, shard: Shard) {
        self.shard = shard;
        self.open.iter_mut().for_each(|open| open.last = None);
    }

    /// One document: a row in its partition, or a dead letter.
    ///
    /// # Errors
    /// Only for defects of encoding; bad content is the inner value.
    // Not inlined: the loop over a document's values shall be compiled here, at this crate's level.
    #[inline(never)]
    pub fn push(
        &mut self,
        doc: &[u8],
        utf8: bool,
        id: RecordId,
        arrived_at: EpochMicros,
    ) -> Result<Option<DeadLetter>> {
        match self.place(doc, utf8, id, arrived_at) {
            Ok(()) => {
                self.rows += 1;
                self.until_check -= 1;
                self.unchecked_bytes += doc.len();
                if self.until_check == 0
                    || self.unchecked_bytes > self.budget / 8
                    || self.open[self.current].set.rows >= ROW_GROUP_ROWS
                {
                    self.relieve()?;
                }
                Ok(None)
            }
            Err(refusal) => {
                let Refusal { reason, path, expected, found } = *refusal;
                Ok(Some(DeadLetter { id, arrived_at, reason, path, expected, found, raw: doc.to_vec() }))
            }
        }
    }

    #[inline]
    fn place(
        &mut self,
        doc: &[u8],
        utf8: bool,
        id: RecordId,
        arrived_at: EpochMicros,
    ) -> Result<(), Box<Refusal>> {
        if self.open.is_empty() {
            self.open_partition(Vec::new());
        }
        let mut at = self.current;
        self.decoder.decode(doc, utf8, &mut self.open[at].set)?;
        let here = &mut self.open[at];
        if let Err(refusal) = self.keys.check_event_time(&here.set, arrived_at) {
            here.set.truncate_row();
            return Err(refusal);
        }
        if !self.keys.matches(&here.set, &here.parts) || here.parts.len() != self.table.partition_keys.len() {
            let parts = self.keys.parts(&here.set);
            here.set.truncate_row();
            if !self.by_key.contains_key(&parts) {
                self.keys.check_parts(&parts)?;
            }
            at = match self.by_key.get(&parts) {
                Some(&at) => at,
                None => self.open_partition(parts),
            };
            self.current = at;
            self.decoder.decode_again(doc, utf8, &mut self.open[at].set)?;
        }
        self.finish(at, id, arrived_at);
        Ok(())
    }

    fn keys_len(&self) -> usize {
        self.table.partition_keys.len()
    }

    fn open_partition(&mut self, parts: Vec<KeyPart>) -> usize {
        let complete = parts.len() == self.keys_len();
        // The first row of all is decoded before its partition is known: that buffer is renamed.
        let unnamed = self.open.iter().position(|o| o.parts.len() != self.keys_len() && o.set.rows == 0);
        let at = match unnamed {
            Some(at) if complete => {
                self.open[at].parts = parts.clone();
                at
            }
            _ => {
                let set = self.spare.pop().unwrap_or_else(|| ColumnSet::new(self.decoder.layout()));
                let parts = parts.clone();
                self.open.push(Open {
                    parts,
                    range: None,
                    set,
                    writer: None,
                    encoded_rows: 0,
                    touched: 0,
                    last: None,
                });
                self.open.len() - 1
            }
        };
        if complete {
            self.by_key.insert(parts, at);
        }
        at
    }

    #[inline]
    fn finish(&mut self, at: usize, id: RecordId, arrived_at: EpochMicros) {
        let open = &mut self.open[at];
        if let Some(first) = self.decoder.layout().provenance {
            let [stream, shard, sequence, subsequence, arrived] = provenance(&mut open.set.leaves, first);
            if open.last == Some(id.sequence) {
                // All lines of a block, and all documents of a record, share these.
                stream.repeat_last(0);
                shard.repeat_last(0);
                sequence.repeat_last(0);
            } else {
                stream.push_repeated(self.shard.stream.as_bytes(), 0);
                shard.push_repeated(self.shard.shard.as_bytes(), 0);
                write_decimal(id.sequence, &mut self.digits);
                sequence.push_repeated(&self.digits, 0);
                open.last = Some(id.sequence);
            }
            subsequence.push_i32(id.subsequence as i32, 0);
            arrived.push_i64(arrived_at.0, 0);
        }
        open.set.finish_row();
        let (first, last) = open.range.get_or_insert((id, id));
        if id > *last {
            *last = id;
        } else if id < *first {
            *first = id;
        }
        open.touched = self.rows;
    }

    /// Encode partitions until the rows not yet encoded fit the budget: full ones, then idle ones,
    /// then the largest.
    fn relieve(&mut self) -> Result<()> {
        self.until_check = MEMORY_CHECK_ROWS;
        self.unchecked_bytes = 0;
        if self.open[self.current].set.rows >= ROW_GROUP_ROWS {
            self.encode(self.current)?;
        }
        let mut sizes: Vec<_> = self.open.iter().map(|o| o.set.memory()).collect();
        let mut held: usize =
            sizes.iter().sum::<usize>() + self.spare.iter().map(ColumnSet::memory).sum::<usize>();
        while held > self.budget {
            if let Some(spare) = self.spare.pop() {
                held -= spare.memory();
                continue;
            }
            let idle_before = self.rows.saturating_sub(u64::from(MEMORY_CHECK_ROWS) * 8);
            let largest = (0..sizes.len()).filter(|&i| sizes[i] > 0).max_by_key(|&i| {
                (self.open[i].touched < idle_before && self.open[i].set.rows > 1_024, sizes[i])
            });
            let Some(at) = largest else { break };
            self.encode(at)?;
            held -= sizes[at];
            sizes[at] = 0;
            // The memory goes back too: the buffer grew to what this partition needed.
            self.open[at].set = ColumnSet::new(self.decoder.layout());
        }
        Ok(())
    }

    fn encode(&mut self, at: usize) -> Result<()> {
        let open = &mut self.open[at];
        if open.set.rows == 0 {
            return Ok(());
        }
        let writer = open.writer.get_or_insert_with(|| FileWriter::new(&self.format));
        writer.write_row_group(&open.set, &mut self.encoder)?;
        open.encoded_rows += open.set.rows as u64;
        open.set.clear();
        open.last = None;
        Ok(())
    }

    /// Bytes of encoded row groups waiting to be taken.
    pub fn encoded_bytes(&self) -> usize {
        self.open.iter().filter_map(|o| o.writer.as_ref()).map(FileWriter::bytes_written).sum()
    }

    /// Rows taken in and not yet taken out as files.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// All rows so far as files, one per partition, in the order of their first records. The
    /// buffers are then empty and keep their memory.
    ///
    /// # Errors
    /// Only for defects of encoding.
    pub fn take_files(&mut self) -> Result<Vec<PartitionFile>> {
        for at in 0..self.open.len() {
            self.encode(at)?;
        }
        let mut files = Vec::new();
        for mut open in self.open.drain(..) {
            if let (Some(writer), Some(range)) = (open.writer.take(), open.range) {
                let table = (self.table.name.as_str(), self.table.version.as_str());
                let origin = FileOrigin { table, shard: &self.shard, range, rows: open.encoded_rows };
                let bytes = Bytes::from(writer.finish(&origin.metadata())?);
                let partition = self.keys.path(&open.parts);
                files.push(PartitionFile { partition, first: range.0, rows: open.encoded_rows, bytes });
            }
            self.spare.push(open.set);
        }
        self.by_key.clear();
        self.current = 0;
        self.rows = 0;
        self.spare.truncate(4);
        files.sort_by_key(|f| f.first);
        Ok(files)
    }

    /// See [`Decoder::take_unknown_fields`].
    pub fn take_unknown_fields(&mut self) -> BTreeMap<String, u64> {
        self.decoder.take_unknown_fields()
    }
}

fn provenance(leaves: &mut [LeafColumn], first: usize) -> &mut [LeafColumn; 5] {
    match (&mut leaves[first..first + 5]).try_into() {
        Ok(five) => five,
        Err(_) => unreachable!("five provenance columns"),
    }
}

fn write_decimal(sequence: SequenceNumber, out: &mut Vec<u8>) {
    out.clear();
    match sequence.as_u64() {
        Some(offset) => write_u64(offset, out),
        None => sequence.write_decimal(out),
    }
}

fn write_u64(value: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let (mut at, mut v) = (20, value);
    loop {
        at -= 1;
        digits[at] = b'0' + (v % 10) as u8;
        v /= 10;
        if v == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
