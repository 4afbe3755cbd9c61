//! What a table is, after parsing.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::pattern::Pattern;

/// A Hive type as Glue writes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HiveType {
    /// `boolean`
    Boolean,
    /// `tinyint`, 8 bits signed
    TinyInt,
    /// `smallint`, 16 bits signed
    SmallInt,
    /// `int`
    Int,
    /// `bigint`
    BigInt,
    /// `float`
    Float,
    /// `double`
    Double,
    /// `decimal(precision,scale)`, precision ≤ 38
    Decimal {
        /// All digits.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// `string`
    String,
    /// `varchar(n)`: n characters at most
    Varchar(u32),
    /// `char(n)`
    Char(u32),
    /// `timestamp`: microseconds UTC
    Timestamp,
    /// `date`
    Date,
    /// `binary`: base64 text in JSON
    Binary,
    /// `array<…>`
    Array(Box<HiveType>),
    /// `map<…,…>`; keys are strings in JSON
    Map(Box<HiveType>, Box<HiveType>),
    /// `struct<name:type,…>`
    Struct(Vec<StructField>),
}

/// A field of a struct.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StructField {
    /// Name in the table.
    pub name: String,
    /// Key in the JSON object (`weir.from.<column>.<field>…` or the name).
    pub key: String,
    /// Type.
    pub ty: HiveType,
}

/// How a time stands in the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeFormat {
    /// `2026-11-20T05:00:00.123Z`, offset required (RFC 3339)
    Rfc3339,
    /// Seconds since the epoch, integer or fraction
    EpochSeconds,
    /// Milliseconds since the epoch
    EpochMillis,
    /// Microseconds since the epoch
    EpochMicros,
    /// A strftime pattern; without an offset in it the time is UTC
    Strftime(String),
}

/// What is done to a text before it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transform {
    /// Without white space at both ends
    Trim,
    /// Lower case
    Lower,
    /// Upper case
    Upper,
    /// Hex of SHA-256 of the text, for personal data
    Sha256,
}

/// A column with its rules.
#[derive(Debug, Clone)]
pub struct Column {
    /// Name in the table.
    pub name: String,
    /// Type.
    pub ty: HiveType,
    /// Comment in the catalog.
    pub comment: Option<String>,
    /// Keys from the document's root to the value; one element unless `weir.from` is a JSON pointer.
    pub from: Vec<String>,
    /// `weir.required`
    pub required: bool,
    /// `weir.min`, as written
    pub min: Option<String>,
    /// `weir.max`, as written
    pub max: Option<String>,
    /// `weir.pattern`: the whole text must match
    pub pattern: Option<Pattern>,
    /// `weir.enum`: the texts allowed
    pub allowed: Option<Vec<String>>,
    /// `weir.max_length` in characters
    pub max_length: Option<usize>,
    /// `weir.default`: JSON text of the value taken when the field is absent (or null)
    pub default: Option<String>,
    /// `weir.transform`, in order
    pub transforms: Vec<Transform>,
    /// `weir.time_format` for timestamp and date columns
    pub time_format: TimeFormat,
    /// `weir.json`: a `string` column that holds any JSON value as its JSON text
    pub json: bool,
}

impl Column {
    /// A column of that name and type, read from the field of that name, without any rule.
    pub fn new(name: impl Into<String>, ty: HiveType) -> Self {
        let name = name.into();
        Self {
            from: vec![name.clone()],
            name,
            ty,
            comment: None,
            required: false,
            min: None,
            max: None,
            pattern: None,
            allowed: None,
            max_length: None,
            default: None,
            transforms: Vec::new(),
            time_format: TimeFormat::Rfc3339,
            json: false,
        }
    }
}

/// How a partition key is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granularity {
    /// `2026`
    Year,
    /// `2026-11`
    Month,
    /// `2026-11-20`
    Day,
    /// `2026-11-20-05`
    Hour,
    /// The column's own value
    Identity,
}

/// A partition key of the table.
#[derive(Debug, Clone)]
pub struct PartitionKey {
    /// Name (`dt`).
    pub name: String,
    /// Hive type in the catalog (string for time keys).
    pub ty: HiveType,
    /// Derivation.
    pub granularity: Granularity,
    /// Index into [`TableSchema::columns`] of the column it is derived from.
    pub column: usize,
}

/// `weir.unknown_fields`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownFields {
    /// Counted by path, dropped
    Ignore,
    /// Counted, kept as JSON text in `_rescued`
    Rescue,
    /// Counted, the record is a dead letter
    Reject,
}

/// `weir.provenance`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provenance {
    /// `_stream`, `_shard`, `_sequence`, `_subsequence`, `_arrived_at` as last columns
    Columns,
    /// Only in the file's footer
    Footer,
}

/// `weir.compression`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Default
    Zstd,
    /// Where Redshift reads
    Snappy,
}

/// `weir.route`: `field=value`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Keys from the root to the value.
    pub path: Vec<String>,
    /// Text it must have.
    pub value: String,
}

