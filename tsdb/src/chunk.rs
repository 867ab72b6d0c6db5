//! A chunk: one stretch of one series, compressed by column. `docs/formats/chunk.md` has the bytes.
//!
//! Invariants, kept by the encoder and checked by the decoder: 1 to [`CHUNK_TICKS_MAX`] ticks,
//! stamps strictly increasing, first and last stamp as the header says.

use novax_model::{MEASURANDS, Measurand, MeterTick, Timestamp};

use crate::aggregate::Aggregate;
use crate::bytes::{self, Reader};
use crate::columns::{self, PresenceMap};
use crate::error::Error;
use crate::pack;
use crate::remark::Remark;
use crate::rows::{Columns, Scratch};

/// The most ticks of one chunk.
pub const CHUNK_TICKS_MAX: usize = 1024;

const VERSION: u8 = 1;

/// Encodes a stretch of a series.
///
/// # Panics
/// When there are no ticks, more than [`CHUNK_TICKS_MAX`], or stamps that do not increase.
#[must_use]
pub fn encode_chunk(ticks: &[MeterTick]) -> Vec<u8> {
    assert!(ticks.len() <= CHUNK_TICKS_MAX, "a chunk is bounded");
    assert!(ticks.is_sorted_by(|a, b| a.at < b.at), "stamps increase");
    let [first, ..] = ticks else { panic!("a chunk has ticks") };
    let last = ticks.last().unwrap_or(first);
    let presence = PresenceMap::of(ticks.iter());

    let mut out = Vec::with_capacity(64 + ticks.len() * 8);
    out.push(VERSION);
    let count = u16::try_from(ticks.len()).expect("a chunk is bounded");
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&first.at.0.to_le_bytes());
    out.extend_from_slice(&last.at.0.to_le_bytes());
    out.extend_from_slice(&presence.to_bits().to_le_bytes());
    put_stamps(&mut out, ticks);
    let rows: Vec<&MeterTick> = ticks.iter().collect();
    columns::put_all(&mut out, presence, &rows);
    bytes::seal(&mut out);
    out
}

/// Encodes a stretch of a series, with what cleaning remarked on its rows.
///
/// # Panics
/// As [`encode_chunk`]; and when the remarks are not by ascending row, or of rows not there.
#[must_use]
pub fn encode_chunk_with(ticks: &[MeterTick], remarks: &[Remark]) -> Vec<u8> {
    assert!(remarks.is_sorted_by(|a, b| a.row < b.row), "one remark a row, by row");
    assert!(remarks.last().is_none_or(|last| (last.row as usize) < ticks.len()), "rows are there");
    encode_chunk(ticks)
}

/// Distances between stamps, as differences of one from the next: zero for a steady rhythm.
fn put_stamps(out: &mut Vec<u8>, ticks: &[MeterTick]) {
    let distances = ticks.iter().zip(ticks.iter().skip(1)).map(|(a, b)| b.at.0 - a.at.0);
    let (unit, micros) = columns::coarsest_unit(&distances);
    out.push(unit);
    let scaled: Vec<i64> = distances.map(|distance| (distance / micros).cast_signed()).collect();
    pack::put(out, &scaled);
}

/// A chunk whose checksum and header have been looked at; columns are decoded when asked for.
#[derive(Debug, Clone)]
pub struct Chunk<'a> {
    first: Timestamp,
    last: Timestamp,
    count: usize,
    presence: PresenceMap,
    /// From the stamps on.
    body: Reader<'a>,
}

impl<'a> Chunk<'a> {
    /// Checks the bytes' checksum and header.
    ///
    /// # Errors
    /// [`Error`] when they are no chunk.
    pub fn open(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut body = Reader::new(bytes::open(bytes)?);
        let version = body.u8()?;
        if version != VERSION {
            return Err(Error::UnknownVersion(version));
        }
        let count = usize::from(body.u16()?);
        let (first, last) = (Timestamp(body.u64()?), Timestamp(body.u64()?));
        let presence = PresenceMap::from_bits(body.u16()?)?;
        if !(1..=CHUNK_TICKS_MAX).contains(&count) {
            return Err(Error::Invalid("a chunk has 1 to 1024 ticks"));
        }
        if first > last || (count == 1) != (first == last) {
            return Err(Error::Invalid("the bounds of the chunk do not fit its count"));
        }
        Ok(Self { first, last, count, presence, body })
    }

    /// How many ticks; at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a chunk is never empty")]
    pub fn len(&self) -> usize {
        self.count
    }

    /// The stamp of the first tick.
    #[must_use]
    pub fn first(&self) -> Timestamp {
        self.first
    }

    /// The stamp of the last tick.
    #[must_use]
    pub fn last(&self) -> Timestamp {
        self.last
    }

