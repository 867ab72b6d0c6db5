//! The cold tier: days of meter series that are no longer hot, as dense files on an object store,
//! and their export to Parquet.
//!
//! A [`Mover`] takes a day from a view of the hot store ([`HotSource`]), writes cold files
//! (`novax_tsdb::cold`) and puts a manifest in force that names them; only then may the hot rows
//! go. A [`ColdReader`] answers from the manifest in force, fetching the blocks that a question
//! needs. An [`export::Exporter`] reads both tiers as one.
//!
//! Several nodes may read one partition; of several that write, the manifest lets one through.
//!
//! `docs/formats/cold-manifest.md` has names and bytes of what is on the store.
//!
//! Floors, each using only what stands below: `export`, `series` | `mover`, `reader`, `scrub` |
//! `shelf`, `tiers` | `file`, `catalog`, `hot` | `cache`, `manifest`, `stretch` | `disk_cache`, `store`,
//! `local`, `day`, `error`.

mod cache;
mod catalog;
mod day;
mod disk_cache;
mod error;
pub mod export;
mod file;
mod hot;
mod local;
mod manifest;
mod mover;
mod reader;
mod scrub;
mod series;
mod shelf;
mod store;
mod stretch;
mod tiers;

pub use cache::{CacheSizes, CacheStats, Caches};
pub use catalog::{Catalog, Commit, GENERATIONS_KEPT};
pub use day::{DAY_US, Day};
pub use disk_cache::DiskCache;
pub use error::ColdError;
pub use hot::{HotChunk, HotSource, RowSource, SnapshotSource, merge_chunks};
pub use local::DurableLocal;
pub use manifest::{FILES_MAX, FileEntry, MANIFEST_BYTES_MAX, Manifest};
pub use mover::{GivenUp, HotContent, Moved, Mover, MoverOptions};
pub use reader::{BlockingDay, BlockingReader, ColdQuery, ColdReader};
pub use scrub::{Damage, ScrubPlace, ScrubReport, Scrubber};
pub use series::SeriesRows;
pub use shelf::put_whole;
pub use store::StoreConfig;
pub use stretch::Stretch;
pub use tiers::DayCursor;
