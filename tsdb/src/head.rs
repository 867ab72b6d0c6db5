//! The open end of a series: ticks that are not yet a finished chunk.
//!
//! At most [`HEAD_TICKS`] ticks are held as they are; when so many have gathered they are compressed
//! into a piece, and pieces are joined into one chunk when it is full, or its day over. So a stored
//! chunk is long and memory stays small.
//!
//! Invariants: stamps strictly increasing; all of one UTC day; once ticks have been written out, the
//! first stamp of their piece (the key of its row) stays; nothing is taken that would belong into a
//! piece already compressed or a chunk already sealed, so that no sealed row is ever overwritten.
//!
//! Whoever pushes bounds stamps by the log's clock first: a tick from a clock that runs years ahead
//! would, once sealed, make all that follow too late.

use novax_model::{MeterTick, Timestamp};

use crate::chunk::{CHUNK_TICKS_MAX, Chunk, encode_chunk_with};
use crate::clean::Row;
use crate::error::Error;
use crate::remark::{Flags, Remark};

/// With so many ticks, a head is compressed into a piece: about eleven minutes at one tick each five
/// seconds.
pub const HEAD_TICKS: usize = 128;

/// A UTC day in microseconds. No chunk reaches from one into the next.
pub const DAY_US: u64 = 86_400_000_000;

const PIECES_MAX: usize = CHUNK_TICKS_MAX / HEAD_TICKS;
const _: () = assert!(PIECES_MAX * HEAD_TICKS == CHUNK_TICKS_MAX, "pieces fill a chunk");

/// The first stamp of the UTC day of `at`.
#[must_use]
pub fn day_of(at: Timestamp) -> Timestamp {
    Timestamp(at.0 - at.0 % DAY_US)
}

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
}

/// Compresses rows into a chunk.
///
/// # Panics
/// As [`encode_chunk_with`].
#[must_use]
pub fn encode_rows(rows: &[Row]) -> Vec<u8> {
    let ticks: Vec<MeterTick> = rows.iter().map(|row| row.tick).collect();
    let number = |row: usize| u32::try_from(row).expect("a chunk is bounded");
    let remark =
        |(row, of): (usize, &Row)| Some(Remark { row: number(row), ..**of.remark.as_ref()? });
    let remarks: Vec<Remark> = rows.iter().enumerate().filter_map(remark).collect();
    encode_chunk_with(&ticks, &remarks)
}

/// The rows of a chunk, remarks in their places.
///
/// # Errors
/// [`Error`] when the bytes are no chunk.
pub fn decode_rows(bytes: &[u8]) -> Result<Vec<Row>, Error> {
    let chunk = Chunk::open(bytes)?;
    let mut rows: Vec<Row> = chunk.ticks()?.into_iter().map(Row::plain).collect();
    for remark in chunk.remarks()? {
        let row = usize::try_from(remark.row).ok().and_then(|row| rows.get_mut(row));
        let row = row.ok_or(Error::Invalid("a remark on a row that is not there"))?;
        row.remark = Some(Box::new(Remark { row: 0, ..remark }));
    }
    Ok(rows)
}

/// Puts a row in its place among others, by stamp. Answers whether anything changed. Values of a known
/// stamp stay; where they were told otherwise, the row says so.
pub(crate) fn insert(rows: &mut Vec<Row>, row: Row) -> (Pushed, bool) {
    let place = match rows.last() {
        // As nearly always.
        Some(last) if last.tick.at < row.tick.at => rows.len(),
        _ => rows.partition_point(|known| known.tick.at < row.tick.at),
    };
    if let Some(known) = rows.get_mut(place)
        && known.tick.at == row.tick.at
    {
        let before = (known.tick, known.flags());
        let mut differs = false;
        for (known, value) in known.tick.values.iter_mut().zip(row.tick.values) {
            differs |= known.is_some() && value.is_some() && *known != value;
            *known = known.or(value);
        }
        let said = if differs { Flags::CONFLICT } else { Flags::NONE };
        if !said.is_empty() || !row.flags().is_empty() {
            known.flag(said.union(row.flags()));
        }
        return (Pushed::Duplicate, before != (known.tick, known.flags()));
    }
    let is_newest = place == rows.len();
    rows.insert(place, row);
    (if is_newest { Pushed::InOrder } else { Pushed::Late }, true)
}

