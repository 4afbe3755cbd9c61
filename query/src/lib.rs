#![cfg_attr(test, allow(clippy::unwrap_used))]
//! SQL over exactly the files that the commits list. The only package that knows DataFusion; what
//! it offers are plain functions, so that its dependents compile fast.
//!
//! Partition keys prune files before any is opened, the statistics of the files prune row groups.
//! Sessions are UTC.

pub mod jobs;
mod json;
mod provider;

use std::sync::Arc;

use arrow_schema::SchemaRef;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes as arrow_schema;
use datafusion::prelude::{SessionConfig, SessionContext};
use object_store::ObjectStore;

pub use json::write_json_rows;
use provider::ExactFiles;

/// A file of a table.
#[derive(Debug, Clone)]
pub struct QueryFile {
    /// Where it is in the store.
    pub path: object_store::path::Path,
    /// Length.
    pub bytes: u64,
    /// Rows.
    pub rows: u64,
    /// Value of each partition key, in the order of the table's keys.
    pub partition: Vec<Option<String>>,
}

/// A table: its columns and its files.
#[derive(Debug, Clone)]
pub struct QueryTable {
    /// Name in SQL.
    pub name: String,
    /// Columns in the files.
    pub file_schema: SchemaRef,
    /// Partition keys with their types.
    pub partition_keys: Vec<(String, arrow_schema::DataType)>,
    /// All its files.
    pub files: Vec<QueryFile>,
}

/// What a query can fail with: its own text, ready for people.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct QueryError(String);

/// Rows of a result.
#[derive(Debug)]
pub struct QueryResult {
    /// Columns.
    pub schema: SchemaRef,
    /// Rows.
    pub batches: Vec<RecordBatch>,
    /// Files of the tables that were scanned, and how many of them the partition filters left.
    pub files: (usize, usize),
}

impl QueryResult {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// The rows as an aligned table for people.
    ///
    /// # Errors
    /// A value that cannot be shown.
    pub fn to_table(&self) -> Result<String, QueryError> {
        let shown = datafusion::arrow::util::pretty::pretty_format_batches_with_schema(
            self.schema.clone(),
            &self.batches,
        );
        Ok(shown.map_err(|e| QueryError(e.to_string()))?.to_string())
    }
}

/// Run one statement over `tables`, whose files lie in `store`.
///
/// # Errors
/// The statement cannot be planned or run; unknown tables are answered with the known ones.
pub async fn query(
    store: Arc<dyn ObjectStore>,
    tables: Vec<QueryTable>,
    sql: &str,
) -> Result<QueryResult, QueryError> {
    let mut config = SessionConfig::new().with_information_schema(true);
    let options = config.options_mut();
    options.execution.time_zone = Some("UTC".into());
    options.execution.parquet.schema_force_view_types = false;
    options.execution.parquet.pushdown_filters = true;
    let context = SessionContext::new_with_config(config);
    let url = provider::store_url();
    context.register_object_store(url.as_ref(), store);
    let counters = Arc::new(provider::Counters::default());
    let names: Vec<_> = tables.iter().map(|t| t.name.clone()).collect();
    for table in tables {
        let name = table.name.clone();
        let provider = Arc::new(ExactFiles::new(table, counters.clone()));
        context.register_table(name.as_str(), provider).map_err(|e| QueryError(e.to_string()))?;
    }
    let explain = |error: datafusion::error::DataFusionError| {
        let text = error.strip_backtrace();
        if text.contains("not found") && text.contains("table '") {
            let here = match names.is_empty() {
                true => {
                    "there is no table in this lake's catalog yet: `weir tables apply` makes them".to_owned()
                }
                false => format!("tables here: {}", names.join(", ")),
            };
            QueryError(format!("{text}; {here}"))
        } else {
            QueryError(text)
        }
    };
    let frame = context.sql(sql).await.map_err(explain)?;
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let batches = frame.collect().await.map_err(explain)?;
    Ok(QueryResult { schema, batches, files: counters.get() })
}
