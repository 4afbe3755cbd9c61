//! Outputs of earlier revisions → deleted, with the run that makes a new one.
//!
//! The output that was just replaced stays: statements may still read it. What that one had replaced
//! goes, if it stood for the grace. Both times are the store's.

use weir::commit::LakeStore;
use weir::limits::CLOSE_GRACE;
use weir::naming::closed::{closed_prefix, parse_closed_file};
use weir::partition::PartitionPath;

/// Delete what outputs before `replaced` wrote into a partition; how many files. `replaced` is the
/// revision that the catalog showed until now, `written` a file of the one it shows.
///
/// # Errors
/// The folder cannot be listed, or a file not be deleted. The next revision goes on.
pub(super) async fn collect(
    lake: &LakeStore,
    (table, partition): (&str, &PartitionPath),
    replaced: u32,
    written: &str,
) -> weir::Result<u64> {
    let files = lake.list_dated(&closed_prefix(table, partition)).await?;
    let of = |revision: u32| {
        move |key: &str| is_output(key) && parse_closed_file(key).is_some_and(|(r, _)| r == revision)
    };
    let replaced_at = files.iter().filter(|f| of(replaced)(&f.key)).map(|f| f.modified.0).max();
    let now = files.iter().find(|f| f.key == written).map(|f| f.modified.0);
    let (Some(stood_from), Some(now)) = (replaced_at, now) else { return Ok(0) };
    if now - stood_from < CLOSE_GRACE.as_micros() as i64 {
        return Ok(0);
    }
    let before = |key: &String| parse_closed_file(key).is_some_and(|(revision, _)| revision < replaced);
    let gone: Vec<String> = files.into_iter().map(|f| f.key).filter(|k| is_output(k) && before(k)).collect();
    lake.delete_all(&gone).await?;
    Ok(gone.len() as u64)
}

/// Whether a job gave the file its name.
fn is_output(key: &str) -> bool {
    key.rsplit('/').next().is_some_and(|name| name.starts_with("part-") && name.ends_with(".parquet"))
}
