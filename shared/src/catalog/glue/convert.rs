//! The SDK's types ↔ definitions and partitions as Weir has them, in the form of Glue's JSON.
//!
//! Everything that Glue's `TableInput` can say survives the way there and back; what it cannot say
//! is refused with the member's name, as `aws glue create-table` does it.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_glue::types as glue;
use aws_smithy_types::DateTime;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::catalog::partition::{Partition, PartitionStorage};
use crate::schema::{ColumnInput, StorageDescriptor, TableInput};

type Members = Map<String, Value>;

/// A table of the catalog as the input that would make it.
pub(super) fn table_from(table: &glue::Table) -> TableInput {
    let mut other = Map::new();
    put(&mut other, "Owner", table.owner.as_deref());
    put(&mut other, "LastAccessTime", table.last_access_time.as_ref().map(seconds));
    put(&mut other, "LastAnalyzedTime", table.last_analyzed_time.as_ref().map(seconds));
    put(&mut other, "Retention", Some(table.retention));
    put(&mut other, "ViewOriginalText", table.view_original_text.as_deref());
    put(&mut other, "ViewExpandedText", table.view_expanded_text.as_deref());
    if let Some(target) = &table.target_table {
        let mut members = Map::new();
        put(&mut members, "CatalogId", target.catalog_id.as_deref());
        put(&mut members, "DatabaseName", target.database_name.as_deref());
        put(&mut members, "Name", target.name.as_deref());
        put(&mut members, "Region", target.region.as_deref());
        put(&mut other, "TargetTable", Some(members));
    }
    TableInput {
        name: table.name.clone(),
        description: table.description.clone(),
        storage_descriptor: table.storage_descriptor.as_ref().map(storage_from).unwrap_or_else(empty_storage),
        partition_keys: columns_from(table.partition_keys()),
        table_type: table.table_type.clone(),
        parameters: sorted(table.parameters.as_ref()),
        other,
    }
}

/// A definition as the SDK takes it.
pub(super) fn table_to(table: &TableInput) -> Result<glue::TableInput, String> {
    let mut other = Rest::of("TableInput", &table.other);
    let target = other.take::<Members>("TargetTable")?.map(|members| {
        let mut members = Rest::of("TargetTable", &members);
        let target = glue::TableIdentifier::builder()
            .set_catalog_id(members.take("CatalogId")?)
            .set_database_name(members.take("DatabaseName")?)
            .set_name(members.take("Name")?)
            .set_region(members.take("Region")?)
            .build();
        members.end().map(|()| target)
    });
    let input = glue::TableInput::builder()
        .name(&table.name)
        .set_description(table.description.clone())
        .set_owner(other.take("Owner")?)
        .set_last_access_time(other.take("LastAccessTime")?.map(DateTime::from_secs_f64))
        .set_last_analyzed_time(other.take("LastAnalyzedTime")?.map(DateTime::from_secs_f64))
        .set_retention(other.take("Retention")?)
        .storage_descriptor(storage_to(&table.storage_descriptor)?)
        .set_partition_keys(Some(columns_to(&table.partition_keys)?))
        .set_view_original_text(other.take("ViewOriginalText")?)
        .set_view_expanded_text(other.take("ViewExpandedText")?)
        .set_table_type(table.table_type.clone())
        .set_parameters(Some(table.parameters.clone().into_iter().collect()))
        .set_target_table(target.transpose()?);
    other.end()?;
    input.build().map_err(|e| e.to_string())
}

/// A partition of the catalog; whatever else it says is in `other`.
pub(super) fn partition_from(partition: &glue::Partition) -> Partition {
    let storage = partition.storage_descriptor.as_ref().map(storage_from).unwrap_or_else(empty_storage);
    let location = storage.location.clone().unwrap_or_default();
    let mut members = match serde_json::to_value(&storage) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    };
    members.remove("Location");
    let mut other = Map::new();
    put(&mut other, "LastAccessTime", partition.last_access_time.as_ref().map(seconds));
    put(&mut other, "LastAnalyzedTime", partition.last_analyzed_time.as_ref().map(seconds));
    Partition {
        values: partition.values().to_vec(),
        storage_descriptor: PartitionStorage { location, other: members },
        parameters: sorted(partition.parameters.as_ref()),
        other,
    }
}

