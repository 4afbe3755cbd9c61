//! `weir files --table T`: what readers see: the revision of a closed partition, what commits list of
//! an open one, and nothing else; of a table that a job fills, what the catalog shows.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use weir::close::visible_files;
use weir::partition::{NULL_PARTITION, PartitionPath};

use super::args::{FilesArgs, Global};
use super::lake::Lake;
use super::query::filled_by_job;

/// A file as it is listed.
struct Listed {
    key: String,
    partition: PartitionPath,
    /// Not known of a job's file without opening it.
    rows: Option<u64>,
    bytes: u64,
    revision: u32,
}

pub(super) async fn run(global: &Global, args: &FilesArgs) -> Result<ExitCode> {
    let lake = Lake::find(global)?;
    let files = list(&lake, &args.table).await?;
    if files.is_empty() && lake.catalog.definition(&args.table).await?.is_none() {
        let known = lake.catalog.tables().await?.join(", ");
        bail!("table {} is not in the catalog of {}; tables there: {known}", args.table, lake.url);
    }
    for listed in files {
        // A folder's files by their plain path, as every tool opens them; an address would need
        // escapes that tools read in different ways.
        let url = match url::Url::parse(&lake.url).ok().filter(|u| u.scheme() == "file") {
            Some(folder) => match folder.to_file_path() {
                Ok(path) => path.join(&listed.key).display().to_string(),
                Err(()) => bail!("{} is no folder of this machine", lake.url),
            },
            None => format!("{}/{}", lake.url, listed.key),
        };
        if global.json {
            let partition = listed.partition.as_str();
            let (rows, bytes, revision) = (listed.rows, listed.bytes, listed.revision);
            println!(
                "{}",
                serde_json::json!({"url": url, "partition": partition, "rows": rows, "bytes": bytes, "revision": revision})
            );
        } else {
            println!("{url}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(lake: &Lake, table: &str) -> Result<Vec<Listed>> {
    let is_of_a_job = match lake.catalog.definition(table).await? {
        Some(_) => lake.catalog.table(table).await?.job.is_some(),
        None => false,
    };
    if !is_of_a_job {
        let files = visible_files(&lake.store, &*lake.catalog, Some(table)).await?;
        let listed = files.into_iter().map(|file| Listed {
            key: file.key,
            partition: file.partition,
            rows: Some(file.rows),
            bytes: file.bytes,
            revision: file.revision,
        });
        return Ok(listed.collect());
    }
    let schema = lake.catalog.table(table).await?;
    let root = lake.store.path("")?;
    let mut listed = Vec::new();
    for (entry, files) in filled_by_job(lake, &schema).await? {
        let values = entry.values.iter().map(|v| (v != NULL_PARTITION).then_some(v.as_str()));
        let keys = schema.partition_keys.iter().map(|key| key.name.as_str());
        let partition = PartitionPath::from_values(keys.zip(values));
        for file in files {
            let key = file.path.as_ref().strip_prefix(root.as_ref()).context("a file outside of the lake")?;
            let (key, partition) = (key.trim_start_matches('/').to_owned(), partition.clone());
            let (bytes, revision) = (file.bytes, entry.revision());
            listed.push(Listed { key, partition, rows: None, bytes, revision });
        }
    }
    Ok(listed)
}
