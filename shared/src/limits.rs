//! Every bound, with its reason and source.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Deepest nesting of a JSON document that is decoded; deeper is a dead letter. simd-json's own
/// tape holds depth in the stack of the walker, and no Hive type nests deeper.
pub const MAX_JSON_DEPTH: usize = 128;
/// Most bytes one stream record may inflate to (a 1 MiB record, gzip at 64:1).
pub const MAX_INFLATED_RECORD_BYTES: usize = 64 << 20;
/// Most bytes all records of one invocation may inflate to, together.
pub const MAX_INFLATED_BATCH_BYTES: usize = 256 << 20;
/// Levels of an item's attributes that are opened; deeper is a dead letter. DynamoDB takes 32
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>).
pub const MAX_ATTRIBUTE_DEPTH: usize = 64;
/// `_rescued` is cut at this size, with a flag (design 3).
pub const MAX_RESCUED_BYTES: usize = 64 << 10;
/// Raw bytes of a dead letter are kept whole up to this size (Kinesis' largest record is 10 MiB).
pub const MAX_DEAD_LETTER_BYTES: usize = 16 << 20;
/// Microseconds since the epoch of the years 0001 to 9999, which timestamps may have: most readers show no
/// others, and a partition named by one would not sort as time.
pub const TIME_MICROS: RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;
/// The same in days, for dates.
pub const TIME_DAYS: RangeInclusive<i32> = -719_162..=2_932_896;
/// Versions between two checkpoints (protocol, Folding).
pub const FOLD_EVERY: u64 = 32;
/// Ranges of commits kept in a checkpoint; older ones go to segments (protocol, Redelivery check).
pub const CHECKPOINT_RANGES: usize = 1_024;
/// Rows of a row group of a live file.
pub const ROW_GROUP_ROWS: usize = 131_072;
/// Bytes of readable capacity kept after the last document of a batch: SIMD loads of the decoder
/// read up to one 64-byte block past a document's end.
pub const DOCUMENT_PADDING_BYTES: usize = 64;
/// Containers inside containers (gzip in an aggregate in zstd …) that are opened in one stream
/// record. The deepest that producers make is three: gzip, KPL aggregate, gzip with an envelope.
pub const MAX_UNPACK_DEPTH: usize = 6;
/// Documents of one stream record: a megabyte record of the shortest lines stays below it, a bomb
/// of blank documents does not (each costs some 64 bytes of bookkeeping).
pub const MAX_DOCUMENTS_PER_RECORD: u32 = 1 << 20;

/// Bytes of one folder of a partition, escaped. File systems take 255 in a name; S3 takes 1,024 in a
/// whole key (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>).
pub const MAX_PARTITION_FOLDER_BYTES: usize = 200;

/// Longest life of a run of close: a Lambda function's.
pub const CLOSE_RUN: Duration = Duration::from_secs(15 * 60);
/// Age of an owner's object from which another run takes over: the longest life of a run, and calls
/// that were under way when it ended (protocol, Close).
pub const CLOSE_TAKE_OVER: Duration = Duration::from_secs(20 * 60);
/// How long files that a revision superseded stay for queries that read them.
pub const CLOSE_GRACE: Duration = Duration::from_secs(24 * 3_600);
/// Taken off a watermark, since arrival times are approximate and not ordered.
pub const CLOSE_MARGIN: Duration = Duration::from_secs(10);
/// A shard whose oldest record without a commit is older than this counts as stuck.
pub const CLOSE_STUCK: Duration = Duration::from_secs(5 * 60);
