//! Columnar compression of meter series. Pure: no I/O, no clock, no float.
//!
//! A row is a device tick: one stamp, shared by six scaled integers that may be missing. Floors,
//! each using only what stands below:
//!
//! * [`query`]: questions to series
//! * [`open`]: one series as memory has it, and the rows it becomes
//! * [`head`], [`rollup`]: ticks not yet in a chunk; what happened in each minute and hour
//! * [`clean`]: what is believed of what devices say
//! * [`chunk`]: one stretch of one series, as the store keeps it
//! * [`block`]: ticks of many series, as the log carries them
//! * `columns`: presence and values of the six columns, units of stamps
//! * `pack`: integers in as many bits as they need
//! * `bytes`, [`error`]: little-endian numbers, varints, checksum
//!
//! Decoders take any bytes: they never panic, and what they allocate is bounded by
//! [`CHUNK_TICKS_MAX`] and [`BLOCK_TICKS_MAX`] whatever the bytes announce.

pub mod aggregate;
pub mod block;
mod bytes;
pub mod chunk;
pub mod clean;
pub mod cold;
mod columns;
pub mod error;
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
