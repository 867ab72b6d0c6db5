//! Tests of the public API: proofs against another implementation, encodings against fixtures,
//! exports against every kind of change.

mod heads;
mod merkle;
