//! `weir query SQL`: over exactly the files that commits list, or that a closed revision holds.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;

use weir::catalog::Partition;
use weir::close::visible_files;
use weir::schema::TableSchema;
use weir_query::jobs::closed_files;
use weir_query::{QueryFile, QueryResult, QueryTable, query, write_json_rows};

use super::args::{Global, QueryArgs};
use super::lake::Lake;

/// How often a statement is run whose files go while it runs.
const TRIES: u32 = 5;

pub(super) async fn run(global: &Global, args: &QueryArgs) -> Result<ExitCode> {
    let lake = Lake::find(global)?;
    let result = over_newest(&lake, &args.sql).await?;
    if global.json {
        write_json_rows(&result.batches, std::io::stdout().lock())?;
    } else {
        println!("{}", result.to_table()?);
    }
    if global.verbose {
        eprintln!("{} rows; {} of {} files opened", result.rows(), result.files.1, result.files.0);
    }
    Ok(ExitCode::SUCCESS)
}

/// The statement over the files that are visible now. Files that a new revision has superseded are
/// deleted after a grace: a statement that outlasts it fails, and is run again over their successors.
async fn over_newest(lake: &Lake, sql: &str) -> Result<QueryResult> {
    let mut listed = tables(lake).await?;
    for _ in 1..TRIES {
        let failed = match query(lake.store.object_store(), listed.clone(), sql).await {
            Ok(result) => return Ok(result),
            Err(failed) => failed,
        };
        let newest = tables(lake).await?;
        if paths(&newest) == paths(&listed) {
            return Err(failed.into());
        }
        eprintln!(
            "files were superseded while the statement ran; it is run again over those that came after"
        );
        listed = newest;
    }
    Ok(query(lake.store.object_store(), listed, sql).await?)
}

fn paths(tables: &[QueryTable]) -> Vec<&str> {
    let files = tables.iter().flat_map(|table| &table.files);
    files.map(|file| file.path.as_ref()).collect()
}

/// Every table of the catalog with its files.
pub(super) async fn tables(lake: &Lake) -> Result<Vec<QueryTable>> {
    let mut files: BTreeMap<String, Vec<QueryFile>> = BTreeMap::new();
    for listed in visible_files(&lake.store, &*lake.catalog, None).await? {
        let partition = listed.partition.values().into_iter().map(|(_, value)| value).collect();
        let file = QueryFile {
            path: lake.store.path(&listed.key)?,
            bytes: listed.bytes,
            rows: listed.rows,
            partition,
        };
        files.entry(listed.table).or_default().push(file);
    }
    let mut tables = Vec::new();
    for name in lake.catalog.tables().await? {
        let schema = lake.catalog.table(&name).await?;
        if schema.job.is_some() {
            let shown = files.entry(name.clone()).or_default();
            shown.extend(filled_by_job(lake, &schema).await?.into_iter().flat_map(|(_, files)| files));
        }
        let keys = schema.partition_keys.iter().map(|k| (k.name.clone(), weir::schema::arrow_type(&k.ty)));
        tables.push(QueryTable {
            file_schema: Arc::new(schema.file_schema()),
            partition_keys: keys.collect(),
            files: files.remove(&name).unwrap_or_default(),
            name,
        });
    }
    Ok(tables)
}

/// The partitions of a table that a job fills, with their files. No commit lists them: they are where
/// the catalog says.
pub(super) async fn filled_by_job(
    lake: &Lake,
    schema: &TableSchema,
) -> Result<Vec<(Partition, Vec<QueryFile>)>> {
    let mut filled = Vec::new();
    for partition in lake.catalog.partitions(&schema.name).await? {
        let location = &partition.storage_descriptor.location;
        let files = closed_files(&lake.store, schema, &partition.values, location).await?;
        filled.push((partition, files));
    }
    Ok(filled)
}
