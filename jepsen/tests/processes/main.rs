//! Claims about the `novax` binary, each proved by running it.

mod stock_clients;
