//! An object store that fails on purpose: before or after an operation took effect, once or for
//! good (a process that died), or that waits in the middle until the test says go on.

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Dies before the operation: nothing of it happens, nor of any after it.
    DiesBefore,
    /// Dies after it: it happened, nobody was told, and nothing happens any more.
    DiesAfter,
    /// This operation fails, others do not.
    FailsOnce,
    /// This operation happens, its answer is lost; others go on.
    AnswerLost,
}

pub(crate) const FAULTS: [Fault; 4] =
    [Fault::DiesBefore, Fault::DiesAfter, Fault::FailsOnce, Fault::AnswerLost];

#[derive(Debug)]
struct State {
    ops: AtomicU64,
    fault: Option<(u64, Fault)>,
    /// Waits before the first put-if-absent of a name that has this in it.
    waits_at: Option<&'static str>,
    /// Dies instead of waiting.
    dies_there: bool,
    waited: AtomicU64,
    reached: Notify,
    go_on: Notify,
}

#[derive(Debug, Clone)]
pub(crate) struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    state: Arc<State>,
}

fn dead() -> Error {
    Error::Generic { store: "faulty", source: "injected".into() }
}

/// What an operation is to do.
struct Verdict {
    happens: bool,
    answers: bool,
}

impl Verdict {
    async fn of<T>(self, work: impl Future<Output = Result<T>>) -> Result<T> {
        if !self.happens {
            return Err(dead());
        }
        let done = work.await?;
        if self.answers { Ok(done) } else { Err(dead()) }
    }
}

impl State {
    fn next(&self) -> Verdict {
        let op = self.ops.fetch_add(1, Ordering::SeqCst);
        let (happens, answers) = match self.fault {
            Some((at, fault)) if op == at => match fault {
                Fault::DiesBefore | Fault::FailsOnce => (false, false),
                Fault::DiesAfter | Fault::AnswerLost => (true, false),
            },
            Some((at, Fault::DiesBefore | Fault::DiesAfter)) if op > at => (false, false),
            _ => (true, true),
        };
        Verdict { happens, answers }
    }
}

impl FaultStore {
    fn with(
        inner: &Arc<dyn ObjectStore>,
        fault: Option<(u64, Fault)>,
        waits_at: Option<&'static str>,
    ) -> Self {
        let state = State {
            ops: AtomicU64::new(0),
            fault,
            waits_at,
            dies_there: false,
            waited: AtomicU64::new(0),
            reached: Notify::new(),
            go_on: Notify::new(),
        };
        Self { inner: Arc::clone(inner), state: Arc::new(state) }
    }

    /// Fails at the operation of this number.
    pub(crate) fn failing(inner: &Arc<dyn ObjectStore>, at: u64, fault: Fault) -> Self {
        Self::with(inner, Some((at, fault)), None)
    }

    /// Waits before the first put-if-absent of a name that has `part` in it.
    pub(crate) fn waiting(inner: &Arc<dyn ObjectStore>, part: &'static str) -> Self {
        Self::with(inner, None, Some(part))
    }

    /// Dies before the first put-if-absent of a name that has `part` in it.
    pub(crate) fn dying(inner: &Arc<dyn ObjectStore>, part: &'static str) -> Self {
        let mut store = Self::with(inner, None, Some(part));
        Arc::get_mut(&mut store.state).expect("nobody else has it").dies_there = true;
        store
    }

    /// Counts and nothing else.
    pub(crate) fn counting(inner: &Arc<dyn ObjectStore>) -> Self {
        Self::with(inner, None, None)
    }

    pub(crate) fn ops(&self) -> u64 {
        self.state.ops.load(Ordering::SeqCst)
    }

    /// Whether the operation that fails was reached.
    pub(crate) fn struck(&self) -> bool {
        self.state.fault.is_some_and(|(at, _)| self.ops() > at)
    }

    pub(crate) async fn reached(&self) {
        self.state.reached.notified().await;
    }

    pub(crate) fn go_on(&self) {
        self.state.go_on.notify_one();
    }

    async fn wait(&self, location: &Path, options: &PutOptions) -> Result<()> {
        let is_new = matches!(options.mode, object_store::PutMode::Create);
        let waits = self.state.waits_at.is_some_and(|part| location.as_ref().contains(part));
        if is_new && waits && self.state.dies_there {
            return Err(dead());
        }
        if is_new && waits && self.state.waited.fetch_add(1, Ordering::SeqCst) == 0 {
            self.state.reached.notify_one();
            self.state.go_on.notified().await;
        }
        Ok(())
    }
}

impl std::fmt::Display for FaultStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.wait(location, &options).await?;
        self.state.next().of(self.inner.put_opts(location, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.state.next().of(self.inner.put_multipart_opts(location, options)).await?;
        Ok(Box::new(FaultUpload { inner, state: Arc::clone(&self.state) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.state.next().of(self.inner.get_opts(location, options)).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let delete = move |path: Path| {
            let this = this.clone();
            async move {
                this.state.next().of(this.inner.delete(&path)).await?;
                Ok(path)
            }
        };
        locations.and_then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let verdict = self.state.next();
        if verdict.happens && verdict.answers {
            return self.inner.list(prefix);
        }
        futures::stream::once(async { Err(dead()) }).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.state.next().of(self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.state.next().of(self.inner.copy_opts(from, to, options)).await
    }
}

#[derive(Debug)]
struct FaultUpload {
    inner: Box<dyn MultipartUpload>,
    state: Arc<State>,
}

#[async_trait]
impl MultipartUpload for FaultUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let verdict = self.state.next();
        let part = self.inner.put_part(data);
        verdict.of(part).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.state.next().of(self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.state.next().of(self.inner.abort()).await
    }
}
