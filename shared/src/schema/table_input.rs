//! Glue's `TableInput`, as `aws glue create-table --table-input file://…` takes it. Members that
//! Weir does not know are kept as they are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::types::{HiveType, Provenance, TableSchema, UnknownFields};
use super::{PROVENANCE_COLUMNS, RESCUED_COLUMNS, parameters};
use crate::error::{Error, Result};

/// Hive's Parquet reader.
pub(super) const INPUT_FORMAT: &str = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat";
const OUTPUT_FORMAT: &str = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat";
const SERDE: &str = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe";

/// Storage parameter of a table that Weir applied. It stands apart from the table's parameters, so
/// that a table that lost those can be told from one that never had any.
pub(super) const APPLIED: &str = "weir.applied";

/// A table definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TableInput {
    /// Table name.
    pub name: String,
    /// What the table is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Columns, location and file format.
    pub storage_descriptor: StorageDescriptor,
    /// Partition keys in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition_keys: Vec<ColumnInput>,
    /// `EXTERNAL_TABLE` once completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_type: Option<String>,
    /// `weir.*` settings and others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Glue's `StorageDescriptor`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StorageDescriptor {
    /// Columns in order, partition keys not among them.
    pub columns: Vec<ColumnInput>,
    /// Where the files are; completed when the definition is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Hadoop class that reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_format: Option<String>,
    /// Hadoop class that writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_format: Option<String>,
    /// Hive's row format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serde_info: Option<Value>,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Glue's `Column`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ColumnInput {
    /// Name.
    pub name: String,
    /// Hive type.
    #[serde(rename = "Type")]
    pub ty: String,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// `weir.*` rules and others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl ColumnInput {
    fn declared(name: &str, ty: &HiveType) -> Self {
        Self {
            name: name.to_owned(),
            ty: ty.to_string(),
            comment: None,
            parameters: BTreeMap::new(),
            other: Map::new(),
        }
    }
}

impl TableInput {
    /// Reads the JSON text of a definition.
    pub fn from_json(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|e| {
            let name = serde_json::from_str::<Value>(text).ok();
            let name = name.as_ref().and_then(|v| v.get("Name")).and_then(Value::as_str);
            Error::Schema {
                table: name.unwrap_or("(unnamed)").to_owned(),
                problem: format!("not a Glue TableInput: {e}; example: \
                     {{\"Name\": \"t\", \"StorageDescriptor\": {{\"Columns\": [{{\"Name\": \"c\", \"Type\": \"string\"}}]}}}}"),
            }
        })
    }

    /// JSON text, indented, with a newline at its end.
    pub fn to_json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::Internal(e.to_string()))?;
        Ok(text + "\n")
    }

    /// The definition as it stands in a catalog: with the columns that Weir adds, Parquet's SerDe,
    /// `classification` and `weir.schema_hash`. Completing twice changes nothing.
    pub fn complete(&self) -> Result<TableInput> {
        let schema = TableSchema::from_input(self)?;
        let mut done = self.clone();
        let columns = &mut done.storage_descriptor.columns;
        columns.truncate(schema.in_file.iter().filter(|in_file| **in_file).count());
        columns.extend(
            added_columns(schema.unknown_fields, schema.provenance)
                .map(|(name, ty)| ColumnInput::declared(name, ty)),
        );
        for column in columns.iter_mut().chain(&mut done.partition_keys) {
            // Athena takes types only as Hive prints them.
            let ty: HiveType = column.ty.parse().map_err(|e| Error::Internal(format!("{e}")))?;
            column.ty = ty.to_string();
        }
        done.storage_descriptor = done.complete_storage();
        let marks = done.storage_descriptor.other.entry("Parameters").or_insert_with(|| json!({}));
        if let Some(marks) = marks.as_object_mut() {
            marks.insert(APPLIED.to_owned(), json!("true"));
        }
        done.table_type = Some("EXTERNAL_TABLE".to_owned());
        for (name, value) in
            [("EXTERNAL", "TRUE"), ("classification", "parquet"), (parameters::SCHEMA_HASH, &schema.version)]
        {
            done.parameters.insert(name.to_owned(), value.to_owned());
        }
        Ok(done)
    }

    /// The storage with Parquet's formats and SerDe, where it says none.
    pub fn complete_storage(&self) -> StorageDescriptor {
        let mut storage = self.storage_descriptor.clone();
        storage.input_format = Some(INPUT_FORMAT.to_owned());
        storage.output_format = Some(OUTPUT_FORMAT.to_owned());
        storage.serde_info.get_or_insert_with(
            || json!({"SerializationLibrary": SERDE, "Parameters": {"serialization.format": "1"}}),
        );
        storage
    }
}

/// The columns that Weir adds behind the table's own, in the order of the file.
pub(super) fn added_columns(
    unknown_fields: UnknownFields,
    provenance: Provenance,
) -> impl Iterator<Item = (&'static str, &'static HiveType)> {
    const RESCUED: &[(&str, HiveType)] = &RESCUED_COLUMNS;
    const PROVENANCE: &[(&str, HiveType)] = &PROVENANCE_COLUMNS;
    let rescued = if unknown_fields == UnknownFields::Rescue { RESCUED } else { &[] };
    let provenance = if provenance == Provenance::Columns { PROVENANCE } else { &[] };
    rescued.iter().chain(provenance).map(|(name, ty)| (*name, ty))
}
