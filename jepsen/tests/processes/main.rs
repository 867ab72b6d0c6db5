//! Claims about the `novax` binary, each proved by running it.

mod apps;
mod audit;
mod bad_input;
mod charging;
mod cluster;
mod cluster_members;
mod cluster_ops;
mod console;
mod documents;
mod exhaustion;
mod payments;
mod persons;
mod restarts;
mod scene;
mod sql;
mod stock_clients;
mod store;
mod tariffs;
mod tools;
