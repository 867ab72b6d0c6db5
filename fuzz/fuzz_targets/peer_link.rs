//! Greeting and frames of another node. The claims that are checked stand at the entry, in `peer/src/fuzz.rs`.
//!
//! `cargo +nightly fuzz run peer_link` from the repository's root.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| novax_peer::fuzz::fuzz_link(data));
