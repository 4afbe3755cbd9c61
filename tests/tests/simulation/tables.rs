//! The table of the simulation in its versions, and how its partitions are spelled.

use std::sync::{Arc, OnceLock};

use weir::schema::{TableInput, TableSchema};

/// The second version takes the partition from another field: a record moves.
pub(crate) const BY_Q: usize = 1;
/// The third version refuses what the others take.
pub(crate) const BOUNDED: usize = 2;
pub(crate) const MAX_N: i64 = 50;
pub(crate) const VERSIONS: usize = 3;

/// What a document must become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expected {
    Row { partition: String, n: i64 },
    Dead { reason: &'static str, path: &'static str },
    Skipped,
}

/// The partition of a value, spelled out.
pub(crate) fn partition(value: Option<&str>) -> String {
    match value {
        None => "k=__HIVE_DEFAULT_PARTITION__".into(),
        Some("x/y") => "k=x%2Fy".into(),
        Some(plain) => format!("k={plain}"),
    }
}

fn definition(version: usize, route: bool) -> String {
    let from = if version == BY_Q { "q" } else { "p" };
    let bound = if version == BOUNDED { r#""weir.max": "50""# } else { r#""weir.min": "-1""# };
    let route = if route { r#""weir.route": "t=1", "# } else { "" };
    format!(
        r#"{{"Name": "t",
            "StorageDescriptor": {{"Columns": [{{"Name": "n", "Type": "bigint", "Parameters": {{{bound}}}}}]}},
            "PartitionKeys": [{{"Name": "k", "Type": "string", "Parameters": {{"weir.from": "/{from}"}}}}],
            "Parameters": {{{route}"weir.partition.k": "identity(k)"}}}}"#
    )
}

/// A version of the table, parsed; `route` if it shares its stream with another table.
pub(crate) fn schema(version: usize, route: bool) -> Arc<TableSchema> {
    static SCHEMAS: OnceLock<Vec<Arc<TableSchema>>> = OnceLock::new();
    let all = SCHEMAS.get_or_init(|| {
        let of = |i: usize| TableSchema::parse(&definition(i / 2, i % 2 == 1)).unwrap();
        (0..2 * VERSIONS).map(|i| Arc::new(of(i))).collect()
    });
    all[version * 2 + usize::from(route)].clone()
}

/// The version with this name.
pub(crate) fn version_of(name: &str, route: bool) -> Option<usize> {
    (0..VERSIONS).find(|&version| schema(version, route).version == name)
}

/// What stands in the catalog before a run: keys and bodies.
pub(crate) fn catalog(route: bool) -> [(String, String); 2] {
    let table = TableInput::from_json(&definition(0, route)).unwrap().complete().unwrap();
    let quarantine = weir::quarantine::definition().unwrap();
    let at = |name: &str| format!("_weir/catalog/tables/{name}.json");
    [(at("t"), table.to_json().unwrap()), (at("quarantine"), quarantine.to_json().unwrap())]
}
