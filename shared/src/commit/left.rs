//! Files that attempts left which died overtaken: another's commit lists their records, so no later
//! attempt steps on their names. They are looked for beside the files of that commit, and deleted by
//! the dead-file rule. Whatever fails is left to the next who looks, to close, or to repair.

use futures::{StreamExt, TryStreamExt, stream};

use super::format::CommitHeader;
use super::store::LakeStore;
use crate::error::Result;
use crate::naming::{self, SlotName};
use crate::record::Shard;

/// Requests under way at once.
const PARALLEL: usize = 16;
/// Dead names and slots looked at in one go: a redelivery waits for it.
const MAX_LOOKS: usize = 512;
/// Names of one slot that are looked at in any case: at the first may have been one who took his file
/// away himself, and at the second one who died.
const MIN_PROBES: usize = 2;
/// Names of one slot that are looked at as long as a file stands there.
const MAX_PROBES: u32 = 16;

/// Delete what stands at names that these commits of the shard (the newest last) make dead: those that
/// they call so, as a file may have come after it was deleted, and the next names of their files'
/// slots, where somebody went who met the files. The first failure ends it: a store in trouble must not
/// keep the batch waiting.
pub(crate) async fn bury_left(lake: &LakeStore, shard: &Shard, commits: &[CommitHeader]) {
    let looks: Vec<_> =
        commits.iter().rev().flat_map(|commit| names(shard, commit)).take(MAX_LOOKS).collect();
    let looks = stream::iter(looks).map(|names| bury(lake, names)).buffer_unordered(PARALLEL);
    let _ = looks.try_collect::<()>().await;
}

/// The names that a commit makes dead, in groups: of a group the first [`MIN_PROBES`] are looked at,
/// and on as long as a file stands there.
fn names(shard: &Shard, commit: &CommitHeader) -> impl Iterator<Item = Vec<String>> {
    let called = commit.dead.iter().map(|key| vec![key.clone()]);
    let beside = commit.files.iter().filter_map(|file| {
        let slot = SlotName::parse(shard, &file.name).filter(|slot| slot.first == file.first)?;
        let name = |probe| {
            let name = SlotName { probe, ..slot }.file_name(shard);
            naming::data_file(&file.table, &file.partition, &name)
        };
        Some((1..=MAX_PROBES).map(|n| name(slot.probe + n)).collect())
    });
    called.chain(beside)
}

/// Only what is there is deleted: a bucket with versions would keep a marker of every name.
async fn bury(lake: &LakeStore, names: Vec<String>) -> Result<()> {
    for (n, key) in (1..).zip(names) {
        let was_there = lake.size(&key).await?.is_some();
        if was_there {
            lake.delete(&key).await?;
        } else if n >= MIN_PROBES {
            break;
        }
    }
    Ok(())
}
