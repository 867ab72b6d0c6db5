//! A segment of the log: headers, frames, fences, behind the checksums. The claims that are checked stand at the entry,
//! in `log/src/fuzz.rs`.
//!
//! `cargo +nightly fuzz run log_segment` from the repository's root.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| novax_log::fuzz::fuzz_segment(data));
