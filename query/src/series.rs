//! Meter series as the store has them: sealed chunks and open ends, for whoever merges them with what
//! colder tiers have. Nothing of SQL here.

use novax_charging::Keyspace;
use novax_charging::rows::{SeriesKey, head_key, read_head_key, series_key};
use novax_engine::Snapshot;
use novax_model::Timestamp;
use novax_tsdb::head::day_of;
use novax_tsdb::query::{Rank, SeriesSource, SourceError, Stretch};
use novax_tsdb::{Error, OpenPart};

/// The series of one partition, as one snapshot of its store has them.
#[derive(Clone, Copy, Debug)]
pub struct HotSeries<'a> {
    snapshot: &'a Snapshot,
}

const BAD_KEY: Error = Error::Invalid("a key of a series of the wrong length");

impl<'a> HotSeries<'a> {
    /// Reads this snapshot.
    #[must_use]
    pub fn new(snapshot: &'a Snapshot) -> HotSeries<'a> {
        HotSeries { snapshot }
    }

    /// The lowest series from `from` on in a keyspace whose keys begin with a series.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn first_of(&self, keyspace: Keyspace, from: u64) -> Result<Option<u64>, SourceError> {
        let mut range = self.snapshot.range(keyspace as u8, &from.to_be_bytes(), None);
        let Some(entry) = range.next() else { return Ok(None) };
        let (key, _) = entry?;
        let series = key.first_chunk::<8>().ok_or(BAD_KEY)?;
        Ok(Some(u64::from_be_bytes(*series)))
    }

    /// All parts of a series' open end.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open_parts(&self, series: u64) -> Result<Vec<(OpenPart, Vec<u8>)>, SourceError> {
        let from = head_key(series, OpenPart::State);
        let mut parts = Vec::new();
        for entry in self.snapshot.range(Keyspace::Heads as u8, &from, None) {
            let (key, value) = entry?;
            let (of, part) = read_head_key(&key).ok_or(BAD_KEY)?;
            if of != series {
                break;
            }
            parts.push((part, value));
        }
        Ok(parts)
    }

    /// A chunk that begins on a day before `from` and reaches it. Only stores from before chunks ended at
    /// midnight have such.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn reaching(&self, series: u64, from: Timestamp) -> Result<Option<Stretch>, SourceError> {
        let (low, high) = (series_key(series, Timestamp::ZERO), series_key(series, day_of(from)));
        for entry in self.snapshot.range_rev(Keyspace::Series as u8, &low, Some(high.as_slice())) {
            let (key, value) = entry?;
            let key = SeriesKey::read(&key).ok_or(BAD_KEY)?;
            if key.sequence.is_none() {
                let stretch = Stretch::chunk(key.rank(), value)?;
                return Ok(Some(stretch).filter(|stretch| stretch.last() >= from));
            }
        }
        Ok(None)
    }
}

/// Whose values stand among open parts.
fn open_rank(part: OpenPart) -> Option<Rank> {
    match part {
        OpenPart::State => None,
        OpenPart::Piece(_) => Some(Rank::BASE),
        OpenPart::Late(_) => Some(Rank::OPEN_LATE),
    }
}

impl SeriesSource for HotSeries<'_> {
    fn next_series(&self, from: u64) -> Result<Option<u64>, SourceError> {
        let sealed = self.first_of(Keyspace::Series, from)?;
        let open = self.first_of(Keyspace::Heads, from)?;
        Ok(sealed.into_iter().chain(open).min())
    }

    fn next_time(&self, series: u64, from: Timestamp) -> Result<Option<Timestamp>, SourceError> {
        let low = series_key(series, day_of(from));
        let mut range = self.snapshot.range(Keyspace::Series as u8, &low, None);
        let mut next = None;
        if let Some(entry) = range.next() {
            let (key, _) = entry?;
            let key = SeriesKey::read(&key).ok_or(BAD_KEY)?;
            next = Some(key.first).filter(|_| key.series == series);
        }
        for (part, _) in self.open_parts(series)? {
            let begins = match part {
                OpenPart::State => continue,
                OpenPart::Piece(at) | OpenPart::Late(at) => at,
            };
            if begins >= day_of(from) {
                next = Some(next.map_or(begins, |next: Timestamp| next.min(begins)));
            }
        }
        Ok(next.map(|next| next.max(from)))
    }

    /// All stretches that begin on the days from `from` to `until`, and not after that.
    fn stretches(
        &self,
        series: u64,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Stretch>, SourceError> {
        let begins = day_of(from);
        let low = series_key(series, begins);
        let mut found = Vec::new();
        for entry in self.snapshot.range(Keyspace::Series as u8, &low, None) {
            let (key, value) = entry?;
            let key = SeriesKey::read(&key).ok_or(BAD_KEY)?;
            if key.series != series || key.first > until {
                break;
            }
            found.push(Stretch::chunk(key.rank(), value)?);
        }
        for (part, value) in self.open_parts(series)? {
            let Some(rank) = open_rank(part) else { continue };
            let stretch = Stretch::chunk(rank, value)?;
            if begins <= stretch.first() && stretch.first() <= until {
                found.push(stretch);
            }
        }
        Ok(found)
    }
}
