//! `weir query SQL`: over exactly the files that commits list, or that a closed revision holds.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;

use weir::close::visible_files;
use weir_query::jobs::closed_files;
use weir_query::{QueryFile, QueryTable, query, write_json_rows};

use super::args::{Global, QueryArgs};
use super::lake::Lake;

pub(super) async fn run(global: &Global, args: &QueryArgs) -> Result<ExitCode> {
    let lake = Lake::open(global)?;
    let result = query(lake.store.object_store(), tables(&lake).await?, &args.sql).await?;
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
            // No stream fills it: its rows are where the catalog says.
            let shown = files.entry(name.clone()).or_default();
            for partition in lake.catalog.partitions(&name).await? {
                let location = &partition.storage_descriptor.location;
                shown.extend(closed_files(&lake.store, &schema, &partition.values, location).await?);
            }
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
