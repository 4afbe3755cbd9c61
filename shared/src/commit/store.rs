//! The lake's objects: put-if-absent, get, list, delete, with retries and a count of requests.
//! Never overwrites anything.

mod dated;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use url::Url;

pub use dated::Dated;

use super::failure::{failed, is_absent, is_retryable};
use super::folder::DurableFolder;
use crate::error::{Error, Result};

/// Keys of one page of an S3 list.
const LIST_PAGE: usize = 1_000;
/// Deletes under way at once.
const DELETES_AT_ONCE: usize = 32;

/// What a put-if-absent came to.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The object is ours.
    Created,
    /// The name was taken; possibly by an earlier try of the same put whose answer was lost.
    Exists,
}

/// No try is begun after that long: with the longest try (30 s) a call still ends before a function
/// of a minute does, and says why.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often and how patiently a request without a definite answer is repeated.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// Tries in all.
    pub tries: u32,
    /// Pause before the second try; doubles each time.
    pub pause: Duration,
}

impl Default for Retry {
    /// Six tries within 1.6 seconds: a throttle passes, and a function keeps most of its deadline.
    fn default() -> Self {
        Self { tries: 6, pause: Duration::from_millis(50) }
    }
}

/// Requests sent, by kind. A put that is repeated counts each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Requests {
    /// Puts, refused ones included.
    pub puts: u64,
    /// Puts answered 'exists' (billed as puts).
    pub refused_puts: u64,
    /// Gets, of absent objects too.
    pub gets: u64,
    /// Pages listed.
    pub lists: u64,
    /// Deletes.
    pub deletes: u64,
}

impl Requests {
    /// What was sent since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            puts: self.puts - earlier.puts,
            refused_puts: self.refused_puts - earlier.refused_puts,
            gets: self.gets - earlier.gets,
            lists: self.lists - earlier.lists,
            deletes: self.deletes - earlier.deletes,
        }
    }
}

#[derive(Debug, Default)]
struct Counters {
    puts: AtomicU64,
    refused_puts: AtomicU64,
    gets: AtomicU64,
    lists: AtomicU64,
    deletes: AtomicU64,
}

/// Whether the store answers 409 while another request for the key is under way. `object_store`
/// reports S3's 409 and 412 alike as 'already exists', but only the latter is an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conflicts {
    Definite,
    NeedPrecondition,
}

/// The root folder of a lake. Cheap to clone; clones share the counters.
#[derive(Debug, Clone)]
pub struct LakeStore {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    url: Arc<str>,
    conflicts: Conflicts,
    retry: Retry,
    counters: Arc<Counters>,
}

impl LakeStore {
    /// Open `file:///folder` (made if need be), `memory:///` (a new one each time) or `s3://bucket/prefix` (feature `aws`). For S3 the
    /// options are those of `object_store` (`aws_region`, `aws_access_key_id`, `aws_endpoint`,
    /// `aws_allow_http`, …); unknown ones are passed over, so that a whole environment can be given.
    pub fn open(url: &str, options: &[(String, String)]) -> Result<Self> {
        let parsed = Url::parse(url).map_err(|e| setting(format!("{url:?} is not a URL ({e})")))?;
        match parsed.scheme() {
            "file" => open_folder(&parsed),
            "memory" => {
                let store = Arc::new(object_store::memory::InMemory::new());
                Ok(Self::new(store, Path::default(), url))
            }
            "s3" => open_s3(&parsed, options),
            other => Err(setting(format!("{other:?} is no kind of lake"))),
        }
    }

