//! The words every other crate shares: ids, units, money and time.
//!
//! Newtypes keep a watt from being added to a watt-hour and a station's number from being
//! taken for a driver's. Nothing here does I/O, reads a clock or knows a protocol.
//!
//! * [`ids`]: partitions, stations, sessions, accounts, transfers
//! * [`conn`]: the name of a socket
//! * [`units`]: watts, watt-hours, volts, amperes, temperature, state of charge
//! * [`money`]: currencies and amounts in integer minor units
//! * [`micros`]: prices in millionths of a major unit
//! * [`time`]: one time stamp type, microseconds since the Unix epoch
//! * [`meter`]: the six measurands of a device tick
//! * [`seeded`]: bugs on purpose, for tests of the tests

pub mod conn;
pub mod ids;
mod iso4217;
pub mod meter;
pub mod micros;
pub mod money;
pub mod seeded;
pub mod time;
pub mod units;

pub use conn::ConnId;
pub use ids::{
    AccountId, ConnectorRef, Identity, InvalidIdentity, NodeId, PartitionId, SessionId, TokenUid,
    TransferKey,
};
pub use meter::{MEASURANDS, Measurand, MeterTick};
pub use micros::{Micros, PPM_WHOLE, Rounding};
pub use money::{Amount, Currency, UnknownCurrency};
pub use time::{Duration, InvalidTimestamp, Timestamp};
pub use units::{Centiamperes, Decicelsius, Decivolts, SocPermille, WattHours, Watts};
