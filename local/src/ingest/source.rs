//! A file to load → lines with their byte offsets. Local or in a store; plain, gzip or zstd by its
//! first bytes, never by its name.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use weir::commit::LakeStore;

/// Bytes of the head and of the tail that go into a file's identity.
const IDENTITY_BYTES: u64 = 64 << 10;
/// Bytes asked of a remote store at once.
const REMOTE_CHUNK: u64 = 8 << 20;
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Random access to the bytes of a file.
trait ReadAt: Send + Sync {
    /// Fill as much of `buf` as there is at `offset`; 0 at the end.
    ///
    /// # Errors
    /// The file or store cannot be read.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buf, offset)
    }
}

struct Remote {
    store: LakeStore,
    key: String,
    size: u64,
    runtime: Handle,
}

impl ReadAt for Remote {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = (offset + buf.len() as u64).min(self.size);
        if offset >= end {
            return Ok(0);
        }
        let get = self.store.get_range(&self.key, offset..end);
        let bytes = self.runtime.block_on(get).map_err(io::Error::other)?;
        buf[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

/// How the bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// As they are
    Plain,
    /// gzip, one or many members
    Gzip,
    /// zstd, one or many frames
    Zstd,
}

/// A file to load.
#[derive(Clone)]
pub struct Source {
    /// Its address: part of its identity, and what `_stream` says.
    pub url: String,
    /// Last part of the address.
    pub name: String,
    /// Bytes as stored.
    pub size: u64,
    /// Packing.
    pub packing: Packing,
    /// Hash of size, head and tail: a changed file is another file.
    pub identity: String,
    bytes: Arc<dyn ReadAt>,
}

impl Source {
    /// Open a local path, `file://` or `s3://` address.
    ///
    /// # Errors
    /// It is not there, or not a file.
    pub fn open(address: &str, options: &[(String, String)], runtime: &Handle) -> Result<Self> {
        if let Some((scheme, _)) = address.split_once("://")
            && scheme != "file"
        {
            return Self::open_remote(address, options, runtime);
        }
        let path = PathBuf::from(address.strip_prefix("file://").unwrap_or(address));
        let file = File::open(&path).with_context(|| format!("could not open {}", path.display()))?;
        let meta = file.metadata().with_context(|| format!("could not open {}", path.display()))?;
        if !meta.is_file() {
            bail!(
                "{} is not a file; give the files themselves, as in `weir ingest {}/*.ndjson`",
                path.display(),
                path.display()
            );
        }
        let absolute = path.canonicalize().unwrap_or(path);
        Self::describe(format!("file://{}", absolute.display()), meta.len(), Arc::new(file))
    }

    fn open_remote(address: &str, options: &[(String, String)], runtime: &Handle) -> Result<Self> {
        let bucket_and_key = address.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
        let Some((bucket, key)) = bucket_and_key.filter(|(_, key)| !key.is_empty()) else {
            bail!("{address} names no file; example: s3://bucket/events.ndjson.gz");
        };
        let opened = LakeStore::open(&format!("s3://{bucket}"), options);
        let store = opened.with_context(|| format!("could not open {address}"))?;
        let size = runtime.block_on(store.size(key)).with_context(|| format!("could not open {address}"))?;
        let Some(size) = size else {
            bail!("{address} does not exist; `aws s3 ls s3://{bucket}/` shows what does");
        };
        let remote = Remote { store, key: key.to_owned(), size, runtime: runtime.clone() };
        Self::describe(address.to_owned(), size, Arc::new(remote))
    }

    fn describe(url: String, size: u64, bytes: Arc<dyn ReadAt>) -> Result<Self> {
        let mut hash = Sha256::new();
        hash.update(size.to_le_bytes());
        let mut head = vec![0; IDENTITY_BYTES.min(size) as usize];
        read_full(&*bytes, &mut head, 0).with_context(|| format!("could not read {url}"))?;
        hash.update(&head);
        let mut tail = vec![0; IDENTITY_BYTES.min(size) as usize];
        let from = size - tail.len() as u64;
        read_full(&*bytes, &mut tail, from).with_context(|| format!("could not read {url}"))?;
        hash.update(&tail);
        let packing = match &head {
            h if h.starts_with(GZIP) => Packing::Gzip,
            h if h.starts_with(ZSTD) => Packing::Zstd,
            _ => Packing::Plain,
        };
        let identity = hash.finalize()[..16].iter().map(|b| format!("{b:02x}")).collect();
        let name = url.rsplit('/').next().unwrap_or(&url).to_owned();
        Ok(Self { url, name, size, packing, identity, bytes })
    }

    /// Why nothing behind byte `offset` (of the inflated text, if packed) can be had, most likely.
    pub(super) fn unread(&self, offset: u64) -> String {
        let hint = match self.packing {
            Packing::Plain => "",
            Packing::Gzip => "; see with `gzip -t` whether the file is whole",
            Packing::Zstd => "; see with `zstd -t` whether the file is whole",
        };
        format!("could not read {} behind byte {offset}{hint}", self.url)
    }

    /// The bytes as stored, at random.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.bytes.read_at(buf, offset)
    }

    /// The bytes as stored, from the start.
    pub fn reader(&self) -> impl Read + Send + use<> {
        let from = Sequential { source: self.bytes.clone(), offset: 0 };
        BufReader::with_capacity(
            if self.url.starts_with("file:") { 256 << 10 } else { REMOTE_CHUNK as usize },
            from,
        )
    }
}

struct Sequential {
    source: Arc<dyn ReadAt>,
    offset: u64,
}

impl Read for Sequential {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read_at(buf, self.offset)?;
        self.offset += n as u64;
        Ok(n)
    }
}

fn read_full(source: &dyn ReadAt, buf: &mut [u8], mut offset: u64) -> io::Result<()> {
    let mut filled = 0;
    while filled < buf.len() {
        match source.read_at(&mut buf[filled..], offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => (filled, offset) = (filled + n, offset + n as u64),
        }
    }
    Ok(())
}
