//! Glue's JSON ↔ definitions and partitions as Weir has them, which are in its form already.
//!
//! What Glue's `TableInput` says survives the way there and back, but for views of several engines and
//! federated tables, which are no tables of Weir. What it cannot say is refused with the member's
//! name, as `aws glue create-table` does it: the service itself would leave it out and say nothing.
//! The members are those of the Glue API reference, "Tables" and "Partitions" (`TableInput`,
//! `StorageDescriptor`, `PartitionInput`).

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::catalog::partition::{Partition, PartitionStorage};
use crate::schema::{StorageDescriptor, TableInput};

/// A JSON object of Glue.
pub(super) type Members = Map<String, Value>;

/// What a member holds.
enum Kind {
    Text,
    Whole,
    Seconds,
    Flag,
    Texts,
    TextsByName,
    One(&'static Shape),
    Many(&'static Shape),
}

/// The members of an object.
struct Shape {
    name: &'static str,
    members: &'static [(&'static str, Kind)],
}

const TABLE: Shape = Shape {
    name: "TableInput",
    members: &[
        ("Name", Kind::Text),
        ("Description", Kind::Text),
        ("Owner", Kind::Text),
        ("LastAccessTime", Kind::Seconds),
        ("LastAnalyzedTime", Kind::Seconds),
        ("Retention", Kind::Whole),
        ("StorageDescriptor", Kind::One(&STORAGE)),
        ("PartitionKeys", Kind::Many(&COLUMN)),
        ("ViewOriginalText", Kind::Text),
        ("ViewExpandedText", Kind::Text),
        ("TableType", Kind::Text),
        ("Parameters", Kind::TextsByName),
        ("TargetTable", Kind::One(&TARGET)),
    ],
};
const TARGET: Shape = Shape {
    name: "TargetTable",
    members: &[
        ("CatalogId", Kind::Text),
        ("DatabaseName", Kind::Text),
        ("Name", Kind::Text),
        ("Region", Kind::Text),
    ],
};
const STORAGE: Shape = Shape {
    name: "StorageDescriptor",
    members: &[
        ("Columns", Kind::Many(&COLUMN)),
        ("Location", Kind::Text),
        ("AdditionalLocations", Kind::Texts),
        ("InputFormat", Kind::Text),
        ("OutputFormat", Kind::Text),
        ("Compressed", Kind::Flag),
        ("NumberOfBuckets", Kind::Whole),
        ("SerdeInfo", Kind::One(&SERDE_INFO)),
        ("BucketColumns", Kind::Texts),
        ("SortColumns", Kind::Many(&SORT_COLUMN)),
        ("Parameters", Kind::TextsByName),
        ("SkewedInfo", Kind::One(&SKEWED_INFO)),
        ("StoredAsSubDirectories", Kind::Flag),
        ("SchemaReference", Kind::One(&SCHEMA_REFERENCE)),
    ],
};
const COLUMN: Shape = Shape {
    name: "Column",
    members: &[
        ("Name", Kind::Text),
        ("Type", Kind::Text),
        ("Comment", Kind::Text),
        ("Parameters", Kind::TextsByName),
    ],
};
const SERDE_INFO: Shape = Shape {
    name: "SerdeInfo",
    members: &[("Name", Kind::Text), ("SerializationLibrary", Kind::Text), ("Parameters", Kind::TextsByName)],
};
const SORT_COLUMN: Shape =
    Shape { name: "SortColumns", members: &[("Column", Kind::Text), ("SortOrder", Kind::Whole)] };
const SKEWED_INFO: Shape = Shape {
    name: "SkewedInfo",
    members: &[
        ("SkewedColumnNames", Kind::Texts),
        ("SkewedColumnValues", Kind::Texts),
        ("SkewedColumnValueLocationMaps", Kind::TextsByName),
    ],
};
const SCHEMA_REFERENCE: Shape = Shape {
    name: "SchemaReference",
    members: &[
        ("SchemaId", Kind::One(&SCHEMA_ID)),
        ("SchemaVersionId", Kind::Text),
        ("SchemaVersionNumber", Kind::Whole),
    ],
};
const SCHEMA_ID: Shape = Shape {
    name: "SchemaId",
    members: &[("SchemaArn", Kind::Text), ("SchemaName", Kind::Text), ("RegistryName", Kind::Text)],
};
/// Members of a partition's entry that can be put again.
const OF_PARTITION: [&str; 5] =
    ["Values", "LastAccessTime", "StorageDescriptor", "Parameters", "LastAnalyzedTime"];

