//! The cold tier: dense chunk files on an object store, and Parquet export.