    /// Over any store whose `PutMode::Create` is put-if-absent.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: Path, url: &str) -> Self {
        let (url, conflicts) = (url.into(), Conflicts::Definite);
        Self { store, prefix, url, conflicts, retry: Retry::default(), counters: Arc::default() }
    }

    /// The same lake with other patience.
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// The same lake over a store that answers as S3 does: 412 if a name is taken, 409 while another
    /// request for it is under way (which is no answer), and lists in the order of the keys.
    pub fn with_s3_answers(mut self) -> Self {
        self.conflicts = Conflicts::NeedPrecondition;
        self
    }

    /// The address it was opened by.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The store below, for readers of data files; keys need [`Self::path`].
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// Where a key stands in [`Self::object_store`].
    pub fn path(&self, key: &str) -> Result<Path> {
        // `Path::parse` keeps `%3A` of a Hive path as it is; `Path::from` would escape it again.
        let relative = Path::parse(key).map_err(|e| Error::Internal(format!("key {key:?}: {e}")))?;
        let parts = self.prefix.parts().map(|p| p.as_ref().to_owned());
        let parts: Vec<String> = parts.chain(relative.parts().map(|p| p.as_ref().to_owned())).collect();
        Path::parse(parts.join("/")).map_err(|e| Error::Internal(format!("key {key:?}: {e}")))
    }

    /// Requests sent so far by this lake and its clones.
    pub fn requests(&self) -> Requests {
        let read = |c: &AtomicU64| c.load(Ordering::Relaxed);
        Requests {
            puts: read(&self.counters.puts),
            refused_puts: read(&self.counters.refused_puts),
            gets: read(&self.counters.gets),
            lists: read(&self.counters.lists),
            deletes: read(&self.counters.deletes),
        }
    }

    /// Create the object unless the name is taken. Repeats the same key until the answer is
    /// definite: after a time-out the put may have landed, or may still land.
    pub async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Put> {
        let path = self.path(key)?;
        let mut pauses = self.pauses();
        loop {
            count(&self.counters.puts);
            let payload = PutPayload::from(bytes.clone());
            let failure = match self.store.put_opts(&path, payload, PutMode::Create.into()).await {
                Ok(_) => return Ok(Put::Created),
                Err(e) if self.is_taken(&e) => {
                    count(&self.counters.refused_puts);
                    return Ok(Put::Exists);
                }
                Err(e) => e,
            };
            self.pause_or_fail("put", key, failure, &mut pauses).await?;
        }
    }

    /// The object, or none.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let path = self.path(key)?;
        let mut pauses = self.pauses();
        loop {
            count(&self.counters.gets);
            let failure = match self.store.get(&path).await {
                Ok(found) => match found.bytes().await {
                    Ok(bytes) => return Ok(Some(bytes)),
                    Err(e) => e,
                },
                Err(e) if is_absent(&e) => return Ok(None),
                Err(e) => e,
            };
            self.pause_or_fail("get", key, failure, &mut pauses).await?;
        }
    }

    /// The object's length, or none.
    pub async fn size(&self, key: &str) -> Result<Option<u64>> {
        let path = self.path(key)?;
        let mut pauses = self.pauses();
        loop {
            count(&self.counters.gets);
            let failure = match self.store.head(&path).await {
                Ok(found) => return Ok(Some(found.size)),
                Err(e) if is_absent(&e) => return Ok(None),
                Err(e) => e,
            };
            self.pause_or_fail("get", key, failure, &mut pauses).await?;
        }
    }

    /// Some bytes of an object that is there.
    pub async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let path = self.path(key)?;
        let mut pauses = self.pauses();
        loop {
            count(&self.counters.gets);
            let failure = match self.store.get_range(&path, range.clone()).await {
                Ok(bytes) => return Ok(bytes),
                Err(e) => e,
            };
            self.pause_or_fail("get", key, failure, &mut pauses).await?;
        }
    }

    /// All keys below a folder, sorted.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.list_after(prefix, None, usize::MAX).await
    }

    /// The first `limit` keys below a folder that sort after `after`, sorted.
    pub async fn list_after(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        let mut pauses = self.pauses();
        loop {
            let failure = match self.list_once(prefix, after, limit).await {
                Ok(keys) => return keys,
                Err(e) => e,
            };
            self.pause_or_fail("list", prefix, failure, &mut pauses).await?;
        }
    }

    /// Names of the folders directly below a folder, sorted.
    pub async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        let path = self.path(prefix)?;
        let mut pauses = self.pauses();
        loop {
            count(&self.counters.lists);
            let failure = match self.store.list_with_delimiter(Some(&path)).await {
                Ok(found) => {
                    let names = found.common_prefixes.iter();
                    let mut names: Vec<_> = names.filter_map(|p| p.filename().map(str::to_owned)).collect();
                    names.sort_unstable();
                    return Ok(names);
                }
                Err(e) if is_absent(&e) => return Ok(Vec::new()),
                Err(e) => e,
            };
            self.pause_or_fail("list", prefix, failure, &mut pauses).await?;
        }
    }

    /// Delete the object; it is no error if it is gone.
    pub async fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        let mut pauses = self.pauses();
        loop {
            count(&self.counters.deletes);
            let failure = match self.store.delete(&path).await {
                Ok(()) => return Ok(()),
                Err(e) if is_absent(&e) => return Ok(()),
                Err(e) => e,
            };
            self.pause_or_fail("delete", key, failure, &mut pauses).await?;
        }
    }

    /// Delete objects, many at once.
    pub async fn delete_all(&self, keys: &[String]) -> Result<()> {
        let deletes = keys.iter().cloned().map(|key| async move { self.delete(&key).await });
        stream::iter(deletes).buffer_unordered(DELETES_AT_ONCE).try_collect().await
    }

    async fn list_once(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> object_store::Result<Result<Vec<String>>> {
        let (path, offset) = match (self.path(prefix), after.map(|key| self.path(key)).transpose()) {
            (Ok(path), Ok(offset)) => (path, offset),
            (Err(e), _) | (_, Err(e)) => return Ok(Err(e)),
        };
        count(&self.counters.lists);
        let stream = match &offset {
            Some(offset) => self.store.list_with_offset(Some(&path), offset),
            None => self.store.list(Some(&path)),
        };
        // S3 lists in key order, a folder does not: only S3 may stop early.
        let bound = if self.conflicts == Conflicts::NeedPrecondition { limit } else { usize::MAX };
        let skip = if self.prefix.as_ref().is_empty() { 0 } else { self.prefix.as_ref().len() + 1 };
        let keys = stream.take(bound).map_ok(|meta| meta.location.as_ref()[skip..].to_owned());
        let mut keys: Vec<String> = keys.try_collect().await?;
        self.counters.lists.fetch_add((keys.len().saturating_sub(1) / LIST_PAGE) as u64, Ordering::Relaxed);
        keys.sort_unstable();
        keys.truncate(limit);
        Ok(Ok(keys))
    }

    fn is_taken(&self, error: &object_store::Error) -> bool {
        match error {
            object_store::Error::AlreadyExists { source, .. } => match self.conflicts {
                Conflicts::Definite => true,
                Conflicts::NeedPrecondition => matches!(
                    source.downcast_ref::<object_store::Error>(),
                    Some(object_store::Error::Precondition { .. } | object_store::Error::NotModified { .. })
                ),
            },
            object_store::Error::Precondition { .. } => true,
            _ => false,
        }
    }

    fn pauses(&self) -> Pauses {
        Pauses { left: self.retry.tries.saturating_sub(1), next: self.retry.pause, begun: Instant::now() }
    }

    /// Wait before the next try, or give up with the failure.
    async fn pause_or_fail(
        &self,
        operation: &'static str,
        key: &str,
        failure: object_store::Error,
        pauses: &mut Pauses,
    ) -> Result<()> {
        match pauses.next() {
            Some(pause) if is_retryable(&failure) => {
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                Ok(())
            }
            _ => Err(failed(operation, key, &self.url, failure)),
        }
    }
}

