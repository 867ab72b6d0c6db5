//! From reading to reading: who pays what for which microsecond and which watt-hour.
//!
//! The state is a row: bounded, and equal on every replica that was told the same.

use super::line::Line;
use super::select::{Active, Moment, Window, asks_clock, by_value, select, window};
use crate::check::BOUND_MAX;
use crate::model::{Dimension, Reservation, Tariff};
use crate::zone::{Offset, Zone};
use novax_model::{Timestamp, WattHours};
use rkyv::{Archive, Deserialize, Serialize};

/// Periods kept for the charge record. Beyond them the last one grows; what is billed is counted
/// apart and stays exact.
pub const PERIODS_MAX: usize = 256;
/// How often the prices may change between two readings. Beyond, what then holds is taken to hold
/// until the next reading: weeks of silence under the busiest tariff there can be.
pub const CUTS_MAX: usize = 10_000;

/// What a charger said at a moment.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// When. Earlier than the reading before, it counts as at the same time as that.
    pub at: Timestamp,
    /// What the meter showed.
    pub register_wh: WattHours,
    /// Power from then on. Absent, it is what the register says of the time until the next reading.
    pub power_w: Option<i64>,
    /// Current from then on, summed over phases.
    pub current_ma: Option<i64>,
    /// Whether the vehicle is charging from then on; if not, it is parked.
    pub charging: bool,
}

/// A stretch of a session in which the same prices held.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Period {
    /// When it began.
    pub start: Timestamp,
    /// How long it took.
    pub duration_us: u64,
    /// What was taken in it.
    pub energy: WattHours,
    /// Which elements priced it.
    pub active: Active,
    /// Whether the vehicle was charging.
    pub charging: bool,
    /// Whether it was not a charge yet.
    pub reservation: Option<Reservation>,
}

/// What was counted at the price of one component.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Total {
    pub(crate) element: u16,
    pub(crate) dimension: Dimension,
    pub(crate) reserved: bool,
    /// Watt-hours, microseconds or 1.
    pub(crate) volume: i64,
}

/// A session's price so far. Always used with the tariff it was started with.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Rating {
    started: Timestamp,
    first_wh: WattHours,
    last: Reading,
    offset: Offset,
    active: Active,
    window: Window,
    by_value: bool,
    periods_cut: bool,
    periods: Vec<Period>,
    /// In the order in which they were first counted.
    totals: Vec<Total>,
    /// The total that grew last of each kind.
    last_totals: [Option<u8>; KINDS],
    /// All there was of each kind, whether it had a price or not.
    used: [i64; KINDS],
}

/// What is rounded up to whole steps by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Energy,
    Time,
    Parking,
    Reserved,
}

const KINDS: usize = 4;

impl Kind {
    /// Of a total. A fee has no steps.
    pub(crate) fn of(dimension: Dimension, reserved: bool) -> Option<Kind> {
        match (dimension, reserved) {
            (Dimension::Flat, _) => None,
            (Dimension::Energy, _) => Some(Kind::Energy),
            (_, true) => Some(Kind::Reserved),
            (Dimension::Time, false) => Some(Kind::Time),
            (Dimension::ParkingTime, false) => Some(Kind::Parking),
        }
    }
}

impl Rating {
    /// Of a session that starts with this reading. `reserved_from` is when a reservation was made
    /// that this session now fulfils.
    #[must_use]
    pub fn start(
        tariff: &Tariff,
        zone: &Zone,
        reserved_from: Option<Timestamp>,
        first: Reading,
    ) -> Rating {
        let mut rating = Rating::at(tariff, zone, first);
        if let Some(from) = reserved_from.filter(|from| *from <= first.at) {
            rating.reserve(tariff, zone, from, first.at, Reservation::Reservation);
        }
        rating.choose(tariff, &rating.moment(first.at, 0, first.power_w));
        rating.charge_fee(false);
        rating
    }

    /// Of a reservation that ended without a session.
    #[must_use]
    pub fn expired(tariff: &Tariff, zone: &Zone, from: Timestamp, until: Timestamp) -> Rating {
        let nothing = Reading {
            at: until,
            register_wh: WattHours(0),
            power_w: None,
            current_ma: None,
            charging: false,
        };
        let mut rating = Rating::at(tariff, zone, nothing);
        rating.reserve(tariff, zone, from.min(until), until, Reservation::Expires);
        rating
    }

    fn at(tariff: &Tariff, zone: &Zone, first: Reading) -> Rating {
        Rating {
            started: first.at,
            first_wh: first.register_wh,
            last: first,
            offset: fixed_offset(tariff, zone, first.at),
            active: Active::FREE,
            window: Window::NEVER,
            by_value: by_value(tariff),
            periods_cut: false,
            periods: Vec::new(),
            totals: Vec::with_capacity(4),
            last_totals: [None; KINDS],
            used: [0; KINDS],
        }
    }

