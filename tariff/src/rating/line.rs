//! Energy between two readings: a straight line, in whole watt-hours.
//!
//! What the register showed at a moment between is defined once, here, so that cutting an interval
//! at any number of moments neither loses nor doubles a watt-hour.

use novax_model::Timestamp;

/// From one reading to the next. Time does not run backwards; energy may.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
    /// Energy of the session at either end.
    pub(crate) from_wh: i64,
    pub(crate) until_wh: i64,
}

impl Line {
    fn duration_us(self) -> u128 {
        u128::from(self.until.0 - self.from.0)
    }

    fn energy(self) -> u128 {
        u128::from(self.until_wh.abs_diff(self.from_wh))
    }

    /// Whether energy is taken back.
    pub(crate) fn falls(self) -> bool {
        self.until_wh < self.from_wh
    }

    /// What had been taken at a moment within.
    pub(crate) fn energy_at(self, at: Timestamp) -> i64 {
        debug_assert!(self.from <= at && at <= self.until);
        if at >= self.until {
            return self.until_wh;
        }
        // Not at its end, so it has a duration.
        let part = self.energy() * u128::from(at.0 - self.from.0) / self.duration_us();
        let part = i64::try_from(part).expect("a part of the difference of two i64 below BOUND");
        if self.falls() { self.from_wh - part } else { self.from_wh + part }
    }

    /// The first moment at which this much had been taken; it lies between the ends.
    pub(crate) fn time_at(self, wh: i64) -> Timestamp {
        let part = u128::from(wh.abs_diff(self.from_wh));
        debug_assert!(part <= self.energy());
        if part == 0 {
            return self.from;
        }
        let after = (part * self.duration_us()).div_ceil(self.energy());
        Timestamp(self.from.0 + u64::try_from(after).expect("a part of the duration"))
    }

    /// Average power in watts; nothing for an instant.
    pub(crate) fn power_w(self) -> Option<i64> {
        let duration_us = i128::try_from(self.duration_us()).ok().filter(|us| *us > 0)?;
        let wh = i128::from(self.until_wh) - i128::from(self.from_wh);
        Some(i64::try_from(wh * 3_600_000_000 / duration_us).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_moment_of_an_energy_is_the_first(
            from in 0_u64..1_000_000, us in 1_u64..100_000_000_000, a in -50_000_i64..50_000,
            b in -50_000_i64..50_000, cut in 0_u64..=1_000_000,
        ) {
            let line = Line {
                from: Timestamp(from), until: Timestamp(from + us), from_wh: a, until_wh: b,
            };
            let wh = a + i64::try_from(cut).unwrap() * (b - a) / 1_000_000;
            let at = line.time_at(wh);
            prop_assert!(line.from <= at && at <= line.until);
            let reached = |e: i64| if b < a { e <= wh } else { e >= wh };
            prop_assert!(reached(line.energy_at(at)));
            if at > line.from {
                prop_assert!(!reached(line.energy_at(Timestamp(at.0 - 1))));
            }
            let between = Timestamp(from + us * cut / 1_000_000);
            let energy = line.energy_at(between);
            prop_assert!(a.min(b) <= energy && energy <= a.max(b));
        }
    }
}
