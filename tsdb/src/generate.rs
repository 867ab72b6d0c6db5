//! Telemetry of chargers as it might be: seeded, and the same on every machine.
//!
//! What is modelled, and why a codec should not be judged on less:
//!
//! * **Mains** of a station: three phases that wander slowly and flicker from tick to tick, sinking
//!   under load. Voltage is that of the first phase; power is that of all that carry current.
//! * **AC sessions**, on one or three phases: the car follows a set-point that smart charging changes
//!   every few minutes, with a power factor of its own that depends on the current.
//! * **DC sessions**: battery voltage rising with the state of charge, power limited by the charger,
//!   the battery's taper and set-points.
//! * **Idle time**: 55 % of connectors are ever plugged in; the others say zero all the time. Those
//!   that are used stand idle between sessions, for minutes to hours.
//! * **Meters**: every measured value carries noise of its own and is rounded to the meter's
//!   resolution: 0.1 V, 0.01 A, 1 W, 1 Wh, 0.1 °C, 1 %. Power is measured, not computed from the
//!   rounded voltage and current. The energy register counts true energy and never shows a part of
//!   a watt-hour.
//! * **Clocks**: a tick every five seconds, each series in a phase of its own, each stamp off by up
//!   to 15 ms, in whole milliseconds. The deviation does not add up: devices tick by a timer.
//!
//! Arithmetic is of integers alone, so that the same seed gives the same bytes everywhere.

use novax_model::{MeterTick, Timestamp};

/// 2026-11-21 00:00 UTC: where [`Config::default`] begins.
const DEFAULT_START: Timestamp = Timestamp(1_795_219_200_000_000);
/// Microjoules of a watt-hour.
const WATT_HOUR_UJ: i64 = 3_600_000_000;

/// What to generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How many series.
    pub connectors: u32,
    /// Ticks of each series.
    pub ticks: u32,
    /// The time of the first ticks, within one [`step`](Self::step_ms).
    pub start: Timestamp,
    /// Milliseconds from tick to tick.
    pub step_ms: u32,
    /// How far a stamp may be off, in milliseconds; less than half a step.
    pub jitter_ms: u32,
    /// How many of a thousand connectors are ever plugged in.
    pub used_permille: u32,
}

impl Default for Config {
    /// The fleet that figures are quoted for: 1,667 connectors of 1,000 ticks.
    fn default() -> Self {
        Self {
            connectors: 1_667,
            ticks: 1_000,
            start: DEFAULT_START,
            step_ms: 5_000,
            jitter_ms: 15,
            used_permille: 550,
        }
    }
}

/// One series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// Its number: station in the upper half, EVSE and connector in the lower quarters.
    pub series: u64,
    /// Its ticks, stamps increasing.
    pub ticks: Vec<MeterTick>,
}

/// Yields series after series, by ascending number. Each depends on the seed and its place alone.
#[derive(Debug, Clone)]
pub struct Generator {
    seed: u64,
    config: Config,
    next: u32,
}

impl Generator {
    /// A fleet of its own for each seed.
    ///
    /// # Panics
    /// When the jitter is not less than half a step: stamps would not increase.
    #[must_use]
    pub fn new(seed: u64, config: Config) -> Self {
        assert!(config.jitter_ms * 2 < config.step_ms, "stamps increase");
        assert!(config.used_permille <= 1_000, "of a thousand");
        Self { seed, config, next: 0 }
    }

    /// The series at a place, without those before it.
    #[must_use]
    pub fn series(&self, place: u32) -> Generated {
        // Two connectors a station.
        let series = u64::from(place / 2 + 1) << 32 | 1 << 16 | u64::from(place % 2 + 1);
        let mut noise = Noise::new(self.seed, u64::from(place));
        let mut connector = Connector::new(&self.config, &mut noise);
        let phase_ms = noise.below(i64::from(self.config.step_ms));
        let ticks = (0..self.config.ticks)
            .map(|n| {
                let values = connector.tick(&mut noise).map(Some);
                let jitter_ms = noise.uniform(i64::from(self.config.jitter_ms));
                let grid_ms = i64::from(n) * i64::from(self.config.step_ms);
                let off_us =
                    (grid_ms + phase_ms + jitter_ms + i64::from(self.config.jitter_ms)) * 1_000;
                MeterTick { at: Timestamp(self.config.start.0 + off_us.cast_unsigned()), values }
            })
            .collect();
        Generated { series, ticks }
    }
}

