//! One file → commits of its chain. A file is a shard: its positions are the byte offsets of its
//! lines (in the inflated text), its commits list byte ranges, and what no commit lists is what is
//! left to do after a kill.
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
use weir::dead_letter::{DeadLetter, Reason};
use weir::naming::ChainKey;
use weir::partition::PartitionPath;
use weir::pipeline::{RowBuffers, data_file, dead_files};
use weir::record::{RecordId, Shard};
use weir::schema::TableSchema;

use super::source::{Packing, Source};

/// Bytes read at once.
const CHUNK: usize = 1 << 20;
/// Longest line taken; a longer one is a dead letter with its first bytes.
const MAX_LINE: usize = 64 << 20;
/// Bytes of rows a thread holds before it encodes them.
const ROW_BUDGET: usize = 16 << 20;
/// Encoded bytes a thread holds before it commits.
const ENCODED_BUDGET: usize = 12 << 20;
/// Bytes of dead letters a thread holds before it commits.
const DEAD_BUDGET: usize = 8 << 20;
/// Bytes of input after which a thread commits in any case: what a kill can cost.
const COMMIT_EVERY: u64 = 1 << 30;

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
    /// Tables and partitions that files were added to.
    pub partitions: std::sync::Mutex<BTreeSet<(String, PartitionPath)>>,
}

impl Progress {
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

struct Session {
    load: Load,
    shard: Shard,
    writer: Mutex<ShardWriter>,
    now: EpochMicros,
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
        }
        let writer = ShardWriter::new(self.lake.clone(), shard.clone());
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
        let each = (todo / self.load.threads.max(1) as u64).max(CHUNK as u64);
        let mut shares = vec![Vec::new()];
        let mut room = each;
        for range in left {
            let mut start = range.start;
            while start < range.end {
                let mut end = range.end;
                if range.end - start > room && shares.len() < self.load.threads {
                    end = self.line_start_after(start + room, range.end)?;
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

    fn line_start_after(&self, mut at: u64, end: u64) -> Result<u64> {
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
        worker.commit()
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
            worker.commit()
        })
    }
}

struct Worker<'a> {
    session: &'a Session,
    rows: RowBuffers,
    dead: Vec<DeadLetter>,
    dead_bytes: usize,
    /// Lines that stand in the buffers, as ranges.
    pending: Vec<Range<u64>>,
    pending_bytes: u64,
    /// Lines to pass over (packed input, which cannot be entered in the middle).
    committed: PositionSet,
    blank: u64,
}

impl<'a> Worker<'a> {
    fn new(session: &'a Session) -> Result<Self> {
        let rows = RowBuffers::new(session.load.table.clone(), session.shard.clone(), ROW_BUDGET)?;
        Ok(Self {
            session,
            rows,
            dead: Vec::new(),
            dead_bytes: 0,
            pending: Vec::new(),
            pending_bytes: 0,
            committed: PositionSet::default(),
            blank: 0,
        })
    }

    /// Take in all lines that `read` gives; the first begins at `offset`.
    fn lines(&mut self, mut offset: u64, read: &mut dyn FnMut(&mut [u8]) -> io::Result<usize>) -> Result<()> {
        let mut buf = vec![0u8; CHUNK];
        let mut held = 0;
        loop {
            if held == buf.len() {
                if buf.len() >= MAX_LINE {
                    (offset, held) = self.overlong(offset, &mut buf, read)?;
                    continue;
                }
                buf.resize(buf.len() * 2, 0);
            }
            let n = read(&mut buf[held..]).with_context(|| {
                format!("could not read {} behind byte {offset}", self.session.load.source.url)
            })?;
            let end = held + n;
            let whole = match (n, memchr::memrchr(b'\n', &buf[held..end])) {
                (0, _) => end,
                (_, Some(newline)) => held + newline + 1,
                (_, None) => {
                    held = end;
                    continue;
                }
            };
            self.take(offset, &buf[..whole])?;
            offset += whole as u64;
            buf.copy_within(whole..end, 0);
            held = end - whole;
            if n == 0 {
                return Ok(());
            }
            if buf.len() > CHUNK && held < CHUNK {
                buf.truncate(CHUNK);
                buf.shrink_to_fit();
            }
        }
    }

