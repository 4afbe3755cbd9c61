//! Dead letters → Parquet files of the `quarantine` table, which is a table like any other: one row
//! a rejected record, with everything needed to see why and to replay it.

use std::sync::{Arc, OnceLock};

use crate::clock::EpochMicros;
use crate::columns::{ColumnSet, Layout};
use crate::dead_letter::DeadLetter;
use crate::error::Result;
use crate::limits::MAX_DEAD_LETTER_BYTES;
use crate::naming::QUARANTINE_TABLE;
use crate::record::{RecordId, Shard};
use crate::schema::{TableInput, TableSchema};
use crate::write::{Encoder, FileFormat, FileOrigin, FileWriter};

/// The table's definition, as it stands in the catalog.
const DEFINITION: &str = include_str!("quarantine.json");

/// What all dead letters of an attempt have in common.
#[derive(Debug, Clone, Copy)]
pub struct QuarantineContext<'a> {
    /// Where they come from.
    pub shard: &'a Shard,
    /// The table they were meant for.
    pub source_table: &'a str,
    /// Version of its schema that refused them.
    pub schema_version: &'a str,
    /// The attempt's time.
    pub now: EpochMicros,
}

/// A finished quarantine file.
#[derive(Debug)]
pub struct QuarantineFile {
    /// Day of arrival: the partition.
    pub day: String,
    /// Its first record.
    pub first: RecordId,
    /// Rows.
    pub rows: u64,
    /// The Parquet file.
    pub bytes: Vec<u8>,
}

/// The definition of the quarantine table.
///
/// # Errors
/// Never, for a program that passes its tests.
pub fn definition() -> Result<TableInput> {
    TableInput::from_json(DEFINITION)
}

fn layout() -> Result<&'static Arc<Layout>> {
    static LAYOUT: OnceLock<Arc<Layout>> = OnceLock::new();
    if let Some(layout) = LAYOUT.get() {
        return Ok(layout);
    }
    let mut layout = Layout::of(&TableSchema::parse(DEFINITION)?);
    // The partition is known beforehand: nothing is read off the rows.
    layout.scratch.clear();
    layout.scratch_fields.clear();
    Ok(LAYOUT.get_or_init(|| Arc::new(layout)))
}

/// A dead letter as it stands in the table.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct StoredLetter {
    /// Name of the stream, or the file's URL.
    pub stream: String,
    /// Shard.
    pub shard: String,
    /// Position.
    pub id: RecordId,
    /// Arrival at the stream.
    pub arrived_at: EpochMicros,
    /// Class; text, since a newer program may know others.
    pub reason: String,
    /// Path of the field, empty for the whole record.
    pub path: String,
    /// What the column takes.
    pub expected: String,
    /// What was found.
    pub found: String,
    /// The raw bytes, possibly cut.
    pub raw: Vec<u8>,
    /// Whether they are.
    pub raw_is_truncated: bool,
    /// Version of the schema that refused it.
    pub schema_version: String,
    /// When it did.
    pub quarantined_at: EpochMicros,
}

impl StoredLetter {
    fn row(&self) -> Row<'_> {
        Row {
            stream: &self.stream,
            shard: &self.shard,
            id: self.id,
            arrived_at: self.arrived_at,
            reason: &self.reason,
            path: &self.path,
            expected: &self.expected,
            found: &self.found,
            raw: &self.raw,
            truncated: self.raw_is_truncated,
            schema_version: &self.schema_version,
            quarantined_at: self.quarantined_at,
        }
    }
}

impl std::fmt::Debug for StoredLetter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredLetter")
            .field("id", &self.id)
            .field("reason", &self.reason)
            .field("path", &self.path)
            .field("raw_bytes", &self.raw.len())
            .finish_non_exhaustive()
    }
}

/// Bytes of letters that a file under construction holds before it encodes them.
const ROW_GROUP_BYTES: usize = 16 << 20;

/// A quarantine file of one table and day, letter by letter.
pub struct LetterFile {
    set: ColumnSet,
    writer: FileWriter,
    encoder: Encoder,
    held: usize,
    rows: u64,
    range: Option<(RecordId, RecordId)>,
}

impl LetterFile {
    /// An empty file.
    ///
    /// # Errors
    /// Only defects of encoding.
    pub fn new() -> Result<Self> {
        let layout = layout()?;
        let format = FileFormat::new(layout, crate::schema::Compression::Zstd, &[])?;
        Ok(Self {
            set: ColumnSet::new(layout),
            writer: FileWriter::new(&format),
            encoder: Encoder::new(),
            held: 0,
            rows: 0,
            range: None,
        })
    }

    /// Append a letter.
    ///
    /// # Errors
    /// Only defects of encoding.
    pub fn push(&mut self, letter: &StoredLetter) -> Result<()> {
        self.add(&letter.row())
    }

