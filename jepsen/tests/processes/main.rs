//! Claims about the `novax` binary, each proved by running it.

mod audit;
mod bad_input;
mod charging;
mod console;
mod payments;
mod persons;
mod restarts;
mod scene;
mod sql;
mod stock_clients;
mod store;
mod tariffs;
mod tools;
