//! Chunks of version 1: no longer written, read for ever.

use novax_model::{MEASURANDS, Measurand, Timestamp};

use crate::bytes::Reader;
use crate::columns::{self, PresenceMap};
use crate::error::Error;
use crate::pack;
use crate::rows::Column;

/// Header and body of a chunk of version 1.
#[derive(Debug, Clone)]
pub(super) struct V1<'a> {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) count: usize,
    presence: PresenceMap,
    /// From the stamps on.
    body: Reader<'a>,
}

impl<'a> V1<'a> {
    /// Reads the header, from behind the version.
    pub(super) fn open(mut body: Reader<'a>) -> Result<Self, Error> {
        let count = usize::from(body.u16()?);
        let (first, last) = (Timestamp(body.u64()?), Timestamp(body.u64()?));
        let presence = PresenceMap::from_bits(body.u16()?)?;
        Ok(Self { first, last, count, presence, body })
    }

    pub(super) fn stamps(&self, stamps: &mut Vec<Timestamp>) -> Result<(), Error> {
        let mut reader = self.body.clone();
        let micros = columns::unit_micros(reader.u8()?)?;
        stamps.clear();
        let mut at = self.first.0;
        stamps.push(self.first);
        for distance in pack::get(&mut reader, self.count - 1)? {
            let distance = distance.cast_unsigned().checked_mul(micros);
            at = distance
                .filter(|distance| *distance > 0)
                .and_then(|distance| at.checked_add(distance))
                .ok_or(Error::Invalid("stamps do not increase"))?;
            stamps.push(Timestamp(at));
        }
        if at != self.last.0 {
            return Err(Error::Invalid("the stamps do not end where the header says"));
        }
        Ok(())
    }

    pub(super) fn column(&self, measurand: Measurand, column: &mut Column) -> Result<(), Error> {
        let mut reader = self.body.clone();
        reader.u8()?;
        pack::skip(&mut reader, self.count - 1)?;
        for before in MEASURANDS.iter().take_while(|before| **before != measurand) {
            columns::skip(&mut reader, self.presence.get(*before), self.count)?;
        }
        let values = columns::get(&mut reader, self.presence.get(measurand), self.count)?;
        let is_last = MEASURANDS.last() == Some(&measurand);
        if is_last {
            reader.finish()?;
        }
        column.set(values.into_iter());
        Ok(())
    }
}
