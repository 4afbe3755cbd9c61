//! One file → commits of its chain. A file is a shard: its commits list byte ranges (of the inflated
//! text), and what no commit lists is what is left to do after a kill.
//!
//! Plain files are cut into one range a thread, each with its own buffers; packed ones are inflated
//! by one thread and decoded by another.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use weir::catalog::Catalog;
use weir::clock::{Clock, EpochMicros, SystemClock};
use weir::commit::reader::read_chain;
use weir::commit::{Built, BuiltFile, LakeStore, Outcome, PositionSet, ShardWriter};
use weir::naming::ChainKey;
use weir::partition::PartitionPath;
use weir::record::Shard;
use weir::schema::TableSchema;

use super::source::{Packing, Source};
use super::worker::{BLOCK, Worker};

/// Bytes read at once: with the columns and dictionaries at work they stay in a processor's own cache.
pub(super) const CHUNK: usize = 256 << 10;
/// Bytes below which a thread gets no share of its own: each makes files of its own.
const MIN_SHARE: u64 = 1 << 20;

/// Counters of a load, shared by its threads.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of input dealt with (as stored for plain files, else inflated).
    pub bytes: AtomicU64,
    /// Rows committed by this run.
    pub rows: AtomicU64,
    /// Dead letters committed by this run.
    pub dead: AtomicU64,
    /// Blank lines.
    pub blank: AtomicU64,
    /// Files written.
    pub files: AtomicU64,
    /// Bytes written.
    pub file_bytes: AtomicU64,
    /// Bytes that earlier runs had committed.
    pub skipped: AtomicU64,
    /// Set to stop after the commit under way.
    pub stop: AtomicBool,
    pub(crate) unknown_fields: std::sync::Mutex<BTreeMap<String, u64>>,
    /// Tables and partitions that files were added to, by this run and those before it: one that was
    /// killed has registered none.
    pub partitions: std::sync::Mutex<BTreeSet<(String, PartitionPath)>>,
}

impl Progress {
    /// Fields that the table does not have, by path, and how often each was met by what has ended.
    pub fn unknown_fields(&self) -> BTreeMap<String, u64> {
        self.unknown_fields.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    fn touch<'a>(&self, partitions: impl Iterator<Item = (&'a String, &'a PartitionPath)>) {
        let mut touched = self.partitions.lock().unwrap_or_else(|e| e.into_inner());
        touched.extend(partitions.map(|(table, partition)| (table.clone(), partition.clone())));
    }

    /// Register the partitions that files were added to with the catalog.
    ///
    /// # Errors
    /// The catalog cannot be written; the rows are committed all the same.
    pub async fn register(&self, catalog: &dyn Catalog) -> weir::Result<()> {
        let touched = std::mem::take(&mut *self.partitions.lock().unwrap_or_else(|e| e.into_inner()));
        let mut by_table: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
        for (table, path) in touched {
            if !path.is_empty() {
                let null = || weir::partition::NULL_PARTITION.to_owned();
                let values = path.values().into_iter().map(|(_, value)| value.unwrap_or_else(null));
                by_table.entry(table).or_default().push(values.collect());
            }
        }
        for (table, partitions) in by_table {
            catalog.register_partitions(&table, &partitions).await?;
        }
        Ok(())
    }
}

/// What a load needs.
#[derive(Clone)]
pub struct Load {
    /// Lake.
    pub lake: LakeStore,
    /// Table.
    pub table: Arc<TableSchema>,
    /// File.
    pub source: Source,
    /// Threads for a plain file.
    pub threads: usize,
    /// Counters.
    pub progress: Arc<Progress>,
    /// Where commits run.
    pub runtime: Handle,
}

pub(super) struct Session {
    pub(super) load: Load,
    pub(super) shard: Shard,
    writer: Mutex<ShardWriter>,
    pub(super) now: EpochMicros,
}

impl Load {
    /// The shard of this file and table: the same file may be loaded into two tables.
    pub fn shard(&self) -> Shard {
        let identity = format!("{}\n{}\n{}", self.source.url, self.source.identity, self.table.name);
        Shard {
            stream: self.source.url.as_str().into(),
            stream_key: weir::naming::stream_key(&self.source.name, &identity).into(),
            shard: "0".into(),
        }
    }

    /// Load what no commit lists yet. Blocking: call it outside of the runtime's threads.
    ///
    /// # Errors
    /// The file cannot be read, or the lake not written; what is committed stays committed.
    pub fn run(self) -> Result<()> {
        let shard = self.shard();
        let chain = self.runtime.block_on(read_chain(&self.lake, &ChainKey::of(&shard)))?;
        let mut committed = PositionSet::from_ranges([]);
        for version in &chain {
            committed = committed.union(&version.set()?);
            self.progress.touch(version.commit.header.files.iter().map(|f| (&f.table, &f.partition)));
        }
        let writer = ShardWriter::new(self.lake.clone(), shard.clone()).announced();
        let now = SystemClock.now();
        let session = Session { load: self, shard, writer: Mutex::new(writer), now };
        match session.load.source.packing {
            Packing::Plain => session.plain(&committed),
            Packing::Gzip | Packing::Zstd => session.packed(&committed),
        }
    }
}