/// Compressed ticks that wait for more to make a chunk.
#[derive(Debug, Clone)]
struct Piece {
    first: Timestamp,
    last: Timestamp,
    bytes: Vec<u8>,
    /// The store has it as it is.
    is_written: bool,
    /// The store has something under its key.
    is_stored: bool,
}

/// A finished chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Its first stamp.
    pub first: Timestamp,
    /// What it holds.
    pub rows: Vec<Row>,
    /// The chunk.
    pub bytes: Vec<u8>,
    /// The keys of pieces that were written out, and whose rows it replaces.
    pub replaces: Vec<Timestamp>,
}

/// The open end of one series.
#[derive(Debug, Clone, Default)]
pub struct Head {
    pieces: Vec<Piece>,
    rows: Vec<Row>,
    /// The oldest stamp still taken.
    floor: Timestamp,
    is_dirty: bool,
    /// The store has a row under the first stamp of `rows`.
    is_stored: bool,
}

impl Head {
    /// An empty head.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty head that takes nothing before `floor`.
    #[must_use]
    pub fn from_floor(floor: Timestamp) -> Self {
        Self { floor, ..Self::default() }
    }

    /// Goes on with pieces that [`snapshot`](Self::snapshot) wrote, in the order of their stamps.
    ///
    /// # Errors
    /// [`Error`] when bytes are no chunk, or not what a head wrote.
    pub fn from_pieces(floor: Timestamp, pieces: Vec<Vec<u8>>) -> Result<Self, Error> {
        let mut head = Self::from_floor(floor);
        let mut end = None;
        for bytes in pieces {
            if !head.rows.is_empty() || head.pieces.len() == PIECES_MAX {
                return Err(Error::Invalid("a head of more pieces than it can have"));
            }
            let rows = decode_rows(&bytes)?;
            let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
                return Err(Error::Invalid("a piece without ticks"));
            };
            let (first, last) = (first.tick.at, last.tick.at);
            let follows = end.is_none_or(|end| end < first) && rows.len() <= HEAD_TICKS;
            let day = day_of(head.first().unwrap_or(first));
            if !follows || day_of(last) != day {
                return Err(Error::Invalid("pieces of a head that do not follow one another"));
            }
            end = Some(last);
            if rows.len() == HEAD_TICKS {
                let (is_written, is_stored) = (true, true);
                head.pieces.push(Piece { first, last, bytes, is_written, is_stored });
            } else if first < floor {
                return Err(Error::Invalid("ticks of a head that it would not have taken"));
            } else {
                head.rows = rows;
                head.is_stored = true;
            }
        }
        head.pin();
        Ok(head)
    }

    /// Takes a tick, or gives it back when it is older than what the head may still take.
    ///
    /// # Errors
    /// The row itself, when it is too late for the head.
    ///
    /// # Panics
    /// When the head [`is_full`](Self::is_full) or the tick is of a [later day](Self::is_past): seal it
    /// then.
    pub fn push(&mut self, row: Row) -> Result<Pushed, Row> {
        let at = row.tick.at;
        assert!(!self.is_full() && !self.is_past(at), "a head is sealed in time");
        if at < self.floor {
            return if self.has(&row) { Ok(Pushed::Duplicate) } else { Err(row) };
        }
        if self.is_empty() {
            // What is left of the day before is not ours any more.
            self.floor = self.floor.max(day_of(at));
        }
        let (pushed, changed) = insert(&mut self.rows, row);
        self.is_dirty |= changed;
        if self.rows.len() == HEAD_TICKS {
            self.compress();
        }
        Ok(pushed)
    }

    /// Whether a tick too late for the rows is in a piece, with all it says.
    fn has(&self, row: &Row) -> bool {
        let at = row.tick.at;
        let inside = |piece: &&Piece| piece.first <= at && at <= piece.last;
        let Some(piece) = self.pieces.iter().find(inside) else { return false };
        let rows = decode_rows(&piece.bytes).expect("a piece is a chunk");
        let known = rows.iter().find(|known| known.tick.at == at);
        known.is_some_and(|known| {
            known.tick.values.iter().zip(row.tick.values).all(|(a, b)| b.is_none() || *a == b)
        })
    }

    /// Makes a piece of the rows.
    fn compress(&mut self) {
        assert!(self.pieces.len() < PIECES_MAX, "a full head takes no more");
        let (Some(first), Some(last)) = (self.rows.first(), self.rows.last()) else { return };
        let (first, last) = (first.tick.at, last.tick.at);
        let bytes = encode_rows(&self.rows);
        self.pieces.push(Piece {
            first,
            last,
            bytes,
            is_written: false,
            is_stored: self.is_stored,
        });
        self.floor = Timestamp(last.0.saturating_add(1));
        self.rows = Vec::new();
        self.is_dirty = false;
        self.is_stored = false;
    }

    /// How many ticks it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.len() * HEAD_TICKS + self.rows.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.rows.is_empty()
    }

    /// Whether it is time to seal it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.pieces.len() == PIECES_MAX
    }

    /// Whether a tick at this time belongs to a day after the head's.
    #[must_use]
    pub fn is_past(&self, at: Timestamp) -> bool {
        self.first().is_some_and(|first| day_of(first) < day_of(at))
    }

    /// Whether it has changed since it was last written out.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.is_dirty || self.pieces.iter().any(|piece| !piece.is_written)
    }

    /// Its ticks that are not compressed, by stamp.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The oldest stamp it still takes.
    #[must_use]
    pub fn floor(&self) -> Timestamp {
        self.floor
    }

    /// Its first stamp.
    #[must_use]
    pub fn first(&self) -> Option<Timestamp> {
        let piece = self.pieces.first().map(|piece| piece.first);
        piece.or_else(|| self.rows.first().map(|row| row.tick.at))
    }

    /// Writes out what changed and stays open: pieces by their first stamps. A later call may give a
    /// chunk with the same first stamp, which takes the earlier one's place.
    pub fn snapshot(&mut self) -> Vec<(Timestamp, Vec<u8>)> {
        let mut written = Vec::new();
        for piece in self.pieces.iter_mut().filter(|piece| !piece.is_written) {
            written.push((piece.first, piece.bytes.clone()));
            (piece.is_written, piece.is_stored) = (true, true);
        }
        if self.is_dirty
            && let Some(row) = self.rows.first()
        {
            written.push((row.tick.at, encode_rows(&self.rows)));
            self.is_stored = true;
            self.is_dirty = false;
            self.pin();
        }
        written
    }

    /// Finishes the head. It is empty afterwards and takes only what is newer. `None` when it is empty.
    pub fn seal(&mut self) -> Option<Sealed> {
        let first = self.first()?;
        let mut rows = Vec::with_capacity(self.len());
        let mut replaces = Vec::new();
        for piece in std::mem::take(&mut self.pieces) {
            rows.append(&mut decode_rows(&piece.bytes).expect("a piece is a chunk"));
            replaces.extend(piece.is_stored.then_some(piece.first));
        }
        replaces.extend(self.rows.first().filter(|_| self.is_stored).map(|row| row.tick.at));
        rows.append(&mut self.rows);
        let last = rows.last().map_or(first, |row| row.tick.at);
        assert_eq!(day_of(first), day_of(last), "a chunk is of one day");
        let bytes = encode_rows(&rows);
        *self = Self::from_floor(Timestamp(last.0.saturating_add(1)));
        Some(Sealed { first, rows, bytes, replaces })
    }

    /// Keeps the first stamp of the rows where it is.
    fn pin(&mut self) {
        if let Some(row) = self.rows.first() {
            assert!(row.tick.at >= self.floor, "nothing below the floor was taken");
            self.floor = row.tick.at;
        } else if let Some(piece) = self.pieces.last() {
            self.floor = self.floor.max(Timestamp(piece.last.0.saturating_add(1)));
        }
    }
}
