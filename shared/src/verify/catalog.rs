//! Tables and partitions that hold committed rows, against the catalog that readers find them by.

use std::collections::BTreeSet;

use super::Verifier;
use super::finding::{Finding, Kind, Sink};
use crate::error::{Error, Result};
use crate::partition::{NULL_PARTITION, PartitionPath};

pub(super) async fn verify(verifier: &mut Verifier, sink: &mut Sink<'_>) -> Result<()> {
    let catalog = verifier.catalog.clone();
    for (table, partitions) in std::mem::take(&mut verifier.partitions) {
        let way_out = "create it with `weir tables apply`";
        match catalog.table(&table).await {
            Ok(_) => {}
            Err(Error::NoSuchTable { catalog, .. }) => {
                let problem = format!("commits list rows of it, and it is not in the catalog {catalog}");
                verifier.report(Finding::new(Kind::CatalogTable, table, problem, way_out), sink);
                continue;
            }
            Err(error @ (Error::Schema { .. } | Error::Format { .. })) => {
                let way_out = "put its definition right with `weir tables apply`";
                verifier.report(Finding::new(Kind::CatalogTable, table, error.to_string(), way_out), sink);
                continue;
            }
            Err(error) => return Err(error),
        }
        if partitions.iter().all(PartitionPath::is_empty) {
            continue;
        }
        let declared = catalog.partitions(&table).await?.into_iter().map(|partition| partition.values);
        let declared: BTreeSet<Vec<String>> = declared.collect();
        for partition in partitions {
            let null = || NULL_PARTITION.to_owned();
            let values = partition.values().into_iter().map(|(_, value)| value.unwrap_or_else(null));
            if !declared.contains(&values.collect::<Vec<_>>()) {
                let problem = format!(
                    "commits list rows of it, and the catalog {} does not declare it",
                    catalog.address()
                );
                let way_out = "readers by the catalog do not see its rows; the next batch with a record of it declares \
                               it, and of a file the same `weir ingest` again";
                let object = format!("{table}/{partition}");
                verifier.report(Finding::new(Kind::CatalogPartition, object, problem, way_out), sink);
            }
        }
    }
    Ok(())
}
