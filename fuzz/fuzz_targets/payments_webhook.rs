//! Signed messages of a payment provider, and its answers. The claims that are checked stand at the entry, in
//! `payments/src/fuzz.rs`.
//!
//! `cargo +nightly fuzz run payments_webhook` from the repository's root.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| novax_payments::fuzz::fuzz_webhook(data));
