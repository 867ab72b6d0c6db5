//! The records of one session together: whole, in order, from one meter, without an error that
//! takes the right to bill by them.

use super::record::{Pagination, Reading, ReadingUnit, Record};
use super::{OcmfError, Registers};

/// What signed records say a session took.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Measured {
    /// At the begin, in `10^-places` Wh.
    pub begin: i128,
    /// At the end.
    pub end: i128,
    /// The finest places any reading was given with.
    pub places: u8,
    /// `end - begin`, in watt-hours, rounded to the nearest.
    pub energy_wh: i128,
    /// Clock of begin and end: both are synchronised, or the duration was kept by law.
    pub time_is_legal: bool,
}

/// What the records of a session measured.
///
/// # Errors
/// [`OcmfError::Series`] saying why the session must not be billed by them.
pub fn measured(records: &[Record]) -> Result<Measured, OcmfError> {
    paginated(records)?;
    let readings: Vec<&Reading> = records.iter().flat_map(|record| &record.readings).collect();
    let (Some(begin), Some(end)) = (readings.first(), readings.last()) else {
        return Err(wrong("there are none"));
    };
    if begin.transaction != Some('B') || readings.len() < 2 {
        return Err(wrong("the first reading is not the begin of the session"));
    }
    if !matches!(end.transaction, Some('E' | 'L' | 'R' | 'A' | 'P')) {
        return Err(wrong("the last reading is not the end of the session"));
    }
    let within = readings.get(1..readings.len() - 1).unwrap_or_default();
    if within.iter().any(|reading| !matches!(reading.transaction, Some('C' | 'X' | 'S' | 'T'))) {
        return Err(wrong("a reading within says that the session begins or ends"));
    }
    for reading in &readings {
        if reading.transaction == Some('X') || reading.errors.contains('E') {
            return Err(wrong(&format!("the energy is unusable from {} on", reading.time)));
        }
        if reading.status != 'G' && reading.value.is_some() {
            return Err(wrong(&format!(
                "the meter's state at {} is {}",
                reading.time, reading.status
            )));
        }
    }
    if begin.register != end.register {
        return Err(wrong("begin and end are of two registers"));
    }
    energy(&readings, begin, end)
}

fn energy(readings: &[&Reading], begin: &Reading, end: &Reading) -> Result<Measured, OcmfError> {
    let values: Vec<&Registers> =
        readings.iter().filter_map(|reading| reading.value.as_ref()).collect();
    let (Some(first), Some(last)) = (&begin.value, &end.value) else {
        return Err(wrong("begin or end has no value"));
    };
    let places = values.iter().map(|value| value.places).max().unwrap_or(0);
    let watt_hours = |value: &Registers| -> Result<i128, OcmfError> {
        let kilo = match value.unit {
            ReadingUnit::KilowattHour => 1000,
            ReadingUnit::WattHour => 1,
            ReadingUnit::Other => return Err(wrong("a value is no energy")),
        };
        // At most 20 digits, 20 places and three for the kilo: the product has 43 at most.
        let scale = 10_i128.checked_pow(u32::from(places - value.places));
        let scaled = scale.and_then(|scale| value.value.checked_mul(scale)?.checked_mul(kilo));
        scaled.ok_or_else(|| wrong("a value is past the range"))
    };
    let mut before = watt_hours(first)?;
    for value in &values {
        let at = watt_hours(value)?;
        if at < before {
            return Err(wrong("the register runs backwards"));
        }
        before = at;
    }
    let (begin_wh, end_wh) = (watt_hours(first)?, watt_hours(last)?);
    let scale = 10_u128.pow(u32::from(places));
    let energy_wh = crate::decimal::divide(end_wh - begin_wh, scale)
        .ok_or_else(|| wrong("the energy is past the range"))?;
    let legal = |reading: &Reading| matches!(reading.time_status, 'S' | 'R');
    let time_is_legal =
        readings.iter().all(|reading| !reading.errors.contains('t')) && legal(begin) && legal(end);
    Ok(Measured { begin: begin_wh, end: end_wh, places, energy_wh, time_is_legal })
}

/// One source, and page follows page.
fn paginated(records: &[Record]) -> Result<(), OcmfError> {
    for (i, pair) in records.windows(2).enumerate() {
        let [a, b] = pair else { continue };
        let same = (&a.gateway_serial, &a.meter_serial) == (&b.gateway_serial, &b.meter_serial);
        if !same {
            return Err(wrong(&format!("record {} is of another meter", i + 1)));
        }
        let follows = match (a.pagination, b.pagination) {
            (Pagination::Transaction(a), Pagination::Transaction(b)) => a.checked_add(1) == Some(b),
            _ => false,
        };
        if !follows {
            return Err(wrong(&format!("record {} does not follow the one before it", i + 1)));
        }
    }
    match records.first().map(|record| record.pagination) {
        Some(Pagination::Fiscal(_)) => Err(wrong("they are not of a session")),
        _ => Ok(()),
    }
}

fn wrong(words: &str) -> OcmfError {
    OcmfError::Series(words.to_owned())
}
