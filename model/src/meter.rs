//! A device tick: one time stamp shared by the six measurands of a connector.

use crate::time::Timestamp;
use rkyv::{Archive, Deserialize, Serialize};

/// What a column of a tick holds. The order is the order on disk and in the log: append only.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
#[rkyv(derive(Debug))]
pub enum Measurand {
    /// [`crate::Decivolts`]
    Voltage = 0,
    /// [`crate::Centiamperes`]
    Current = 1,
    /// [`crate::Watts`]
    Power = 2,
    /// [`crate::WattHours`], the register of the meter, not a difference
    Energy = 3,
    /// [`crate::Decicelsius`]
    Temperature = 4,
    /// [`crate::SocPermille`]
    Soc = 5,
}

/// All measurands, in column order.
pub const MEASURANDS: [Measurand; 6] = [
    Measurand::Voltage,
    Measurand::Current,
    Measurand::Power,
    Measurand::Energy,
    Measurand::Temperature,
    Measurand::Soc,
];

/// One row of a series: what a connector's meter said at one time. Values are scaled integers in
/// the unit named at the [`Measurand`]; `None` where the device said nothing.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[rkyv(derive(Debug))]
pub struct MeterTick {
    /// When the device took the values.
    pub at: Timestamp,
    /// The values, indexed by `Measurand as usize`.
    pub values: [Option<i64>; 6],
}

impl MeterTick {
    /// The value of one measurand.
    #[must_use]
    pub fn get(&self, measurand: Measurand) -> Option<i64> {
        self.values[measurand as usize]
    }

    /// Sets the value of one measurand.
    pub fn set(&mut self, measurand: Measurand, value: i64) {
        self.values[measurand as usize] = Some(value);
    }
}
