//! What the embedded endpoint has acknowledged, in one append-only file, so that it survives the
//! process: every stream as it was made and every record with the sequence number it was given.
//!
//! The endpoint's own durable mode writes everything it holds again with every request, in a form
//! several times as large, and cannot read on after a write that was cut off; so it is not used.
//! A line is the CRC-32 of its JSON in hex, a space, the JSON. A last line that was cut off was
//! never acknowledged and is dropped.
//!
//! What the stream has forgotten (past its retention, deleted) goes when the file has grown to
//! twice its size after the last time: everything the store holds is written to a new file, which
//! takes the old one's name in one step. So the file is at most twice what the store holds, or the
//! bound to begin with, and each byte is copied once on average.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ferrokinesis::persistence::PersistentStream;
use ferrokinesis::store::Store;
use ferrokinesis::types::{StoredRecord, Stream, StreamStatus};
use ferrokinesis::{sequence, types};
use serde::{Deserialize, Serialize};

/// Key in the store, partition key, base64 payload, arrival in seconds.
type Record = (String, String, String, f64);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Entry {
    Stream(PersistentStream),
    Deleted(String),
    Put(String, Vec<Record>),
}

/// A stream as the journal knows it.
#[derive(Default)]
struct Known {
    /// JSON of its newest description, to notice a change.
    description: Vec<u8>,
    stream: Option<PersistentStream>,
    /// Newest key of each shard.
    newest: Vec<Option<String>>,
    /// The next record's index of each shard, over all records there ever were.
    next: Vec<u64>,
    /// Only while loading.
    records: BTreeMap<String, Record>,
}

/// How to keep a journal.
#[derive(Debug, Clone, Copy)]
pub(super) struct JournalOptions {
    /// Flush the disk with every request, so that an acknowledged record survives a power cut.
    pub(super) sync: bool,
    /// A file smaller than this is never written anew.
    pub(super) compact_from_bytes: u64,
}

/// The open journal.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Lines that a full disk refused; the store holds what they say, so they go first next time.
    unwritten: Vec<u8>,
    compact_at: u64,
    known: BTreeMap<String, Known>,
    options: JournalOptions,
}

impl Journal {
    /// Read the journal of a folder and put everything it holds into an empty store.
    pub(super) async fn open(
        path: &Path,
        store: &Store,
        now_s: f64,
        options: JournalOptions,
    ) -> anyhow::Result<Self> {
        let (mut known, mut entries_dropped) = load(path)?;
        for (name, stream) in &mut known {
            entries_dropped |= stream.forget_expired(now_s);
            restore(store, name, stream).await?;
        }
        if entries_dropped {
            rewrite(path, &known)?;
        }
        known.values_mut().for_each(|k| k.records.clear());
        let file = File::options().create(true).append(true).open(path);
        let file = file.with_context(|| format!("could not open {}", path.display()))?;
        let bytes = file.metadata()?.len();
        let compact_at = options.compact_from_bytes.max(2 * bytes);
        Ok(Self { path: path.to_owned(), file, bytes, unwritten: Vec::new(), compact_at, known, options })
    }

    /// Write down what the store holds and the journal does not. Nobody may change the store
    /// meanwhile.
    pub(super) async fn append_changes(&mut self, store: &Store) -> anyhow::Result<()> {
        let mut lines = std::mem::take(&mut self.unwritten);
        let names = store.list_stream_names().await;
        let gone: Vec<String> = self.known.keys().filter(|name| !names.contains(name)).cloned().collect();
        for name in gone {
            self.known.remove(&name);
            write_line(&mut lines, &Entry::Deleted(name))?;
        }
        for name in names {
            let Ok(stream) = store.get_stream(&name).await else { continue };
            let known = self.known.entry(name.clone()).or_default();
            known.append_description(&name, &stream, &mut lines)?;
            let mut new: Vec<Record> = Vec::new();
            for shard in 0..stream.shards.len() {
                known.take_new_records(store, &name, shard, &mut new).await;
            }
            if !new.is_empty() {
                write_line(&mut lines, &Entry::Put(name, new))?;
            }
        }
        if !lines.is_empty() {
            let written = self.write_whole(&lines);
            if written.is_err() {
                self.unwritten = lines;
                return written.context("could not write the stream's journal");
            }
            self.bytes += lines.len() as u64;
        }
        if self.bytes >= self.compact_at {
            // What was asked for is written down; a new file that cannot be made is tried again
            // when the old one has grown once more.
            let _ = self.compact(store).await;
            self.compact_at = self.options.compact_from_bytes.max(2 * self.bytes);
        }
        Ok(())
    }

    /// All or nothing: half a line (a full disk) would make what comes behind it unreadable, so it is
    /// cut off, now or before the next write.
    fn write_whole(&mut self, lines: &[u8]) -> std::io::Result<()> {
        if self.file.metadata()?.len() != self.bytes {
            self.file.set_len(self.bytes)?;
        }
        let written = self.file.write_all(lines).and_then(|()| match self.options.sync {
            true => self.file.sync_data(),
            false => Ok(()),
        });
        if written.is_err() {
            let _ = self.file.set_len(self.bytes);
        }
        written
    }

