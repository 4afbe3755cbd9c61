//! The lake's objects, and what a function instance sees of them. No call has an effect before the
//! scheduler decides its fate: each is a pending entry that waits, and while it waits every other
//! instance may go on, its process may die, or the world may end without it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// A call as it would reach the service.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    Put { key: String, bytes: Bytes },
    Get { key: String },
    List { prefix: String },
    Delete { key: String },
}

impl Call {
    pub(crate) fn mutates(&self) -> bool {
        matches!(self, Call::Put { .. } | Call::Delete { .. })
    }
    pub(crate) fn is_put(&self) -> bool {
        matches!(self, Call::Put { .. })
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Call::Put { key, bytes } => write!(f, "put {} ({} bytes)", short(key), bytes.len()),
            Call::Get { key } => write!(f, "get {}", short(key)),
            Call::List { prefix } => write!(f, "list {}", short(prefix)),
            Call::Delete { key } => write!(f, "delete {}", short(key)),
        }
    }
}

/// Keys without what all of them share, so that a trace can be read.
pub(crate) fn short(key: &str) -> String {
    key.replace(super::stream::SEQUENCE_PREFIX, "#").replace("_weir/commits/", "log/")
}

/// What the caller is told.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Created,
    /// 412: the name is taken.
    Exists,
    Object(Bytes),
    NotFound,
    Keys(Vec<(String, u64)>),
    Deleted,
    /// 409: another request for the key is under way.
    Conflict,
    /// No answer in time; the call may have taken effect.
    Timeout,
    /// 503 SlowDown.
    Throttled,
    /// 403: nothing that a repeat would cure.
    Refused,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Object(bytes) => write!(f, "{} bytes", bytes.len()),
            Answer::Keys(keys) => write!(f, "{} keys", keys.len()),
            other => write!(f, "{other:?}"),
        }
    }
}

/// Which puts replace what is there: nothing does, but in worlds that are broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overwrites {
    Nothing,
    Versions,
    DataFiles,
}

struct Pending {
    id: u64,
    process: u64,
    call: Call,
    answer: Option<Answer>,
    waker: Waker,
}

/// What lies in the store, and the calls that wait.
pub(crate) struct Objects {
    pub(crate) objects: BTreeMap<String, Bytes>,
    /// How often each key came into being.
    pub(crate) created: BTreeMap<String, u32>,
    /// Data files each process has sent since its attempt began.
    pub(crate) sent: BTreeMap<u64, Vec<String>>,
    overwrites: Overwrites,
    pending: Vec<Pending>,
    calls: u64,
}

pub(crate) type Shared = Arc<Mutex<Objects>>;

impl Objects {
    pub(crate) fn new(overwrites: Overwrites) -> Self {
        Self {
            objects: BTreeMap::new(),
            created: BTreeMap::new(),
            sent: BTreeMap::new(),
            overwrites,
            pending: Vec::new(),
            calls: 0,
        }
    }

    /// Calls that wait, as id and process, in the order they were made.
    pub(crate) fn waiting(&self) -> Vec<(u64, u64)> {
        self.pending.iter().filter(|p| p.answer.is_none()).map(|p| (p.id, p.process)).collect()
    }

    pub(crate) fn call(&self, id: u64) -> Option<Call> {
        self.pending.iter().find(|p| p.id == id).map(|p| p.call.clone())
    }

    /// Answer a call and wake who waits for it.
    pub(crate) fn answer(&mut self, id: u64, answer: Answer) {
        if let Some(pending) = self.pending.iter_mut().find(|p| p.id == id) {
            pending.answer = Some(answer);
            pending.waker.wake_by_ref();
        }
    }

    /// The call takes effect now.
    pub(crate) fn apply(&mut self, call: &Call) -> Answer {
        match call {
            Call::Put { key, bytes } => {
                let replaces = match self.overwrites {
                    Overwrites::Nothing => false,
                    Overwrites::Versions => key.ends_with(".commit"),
                    Overwrites::DataFiles => key.ends_with(".parquet"),
                };
                if self.objects.contains_key(key) && !replaces {
                    return Answer::Exists;
                }
                self.objects.insert(key.clone(), bytes.clone());
                *self.created.entry(key.clone()).or_default() += 1;
                Answer::Created
            }
            Call::Get { key } => {
                self.objects.get(key).map_or(Answer::NotFound, |bytes| Answer::Object(bytes.clone()))
            }
            Call::List { prefix } => {
                let below = format!("{prefix}/");
                let keys = self.objects.iter().filter(|(key, _)| key.starts_with(&below));
                Answer::Keys(keys.map(|(key, bytes)| (key.clone(), bytes.len() as u64)).collect())
            }
            Call::Delete { key } => {
                self.objects.remove(key);
                Answer::Deleted
            }
        }
    }
}

