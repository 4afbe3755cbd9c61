//! Documents of one delivery → the files of one commit. Pure: no store, no clock but the deadline's.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::EpochMicros;
use crate::commit::{Built, BuiltFile, PositionSet};
use crate::dead_letter::{DeadLetter, Reason};
use crate::error::Result;
use crate::naming;
use crate::quarantine::{QuarantineContext, quarantine_files};
use crate::record::{Batch, SequenceNumber, Shard};
use crate::schema::TableSchema;

use super::rows::{PartitionFile, RowBuffers};

/// Documents between two looks at the deadline.
const DEADLINE_CHECK: usize = 512;
/// Bytes of rows a function holds before it encodes them: a payload of 6 MB fits several times.
const FUNCTION_ROW_BUDGET: usize = 64 << 20;

/// The tables that a stream feeds, with their buffers.
pub struct Tables {
    shard: Shard,
    tables: Vec<RowBuffers>,
    shared: bool,
}

/// What a stream record became, counted over one build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildCounts {
    /// Rows by table.
    pub rows: BTreeMap<String, u64>,
    /// Dead letters by reason.
    pub dead: BTreeMap<&'static str, u64>,
    /// Documents of a shared stream that belong to another function's table.
    pub skipped_documents: u64,
    /// Unknown fields by path.
    pub unknown_fields: BTreeMap<String, u64>,
    /// Bytes of data files.
    pub file_bytes: u64,
}

/// One delivery, unpacked.
pub struct Delivery<'a> {
    /// Documents in delivery order.
    pub batch: &'a Batch,
    /// Records that unpacking refused.
    pub dead: &'a [DeadLetter],
    /// Every stream record delivered, ascending.
    pub positions: &'a PositionSet,
    /// Start of the attempt, for the quarantine.
    pub now: EpochMicros,
}

impl Tables {
    /// Buffers for the tables of one shard.
    ///
    /// # Errors
    /// A table that cannot be compiled.
    pub fn new(shard: &Shard, tables: &[Arc<TableSchema>]) -> Result<Self> {
        let buffers = tables.iter().map(|t| RowBuffers::new(t.clone(), shard.clone(), FUNCTION_ROW_BUDGET));
        Ok(Self { shard: shard.clone(), tables: buffers.collect::<Result<_>>()?, shared: false })
    }

    /// The stream has other consumers, with chains of their own: documents that no `weir.route` of
    /// these tables takes are theirs, and are counted. Without this they are dead letters.
    pub fn shared(mut self) -> Self {
        self.shared = true;
        self
    }

    /// Files of the records in `wanted`; `in_time` says whether to go on, else a prefix is kept, cut
    /// between whole stream records.
    ///
    /// # Errors
    /// Only for defects of encoding.
    pub fn build(
        &mut self,
        delivery: &Delivery<'_>,
        wanted: &PositionSet,
        in_time: &dyn Fn() -> bool,
        counts: &mut BuildCounts,
    ) -> Result<Built> {
        *counts = BuildCounts::default();
        let batch = delivery.batch;
        let all = wanted == delivery.positions;
        let utf8 = simdutf8::basic::from_utf8(&batch.bytes).is_ok();
        let mut dead: BTreeMap<usize, Vec<DeadLetter>> = BTreeMap::new();
        let mut cut: Option<SequenceNumber> = None;
        let (mut check_due, mut newest) = (false, SequenceNumber::default());
        for (i, document) in batch.documents.iter().enumerate() {
            check_due |= i % DEADLINE_CHECK == DEADLINE_CHECK - 1;
            // Only where a new stream record begins: what is in the buffers is committed whole.
            if check_due && document.id.sequence > newest {
                check_due = false;
                cut = cut.or_else(|| (!in_time()).then_some(document.id.sequence));
            }
            newest = newest.max(document.id.sequence);
            if let Some(cut) = cut
                && document.id.sequence >= cut
            {
                continue;
            }
            if !all && !wanted.contains(document.id.sequence) {
                continue;
            }
            let payload = batch.payload(document);
            let Some(at) = self.route(payload) else {
                self.unrouted(document, batch, &mut dead, counts);
                continue;
            };
            // A document that starts inside a character is not UTF-8, whatever stands before it.
            let utf8 = utf8 && payload.first().is_none_or(|b| b & 0xc0 != 0x80);
            let refused = self.tables[at].push(payload, utf8, document.id, document.arrived_at)?;
            if let Some(mut letter) = refused {
                if document.raw_start < document.start {
                    letter.raw = batch.raw(document).to_vec();
                }
                dead.entry(at).or_default().push(letter);
            }
        }
        let kept = |s: SequenceNumber| cut.is_none_or(|cut| s < cut) && (all || wanted.contains(s));
        let unpacking: Vec<_> = delivery.dead.iter().filter(|d| kept(d.id.sequence)).cloned().collect();
        if !unpacking.is_empty() {
            dead.entry(0).or_default().extend(unpacking);
        }
        let covers = match cut {
            None => wanted.clone(),
            Some(_) => positions_where(wanted, &kept),
        };
        Ok(Built { files: self.files(delivery.now, dead, counts)?, covers })
    }