    /// A new file with what the store holds, in place of the old one. A kill at any moment leaves
    /// one or the other.
    async fn compact(&mut self, store: &Store) -> anyhow::Result<()> {
        let temporary = self.path.with_extension("tmp");
        let mut out = BufWriter::new(File::create(&temporary)?);
        for (name, known) in &self.known {
            known.write_description(&mut out)?;
            for shard in 0..known.newest.len() {
                let held = known.held(store, name, shard).await;
                write_records(&mut out, name, held.into_iter().map(journalled))?;
            }
        }
        let file = out.into_inner()?;
        file.sync_all()?;
        let bytes = file.metadata()?.len();
        fs::rename(&temporary, &self.path)?;
        // From here on only the new file counts, so nothing may fail before it is taken.
        self.file = file;
        self.bytes = bytes;
        if let (true, Some(folder)) = (self.options.sync, self.path.parent()) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

impl Known {
    fn append_description(&mut self, name: &str, stream: &Stream, lines: &mut Vec<u8>) -> anyhow::Result<()> {
        let counters = vec![0; stream.shards.len()];
        let stream = PersistentStream::from_stream(name.to_owned(), stream, counters);
        let description = serde_json::to_vec(&stream)?;
        if description != self.description {
            let entry = Entry::Stream(stream);
            write_line(lines, &entry)?;
            self.description = description;
            if let Entry::Stream(stream) = entry {
                self.stream = Some(stream);
            }
        }
        Ok(())
    }

    /// The stream with its counters, so that new numbers go on after the old ones.
    fn write_description(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let Some(stream) = &self.stream else { return Ok(()) };
        let mut counters = self.next.clone();
        counters.resize(stream.shards.len(), 0);
        let counted = PersistentStream { shard_counters: counters, ..stream.clone() };
        let mut line = Vec::new();
        write_line(&mut line, &Entry::Stream(counted))?;
        Ok(out.write_all(&line)?)
    }

    /// What the store has of a shard.
    async fn held(&self, store: &Store, name: &str, shard: usize) -> Vec<(String, StoredRecord)> {
        let begin = sequence::shard_ix_to_hex(shard as i64);
        let end = sequence::shard_ix_to_hex(shard as i64 + 1);
        store.get_records_range(name, &format!("{begin}/"), &end).await
    }

    async fn take_new_records(&mut self, store: &Store, name: &str, shard: usize, new: &mut Vec<Record>) {
        if self.newest.len() <= shard {
            self.newest.resize(shard + 1, None);
        }
        let begin = sequence::shard_ix_to_hex(shard as i64);
        let end = sequence::shard_ix_to_hex(shard as i64 + 1);
        // The smallest text after a key is the key and a zero byte.
        let after = self.newest[shard].as_ref().map_or(format!("{begin}/"), |key| format!("{key}\0"));
        for (key, record) in store.get_records_range(name, &after, &end).await {
            self.newest[shard] = Some(key.clone());
            if let Some((shard, index)) = place(&key) {
                self.count(shard, index + 1);
            }
            new.push(journalled((key, record)));
        }
    }

    fn describe(&mut self, mut stream: PersistentStream) -> anyhow::Result<()> {
        for (shard, next) in std::mem::take(&mut stream.shard_counters).into_iter().enumerate() {
            self.count(shard, next);
        }
        stream.shard_counters = vec![0; stream.shards.len()];
        self.description = serde_json::to_vec(&stream)?;
        self.stream = Some(stream);
        Ok(())
    }

    fn put(&mut self, record: Record) {
        let Some((shard, index)) = place(&record.0) else { return };
        self.count(shard, index + 1);
        self.records.insert(record.0.clone(), record);
    }

    fn count(&mut self, shard: usize, next: u64) {
        if self.next.len() <= shard {
            self.next.resize(shard + 1, 0);
        }
        self.next[shard] = self.next[shard].max(next);
    }

    /// Drop what is past the stream's retention; whether that was worth a new file.
    fn forget_expired(&mut self, now_s: f64) -> bool {
        let Some(stream) = &self.stream else { return false };
        let oldest = now_s - f64::from(stream.retention_period_hours) * 3_600.0;
        let before = self.records.len();
        self.records.retain(|_, record| record.3 >= oldest);
        (before - self.records.len()) * 4 > before
    }
}

/// Index of a key's shard, and the record's index in it.
fn place(key: &str) -> Option<(usize, u64)> {
    let (shard, number) = key.split_once('/')?;
    let shard = usize::from_str_radix(shard, 16).ok()?;
    Some((shard, sequence::parse_sequence(number).ok()?.seq_ix?))
}

fn load(path: &Path) -> anyhow::Result<(BTreeMap<String, Known>, bool)> {
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    let mut deleted = false;
    let Ok(file) = File::open(path) else { return Ok((known, false)) };
    let mut reader = BufReader::new(&file);
    let (mut line, mut good_bytes) = (Vec::new(), 0);
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok((known, deleted));
        }
        let Some(entry) = read_line(&line) else { break };
        good_bytes += read as u64;
        match entry {
            Entry::Stream(stream) => {
                let known = known.entry(stream.name.clone()).or_default();
                known.describe(stream)?;
            }
            Entry::Deleted(name) => deleted |= known.remove(&name).is_some(),
            Entry::Put(name, records) => {
                let known = known.entry(name).or_default();
                records.into_iter().for_each(|record| known.put(record));
            }
        }
    }
    if reader.read_until(b'\n', &mut Vec::new())? > 0 {
        bail!(
            "{} is damaged at byte {good_bytes}; move it away to begin with an empty stream",
            path.display()
        );
    }
    File::options().write(true).open(path)?.set_len(good_bytes)?;
    Ok((known, deleted))
}

