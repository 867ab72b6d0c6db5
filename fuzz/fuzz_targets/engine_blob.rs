//! Blob files with right header and footer, and records. The claims that are checked stand at the entry, in
//! `engine/src/fuzz.rs`.
//!
//! `cargo +nightly fuzz run engine_blob` from the repository's root.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| novax_engine::fuzz::fuzz_blob(data));
