//! An entry of the log: what a partition applies. The claims that are checked stand at the entry, in
//! `charging/src/fuzz.rs`.
//!
//! `cargo +nightly fuzz run charging_entry` from the repository's root.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| novax_charging::fuzz::fuzz_entry(data));
