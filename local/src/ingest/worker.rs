//! Text → rows, dead letters and commits of one thread.
//!
//! A line's identity is its block and its number in it. A block begins with the first line that
//! starts at or behind a multiple of 64 KiB; its sequence number is the byte offset of that line.
//! That finds a line as exactly as an offset of its own would, and takes a hundredth of the space
//! in the provenance columns, since all lines of a block share the long number. Commits and the
//! shares of threads end where blocks end, so that a line has the same identity in every run.

use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, bail};

use weir::commit::{BuiltFile, PositionSet};
use weir::dead_letter::{DeadLetter, Reason};
use weir::limits::DOCUMENT_PADDING_BYTES;
use weir::pipeline::{RowBuffers, data_file, dead_files};
use weir::record::RecordId;
use weir::unpack::{NotTyped, write_document};

use super::load::{CHUNK, Session};

/// Distance of blocks, in bytes.
pub(super) const BLOCK: u64 = 64 << 10;
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

/// The block that lines are counted in.
#[derive(Debug, Default)]
struct Block {
    /// Offset of its first line.
    start: u64,
    /// Lines that start here or behind belong to later blocks.
    end: u64,
    lines: u32,
}

impl Block {
    fn of(start: u64) -> Self {
        Self { start, end: (start / BLOCK + 1) * BLOCK, lines: 0 }
    }

    /// Identity of the next line.
    fn next_line(&mut self) -> RecordId {
        self.lines += 1;
        RecordId { sequence: self.start.into(), subsequence: self.lines - 1 }
    }
}

pub(super) struct Worker<'a> {
    session: &'a Session,
    rows: RowBuffers,
    dead: Vec<DeadLetter>,
    dead_bytes: usize,
    block: Block,
    /// Lines that stand in the buffers, as ranges.
    pending: Vec<Range<u64>>,
    pending_bytes: u64,
    /// Lines to pass over (packed input, which cannot be entered in the middle).
    pub(super) committed: PositionSet,
    blank: u64,
    /// Lines may be changes as a DynamoDB stream writes them.
    of_changes: bool,
    document: Vec<u8>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(session: &'a Session) -> Result<Self> {
        let rows = RowBuffers::new(session.load.table.clone(), session.shard.clone(), ROW_BUDGET)?;
        Ok(Self {
            session,
            rows,
            dead: Vec::new(),
            dead_bytes: 0,
            block: Block::default(),
            pending: Vec::new(),
            pending_bytes: 0,
            committed: PositionSet::default(),
            blank: 0,
            of_changes: session.load.table.is_of_changes(),
            document: Vec::new(),
        })
    }

    /// Take in all lines that `read` gives; the first begins at `offset`.
    pub(super) fn lines(
        &mut self,
        mut offset: u64,
        read: &mut dyn FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> Result<()> {
        let mut buf = vec![0u8; CHUNK];
        let mut held = 0;
        self.block = Block::of(offset);
        loop {
            if held == buf.len() {
                if buf.len() >= MAX_LINE {
                    (offset, held) = self.overlong(offset, &mut buf, read)?;
                    continue;
                }
                buf.resize(buf.len() * 2, 0);
            }
            let n = read(&mut buf[held..]).with_context(|| self.session.load.source.unread(offset))?;
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
        self.begin_block(offset)?;
        let id = self.block.next_line();
        // One byte more than is kept, so that the quarantine says that the rest is missing.
        let raw = buf[..=weir::limits::MAX_DEAD_LETTER_BYTES].to_vec();
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
            id,
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
            if at >= self.block.end {
                self.span(begun..at);
                begun = at;
                self.begin_block(at)?;
            }
            let id = self.block.next_line();
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
                self.push(line, utf8, id)?;
            }
            start = next;
        }
        self.span(begun..offset + text.len() as u64);
        self.session.load.progress.bytes.fetch_add(text.len() as u64, Ordering::Relaxed);
        if self.session.load.progress.stop.load(Ordering::Relaxed) {
            bail!("stopped; what is committed stays, and the same command goes on from there");
        }
        Ok(())
    }

    fn push(&mut self, line: &[u8], utf8: bool, id: RecordId) -> Result<()> {
        let now = self.session.now;
        let refused = if self.of_changes {
            self.document.clear();
            match write_document(line, &mut self.document) {
                Ok(()) => {
                    self.document.reserve(DOCUMENT_PADDING_BYTES);
                    let refused = self.rows.push(&self.document, utf8, id, now)?;
                    refused.map(|letter| DeadLetter { raw: line.to_vec(), ..letter })
                }
                Err(NotTyped { reason, path, expected }) => {
                    let (expected, found) = (expected.to_owned(), "something else".to_owned());
                    Some(DeadLetter {
                        id,
                        arrived_at: now,
                        reason,
                        path,
                        expected,
                        found,
                        raw: line.to_vec(),
                    })
                }
            }
        } else {
            self.rows.push(line, utf8, id, now)?
        };
        if let Some(letter) = refused {
            self.refuse(letter);
        }
        Ok(())
    }

    /// The line at `at` is the first of a block, if the last one is over; what is held becomes a
    /// commit if it is enough for one.
    fn begin_block(&mut self, at: u64) -> Result<()> {
        if at < self.block.end {
            return Ok(());
        }
        self.block = Block::of(at);
        let full = self.rows.encoded_bytes() >= ENCODED_BUDGET
            || self.dead_bytes >= DEAD_BUDGET
            || self.pending_bytes >= COMMIT_EVERY;
        if full { self.commit() } else { Ok(()) }
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

    /// The last commit; what the load has met besides is counted.
    pub(super) fn finish(mut self) -> Result<()> {
        self.commit()?;
        let mut counts = self.session.load.progress.unknown_fields.lock().unwrap_or_else(|e| e.into_inner());
        for (path, n) in self.rows.take_unknown_fields() {
            *counts.entry(path).or_default() += n;
        }
        Ok(())
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
