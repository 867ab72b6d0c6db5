//! Messages between replicas. The claims that are checked stand at the entry, in `raft/src/fuzz.rs`.
//!
//! `cargo +nightly fuzz run raft_message` from the repository's root.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| novax_raft::fuzz::fuzz_message(data));
