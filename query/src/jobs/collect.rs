//! Outputs of earlier revisions → deleted, with the run that makes a new one.
//!
//! What a statement may still read stays: an output goes once a later one has stood for the grace. All
//! times are the store's.

use weir::commit::LakeStore;
use weir::limits::CLOSE_GRACE;
use weir::naming::closed::{closed_prefix, parse_closed_file};
use weir::partition::PartitionPath;

/// Delete the outputs of a partition that were superseded a grace ago or more; how many files.
/// `replaced` is the revision that the catalog showed until now, `written` a file of the one it shows.
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
    let Some(now) = files.iter().find(|file| file.key == written).map(|file| file.modified.0) else {
        return Ok(0);
    };
    let long_ago = now - CLOSE_GRACE.as_micros() as i64;
    let outputs: Vec<(u32, i64, String)> = files
        .into_iter()
        .filter_map(|file| Some((output_revision(&file.key)?, file.modified.0, file.key)))
        .filter(|(revision, _, _)| *revision <= replaced)
        .collect();
    // A revision stands from its last file on: one that was tried twice has files of both tries.
    let stood = |wanted: u32| outputs.iter().all(|(revision, at, _)| *revision != wanted || *at <= long_ago);
    let Some(kept) = outputs.iter().map(|output| output.0).filter(|revision| stood(*revision)).max() else {
        return Ok(0);
    };
    let gone = outputs.into_iter().filter(|(revision, _, _)| *revision < kept);
    let gone: Vec<String> = gone.map(|(_, _, key)| key).collect();
    lake.delete_all(&gone).await?;
    Ok(gone.len() as u64)
}

/// The revision of a file that a job wrote.
fn output_revision(key: &str) -> Option<u32> {
    let (revision, _) = parse_closed_file(key)?;
    let name = key.rsplit('/').next()?;
    (name.starts_with("part-") && name.ends_with(".parquet")).then_some(revision)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    /// Which of outputs of these ages in hours are left, by revision, when revision 9 is made.
    async fn left(ages: &[(u32, u32)], replaced: u32) -> Vec<u32> {
        let folder = tempfile::tempdir().unwrap();
        let lake = LakeStore::open(&format!("file://{}", folder.path().display()), &[]).unwrap();
        let partition = PartitionPath::parse("day=1").unwrap();
        for (revision, hours) in ages.iter().chain([&(9, 0)]) {
            let key = format!("t/closed/day=1/r{revision:04}-{hours}/part-00000.parquet");
            let _ = lake.put_if_absent(&key, bytes::Bytes::from_static(b"x")).await.unwrap();
            let file = std::fs::File::options().write(true).open(folder.path().join(&key)).unwrap();
            let written = file.metadata().unwrap().modified().unwrap();
            file.set_modified(written - HOUR * *hours).unwrap();
        }
        let written = "t/closed/day=1/r0009-0/part-00000.parquet";
        collect(&lake, ("t", &partition), replaced, written).await.unwrap();
        let files = lake.list("t").await.unwrap();
        files.iter().filter_map(|key| output_revision(key)).collect()
    }

    #[tokio::test]
    async fn an_output_goes_once_a_later_one_has_stood_for_a_day() {
        for (ages, replaced, expected) in [
            (&[(1, 50)][..], 1, &[1, 9][..]),
            (&[(1, 50), (2, 25)], 2, &[2, 9]),
            (&[(1, 50), (2, 23)], 2, &[1, 2, 9]),
            // Revisions by the hour, the last ones of today.
            (&[(1, 60), (2, 50), (3, 30), (4, 20), (5, 1)], 5, &[3, 4, 5, 9]),
            // A revision that was tried again counts from its last try, and one that comes later not at all.
            (&[(1, 60), (2, 50), (2, 5)], 2, &[1, 2, 2, 9]),
            (&[(1, 60), (2, 50), (7, 40)], 2, &[2, 7, 9]),
        ] {
            assert_eq!(left(ages, replaced).await, expected, "{ages:?}");
        }
    }
}
