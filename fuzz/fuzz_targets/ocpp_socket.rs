//! Arbitrary bytes through a charger's socket: upgrade, WebSocket, envelope, typed messages of
//! both versions. The claims that are checked stand at the entry, in `wire/src/fuzz.rs`.
//!
//! `cargo +nightly fuzz run ocpp_socket` from the repository's root.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| novax_wire::fuzz::fuzz_one(data));