fn read_line(line: &[u8]) -> Option<Entry> {
    let line = line.strip_suffix(b"\n")?;
    let (crc, json) = (line.get(..8)?, line.get(9..)?);
    let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?, 16).ok()?;
    (crc32(json) == crc).then(|| serde_json::from_slice(json).ok())?
}

fn write_line(out: &mut Vec<u8>, entry: &Entry) -> anyhow::Result<()> {
    let json = serde_json::to_vec(entry)?;
    write!(out, "{:08x} ", crc32(&json))?;
    out.extend_from_slice(&json);
    out.push(b'\n');
    Ok(())
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Put a stream back: its description, its records, and its counters, so that new sequence numbers
/// go on after the old ones.
async fn restore(store: &Store, name: &str, known: &mut Known) -> anyhow::Result<()> {
    let Some(stream) = known.stream.clone() else {
        bail!("the journal has records of {name} without the stream")
    };
    let failed =
        |e: ferrokinesis::error::KinesisErrorResponse| anyhow::anyhow!("could not restore {name}: {e:?}");
    let (_, mut description, _) = stream.into_parts();
    description.stream_status = StreamStatus::Active;
    let shards = description.shards.clone();
    store.put_stream(name, description).await.map_err(failed)?;
    known.next.resize(shards.len(), 0);
    known.newest = vec![None; shards.len()];
    let mut batch = Vec::with_capacity(known.records.len());
    for (key, record) in &known.records {
        let Some((shard, _)) = place(key).filter(|(shard, _)| *shard < shards.len()) else { continue };
        known.newest[shard] = known.newest[shard].take().max(Some(key.clone()));
        let record = StoredRecord {
            partition_key: record.1.clone(),
            data: record.2.clone(),
            approximate_arrival_timestamp: record.3,
        };
        batch.push((key.clone(), record));
    }
    store.put_records_batch(name, &batch).await.map_err(failed)?;
    for (shard, next) in shards.iter().zip(&known.next) {
        advance_counter(store, name, shard, *next).await.map_err(failed)?;
    }
    Ok(())
}

/// A fresh counter stands at 1 and only moves by giving out numbers.
async fn advance_counter(
    store: &Store,
    name: &str,
    shard: &types::Shard,
    next: u64,
) -> Result<(), ferrokinesis::error::KinesisErrorResponse> {
    if shard.sequence_number_range.ending_sequence_number.is_some() {
        return Ok(());
    }
    let key = shard.hash_key_range.starting_hash_key.parse::<u128>().unwrap_or_default();
    let mut left = next.saturating_sub(1) as usize;
    while left > 0 {
        let step = left.min(10_000);
        store.allocate_sequences_batch(name, &vec![key; step]).await?;
        left -= step;
    }
    Ok(())
}

fn journalled((key, record): (String, StoredRecord)) -> Record {
    (key, record.partition_key, record.data, record.approximate_arrival_timestamp)
}

fn write_records(
    out: &mut impl Write,
    name: &str,
    mut records: impl Iterator<Item = Record>,
) -> anyhow::Result<()> {
    let mut line = Vec::new();
    loop {
        let chunk: Vec<Record> = records.by_ref().take(500).collect();
        if chunk.is_empty() {
            return Ok(());
        }
        line.clear();
        write_line(&mut line, &Entry::Put(name.to_owned(), chunk))?;
        out.write_all(&line)?;
    }
}

/// A new file with only what is known now, in place of the old one.
fn rewrite(path: &Path, known: &BTreeMap<String, Known>) -> anyhow::Result<()> {
    let temporary: PathBuf = path.with_extension("tmp");
    let mut out = BufWriter::new(File::create(&temporary)?);
    for (name, stream) in known {
        stream.write_description(&mut out)?;
        write_records(&mut out, name, stream.records.values().cloned())?;
    }
    out.into_inner()?.sync_all()?;
    fs::rename(&temporary, path)?;
    Ok(())
}
