//! A store whose every request takes its time, by a clock of its own: what a run takes where the store
//! is far away is known without waiting for it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Keys of one answer to a list.
const LIST_PAGE: usize = 1_000;

#[derive(Debug, Default)]
struct Line {
    now: Duration,
    /// What each takes.
    each: Duration,
    asked: u64,
    /// Who waits, by when it is over and who asked first.
    waiting: BTreeMap<(Duration, u64), Waker>,
}

/// The requests under way, and the time.
#[derive(Debug, Clone, Default)]
pub(super) struct Requests(Arc<Mutex<Line>>);

impl Requests {
    /// From now on each takes so long.
    pub(super) fn take(&self, each: Duration) {
        self.0.lock().unwrap().each = each;
    }

    /// A request, until its answer is there.
    pub(super) async fn answered(&self) {
        let place = {
            let mut line = self.0.lock().unwrap();
            line.asked += 1;
            (line.now + line.each, line.asked)
        };
        std::future::poll_fn(|context| {
            let mut line = self.0.lock().unwrap();
            if line.now >= place.0 {
                return Poll::Ready(());
            }
            line.waiting.insert(place, context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// How many there were.
    pub(super) fn asked(&self) -> u64 {
        self.0.lock().unwrap().asked
    }

    /// What comes of it, and how long it takes. Computing takes no time here.
    pub(super) fn run<T>(&self, work: impl Future<Output = T>) -> (T, Duration) {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let (waker, began) = (Waker::from(woken.clone()), self.0.lock().unwrap().now);
        let mut work = pin!(work);
        loop {
            while woken.0.swap(false, Ordering::SeqCst) {
                if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return (done, self.0.lock().unwrap().now - began);
                }
            }
            let next = {
                let mut line = self.0.lock().unwrap();
                let ((over, _), next) = line.waiting.pop_first().expect("somebody waits");
                line.now = over;
                next
            };
            next.wake();
        }
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A store so far away.
#[derive(Debug)]
pub(super) struct Slow<S> {
    pub(super) store: S,
    pub(super) requests: Requests,
}

impl<S: std::fmt::Display> std::fmt::Display for Slow<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "slow {}", self.store)
    }
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for Slow<S> {
    async fn put_opts(&self, to: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.requests.answered().await;
        self.store.put_opts(to, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.requests.answered().await;
        self.store.put_multipart_opts(to, options).await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        self.requests.answered().await;
        self.store.get_opts(from, options).await
    }

    async fn get_ranges(&self, from: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.requests.answered().await;
        self.store.get_ranges(from, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let requests = self.requests.clone();
        let paths = paths.then(move |path| {
            let requests = requests.clone();
            async move {
                requests.answered().await;
                path
            }
        });
        self.store.delete_stream(paths.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (requests, listed) = (self.requests.clone(), self.store.list(prefix));
        // One request for each page, and one if there is nothing.
        let first = stream::once(async { Vec::new() });
        let pages = first.chain(listed.chunks(LIST_PAGE)).enumerate().then(move |(number, page)| {
            let requests = requests.clone();
            async move {
                if number != 1 {
                    requests.answered().await;
                }
                stream::iter(page)
            }
        });
        pages.flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.requests.answered().await;
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.requests.answered().await;
        self.store.copy_opts(from, to, options).await
    }
}
