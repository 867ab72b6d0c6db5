//! The LSM store: memtable, sorted tables, manifest, compaction, recovery.