impl Session {
    fn plain(&self, committed: &PositionSet) -> Result<()> {
        let size = self.load.source.size;
        let left = PositionSet::from_ranges(std::iter::once(0..size)).subtract(committed);
        let PositionSet::Ranges(left) = left else {
            bail!("{} has commits of another kind", self.shard.stream)
        };
        let todo: u64 = left.iter().map(|r| r.end - r.start).sum();
        self.load.progress.skipped.fetch_add(size - todo, Ordering::Relaxed);
        let shares = self.shares(&left, todo)?;
        std::thread::scope(|scope| {
            let share = |ranges: Vec<Range<u64>>| scope.spawn(move || self.load_ranges(&ranges));
            let threads: Vec<_> = shares.into_iter().map(share).collect();
            threads
                .into_iter()
                .try_for_each(|t| t.join().unwrap_or_else(|_| bail!("a loading thread panicked")))
        })
    }

    /// Ranges in order, cut at line ends into one share a thread.
    fn shares(&self, left: &[Range<u64>], todo: u64) -> Result<Vec<Vec<Range<u64>>>> {
        let each = (todo / self.load.threads.max(1) as u64).max(MIN_SHARE);
        let mut shares = vec![Vec::new()];
        let mut room = each;
        for range in left {
            let mut start = range.start;
            while start < range.end {
                let mut end = range.end;
                if range.end - start > room && shares.len() < self.load.threads {
                    end = self.line_start_at((start + room).next_multiple_of(BLOCK), range.end)?;
                }
                if let Some(share) = shares.last_mut() {
                    share.push(start..end);
                }
                room = room.saturating_sub(end - start);
                start = end;
                if room == 0 && shares.len() < self.load.threads {
                    shares.push(Vec::new());
                    room = each;
                }
            }
        }
        Ok(shares)
    }

    /// The first line that starts at or behind `at`.
    fn line_start_at(&self, at: u64, end: u64) -> Result<u64> {
        let mut at = at.saturating_sub(1);
        let mut buf = vec![0; 64 << 10];
        while at < end {
            let n = self.load.source.read_at(&mut buf, at).context("could not read the input")?;
            if n == 0 {
                break;
            }
            if let Some(newline) = memchr::memchr(b'\n', &buf[..n]) {
                return Ok((at + newline as u64 + 1).min(end));
            }
            at += n as u64;
        }
        Ok(end)
    }

    fn load_ranges(&self, ranges: &[Range<u64>]) -> Result<()> {
        let mut worker = Worker::new(self)?;
        for range in ranges {
            let mut offset = range.start;
            let end = range.end;
            worker.lines(range.start, &mut |buf| {
                let want = buf.len().min((end - offset) as usize);
                let n = self.load.source.read_at(&mut buf[..want], offset)?;
                offset += n as u64;
                Ok(n)
            })?;
        }
        worker.finish()
    }

    fn packed(&self, committed: &PositionSet) -> Result<()> {
        let reader = self.load.source.reader();
        let mut inflated: Box<dyn Read + Send> = match self.load.source.packing {
            Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(reader)),
            _ => Box::new(zstd::stream::read::Decoder::new(reader).context("could not read the input")?),
        };
        let (full, chunks) = std::sync::mpsc::sync_channel::<io::Result<Vec<u8>>>(4);
        let (give_back, empty) = std::sync::mpsc::sync_channel::<Vec<u8>>(8);
        let mut worker = Worker::new(self)?;
        worker.committed = committed.clone();
        std::thread::scope(move |scope| {
            scope.spawn(move || {
                loop {
                    let mut chunk = empty.try_recv().unwrap_or_default();
                    chunk.resize(CHUNK, 0);
                    match inflated.read(&mut chunk) {
                        Ok(0) => return,
                        Ok(n) => chunk.truncate(n),
                        Err(e) => {
                            let _ = full.send(Err(e));
                            return;
                        }
                    }
                    if full.send(Ok(chunk)).is_err() {
                        return;
                    }
                }
            });
            // Whatever ends this thread ends the other: its end of the channel goes with it.
            let chunks = chunks;
            let (mut chunk, mut at) = (Vec::new(), 0);
            worker.lines(0, &mut |buf| {
                while at == chunk.len() {
                    let Ok(next) = chunks.recv() else { return Ok(0) };
                    let _ = give_back.try_send(std::mem::replace(&mut chunk, next?));
                    at = 0;
                }
                let n = buf.len().min(chunk.len() - at);
                buf[..n].copy_from_slice(&chunk[at..at + n]);
                at += n;
                Ok(n)
            })?;
            worker.finish()
        })
    }
}

impl Session {
    pub(super) fn commit(&self, covers: &PositionSet, files: Vec<BuiltFile>) -> Result<()> {
        let mut files = Some(files);
        let attempt = format!("{:x}-{:x}", std::process::id(), SystemClock.now().0);
        let mut build = |wanted: &PositionSet| {
            // Files are made before the commit, so a rival's commit in between cannot be cut out.
            match files.take().filter(|_| wanted == covers) {
                Some(files) => Ok(Built { files, covers: covers.clone() }),
                None => Err(weir::Error::Store {
                    operation: "commit",
                    object: self.shard.stream.to_string(),
                    retryable: true,
                    source:
                        "another weir ingest is loading the same file; when it has ended, run this one again"
                            .into(),
                }),
            }
        };
        let outcome = self.load.runtime.block_on(async {
            let mut writer = self.writer.lock().await;
            writer.commit(covers, self.now, &attempt, &mut build).await
        })?;
        match outcome {
            Outcome::Committed { files, .. } => {
                self.load.progress.touch(files.iter().map(|f| (&f.table, &f.partition)));
                Ok(())
            }
            Outcome::AlreadyCommitted { .. } => {
                bail!(
                    "another weir ingest has loaded part of {} meanwhile; run this one again",
                    self.shard.stream
                )
            }
        }
    }
}