    fn route(&self, payload: &[u8]) -> Option<usize> {
        if let [only] = self.tables.as_slice()
            && only.table().route.is_none()
        {
            return Some(0);
        }
        self.tables.iter().position(|t| match &t.table().route {
            None => true,
            Some(route) => crate::decode::text_at(payload, &route.path).is_some_and(|v| v == route.value),
        })
    }

    fn unrouted(
        &self,
        document: &crate::record::Document,
        batch: &Batch,
        dead: &mut BTreeMap<usize, Vec<DeadLetter>>,
        counts: &mut BuildCounts,
    ) {
        let (reason, expected, found) = if !self.shared {
            let expected = "a record that the weir.route of some table takes";
            (Reason::NoRoute, expected, "a record that none takes")
        } else if is_json_object(batch.payload(document)) {
            counts.skipped_documents += 1;
            return;
        } else {
            // Nobody can tell whose it is: each consumer keeps it, or it would be lost (C8).
            (Reason::MalformedJson, "a JSON object", "bytes that are none")
        };
        dead.entry(0).or_default().push(DeadLetter {
            id: document.id,
            arrived_at: document.arrived_at,
            reason,
            path: String::new(),
            expected: expected.into(),
            found: found.into(),
            raw: batch.raw(document).to_vec(),
        });
    }

    fn files(
        &mut self,
        now: EpochMicros,
        mut dead: BTreeMap<usize, Vec<DeadLetter>>,
        counts: &mut BuildCounts,
    ) -> Result<Vec<BuiltFile>> {
        let mut files = Vec::new();
        for (at, buffers) in self.tables.iter_mut().enumerate() {
            let table = buffers.table().clone();
            let taken = buffers.take_files()?;
            let rows: u64 = taken.iter().map(|f| f.rows).sum();
            if rows > 0 {
                counts.rows.insert(table.name.clone(), rows);
            }
            counts.file_bytes += taken.iter().map(|f| f.bytes.len() as u64).sum::<u64>();
            files.extend(taken.into_iter().map(|f| data_file(&table, f)));
            for (path, n) in buffers.take_unknown_fields() {
                *counts.unknown_fields.entry(path).or_default() += n;
            }
            let mut letters = dead.remove(&at).unwrap_or_default();
            letters.sort_by_key(|l| l.id);
            for letter in &letters {
                *counts.dead.entry(letter.reason.as_str()).or_default() += 1;
            }
            files.extend(dead_files(&letters, &self.shard, &table, now)?);
        }
        Ok(files)
    }
}

fn is_json_object(payload: &[u8]) -> bool {
    payload.first() == Some(&b'{') && serde_json::from_slice::<serde::de::IgnoredAny>(payload).is_ok()
}

fn positions_where(set: &PositionSet, keep: &dyn Fn(SequenceNumber) -> bool) -> PositionSet {
    match set {
        PositionSet::Exact(numbers) => numbers.iter().copied().filter(|&n| keep(n)).collect(),
        PositionSet::Ranges(ranges) => {
            PositionSet::from_ranges(ranges.iter().filter(|r| keep(r.start.into())).cloned())
        }
    }
}

/// A data file for the commit.
pub fn data_file(table: &TableSchema, file: PartitionFile) -> BuiltFile {
    BuiltFile {
        table: table.name.clone(),
        partition: file.partition,
        quarantine: false,
        first: file.first,
        bytes: file.bytes,
        rows: file.rows,
        schema_version: table.version.clone(),
    }
}

/// Quarantine files of some dead letters, in the order of their identities.
///
/// # Errors
/// Only for defects of encoding.
pub fn dead_files(
    letters: &[DeadLetter],
    shard: &Shard,
    table: &TableSchema,
    now: EpochMicros,
) -> Result<Vec<BuiltFile>> {
    if letters.is_empty() {
        return Ok(Vec::new());
    }
    let context = QuarantineContext { shard, source_table: &table.name, schema_version: &table.version, now };
    let files = quarantine_files(letters, &context)?;
    Ok(files
        .into_iter()
        .map(|file| BuiltFile {
            table: naming::QUARANTINE_TABLE.into(),
            partition: naming::quarantine_partition(&table.name, &file.day),
            quarantine: true,
            first: file.first,
            bytes: Bytes::from(file.bytes),
            rows: file.rows,
            schema_version: table.version.clone(),
        })
        .collect())
}