impl Iterator for Generator {
    type Item = Generated;

    fn next(&mut self) -> Option<Generated> {
        let place = self.next;
        if place >= self.config.connectors {
            return None;
        }
        self.next += 1;
        Some(self.series(place))
    }
}

/// `SplitMix64`: each step of it is well mixed, and a seed is all its state.
#[derive(Debug, Clone)]
struct Noise(u64);

impl Noise {
    fn new(seed: u64, place: u64) -> Self {
        let mut noise = Self(seed);
        noise.0 = noise.bits() ^ place.wrapping_mul(0xd6e8_feb8_6659_fd93);
        noise.bits();
        noise
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// From zero to `end`, without it.
    fn below(&mut self, end: i64) -> i64 {
        assert!(end > 0, "there is something below");
        (self.bits() % end.cast_unsigned()).cast_signed()
    }

    fn uniform(&mut self, spread: i64) -> i64 {
        self.below(2 * spread + 1) - spread
    }

    /// About normal: the sum of four uniforms, of this standard deviation (in thousandths of
    /// whatever it is of, so that small ones are not lost).
    fn normal(&mut self, deviation: i64) -> i64 {
        let bits = self.bits();
        let sum: i64 = (0..4).map(|n| (bits >> (16 * n) & 0xffff).cast_signed() - 0x8000).sum();
        // Each uniform has a deviation of 65,536 / sqrt(12); four of them twice that: 37,837.
        sum * deviation / 37_837
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let place = self.below(i64::try_from(from.len()).expect("a short list"));
        from[usize::try_from(place).expect("below the length")]
    }

    fn one_in(&mut self, many: i64) -> bool {
        self.below(many) == 0
    }
}

/// What a connector gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Alternating current; the charger allows so many milliamperes a phase.
    Ac { limit_ma: i64 },
    /// Direct current; the charger gives so many watts.
    Dc { limit_w: i64 },
}

/// A car while it is plugged in and charging.
#[derive(Debug, Clone, Copy)]
struct Session {
    /// Phases of its on-board charger; unused at DC.
    phases: usize,
    /// Milliamperes it would take at AC; watts at DC.
    wish: i64,
    /// What smart charging allows, in thousandths of the wish.
    setpoint_permille: i64,
    /// Power factor at full current, in hundred-thousandths.
    factor: i64,
    /// Battery, in watt-hours.
    battery_wh: i64,
    /// Charged so far, in microjoules.
    charged_uj: i64,
    /// Battery voltage when empty, in millivolts.
    empty_mv: i64,
    ticks_left: i64,
}

/// One connector with its meter.
#[derive(Debug)]
struct Connector {
    step_ms: i64,
    kind: Kind,
    is_used: bool,
    session: Option<Session>,
    idle_ticks: i64,
    /// Each phase, slowly wandering, in millivolts.
    phases_mv: [i64; 3],
    /// What flows in it now, in milliamperes: follows the target with the charger's ramp.
    current_ma: i64,
    energy_uj: i64,
    ambient_mc: i64,
    plug_mc: i64,
}

const NOMINAL_MV: i64 = 230_000;

