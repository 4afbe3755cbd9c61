//! A partition's entry in the catalog, in the form of Glue's `PartitionInput`.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::partition::PartitionPath;
use crate::schema::TableInput;

/// A declared partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Partition {
    /// Values of the partition keys, in order.
    pub values: Vec<String>,
    /// Where the files are.
    pub storage_descriptor: PartitionStorage,
    /// Free for those who close partitions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The part of Glue's `StorageDescriptor` that differs between partitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PartitionStorage {
    /// Folder of the partition's files, with a slash at its end.
    pub location: String,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Where a closed partition's rows are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// Folder of the revision's files below the lake, without a slash at its end
    /// (`clicks/closed/dt=2026-11-20/r0002-1f3a`).
    pub directory: String,
    /// The revision, from 1.
    pub revision: u32,
}

/// What becomes of an entry that shows the wanted revision already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SameRevision {
    Stays,
    OnlyInItsPlace,
}

impl SameRevision {
    /// Whether a switch leaves the entry as it is.
    pub(super) fn stays(self, entry: &Partition, to: &Switch) -> bool {
        let here = entry.storage_descriptor.location.trim_end_matches('/');
        let in_place = || here.ends_with(&format!("/{}", to.directory));
        match entry.revision().cmp(&to.revision) {
            Ordering::Less => false,
            Ordering::Equal => self == SameRevision::Stays || in_place(),
            Ordering::Greater => true,
        }
    }
}

impl Switch {
    /// The location that readers are given, with a slash at its end.
    pub(super) fn location(&self, lake: &str) -> String {
        format!("{}/{}/", lake.trim_end_matches('/'), self.directory)
    }
}

impl Partition {
    /// The revision that the location shows; 0 while it is live.
    pub fn revision(&self) -> u32 {
        self.parameters.get(super::REVISION).and_then(|r| r.parse().ok()).unwrap_or(0)
    }

    /// A live partition of `table`: its files are in `<table's location>/live/<partition>/`.
    pub(super) fn live(table: &TableInput, values: &[String]) -> Result<Self> {
        let path = hive_path(table, values)?;
        let location = table.storage_descriptor.location.as_deref().unwrap_or_default().trim_end_matches('/');
        Ok(Self {
            values: values.to_vec(),
            storage_descriptor: PartitionStorage {
                location: format!("{location}/live/{path}/"),
                other: Map::new(),
            },
            parameters: BTreeMap::new(),
            other: Map::new(),
        })
    }
}

/// `dt=2026-11-20/hour=2026-11-20-05`, escaped as Hive does it.
pub(super) fn hive_path(table: &TableInput, values: &[String]) -> Result<String> {
    let keys = &table.partition_keys;
    if keys.len() != values.len() {
        let problem =
            format!("a partition has {} values ({values:?}), the table {} keys", values.len(), keys.len());
        return Err(Error::Schema { table: table.name.clone(), problem });
    }
    let pairs = keys.iter().zip(values).map(|(key, value)| (key.name.as_str(), Some(value.as_str())));
    Ok(PartitionPath::from_values(pairs).as_str().to_owned())
}