/// The pauses between the tries of one call.
struct Pauses {
    left: u32,
    next: Duration,
    /// Not the time of day, which comes in as an argument: only how long the call has taken.
    begun: Instant,
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let pause = self.next;
        self.next *= 2;
        (self.begun.elapsed() + pause < PATIENCE).then_some(pause)
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn setting(problem: String) -> Error {
    Error::Setting { setting: "WEIR_LAKE".into(), problem, example: "file:///var/lib/weir/lake".into() }
}

fn open_folder(url: &Url) -> Result<LakeStore> {
    let folder = url.to_file_path().map_err(|()| setting(format!("{url} is not an absolute folder")))?;
    let made = std::fs::create_dir_all(&folder)
        .map_err(|e| setting(format!("cannot make {}: {e}", folder.display())));
    made?;
    let store = DurableFolder::open(&folder);
    let store = store.map_err(|e| setting(format!("cannot open {}: {e}", folder.display())))?;
    Ok(LakeStore::new(Arc::new(store), Path::default(), url.as_str()))
}

#[cfg(feature = "aws")]
fn open_s3(url: &Url, options: &[(String, String)]) -> Result<LakeStore> {
    use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
    let bucket = url.host_str().ok_or_else(|| setting(format!("{url} names no bucket")))?;
    let retries = object_store::RetryConfig {
        // A store that cannot be connected to is given up within 10 s, which a function has for its
        // init; one that answers badly is asked five times, within 2 s.
        retry_timeout: Duration::from_secs(7),
        max_retries: 4,
        ..Default::default()
    };
    let client = object_store::ClientOptions::new().with_connect_timeout(Duration::from_secs(3));
    let mut builder = AmazonS3Builder::new().with_retry(retries).with_client_options(client);
    for (key, value) in options {
        if let Ok(key) = key.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        } else if key.eq_ignore_ascii_case("aws_allow_http") {
            builder = builder.with_allow_http(value == "true");
        }
    }
    let store =
        builder.with_bucket_name(bucket).build().map_err(|e| setting(format!("cannot open {url}: {e}")))?;
    let prefix = Path::parse(url.path()).map_err(|e| setting(format!("{url}: {e}")))?;
    Ok(LakeStore::new(Arc::new(store), prefix, url.as_str()).with_s3_answers())
}

