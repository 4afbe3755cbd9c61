//! The one repair that the protocol knows: files whose records no commit lists are dropped by a
//! commit first and deleted then, and files that a commit proves dead are deleted. Never by age, and
//! nothing of a chain that cannot be read whole.
//!
//! The commit of drops takes a version like any other, so that an attempt under way meets it before
//! it can list a dropped name: it reads the version that it lost, and puts its file elsewhere.

use super::stray::{State, Stray, classify};
use crate::clock::EpochMicros;
use crate::commit::format::{Commit, CommitHeader, FORMAT};
use crate::commit::store::Put;
use crate::commit::{LakeStore, PositionSet};
use crate::error::{Error, Result};
use crate::naming::{ChainKey, LogEntry};

/// Rounds against writers that are faster.
const ROUNDS: usize = 32;
/// A file at a time would make a commit each; more would make a commit that is large to read.
const NAMES: usize = 1_000;

/// Asks for files to be removed.
#[derive(Debug, Clone, Copy)]
pub struct Repair<'a> {
    /// Unique to this run: the attempt of its commits.
    pub attempt: &'a str,
}

/// Remove what may be removed: each file with whether it is gone.
pub(super) async fn remove(
    lake: &LakeStore,
    chain: &ChainKey,
    strays: Vec<Stray>,
    repair: &Repair<'_>,
) -> Result<Vec<(Stray, bool)>> {
    let mut done = Vec::new();
    for some in strays.chunks(NAMES) {
        let mut after = some.to_vec();
        drop_names(lake, chain, &mut after, repair).await?;
        // Told is what was found, not what the repair has made of it.
        for (stray, after) in some.iter().zip(after) {
            match after.state {
                State::Listed => continue,
                State::Uncommitted => done.push((stray.clone(), false)),
                State::Dead(_) | State::Dropped(_) => {
                    lake.delete(&stray.key).await?;
                    done.push((stray.clone(), true));
                }
            }
        }
    }
    Ok(done)
}

/// Append a commit that drops the uncommitted ones. What others commit meanwhile is read first.
async fn drop_names(
    lake: &LakeStore,
    chain: &ChainKey,
    strays: &mut [Stray],
    repair: &Repair<'_>,
) -> Result<()> {
    for _ in 0..ROUNDS {
        let head = classify(lake, chain, strays).await?;
        let open = strays.iter().filter(|stray| stray.state == State::Uncommitted);
        let names: Vec<String> = open.map(|stray| stray.key.clone()).collect();
        if names.is_empty() {
            return Ok(());
        }
        let version = head + 1;
        let bytes = Commit::encode(&header(names, repair), &PositionSet::default())?;
        let key = chain.object(LogEntry::Commit(version));
        let made = match lake.put_if_absent(&key, bytes.clone()).await? {
            Put::Created => true,
            // Ours, if only its answer was lost: the attempt's id is in it.
            Put::Exists => lake.get(&key).await?.is_some_and(|there| there == bytes),
        };
        if made {
            let open = strays.iter_mut().filter(|stray| stray.state == State::Uncommitted);
            open.for_each(|stray| stray.state = State::Dropped(version));
            return Ok(());
        }
    }
    let problem = format!(
        "{ROUNDS} times another writer made the next version first; run it again when the shard is quieter"
    );
    Err(Error::Format { object: chain.prefix(), problem, retryable: true })
}

fn header(drops: Vec<String>, repair: &Repair<'_>) -> CommitHeader {
    CommitHeader {
        format: FORMAT,
        attempt: repair.attempt.to_owned(),
        min: None,
        max: None,
        positions: 0,
        rows: 0,
        quarantined: 0,
        files: Vec::new(),
        dead: Vec::new(),
        replaces: Vec::new(),
        drops,
        // It delivers nothing: the newest arrival is that of other versions.
        arrived_through: EpochMicros::default(),
        weir: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