/// The entry as it stands, to be put again: every member that `PartitionInput` has.
pub(super) fn partition_input(partition: &glue::Partition) -> glue::PartitionInput {
    glue::PartitionInput::builder()
        .set_values(partition.values.clone())
        .set_last_access_time(partition.last_access_time)
        .set_storage_descriptor(partition.storage_descriptor.clone())
        .set_parameters(partition.parameters.clone())
        .set_last_analyzed_time(partition.last_analyzed_time)
        .build()
}

/// Columns, formats and location.
pub(super) fn storage_to(storage: &StorageDescriptor) -> Result<glue::StorageDescriptor, String> {
    let mut other = Rest::of("StorageDescriptor", &storage.other);
    let serde_info = storage.serde_info.clone().map(|info| {
        let info: Members = serde_json::from_value(info).map_err(|e| format!("SerdeInfo: {e}"))?;
        let mut info = Rest::of("SerdeInfo", &info);
        let built = glue::SerDeInfo::builder()
            .set_name(info.take("Name")?)
            .set_serialization_library(info.take("SerializationLibrary")?)
            .set_parameters(info.take::<HashMap<String, String>>("Parameters")?)
            .build();
        info.end().map(|()| built)
    });
    let sort = other.take::<Vec<Members>>("SortColumns")?.map(|columns| {
        let read = |members: &Members| {
            let mut members = Rest::of("SortColumns", members);
            let order = glue::Order::builder()
                .set_column(members.take("Column")?)
                .set_sort_order(members.take("SortOrder")?);
            members.end()?;
            order.build().map_err(|e| e.to_string())
        };
        columns.iter().map(read).collect::<Result<Vec<_>, String>>()
    });
    let skewed = other.take::<Members>("SkewedInfo")?.map(|members| {
        let mut members = Rest::of("SkewedInfo", &members);
        let skewed = glue::SkewedInfo::builder()
            .set_skewed_column_names(members.take("SkewedColumnNames")?)
            .set_skewed_column_values(members.take("SkewedColumnValues")?)
            .set_skewed_column_value_location_maps(members.take("SkewedColumnValueLocationMaps")?)
            .build();
        members.end().map(|()| skewed)
    });
    let reference = other.take::<Members>("SchemaReference")?.map(|members| schema_reference_to(&members));
    let built = glue::StorageDescriptor::builder()
        .set_columns(Some(columns_to(&storage.columns)?))
        .set_location(storage.location.clone())
        .set_additional_locations(other.take("AdditionalLocations")?)
        .set_input_format(storage.input_format.clone())
        .set_output_format(storage.output_format.clone())
        .set_compressed(other.take("Compressed")?)
        .set_number_of_buckets(other.take("NumberOfBuckets")?)
        .set_serde_info(serde_info.transpose()?)
        .set_bucket_columns(other.take("BucketColumns")?)
        .set_sort_columns(sort.transpose()?)
        .set_parameters(other.take::<HashMap<String, String>>("Parameters")?)
        .set_skewed_info(skewed.transpose()?)
        .set_stored_as_sub_directories(other.take("StoredAsSubDirectories")?)
        .set_schema_reference(reference.transpose()?)
        .build();
    other.end().map(|()| built)
}

