//! A table of changes with `weir.current` → the table that its current state stands in: the same
//! columns, one partition.

use std::collections::BTreeMap;

use serde_json::Map;

use super::apply::own;
use crate::naming::current::SNAPSHOT;
use crate::schema::{ColumnInput, StorageDescriptor, TableInput};

/// Settings that say how files are written or read; the others are about records and closing.
const KEPT: [&str; 4] = ["weir.bloom", "weir.compression", "weir.keys", "weir.unknown_fields"];

/// The definition of the view, if the table has one.
pub(super) fn view_of(table: &TableInput) -> Option<TableInput> {
    let name = table.parameters.get("weir.current")?.clone();
    let columns = own(&table.storage_descriptor.columns).into_iter().cloned().collect();
    let key = ColumnInput {
        name: SNAPSHOT.0.to_owned(),
        ty: "string".to_owned(),
        comment: Some(format!("Always {}", SNAPSHOT.1)),
        parameters: BTreeMap::new(),
        other: Map::new(),
    };
    let kept = table.parameters.iter().filter(|(name, _)| KEPT.contains(&name.as_str()));
    let mut parameters: BTreeMap<String, String> = kept.map(|(k, v)| (k.clone(), v.clone())).collect();
    parameters.insert("weir.current_of".to_owned(), table.name.clone());
    parameters.insert(format!("weir.partition.{}", SNAPSHOT.0), format!("identity({})", SNAPSHOT.0));
    Some(TableInput {
        name,
        description: Some(format!(
            "The latest row of each item of {}, as of its closed partitions",
            table.name
        )),
        storage_descriptor: StorageDescriptor {
            columns,
            location: None,
            input_format: None,
            output_format: None,
            serde_info: None,
            other: Map::new(),
        },
        partition_keys: vec![key],
        table_type: None,
        parameters,
        other: Map::new(),
    })
}