    /// Takes the next reading.
    pub fn advance(&mut self, tariff: &Tariff, zone: &Zone, mut next: Reading) {
        next.at = next.at.max(self.last.at);
        let line = Line {
            from: self.last.at,
            until: next.at,
            from_wh: self.energy().0,
            until_wh: self.session_wh(next.register_wh),
        };
        if self.by_value {
            self.window = Window::NEVER;
        }
        self.walk(tariff, zone, &line, None);
        assert_eq!(self.counted_until(), next.at, "an interval is counted to its end");
        self.last = next;
    }

    /// The time between two readings, piece by piece.
    fn walk(&mut self, tariff: &Tariff, zone: &Zone, line: &Line, kind: Option<Reservation>) {
        let power_w = self.last.power_w.or_else(|| line.power_w());
        let (mut at, mut wh) = (line.from, line.from_wh);
        let mut cuts = 0;
        while at < line.until || wh != line.until_wh {
            let cell = if line.falls() { wh - 1 } else { wh };
            let holds = at < self.window.until
                && (self.window.from_wh..self.window.until_wh).contains(&cell);
            if !holds {
                if at >= self.offset.until {
                    self.offset = fixed_offset(tariff, zone, at);
                }
                let mut moment = self.moment(at, cell, power_w);
                if let Some(kind) = kind {
                    moment.began = line.from;
                    moment.reservation = Some(kind);
                }
                self.choose(tariff, &moment);
                self.charge_fee(kind.is_some());
                cuts += 1;
                if cuts == CUTS_MAX {
                    self.window = Window::ALWAYS;
                }
            }
            let (until, until_wh) = cut(line, &self.window);
            assert!(until > at || until_wh != wh, "a piece is not empty, so the walk ends");
            self.count(kind, (at, wh), (until, until_wh));
            (at, wh) = (until, until_wh);
        }
        self.last.at = line.until;
    }

    fn reserve(
        &mut self,
        tariff: &Tariff,
        zone: &Zone,
        from: Timestamp,
        until: Timestamp,
        kind: Reservation,
    ) {
        let last = self.last;
        self.offset = fixed_offset(tariff, zone, from);
        // A fee is due even for a reservation that ends at once.
        let moment = Moment { began: from, reservation: Some(kind), ..self.moment(from, 0, None) };
        self.choose(tariff, &moment);
        self.charge_fee(true);
        self.walk(tariff, zone, &Line { from, until, from_wh: 0, until_wh: 0 }, Some(kind));
        if until >= self.offset.until {
            self.offset = fixed_offset(tariff, zone, until);
        }
        self.last = last;
    }

    fn moment(&self, at: Timestamp, wh: i64, power_w: Option<i64>) -> Moment {
        Moment {
            at,
            began: self.started,
            offset: self.offset,
            wh,
            power_w,
            current_ma: self.last.current_ma,
            reservation: None,
        }
    }

    fn choose(&mut self, tariff: &Tariff, moment: &Moment) {
        self.active = select(tariff, moment);
        self.window = if tariff.is_simple() { Window::ALWAYS } else { window(tariff, moment) };
    }

    /// A fee is paid once a session, and once a reservation: the first that holds.
    fn charge_fee(&mut self, reserved: bool) {
        let Some(element) = self.active.element(Dimension::Flat) else { return };
        let same = |t: &Total| t.dimension == Dimension::Flat && t.reserved == reserved;
        if !self.totals.iter().any(same) {
            self.totals.push(Total { element, dimension: Dimension::Flat, reserved, volume: 1 });
        }
    }

    fn count(
        &mut self,
        kind: Option<Reservation>,
        (at, wh): (Timestamp, i64),
        (until, until_wh): (Timestamp, i64),
    ) {
        assert!(at <= until, "time does not run backwards");
        let duration_us = until.0 - at.0;
        let energy = until_wh - wh;
        let reserved = kind.is_some();
        if energy != 0 {
            self.add(Dimension::Energy, reserved, energy);
        }
        if duration_us > 0 {
            let us = i64::try_from(duration_us).unwrap_or(i64::MAX);
            match (reserved, self.last.charging) {
                (true, _) => self.add(Dimension::Time, true, us),
                (false, true) => self.add(Dimension::Time, false, us),
                (false, false) => self.add(Dimension::ParkingTime, false, us),
            }
        }
        self.extend_periods(Period {
            start: at,
            duration_us,
            energy: WattHours(energy),
            active: self.active,
            charging: self.last.charging && !reserved,
            reservation: kind,
        });
    }

