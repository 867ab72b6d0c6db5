//! A series on its way through the time asked for, day by day: no chunk reaches from one UTC day into
//! the next, so what overlaps is of one day.

use super::Scan;
use super::series::{Part, Place, ask, bounds, hot, unreadable};
use super::telemetry::NAME;
use crate::error::Error;
use novax_model::Timestamp;
use novax_tsdb::DAY_US;
use novax_tsdb::head::day_of;
use novax_tsdb::query::Runs;

pub(super) struct Reading {
    series: u64,
    pub(super) place: Place,
    /// Where to look on; `None` when all was looked at.
    next: Option<Timestamp>,
    from: Timestamp,
    until: Timestamp,
    /// What was found of the day and is not yet taken.
    pub(super) runs: Runs,
}

impl Reading {
    /// The next series that is wanted, at the begin of the time asked for.
    pub(super) fn next(scan: &Scan, part: &mut Part) -> Result<Option<Reading>, Error> {
        let Some((from, until)) = bounds(scan) else { return Ok(None) };
        let at = part.at;
        let lowest = |from: u64| -> Result<Option<u64>, Error> {
            let found = ask(scan, at, |source| source.next_series(from))?;
            Ok(found.into_iter().flatten().min())
        };
        let Some(series) = part.next_series(lowest)? else { return Ok(None) };
        let place = part.place(scan, series, NAME)?;
        let (next, runs) = (None, Runs::new(Vec::new()));
        let mut reading = Reading { series, place, next, from, until, runs };
        reading.begin(scan, at, from)?;
        Ok(Some(reading))
    }

    /// Goes to a time.
    fn begin(&mut self, scan: &Scan, at: usize, from: Timestamp) -> Result<(), Error> {
        let mut stretches = Vec::new();
        if from > Timestamp::ZERO {
            if let Some(stretch) = hot(scan, at).reaching(self.series, from).map_err(unreadable)? {
                scan.tally.entry();
                stretches.push(stretch);
            }
        }
        self.next = Some(from);
        self.runs = Runs::new(stretches);
        Ok(())
    }

    /// Goes back to the begin of the time asked for.
    pub(super) fn begin_again(&mut self, scan: &Scan, at: usize) -> Result<(), Error> {
        self.begin(scan, at, self.from)
    }

    /// Goes to the newest day that has ticks, as far as one can tell without reading them. Nothing is
    /// there after it.
    pub(super) fn begin_newest(&mut self, scan: &Scan, at: usize) -> Result<(), Error> {
        let find = |from: Timestamp| -> Result<Option<Timestamp>, Error> {
            let times = ask(scan, at, |source| source.next_time(self.series, from))?;
            Ok(times.into_iter().flatten().min().filter(|found| *found <= self.until))
        };
        let Some(mut newest) = find(self.from)? else { return Ok(()) };
        // Steps double while there is something behind them, then halve: that takes about twice as
        // many questions as the number of days has digits.
        let (mut step, mut grows) = (DAY_US, true);
        loop {
            let behind = Timestamp(day_of(newest).0.saturating_add(step));
            let found = if behind > newest { find(behind)? } else { None };
            newest = found.unwrap_or(newest);
            grows &= found.is_some();
            if !grows && step <= DAY_US {
                break;
            }
            step = if grows { step.saturating_mul(2) } else { step / 2 };
        }
        if day_of(newest) > self.from { self.begin(scan, at, day_of(newest)) } else { Ok(()) }
    }

    /// Finds the stretches of the next day that has any, and says how many were read; `None` when there
    /// is no such day.
    pub(super) fn load_day(&mut self, scan: &Scan, at: usize) -> Result<Option<usize>, Error> {
        let (series, until) = (self.series, self.until);
        let Some(from) = self.next.take() else { return Ok(None) };
        let times = ask(scan, at, |source| source.next_time(series, from))?;
        let found = times.into_iter().flatten().min().filter(|found| *found <= until);
        let Some(found) = found else { return Ok(None) };
        let midnight = Timestamp(day_of(found).0.saturating_add(DAY_US - 1));
        let (low, high) = (from.max(day_of(found)), midnight.min(until));
        let all = ask(scan, at, |source| source.stretches(series, low, high))?;
        let mut stretches: Vec<_> = all.into_iter().flatten().collect();
        let read = stretches.len();
        stretches.retain(|stretch| {
            scan.tally.entry();
            let touches = stretch.touches(low, high);
            if !touches {
                scan.tally.chunk_skipped();
            }
            touches
        });
        if midnight < until {
            self.next = Some(Timestamp(midnight.0 + 1));
        }
        self.runs = Runs::new(stretches);
        Ok(Some(read))
    }
}
