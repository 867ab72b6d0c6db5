//! What chunks, blocks and heads promise, from the outside.

mod cold;
mod fixtures;
mod hostile;
mod open_end;
mod round_trip;
mod size;
mod ticks;
