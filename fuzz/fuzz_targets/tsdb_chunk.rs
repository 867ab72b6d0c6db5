//! A chunk of a series: header, stamps, columns, remarks, aggregates, behind the checksum. The claims that
//! are checked stand at the entry, in `tsdb/src/fuzz.rs`.
//!
//! `cargo +nightly fuzz run tsdb_chunk` from the repository's root.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| novax_tsdb::fuzz::fuzz_chunk(data));