impl Connector {
    fn new(config: &Config, noise: &mut Noise) -> Self {
        let kind = if noise.one_in(4) {
            Kind::Dc { limit_w: noise.pick(&[50_000, 75_000, 150_000, 300_000]) }
        } else {
            Kind::Ac { limit_ma: noise.pick(&[16_000, 16_000, 32_000]) }
        };
        let is_used = noise.below(1_000) < i64::from(config.used_permille);
        let ambient_mc = 12_000 + noise.uniform(8_000);
        let mut connector = Self {
            step_ms: i64::from(config.step_ms),
            kind,
            is_used,
            session: None,
            idle_ticks: noise.below(500),
            phases_mv: [0; 3].map(|_: i64| NOMINAL_MV + noise.uniform(4_000)),
            current_ma: 0,
            energy_uj: noise.below(40_000_000) * WATT_HOUR_UJ / 100 * 10,
            ambient_mc,
            plug_mc: ambient_mc + 2_000,
        };
        // Most that are used are in the middle of a session when the tape begins.
        if is_used && !noise.one_in(10) {
            let mut session = connector.arrive(noise);
            session.ticks_left = session.ticks_left * noise.below(1_000) / 1_000 + 1;
            connector.session = Some(session);
        }
        connector
    }

    /// A car comes.
    fn arrive(&self, noise: &mut Noise) -> Session {
        let battery_wh = 40_000 + noise.below(60_000);
        let soc_permille = 100 + noise.below(600);
        let hour_ticks = 3_600_000 / self.step_ms;
        let (wish, ticks_left) = match self.kind {
            Kind::Ac { limit_ma } => {
                let wish = noise.pick(&[10_000, 16_000, 16_000, 16_000, 32_000]).min(limit_ma);
                (wish, hour_ticks + noise.below(6 * hour_ticks))
            }
            Kind::Dc { limit_w } => {
                let wish = (40_000 + noise.below(160_000)).min(limit_w);
                (wish, hour_ticks / 3 + noise.below(hour_ticks))
            }
        };
        Session {
            phases: if noise.one_in(3) { 1 } else { 3 },
            wish,
            setpoint_permille: 1_000,
            factor: 98_500 + noise.below(1_300),
            battery_wh,
            charged_uj: battery_wh * soc_permille / 1_000 * WATT_HOUR_UJ,
            empty_mv: noise.pick(&[330_000, 340_000, 350_000, 640_000]),
            ticks_left,
        }
    }

    /// One step on: the six values as the meter shows them.
    fn tick(&mut self, noise: &mut Noise) -> [i64; 6] {
        self.come_and_go(noise);
        self.wander(noise);
        let (voltage_mv, power_mw) = self.flow(noise);
        let moved_uj = power_mw * self.step_ms;
        self.energy_uj += moved_uj;
        if let Some(session) = &mut self.session {
            session.charged_uj += moved_uj * 93 / 100;
        }
        self.heat();
        let soc_percent = self.session.map_or(0, |session| session.soc_permille() / 10);
        let is_flowing = self.current_ma > 0;
        // Class B meters: noise far below a percent, and yet more than the last digit of watts.
        let own_mw = if is_flowing { noise.normal(power_mw / 2_500 + 3_000) } else { 0 };
        let own_ma = if is_flowing { noise.normal(30 + self.current_ma / 5_000) } else { 0 };
        [
            rounded(voltage_mv + noise.normal(60), 100),
            rounded(self.current_ma + own_ma, 10).max(0),
            rounded(power_mw + own_mw, 1_000).max(0),
            self.energy_uj / WATT_HOUR_UJ,
            rounded(self.plug_mc + noise.normal(80), 100),
            soc_percent * 10,
        ]
    }

    fn come_and_go(&mut self, noise: &mut Noise) {
        if !self.is_used {
            return;
        }
        let Some(session) = &mut self.session else {
            self.idle_ticks -= 1;
            if self.idle_ticks <= 0 {
                self.session = Some(self.arrive(noise));
            }
            return;
        };
        session.ticks_left -= 1;
        // A change of the set-point about every eight minutes.
        if noise.one_in(100) {
            session.setpoint_permille = noise.pick(&[375, 500, 625, 750, 900, 1_000, 1_000, 1_000]);
        }
        if session.ticks_left <= 0 || session.soc_permille() >= 1_000 {
            self.session = None;
            self.current_ma = 0;
            self.idle_ticks = 60 + noise.below(3_600_000 / self.step_ms);
        }
    }

