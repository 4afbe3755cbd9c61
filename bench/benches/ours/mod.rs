//! Weir's side of decode and write: its own definition of the table that `baseline` has as a schema,
//! without provenance columns, which the other side has not.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each bench uses a part")]

use std::ops::Range;

use serde_json::{Value, json};
use weir::columns::ColumnSet;
use weir::decode::{Decoder, Path};
use weir::schema::{Compression, TableSchema};
use weir::write::{Encoder, FileFormat, FileWriter};

/// A table of these columns (name, Hive type), without rules.
pub fn table<N: AsRef<str>, T: AsRef<str>>(columns: &[(N, T)]) -> TableSchema {
    let column = |(name, ty): &(N, T)| json!({"Name": name.as_ref(), "Type": ty.as_ref()});
    let columns: Vec<Value> = columns.iter().map(column).collect();
    let parameters = json!({"weir.provenance": "footer"});
    let table =
        json!({"Name": "t", "StorageDescriptor": {"Columns": columns}, "Parameters": parameters}).to_string();
    TableSchema::parse(&table).unwrap()
}

/// The clickstream table as it is deployed, its rules included.
pub fn clickstream() -> TableSchema {
    let mut table: Value = serde_json::from_str(include_str!("../../../schemas/clickstream.json")).unwrap();
    table["Parameters"]["weir.provenance"] = json!("footer");
    TableSchema::parse(&table.to_string()).unwrap()
}

/// Where the documents stand in the text, as unpacking leaves them.
pub fn documents(ndjson: &[u8]) -> Vec<Range<usize>> {
    let mut start = 0;
    let mut documents = Vec::new();
    for line in ndjson.split(|b| *b == b'\n') {
        if !line.is_empty() {
            documents.push(start..start + line.len());
        }
        start += line.len() + 1;
    }
    documents
}

/// Decodes again and again into the same buffers, as a warm function does.
pub struct Decoding {
    decoder: Decoder,
    pub set: ColumnSet,
}

impl Decoding {
    pub fn new(table: &TableSchema, path: Path) -> Self {
        let decoder = Decoder::new(table, path).unwrap();
        let set = ColumnSet::new(decoder.layout());
        Self { decoder, set }
    }

    /// Check the text to be UTF-8 and decode all documents in it.
    pub fn decode(&mut self, ndjson: &[u8], documents: &[Range<usize>]) -> usize {
        self.set.clear();
        let utf8 = std::str::from_utf8(ndjson).is_ok();
        for document in documents {
            self.decoder.decode(&ndjson[document.clone()], utf8, &mut self.set).unwrap();
            self.set.finish_row();
        }
        self.set.rows
    }

    pub fn format(&self) -> std::sync::Arc<FileFormat> {
        FileFormat::short_lived(self.decoder.layout(), Compression::Zstd).unwrap()
    }
}

/// Columns → one Parquet file, zstd with the level that Weir takes for each column, page index,
/// statistics and page checksums.
pub fn write(format: &std::sync::Arc<FileFormat>, encoder: &mut Encoder, columns: &ColumnSet) -> Vec<u8> {
    let mut writer = FileWriter::new(format);
    writer.write_row_group(columns, encoder).unwrap();
    writer.finish(&[]).unwrap()
}
