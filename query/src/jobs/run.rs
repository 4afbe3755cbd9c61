//! One closed partition of the source → one partition of the target, replaced by the catalog's switch.

use std::path::PathBuf;

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::common::Column;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::prelude::{Expr, cast, ident};
use futures::{StreamExt, TryStreamExt};
use weir::catalog::{Catalog, Partition, Switch};
use weir::commit::LakeStore;
use weir::naming::closed::closed_directory;
use weir::partition::{NULL_PARTITION, PartitionPath};
use weir::schema::TableSchema;

use super::collect::collect;
use super::lint::{check_job, engine, table};
use super::output::OutputFiles;
use super::session::JobSession;
use super::{Job, JobError};
use crate::QueryFile;

/// What a run may take of its machine.
#[derive(Debug, Clone)]
pub struct RunLimits {
    /// Memory of sorts, joins and groups together; what does not fit goes to `scratch`.
    pub memory_bytes: usize,
    /// Folder of this machine.
    pub scratch: PathBuf,
}

/// The partition a job runs over.
#[derive(Debug, Clone)]
pub struct JobRun {
    /// Values of the partition keys, not escaped; empty is null.
    pub values: Vec<String>,
    /// Folder of the closed files, as the catalog has it.
    pub location: String,
    /// Revision of the source, from 1.
    pub revision: u32,
    /// Tells this run's directory from any other's: `[a-z0-9]`.
    pub nonce: String,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct JobOutcome {
    /// Table that was filled.
    pub target: String,
    /// Partition of both tables.
    pub partition: String,
    /// Revision of the output.
    pub revision: u32,
    /// Files read.
    pub files_read: usize,
    /// Bytes of them.
    pub bytes_read: u64,
    /// Rows written.
    pub rows: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Folder that the catalog shows now.
    pub location: String,
    /// Whether it is this run's: no, if this revision or a later one stood there already.
    pub switched: bool,
    /// Files of earlier outputs that were deleted.
    pub collected_files: u64,
    /// Why they could not be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collect_problem: Option<String>,
}

/// Run one job over one closed partition. Running it again, or twice at once, is harmless: each run
/// writes into a directory of its own, and the first one of a revision is what the catalog shows.
///
/// # Errors
/// The job is refused, its files cannot be read, or the engine fails; nothing is switched then.
pub async fn run_job(
    lake: &LakeStore,
    catalog: &dyn Catalog,
    job: &Job,
    run: &JobRun,
    limits: &RunLimits,
) -> Result<JobOutcome, JobError> {
    let source = catalog.table(&job.source).await?;
    let target = catalog.table(&job.target).await?;
    check_job(job, &source, &target).await?;
    let partition = path_of(&source, &run.values)?;
    let revision = job.output_revision(run.revision);
    let before = catalog.partition(&job.target, &run.values).await?;
    let files = closed_files(lake, &source, &run.values, &run.location).await?;
    let mut outcome = JobOutcome {
        target: job.target.clone(),
        partition: partition.to_string(),
        revision,
        files_read: files.len(),
        bytes_read: files.iter().map(|file| file.bytes).sum(),
        rows: 0,
        bytes: 0,
        location: String::new(),
        switched: false,
        collected_files: 0,
        collect_problem: None,
    };
    let replaced = before.as_ref().map(Partition::revision);
    if let Some(entry) = before.filter(|entry| entry.revision() >= revision) {
        outcome.location = entry.storage_descriptor.location;
        return Ok(outcome);
    }
    if files.is_empty() {
        // Read as an empty partition it would replace rows by none.
        let problem = format!(
            "no file of revision {} lies in {}; a later revision has superseded it: run the job over that one",
            run.revision, run.location
        );
        return Err(JobError::Engine { job: job.name.clone(), problem });
    }
    let rows = result(lake, job, (&source, &target), files, limits).await?;
    let directory = closed_directory(&job.target, &partition, revision, &run.nonce);
    let footer = [
        ("weir.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("weir.job", job.name.clone()),
        ("weir.revision", revision.to_string()),
    ];
    let output = OutputFiles::new(&target, &footer).map_err(|e| parquet(job, &e))?;
    let written = write(lake, job, rows, output, &directory).await?;
    (outcome.rows, outcome.bytes) = (written.rows, written.bytes);
    let to = Switch { directory: directory.clone(), revision };
    let entry = catalog.switch_partition(&job.target, &run.values, &to).await?;
    outcome.switched = shows(&entry, &directory);
    outcome.location = entry.storage_descriptor.location;
    if !outcome.switched {
        // Another run of this revision or a later one came first; no catalog will ever show ours.
        lake.delete_all(&written.keys).await?;
    } else if let (Some(replaced), Some(file)) = (replaced, written.keys.first()) {
        // The output is shown; what cannot be deleted now is deleted with the next revision.
        match collect(lake, (&job.target, &partition), replaced, file).await {
            Ok(files) => outcome.collected_files = files,
            Err(error) => outcome.collect_problem = Some(error.to_string()),
        }
    }
    Ok(outcome)
}

/// The files of a closed partition: everything in the folder that the catalog shows, which is one
/// revision's own and complete before it is shown.
///
/// # Errors
/// The folder is not in this lake, or cannot be listed.
pub async fn closed_files(
    lake: &LakeStore,
    table: &TableSchema,
    values: &[String],
    location: &str,
) -> Result<Vec<QueryFile>, weir::Error> {
    let root = format!("{}/", lake.url().trim_end_matches('/'));
    let directory = location.strip_prefix(&root).ok_or_else(|| weir::Error::Setting {
        setting: "location".into(),
        problem: format!("{location} is not in the lake {}", lake.url()),
        example: format!("{root}{}/closed/", table.name).into(),
    })?;
    let partition: Vec<Option<String>> =
        values.iter().map(|value| stated(value).map(str::to_owned)).collect();
    let prefix = lake.path(directory.trim_end_matches('/'))?;
    let listed: Result<Vec<_>, _> = lake.object_store().list(Some(&prefix)).try_collect().await;
    let listed = listed.map_err(|source| weir::Error::Store {
        operation: "list",
        object: location.to_owned(),
        retryable: true,
        source: Box::new(source),
    })?;
    let mut files: Vec<QueryFile> = listed
        .into_iter()
        .filter(|object| object.location.extension() == Some("parquet"))
        .map(|object| QueryFile {
            path: object.location,
            bytes: object.size,
            rows: 0,
            partition: partition.clone(),
        })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// The job's rows in the columns of its target, sorted by its keys.
async fn result(
    lake: &LakeStore,
    job: &Job,
    (source, target): (&TableSchema, &TableSchema),
    files: Vec<QueryFile>,
    limits: &RunLimits,
) -> Result<SendableRecordBatchStream, JobError> {
    let failed = |problem| engine(job, &problem);
    let store = Some(lake.object_store());
    let session = JobSession::open(job, table(source, files), store, Some(limits)).await.map_err(failed)?;
    let plan = session.plan(job).await.map_err(failed)?;
    let found = plan.schema().columns();
    let frame = session.frame(plan).await.map_err(failed)?;
    let wanted = target.file_schema();
    let columns = found.into_iter().zip(wanted.fields()).map(|(column, wanted)| {
        cast(Expr::Column(Column::new(column.relation, column.name)), wanted.data_type().clone())
            .alias(wanted.name())
    });
    let order = job.keys.iter().map(|key| ident(key).sort(true, false)).collect();
    let frame =
        frame.select(columns.collect::<Vec<_>>()).and_then(|frame| frame.sort(order)).map_err(failed)?;
    frame.execute_stream().await.map_err(failed)
}

struct Written {
    keys: Vec<String>,
    rows: u64,
    bytes: u64,
}

async fn write(
    lake: &LakeStore,
    job: &Job,
    mut rows: SendableRecordBatchStream,
    mut output: OutputFiles,
    directory: &str,
) -> Result<Written, JobError> {
    let mut written = Written { keys: Vec::new(), rows: 0, bytes: 0 };
    let mut last_key: Option<RecordBatch> = None;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(|problem| engine(job, &problem))?;
        if batch.num_rows() == 0 {
            continue;
        }
        last_key = Some(check_keys(job, last_key, &batch)?);
        written.rows += batch.num_rows() as u64;
        if let Some(file) = output.write(&batch).map_err(|e| parquet(job, &e))? {
            put(lake, directory, file, &mut written).await?;
        }
    }
    if let Some(file) = output.finish(written.keys.len()).map_err(|e| parquet(job, &e))? {
        put(lake, directory, file, &mut written).await?;
    }
    Ok(written)
}

async fn put(
    lake: &LakeStore,
    directory: &str,
    file: Vec<u8>,
    written: &mut Written,
) -> Result<(), JobError> {
    let key = format!("{directory}/part-{:05}.parquet", written.keys.len());
    written.bytes += file.len() as u64;
    // The directory is this run's own: what exists there is an earlier try of this put.
    let _ = lake.put_if_absent(&key, Bytes::from(file)).await?;
    written.keys.push(key);
    Ok(())
}

/// No two neighbours share their keys; answers with the keys of the last row. Rows are sorted by the
/// keys, so neighbours are enough.
fn check_keys(job: &Job, last: Option<RecordBatch>, batch: &RecordBatch) -> Result<RecordBatch, JobError> {
    use datafusion::arrow::compute::concat_batches;
    use datafusion::arrow::row::{RowConverter, SortField};
    let failed = |problem: datafusion::arrow::error::ArrowError| engine(job, &problem.into());
    let schema = batch.schema();
    let places =
        job.keys.iter().map(|key| schema.index_of(key)).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let keys = batch.project(&places).map_err(failed)?;
    let all = match &last {
        Some(last) => concat_batches(&keys.schema(), [last, &keys]).map_err(failed)?,
        None => keys.clone(),
    };
    let fields = all.schema().fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
    let converter = RowConverter::new(fields).map_err(failed)?;
    let rows = converter.convert_columns(all.columns()).map_err(failed)?;
    for at in 1..rows.num_rows() {
        if rows.row(at - 1) == rows.row(at) {
            let shown = datafusion::arrow::util::pretty::pretty_format_batches(&[all.slice(at, 1)])
                .map_err(failed)?;
            let keys = job.keys.join(", ");
            let problem = format!(
                "two rows share the keys {keys}:\n{shown}\ngroup by them, or name more in `-- keys:`"
            );
            return Err(JobError::Engine { job: job.name.clone(), problem });
        }
    }
    Ok(keys.slice(keys.num_rows() - 1, 1))
}

fn path_of(table: &TableSchema, values: &[String]) -> Result<PartitionPath, weir::Error> {
    let keys = &table.partition_keys;
    if keys.len() != values.len() {
        let problem =
            format!("a partition has {} values ({values:?}), the table {} keys", values.len(), keys.len());
        return Err(weir::Error::Schema { table: table.name.clone(), problem });
    }
    let values = values.iter().map(|value| stated(value));
    Ok(PartitionPath::from_values(keys.iter().map(|k| k.name.as_str()).zip(values)))
}

/// Catalogs write null as a value of its own.
fn stated(value: &str) -> Option<&str> {
    (!value.is_empty() && value != NULL_PARTITION).then_some(value)
}

fn shows(entry: &Partition, directory: &str) -> bool {
    entry.storage_descriptor.location.trim_end_matches('/').ends_with(directory)
}

fn parquet(job: &Job, problem: &datafusion::parquet::errors::ParquetError) -> JobError {
    JobError::Engine { job: job.name.clone(), problem: problem.to_string() }
}
