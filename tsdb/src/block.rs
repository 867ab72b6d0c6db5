//! A block: ticks of many series as the log carries them. `docs/formats/block.md` has the bytes.
//!
//! A shard gathers what arrives in some milliseconds; most series have one tick in a block. So the
//! columns run across all series, grouped by series, and within a series in the order pushed: a
//! block sorts out nothing and drops nothing.

use novax_model::{MEASURANDS, MeterTick, Timestamp};

use crate::bytes::{self, Reader, put_varint};
use crate::columns::{self, PresenceMap};
use crate::error::Error;
use crate::pack;

/// The most ticks of one block: what bounds the memory of a decoder (112 bytes a tick).
pub const BLOCK_TICKS_MAX: usize = 16_384;

const VERSION: u8 = 1;
/// Fixed bytes of a block: version, count, base stamp, unit, presence, checksum.
const FIXED_BYTES: usize = 1 + 3 + 8 + 1 + 2 + 4;

/// Gathers ticks of many series.
#[derive(Debug, Default)]
pub struct BlockBuilder {
    ticks: Vec<(u64, MeterTick)>,
    values: usize,
}

impl BlockBuilder {
    /// An empty block.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tick.
    ///
    /// # Panics
    /// When the block [`is_full`](Self::is_full): whoever gathers finishes blocks by
    /// [`bytes_estimate`](Self::bytes_estimate), far earlier.
    pub fn push(&mut self, series: u64, tick: MeterTick) {
        assert!(!self.is_full(), "a block is bounded");
        self.values += tick.values.iter().flatten().count();
        self.ticks.push((series, tick));
    }

    /// How many ticks are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ticks.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ticks.is_empty()
    }

    /// Whether it has [`BLOCK_TICKS_MAX`] ticks.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.ticks.len() >= BLOCK_TICKS_MAX
    }

    /// About how many bytes [`finish`](Self::finish) will give: rather more than less for real
    /// ticks, and at least eight a tick.
    #[must_use]
    pub fn bytes_estimate(&self) -> usize {
        FIXED_BYTES + self.ticks.len() * 8 + self.values * 3
    }

    /// Encodes what was gathered.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        // Stable: within a series, the order pushed.
        self.ticks.sort_by_key(|(series, _)| *series);
        let rows: Vec<&MeterTick> = self.ticks.iter().map(|(_, tick)| tick).collect();
        let presence = PresenceMap::of(rows.iter().copied());
        let base = rows.iter().map(|tick| tick.at.0).min().unwrap_or(0);
        let distances = rows.iter().map(|tick| tick.at.0 - base);
        let (unit, micros) = columns::coarsest_unit(&distances);

        let mut out = Vec::with_capacity(self.bytes_estimate());
        out.push(VERSION);
        put_varint(&mut out, rows.len() as u64);
        put_series(&mut out, &self.ticks);
        out.extend_from_slice(&base.to_le_bytes());
        out.push(unit);
        let scaled: Vec<i64> = distances.map(|d| (d / micros).cast_signed()).collect();
        pack::put(&mut out, &scaled);
        out.extend_from_slice(&presence.to_bits().to_le_bytes());
        columns::put_all(&mut out, presence, &rows);
        bytes::seal(&mut out);
        out
    }
}

/// For each series, in order: how far its number is from the one before, and how many ticks.
fn put_series(out: &mut Vec<u8>, sorted: &[(u64, MeterTick)]) {
    let mut before = 0;
    for group in sorted.chunk_by(|(a, _), (b, _)| a == b) {
        let series = group.first().map_or(0, |(series, _)| *series);
        put_varint(out, series - before);
        put_varint(out, group.len() as u64);
        before = series;
    }
}

/// All ticks of a block with their series: series ascending, within a series as pushed.
///
/// # Errors
/// [`Error`] when the bytes are no block.
pub fn decode_block(bytes: &[u8]) -> Result<Vec<(u64, MeterTick)>, Error> {
    let mut reader = Reader::new(bytes::open(bytes)?);
    let version = reader.u8()?;
    if version != VERSION {
        return Err(Error::UnknownVersion(version));
    }
    let count = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
    if count > BLOCK_TICKS_MAX {
        return Err(Error::Invalid("a block has at most 16384 ticks"));
    }
    let mut ticks = get_series(&mut reader, count)?;
    let base = reader.u64()?;
    let micros = columns::unit_micros(reader.u8()?)?;
    for ((_, tick), distance) in ticks.iter_mut().zip(pack::get(&mut reader, count)?) {
        let distance = distance.cast_unsigned().checked_mul(micros);
        let at = distance.and_then(|distance| base.checked_add(distance));
        tick.at = Timestamp(at.ok_or(Error::Invalid("a stamp past the end of time"))?);
    }
    let presence = PresenceMap::from_bits(reader.u16()?)?;
    for measurand in MEASURANDS {
        let column = columns::get(&mut reader, presence.get(measurand), count)?;
        for ((_, tick), value) in ticks.iter_mut().zip(column) {
            tick.values[measurand as usize] = value;
        }
    }
    reader.finish()?;
    Ok(ticks)
}

/// Empty ticks, one for each that the list of series announces.
fn get_series(reader: &mut Reader<'_>, count: usize) -> Result<Vec<(u64, MeterTick)>, Error> {
    let mut ticks: Vec<(u64, MeterTick)> = Vec::with_capacity(count);
    let mut series = 0_u64;
    while ticks.len() < count {
        let step = reader.varint()?;
        if step == 0 && !ticks.is_empty() {
            return Err(Error::Invalid("a series stands there twice"));
        }
        series = series.checked_add(step).ok_or(Error::Invalid("a series past the last"))?;
        let length = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
        if length == 0 || length > count - ticks.len() {
            return Err(Error::Invalid("the counts of the series do not add up"));
        }
        ticks.resize(ticks.len() + length, (series, MeterTick::default()));
    }
    Ok(ticks)
}
