//! A vehicle at an outlet, and what a meter there sees of it.
//!
//! Power follows the state of charge: direct current tapers from the middle of the battery on,
//! alternating current only near its end. Voltage, current, power and energy belong together: the
//! current is the power over the voltage, and the register is the integral of the power. All of it
//! in integers, so that a register never runs back and a seed repeats.

use super::random::Random;

/// A millijoule is a watt for a millisecond: the register's step, so that no energy is lost.
pub(super) const MILLIJOULES_PER_WH: u64 = 3_600_000;

/// What comes out of an outlet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outlet {
    /// Three phases of 230 V; the vehicle's charger decides.
    Alternating,
    /// The battery itself.
    Direct,
}

/// A vehicle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Car {
    outlet: Outlet,
    power_w_max: u64,
    capacity_wh: u64,
    charged_mj: u64,
    /// Thousandths of a degree.
    temperature: i64,
    ambient: i64,
    /// How the grid's voltage is off here, in tenths of a volt.
    voltage_off: i64,
    plugged_ms: u64,
}

/// What a meter and the vehicle say at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Measured {
    pub(super) voltage_dv: i64,
    pub(super) current_ca: i64,
    pub(super) power_w: i64,
    pub(super) register_wh: i64,
    pub(super) temperature_dc: i64,
    pub(super) soc_permille: i64,
}

/// Batteries lose some of what the meter counts.
const EFFICIENCY_PERCENT: u64 = 94;
/// Contactors close and power comes up in this time.
const RAMP_MS: u64 = 8_000;

impl Car {
    /// Some vehicle that may be found at an outlet of this power.
    pub(super) fn arrive(outlet: Outlet, outlet_w_max: u64, random: &mut Random) -> Car {
        let capacity_wh = random.pick(&[38_000, 52_000, 58_000, 64_000, 77_000, 82_000, 100_000]);
        let onboard_w: u64 = match outlet {
            Outlet::Alternating => random.pick(&[7_400, 11_000, 11_000, 22_000]),
            // A battery takes one and a half to three times its capacity in an hour.
            Outlet::Direct => capacity_wh * random.between(15, 30) / 10,
        };
        let soc_permille = random.between(80, 930);
        let ambient = 1_000 * i64::try_from(random.between(4, 26)).expect("small");
        Car {
            outlet,
            power_w_max: onboard_w.min(outlet_w_max),
            capacity_wh,
            charged_mj: capacity_wh * MILLIJOULES_PER_WH / 1_000 * soc_permille,
            temperature: ambient,
            ambient,
            voltage_off: i64::try_from(random.between(0, 60)).expect("small") - 30,
            plugged_ms: 0,
        }
    }

    /// State of charge, full at 1000.
    pub(super) fn soc_permille(&self) -> u64 {
        (self.charged_mj / (self.capacity_wh * MILLIJOULES_PER_WH / 1_000)).min(1_000)
    }

    /// Nothing more fits.
    pub(super) fn is_full(&self) -> bool {
        self.soc_permille() >= 1_000
    }

    /// Power is still coming up.
    pub(super) fn is_ramping(&self) -> bool {
        self.plugged_ms < RAMP_MS
    }

    /// What it would draw now without a limit.
    pub(super) fn wants_w(&self) -> u64 {
        let soc = self.soc_permille();
        let share_permille = match self.outlet {
            _ if soc >= 1_000 => 0,
            Outlet::Direct if soc < 100 => 850,
            Outlet::Direct if soc < 550 => 1_000,
            Outlet::Direct => 1_000 - (soc - 550) * 880 / 450,
            Outlet::Alternating if soc < 970 => 1_000,
            Outlet::Alternating => 1_000 - (soc - 970) * 800 / 30,
        };
        let ramp_permille = self.plugged_ms.min(RAMP_MS) * 1_000 / RAMP_MS;
        self.power_w_max * share_permille * ramp_permille / 1_000_000
    }

    /// Draws so much for so long; returns the energy that the meter counts.
    pub(super) fn draw(&mut self, power_w: u64, ms: u64) -> u64 {
        assert!(power_w <= self.power_w_max, "a vehicle draws what it can at most");
        let energy_mj = power_w * ms;
        self.charged_mj += energy_mj * EFFICIENCY_PERCENT / 100;
        self.plugged_ms = self.plugged_ms.saturating_add(ms);
        self.warm(power_w, ms);
        energy_mj
    }

