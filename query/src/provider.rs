//! A table that is a list of files.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result, ScalarValue, project_schema};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use object_store::ObjectMeta;

use super::{QueryFile, QueryTable};

/// Files of scanned tables, and files left by their partition filters.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    total: AtomicUsize,
    left: AtomicUsize,
}

impl Counters {
    pub(crate) fn get(&self) -> (usize, usize) {
        (self.total.load(Ordering::Relaxed), self.left.load(Ordering::Relaxed))
    }
}

pub(crate) fn store_url() -> ObjectStoreUrl {
    ObjectStoreUrl::parse("weir://lake").unwrap_or_else(|_| ObjectStoreUrl::local_filesystem())
}

#[derive(Debug)]
pub(crate) struct ExactFiles {
    table: QueryTable,
    schema: TableSchema,
    keys: Vec<FieldRef>,
    counters: Arc<Counters>,
}

impl ExactFiles {
    pub(crate) fn new(table: QueryTable, counters: Arc<Counters>) -> Self {
        let key = |(name, ty): &(String, _)| Arc::new(Field::new(name, Clone::clone(ty), true));
        let keys: Vec<FieldRef> = table.partition_keys.iter().map(key).collect();
        let schema =
            TableSchema::builder(table.file_schema.clone()).with_table_partition_cols(keys.clone()).build();
        Self { table, schema, keys, counters }
    }

    fn values(&self, file: &QueryFile) -> Result<Vec<ScalarValue>> {
        let value = |(key, value): (&FieldRef, &Option<String>)| match value {
            Some(text) => ScalarValue::try_from_string(text.clone(), key.data_type()),
            None => ScalarValue::try_from(key.data_type()),
        };
        self.keys.iter().zip(&file.partition).map(value).collect()
    }

    /// The files whose partition values satisfy the filters over partition keys alone.
    fn prune(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<PartitionedFile>> {
        let mut files = Vec::with_capacity(self.table.files.len());
        for file in &self.table.files {
            let meta = ObjectMeta {
                location: file.path.clone(),
                last_modified: Default::default(),
                size: file.bytes,
                e_tag: None,
                version: None,
            };
            let mut partitioned = PartitionedFile::from(meta);
            partitioned.partition_values = self.values(file)?;
            files.push(partitioned);
        }
        let over_keys = |filter: &&Expr| {
            filter.column_refs().iter().all(|c| self.keys.iter().any(|k| k.name() == &c.name))
                && !filter.is_volatile()
        };
        let Some(filter) = conjunction(filters.iter().filter(over_keys).cloned()) else { return Ok(files) };
        if files.is_empty() || self.keys.is_empty() {
            return Ok(files);
        }
        let columns = (0..self.keys.len())
            .map(|k| ScalarValue::iter_to_array(files.iter().map(|f| f.partition_values[k].clone())));
        let schema = Arc::new(Schema::new(self.keys.clone()));
        let batch = RecordBatch::try_new(schema.clone(), columns.collect::<Result<Vec<ArrayRef>>>()?)?;
        let filter = state.create_physical_expr(filter, &DFSchema::try_from(schema)?)?;
        let keep = filter.evaluate(&batch)?.into_array(files.len())?;
        let keep = keep.as_boolean();
        let kept = files.into_iter().enumerate().filter(|(i, _)| keep.is_valid(*i) && keep.value(*i));
        Ok(kept.map(|(_, f)| f).collect())
    }
}

#[async_trait]
impl TableProvider for ExactFiles {
    fn schema(&self) -> SchemaRef {
        self.schema.table_schema().clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = self.prune(state, filters)?;
        self.counters.total.fetch_add(self.table.files.len(), Ordering::Relaxed);
        self.counters.left.fetch_add(files.len(), Ordering::Relaxed);
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema(), projection)?)));
        }
        let mut source = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(state.default_table_options().parquet);
        if let Some(filter) = conjunction(filters.to_vec()) {
            let schema = DFSchema::try_from(self.schema())?;
            source = source.with_predicate(state.create_physical_expr(filter, &schema)?);
        }
        let groups = state.config().target_partitions().max(1);
        let groups = FileGroup::new(files).split_files(groups);
        let config = FileScanConfigBuilder::new(store_url(), Arc::new(source))
            .with_file_groups(groups)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