fn storage_from(storage: &glue::StorageDescriptor) -> StorageDescriptor {
    let mut other = Map::new();
    put(&mut other, "AdditionalLocations", storage.additional_locations.as_ref());
    put(&mut other, "Compressed", Some(storage.compressed));
    put(&mut other, "NumberOfBuckets", Some(storage.number_of_buckets));
    put(&mut other, "BucketColumns", storage.bucket_columns.as_ref());
    let order = |o: &glue::Order| json!({"Column": o.column, "SortOrder": o.sort_order});
    let sort = storage.sort_columns.as_ref().map(|columns| columns.iter().map(order).collect::<Vec<_>>());
    put(&mut other, "SortColumns", sort);
    put(&mut other, "Parameters", storage.parameters.as_ref().map(|p| sorted(Some(p))));
    if let Some(skewed) = &storage.skewed_info {
        let mut members = Map::new();
        put(&mut members, "SkewedColumnNames", skewed.skewed_column_names.as_ref());
        put(&mut members, "SkewedColumnValues", skewed.skewed_column_values.as_ref());
        let maps = skewed.skewed_column_value_location_maps.as_ref().map(|m| sorted(Some(m)));
        put(&mut members, "SkewedColumnValueLocationMaps", maps);
        put(&mut other, "SkewedInfo", Some(members));
    }
    put(&mut other, "StoredAsSubDirectories", Some(storage.stored_as_sub_directories));
    put(&mut other, "SchemaReference", storage.schema_reference.as_ref().map(schema_reference_from));
    let serde_info = storage.serde_info.as_ref().map(|info| {
        let mut members = Map::new();
        put(&mut members, "Name", info.name.as_deref());
        put(&mut members, "SerializationLibrary", info.serialization_library.as_deref());
        put(&mut members, "Parameters", info.parameters.as_ref().map(|p| sorted(Some(p))));
        Value::Object(members)
    });
    StorageDescriptor {
        columns: columns_from(storage.columns()),
        location: storage.location.clone().filter(|location| !location.is_empty()),
        input_format: storage.input_format.clone().filter(|format| !format.is_empty()),
        output_format: storage.output_format.clone().filter(|format| !format.is_empty()),
        serde_info,
        other,
    }
}

fn schema_reference_to(members: &Members) -> Result<glue::SchemaReference, String> {
    let mut members = Rest::of("SchemaReference", members);
    let id = members.take::<Members>("SchemaId")?.map(|id| {
        let mut id = Rest::of("SchemaId", &id);
        let built = glue::SchemaId::builder()
            .set_schema_arn(id.take("SchemaArn")?)
            .set_schema_name(id.take("SchemaName")?)
            .set_registry_name(id.take("RegistryName")?)
            .build();
        id.end().map(|()| built)
    });
    let reference = glue::SchemaReference::builder()
        .set_schema_id(id.transpose()?)
        .set_schema_version_id(members.take("SchemaVersionId")?)
        .set_schema_version_number(members.take("SchemaVersionNumber")?)
        .build();
    members.end().map(|()| reference)
}

fn schema_reference_from(reference: &glue::SchemaReference) -> Members {
    let mut members = Map::new();
    if let Some(id) = &reference.schema_id {
        let mut ids = Map::new();
        put(&mut ids, "SchemaArn", id.schema_arn.as_deref());
        put(&mut ids, "SchemaName", id.schema_name.as_deref());
        put(&mut ids, "RegistryName", id.registry_name.as_deref());
        put(&mut members, "SchemaId", Some(ids));
    }
    put(&mut members, "SchemaVersionId", reference.schema_version_id.as_deref());
    put(&mut members, "SchemaVersionNumber", reference.schema_version_number);
    members
}

fn columns_from(columns: &[glue::Column]) -> Vec<ColumnInput> {
    let read = |column: &glue::Column| ColumnInput {
        name: column.name.clone(),
        ty: column.r#type.clone().unwrap_or_default(),
        comment: column.comment.clone(),
        parameters: sorted(column.parameters.as_ref()),
        other: Map::new(),
    };
    columns.iter().map(read).collect()
}

fn columns_to(columns: &[ColumnInput]) -> Result<Vec<glue::Column>, String> {
    let read = |column: &ColumnInput| {
        Rest::of("Column", &column.other).end()?;
        let parameters = (!column.parameters.is_empty())
            .then(|| column.parameters.clone().into_iter().collect::<HashMap<_, _>>());
        glue::Column::builder()
            .name(&column.name)
            .r#type(&column.ty)
            .set_comment(column.comment.clone())
            .set_parameters(parameters)
            .build()
            .map_err(|e| e.to_string())
    };
    columns.iter().map(read).collect()
}