    fn add(&mut self, row: &Row<'_>) -> Result<()> {
        push(&mut self.set, row);
        self.rows += 1;
        let (first, last) = self.range.unwrap_or((row.id, row.id));
        self.range = Some((first.min(row.id), last.max(row.id)));
        self.held += row.raw.len() + 256;
        if self.held >= ROW_GROUP_BYTES {
            self.encode()?;
        }
        Ok(())
    }

    fn encode(&mut self) -> Result<()> {
        self.writer.write_row_group(&self.set, &mut self.encoder)?;
        self.set.clear();
        self.held = 0;
        Ok(())
    }

    /// The file of `day`, or none without letters; `source` is the table they were meant for, and the version
    /// of its schema that judged them last.
    ///
    /// # Errors
    /// Only defects of encoding.
    pub fn finish(
        mut self,
        source: (&str, &str),
        shard: &Shard,
        day: &str,
    ) -> Result<Option<QuarantineFile>> {
        let Some(range) = self.range else { return Ok(None) };
        self.encode()?;
        let (source_table, schema_version) = source;
        let origin = FileOrigin { table: (QUARANTINE_TABLE, schema_version), shard, range, rows: self.rows };
        let mut metadata = origin.metadata();
        metadata.push(("weir.source_table".to_owned(), source_table.to_owned()));
        let bytes = self.writer.finish(&metadata)?;
        Ok(Some(QuarantineFile { day: day.to_owned(), first: range.0, rows: self.rows, bytes }))
    }
}

/// The partition of a time of arrival: its day, UTC.
pub fn day_of(arrived_at: EpochMicros) -> String {
    let days = arrived_at.0.div_euclid(86_400_000_000);
    let (year, month, date) = crate::decode::time::civil_from_days(days);
    format!("{year:04}-{month:02}-{date:02}")
}

/// One file for each day of arrival, in the order of their first records.
///
/// # Errors
/// Only defects of encoding.
pub fn quarantine_files(
    letters: &[DeadLetter],
    context: &QuarantineContext<'_>,
) -> Result<Vec<QuarantineFile>> {
    let mut days: Vec<(i64, LetterFile)> = Vec::new();
    for letter in letters {
        let day = letter.arrived_at.0.div_euclid(86_400_000_000);
        let at = match days.iter().position(|(d, _)| *d == day) {
            Some(at) => at,
            None => {
                days.push((day, LetterFile::new()?));
                days.len() - 1
            }
        };
        days[at].1.add(&Row::of(letter, context))?;
    }
    let mut files = Vec::new();
    for (day, file) in days {
        let day = day_of(EpochMicros(day * 86_400_000_000));
        files.extend(file.finish((context.source_table, context.schema_version), context.shard, &day)?);
    }
    files.sort_by_key(|f| f.first);
    Ok(files)
}

/// A letter on its way into columns.
struct Row<'a> {
    stream: &'a str,
    shard: &'a str,
    id: RecordId,
    arrived_at: EpochMicros,
    reason: &'a str,
    path: &'a str,
    expected: &'a str,
    found: &'a str,
    raw: &'a [u8],
    truncated: bool,
    schema_version: &'a str,
    quarantined_at: EpochMicros,
}

impl<'a> Row<'a> {
    fn of(letter: &'a DeadLetter, context: &QuarantineContext<'a>) -> Self {
        let cut = letter.raw.len().min(MAX_DEAD_LETTER_BYTES);
        Self {
            stream: &context.shard.stream,
            shard: &context.shard.shard,
            id: letter.id,
            arrived_at: letter.arrived_at,
            reason: letter.reason.as_str(),
            path: &letter.path,
            expected: &letter.expected,
            found: &letter.found,
            raw: &letter.raw[..cut],
            truncated: cut < letter.raw.len(),
            schema_version: context.schema_version,
            quarantined_at: context.now,
        }
    }
}

/// The columns in the order of `quarantine.json`.
fn push(set: &mut ColumnSet, row: &Row<'_>) {
    let sequence = row.id.sequence.to_string();
    let leaves = &mut set.leaves;
    leaves[0].push_repeated(row.stream.as_bytes(), 0);
    leaves[1].push_repeated(row.shard.as_bytes(), 0);
    leaves[2].push_bytes(sequence.as_bytes(), 0);
    leaves[3].push_i32(row.id.subsequence as i32, 0);
    leaves[4].push_i64(row.arrived_at.0, 0);
    leaves[5].push_bytes(row.reason.as_bytes(), 0);
    leaves[6].push_bytes(row.path.as_bytes(), 0);
    leaves[7].push_bytes(row.expected.as_bytes(), 0);
    leaves[8].push_bytes(row.found.as_bytes(), 0);
    leaves[9].push_bytes(row.raw, 0);
    leaves[10].push_bool(row.truncated.into(), 0);
    leaves[11].push_repeated(row.schema_version.as_bytes(), 0);
    leaves[12].push_i64(row.quarantined_at.0, 0);
    set.finish_row();
}
