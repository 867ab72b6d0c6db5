//! Which prices hold at a moment, and for how long that cannot change.
//!
//! For each dimension by itself the first element counts that has it and whose restrictions hold.
//! A restriction on something nobody measured does not hold.

use crate::model::{ALL_DAYS, DAY_MINUTES, Dimension, Reservation, Restrictions, Tariff};
use crate::zone::{Local, Offset};
use novax_model::Timestamp;
use rkyv::{Archive, Deserialize, Serialize};

const NONE: u8 = u8::MAX;

/// The element that counts, for each dimension.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Active([u8; 4]);

impl Active {
    /// Nothing costs anything.
    pub(crate) const FREE: Active = Active([NONE; 4]);

    /// The element whose price of this dimension holds.
    #[must_use]
    pub fn element(self, dimension: Dimension) -> Option<u16> {
        match self.0[dimension as usize] {
            NONE => None,
            element => Some(u16::from(element)),
        }
    }

    fn set(&mut self, dimension: Dimension, element: u8) {
        let place = &mut self.0[dimension as usize];
        if *place == NONE {
            *place = element;
        }
    }

    fn is_complete(self) -> bool {
        self.0.iter().all(|element| *element != NONE)
    }
}

/// All that a restriction can ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) at: Timestamp,
    /// When that began whose duration is asked for: the session or the reservation.
    pub(crate) began: Timestamp,
    pub(crate) offset: Offset,
    /// The watt-hour that is being taken: 0 is the first of the session.
    pub(crate) wh: i64,
    pub(crate) power_w: Option<i64>,
    pub(crate) current_ma: Option<i64>,
    /// Absent: a charge.
    pub(crate) reservation: Option<Reservation>,
}

/// As long as nothing measured changes, the same prices hold.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Window {
    /// Before this time,
    pub(crate) until: Timestamp,
    /// from this watt-hour on,
    pub(crate) from_wh: i64,
    /// before this one.
    pub(crate) until_wh: i64,
}

impl Window {
    pub(crate) const ALWAYS: Window =
        Window { until: Timestamp::MAX, from_wh: i64::MIN, until_wh: i64::MAX };
    /// Nothing lies in it: the next moment asks anew.
    pub(crate) const NEVER: Window =
        Window { until: Timestamp::ZERO, from_wh: i64::MAX, until_wh: i64::MIN };
}

/// Whether power or current decide in this tariff, so that each reading asks anew.
pub(crate) fn by_value(tariff: &Tariff) -> bool {
    tariff
        .elements
        .iter()
        .filter_map(|element| element.restrictions.as_ref())
        .any(|r| [r.min_w, r.max_w, r.min_ma, r.max_ma].iter().any(Option::is_some))
}

/// Whether the time of day or the day decides.
pub(crate) fn asks_clock(r: &Restrictions) -> bool {
    let days = r.days != 0 && r.days != ALL_DAYS;
    days || r.start_time.is_some()
        || r.end_time.is_some()
        || r.start_date.is_some()
        || r.end_date.is_some()
}

/// Which prices hold.
pub(crate) fn select(tariff: &Tariff, moment: &Moment) -> Active {
    let mut active = Active::FREE;
    // An expired reservation pays what is there for that before what every reservation pays.
    if moment.reservation == Some(Reservation::Expires) {
        pick(tariff, moment, Some(Reservation::Expires), &mut active);
        pick(tariff, moment, Some(Reservation::Reservation), &mut active);
    } else {
        pick(tariff, moment, moment.reservation, &mut active);
    }
    active
}

fn pick(tariff: &Tariff, moment: &Moment, kind: Option<Reservation>, active: &mut Active) {
    let local = moment.offset.local(moment.at);
    for (index, element) in (0_u8..).zip(&tariff.elements) {
        let holds = match &element.restrictions {
            None => kind.is_none(),
            Some(r) => r.reservation == kind && holds(r, moment, local),
        };
        if !holds {
            continue;
        }
        for component in &element.components {
            active.set(component.dimension, index);
        }
        if active.is_complete() {
            return;
        }
    }
}

fn within<T: PartialOrd>(min: Option<T>, max: Option<T>, value: &T) -> bool {
    min.is_none_or(|min| min <= *value) && max.is_none_or(|max| *value < max)
}

fn measured(min: Option<i64>, max: Option<i64>, value: Option<i64>) -> bool {
    match value {
        Some(value) => within(min, max, &value),
        None => min.is_none() && max.is_none(),
    }
}

fn holds(r: &Restrictions, moment: &Moment, local: Local) -> bool {
    let duration_us = moment.at.0.saturating_sub(moment.began.0);
    let us = |s: Option<u32>| s.map(|s| u64::from(s) * 1_000_000);
    let day_matches = r.days == 0 || r.days & 1 << local.day.weekday() != 0;
    day_matches
        && within(us(r.min_s), us(r.max_s), &duration_us)
        && within(r.min_wh, r.max_wh, &moment.wh)
        && measured(r.min_w, r.max_w, moment.power_w)
        && measured(r.min_ma, r.max_ma, moment.current_ma)
        && within(r.start_date, r.end_date, &local.day)
        && clock_holds(r, local.minute())
}

/// From a time of day to another, around midnight when the end is not later than the start.
fn clock_holds(r: &Restrictions, minute: u16) -> bool {
    // 00:00 as an end is the end of the day.
    let end = r.end_time.map(|end| if end == 0 { DAY_MINUTES } else { end });
    match (r.start_time, end) {
        (Some(start), Some(end)) if end <= start => minute >= start || minute < end,
        (start, end) => within(start, end, &minute),
    }
}

/// How far what [`select`] found reaches from here.
pub(crate) fn window(tariff: &Tariff, moment: &Moment) -> Window {
    let mut window = Window::ALWAYS;
    let local = moment.offset.local(moment.at);
    let mut by_clock = false;
    let mut until = |at: Timestamp| {
        if at > moment.at {
            window.until = window.until.min(at);
        }
    };
    let restrictions = tariff.elements.iter().filter_map(|element| element.restrictions.as_ref());
    for r in restrictions.clone() {
        for s in [r.min_s, r.max_s].into_iter().flatten() {
            until(Timestamp(moment.began.0.saturating_add(u64::from(s) * 1_000_000)));
        }
        for minute in [r.start_time, r.end_time].into_iter().flatten() {
            until(moment.offset.at(local.day, minute));
        }
        by_clock |= asks_clock(r);
    }
    if by_clock {
        // A new day changes days and dates, and ends what has a time to begin but none to end.
        until(moment.offset.at(local.day.next(), 0));
        until(moment.offset.until);
    }
    for wh in restrictions.flat_map(|r| [r.min_wh, r.max_wh]).flatten() {
        if wh <= moment.wh {
            window.from_wh = window.from_wh.max(wh);
        } else {
            window.until_wh = window.until_wh.min(wh);
        }
    }
    assert!(moment.at < window.until || window.until == Timestamp::MAX, "a window lies ahead");
    assert!(window.from_wh <= moment.wh && moment.wh < window.until_wh, "a window holds its place");
    window
}
