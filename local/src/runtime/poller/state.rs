//! Where the poller stands, in a file that is replaced as a whole after each acknowledged batch.
//! Losing it means redelivery, never loss.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::window::OpenWindow;

/// The poller's memory between two runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Checkpoints {
    /// The stream's creation time: a stream made again under the same name is another one.
    pub stream_created: f64,
    /// Shards by id.
    pub shards: BTreeMap<String, ShardCheckpoint>,
    /// The newest batches that were given up, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given_up: Vec<GivenUpBatch>,
}

/// Batches that are remembered; their objects stay where they are.
const MAX_GIVEN_UP: usize = 100;

/// A batch that was given up, and where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GivenUpBatch {
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
    /// Its shard.
    pub shard: String,
    /// Why, as the destination's document names it.
    pub condition: String,
    /// How many records.
    pub records: u64,
    /// Sequence number of the first.
    pub from: String,
    /// Sequence number of the last.
    pub to: String,
    /// How often the function was invoked with it.
    pub invocations: u32,
    /// The object at the on-failure destination; absent if there is none.
    pub object: Option<String>,
}

impl Checkpoints {
    /// Remember a batch that was given up. One that was given up again after a crash is one.
    pub fn remember(&mut self, batch: GivenUpBatch) {
        let same = |known: &GivenUpBatch| {
            (&known.shard, &known.from, &known.to) == (&batch.shard, &batch.from, &batch.to)
        };
        self.given_up.retain(|known| !same(known));
        self.given_up.push(batch);
        let surplus = self.given_up.len().saturating_sub(MAX_GIVEN_UP);
        self.given_up.drain(..surplus);
    }
}

/// Where one shard stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ShardCheckpoint {
    /// Where reading began when nothing is acknowledged yet: milliseconds since the epoch; absent
    /// for the trim horizon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_ms: Option<i64>,
    /// Per lane, the sequence number up to which all of the lane's records are done.
    pub lanes: Vec<Option<String>>,
    /// Whether the shard was read and acknowledged to its end.
    #[serde(default)]
    pub closed: bool,
    /// The tumbling window that is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<OpenWindow>,
}

/// The file and its newest content.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    current: Mutex<(u64, Checkpoints)>,
    written: tokio::sync::Mutex<u64>,
}

impl StateFile {
    /// Read the file, or begin with nothing.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let checkpoints = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!(
                    "could not read {}; delete it to deliver the stream again from its start",
                    path.display()
                )
            })?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Checkpoints::default(),
            Err(e) => return Err(e).with_context(|| format!("could not read {}", path.display())),
        };
        Ok(Self {
            path: path.to_owned(),
            current: Mutex::new((0, checkpoints)),
            written: tokio::sync::Mutex::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, (u64, Checkpoints)> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest content.
    pub fn get(&self) -> Checkpoints {
        self.lock().1.clone()
    }

    /// Change the content; nothing is durable before [`StateFile::save`] returns.
    pub fn update<T>(&self, change: impl FnOnce(&mut Checkpoints) -> T) -> T {
        let mut guard = self.lock();
        guard.0 += 1;
        change(&mut guard.1)
    }

    /// Make every change so far durable. Lanes that save at the same time share one write.
    pub async fn save(&self) -> io::Result<()> {
        let wanted = self.lock().0;
        let mut written = self.written.lock().await;
        if *written >= wanted {
            return Ok(());
        }
        let (version, content) = self.lock().clone();
        let path = self.path.clone();
        let bytes = serde_json::to_vec(&content)?;
        tokio::task::spawn_blocking(move || replace_file(&path, &bytes, Durability::Disk)).await??;
        *written = version;
        Ok(())
    }
}

/// How long a written file must last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Through a power cut.
    Disk,
    /// Through the end of the process.
    Process,
}

/// Replace a file as a whole: temporary file, flush, rename.
pub fn replace_file(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    if durability == Durability::Disk {
        file.sync_all()?;
    }
    fs::rename(&temporary, path)?;
    if let (Durability::Disk, Some(folder)) = (durability, path.parent()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_saved_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints.json");
        let state = StateFile::open(&path).unwrap();
        state.update(|c| {
            let shard = ShardCheckpoint { lanes: vec![Some("7".into()), None], ..Default::default() };
            c.shards.insert("shardId-000000000000".into(), shard);
        });
        assert!(!path.exists());
        state.save().await.unwrap();
        assert_eq!(StateFile::open(&path).unwrap().get(), state.get());
        fs::write(&path, b"{").unwrap();
        let message = format!("{:#}", StateFile::open(&path).unwrap_err());
        assert!(message.contains("delete it"), "{message}");
    }
}
