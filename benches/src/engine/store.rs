//! What every store that is measured can do.

use super::latency::{Latencies, Pace};
use crate::error::Result;
use std::path::Path;
use std::time::Duration;

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Which {
    /// Ours, with its log.
    Novax,
    /// fjall 3.
    #[cfg(feature = "peers")]
    Fjall,
}

impl Which {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Which::Novax => "novax",
            #[cfg(feature = "peers")]
            Which::Fjall => "fjall",
        }
    }
}

impl Which {
    /// The figure that the p99.9 of puts goes into that do not wait for the disk. Ours has one of durable puts
    /// too, and that is the one that counts.
    pub(crate) fn relaxed_figure(self) -> &'static str {
        match self {
            Which::Novax => "relaxed_put_p999_ms",
            #[cfg(feature = "peers")]
            Which::Fjall => "put_p999_ms",
        }
    }

    /// The same in a picture.
    pub(crate) fn relaxed_label(self) -> &'static str {
        match self {
            Which::Novax => "Nova-X, not waiting",
            #[cfg(feature = "peers")]
            Which::Fjall => "fjall 3, not waiting",
        }
    }
}

/// How large its parts are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizing {
    /// A memtable is flushed at this size.
    pub(crate) memtable_bytes: u64,
    /// Blocks kept for reads.
    pub(crate) cache_bytes: u64,
    /// The log may grow to this before memory is flushed for its sake.
    pub(crate) log_bytes: u64,
}

impl Sizing {
    /// As all stores are measured: 64 MiB memtables, 1 GiB of cache.
    pub(crate) const USUAL: Sizing =
        Sizing { memtable_bytes: 64 << 20, cache_bytes: 1 << 30, log_bytes: 512 << 20 };
    /// Small memtables: flushes and compactions never end.
    pub(crate) const BUSY: Sizing = Sizing { memtable_bytes: 8 << 20, ..Sizing::USUAL };
    /// Nothing is flushed: the log has it all.
    pub(crate) const UNFLUSHED: Sizing =
        Sizing { memtable_bytes: 6 << 30, cache_bytes: 1 << 30, log_bytes: 8 << 30 };
}

/// What a load of durable puts came to.
#[derive(Debug, Default)]
pub(crate) struct DurableLoad {
    /// Acknowledged as durable.
    pub(crate) puts: u64,
    /// How many were outstanding at any time.
    pub(crate) clients: u64,
    /// Of each put, in microseconds.
    pub(crate) latencies_us: Vec<u32>,
}

/// A store under measurement.
pub(crate) trait KeyValue {
    /// A put that is in memory and on its way to the log; not waited for.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()>;

    /// Whether the key has a value.
    fn get(&mut self, key: &[u8]) -> Result<bool>;

    /// Flushes memory and waits until no compaction is due.
    fn settle(&mut self) -> Result<()>;

    /// Waits until all puts so far are durable.
    fn sync(&mut self) -> Result<()>;

    /// How often it has compacted since it was opened.
    fn compactions(&mut self) -> Result<u64>;

    /// Durable puts at a steady rate.
    fn paced_durable(&mut self, pace: &Pace) -> Result<Latencies>;

    /// Durable puts of keys below `keys` from many clients, for so long.
    fn durable_load(&mut self, keys: u64, time: Duration) -> Result<DurableLoad>;

    /// Closes it as a user would.
    fn close(self: Box<Self>) -> Result<()>;
}

/// Opens (or makes) a store.
pub(crate) fn open(which: Which, dir: &Path, sizing: Sizing) -> Result<Box<dyn KeyValue>> {
    match which {
        Which::Novax => Ok(Box::new(super::ours::Ours::open(dir, sizing)?)),
        #[cfg(feature = "peers")]
        Which::Fjall => Ok(Box::new(crate::peers::fjall::Fjall::open(dir, sizing)?)),
    }
}
