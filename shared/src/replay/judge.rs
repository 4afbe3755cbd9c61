//! A letter and today's tables → a row in the buffers of its table, or a letter again.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::EpochMicros;
use crate::dead_letter::{DeadLetter, Reason};
use crate::error::Result;
use crate::limits::{DOCUMENT_PADDING_BYTES, MAX_DEAD_LETTER_BYTES};
use crate::pipeline::RowBuffers;
use crate::quarantine::StoredLetter;
use crate::record::{Batch, Shard};
use crate::schema::TableSchema;
use crate::unpack::{RecordHead, StreamRecord, UnpackCounts, UnpackLimits, Unpacker, write_document};

/// Bytes of rows a table's buffers hold before they are encoded.
const ROW_BUDGET: usize = 16 << 20;

/// What a letter is today.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A row of this table; it stands in the buffers.
    Row(String),
    /// The same letter.
    Same,
    /// A letter with another reason.
    Other(Box<StoredLetter>),
    /// It cannot be judged: its raw bytes were cut, or its table is gone.
    Stuck(&'static str),
}

/// Tables with their buffers, for the letters of one shard after another.
pub(super) struct Judge {
    schemas: BTreeMap<String, Arc<TableSchema>>,
    buffers: BTreeMap<String, RowBuffers>,
    /// Key of the stream whose letters are judged.
    stream_key: String,
    /// The shard that the buffers write into rows.
    shard: Option<Shard>,
    unpacker: Unpacker,
    now: EpochMicros,
    document: Vec<u8>,
}

impl Judge {
    pub(super) fn new(schemas: BTreeMap<String, Arc<TableSchema>>, now: EpochMicros) -> Self {
        Self {
            schemas,
            buffers: BTreeMap::new(),
            stream_key: String::new(),
            shard: None,
            unpacker: Unpacker::new(UnpackLimits::default()),
            now,
            document: Vec::new(),
        }
    }

    /// The stream whose letters follow. Rows of another one must be taken before.
    pub(super) fn set_stream(&mut self, stream_key: &str) {
        stream_key.clone_into(&mut self.stream_key);
        self.shard = None;
        self.buffers.clear();
    }

    /// The buffers with their rows.
    pub(super) fn buffers(&mut self) -> impl Iterator<Item = &mut RowBuffers> {
        self.buffers.values_mut()
    }

    pub(super) fn schema(&self, table: &str) -> Option<&Arc<TableSchema>> {
        self.schemas.get(table)
    }

    /// Judge one letter that was meant for `source_table`.
    pub(super) fn judge(&mut self, letter: &StoredLetter, source_table: &str) -> Result<Verdict> {
        if letter.raw_is_truncated || letter.raw.len() >= MAX_DEAD_LETTER_BYTES {
            return Ok(Verdict::Stuck("its raw bytes were cut"));
        }
        let Some(source) = self.schemas.get(source_table).cloned() else {
            return Ok(Verdict::Stuck("its table is not in the catalog"));
        };
        if !self.set_document(letter) {
            return Ok(Verdict::Same);
        }
        let Some(table) = self.route(&source) else {
            let refusal = DeadLetter {
                id: letter.id,
                arrived_at: letter.arrived_at,
                reason: Reason::NoRoute,
                path: String::new(),
                expected: "a record that the weir.route of some table takes".into(),
                found: "a record that none takes".into(),
                raw: Vec::new(),
            };
            return Ok(self.again(letter, refusal, &source));
        };
        let document = std::mem::take(&mut self.document);
        let utf8 = simdutf8::basic::from_utf8(&document).is_ok();
        let refused = self.rows(&table, letter)?.push(&document, utf8, letter.id, letter.arrived_at);
        self.document = document;
        Ok(match refused? {
            None => Verdict::Row(table.name.clone()),
            Some(refusal) => self.again(letter, refusal, &table),
        })
    }

    /// What of the letter is the document; false if it still cannot be opened. What the schema cannot
    /// cure, a newer program may: containers are opened again.
    fn set_document(&mut self, letter: &StoredLetter) -> bool {
        self.document.clear();
        let unopened = [Reason::Compression, Reason::Envelope, Reason::Empty];
        if !unopened.iter().any(|reason| reason.as_str() == letter.reason) {
            if write_document(&letter.raw, &mut self.document).is_err() {
                return false;
            }
            // The decoder loads whole blocks.
            self.document.reserve(DOCUMENT_PADDING_BYTES);
            return true;
        }
        let (mut batch, mut dead, mut counts) = (Batch::default(), Vec::new(), UnpackCounts::default());
        let head = RecordHead { sequence: letter.id.sequence, arrived_at: letter.arrived_at };
        let record = StreamRecord { head, payload: &letter.raw };
        let _ = self.unpacker.unpack(&mut batch, &mut dead, &mut counts, record);
        // A letter has one identity, so it can become one row; several would share it.
        let [only] = batch.documents.as_slice() else { return false };
        if !dead.is_empty() {
            return false;
        }
        self.document.extend_from_slice(batch.payload(only));
        self.document.reserve(DOCUMENT_PADDING_BYTES);
        true
    }

    /// The letter's own table if it takes the document; else the one table whose route does.
    fn route(&self, source: &Arc<TableSchema>) -> Option<Arc<TableSchema>> {
        let takes = |table: &TableSchema| {
            let route = table.route.as_ref()?;
            let value = crate::decode::text_at(&self.document, &route.path)?;
            (value == route.value).then_some(())
        };
        if source.route.is_none() || takes(source).is_some() {
            return Some(source.clone());
        }
        let mut others = self.schemas.values().filter(|table| takes(table).is_some());
        match (others.next(), others.next()) {
            (Some(one), None) => Some(one.clone()),
            _ => None,
        }
    }

    fn rows(&mut self, table: &Arc<TableSchema>, letter: &StoredLetter) -> Result<&mut RowBuffers> {
        let same = |s: &Shard| *s.stream == *letter.stream && *s.shard == *letter.shard;
        if !self.shard.as_ref().is_some_and(same) {
            let shard = Shard {
                stream: letter.stream.as_str().into(),
                stream_key: self.stream_key.as_str().into(),
                shard: letter.shard.as_str().into(),
            };
            self.buffers.values_mut().for_each(|rows| rows.set_shard(shard.clone()));
            self.shard = Some(shard);
        }
        let shard = self.shard.clone().unwrap_or_else(|| unreachable!("set above"));
        match self.buffers.entry(table.name.clone()) {
            std::collections::btree_map::Entry::Occupied(rows) => Ok(rows.into_mut()),
            std::collections::btree_map::Entry::Vacant(free) => {
                Ok(free.insert(RowBuffers::new(table.clone(), shard, ROW_BUDGET)?))
            }
        }
    }

    /// The letter with today's refusal, if that says something else.
    fn again(&self, letter: &StoredLetter, refusal: DeadLetter, table: &TableSchema) -> Verdict {
        let DeadLetter { reason, path, expected, found, .. } = refusal;
        // What was found is in the same bytes still, whatever words a newer program has for it.
        if reason.as_str() == letter.reason && (&path, &expected) == (&letter.path, &letter.expected) {
            return Verdict::Same;
        }
        Verdict::Other(Box::new(StoredLetter {
            reason: reason.as_str().to_owned(),
            path,
            expected,
            found,
            schema_version: table.version.clone(),
            quarantined_at: self.now,
            ..letter.clone()
        }))
    }
}
