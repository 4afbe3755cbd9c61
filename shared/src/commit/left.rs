//! Files that attempts left which died overtaken: another's commit lists their records, so no later
//! attempt steps on their names. They are looked for beside the files of that commit, and deleted by
//! the dead-file rule. Whatever fails is left to the next who looks, to close, or to repair.

use futures::{StreamExt, stream};

use super::format::CommitHeader;
use super::store::LakeStore;
use crate::naming::{self, SlotName};
use crate::record::Shard;

/// Requests under way at once.
const PARALLEL: usize = 16;
/// Names looked at in one go: a redelivery waits for it.
const MAX_LOOKS: usize = 512;
/// Names of one slot that are looked at in any case: at the first may have been one who took his file
/// away himself, and at the second one who died.
const MIN_PROBES: usize = 2;
/// Names of one slot that are looked at as long as a file stands there.
const MAX_PROBES: u32 = 16;

/// Delete what stands at names that these commits of the shard make dead: those that they call so, as
/// a file may have come after it was deleted, and the next names of their files' slots, where somebody
/// went who met the files.
pub(crate) async fn bury_left(lake: &LakeStore, shard: &Shard, commits: &[CommitHeader]) {
    let called = commits.iter().flat_map(|commit| &commit.dead).map(|key| Look::At(key.clone()));
    let files = commits.iter().flat_map(|commit| &commit.files);
    let beside = files.filter_map(|file| {
        let slot = SlotName::parse(shard, &file.name).filter(|slot| slot.first == file.first)?;
        let name = move |probe| {
            let name = SlotName { probe, ..slot }.file_name(shard);
            naming::data_file(&file.table, &file.partition, &name)
        };
        Some(Look::From((1..=MAX_PROBES).map(|n| name(slot.probe + n)).collect()))
    });
    let looks: Vec<_> = called.chain(beside).take(MAX_LOOKS).collect();
    let looks = stream::iter(looks).map(|look| async move {
        match look {
            Look::At(key) => drop(bury(lake, &key).await),
            Look::From(keys) => {
                for (n, key) in (1..).zip(keys) {
                    if !bury(lake, &key).await && n >= MIN_PROBES {
                        break;
                    }
                }
            }
        }
    });
    looks.buffer_unordered(PARALLEL).collect::<()>().await;
}

enum Look {
    At(String),
    /// At some, and on as long as something is there.
    From(Vec<String>),
}

/// Whether a file was there and is gone. Only what is there is deleted: a bucket with versions would
/// keep a marker of every name.
async fn bury(lake: &LakeStore, key: &str) -> bool {
    matches!(lake.size(key).await, Ok(Some(_))) && lake.delete(key).await.is_ok()
}
