//! A chunk: one stretch of one series, compressed by column. `docs/formats/chunk.md` has the bytes.
//!
//! Invariants, kept by the encoder and checked by the decoder: 1 to [`CHUNK_TICKS_MAX`] ticks,
//! stamps strictly increasing, first and last stamp as the header says. Version 2 is written;
//! version 1 is read for ever.

pub(crate) mod remarks;
mod v1;
mod v2;

use novax_model::{MEASURANDS, Measurand, MeterTick, Timestamp};

use crate::aggregate::Aggregate;
use crate::bytes::{self, Reader};
use crate::error::Error;
use crate::remark::Remark;
use crate::rows::{Columns, Scratch};

/// The most ticks of one chunk.
pub const CHUNK_TICKS_MAX: usize = 1024;

/// Encodes a stretch of a series.
///
/// # Panics
/// When there are no ticks, more than [`CHUNK_TICKS_MAX`], or stamps that do not increase.
#[must_use]
pub fn encode_chunk(ticks: &[MeterTick]) -> Vec<u8> {
    encode_chunk_with(ticks, &[])
}

/// Encodes a stretch of a series, with what cleaning remarked on its rows.
///
/// # Panics
/// As [`encode_chunk`]; and when the remarks are not by ascending row, or of rows not there.
#[must_use]
pub fn encode_chunk_with(ticks: &[MeterTick], remarks: &[Remark]) -> Vec<u8> {
    assert!(!ticks.is_empty(), "a chunk has ticks");
    assert!(ticks.len() <= CHUNK_TICKS_MAX, "a chunk is bounded");
    assert!(ticks.is_sorted_by(|a, b| a.at < b.at), "stamps increase");
    assert!(remarks.is_sorted_by(|a, b| a.row < b.row), "one remark a row, by row");
    assert!(remarks.last().is_none_or(|last| (last.row as usize) < ticks.len()), "rows are there");
    v2::encode(ticks, remarks)
}