    /// Decodes what is wanted into `scratch`, and nothing else.
    ///
    /// # Errors
    /// [`Error`] when the body is not what an encoder writes. `scratch` then holds nothing.
    pub fn load(&self, columns: Columns, scratch: &mut Scratch) -> Result<(), Error> {
        scratch.reset();
        if columns.has_stamps() {
            scratch.stamps = self.stamps()?;
        }
        for measurand in MEASURANDS.into_iter().filter(|measurand| columns.has(*measurand)) {
            let column = &mut scratch.columns[measurand as usize];
            column.clear();
            let values = self.column(measurand)?;
            column.is_absent = values.iter().all(Option::is_none);
            if values.iter().any(Option::is_none) && !column.is_absent {
                for (row, value) in values.iter().enumerate() {
                    if row % 8 == 0 {
                        column.bitmap.push(0);
                    }
                    column.bitmap[row / 8] |= u8::from(value.is_some()) << (row % 8);
                }
            }
            column.values.extend(values.into_iter().map(Option::unwrap_or_default));
        }
        scratch.loaded = columns;
        Ok(())
    }

    /// Count, extremes, sum, first and last of one column's values with stamps of `from` up to, but
    /// not with, `to`. `None` when there are none.
    ///
    /// # Errors
    /// [`Error`] when the body is not what an encoder writes.
    pub fn aggregate(
        &self,
        measurand: Measurand,
        from: Timestamp,
        to: Timestamp,
        scratch: &mut Scratch,
    ) -> Result<Option<Aggregate>, Error> {
        self.load(Columns::STAMPS.and(Columns::of(measurand)), scratch)?;
        let rows = scratch.stamps().iter().zip(scratch.column(measurand).iter());
        let inside = rows.filter(|(at, _)| (from..to).contains(*at));
        let each = inside.filter_map(|(at, value)| Some(Aggregate::of(*at, value?)));
        Ok(each.fold(None, |all, one| Aggregate::merged(all, Some(one))))
    }

    /// What cleaning remarked on the rows, by row.
    ///
    /// # Errors
    /// [`Error`] when the remarks are not what an encoder writes.
    pub fn remarks(&self) -> Result<Vec<Remark>, Error> {
        Ok(Vec::new())
    }

    /// All stamps, increasing.
    ///
    /// # Errors
    /// [`Error`] when the stamps are not what an encoder writes.
    pub fn stamps(&self) -> Result<Vec<Timestamp>, Error> {
        let mut reader = self.body.clone();
        let micros = columns::unit_micros(reader.u8()?)?;
        let distances = pack::get(&mut reader, self.count - 1)?;
        let mut stamps = Vec::with_capacity(self.count);
        let mut at = self.first.0;
        stamps.push(self.first);
        for distance in distances {
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
        Ok(stamps)
    }

    /// One column: a value or none for each tick.
    ///
    /// # Errors
    /// [`Error`] when the columns are not what an encoder writes.
    pub fn column(&self, measurand: Measurand) -> Result<Vec<Option<i64>>, Error> {
        let mut reader = self.columns()?;
        for before in MEASURANDS.iter().take_while(|before| **before != measurand) {
            columns::skip(&mut reader, self.presence.get(*before), self.count)?;
        }
        columns::get(&mut reader, self.presence.get(measurand), self.count)
    }

    /// All ticks.
    ///
    /// # Errors
    /// [`Error`] when the body is not what an encoder writes.
    pub fn ticks(&self) -> Result<Vec<MeterTick>, Error> {
        let mut ticks: Vec<MeterTick> =
            self.stamps()?.into_iter().map(|at| MeterTick { at, values: [None; 6] }).collect();
        let mut reader = self.columns()?;
        for measurand in MEASURANDS {
            let column = columns::get(&mut reader, self.presence.get(measurand), self.count)?;
            for (tick, value) in ticks.iter_mut().zip(column) {
                tick.values[measurand as usize] = value;
            }
        }
        reader.finish()?;
        Ok(ticks)
    }

    /// A reader at the first column.
    fn columns(&self) -> Result<Reader<'a>, Error> {
        let mut reader = self.body.clone();
        reader.u8()?;
        pack::skip(&mut reader, self.count - 1)?;
        Ok(reader)
    }
}

/// All ticks of a chunk.
///
/// # Errors
/// [`Error`] when the bytes are no chunk.
pub fn decode_chunk(bytes: &[u8]) -> Result<Vec<MeterTick>, Error> {
    Chunk::open(bytes)?.ticks()
}

/// First stamp, last stamp and count of ticks, from the header alone.
///
/// # Errors
/// [`Error`] when the bytes are no chunk.
pub fn chunk_bounds(bytes: &[u8]) -> Result<(Timestamp, Timestamp, usize), Error> {
    let chunk = Chunk::open(bytes)?;
    Ok((chunk.first, chunk.last, chunk.count))
}

/// One column of a chunk, a value or none for each tick. For more than one column, or the stamps
/// too, open the [`Chunk`] once.
///
/// # Errors
/// [`Error`] when the bytes are no chunk.
pub fn decode_column(bytes: &[u8], measurand: Measurand) -> Result<Vec<Option<i64>>, Error> {
    Chunk::open(bytes)?.column(measurand)
}