impl Shape {
    /// The object without its nulls.
    fn check(&self, object: &Members) -> Result<Members, String> {
        let mut checked = Members::new();
        for (name, value) in object {
            let Some((_, kind)) = self.members.iter().find(|(known, _)| known == name) else {
                return Err(format!("Glue's {} has no member `{name}`; remove it", self.name));
            };
            if !value.is_null() {
                let wrong = |what: &str| format!("{name} of {}: expected {what}", self.name);
                checked.insert(name.clone(), kind.check(value, &wrong)?);
            }
        }
        Ok(checked)
    }

    /// The members of an answer that can be put again, without its nulls.
    fn retain(&self, mut object: Members) -> Members {
        object.retain(|name, value| {
            let kind = self.members.iter().find(|(known, _)| known == name).map(|(_, kind)| kind);
            match (kind, value) {
                (None, _) | (_, Value::Null) => return false,
                (Some(Kind::One(shape)), Value::Object(inner)) => {
                    *inner = shape.retain(std::mem::take(inner))
                }
                (Some(Kind::Many(shape)), Value::Array(all)) => {
                    for inner in all.iter_mut().filter_map(Value::as_object_mut) {
                        *inner = shape.retain(std::mem::take(inner));
                    }
                }
                _ => {}
            }
            true
        });
        object
    }
}

impl Kind {
    fn check(&self, value: &Value, wrong: &dyn Fn(&str) -> String) -> Result<Value, String> {
        let object = |shape: &Shape, value: &Value| match value {
            Value::Object(members) => shape.check(members).map(Value::Object),
            _ => Err(wrong("an object")),
        };
        let (fits, what) = match (self, value) {
            (Kind::One(shape), _) => return object(shape, value),
            (Kind::Many(shape), Value::Array(all)) => {
                return all.iter().map(|value| object(shape, value)).collect();
            }
            (Kind::Many(_), _) => (false, "a list of objects"),
            (Kind::Text, _) => (value.is_string(), "a string"),
            (Kind::Whole, _) => {
                (value.as_i64().is_some_and(|whole| i32::try_from(whole).is_ok()), "a whole number")
            }
            (Kind::Seconds, _) => (value.is_number(), "seconds since 1970"),
            (Kind::Flag, _) => (value.is_boolean(), "true or false"),
            (Kind::Texts, _) => (is_texts(value), "a list of strings"),
            (Kind::TextsByName, _) => (is_texts_by_name(value), "strings by name"),
        };
        if fits { Ok(value.clone()) } else { Err(wrong(what)) }
    }
}

/// A table of an answer as the input that would make it.
pub(super) fn table_from(table: &Members) -> Result<TableInput, String> {
    let mut members = TABLE.retain(table.clone());
    let storage = members.entry("StorageDescriptor").or_insert_with(|| json!({}));
    // Views and links to other tables have no columns; crawlers leave empty strings.
    if let Some(storage) = storage.as_object_mut() {
        storage.entry("Columns").or_insert_with(|| json!([]));
        let said = |name: &str, value: &Value| {
            !matches!(name, "Location" | "InputFormat" | "OutputFormat") || value.as_str() != Some("")
        };
        storage.retain(|name, value| said(name, value));
    }
    let mut table = Value::Object(members);
    for columns in ["/StorageDescriptor/Columns", "/PartitionKeys"] {
        for column in table.pointer_mut(columns).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(column) = column.as_object_mut() {
                column.entry("Type").or_insert_with(|| json!(""));
            }
        }
    }
    serde_json::from_value(table).map_err(|e| e.to_string())
}

/// A definition as Glue takes it.
pub(super) fn table_to(table: &TableInput) -> Result<Value, String> {
    let mut members = checked(&TABLE, table)?;
    // Some readers of Glue expect the list also of a table without partitions.
    members.entry("PartitionKeys").or_insert_with(|| json!([]));
    Ok(Value::Object(members))
}

/// Columns, formats and location as Glue takes them.
pub(super) fn storage_to(storage: &StorageDescriptor) -> Result<Members, String> {
    checked(&STORAGE, storage)
}

fn checked(shape: &Shape, value: &impl serde::Serialize) -> Result<Members, String> {
    match serde_json::to_value(value).map_err(|e| e.to_string())? {
        Value::Object(members) => shape.check(&members),
        _ => Err(format!("{}: expected an object", shape.name)),
    }
}

/// A partition's entry as Glue has it: every member that `PartitionInput` has too, without its nulls.
///
/// One whose values, location or parameters cannot be read is none: what is taken for an entry that
/// says nothing would be written over.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Members")]
pub(super) struct Entry(Members);

impl TryFrom<Members> for Entry {
    type Error = String;

