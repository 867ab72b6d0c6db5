//! Limits that the hub sets: charging profiles of both versions, boiled down to watts over time.

use novax_model::Timestamp;
use novax_wire::ocpp::Decimal;
use novax_wire::ocpp::{v16, v201};

/// Periods that are kept of a schedule.
const PERIODS_MAX: usize = 64;
/// Three phases of 230 V: what an ampere is worth on them.
const WATTS_PER_AMPERE: i64 = 690;

/// What may be drawn, from a moment on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limit {
    since: Timestamp,
    /// Seconds into the schedule, and watts from there on. In order.
    periods: Vec<(u32, u64)>,
    duration_s: Option<u32>,
}

/// For whom a limit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// All of the station.
    Station,
    /// Whatever charges at an EVSE.
    Default,
    /// The transaction that runs.
    Transaction,
}

impl Limit {
    fn new(
        since: Timestamp,
        duration_s: Option<u32>,
        amperes: bool,
        periods: impl Iterator<Item = (u32, Decimal)>,
    ) -> Option<Limit> {
        let watts = |limit: Decimal| {
            // Tenths are kept until amperes have become watts.
            let tenths = limit.scaled(1)?;
            let watts =
                if amperes { tenths.checked_mul(WATTS_PER_AMPERE)? / 10 } else { tenths / 10 };
            u64::try_from(watts).ok()
        };
        let periods: Option<Vec<(u32, u64)>> = periods
            .take(PERIODS_MAX + 1)
            .map(|(start_s, limit)| Some((start_s, watts(limit)?)))
            .collect();
        let periods = periods?;
        let ordered = periods.is_sorted_by_key(|(start_s, _)| *start_s);
        let sound = ordered && !periods.is_empty() && periods.len() <= PERIODS_MAX;
        sound.then_some(Limit { since, periods, duration_s })
    }

    /// The limit of a 1.6 schedule; `None` when it cannot be followed.
    pub(super) fn of_v16(now: Timestamp, schedule: &v16::ChargingSchedule) -> Option<Limit> {
        Limit::new(
            schedule.start_schedule.unwrap_or(now),
            schedule.duration,
            schedule.charging_rate_unit == v16::ChargingRateUnit::Amperes,
            schedule.charging_schedule_period.iter().map(|at| (at.start_period, at.limit)),
        )
    }

    /// The limit of a 2.0.1 schedule; `None` when it cannot be followed.
    pub(super) fn of_v201(now: Timestamp, schedule: &v201::ChargingSchedule<'_>) -> Option<Limit> {
        Limit::new(
            schedule.start_schedule.unwrap_or(now),
            schedule.duration,
            schedule.charging_rate_unit == v201::ChargingRateUnit::Amperes,
            schedule.charging_schedule_period.iter().map(|at| (at.start_period, at.limit)),
        )
    }

    /// What may be drawn now; `None` when the schedule says nothing of now.
    pub(super) fn watts(&self, now: Timestamp) -> Option<u64> {
        if now < self.since {
            return None;
        }
        let elapsed_s = now.since(self.since).as_secs();
        if self.duration_s.is_some_and(|duration_s| elapsed_s >= u64::from(duration_s)) {
            return None;
        }
        let past = self.periods.iter().rev().find(|(start_s, _)| u64::from(*start_s) <= elapsed_s);
        past.map(|(_, watts)| *watts)
    }
}

/// The smallest of the limits that say something.
pub(super) fn smallest(limits: &[Option<u64>]) -> Option<u64> {
    limits.iter().flatten().min().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn limit(duration_s: Option<u32>, amperes: bool, periods: &[(u32, i64)]) -> Option<Limit> {
        let periods = periods.iter().map(|(start, limit)| (*start, Decimal::new(*limit, 0)));
        Limit::new(at(100), duration_s, amperes, periods)
    }

    #[test]
    fn each_period_holds_until_the_next() {
        let limit = limit(Some(60), false, &[(0, 11_000), (30, 5_000)]).expect("sound");
        assert_eq!(limit.watts(at(99)), None);
        assert_eq!(limit.watts(at(100)), Some(11_000));
        assert_eq!(limit.watts(at(129)), Some(11_000));
        assert_eq!(limit.watts(at(130)), Some(5_000));
        assert_eq!(limit.watts(at(160)), None);
    }

    #[test]
    fn amperes_are_taken_on_three_phases() {
        let limit = limit(None, true, &[(0, 16)]).expect("sound");
        assert_eq!(limit.watts(at(100)), Some(11_040));
    }

    #[test]
    fn a_schedule_that_makes_no_sense_is_refused() {
        assert_eq!(limit(None, false, &[]), None);
        assert_eq!(limit(None, false, &[(0, -1)]), None);
        assert_eq!(limit(None, false, &[(30, 1), (0, 2)]), None);
    }
}
