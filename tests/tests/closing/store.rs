//! Objects with the times they were put, and processes whose every call waits for the seed's word.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

#[derive(Debug, Clone)]
pub(crate) enum Call {
    /// `replace` is how a catalog without conditions writes an entry.
    Put {
        key: String,
        bytes: Bytes,
        replace: bool,
    },
    Get {
        key: String,
    },
    List {
        prefix: String,
    },
    Delete {
        key: String,
    },
}

impl Call {
    pub(crate) fn mutates(&self) -> bool {
        matches!(self, Call::Put { .. } | Call::Delete { .. })
    }
    /// A list or a get of what tables hold.
    pub(crate) fn reads_table(&self) -> bool {
        matches!(self, Call::Get { key } | Call::List { prefix: key } if key.starts_with("t/"))
    }
    /// A call that others may overtake: of the catalog, of a service, that says who won, or a commit.
    pub(crate) fn matters_late(&self) -> bool {
        let Call::Put { key, .. } = self else { return false };
        key.starts_with("_weir/catalog/")
            || key.starts_with("service/")
            || key.ends_with("/result")
            || key.ends_with(".commit")
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Created,
    Exists,
    Object(Bytes, i64),
    NotFound,
    Keys(Vec<(String, u64, i64)>),
    Deleted,
    Timeout,
}

struct Pending {
    id: u64,
    process: u64,
    call: Call,
    answer: Option<Answer>,
    waker: Waker,
}

#[derive(Default)]
pub(crate) struct Objects {
    pub(crate) objects: BTreeMap<String, (Bytes, i64)>,
    pub(crate) now: i64,
    pending: Vec<Pending>,
    calls: u64,
}

pub(crate) type Shared = Arc<Mutex<Objects>>;

impl Objects {
    /// Calls that wait, as id and process.
    pub(crate) fn waiting(&self) -> Vec<(u64, u64)> {
        self.pending.iter().filter(|p| p.answer.is_none()).map(|p| (p.id, p.process)).collect()
    }

    pub(crate) fn call(&self, id: u64) -> Option<Call> {
        self.pending.iter().find(|p| p.id == id).map(|p| p.call.clone())
    }

    pub(crate) fn answer(&mut self, id: u64, answer: Answer) {
        if let Some(pending) = self.pending.iter_mut().find(|p| p.id == id) {
            pending.answer = Some(answer);
            pending.waker.wake_by_ref();
        }
    }

    /// The call takes effect now.
    pub(crate) fn apply(&mut self, call: &Call) -> Answer {
        match call {
            Call::Put { key, bytes, replace } => {
                if self.objects.contains_key(key) && !replace {
                    return Answer::Exists;
                }
                self.objects.insert(key.clone(), (bytes.clone(), self.now));
                Answer::Created
            }
            Call::Get { key } => match self.objects.get(key) {
                Some((bytes, born)) => Answer::Object(bytes.clone(), *born),
                None => Answer::NotFound,
            },
            Call::List { prefix } => {
                let below = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
                let keys = self.objects.range(below.clone()..).take_while(|(key, _)| key.starts_with(&below));
                Answer::Keys(keys.map(|(k, (bytes, born))| (k.clone(), bytes.len() as u64, *born)).collect())
            }
            Call::Delete { key } => {
                self.objects.remove(key);
                Answer::Deleted
            }
        }
    }
}

/// The objects as one process sees them; process 0 is answered at once.
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

/// Takes a call out of the queue when its caller is dropped.
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
        if self.process == 0 {
            let answer = self.lock().apply(&call);
            return told(answer, key);
        }
        let id = {
            let mut objects = self.lock();
            objects.calls += 1;
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
        told(answer, key)
    }
}

fn told(answer: Answer, path: String) -> Result<Answer> {
    match answer {
        Answer::Exists => Err(Error::AlreadyExists { path, source: "412 Precondition Failed".into() }),
        Answer::NotFound => Err(Error::NotFound { path, source: "404 Not Found".into() }),
        Answer::Timeout => Err(Error::Generic { store: "S3", source: "operation timed out".into() }),
        answer => Ok(answer),
    }
}

fn meta(key: &str, size: u64, born: i64) -> ObjectMeta {
    let location = Path::parse(key).unwrap();
    let mut meta =
        ObjectMeta { location, last_modified: Default::default(), size, e_tag: None, version: None };
    meta.last_modified += Duration::from_micros(born as u64);
    meta
}

#[async_trait]
impl ObjectStore for ProcessStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let replace = options.mode == PutMode::Overwrite;
        self.ask(Call::Put { key: path.to_string(), bytes: payload.into(), replace }).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn get_opts(&self, path: &Path, _: GetOptions) -> Result<GetResult> {
        let Answer::Object(bytes, born) = self.ask(Call::Get { key: path.to_string() }).await? else {
            unreachable!("a get is answered with an object")
        };
        let (size, range) = (bytes.len() as u64, 0..bytes.len() as u64);
        let payload = GetResultPayload::Stream(stream::iter([Ok(bytes)]).boxed());
        Ok(GetResult { payload, meta: meta(path.as_ref(), size, born), range, attributes: Attributes::new() })
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
                Ok(Answer::Keys(keys)) => {
                    keys.into_iter().map(|(key, size, born)| Ok(meta(&key, size, born))).collect()
                }
                Ok(_) => unreachable!("a list is answered with keys"),
                Err(e) => vec![Err(e)],
            }
        };
        stream::once(listed).flat_map(stream::iter).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let prefix = prefix.map(Path::to_string).unwrap_or_default();
        let Answer::Keys(keys) = self.ask(Call::List { prefix: prefix.clone() }).await? else {
            unreachable!("a list is answered with keys")
        };
        let folder = |key: &str| {
            let (name, _) = key.strip_prefix(&format!("{prefix}/"))?.split_once('/')?;
            Some(Path::parse(format!("{prefix}/{name}")).unwrap())
        };
        let folders: std::collections::BTreeSet<_> =
            keys.iter().filter_map(|(key, ..)| folder(key)).collect();
        Ok(ListResult { common_prefixes: folders.into_iter().collect(), objects: Vec::new() })
    }

    async fn get_ranges(&self, _: &Path, _: &[Range<u64>]) -> Result<Vec<Bytes>> {
        unreachable!("nobody reads ranges here")
    }
    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        unreachable!("nobody puts in parts here")
    }
    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        unreachable!("nobody copies here")
    }
}
