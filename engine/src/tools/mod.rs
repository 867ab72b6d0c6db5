//! Looking after stores: for the operator's command line, and for a node that scrubs itself.
//!
//! All of it but the scrubber works on a store that nobody has open, and claims the folder while it does. Every error
//! names the file, and [`crate::Error::advice`] says what to do.
//!
//! * [`checkpoint`]: a second folder with the same tables
//! * [`BackupTarget`]: several backups in one folder, sharing files; restoring and verifying them
//! * [`repair`]: a store that opens again out of what is left of a damaged one
//! * [`Scrubber`]: finds what rots while the store serves
//! * [`store_stats`], [`dump`], [`dump_table`], [`dump_values`], [`dump_manifest`]: what is in a store
//! * [`compact`]: what is deleted leaves the disk now
//! * [`find_sources`]: which stores and other folders a data directory is made of
//!
//! Floors: `backup`, `checkpoint`, `repair`, `scrub`, `dump`, `compact` | `stats`, `source`, `survey` | `view`,
//! `catalogue`, `records`, `copy`, `advice`, `tree`.

mod advice;
mod backup;
mod catalogue;
mod checkpoint;
mod compact;
mod copy;
mod dump;
mod records;
mod repair;
mod scrub;
mod source;
mod stats;
mod survey;
mod tree;
mod view;

pub use backup::{BackupCheck, BackupInfo, BackupReport, BackupTarget};
pub use catalogue::SourceKind;
pub use checkpoint::{CheckpointReport, checkpoint, store_mark};
pub use compact::{CompactReport, compact};
pub use dump::{DumpFormat, DumpOptions, dump, dump_manifest, dump_table, dump_values};
pub use repair::{RepairReport, repair};
pub use scrub::{ScrubFinding, ScrubPosition, ScrubStats, Scrubber, scrub_store};
pub use source::{FileId, RepairSource, SourceEntry, StoreSource};
pub use stats::{StoreStats, TableSums, WindowStats, store_stats, write_amplification_milli};
pub use survey::{LostRange, ShownKey};
pub use tree::{BackupSource, find_sources};
