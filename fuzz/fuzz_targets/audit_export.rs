//! An export of the journal: records, transactions, heads, proofs, behind the check sums and the signatures. The
//! claims that are checked stand at the entry, in `audit/src/fuzz.rs`.
//!
//! `cargo +nightly fuzz run audit_export` from the repository's root.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| novax_audit::fuzz::fuzz_export(data));