    /// A line longer than anything decoded: its head becomes a dead letter, the rest is passed over.
    fn overlong(
        &mut self,
        offset: u64,
        buf: &mut [u8],
        read: &mut dyn FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> Result<(u64, usize)> {
        let raw = buf[..weir::limits::MAX_DEAD_LETTER_BYTES].to_vec();
        let mut next = offset + buf.len() as u64;
        let held = loop {
            let n = read(buf).context("could not read the input")?;
            if let Some(newline) = memchr::memchr(b'\n', &buf[..n]) {
                next += newline as u64 + 1;
                buf.copy_within(newline + 1..n, 0);
                break n - newline - 1;
            }
            next += n as u64;
            if n == 0 {
                break 0;
            }
        };
        self.refuse(DeadLetter {
            id: RecordId { sequence: offset.into(), subsequence: 0 },
            arrived_at: self.session.now,
            reason: Reason::OutOfRange,
            path: String::new(),
            expected: format!("a line of at most {} MiB", MAX_LINE >> 20),
            found: format!("{} MiB", (next - offset) >> 20),
            raw,
        });
        self.span(offset..next);
        Ok((next, held))
    }

    /// Whole lines.
    fn take(&mut self, offset: u64, text: &[u8]) -> Result<()> {
        let utf8 = simdutf8::basic::from_utf8(text).is_ok();
        let passing = !self.committed.is_empty();
        let mut start = 0;
        let mut begun = offset;
        while start < text.len() {
            let end = memchr::memchr(b'\n', &text[start..]).map_or(text.len(), |n| start + n);
            let next = (end + 1).min(text.len());
            let at = offset + start as u64;
            if passing && self.committed.contains(at.into()) {
                self.span(begun..at);
                begun = offset + next as u64;
                self.session.load.progress.skipped.fetch_add((next - start) as u64, Ordering::Relaxed);
                start = next;
                continue;
            }
            let line = &text[start..end];
            if line.iter().all(u8::is_ascii_whitespace) {
                self.blank += 1;
            } else {
                let id = RecordId { sequence: at.into(), subsequence: 0 };
                if let Some(letter) = self.rows.push(line, utf8, id, self.session.now)? {
                    self.refuse(letter);
                }
            }
            start = next;
        }
        self.span(begun..offset + text.len() as u64);
        self.session.load.progress.bytes.fetch_add(text.len() as u64, Ordering::Relaxed);
        let full = self.rows.encoded_bytes() >= ENCODED_BUDGET
            || self.dead_bytes >= DEAD_BUDGET
            || self.pending_bytes >= COMMIT_EVERY;
        if full {
            self.commit()?;
        }
        if self.session.load.progress.stop.load(Ordering::Relaxed) {
            bail!("stopped; what is committed stays, and the same command goes on from there");
        }
        Ok(())
    }

    fn refuse(&mut self, letter: DeadLetter) {
        self.dead_bytes += letter.raw.len() + 256;
        self.dead.push(letter);
    }

    fn span(&mut self, range: Range<u64>) {
        self.pending_bytes += range.end - range.start;
        match self.pending.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ if range.is_empty() => {}
            _ => self.pending.push(range),
        }
    }

    /// Everything taken in so far becomes one commit.
    fn commit(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let session = self.session;
        let table = &session.load.table;
        let covers = PositionSet::from_ranges(self.pending.drain(..));
        let mut files: Vec<BuiltFile> =
            self.rows.take_files()?.into_iter().map(|f| data_file(table, f)).collect();
        self.dead.sort_by_key(|l| l.id);
        files.extend(dead_files(&self.dead, &session.shard, table, session.now)?);
        let dead = self.dead.len() as u64;
        self.dead.clear();
        (self.dead_bytes, self.pending_bytes) = (0, 0);
        let rows: u64 = files.iter().filter(|f| !f.quarantine).map(|f| f.rows).sum();
        let bytes: u64 = files.iter().map(|f| f.bytes.len() as u64).sum();
        let count = files.len() as u64;
        session.commit(&covers, files)?;
        let progress = &session.load.progress;
        progress.rows.fetch_add(rows, Ordering::Relaxed);
        progress.dead.fetch_add(dead, Ordering::Relaxed);
        progress.blank.fetch_add(std::mem::take(&mut self.blank), Ordering::Relaxed);
        progress.files.fetch_add(count, Ordering::Relaxed);
        progress.file_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Session {
    fn commit(&self, covers: &PositionSet, files: Vec<BuiltFile>) -> Result<()> {
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
                let touched = files.into_iter().map(|f| (f.table, f.partition));
                self.load.progress.partitions.lock().unwrap_or_else(|e| e.into_inner()).extend(touched);
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
