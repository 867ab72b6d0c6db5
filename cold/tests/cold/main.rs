//! The cold tier against a model, with crashes at every step, rivals, damage, a real S3-compatible
//! server, and DuckDB as a reader of exports.

mod damage;
mod export;
mod faults;
mod format;
mod local;
mod model;
mod moves;
mod python;
mod reads;
mod rivals;
mod s3;
mod world;
