//! A block of ticks as the log carries it, behind the checksum. The claims that
//! are checked stand at the entry, in `tsdb/src/fuzz.rs`.
//!
//! `cargo +nightly fuzz run tsdb_block` from the repository's root.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| novax_tsdb::fuzz::fuzz_block(data));