    fn add(&mut self, dimension: Dimension, reserved: bool, volume: i64) {
        if let Some(kind) = Kind::of(dimension, reserved) {
            let used = &mut self.used[kind as usize];
            *used = used.saturating_add(volume);
        }
        let Some(element) = self.active.element(dimension) else { return };
        let same =
            |t: &Total| t.element == element && t.dimension == dimension && t.reserved == reserved;
        let place = self.totals.iter().position(same).unwrap_or_else(|| {
            self.totals.push(Total { element, dimension, reserved, volume: 0 });
            self.totals.len() - 1
        });
        self.totals[place].volume = self.totals[place].volume.saturating_add(volume);
        // Fewer than 256 prices can be met: 64 elements with four each, and a fee twice but in no
        // element with energy or parking.
        if let Some(kind) = Kind::of(dimension, reserved) {
            self.last_totals[kind as usize] = u8::try_from(place).ok();
        }
    }

    fn extend_periods(&mut self, period: Period) {
        if let Some(last) = self.periods.last_mut() {
            let same = last.active == period.active
                && last.charging == period.charging
                && last.reservation == period.reservation;
            let full = !same && self.periods.len() == PERIODS_MAX;
            if same || full {
                self.periods_cut |= full;
                let Some(last) = self.periods.last_mut() else { return };
                last.duration_us = last.duration_us.saturating_add(period.duration_us);
                last.energy.0 += period.energy.0;
                return;
            }
        }
        self.periods.push(period);
    }

    fn counted_until(&self) -> Timestamp {
        self.last.at
    }

    /// A register against the first one. Bounded, so that no meter can make a price overflow.
    fn session_wh(&self, register: WattHours) -> i64 {
        register.0.saturating_sub(self.first_wh.0).clamp(-BOUND_MAX, BOUND_MAX)
    }

    /// When the session started.
    #[must_use]
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// The last reading it took.
    #[must_use]
    pub fn last(&self) -> &Reading {
        &self.last
    }

    /// Energy of the session so far.
    #[must_use]
    pub fn energy(&self) -> WattHours {
        WattHours(self.session_wh(self.last.register_wh))
    }

    /// Stretches of the session, each with its own prices, in order.
    #[must_use]
    pub fn periods(&self) -> &[Period] {
        &self.periods
    }

    /// Whether there were more periods than are kept, so that the last one holds several.
    #[must_use]
    pub fn periods_cut(&self) -> bool {
        self.periods_cut
    }

    /// Which prices hold since the last reading.
    #[must_use]
    pub fn active(&self) -> Active {
        self.active
    }

    pub(crate) fn totals(&self) -> &[Total] {
        &self.totals
    }

    /// The total of a kind that grew last: its step counts.
    pub(crate) fn last_total(&self, kind: Kind) -> Option<usize> {
        self.last_totals[kind as usize].map(usize::from)
    }

    /// All there was of a kind, in watt-hours or microseconds.
    pub(crate) fn used(&self, kind: Kind) -> i64 {
        self.used[kind as usize]
    }

    /// When prices may change next though the charger says nothing: by the clock or the duration.
    #[must_use]
    pub fn next_boundary(&self, tariff: &Tariff, zone: &Zone) -> Option<Timestamp> {
        let at = self.last.at;
        let mut moment = self.moment(at, self.energy().0, self.last.power_w);
        if at >= moment.offset.until {
            moment.offset = fixed_offset(tariff, zone, at);
        }
        Some(window(tariff, &moment).until).filter(|until| *until != Timestamp::MAX)
    }
}

/// Where the prices may next change on the line: at a time, or when so much was taken.
fn cut(line: &Line, window: &Window) -> (Timestamp, i64) {
    let until = line.until.min(window.until);
    let bound = if line.falls() { window.from_wh } else { window.until_wh };
    let crosses = if line.falls() { bound > line.until_wh } else { bound < line.until_wh };
    if crosses {
        let reached = line.time_at(bound);
        if reached <= until {
            return (reached, bound);
        }
    }
    (until, line.energy_at(until))
}

/// The zone's offset; without a look into its table where the tariff asks for no clock.
fn fixed_offset(tariff: &Tariff, zone: &Zone, at: Timestamp) -> Offset {
    let mut restrictions = tariff.elements.iter().filter_map(|e| e.restrictions.as_ref());
    let by_clock = restrictions.any(asks_clock);
    if by_clock { zone.offset_at(at) } else { Offset { seconds: 0, until: Timestamp::MAX } }
}