/// The shared objects as one process sees them.
#[derive(Clone)]
pub(crate) struct ProcessStore {
    pub(crate) objects: Shared,
    pub(crate) process: u64,
}

impl fmt::Debug for ProcessStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "store of process {}", self.process)
    }
}

impl fmt::Display for ProcessStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Takes a call out of the queue when its caller is dropped: a dead process asks for nothing.
struct Waiting {
    objects: Shared,
    id: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Ok(mut objects) = self.objects.lock() {
            objects.pending.retain(|p| p.id != self.id);
        }
    }
}

impl ProcessStore {
    fn lock(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap()
    }

    async fn ask(&self, call: Call) -> Result<Answer> {
        let key = match &call {
            Call::Put { key, .. } | Call::Get { key } | Call::Delete { key } => key.clone(),
            Call::List { prefix } => prefix.clone(),
        };
        let id = {
            let mut objects = self.lock();
            objects.calls += 1;
            if call.is_put() && key.ends_with(".parquet") {
                objects.sent.entry(self.process).or_default().push(key.clone());
            }
            let (id, process) = (objects.calls, self.process);
            objects.pending.push(Pending { id, process, call, answer: None, waker: Waker::noop().clone() });
            id
        };
        let waiting = Waiting { objects: self.objects.clone(), id };
        let answer = std::future::poll_fn(|context| {
            let mut objects = waiting.objects.lock().unwrap();
            let Some(pending) = objects.pending.iter_mut().find(|p| p.id == id) else {
                return Poll::Pending;
            };
            pending.waker = context.waker().clone();
            pending.answer.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        drop(waiting);
        told(answer, key)
    }
}

/// Failures as `object_store` reports those of S3.
fn told(answer: Answer, path: String) -> Result<Answer> {
    let generic = |what: &str| Error::Generic { store: "S3", source: what.into() };
    match answer {
        Answer::Exists => {
            let precondition =
                Error::Precondition { path: path.clone(), source: "412 Precondition Failed".into() };
            Err(Error::AlreadyExists { path, source: Box::new(precondition) })
        }
        Answer::Conflict => Err(Error::AlreadyExists { path, source: Box::new(generic("409 Conflict")) }),
        Answer::NotFound => Err(Error::NotFound { path, source: "404 Not Found".into() }),
        Answer::Timeout => Err(generic("operation timed out")),
        Answer::Throttled => Err(generic("503 SlowDown")),
        Answer::Refused => Err(Error::PermissionDenied { path, source: "403 Forbidden".into() }),
        answer => Ok(answer),
    }
}

fn meta(key: &str, size: u64) -> ObjectMeta {
    let location = Path::parse(key).unwrap();
    ObjectMeta { location, last_modified: Default::default(), size, e_tag: None, version: None }
}

#[async_trait]
impl ObjectStore for ProcessStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        assert_eq!(options.mode, PutMode::Create, "create only: {path}");
        self.ask(Call::Put { key: path.to_string(), bytes: payload.into() }).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn get_opts(&self, path: &Path, _: GetOptions) -> Result<GetResult> {
        let Answer::Object(bytes) = self.ask(Call::Get { key: path.to_string() }).await? else {
            unreachable!("a get is answered with an object")
        };
        let (size, range) = (bytes.len() as u64, 0..bytes.len() as u64);
        let payload = GetResultPayload::Stream(stream::iter([Ok(bytes)]).boxed());
        Ok(GetResult { payload, meta: meta(path.as_ref(), size), range, attributes: Attributes::new() })
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let here = self.clone();
        let delete = move |path: Result<Path>| {
            let here = here.clone();
            async move {
                let path = path?;
                here.ask(Call::Delete { key: path.to_string() }).await?;
                Ok(path)
            }
        };
        paths.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let here = self.clone();
        let prefix = prefix.map(Path::to_string).unwrap_or_default();
        let listed = async move {
            match here.ask(Call::List { prefix }).await {
                Ok(Answer::Keys(keys)) => keys.into_iter().map(|(key, size)| Ok(meta(&key, size))).collect(),
                Ok(_) => unreachable!("a list is answered with keys"),
                Err(e) => vec![Err(e)],
            }
        };
        stream::once(listed).flat_map(stream::iter).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        unreachable!("writers list no folders")
    }
    async fn get_ranges(&self, _: &Path, _: &[Range<u64>]) -> Result<Vec<Bytes>> {
        unreachable!("writers read whole objects")
    }
    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        unreachable!("writers put whole objects")
    }
    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        unreachable!("writers never copy")
    }
}
