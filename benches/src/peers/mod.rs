//! Other people's stores, on the same data and with the same durability.

pub(crate) mod clickhouse;
#[cfg(feature = "peers")]
pub(crate) mod fjall;
pub(crate) mod ocpp;
pub(crate) mod postgres;
pub(crate) mod rocksdb;
pub(crate) mod victoria;
