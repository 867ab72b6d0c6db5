//! Raw filters of both table versions. The claims that are checked stand at the entry, in
//! `engine/src/fuzz.rs`.
//!
//! `cargo +nightly fuzz run engine_filter` from the repository's root.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| novax_engine::fuzz::fuzz_filter(data));
