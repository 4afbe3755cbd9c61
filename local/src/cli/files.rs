//! `weir files --table T`: what readers see: the revision of a closed partition, what commits list of
//! an open one, and nothing else.

use std::process::ExitCode;

use anyhow::{Result, bail};

use weir::close::visible_files;

use super::args::{FilesArgs, Global};
use super::lake::Lake;

pub(super) async fn run(global: &Global, args: &FilesArgs) -> Result<ExitCode> {
    let lake = Lake::open(global)?;
    let files = visible_files(&lake.store, &*lake.catalog, Some(&args.table)).await?;
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
