//! Links over real sockets on loopback: what they carry, how they end, what strangers can do to them.

mod bad_input;
mod join;
mod life;
mod snapshots;
mod support;
