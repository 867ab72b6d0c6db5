//! What chunk and block have in common: stamps in their coarsest exact unit, and six columns of
//! optional values.
//!
//! A column is absent, full, or mixed; only a mixed one has a bitmap of which rows have a value.

use novax_model::{MEASURANDS, Measurand, MeterTick};

use crate::bytes::Reader;
use crate::error::Error;
use crate::pack;

/// Which rows of a column have a value. The numbers are those on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Absent = 0,
    Full = 1,
    Mixed = 2,
}

/// Presence of all six columns, two bits each, the first column in the lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PresenceMap([Presence; 6]);

impl PresenceMap {
    pub(crate) fn of<'a>(ticks: impl Iterator<Item = &'a MeterTick>) -> Self {
        let (mut any, mut all) = ([false; 6], [true; 6]);
        for tick in ticks {
            for ((any, all), value) in any.iter_mut().zip(&mut all).zip(tick.values) {
                *any |= value.is_some();
                *all &= value.is_some();
            }
        }
        Self(MEASURANDS.map(|measurand| match (any[measurand as usize], all[measurand as usize]) {
            (false, _) => Presence::Absent,
            (true, true) => Presence::Full,
            (true, false) => Presence::Mixed,
        }))
    }

    pub(crate) fn get(self, measurand: Measurand) -> Presence {
        self.0[measurand as usize]
    }

    pub(crate) fn to_bits(self) -> u16 {
        MEASURANDS.iter().fold(0, |bits, measurand| {
            bits | (self.get(*measurand) as u16) << (2 * *measurand as u16)
        })
    }

    pub(crate) fn from_bits(bits: u16) -> Result<Self, Error> {
        if bits >> 12 != 0 {
            return Err(Error::Invalid("presence of more than six columns"));
        }
        let mut map = [Presence::Absent; 6];
        for (column, presence) in map.iter_mut().enumerate() {
            *presence = match bits >> (2 * column) & 3 {
                0 => Presence::Absent,
                1 => Presence::Full,
                2 => Presence::Mixed,
                _ => return Err(Error::Invalid("unknown presence")),
            };
        }
        Ok(Self(map))
    }
}

/// Appends all columns of `ticks`, in the order of [`MEASURANDS`].
pub(crate) fn put_all(out: &mut Vec<u8>, presence: PresenceMap, ticks: &[&MeterTick]) {
    let mut values = Vec::with_capacity(ticks.len());
    for measurand in MEASURANDS {
        if presence.get(measurand) == Presence::Mixed {
            put_bitmap(out, ticks.iter().map(|tick| tick.get(measurand).is_some()));
        }
        values.clear();
        values.extend(ticks.iter().filter_map(|tick| tick.get(measurand)));
        pack::put(out, &values);
    }
}

/// Reads one column of `rows` rows; the reader stands before it.
pub(crate) fn get(
    reader: &mut Reader<'_>,
    presence: Presence,
    rows: usize,
) -> Result<Vec<Option<i64>>, Error> {
    match presence {
        Presence::Absent => Ok(vec![None; rows]),
        Presence::Full => Ok(pack::get(reader, rows)?.into_iter().map(Some).collect()),
        Presence::Mixed => {
            let bitmap = reader.take(rows.div_ceil(8))?;
            let mut values = pack::get(reader, count_ones(bitmap, rows)?)?.into_iter();
            let is_set = |row: usize| bitmap.get(row / 8).is_some_and(|b| b >> (row % 8) & 1 == 1);
            Ok((0..rows).map(|row| if is_set(row) { values.next() } else { None }).collect())
        }
    }
}

/// Goes past one column of `rows` rows.
pub(crate) fn skip(reader: &mut Reader<'_>, presence: Presence, rows: usize) -> Result<(), Error> {
    match presence {
        Presence::Absent => Ok(()),
        Presence::Full => pack::skip(reader, rows),
        Presence::Mixed => {
            let bitmap = reader.take(rows.div_ceil(8))?;
            pack::skip(reader, count_ones(bitmap, rows)?)
        }
    }
}

pub(crate) fn put_bitmap(out: &mut Vec<u8>, bits: impl Iterator<Item = bool>) {
    let start = out.len();
    for (row, is_set) in bits.enumerate() {
        if row % 8 == 0 {
            out.push(0);
        }
        if is_set {
            out[start + row / 8] |= 1 << (row % 8);
        }
    }
}

/// How many rows have a value. Bits past the last row must be zero.
pub(crate) fn count_ones(bitmap: &[u8], rows: usize) -> Result<usize, Error> {
    let last_bits = rows % 8;
    if let Some(last) = bitmap.last()
        && last_bits != 0
        && last >> last_bits != 0
    {
        return Err(Error::Invalid("presence of rows that are not there"));
    }
    Ok(bitmap.iter().map(|byte| byte.count_ones() as usize).sum())
}

/// Microseconds per unit of a stamp: the index is what stands on disk.
const UNITS_MICROS: [u64; 3] = [1, 1_000, 1_000_000];

/// The coarsest unit in which all `distances` (in microseconds) are whole.
pub(crate) fn coarsest_unit(distances: &(impl Iterator<Item = u64> + Clone)) -> (u8, u64) {
    for unit in [2_u8, 1] {
        let micros = UNITS_MICROS[usize::from(unit)];
        if distances.clone().all(|distance| distance % micros == 0) {
            return (unit, micros);
        }
    }
    (0, 1)
}

/// Microseconds of a unit read from disk.
pub(crate) fn unit_micros(unit: u8) -> Result<u64, Error> {
    UNITS_MICROS.get(usize::from(unit)).copied().ok_or(Error::Invalid("unknown unit of time"))
}