    fn try_from(mut members: Members) -> Result<Self, String> {
        members.retain(|name, value| OF_PARTITION.contains(&&**name) && !value.is_null());
        if !members.get("Values").is_some_and(is_texts) {
            return Err("a partition without values".to_owned());
        }
        if !members.get("Parameters").is_none_or(is_texts_by_name) {
            return Err("parameters of a partition that are no strings by name".to_owned());
        }
        match members.get_mut("StorageDescriptor") {
            None => {}
            Some(Value::Object(storage)) => {
                storage.retain(|_, value| !value.is_null());
                if !storage.get("Location").is_none_or(Value::is_string) {
                    return Err("a partition's location that is no string".to_owned());
                }
            }
            Some(_) => return Err("a partition's storage that is no object".to_owned()),
        }
        Ok(Self(members))
    }
}

impl Entry {
    /// The partition; whatever else the entry says is in `other`.
    pub(super) fn partition(&self) -> Partition {
        let mut other = self.0.clone();
        let mut object = |name: &str| match other.remove(name) {
            Some(Value::Object(members)) => members,
            _ => Members::new(),
        };
        let (mut storage, parameters) = (object("StorageDescriptor"), object("Parameters"));
        let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
        let location = storage.remove("Location").map(text).unwrap_or_default();
        let values = match other.remove("Values") {
            Some(Value::Array(values)) => values.into_iter().map(text).collect(),
            _ => Vec::new(),
        };
        Partition {
            values,
            storage_descriptor: PartitionStorage { location, other: storage },
            parameters: parameters.into_iter().map(|(name, value)| (name, text(value))).collect(),
            other,
        }
    }

    /// The entry as it stands, to be put again.
    pub(super) fn into_input(self) -> Members {
        self.0
    }
}

fn is_texts(value: &Value) -> bool {
    value.as_array().is_some_and(|all| all.iter().all(Value::is_string))
}

