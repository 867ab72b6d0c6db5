//! Volumes of a record in OCPI's four places. They are rounded over their running sum, so that the
//! periods sum to the totals.

use crate::decimal::divide;
use crate::error::StatementError;
use crate::facts::{PeriodFacts, SessionFacts};
use novax_model::Timestamp;

const MICROS_PER_HOUR: u128 = 3_600_000_000;
const TEN_THOUSANDTHS: i128 = 10_000;

/// Everything that is measured, in ten-thousandths of a kWh or an hour.
pub(super) struct Volumes {
    pub(super) periods: Vec<PeriodVolumes>,
    pub(super) energy: i128,
    pub(super) time: i128,
    pub(super) parking: i128,
}

pub(super) struct PeriodVolumes {
    pub(super) start: Timestamp,
    pub(super) dimensions: Vec<(&'static str, i128)>,
}

impl Volumes {
    pub(super) fn of(facts: &SessionFacts) -> Result<Volumes, StatementError> {
        let whole = [PeriodFacts {
            start: facts.started,
            duration_us: facts.ended.0.saturating_sub(facts.started.0),
            energy_wh: facts.energy_wh,
            charging: true,
            reserved: false,
        }];
        // A record has at least one period, also where none was kept.
        let given = if facts.periods.is_empty() { &whole[..] } else { &facts.periods };
        let (mut charged, mut parked, mut reserved) =
            (Hours::default(), Hours::default(), Hours::default());
        let mut periods = Vec::with_capacity(given.len());
        for period in given {
            let mut dimensions = Vec::with_capacity(2);
            if period.energy_wh != 0 || period.charging {
                dimensions.push(("ENERGY", i128::from(period.energy_wh) * TEN_THOUSANDTHS / 1000));
            }
            let (kind, hours) = match (period.reserved, period.charging) {
                (true, _) => ("RESERVATION_TIME", &mut reserved),
                (false, true) => ("TIME", &mut charged),
                (false, false) => ("PARKING_TIME", &mut parked),
            };
            dimensions.push((kind, hours.add(period.duration_us)?));
            periods.push(PeriodVolumes { start: period.start, dimensions });
        }
        Ok(Volumes {
            periods,
            energy: i128::from(facts.energy_wh) * TEN_THOUSANDTHS / 1000,
            time: charged.written + parked.written,
            parking: parked.written,
        })
    }
}

/// Durations as hours of four places whose written parts sum to the written whole.
#[derive(Default)]
struct Hours {
    micros: i128,
    written: i128,
}

impl Hours {
    fn add(&mut self, micros: u64) -> Result<i128, StatementError> {
        self.micros += i128::from(micros);
        let written = divide(self.micros * TEN_THOUSANDTHS, MICROS_PER_HOUR)
            .ok_or(StatementError::Overflow { what: "the hours of a session" })?;
        let part = written - self.written;
        assert!(part >= 0, "time only grows");
        self.written = written;
        Ok(part)
    }
}
