//! Columnar compression of meter series. Pure: no I/O, no clock, no chance.
//!
//! A row is a device tick: one stamp, shared by six scaled integers that may be missing. Floors,
//! each using only what stands below:
//!
//! * [`fuzz`]: foreign bytes through every parser, for fuzzers and tests
//! * [`query`]: questions to series
//! * [`open`]: one series as memory has it, and the rows it becomes
//! * [`head`], [`rollup`]: ticks not yet in a chunk; what happened in each minute and hour
//! * [`clean`]: what is believed of what devices say
//! * [`cold`]: many series over one window, as dense as still scans fast
//! * [`chunk`]: one stretch of one series, as the store keeps it
//! * [`block`]: ticks of many series, as the log carries them
//! * [`floats`]: columns that are not scaled integers
//! * [`rows`]: decoded columns, in buffers that are used again
//! * `dense`: what smoothed levels miss, by `pco`
//! * `predict`: power and energy as what physics misses
//! * `stamps`: stamps as deviations from a grid
//! * `columns`: presence of the six columns, units of stamps
//! * `sequence`, `lanes`: up to 1,024 integers in blocks of 128, four at a time
//! * `pack`: integers in as many bits as they need, as chunks of version 1 and blocks have them
//! * [`aggregate`], [`remark`]: what columns sum up to, what cleaning said of rows
//! * `bytes`, [`error`]: little-endian numbers, varints, checksum
//!
//! [`generate`] makes up telemetry of chargers to measure and test with.
//!
//! Decoders take any bytes: they never panic, and what they allocate is bounded by
//! [`CHUNK_TICKS_MAX`], [`BLOCK_TICKS_MAX`] and the limits in [`cold`], whatever the bytes announce.

pub mod aggregate;
pub mod block;
mod bytes;
pub mod chunk;
pub mod clean;
pub mod cold;
mod columns;
mod dense;
pub mod error;
pub mod floats;
pub mod fuzz;
pub mod generate;
pub mod head;
mod lanes;
pub mod open;
mod pack;
mod predict;
pub mod query;
pub mod remark;
pub mod rollup;
pub mod rows;
mod sequence;
mod stamps;

pub use aggregate::Aggregate;
pub use block::{BLOCK_TICKS_MAX, BlockBuilder, decode_block};
pub use chunk::{
    CHUNK_TICKS_MAX, Chunk, chunk_bounds, decode_chunk, decode_column, encode_chunk,
    encode_chunk_with,
};
pub use error::Error;
pub use head::{DAY_US, HEAD_TICKS, Head, Pushed};
pub use open::{OpenPart, OpenSeries, SeriesRow};
pub use remark::{Flags, Remark};
pub use rows::{Column, Columns, Scratch, Summary};