fn is_texts_by_name(value: &Value) -> bool {
    value.as_object().is_some_and(|all| all.values().all(Value::is_string))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A definition with every member that Glue takes.
    fn everything() -> Value {
        json!({
            "Name": "t", "Description": "d", "Owner": "o", "LastAccessTime": 1.5, "LastAnalyzedTime": 2.25,
            "Retention": 7,
            "StorageDescriptor": {
                "Columns": [{"Name": "a", "Type": "int", "Comment": "c", "Parameters": {"weir.min": "0"}},
                    {"Name": "b", "Type": "string"}],
                "Location": "s3://b/t/", "AdditionalLocations": ["s3://b/u/"], "InputFormat": "i", "OutputFormat": "o",
                "Compressed": true, "NumberOfBuckets": -1,
                "SerdeInfo": {"Name": "n", "SerializationLibrary": "l", "Parameters": {"p": "q"}},
                "BucketColumns": ["a"], "SortColumns": [{"Column": "a", "SortOrder": 1}],
                "Parameters": {"x": "y"},
                "SkewedInfo": {"SkewedColumnNames": ["a"], "SkewedColumnValues": ["1"],
                    "SkewedColumnValueLocationMaps": {"1": "s3://b/1"}},
                "StoredAsSubDirectories": true,
                "SchemaReference": {"SchemaId": {"SchemaArn": "arn", "SchemaName": "s", "RegistryName": "r"},
                    "SchemaVersionId": "v", "SchemaVersionNumber": 3}
            },
            "PartitionKeys": [{"Name": "dt", "Type": "string"}],
            "ViewOriginalText": "vo", "ViewExpandedText": "ve", "TableType": "EXTERNAL_TABLE",
            "Parameters": {"k": "v"},
            "TargetTable": {"CatalogId": "1", "DatabaseName": "db", "Name": "t2", "Region": "r"}
        })
    }

    fn members(value: &Value) -> Members {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn every_member_of_a_definition_survives_the_way_there_and_back() {
        let definition = TableInput::from_json(&everything().to_string()).unwrap();
        let sent = table_to(&definition).unwrap();
        assert_eq!(sent, everything());
        // What an answer says besides cannot be put.
        let mut answer = members(&sent);
        answer.extend(members(&json!({"DatabaseName": "db", "VersionId": "3", "CreateTime": 1.7e9,
            "IsRegisteredWithLakeFormation": false, "Status": null})));
        assert_eq!(table_from(&answer).unwrap(), definition);
    }

    #[test]
    fn a_table_without_columns_or_types_is_read_all_the_same() {
        let link = members(&json!({"Name": "t", "TargetTable": {"Name": "u"}, "StorageDescriptor": null}));
        let read = table_from(&link).unwrap();
        assert!(read.storage_descriptor.columns.is_empty() && read.storage_descriptor.location.is_none());
        let sparse = members(&json!({"Name": "t", "PartitionKeys": [{"Name": "dt", "Type": null}],
            "StorageDescriptor": {"Columns": [{"Name": "a", "Nonsense": 1}], "Location": "", "InputFormat": ""}}));
        let read = table_from(&sparse).unwrap();
        assert_eq!(
            (read.storage_descriptor.columns[0].ty.as_str(), read.partition_keys[0].ty.as_str()),
            ("", "")
        );
        assert!(read.storage_descriptor.columns[0].other.is_empty());
        assert_eq!((read.storage_descriptor.location, read.storage_descriptor.input_format), (None, None));
    }

    #[test]
    fn a_member_that_glue_does_not_know_is_refused_by_name() {
        for (place, expected) in [
            ("/Nonsense", "Glue's TableInput has no member `Nonsense`"),
            ("/StorageDescriptor/Nonsense", "Glue's StorageDescriptor has no member `Nonsense`"),
            ("/StorageDescriptor/Columns/0/Nonsense", "Glue's Column has no member `Nonsense`"),
            ("/StorageDescriptor/SerdeInfo/Nonsense", "Glue's SerdeInfo has no member `Nonsense`"),
            ("/StorageDescriptor/SkewedInfo/Nonsense", "Glue's SkewedInfo has no member `Nonsense`"),
            ("/StorageDescriptor/SchemaReference/Nonsense", "Glue's SchemaReference has no member"),
            ("/TargetTable/Nonsense", "Glue's TargetTable has no member `Nonsense`"),
        ] {
            let mut definition = everything();
            let (parent, name) = place.rsplit_once('/').unwrap();
            definition.pointer_mut(parent).unwrap()[name] = json!(1);
            let definition = TableInput::from_json(&definition.to_string()).unwrap();
            let error = table_to(&definition).unwrap_err();
            assert!(error.starts_with(expected), "{place}: {error}");
        }
        for (place, expected) in [
            ("/Retention", "Retention of TableInput: expected a whole number"),
            ("/LastAccessTime", "LastAccessTime of TableInput: expected seconds since 1970"),
            ("/Owner", "Owner of TableInput: expected a string"),
            ("/TargetTable", "TargetTable of TableInput: expected an object"),
            ("/StorageDescriptor/Compressed", "Compressed of StorageDescriptor: expected true or false"),
            (
                "/StorageDescriptor/SortColumns",
                "SortColumns of StorageDescriptor: expected a list of objects",
            ),
            (
                "/StorageDescriptor/BucketColumns",
                "BucketColumns of StorageDescriptor: expected a list of strings",
            ),
            ("/StorageDescriptor/SerdeInfo/Parameters", "Parameters of SerdeInfo: expected strings by name"),
        ] {
            let mut wrong = everything();
            *wrong.pointer_mut(place).unwrap() = if place == "/Owner" { json!(1) } else { json!("long") };
            let error = table_to(&TableInput::from_json(&wrong.to_string()).unwrap()).unwrap_err();
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn a_partition_keeps_what_others_wrote() {
        let answer = json!({
            "Values": ["2026-11-20"], "DatabaseName": "db", "TableName": "t", "CreationTime": 1.7e9,
            "LastAccessTime": 5.0, "LastAnalyzedTime": null,
            "StorageDescriptor": everything()["StorageDescriptor"], "Parameters": {"foreign": "kept"}});
        let entry: Entry = serde_json::from_value(answer).unwrap();
        let read = entry.partition();
        assert_eq!(
            (read.storage_descriptor.location.as_str(), &read.values[..]),
            ("s3://b/t/", &["2026-11-20".to_owned()][..])
        );
        assert_eq!(read.parameters.get("foreign").map(String::as_str), Some("kept"));
        assert_eq!(read.storage_descriptor.other["SerdeInfo"]["Name"], "n");
        assert_eq!(read.other, members(&json!({"LastAccessTime": 5.0})));
        assert_eq!(
            Value::Object(entry.into_input()),
            json!({"Values": ["2026-11-20"], "LastAccessTime": 5.0,
                "StorageDescriptor": everything()["StorageDescriptor"], "Parameters": {"foreign": "kept"}})
        );
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_none_that_says_nothing() {
        let read = |entry: Value| serde_json::from_value::<Entry>(entry);
        assert_eq!(read(json!({"Values": ["d"], "Parameters": null})).unwrap().partition().revision(), 0);
        for wrong in [
            json!({"Parameters": {}}),
            json!({"Values": ["d", null]}),
            json!({"Values": ["d"], "Parameters": {"weir.revision": "5", "x": null}}),
            json!({"Values": ["d"], "Parameters": []}),
            json!({"Values": ["d"], "StorageDescriptor": "s3://b"}),
            json!({"Values": ["d"], "StorageDescriptor": {"Location": 1}}),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
