//! Dead letters → Parquet files of the `quarantine` table, which is a table like any other: one row
//! a rejected record, with everything needed to see why and to replay it.

use std::sync::{Arc, OnceLock};

use crate::clock::EpochMicros;
use crate::columns::{ColumnSet, Layout};
use crate::dead_letter::DeadLetter;
use crate::error::{Error, Result};
use crate::limits::MAX_DEAD_LETTER_BYTES;
use crate::record::{RecordId, Shard};
use crate::schema::{TableInput, TableSchema};
use crate::write::{Encoder, FileFormat, FileWriter};

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

/// One file for each day of arrival, in the order of their first records.
///
/// # Errors
/// Only defects of encoding.
pub fn quarantine_files(
    letters: &[DeadLetter],
    context: &QuarantineContext<'_>,
) -> Result<Vec<QuarantineFile>> {
    let layout = layout()?;
    let mut days: Vec<(i64, Vec<&DeadLetter>)> = Vec::new();
    for letter in letters {
        let day = letter.arrived_at.0.div_euclid(86_400_000_000);
        match days.iter_mut().find(|(d, _)| *d == day) {
            Some((_, letters)) => letters.push(letter),
            None => days.push((day, vec![letter])),
        }
    }
    let mut encoder = Encoder::new();
    let format = FileFormat::new(layout, crate::schema::Compression::Zstd, &[])?;
    let mut files = Vec::new();
    for (day, letters) in days {
        let mut set = ColumnSet::new(layout);
        letters.iter().for_each(|letter| push(&mut set, letter, context));
        let mut writer = FileWriter::new(&format);
        writer.write_row_group(&set, &mut encoder)?;
        let first = letters.iter().map(|l| l.id).min().ok_or_else(|| Error::Internal("empty day".into()))?;
        let metadata = [
            ("weir.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("weir.source_table".to_owned(), context.source_table.to_owned()),
            ("weir.stream_key".to_owned(), context.shard.stream_key.to_string()),
            ("weir.shard".to_owned(), context.shard.shard.to_string()),
            ("weir.rows".to_owned(), set.rows.to_string()),
        ];
        let (year, month, date) = crate::decode::time::civil_from_days(day);
        files.push(QuarantineFile {
            day: format!("{year:04}-{month:02}-{date:02}"),
            first,
            rows: set.rows as u64,
            bytes: writer.finish(&metadata)?,
        });
    }
    files.sort_by_key(|f| f.first);
    Ok(files)
}

/// The columns in the order of `quarantine.json`.
fn push(set: &mut ColumnSet, letter: &DeadLetter, context: &QuarantineContext<'_>) {
    let sequence = letter.id.sequence.to_string();
    let cut = letter.raw.len().min(MAX_DEAD_LETTER_BYTES);
    let leaves = &mut set.leaves;
    leaves[0].push_repeated(context.shard.stream.as_bytes(), 0);
    leaves[1].push_repeated(context.shard.shard.as_bytes(), 0);
    leaves[2].push_bytes(sequence.as_bytes(), 0);
    leaves[3].push_i32(letter.id.subsequence as i32, 0);
    leaves[4].push_i64(letter.arrived_at.0, 0);
    leaves[5].push_bytes(letter.reason.as_str().as_bytes(), 0);
    leaves[6].push_bytes(letter.path.as_bytes(), 0);
    leaves[7].push_bytes(letter.expected.as_bytes(), 0);
    leaves[8].push_bytes(letter.found.as_bytes(), 0);
    leaves[9].push_bytes(&letter.raw[..cut], 0);
    leaves[10].push_bool((cut < letter.raw.len()).into(), 0);
    leaves[11].push_repeated(context.schema_version.as_bytes(), 0);
    leaves[12].push_i64(context.now.0, 0);
    set.finish_row();
}
