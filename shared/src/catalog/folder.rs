//! The catalog of a lake without Glue: JSON objects under the lake itself.
//!
//! | key below the lake | holds |
//! |---|---|
//! | `_weir/catalog/tables/<table>.json` | the completed `TableInput` |
//! | `_weir/catalog/partitions/<table>/<partition path>.json` | Glue's `PartitionInput` |
//!
//! A table's object is replaced by `weir tables apply`; a partition's is created once and afterwards
//! belongs to close, which switches its location.

use std::fmt::{self, Debug};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::partition::{Partition, SameRevision, Switch, hive_path};
use super::{Catalog, REVISION};
use crate::commit::failure::{failed, is_absent};
use crate::error::{Error, Result};
use crate::schema::TableInput;

/// Requests under way at once.
const CONCURRENCY: usize = 16;

/// A catalog in a folder of the lake.
pub struct FolderCatalog {
    store: Arc<dyn ObjectStore>,
    lake: Path,
    address: String,
}

impl FolderCatalog {
    /// The catalog of the lake whose root is `lake` in `store`; `address` is how messages name it.
    pub fn new(store: Arc<dyn ObjectStore>, lake: Path, address: impl Into<String>) -> Self {
        Self { store, lake, address: address.into() }
    }

    fn root(&self, kind: &str) -> Path {
        self.lake.clone().join("_weir").join("catalog").join(kind)
    }

    fn table_key(&self, table: &str) -> Path {
        self.root("tables").join(format!("{table}.json"))
    }

    fn partition_key(&self, table: &TableInput, values: &[String]) -> Result<Path> {
        let key = format!("{}/{}/{}.json", self.root("partitions"), table.name, hive_path(table, values)?);
        // Parsed, not built: the percent signs of Hive's escapes are part of the key.
        Path::parse(&key).map_err(|e| Error::Format { object: key, problem: e.to_string(), retryable: false })
    }

    async fn read<T: DeserializeOwned>(&self, key: &Path) -> Result<Option<T>> {
        let found = match self.store.get(key).await {
            Err(e) if is_absent(&e) => return Ok(None),
            found => found.map_err(|e| self.failed("get", key, e))?,
        };
        let bytes = found.bytes().await.map_err(|e| self.failed("get", key, e))?;
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Some).map_err(|e| Error::Format {
            object: key.to_string(),
            problem: e.to_string(),
            retryable: false,
        })
    }

    /// Those of some entries that are there.
    async fn read_all(&self, keys: &[Path]) -> Result<Vec<Partition>> {
        let reads: Vec<_> = keys.iter().map(|key| self.read::<Partition>(key)).collect();
        let found: Vec<Option<Partition>> =
            stream::iter(reads).buffer_unordered(CONCURRENCY).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn list(&self, below: &Path) -> Result<Vec<ObjectMeta>> {
        self.store.list(Some(below)).try_collect().await.map_err(|e| self.failed("list", below, e))
    }

    async fn create(&self, table: &TableInput, values: &[String]) -> Result<()> {
        let key = self.partition_key(table, values)?;
        let body = to_bytes(&Partition::live(table, values)?)?;
        match self.store.put_opts(&key, PutPayload::from(body), PutMode::Create.into()).await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(e) => Err(self.failed("put", &key, e)),
        }
    }

    async fn point(
        &self,
        table: &str,
        values: &[String],
        to: &Switch,
        same: SameRevision,
    ) -> Result<Partition> {
        let table = self.existing(table).await?;
        let key = self.partition_key(&table, values)?;
        let mut entry = match self.read::<Partition>(&key).await? {
            Some(entry) => entry,
            None => Partition::live(&table, values)?,
        };
        if same.stays(&entry, to) {
            return Ok(entry);
        }
        entry.storage_descriptor.location = to.location(&self.address);
        entry.parameters.insert(REVISION.into(), to.revision.to_string());
        let body = PutPayload::from(to_bytes(&entry)?);
        self.store.put(&key, body).await.map_err(|e| self.failed("put", &key, e))?;
        self.read::<Partition>(&key)
            .await?
            .ok_or_else(|| Error::Internal(format!("{key} was put and is gone")))
    }

    fn failed(&self, operation: &'static str, key: &Path, cause: object_store::Error) -> Error {
        failed(operation, key.as_ref(), &self.address, cause)
    }

    async fn existing(&self, table: &str) -> Result<TableInput> {
        self.definition(table)
            .await?
            .ok_or_else(|| Error::NoSuchTable { table: table.to_owned(), catalog: self.address.clone() })
    }
}

impl Debug for FolderCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FolderCatalog").field("address", &self.address).finish_non_exhaustive()
    }
}

#[async_trait]
impl Catalog for FolderCatalog {
    fn address(&self) -> &str {
        &self.address
    }

    async fn tables(&self) -> Result<Vec<String>> {
        let objects = self.list(&self.root("tables")).await?;
        let names = objects.iter().filter_map(|o| o.location.filename()?.strip_suffix(".json"));
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    async fn definition(&self, table: &str) -> Result<Option<TableInput>> {
        self.read(&self.table_key(table)).await
    }

    async fn put_table(&self, table: TableInput) -> Result<()> {
        let key = self.table_key(&table.name);
        let body = PutPayload::from(to_bytes(&table)?);
        self.store.put(&key, body).await.map(|_| ()).map_err(|e| self.failed("put", &key, e))
    }

    async fn register_partitions(&self, table: &str, partitions: &[Vec<String>]) -> Result<()> {
        if partitions.is_empty() {
            return Ok(());
        }
        let table = self.existing(table).await?;
        if table.partition_keys.is_empty() {
            return Ok(());
        }
        // Collected first: the borrow checker cannot see through a lazy map of futures.
        let puts: Vec<_> = partitions.iter().map(|values| self.create(&table, values)).collect();
        stream::iter(puts).buffer_unordered(CONCURRENCY).try_collect().await
    }

    async fn switch_partition(&self, table: &str, values: &[String], to: &Switch) -> Result<Partition> {
        self.point(table, values, to, SameRevision::Stays).await
    }

    async fn repair_partition(&self, table: &str, values: &[String], to: &Switch) -> Result<Partition> {
        self.point(table, values, to, SameRevision::OnlyInItsPlace).await
    }

    async fn partition(&self, table: &str, values: &[String]) -> Result<Option<Partition>> {
        let key = self.partition_key(&self.existing(table).await?, values)?;
        self.read(&key).await
    }

    async fn partitions_of(&self, table: &str, asked: &[Vec<String>]) -> Result<Vec<Partition>> {
        let table = self.existing(table).await?;
        let keys: Vec<_> =
            asked.iter().map(|values| self.partition_key(&table, values)).collect::<Result<_>>()?;
        self.read_all(&keys).await
    }

    async fn partitions(&self, table: &str) -> Result<Vec<Partition>> {
        self.existing(table).await?;
        let objects = self.list(&self.root("partitions").join(table)).await?;
        let keys: Vec<_> = objects.into_iter().map(|object| object.location).collect();
        let mut found = self.read_all(&keys).await?;
        found.sort_by(|a, b| a.values.cmp(&b.values));
        Ok(found)
    }
}

fn to_bytes<T: Serialize>(value: &T) -> Result<Bytes> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|e| Error::Internal(e.to_string()))?;
    text.push(b'\n');
    Ok(text.into())
}
