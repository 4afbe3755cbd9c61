//! Partitions closed by `weir close`, and where the catalog shows them.

use std::fs;
use std::path::Path;

use serde_json::Value;
use weir_tests::process;

use crate::World;

/// Close all partitions of a table; partition and location of each that stands at this revision.
pub(crate) fn close(world: &World, table: &str, revision: u64) -> Vec<(String, String)> {
    process::run(&mut world.command(["close", "--table", table]));
    let catalog = world.lake.path().join("_weir/catalog/partitions").join(table);
    let mut found = Vec::new();
    entries(&catalog, &catalog, &mut found);
    found.sort();
    found.retain(|(_, _, at)| *at == revision);
    found.into_iter().map(|(partition, location, _)| (partition, location)).collect()
}

fn entries(root: &Path, folder: &Path, found: &mut Vec<(String, String, u64)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            entries(root, &path, found);
            continue;
        }
        let entry: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let revision = entry["Parameters"]["weir.revision"].as_str().map_or(0, |r| r.parse().unwrap());
        let partition = path.strip_prefix(root).unwrap().with_extension("");
        let location = entry["StorageDescriptor"]["Location"].as_str().unwrap();
        found.push((partition.to_str().unwrap().to_owned(), location.to_owned(), revision));
    }
}