fn empty_storage() -> StorageDescriptor {
    StorageDescriptor {
        columns: Vec::new(),
        location: None,
        input_format: None,
        output_format: None,
        serde_info: None,
        other: Map::new(),
    }
}

fn put(members: &mut Members, name: &str, value: Option<impl serde::Serialize>) {
    if let Some(Ok(value)) = value.map(serde_json::to_value) {
        members.insert(name.to_owned(), value);
    }
}

fn seconds(time: &DateTime) -> f64 {
    time.as_secs_f64()
}

fn sorted(parameters: Option<&HashMap<String, String>>) -> BTreeMap<String, String> {
    parameters.into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// Members of a JSON object that are taken one by one; none may be left.
struct Rest {
    of: &'static str,
    members: Members,
}

impl Rest {
    fn of(of: &'static str, members: &Members) -> Self {
        Self { of, members: members.clone() }
    }

    fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, String> {
        let value = self.members.remove(name).filter(|value| !value.is_null());
        let read = value.map(serde_json::from_value).transpose();
        read.map_err(|e| format!("{} of {}: {e}", name, self.of))
    }

    fn end(self) -> Result<(), String> {
        match self.members.keys().next() {
            Some(name) => Err(format!("Glue's {} has no member `{name}`; remove it", self.of)),
            None => Ok(()),
        }
    }
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

    fn as_table(input: &glue::TableInput) -> glue::Table {
        glue::Table::builder()
            .name(&input.name)
            .set_description(input.description.clone())
            .set_owner(input.owner.clone())
            .set_last_access_time(input.last_access_time)
            .set_last_analyzed_time(input.last_analyzed_time)
            .retention(input.retention)
            .set_storage_descriptor(input.storage_descriptor.clone())
            .set_partition_keys(input.partition_keys.clone())
            .set_view_original_text(input.view_original_text.clone())
            .set_view_expanded_text(input.view_expanded_text.clone())
            .set_table_type(input.table_type.clone())
            .set_parameters(input.parameters.clone())
            .set_target_table(input.target_table.clone())
            .build()
            .unwrap()
    }

    #[test]
    fn every_member_of_a_definition_survives_the_way_there_and_back() {
        let definition = TableInput::from_json(&everything().to_string()).unwrap();
        let back = table_from(&as_table(&table_to(&definition).unwrap()));
        assert_eq!(back, definition);
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
        let mut wrong = everything();
        wrong["Retention"] = json!("long");
        let error = table_to(&TableInput::from_json(&wrong.to_string()).unwrap()).unwrap_err();
        assert!(error.starts_with("Retention of TableInput: "), "{error}");
    }

    #[test]
    fn a_partition_keeps_what_others_wrote() {
        let definition = TableInput::from_json(&everything().to_string()).unwrap();
        let storage = storage_to(&definition.storage_descriptor).unwrap();
        let partition = glue::Partition::builder()
            .values("2026-11-20")
            .storage_descriptor(storage)
            .parameters("foreign", "kept")
            .last_access_time(DateTime::from_secs(5))
            .build();
        let read = partition_from(&partition);
        assert_eq!(
            (read.storage_descriptor.location.as_str(), &read.values[..]),
            ("s3://b/t/", &["2026-11-20".to_owned()][..])
        );
        assert_eq!(read.parameters.get("foreign").map(String::as_str), Some("kept"));
        assert_eq!(read.storage_descriptor.other["SerdeInfo"]["Name"], "n");
        assert_eq!(read.other["LastAccessTime"], 5.0);
        let input = partition_input(&partition);
        assert_eq!(input.parameters, partition.parameters);
        assert_eq!(input.storage_descriptor, partition.storage_descriptor);
        assert_eq!(input.last_access_time, partition.last_access_time);
    }
}
