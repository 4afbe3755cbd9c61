//! The bytes of a quarantine file → its letters, a page at a time.

use bytes::Bytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::Type;

use crate::clock::EpochMicros;
use crate::error::{Error, Result};
use crate::quarantine::StoredLetter;
use crate::record::SequenceNumber;

/// Letters read at once: raw bytes of so many are held.
const BATCH: usize = 64;

/// What is read of each letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    /// Everything.
    All,
    /// Everything but the raw bytes, which are most of the file.
    WithoutRaw,
    /// Only the identity.
    Identity,
}

impl Columns {
    fn takes(self, name: &str) -> bool {
        match self {
            Columns::All => true,
            Columns::WithoutRaw => name != "raw",
            Columns::Identity => name == "sequence" || name == "subsequence",
        }
    }
}

/// The letters of a file, in its order. A column that was not read is empty or zero.
pub struct Letters {
    key: String,
    rows: RowIter<'static>,
}

impl Letters {
    /// Of a whole file; `key` is for the errors' text.
    ///
    /// # Errors
    /// It is not a quarantine file.
    pub fn open(key: &str, bytes: Bytes, columns: Columns) -> Result<Self> {
        let broken = |problem: String| Error::Format { object: key.to_owned(), problem, retryable: false };
        let reader = SerializedFileReader::new(bytes).map_err(|e| broken(e.to_string()))?;
        let root = reader.metadata().file_metadata().schema().clone();
        let fields: Vec<_> = root.get_fields().iter().filter(|f| columns.takes(f.name())).cloned().collect();
        for needed in ["sequence", "subsequence"] {
            if !fields.iter().any(|field| field.name() == needed) {
                return Err(broken(format!("a quarantine file has a column {needed}")));
            }
        }
        let projection = Type::group_type_builder(root.name()).with_fields(fields).build();
        let projection = projection.map_err(|e| broken(e.to_string()))?;
        let rows = RowIter::from_file_into(Box::new(reader)).project(Some(projection));
        let rows = rows.map_err(|e| broken(e.to_string()))?.with_batch_size(BATCH);
        Ok(Self { key: key.to_owned(), rows })
    }

    fn letter(row: Row) -> Result<StoredLetter, String> {
        let mut letter = StoredLetter::default();
        for (name, field) in row.into_columns() {
            match (name.as_str(), field) {
                (_, Field::Null) => {}
                ("stream", Field::Str(text)) => letter.stream = text,
                ("shard", Field::Str(text)) => letter.shard = text,
                ("sequence", Field::Str(text)) => {
                    let number = SequenceNumber::parse(text.as_bytes());
                    letter.id.sequence = number.map_err(|e| format!("{text:?} is {e}"))?;
                }
                ("subsequence", Field::Int(n)) => {
                    letter.id.subsequence = u32::try_from(n).map_err(|_| format!("sub-sequence {n}"))?;
                }
                ("arrived_at", Field::TimestampMicros(at)) => letter.arrived_at = EpochMicros(at),
                ("reason", Field::Str(text)) => letter.reason = text,
                ("path", Field::Str(text)) => letter.path = text,
                ("expected", Field::Str(text)) => letter.expected = text,
                ("found", Field::Str(text)) => letter.found = text,
                ("raw", Field::Bytes(raw)) => letter.raw = raw.data().to_vec(),
                ("raw_is_truncated", Field::Bool(cut)) => letter.raw_is_truncated = cut,
                ("schema_version", Field::Str(text)) => letter.schema_version = text,
                ("quarantined_at", Field::TimestampMicros(at)) => letter.quarantined_at = EpochMicros(at),
                (name, _) => return Err(format!("column {name} is not what the quarantine table says")),
            }
        }
        Ok(letter)
    }
}

impl Iterator for Letters {
    type Item = Result<StoredLetter>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.rows.next()?.map_err(|e| e.to_string()).and_then(Self::letter);
        Some(row.map_err(|problem| Error::Format { object: self.key.clone(), problem, retryable: false }))
    }
}
