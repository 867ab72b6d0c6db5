//! Tests of the public API: proofs against another implementation, encodings against fixtures,
//! exports against every kind of change.

mod books;
mod canonical;
mod export;
mod forged;
mod heads;
mod journal;
mod merkle;
