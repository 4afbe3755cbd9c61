//! What the footer of every file of a commit says beside its columns (design 3).

use crate::record::{RecordId, Shard};

/// Where the rows of a file come from.
pub struct FileOrigin<'a> {
    /// The table that it is a file of, and the version of the schema that its rows were judged by.
    pub table: (&'a str, &'a str),
    /// The shard.
    pub shard: &'a Shard,
    /// Smallest and largest identity of its rows.
    pub range: (RecordId, RecordId),
    /// Rows.
    pub rows: u64,
}

impl FileOrigin<'_> {
    /// Keys and values for the footer.
    pub fn metadata(&self) -> Vec<(String, String)> {
        let position = |id: RecordId| format!("{}.{}", id.sequence, id.subsequence);
        [
            ("weir.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("weir.table", self.table.0.to_owned()),
            ("weir.schema_version", self.table.1.to_owned()),
            ("weir.stream", self.shard.stream.to_string()),
            ("weir.stream_key", self.shard.stream_key.to_string()),
            ("weir.shard", self.shard.shard.to_string()),
            ("weir.first", position(self.range.0)),
            ("weir.last", position(self.range.1)),
            ("weir.rows", self.rows.to_string()),
        ]
        .map(|(k, v)| (k.to_owned(), v))
        .into()
    }
}