    /// The grid and the weather.
    fn wander(&mut self, noise: &mut Noise) {
        for phase_mv in &mut self.phases_mv {
            *phase_mv += noise.normal(130) + (NOMINAL_MV - *phase_mv) / 600;
            // A neighbour's heat pump, a tap changer.
            if noise.one_in(900) {
                *phase_mv += noise.uniform(2_500);
            }
        }
        self.ambient_mc += noise.normal(12) + (12_000 - self.ambient_mc) / 20_000;
    }

    /// Lets current flow: measured voltage in millivolts, power in milliwatts.
    fn flow(&mut self, noise: &mut Noise) -> (i64, i64) {
        let mains_mv = self.phases_mv.map(|phase_mv| phase_mv + noise.normal(320));
        let Some(session) = self.session else { return (mains_mv[0], 0) };
        match self.kind {
            Kind::Ac { .. } => {
                let target_ma = session.allowed(970);
                self.current_ma = approach(self.current_ma, target_ma, 4_000) + noise.normal(9);
                self.current_ma = self.current_ma.max(0);
                // A third of an ohm between the transformer and the plug would be far too much.
                let sag_mv = self.current_ma * 55 / 1_000;
                let carrying = &mains_mv[..session.phases];
                let sum_mv: i64 = carrying.iter().map(|phase_mv| phase_mv - sag_mv).sum();
                // The power factor falls as the current does.
                let factor = session.factor - 12_000_000 / (self.current_ma + 4_000);
                let power_mw = sum_mv * self.current_ma / 1_000 * factor / 100_000;
                (mains_mv[0] - sag_mv, power_mw)
            }
            Kind::Dc { .. } => {
                let open_mv = session.empty_mv + session.empty_mv * session.soc_permille() / 5_000;
                let target_ma = session.allowed(800) * 1_000_000 / open_mv;
                let ripple_ma = noise.normal(15 + self.current_ma / 10_000);
                self.current_ma = approach(self.current_ma, target_ma, 40_000) + ripple_ma;
                self.current_ma = self.current_ma.max(0);
                let voltage_mv = open_mv + self.current_ma * 60 / 1_000 + noise.normal(120);
                (voltage_mv, voltage_mv * self.current_ma / 1_000)
            }
        }
    }

    /// The plug warms with the square of the current, and cools to the weather.
    fn heat(&mut self) {
        let share = match self.kind {
            Kind::Ac { .. } => self.current_ma / 32,
            Kind::Dc { .. } => self.current_ma / 300,
        };
        let goal_mc = self.ambient_mc + 2_000 + share * share / 1_000 * 30;
        self.plug_mc += (goal_mc - self.plug_mc) / 150;
    }
}

impl Session {
    fn soc_permille(&self) -> i64 {
        (self.charged_uj / (self.battery_wh * WATT_HOUR_UJ / 1_000)).min(1_000)
    }

    /// What it may take now: the wish, less by set-point, and less again once the battery is fuller
    /// than `taper_permille`.
    fn allowed(&self, taper_permille: i64) -> i64 {
        let allowed = self.wish * self.setpoint_permille / 1_000;
        let soc_permille = self.soc_permille();
        if soc_permille <= taper_permille {
            return allowed;
        }
        let left_permille = (1_000 - soc_permille) * 1_000 / (1_000 - taper_permille);
        (self.wish * (80 + left_permille * 920 / 1_000) / 1_000).min(allowed)
    }
}

/// A step of at most `most` towards the target.
fn approach(from: i64, to: i64, most: i64) -> i64 {
    from + (to - from).clamp(-most, most)
}

/// To the nearest multiple of `unit`, in that unit.
fn rounded(value: i64, unit: i64) -> i64 {
    (value + unit / 2).div_euclid(unit)
}
