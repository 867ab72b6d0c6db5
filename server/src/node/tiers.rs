//! Moves days of meter series that are no longer hot to the cold tier, and lets go what is kept no longer.
//!
//! Each node does this for its own stores: what is hot and what is cold is no part of the replicated state.
//!
//! Invariants: rows leave a store only after the manifest of the cold tier that has them is durable, and only those
//! that the view had from which they were copied; a crash or a failure at any point is made good by the next round.

use super::NodeError;
use crate::config::{ColdConfig, Config, SeriesConfig};
use crate::control::{Control, Freshness};
use novax_charging::rows::Keyspace;
use novax_cold::{
    BlockingReader, CacheSizes, Caches, ColdError, ColdReader, Day, Mover, MoverOptions,
    SnapshotSource, StoreConfig,
};
use novax_engine::Snapshot;
use novax_model::{PartitionId, Timestamp};
use novax_tsdb::query::SeriesSource;
use novax_tsdb::rollup::{Resolution, Retention};
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Handle;

const RESOLUTIONS: [Resolution; 3] = [Resolution::Minute, Resolution::Quarter, Resolution::Hour];

/// The cold tier of a node's partitions.
#[derive(Clone)]
pub struct Tiers {
    parts: Arc<[Part]>,
    config: SeriesConfig,
}

impl std::fmt::Debug for Tiers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tiers").field("config", &self.config).finish_non_exhaustive()
    }
}

struct Part {
    partition: PartitionId,
    mover: Mover,
    reader: ColdReader,
    source: Arc<BlockingReader>,
}

/// What a round over all partitions did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Rows that became cold.
    pub rows: u64,
    /// Bytes they take there.
    pub bytes: u64,
    /// Days given up for their age.
    pub days_given_up: usize,
}

/// What the configuration says of the cold tier of the data in `data`.
#[must_use]
pub fn store_config(cold: &ColdConfig, data: &Path) -> StoreConfig {
    let reveal = |secret: &Option<crate::config::Secret>| {
        secret.as_ref().map(|secret| secret.reveal().to_owned())
    };
    StoreConfig {
        url: cold.url.clone().unwrap_or_else(|| data.join("cold").to_string_lossy().into_owned()),
        endpoint: cold.endpoint.clone(),
        region: cold.region.clone(),
        access_key: reveal(&cold.access_key),
        secret_key: reveal(&cold.secret_key),
        allow_http: cold.allow_http,
    }
}

impl Tiers {
    /// Opens the cold tier of all partitions.
    ///
    /// # Errors
    /// When it does not answer, or is damaged.
    pub async fn open(
        config: &Config,
        data: &Path,
        partitions: u16,
        runtime: &Handle,
    ) -> Result<Tiers, NodeError> {
        let objects = store_config(&config.cold, data).open()?;
        let caches = Arc::new(Caches::new(CacheSizes::default()));
        let mut parts = Vec::new();
        for number in 0..partitions {
            let partition = PartitionId(number);
            let options = MoverOptions::default();
            let mover = Mover::open(Arc::clone(&objects), partition, options).await?;
            let reader =
                ColdReader::open(Arc::clone(&objects), partition, Arc::clone(&caches)).await?;
            let source = Arc::new(BlockingReader::new(reader.clone(), runtime.clone()));
            parts.push(Part { partition, mover, reader, source });
        }
        Ok(Tiers { parts: parts.into(), config: config.series })
    }

    /// Where the colder ticks of a partition are read. Not for threads of the runtime.
    #[must_use]
    pub fn colder(&self, partition: PartitionId) -> Vec<Arc<dyn SeriesSource>> {
        let part = self.parts.iter().find(|part| part.partition == partition);
        part.map(|part| Arc::clone(&part.source) as Arc<dyn SeriesSource>).into_iter().collect()
    }

    fn retention(&self) -> Retention {
        Retention { ticks_days: self.config.kept_days, rollups_days: self.config.rollups_days }
    }

    /// Goes over all partitions once. What fails is told and left to the next round.
    pub async fn tend(&self, control: &Control, now: Timestamp) -> Round {
        let mut round = Round::default();
        // What moves is what is here, however new.
        let snapshots = match control.view(false, Freshness::Local).await {
            Ok(view) => view.parts,
            Err(error) => {
                eprintln!("novax: nothing moves to the cold tier now: {error}");
                return round;
            }
        };
        for (partition, snapshot) in snapshots {
            let Some(part) = self.parts.iter().find(|part| part.partition == partition) else {
                continue;
            };
            if let Err(error) = self.tend_part(part, control, snapshot, now, &mut round).await {
                eprintln!("novax: the cold tier of partition {partition}: {error}");
            }
        }
        round
    }

    async fn tend_part(
        &self,
        part: &Part,
        control: &Control,
        snapshot: Snapshot,
        now: Timestamp,
        round: &mut Round,
    ) -> Result<(), ColdError> {
        let retention = self.retention();
        let kept_from = Day::of(retention.expired(None, now));
        let hot_from = Day::of(now).minus(self.config.hot_days);
        let source = SnapshotSource::new(snapshot.clone(), Keyspace::Series as u8);
        // Reading the store waits for files: not on the runtime's own threads. What stays hot is not looked at.
        let (source, days) = blocking(move || {
            let days = source.days_before(hot_from);
            (source, days)
        })
        .await;
        for day in days? {
            let (mover, source) = (part.mover.clone(), source.clone());
            let runtime = Handle::current();
            let moved = blocking(move || runtime.block_on(mover.move_day(day, &source))).await?;
            round.rows += moved.rows;
            round.bytes += moved.bytes;
        }
        part.reader.refresh().await?;
        let partition = part.partition;
        // The cold tier is durable and read from now on: what was copied may go.
        control.drop_windows(partition, Keyspace::Series, hot_from.window().from, &snapshot);
        for resolution in RESOLUTIONS {
            let until = retention.expired(Some(resolution), now);
            control.drop_windows(partition, Keyspace::rollups(resolution), until, &snapshot);
        }
        round.days_given_up += part.mover.give_up_before(kept_from).await?.days;
        part.mover.sweep().await?;
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(ended) => std::panic::resume_unwind(ended.into_panic()),
    }
}
