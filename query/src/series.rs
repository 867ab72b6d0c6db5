//! Meter series as the store has them: sealed chunks and open ends, for whoever merges them with what
//! colder tiers have. Nothing of SQL here.

use novax_charging::Keyspace;
use novax_charging::rows::{SeriesKey, head_key, read_head_key, series_key};
use novax_engine::{Range, Snapshot};
use novax_model::Timestamp;
use novax_tsdb::head::day_of;
use novax_tsdb::query::{Rank, SeriesSource, SourceError, Stretch};
use novax_tsdb::{DAY_US, Error, OpenPart};

/// The series of one partition, as one snapshot of its store has them, between two times: tables of other
/// times are not read.
#[derive(Clone, Copy, Debug)]
pub struct HotSeries<'a> {
    snapshot: &'a Snapshot,
    from: Timestamp,
    until: Timestamp,
}

const BAD_KEY: Error = Error::Invalid("a key of a series of the wrong length");

impl<'a> HotSeries<'a> {
    /// Reads this snapshot, for chunks that begin on the days from `from` to `until`.
    #[must_use]
    pub fn within(snapshot: &'a Snapshot, from: Timestamp, until: Timestamp) -> HotSeries<'a> {
        HotSeries { snapshot, from: day_of(from), until }
    }

    /// Rows of a keyspace that is kept by time, from a key on, that begin from `from` to `until`; perhaps
    /// some of other times too.
    fn range(
        &self,
        keyspace: Keyspace,
        low: &[u8],
        from: Timestamp,
        until: Timestamp,
    ) -> Range<'a> {
        let (from, to) = (from.max(self.from), until.min(self.until));
        let to = to.0.saturating_add(1);
        self.snapshot.range_in_time(keyspace as u8, low, None, from.0, to)
    }

    /// The lowest series from `from` on in a keyspace whose keys begin with a series.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn first_of(&self, keyspace: Keyspace, from: u64) -> Result<Option<u64>, SourceError> {
        let low = from.to_be_bytes();
        let first = if keyspace.window_us().is_some() {
            self.range(keyspace, &low, self.from, self.until).next()
        } else {
            self.snapshot.range(keyspace as u8, &low, None).next()
        };
        let Some(entry) = first else { return Ok(None) };
        let (key, _) = entry?;
        let series = key.first_chunk::<8>().ok_or(BAD_KEY)?;
        Ok(Some(u64::from_be_bytes(*series)))
    }

    /// When the first chunk or row of a series begins, from a time on.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn begin(
        &self,
        keyspace: Keyspace,
        series: u64,
        from: Timestamp,
    ) -> Result<Option<Timestamp>, SourceError> {
        let low = series_key(series, from);
        // Mostly it is the next day that has some: then only tables of that time are read.
        let near = Timestamp(from.0.saturating_add(DAY_US - 1));
        for until in [near, self.until] {
            if let Some(entry) = self.range(keyspace, &low, from, until).next() {
                let (key, _) = entry?;
                let key = SeriesKey::read(&key).ok_or(BAD_KEY)?;
                if key.series == series && key.first <= until {
                    return Ok(Some(key.first));
                }
            }
        }
        Ok(None)
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

    /// A chunk that begins on the day before that of `from` and reaches `from`. Only stores from before
    /// chunks ended at midnight have such.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn reaching(&self, series: u64, from: Timestamp) -> Result<Option<Stretch>, SourceError> {
        let day = day_of(from);
        let Some(eve) = day.0.checked_sub(DAY_US) else { return Ok(None) };
        let (low, high) = (series_key(series, Timestamp(eve)), series_key(series, day));
        let keyspace = Keyspace::Series as u8;
        let mut last = None;
        for entry in self.snapshot.range_in_time(keyspace, &low, Some(high.as_slice()), eve, day.0)
        {
            let (key, value) = entry?;
            let key = SeriesKey::read(&key).ok_or(BAD_KEY)?;
            if key.sequence.is_none() {
                last = Some((key.rank(), value));
            }
        }
        let Some((rank, value)) = last else { return Ok(None) };
        let stretch = Stretch::chunk(rank, value)?;
        Ok(Some(stretch).filter(|stretch| stretch.last() >= from))
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
        let mut next = self.begin(Keyspace::Series, series, day_of(from))?;
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
        for entry in self.range(Keyspace::Series, &low, begins, until) {
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
