//! The open end of a series: ticks that are not yet a finished chunk.
//!
//! Invariants: stamps strictly increasing; once the head has been written out, its first stamp (the
//! key of its row) stays; nothing is taken that would belong into a chunk already sealed, so that no
//! sealed row is ever overwritten.
//!
//! Whoever pushes bounds stamps by the log's clock first: a tick from a clock that runs years ahead
//! would, once sealed, make all that follow too late.

use novax_model::{MeterTick, Timestamp};

use crate::chunk::{CHUNK_TICKS_MAX, decode_chunk, encode_chunk};
use crate::error::Error;

/// A head with this many ticks is full: about eleven minutes at one tick each five seconds.
pub const HEAD_TICKS: usize = 128;

/// What became of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pushed {
    /// The newest of its series.
    InOrder,
    /// Older than the newest, and put in its place.
    Late,
    /// Its stamp is known. Values the known tick lacks were taken from it, others stay.
    Duplicate,
    /// Older than what the head may still take: not kept.
    TooLate,
}

/// The open end of one series.
#[derive(Debug, Clone, Default)]
pub struct Head {
    ticks: Vec<MeterTick>,
    /// The oldest stamp still taken.
    floor: Timestamp,
    is_dirty: bool,
}

impl Head {
    /// An empty head.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on with a chunk that [`snapshot`](Self::snapshot) wrote. A full one is finished: the
    /// head is empty and begins after it.
    ///
    /// # Errors
    /// [`Error`] when the bytes are no chunk.
    pub fn from_chunk(bytes: &[u8]) -> Result<Self, Error> {
        let ticks = decode_chunk(bytes)?;
        let mut head = Self { ticks, floor: Timestamp::ZERO, is_dirty: false };
        if head.is_full() {
            head.close();
        } else {
            head.pin();
        }
        Ok(head)
    }

    /// Takes a tick.
    ///
    /// # Panics
    /// When the head has [`CHUNK_TICKS_MAX`] ticks: seal it when it [`is_full`](Self::is_full).
    pub fn push(&mut self, tick: MeterTick) -> Pushed {
        if tick.at < self.floor {
            return Pushed::TooLate;
        }
        let place = self.ticks.partition_point(|known| known.at < tick.at);
        if let Some(known) = self.ticks.get_mut(place)
            && known.at == tick.at
        {
            for (known, value) in known.values.iter_mut().zip(tick.values) {
                self.is_dirty |= known.is_none() && value.is_some();
                *known = known.or(value);
            }
            return Pushed::Duplicate;
        }
        assert!(self.ticks.len() < CHUNK_TICKS_MAX, "a head is sealed when full");
        let is_newest = place == self.ticks.len();
        self.ticks.insert(place, tick);
        self.is_dirty = true;
        if is_newest { Pushed::InOrder } else { Pushed::Late }
    }

    /// How many ticks it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ticks.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ticks.is_empty()
    }

    /// Whether it is time to seal it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.ticks.len() >= HEAD_TICKS
    }

    /// Whether it has changed since it was last written out.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// Its ticks, by stamp.
    #[must_use]
    pub fn ticks(&self) -> &[MeterTick] {
        &self.ticks
    }

    /// Its first stamp: with the series, the key of its row.
    #[must_use]
    pub fn first(&self) -> Option<Timestamp> {
        self.ticks.first().map(|tick| tick.at)
    }

    /// Writes the head out and stays open: first stamp and chunk. A later call gives a chunk with
    /// the same first stamp, which takes this one's place. `None` when the head is empty.
    pub fn snapshot(&mut self) -> Option<(Timestamp, Vec<u8>)> {
        let first = self.first()?;
        let bytes = encode_chunk(&self.ticks);
        self.pin();
        self.is_dirty = false;
        Some((first, bytes))
    }

    /// Finishes the head: first stamp and chunk. The head is empty afterwards and takes only what is
    /// newer. `None` when the head is empty.
    pub fn seal(&mut self) -> Option<(Timestamp, Vec<u8>)> {
        let sealed = self.snapshot()?;
        self.close();
        Some(sealed)
    }

    /// Keeps the first stamp where it is.
    fn pin(&mut self) {
        if let Some(first) = self.first() {
            assert!(first >= self.floor, "nothing below the floor was taken");
            self.floor = first;
        }
    }

    /// Empties the head, to begin after its last tick.
    fn close(&mut self) {
        if let Some(last) = self.ticks.last() {
            self.floor = Timestamp(last.at.0.saturating_add(1));
        }
        self.ticks.clear();
        self.is_dirty = false;
    }
}
