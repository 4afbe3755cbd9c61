//! A job's tables → an engine that plans and runs it.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::{DataFusionError, Result, UnnestOptions};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{DataFrame, Expr, SessionConfig, SessionContext, col, ident};
use object_store::ObjectStore;

use super::{Job, RunLimits, functions};
use crate::QueryTable;
use crate::provider::{self, ExactFiles};

/// An engine with the job's tables in it.
pub(super) struct JobSession {
    context: SessionContext,
}

impl JobSession {
    /// Without `limits` it only plans.
    pub(super) async fn open(
        job: &Job,
        source: QueryTable,
        store: Option<Arc<dyn ObjectStore>>,
        limits: Option<&RunLimits>,
    ) -> Result<Self> {
        let mut config = SessionConfig::new();
        let options = config.options_mut();
        options.execution.time_zone = Some("UTC".into());
        options.execution.parquet.schema_force_view_types = false;
        options.execution.parquet.pushdown_filters = true;
        options.sql_parser.map_string_types_to_utf8view = false;
        options.sql_parser.collect_spans = true;
        let mut runtime = RuntimeEnvBuilder::new();
        if let Some(limits) = limits {
            runtime = runtime
                .with_memory_pool(Arc::new(FairSpillPool::new(limits.memory_bytes)))
                .with_temp_file_path(limits.scratch.clone());
            // Each of the engine's parallel sorts keeps so much to merge what it spilled.
            options.execution.sort_spill_reservation_bytes = limits.memory_bytes / 64;
        }
        let context = SessionContext::new_with_config_rt(config, runtime.build_arc()?);
        if let Some(store) = store {
            context.register_object_store(provider::store_url().as_ref(), store);
        }
        for function in functions::missing() {
            context.register_udf(function);
        }
        let (name, schema) = (source.name.clone(), source.file_schema.clone());
        let keys: Vec<String> = source.partition_keys.iter().map(|(name, _)| name.clone()).collect();
        let files = Arc::new(ExactFiles::new(source, Arc::default()));
        context.register_table(name.as_str(), files)?;
        if let Some(unnest) = &job.unnest {
            let whole = context.table(name.as_str()).await?;
            let opened = open_array(whole, &schema, &keys, &unnest.column, &unnest.name)?;
            context.register_table(unnest.name.as_str(), opened.into_view())?;
        }
        Ok(Self { context })
    }

    /// The plan as written: nothing converted, nothing optimized.
    pub(super) async fn plan(&self, job: &Job) -> Result<LogicalPlan> {
        self.context.state().create_logical_plan(&job.sql).await
    }

    pub(super) async fn frame(&self, plan: LogicalPlan) -> Result<DataFrame> {
        self.context.execute_logical_plan(plan).await
    }
}

/// One row for each element: the other columns, and the element as `<name>`, or its fields as
/// `<name>_<field>`. Rows without elements have none.
fn open_array(
    whole: DataFrame,
    schema: &SchemaRef,
    keys: &[String],
    column: &str,
    name: &str,
) -> Result<DataFrame> {
    let wrong = |problem: String| DataFusionError::Plan(problem);
    let field =
        schema.field_with_name(column).map_err(|_| wrong(format!("there is no column {column} to open")))?;
    let DataType::List(element) = field.data_type() else {
        return Err(wrong(format!("column {column} is {}, not an array", field.data_type())));
    };
    let others = schema.fields().iter().map(|f| f.name()).filter(|n| *n != column).chain(keys);
    let others: Vec<Expr> = others.map(ident).collect();
    let mut selected = others.clone();
    selected.push(ident(column).alias(name));
    let options = UnnestOptions::new().with_preserve_nulls(false);
    let opened = whole.select(selected)?.unnest_columns_with_options(&[name], options)?;
    let mut columns = others;
    match element.data_type() {
        DataType::Struct(fields) => columns.extend(
            fields
                .iter()
                .map(|f| get_field(col(name), f.name().as_str()).alias(format!("{name}_{}", f.name()))),
        ),
        _ => columns.push(ident(name)),
    }
    opened.select(columns)
}
