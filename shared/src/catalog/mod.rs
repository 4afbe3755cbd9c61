//! The catalog: which tables there are and which of their partitions readers may see.
//!
//! A catalog keeps what `weir tables apply` put there and hands it out parsed and checked. It never
//! looks at data files: commits say which rows exist, the catalog only where readers find them.

mod apply;
mod folder;
#[cfg(feature = "glue")]
pub mod glue;
mod partition;
mod view;
mod volume;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::{Error, Result};
use crate::schema::{TableInput, TableSchema};

pub use apply::{Change, TableChange, apply, plan_apply, read_definitions};
pub use folder::FolderCatalog;
pub use partition::{Partition, Switch};
pub use volume::{Feed, MAX_LIVE_FILES};

/// Parameter of a partition's entry: the revision that its location shows; absent while it is live.
pub const REVISION: &str = "weir.revision";

/// Where tables and partitions are declared: a folder of the lake, or Glue.
///
/// An implementation must give back what was put (members it does not know included), must take the
/// same partition twice without changing the first entry (its location may have been switched to
/// compacted files since), and must answer a bad moment with an error that is
/// [`retryable`](Error::retryable).
#[async_trait]
pub trait Catalog: Debug + Send + Sync {
    /// The catalog's address, for messages.
    fn address(&self) -> &str;

    /// Names of all tables, sorted.
    async fn tables(&self) -> Result<Vec<String>>;

    /// The definition of a table as it stands in the catalog, unchecked.
    async fn definition(&self, table: &str) -> Result<Option<TableInput>>;

    /// Creates a table or replaces its definition.
    async fn put_table(&self, table: TableInput) -> Result<()>;

    /// Declares live partitions: for each the values of the partition keys in order, as they stand
    /// in the key's column (not escaped). Those that are declared already stay as they are.
    async fn register_partitions(&self, table: &str, partitions: &[Vec<String>]) -> Result<()>;

    /// All partitions of a table, sorted by their values.
    async fn partitions(&self, table: &str) -> Result<Vec<Partition>>;

    /// One partition of a table, by its values.
    async fn partition(&self, table: &str, values: &[String]) -> Result<Option<Partition>>;

    /// Those of some partitions of a table that are declared, in any order.
    async fn partitions_of(&self, table: &str, asked: &[Vec<String>]) -> Result<Vec<Partition>>;

    /// Entries that one request of [`Self::partitions_of`] brings.
    fn entries_a_request(&self) -> usize {
        1
    }

    /// Point a partition at a closed revision, declaring it if need be; answers with the entry as it
    /// stands afterwards. Reads the whole entry, changes location and [`REVISION`] and nothing else,
    /// and reads back; an entry that already has this revision or a newer one is left as it is.
    async fn switch_partition(&self, table: &str, values: &[String], to: &Switch) -> Result<Partition>;

    /// The same by those whose revision has one directory only: an entry that shows this revision in
    /// another place is pointed at it too.
    async fn repair_partition(&self, table: &str, values: &[String], to: &Switch) -> Result<Partition>;

    /// A table, parsed and checked; one that lost its settings is an error.
    async fn table(&self, table: &str) -> Result<Arc<TableSchema>> {
        match self.definition(table).await? {
            Some(definition) => Ok(Arc::new(TableSchema::from_catalog(&definition)?)),
            None => Err(Error::NoSuchTable { table: table.to_owned(), catalog: self.address().to_owned() }),
        }
    }
}
