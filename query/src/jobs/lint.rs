//! A job and its tables → what is wrong with it, before anything runs.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::logical_expr::LogicalPlan;
use weir::schema::TableSchema;

use super::session::JobSession;
use super::{Finding, Job, JobError, syntax, types};
use crate::QueryTable;

/// Whether the job is in the subset, its tables fit it, and its result fits its target.
///
/// # Errors
/// All that is wrong, each with its line.
pub async fn check_job(job: &Job, source: &TableSchema, target: &TableSchema) -> Result<(), JobError> {
    refuse_if(check_tables(job, source, target))?;
    refuse_if(syntax::check(job))?;
    let session = match JobSession::open(job, table(source, Vec::new()), None, None).await {
        Ok(session) => session,
        Err(problem) => {
            let line = job.unnest.as_ref().map_or(1, |unnest| unnest.line);
            return refuse_if(vec![finding(job, line, problem.strip_backtrace(), "change the header")]);
        }
    };
    let plan = match session.plan(job).await {
        Ok(plan) => plan,
        Err(problem) => {
            let line = problem.diagnostic().and_then(|d| d.span).map_or(1, |span| span.start.line);
            let way_out = format!("`weir tables show {}` prints the columns", source.name);
            return refuse_if(vec![finding(job, line, problem.strip_backtrace(), &way_out)]);
        }
    };
    refuse_if(types::check(job, &plan).map_err(|problem| engine(job, &problem))?)?;
    refuse_if(check_result(job, &plan, target))
}

/// The source as the engine sees it.
pub(super) fn table(schema: &TableSchema, files: Vec<crate::QueryFile>) -> QueryTable {
    let keys = schema.partition_keys.iter().map(|k| (k.name.clone(), weir::schema::arrow_type(&k.ty)));
    QueryTable {
        name: schema.name.clone(),
        file_schema: Arc::new(schema.file_schema()),
        partition_keys: keys.collect(),
        files,
    }
}

pub(super) fn engine(job: &Job, problem: &datafusion::error::DataFusionError) -> JobError {
    JobError::Engine { job: job.name.clone(), problem: problem.strip_backtrace() }
}

fn refuse_if(findings: Vec<Finding>) -> Result<(), JobError> {
    if findings.is_empty() { Ok(()) } else { Err(JobError::Refused(findings)) }
}

fn finding(job: &Job, line: u64, reason: String, way_out: &str) -> Finding {
    Finding { file: job.file(), line, reason, way_out: way_out.to_owned() }
}

fn check_tables(job: &Job, source: &TableSchema, target: &TableSchema) -> Vec<Finding> {
    let mut findings = Vec::new();
    let filled_by = target.job.as_deref();
    if filled_by != Some(job.name.as_str()) {
        let by = filled_by.map_or_else(|| "by a stream".to_owned(), |other| format!("by job {other}"));
        let way_out =
            format!("put \"weir.job\": \"{}\" into the table's Parameters, or name another target", job.name);
        findings.push(finding(job, 1, format!("table {} is filled {by}", target.name), &way_out));
    }
    let keys = |table: &TableSchema| -> Vec<String> {
        table.partition_keys.iter().map(|k| format!("{} {}", k.name, k.ty)).collect()
    };
    if keys(source) != keys(target) {
        let (source, target) = (keys(source).join(", "), keys(target).join(", "));
        let reason = format!("the source's partition keys are ({source}), the target's ({target})");
        findings.push(finding(job, 1, reason, "one partition makes one partition: give both the same keys"));
    }
    let columns = target.file_schema();
    for key in job.keys.iter().filter(|key| columns.field_with_name(key).is_err()) {
        let reason = format!("key `{key}` is no column of {}", target.name);
        findings.push(finding(job, 1, reason, "name columns of the result in `-- keys:`"));
    }
    findings
}

fn check_result(job: &Job, plan: &LogicalPlan, target: &TableSchema) -> Vec<Finding> {
    let wanted = target.file_schema();
    let found = plan.schema();
    let names =
        |fields: &[Arc<Field>]| fields.iter().map(|f| f.name().as_str()).collect::<Vec<_>>().join(", ");
    let (ours, theirs) = (names(found.fields()), names(wanted.fields()));
    if ours != theirs {
        let reason = format!("the result has the columns ({ours}), table {} has ({theirs})", target.name);
        return vec![finding(job, 1, reason, "give both the same columns in the same order")];
    }
    let pairs = found.fields().iter().zip(wanted.fields());
    let wrong = pairs.filter(|(ours, theirs)| !fits(ours.data_type(), theirs.data_type()));
    let wrong = wrong.map(|(ours, theirs)| {
        let reason =
            format!("column {} is {}, the table has {}", ours.name(), ours.data_type(), theirs.data_type());
        finding(job, 1, reason, "cast it in the last SELECT, or change the table's definition")
    });
    wrong.collect()
}

/// Whether the result's values go into the column, or fail loudly because they are too large.
fn fits(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8, DataType::Utf8) => true,
        (DataType::Timestamp(..), DataType::Timestamp(..)) => true,
        (DataType::Decimal128(_, a), DataType::Decimal128(_, b)) => a <= b,
        (from, DataType::Decimal128(..)) if from.is_integer() => true,
        (from, to) if from.is_integer() && to.is_integer() => true,
        (from, to) => from == to,
    }
}
