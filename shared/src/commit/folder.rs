//! A folder of this machine as an object store whose puts outlive a power cut.
//!
//! ```text
//! bytes ──► staged file ──► flush ──► link under its name ──► flush the folder ──► answered
//! ```
//!
//! An object appears under its name in one step and whole: its bytes are on the disk before its name
//! is, and its name before the put is answered. So what was answered as created is there after a
//! power cut, and a version of a chain is never there without the ones before it, since flushing
//! their common folder flushes them too. A kill leaves at most a staged file (`<name>#<n>`), which
//! no list shows.
//!
//! Reading, listing and deleting are `object_store`'s. A delete may be undone by a power cut: only
//! dead files are deleted, and whoever meets one deletes it again.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Objects up to this size are read without a thread.
const SMALL_BYTES: u64 = 64 << 10;

/// A folder. Clones share what they know.
#[derive(Debug, Clone)]
pub(crate) struct DurableFolder {
    files: Arc<LocalFileSystem>,
    root: Arc<FilePath>,
    /// Folders whose own names this process has flushed.
    flushed: Arc<Mutex<HashSet<PathBuf>>>,
}

impl DurableFolder {
    /// Open an existing folder.
    pub(crate) fn open(folder: &FilePath) -> Result<Self> {
        let files = Arc::new(LocalFileSystem::new_with_prefix(folder)?);
        let root = fs::canonicalize(folder).map_err(failed)?.into();
        Ok(Self { files, root, flushed: Arc::default() })
    }

    /// A small object, read where it is asked for: definitions and commits are read one after the
    /// other, and at a cold start the threads of the blocking pool would cost more than the reads.
    fn read_small(&self, location: &Path) -> Result<Option<GetResult>> {
        let mut file = File::open(self.files.path_to_filesystem(location)?).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() || about.len() > SMALL_BYTES {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(about.len() as usize);
        file.read_to_end(&mut bytes).map_err(failed)?;
        let meta = ObjectMeta {
            location: location.clone(),
            last_modified: about.modified().map_err(failed)?.into(),
            size: bytes.len() as u64,
            e_tag: None,
            version: None,
        };
        let range = 0..meta.size;
        let payload = GetResultPayload::Stream(stream::iter([Ok(Bytes::from(bytes))]).boxed());
        Ok(Some(GetResult { payload, meta, range, attributes: Attributes::default() }))
    }

    fn put(&self, path: &FilePath, payload: &PutPayload, replace: bool) -> Result<()> {
        let (staged, mut file) = stage(path)?;
        let written =
            payload.iter().try_for_each(|part| file.write_all(part)).and_then(|()| file.sync_data());
        let named = written.and_then(|()| match replace {
            true => fs::rename(&staged, path),
            false => fs::hard_link(&staged, path),
        });
        if named.is_err() || !replace {
            // Left behind it takes space and is otherwise harmless.
            let _ = fs::remove_file(&staged);
        }
        match named {
            // Who put it may have been killed before the name was flushed, and the caller goes on
            // from what stands there: it has to stay.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                self.flush_names(path).map_err(failed)?;
                Err(Error::AlreadyExists { path: path.display().to_string(), source: e.into() })
            }
            named => named.and_then(|()| self.flush_names(path)).map_err(failed),
        }
    }

    /// Flush the name of a file, and those of the folders above it that may be new.
    fn flush_names(&self, path: &FilePath) -> io::Result<()> {
        let flushed = || self.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(folder) = path.parent() else { return Ok(()) };
        flush(folder)?;
        for folder in folder.ancestors().take_while(|folder| **folder != *self.root) {
            if flushed().contains(folder) {
                break;
            }
            folder.parent().map_or(Ok(()), flush)?;
        }
        flushed().extend(folder.ancestors().take_while(|f| **f != *self.root).map(FilePath::to_path_buf));
        Ok(())
    }
}

/// Asks for the whole object, whatever it is.
fn is_plain(options: &GetOptions) -> bool {
    let GetOptions { range, head, version, if_match, if_none_match, .. } = options;
    let since = options.if_modified_since.is_some() || options.if_unmodified_since.is_some();
    let conditions = if_match.is_some() || if_none_match.is_some() || since;
    range.is_none() && !head && version.is_none() && !conditions
}

fn flush(folder: &FilePath) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A new file beside `path`, in a folder made if need be.
fn stage(path: &FilePath) -> Result<(PathBuf, File)> {
    let mut number = 1;
    loop {
        let mut staged = path.as_os_str().to_owned();
        staged.push(format!("#{number}"));
        let staged = PathBuf::from(staged);
        match OpenOptions::new().write(true).create_new(true).open(&staged) {
            Ok(file) => return Ok((staged, file)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let folder = path.parent().ok_or_else(|| failed(e))?;
                fs::create_dir_all(folder).map_err(failed)?;
            }
            Err(e) => return Err(failed(e)),
        }
    }
}

fn failed(source: io::Error) -> Error {
    Error::Generic { store: "folder", source: source.into() }
}

impl fmt::Display for DurableFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "folder {}", self.root.display())
    }
}

#[async_trait]
impl ObjectStore for DurableFolder {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let replace = match options.mode {
            PutMode::Create => false,
            PutMode::Overwrite => true,
            PutMode::Update(_) => return self.files.put_opts(location, payload, options).await,
        };
        let (here, path) = (self.clone(), self.files.path_to_filesystem(location)?);
        let put = move || here.put(&path, &payload, replace);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => runtime.spawn_blocking(put).await??,
            Err(_) => put()?,
        }
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.files.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match is_plain(&options).then(|| self.read_small(location)) {
            Some(Ok(Some(found))) => Ok(found),
            // Large, or the answer is an error that `object_store` words.
            _ => self.files.get_opts(location, options).await,
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.files.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await
    }
}
