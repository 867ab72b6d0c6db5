//! Any text as an OCPI tariff, and what is accepted through a rating. The claims that are checked stand
//! at the entry, in `tariff/src/fuzz.rs`.
//!
//! `cargo +nightly fuzz run tariff_json` from the repository's root.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| novax_tariff::fuzz::fuzz_tariff_json(data));
