//! Where rows come from: consistent snapshots of all partitions of a node.

use crate::error::{Error, SourceError};
use datafusion::physical_plan::metrics::Count;
use futures::future::BoxFuture;
use novax_engine::Snapshot;
use novax_model::{PartitionId, Timestamp};
use novax_tsdb::query::SeriesSource;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::OnceCell;

/// How new the rows of a statement must be: the session's `novax.reads`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// `fresh`: they have all that any node acknowledged before the statement began.
    #[default]
    Fresh,
    /// `local`: what this node's replicas have, also when there is no majority to ask.
    Local,
}

/// What one statement reads.
#[derive(Clone, Debug)]
pub struct View {
    /// The rows of each partition, consistent in themselves.
    pub parts: Vec<(PartitionId, Snapshot)>,
    /// What was acknowledged up to about then is in them.
    pub as_of: Timestamp,
}

/// Hands out views. The live node implements it.
pub trait Source: Send + Sync + 'static {
    /// A consistent view of each partition. With `with_series`, open series heads are written out
    /// first, so that the newest samples are in it; asked for only when telemetry or its rollups are
    /// scanned.
    fn view(
        &self,
        with_series: bool,
        freshness: Freshness,
    ) -> BoxFuture<'_, Result<View, SourceError>>;

    /// Where else ticks of a partition's series are, besides its store. Asked for after the snapshots were
    /// taken, so that what moves to a colder tier meanwhile is seen at least once; readers merge by stamp.
    fn colder(&self, partition: PartitionId) -> Vec<Arc<dyn SeriesSource>> {
        let _ = partition;
        Vec::new()
    }
}

/// What the scans of one statement did. Counted per statement, shown by `EXPLAIN ANALYZE`.
#[derive(Debug, Default)]
pub struct ScanCounters {
    /// Rows or chunks that were read from the store.
    pub entries_read: AtomicU64,
    /// Rows that left the scans.
    pub rows: AtomicU64,
    /// Series chunks whose columns were decoded.
    pub chunks_decoded: AtomicU64,
    /// Series chunks that their time bounds ruled out.
    pub chunks_skipped: AtomicU64,
    /// Series chunks of which only the header was read, for it has what an aggregate asks for.
    pub chunks_summarized: AtomicU64,
    /// What was acknowledged up to about then was read; microseconds since 1970, 0 before anything was.
    pub as_of_us: AtomicU64,
}

/// Where one part of a scan counts: for the statement, and for its node in the plan.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    pub(crate) statement: Arc<ScanCounters>,
    pub(crate) decoded: Count,
    pub(crate) skipped: Count,
    pub(crate) summarized: Count,
}

impl Tally {
    pub(crate) fn entry(&self) {
        self.statement.entries_read.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn rows(&self, rows: usize) {
        self.statement.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub(crate) fn chunk_decoded(&self) {
        self.decoded.add(1);
        self.statement.chunks_decoded.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn chunk_summarized(&self) {
        self.summarized.add(1);
        self.statement.chunks_summarized.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn chunk_skipped(&self) {
        self.skipped.add(1);
        self.statement.chunks_skipped.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the scans of one statement share: all see the same view, taken when the first asks.
pub(crate) struct Scope {
    source: Arc<dyn Source>,
    with_series: AtomicBool,
    freshness: Freshness,
    taken: OnceCell<View>,
    pub(crate) counters: Arc<ScanCounters>,
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl Scope {
    pub(crate) fn new(source: Arc<dyn Source>, freshness: Freshness) -> Scope {
        Scope {
            source,
            with_series: AtomicBool::new(false),
            freshness,
            taken: OnceCell::new(),
            counters: Arc::default(),
        }
    }

    /// Asks for open series heads too. To be called before the first scan is planned.
    pub(crate) fn want_series(&self) {
        debug_assert!(!self.taken.initialized(), "asked before the snapshots are taken");
        self.with_series.store(true, Ordering::Relaxed);
    }

    pub(crate) fn colder(&self, partition: PartitionId) -> Vec<Arc<dyn SeriesSource>> {
        self.source.colder(partition)
    }

    pub(crate) async fn snapshots(&self) -> Result<&[(PartitionId, Snapshot)], Error> {
        let with_series = self.with_series.load(Ordering::Relaxed);
        let view = || self.source.view(with_series, self.freshness);
        let taken = self.taken.get_or_try_init(view).await?;
        self.counters.as_of_us.store(taken.as_of.0, Ordering::Relaxed);
        Ok(&taken.parts)
    }
}