/// A chunk whose checksum and header have been looked at; columns are decoded when asked for.
#[derive(Debug, Clone)]
pub struct Chunk<'a>(Body<'a>);

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "nearly all are of the larger one")]
enum Body<'a> {
    V1(v1::V1<'a>),
    V2(v2::V2<'a>),
}

impl<'a> Chunk<'a> {
    /// Checks the bytes' checksum and header.
    ///
    /// # Errors
    /// [`Error`] when they are no chunk.
    pub fn open(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut body = Reader::new(bytes::open(bytes)?);
        let chunk = match body.u8()? {
            1 => Self(Body::V1(v1::V1::open(body)?)),
            v2::VERSION => Self(Body::V2(v2::V2::open(body)?)),
            version => return Err(Error::UnknownVersion(version)),
        };
        let (first, last, count) = (chunk.first(), chunk.last(), chunk.len());
        if !(1..=CHUNK_TICKS_MAX).contains(&count) {
            return Err(Error::Invalid("a chunk has 1 to 1024 ticks"));
        }
        if first > last || (count == 1) != (first == last) {
            return Err(Error::Invalid("the bounds of the chunk do not fit its count"));
        }
        Ok(chunk)
    }

    /// How many ticks; at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a chunk is never empty")]
    pub fn len(&self) -> usize {
        match &self.0 {
            Body::V1(body) => body.count,
            Body::V2(body) => body.count,
        }
    }

    /// The stamp of the first tick.
    #[must_use]
    pub fn first(&self) -> Timestamp {
        match &self.0 {
            Body::V1(body) => body.first,
            Body::V2(body) => body.first,
        }
    }

    /// The stamp of the last tick.
    #[must_use]
    pub fn last(&self) -> Timestamp {
        match &self.0 {
            Body::V1(body) => body.last,
            Body::V2(body) => body.last,
        }
    }

    /// Decodes what is wanted into `scratch`; of the rest, only what power or energy is predicted
    /// from.
    ///
    /// # Errors
    /// [`Error`] when the body is not what an encoder writes. `scratch` then holds nothing.
    pub fn load(&self, columns: Columns, scratch: &mut Scratch) -> Result<(), Error> {
        scratch.reset();
        match &self.0 {
            Body::V2(body) => body.load(columns, scratch),
            Body::V1(body) => {
                if columns.has_stamps() {
                    body.stamps(&mut scratch.stamps)?;
                }
                for measurand in MEASURANDS.into_iter().filter(|one| columns.has(*one)) {
                    body.column(measurand, &mut scratch.columns[measurand as usize])?;
                }
                scratch.loaded = columns;
                Ok(())
            }
        }
    }

    /// Count, extremes, sum, first and last of one column's values with stamps of `from` up to, but
    /// not with, `to`. `None` when there are none. When all of a full column is asked for, the
    /// header may have the answer.
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
        let is_whole = from <= self.first() && self.last() < to;
        if is_whole && let Some(whole) = self.summary(measurand) {
            return Ok(Some(whole));
        }
        self.load(Columns::STAMPS.and(Columns::of(measurand)), scratch)?;
        let stamps = scratch.stamps();
        let begin = stamps.partition_point(|at| *at < from);
        let end = stamps.partition_point(|at| *at < to).max(begin);
        Ok(scratch.aggregate(measurand, begin..end))
    }

    /// The aggregate of a whole column, if the header has it: chunks of version 2 with at least 256
    /// ticks, columns in which no value is missing.
    #[must_use]
    pub fn summary(&self, measurand: Measurand) -> Option<Aggregate> {
        let Body::V2(body) = &self.0 else { return None };
        let summary = body.summary(measurand)?;
        Some(Aggregate {
            count: self.len() as u64,
            min: summary.min,
            max: summary.max,
            sum: summary.sum,
            first: (self.first(), summary.first),
            last: (self.last(), summary.last),
        })
    }

    /// What cleaning remarked on the rows, by row.
    ///
    /// # Errors
    /// [`Error`] when the remarks are not what an encoder writes.
    pub fn remarks(&self) -> Result<Vec<Remark>, Error> {
        match &self.0 {
            Body::V1(_) => Ok(Vec::new()),
            Body::V2(body) => body.remarks(),
        }
    }

    /// How many bytes the stamps and each column take: what is left of a chunk is its header. For
    /// those who measure; `None` in version 1, which does not say.
    #[must_use]
    pub fn section_lens(&self) -> Option<(usize, [usize; 6])> {
        match &self.0 {
            Body::V1(_) => None,
            Body::V2(body) => Some(body.section_lens()),
        }
    }

    /// All stamps, increasing. To read many chunks, [`load`](Self::load) them.
    ///
    /// # Errors
    /// [`Error`] when the stamps are not what an encoder writes.
    pub fn stamps(&self) -> Result<Vec<Timestamp>, Error> {
        let mut scratch = Scratch::new();
        self.load(Columns::STAMPS, &mut scratch)?;
        Ok(scratch.stamps)
    }

    /// One column: a value or none for each tick. To read many, [`load`](Self::load) them.
    ///
    /// # Errors
    /// [`Error`] when the columns are not what an encoder writes.
    pub fn column(&self, measurand: Measurand) -> Result<Vec<Option<i64>>, Error> {
        let mut scratch = Scratch::new();
        self.load(Columns::of(measurand), &mut scratch)?;
        Ok(scratch.column(measurand).iter().collect())
    }

    /// All ticks.
    ///
    /// # Errors
    /// [`Error`] when the body is not what an encoder writes.
    pub fn ticks(&self) -> Result<Vec<MeterTick>, Error> {
        let mut scratch = Scratch::new();
        self.load(Columns::ALL, &mut scratch)?;
        Ok((0..self.len()).map(|row| scratch.tick(row)).collect())
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
    Ok((chunk.first(), chunk.last(), chunk.len()))
}

/// One column of a chunk, a value or none for each tick. For more than one column, or the stamps
/// too, open the [`Chunk`] once.
///
/// # Errors
/// [`Error`] when the bytes are no chunk.
pub fn decode_column(bytes: &[u8], measurand: Measurand) -> Result<Vec<Option<i64>>, Error> {
    Chunk::open(bytes)?.column(measurand)
}
