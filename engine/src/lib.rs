//! The LSM store: memtable, sorted tables, manifest, compaction, recovery.
//!
//! One [`Engine`] holds one partition and belongs to the thread of its shard. It knows nothing of what the bytes
//! mean: keys and values in numbered keyspaces. It has no log of its own: the owner's log is the
//! write-ahead log, each [`Batch`] carries a *mark* (the applied log index), and after a crash the owner replays
//! from [`Engine::mark`].
//!
//! **Architecture Invariant:** after [`Engine::open`] no call on the owner's thread touches a file: writes go to
//! memory, and flushes and compactions run on the threads of a [`Worker`].
//!
//! **Architecture Invariant:** what [`Engine::flushed_mark`] covers survives any crash; what comes back
//! after one is exactly the state at some mark, never a part of a batch.
//!
//! **Architecture Invariant:** no damaged byte is ever served: each block is checked against the checksum in
//! its reference before it is used, and what is damaged is named.
//!
//! The files are described byte by byte in `docs/formats/table.md` and `docs/formats/manifest.md`.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! use novax_engine::{Batch, Engine, Options, Worker};
//! let worker = Worker::start(1)?;
//! let mut engine = Engine::open(dir.path(), Options::default(), &worker)?;
//! let mut batch = Batch::new();
//! batch.put(0, b"station-1", b"available");
//! batch.set_mark(1);
//! engine.write(&mut batch);
//! let snapshot = engine.snapshot();
//! assert_eq!(snapshot.get(0, b"station-1")?, Some(b"available".to_vec()));
//! assert_eq!(engine.close()?, 1);
//! # Ok(())
//! # }
//! ```
//!
//! Floors, each using only what stands below: `fuzz`, `engine` | `verify`, `plan` | `ingest` | `jobs`,
//! `output` | `manifest` | `snapshot` | `resident` | `lookup` | `version`, `merge` | `blob` | `table` |
//! `trash` | `memtable` | `worker`, `ranges`, `pacer` | `disk`, `batch`, `codec`, `entry`, `error`,
//! `limits`; and `options` below all that use it, above `table::cache`. Over all of them `tools` and
//! `store`.

mod batch;
mod blob;
mod codec;
mod disk;
mod engine;
mod entry;
mod error;
pub mod fuzz;
mod ingest;
mod jobs;
mod limits;
mod lookup;
mod manifest;
mod memtable;
mod merge;
mod options;
mod output;
mod pacer;
mod plan;
mod ranges;
mod resident;
mod snapshot;
mod sorted;
pub mod store;
mod table;
pub mod tools;
mod trash;
mod verify;
mod version;
mod worker;

pub use batch::Batch;
pub use disk::{Disk, DiskLock, DiskRead, DiskSegment, DiskWrite, RealDisk};
pub use engine::{Engine, LevelStats, Progress, Stats};
pub use error::{Error, KeySpan};
pub use ingest::{BuiltTables, TableBuilder};
pub use limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
pub use manifest::FILE_NAME as MANIFEST_NAME;
pub use options::{Compaction, KeyspaceOptions, MergeOperator, Options};
pub use resident::{Fetch, Resident};
pub use snapshot::{KeyValue, Range, Snapshot};
pub use table::cache::SharedCache;
pub use verify::{VerifyReport, verify, verify_on};
pub use worker::Worker;
