//! A store that fails as real ones do, from a seed: processes die before and after a call, answers
//! get lost, puts land late, calls are refused. Every call is a scheduling point. Some worlds are
//! broken on purpose, to show that the checks see it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Numbers from a seed (xorshift64*).
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            random.next();
        }
        random
    }
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    /// True in `percent` of 100 cases.
    pub(super) fn chance(&mut self, percent: f64) -> bool {
        (self.next() % 100_000) as f64 / 1_000.0 < percent
    }
}

/// What is broken, as in the table 'What breaks without each rule'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    Nothing,
    /// A put of a version replaces what is there.
    ChainOverwrite,
    /// A put of a data file replaces what is there.
    FileOverwrite,
}

#[derive(Debug)]
enum Call {
    Put(Path, Bytes),
    Delete(Path),
}

/// What all processes share.
#[derive(Debug)]
pub(super) struct World {
    pub(super) random: Random,
    pub(super) broken: Broken,
    /// Off while the world comes to rest.
    pub(super) faults: bool,
    /// No call lands late, so only crashes leave files behind.
    pub(super) punctual: bool,
    /// Processes that died in a call.
    pub(super) dead: BTreeSet<usize>,
    /// How often each key came into being.
    pub(super) created: BTreeMap<String, u32>,
    late: Vec<Call>,
    objects: Arc<InMemory>,
}

pub(super) type Shared = Arc<Mutex<World>>;

impl World {
    pub(super) fn new(seed: u64, broken: Broken) -> Shared {
        Arc::new(Mutex::new(Self {
            random: Random::new(seed),
            broken,
            faults: true,
            punctual: false,
            dead: BTreeSet::new(),
            created: BTreeMap::new(),
            late: Vec::new(),
            objects: Arc::new(InMemory::new()),
        }))
    }

    pub(super) fn objects(&self) -> Arc<InMemory> {
        Arc::clone(&self.objects)
    }

    /// One call that was under way lands now; false if none is left.
    pub(super) fn land_one(&mut self) -> bool {
        if self.late.is_empty() {
            return false;
        }
        let at = self.random.below(self.late.len());
        match self.late.swap_remove(at) {
            Call::Put(path, bytes) => drop(self.put(&path, bytes)),
            Call::Delete(path) => drop(block_on(self.objects.delete(&path))),
        }
        true
    }

    fn put(&mut self, path: &Path, bytes: Bytes) -> Result<PutResult> {
        let on_chain = path.as_ref().starts_with("_weir/");
        let overwrite = match self.broken {
            Broken::ChainOverwrite => path.as_ref().ends_with(".commit"),
            Broken::FileOverwrite => !on_chain,
            _ => false,
        };
        let mode = if overwrite { PutMode::Overwrite } else { PutMode::Create };
        let answer = block_on(self.objects.put_opts(path, bytes.into(), mode.into()));
        if answer.is_ok() {
            *self.created.entry(path.to_string()).or_default() += 1;
        }
        answer
    }
}

/// The shared store as one process sees it.
#[derive(Debug)]
pub(super) struct FaultyStore {
    pub(super) world: Shared,
    pub(super) process: usize,
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.process)
    }
}

enum Fate {
    Lands,
    DiesBefore,
    DiesAfter,
    Late,
    AnswerLost,
    Refused,
}

impl FaultyStore {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Let others go first, then roll the dice.
    async fn fate(&self, mutates: bool) -> Fate {
        let wait = 1 + self.world().random.below(2);
        for _ in 0..wait {
            yield_once().await;
        }
        let mut world = self.world();
        if !world.faults {
            return Fate::Lands;
        }
        match world.random.below(1000) {
            0..30 => Fate::DiesBefore,
            30..60 => Fate::DiesAfter,
            60..90 if mutates && !world.punctual => Fate::Late,
            90..120 if mutates => Fate::AnswerLost,
            120..140 => Fate::Refused,
            _ => Fate::Lands,
        }
    }

    async fn die<T>(&self) -> T {
        self.world().dead.insert(self.process);
        std::future::pending().await
    }

    async fn mutate(&self, path: &Path, call: Call) -> Result<()> {
        let apply = |call: Call| match call {
            Call::Put(path, bytes) => self.world().put(&path, bytes).map(drop),
            Call::Delete(path) => block_on(self.world().objects.delete(&path)),
        };
        match self.fate(true).await {
            Fate::Lands => apply(call),
            Fate::DiesBefore => self.die().await,
            Fate::DiesAfter => {
                let _ = apply(call);
                self.die().await
            }
            Fate::Late => {
                let dies = self.world().random.chance(50.0);
                self.world().late.push(call);
                if dies { self.die().await } else { Err(timeout()) }
            }
            Fate::AnswerLost => {
                let _ = apply(call);
                Err(timeout())
            }
            Fate::Refused => {
                Err(Error::PermissionDenied { path: path.to_string(), source: "refused".into() })
            }
        }
    }

    async fn observe(&self, path: Option<&Path>) -> Result<()> {
        match self.fate(false).await {
            Fate::DiesBefore | Fate::DiesAfter => self.die().await,
            Fate::Refused => {
                let path = path.map(Path::to_string).unwrap_or_default();
                Err(Error::PermissionDenied { path, source: "refused".into() })
            }
            _ => Ok(()),
        }
    }
}

fn timeout() -> Error {
    Error::Generic { store: "faulty", source: "timed out".into() }
}

async fn yield_once() {
    let mut waited = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        assert_eq!(options.mode, PutMode::Create, "create only");
        self.mutate(path, Call::Put(path.clone(), payload.into())).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.observe(Some(path)).await?;
        let objects = self.world().objects();
        objects.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let here = Self { world: Arc::clone(&self.world), process: self.process };
        let here = Arc::new(here);
        paths
            .then(move |path| {
                let here = Arc::clone(&here);
                async move {
                    let path = path?;
                    here.mutate(&path, Call::Delete(path.clone())).await?;
                    Ok(path)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let here = Self { world: Arc::clone(&self.world), process: self.process };
        let prefix = prefix.cloned();
        futures::stream::once(async move {
            if let Err(e) = here.observe(prefix.as_ref()).await {
                return futures::stream::once(async { Err(e) }).boxed();
            }
            let objects = here.world().objects();
            objects.list(prefix.as_ref())
        })
        .flatten()
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.observe(prefix).await?;
        let objects = self.world().objects();
        objects.list_with_delimiter(prefix).await
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

/// Poll to the end: what runs on memory needs no runtime.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())) {
            return value;
        }
    }
}