/// What starts when a partition is closed: one entry of `weir.on_close`, in the table's order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CloseAction {
    /// `aggregate:NAME`: the SQL of `jobs/NAME.sql`
    Aggregate(String),
    /// `crawler:NAME`: a Glue crawler over another prefix
    Crawler(String),
    /// `job:NAME`: a Glue job
    Job(String),
    /// `state-machine:ARN`: a Step Functions state machine
    StateMachine(String),
    /// `event`: 'partition closed' on EventBridge's default bus
    Event,
}

impl fmt::Display for CloseAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseAction::Aggregate(name) => write!(f, "aggregate:{name}"),
            CloseAction::Crawler(name) => write!(f, "crawler:{name}"),
            CloseAction::Job(name) => write!(f, "job:{name}"),
            CloseAction::StateMachine(arn) => write!(f, "state-machine:{arn}"),
            CloseAction::Event => f.write_str("event"),
        }
    }
}

impl FromStr for CloseAction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no action; write `aggregate:NAME`, `crawler:NAME`, `job:NAME`, \
                 `state-machine:ARN` or `event`"
            )
        };
        match text.split_once(':') {
            None if text == "event" => Ok(CloseAction::Event),
            Some((_, "")) | None => Err(wrong()),
            Some(("aggregate", name)) => Ok(CloseAction::Aggregate(name.to_owned())),
            Some(("crawler", name)) => Ok(CloseAction::Crawler(name.to_owned())),
            Some(("job", name)) => Ok(CloseAction::Job(name.to_owned())),
            Some(("state-machine", arn)) if arn.starts_with("arn:") => {
                Ok(CloseAction::StateMachine(arn.to_owned()))
            }
            Some(_) => Err(wrong()),
        }
    }
}

/// A table, parsed and checked.
#[derive(Debug, Clone)]
pub struct TableSchema {
    /// Table name.
    pub name: String,
    /// All columns that are read from the record, in order: those stored in the file and those
    /// that only feed an identity partition key (see `in_file`).
    pub columns: Vec<Column>,
    /// For each column whether it is stored in the file.
    pub in_file: Vec<bool>,
    /// Partition keys in order.
    pub partition_keys: Vec<PartitionKey>,
    /// Index of the event-time column (`weir.event_time`).
    pub event_time: Option<usize>,
    /// `weir.allowed_lateness`
    pub allowed_lateness: Duration,
    /// `weir.max_future`: how far event time may be ahead of arrival
    pub max_future: Option<Duration>,
    /// `weir.max_age`: how far event time may be behind arrival
    pub max_age: Option<Duration>,
    /// `weir.unknown_fields`
    pub unknown_fields: UnknownFields,
    /// `weir.route`
    pub route: Option<Route>,
    /// `weir.compression`
    pub compression: Compression,
    /// `weir.provenance`
    pub provenance: Provenance,
    /// `weir.bloom`
    pub bloom: Vec<String>,
    /// `weir.sort`: columns that compacted files are sorted by, ascending, nulls last
    pub sort: Vec<String>,
    /// `weir.dedupe_key`: columns that name a thing of the business; close keeps one row of each
    pub dedupe_key: Vec<String>,
    /// `weir.on_close`
    pub on_close: Vec<CloseAction>,
    /// `weir.compact_size`: bytes of a compacted file that close aims at
    pub compact_bytes: u64,
    /// `weir.keys`: columns that name an item, of a table of changes
    pub keys: Vec<String>,
    /// `weir.current`: the table that close keeps the current state in, of a table of changes
    pub current: Option<String>,
    /// `weir.current_of`: the table of changes whose current state this table is; no stream fills it
    pub current_of: Option<String>,
    /// `weir.job`: the aggregation job that fills the table; no stream does
    pub job: Option<String>,
    /// `weir.schema_hash`: 16 hex digits over columns and `weir.*` settings; also the schema version
    /// that commits, footers and dead letters carry.
    pub version: String,
}

impl TableSchema {
    /// Whether its rows are changes of items: it says of each which one (`_op`).
    pub fn is_of_changes(&self) -> bool {
        self.columns.iter().any(|column| matches!(column.from.as_slice(), [field] if field == "_op"))
    }
}

#[cfg(test)]
impl TableSchema {
    /// A table without partitions and settings.
    pub(crate) fn for_test(name: &str, columns: Vec<Column>) -> Self {
        Self {
            name: name.into(),
            in_file: vec![true; columns.len()],
            columns,
            partition_keys: Vec::new(),
            event_time: None,
            allowed_lateness: Duration::ZERO,
            max_future: None,
            max_age: None,
            unknown_fields: UnknownFields::Ignore,
            route: None,
            compression: Compression::Zstd,
            provenance: Provenance::Footer,
            bloom: Vec::new(),
            sort: Vec::new(),
            dedupe_key: Vec::new(),
            on_close: Vec::new(),
            compact_bytes: 256 << 20,
            keys: Vec::new(),
            current: None,
            current_of: None,
            job: None,
            version: "0".into(),
        }
    }
}