    /// Up to 18 degrees above the air at full power, reached over minutes.
    fn warm(&mut self, power_w: u64, ms: u64) {
        const LAG_MS: i64 = 240_000;
        let rise = i64::try_from(18_000 * power_w / self.power_w_max.max(1)).expect("small");
        let ms = i64::try_from(ms).unwrap_or(LAG_MS).min(LAG_MS);
        self.temperature += (self.ambient + rise - self.temperature) * ms / LAG_MS;
    }

    /// What is measured while so much is drawn and the meter's register stands there.
    pub(super) fn measure(&self, power_w: u64, register_mj: u64) -> Measured {
        let soc = self.soc_permille();
        let voltage_dv = match self.outlet {
            // The grid gives in a little under load.
            Outlet::Alternating => {
                2_300 + self.voltage_off - i64::try_from(power_w / 1_500).expect("small")
            }
            // A battery of a hundred cells in a row, and its inner resistance.
            Outlet::Direct => {
                3_450 + i64::try_from(soc * 600 / 1_000 + power_w / 1_000).expect("small")
            }
        };
        assert!(voltage_dv > 0, "an outlet has a voltage");
        let conductors = match self.outlet {
            Outlet::Alternating => 3,
            Outlet::Direct => 1,
        };
        let power_w = i64::try_from(power_w).expect("far below");
        Measured {
            voltage_dv,
            current_ca: power_w * 1_000 / (voltage_dv * conductors),
            power_w,
            register_wh: i64::try_from(register_mj / MILLIJOULES_PER_WH).expect("far below"),
            temperature_dc: self.temperature / 100,
            soc_permille: i64::try_from(soc).expect("at most 1000"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet_of_cars() -> Vec<Car> {
        let mut random = Random::new(3, 3);
        let mut cars = Vec::new();
        for _ in 0..50 {
            cars.push(Car::arrive(Outlet::Alternating, 22_000, &mut random));
            cars.push(Car::arrive(Outlet::Direct, 150_000, &mut random));
        }
        cars
    }

    #[test]
    fn a_vehicle_fills_up_tapers_and_takes_no_more() {
        for mut car in fleet_of_cars() {
            let (mut register_mj, mut peak_w, mut steps) = (0, 0, 0);
            let before = car.soc_permille();
            while !car.is_full() {
                let wants = car.wants_w();
                assert!(wants > 0 || car.plugged_ms == 0, "it wants some until it is full");
                peak_w = peak_w.max(wants);
                register_mj += car.draw(wants, 5_000);
                steps += 1;
                assert!(steps < 50_000, "it gets full within three days");
            }
            assert_eq!(car.wants_w(), 0);
            let missing_wh = car.capacity_wh * (1_000 - before) / 1_000;
            let counted_wh = register_mj / MILLIJOULES_PER_WH;
            assert!((counted_wh + 1) * 94 / 100 + 1 >= missing_wh, "the meter counts losses too");
            assert!(counted_wh <= missing_wh * 100 / 94 + car.capacity_wh / 100);
            assert!(peak_w <= car.power_w_max);
        }
    }

    #[test]
    fn volts_times_amperes_are_watts() {
        for mut car in fleet_of_cars() {
            for _ in 0..20 {
                let power = car.wants_w();
                car.draw(power, 4_000);
                let seen = car.measure(power, 0);
                let phases = if car.outlet == Outlet::Direct { 1 } else { 3 };
                let volt_amperes = seen.voltage_dv * seen.current_ca * phases / 1_000;
                let error = (volt_amperes - seen.power_w).abs();
                assert!(error <= seen.voltage_dv * phases / 1_000 + 1, "{seen:?}");
            }
        }
    }

    #[test]
    fn the_temperature_stays_between_air_and_hot() {
        for mut car in fleet_of_cars() {
            for _ in 0..2_000 {
                let power = car.wants_w();
                car.draw(power, 5_000);
                assert!((car.ambient..=car.ambient + 18_000).contains(&car.temperature));
            }
        }
    }
}
