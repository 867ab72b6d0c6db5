//! What chunks, blocks and heads promise, from the outside.

mod clean;
mod cold;
mod fixtures;
mod hostile;
mod open_end;
mod query;
mod rollup;
mod round_trip;
mod size;
mod ticks;