#[cfg(not(feature = "aws"))]
fn open_s3(url: &Url, _options: &[(String, String)]) -> Result<LakeStore> {
    Err(setting(format!("{url} needs a build with the feature `aws`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lakes() -> Vec<(LakeStore, Option<tempfile::TempDir>)> {
        let folder = tempfile::tempdir().unwrap();
        let url = Url::from_directory_path(folder.path().join("new lake")).unwrap();
        vec![
            (LakeStore::open("memory:///", &[]).unwrap(), None),
            (LakeStore::open(url.as_str(), &[]).unwrap(), Some(folder)),
            (
                LakeStore::new(
                    Arc::new(object_store::memory::InMemory::new()),
                    "a/b".into(),
                    "memory:///a/b",
                ),
                None,
            ),
        ]
    }

    #[tokio::test]
    async fn objects_are_created_once_and_listed_in_order() {
        for (lake, _folder) in lakes() {
            let keys = ["t/live/dt=a%3Ab/x.parquet", "t/live/dt=a/x.parquet", "t/live/dt=b c/y", "u/z"];
            for key in keys {
                assert_eq!(lake.put_if_absent(key, Bytes::from_static(b"1")).await.unwrap(), Put::Created);
                assert_eq!(lake.put_if_absent(key, Bytes::from_static(b"2")).await.unwrap(), Put::Exists);
                assert_eq!(lake.get(key).await.unwrap().unwrap(), "1");
            }
            assert_eq!(
                lake.list("t").await.unwrap(),
                ["t/live/dt=a%3Ab/x.parquet", "t/live/dt=a/x.parquet", "t/live/dt=b c/y"]
            );
            assert_eq!(lake.list_after("t", Some("t/live/dt=a%3Ab/x.parquet"), 1).await.unwrap(), [keys[1]]);
            assert_eq!(lake.folders("t/live").await.unwrap(), ["dt=a", "dt=a%3Ab", "dt=b c"]);
            assert!(lake.list("nothing").await.unwrap().is_empty());
            assert!(lake.folders("nothing").await.unwrap().is_empty());
            lake.delete(keys[0]).await.unwrap();
            lake.delete(keys[0]).await.unwrap();
            assert_eq!(lake.get(keys[0]).await.unwrap(), None);
            let expected = Requests { puts: 8, refused_puts: 4, gets: 5, lists: 5, deletes: 2 };
            assert_eq!(lake.requests(), expected, "{}", lake.url());
        }
    }

    #[test]
    fn bad_addresses_name_the_setting_and_an_example() {
        for bad in ["lake", "http://x", "ftp://x/y"] {
            let error = LakeStore::open(bad, &[]).unwrap_err();
            assert!(!error.retryable());
            assert!(error.to_string().contains("WEIR_LAKE=file:///"), "{error}");
        }
    }
}
