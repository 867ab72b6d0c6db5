//! Cleaning of device ticks, before they are kept: what cannot be true is taken out or put right,
//! what is odd is flagged, and whatever the device said is kept beside it as a [`Remark`].
//!
//! A [`Cleaner`] is the small memory of one series. Time is an argument: the log's.
//!
//! **Invariants**
//! * What cleaning changed is no longer changed by cleaning it again: the memory holds cleaned values
//!   only, so a second pass remembers the same as the first.
//! * A tick that is not newer than all before it neither reads nor changes the memory of values: in
//!   which order late ticks come does not matter.

use novax_model::{Duration, Measurand, MeterTick, Timestamp};

use crate::bytes::{Reader, put_varint};
use crate::error::Error;
use crate::remark::{Flags, Remark};

impl Flags {
    /// The stamp came again with other values; those that came first stand.
    pub const CONFLICT: Flags = Flags(1);
    /// It came after its place in the series was closed, and is kept in a chunk of late ticks.
    pub const LATE: Flags = Flags(1 << 1);
    /// The device's clock ran ahead of the log's; the stamp is the log's time.
    pub const CLOCK_AHEAD: Flags = Flags(1 << 2);
    /// The device's clock was not set, as after a loss of power; the stamp is the log's time.
    pub const CLOCK_UNSET: Flags = Flags(1 << 3);
    /// A value that cannot be was taken out.
    pub const SPIKE: Flags = Flags(1 << 4);
    /// The energy register began anew.
    pub const RESET: Flags = Flags(1 << 5);
    /// The energy register went round past its last digit.
    pub const ROLLOVER: Flags = Flags(1 << 6);
    /// The energy register rose by more than the connector can deliver, and stayed there.
    pub const JUMP: Flags = Flags(1 << 7);
    /// The energy register came a thousandth of what it was: kWh made Wh.
    pub const ENERGY_KILO: Flags = Flags(1 << 8);
    /// The energy register came a thousandfold: mWh made Wh.
    pub const ENERGY_MILLI: Flags = Flags(1 << 9);
    /// The power was a thousandth of what voltage and current say: kW made W.
    pub const POWER_KILO: Flags = Flags(1 << 10);
    /// The power was a thousandfold of what voltage and current say: mW made W.
    pub const POWER_MILLI: Flags = Flags(1 << 11);

    /// All flags with their names, from the lowest bit.
    pub const NAMES: [(Flags, &'static str); 12] = [
        (Flags::CONFLICT, "conflict"),
        (Flags::LATE, "late"),
        (Flags::CLOCK_AHEAD, "clock_ahead"),
        (Flags::CLOCK_UNSET, "clock_unset"),
        (Flags::SPIKE, "spike"),
        (Flags::RESET, "reset"),
        (Flags::ROLLOVER, "rollover"),
        (Flags::JUMP, "jump"),
        (Flags::ENERGY_KILO, "energy_kilo"),
        (Flags::ENERGY_MILLI, "energy_milli"),
        (Flags::POWER_KILO, "power_kilo"),
        (Flags::POWER_MILLI, "power_milli"),
    ];

    /// The names of the bits that are set, from the lowest.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Flags::NAMES.into_iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| name)
    }
}

/// What is possible at a connector, and how far a stamp may lie from the log's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The highest voltage, in 0.1 V.
    pub voltage_dv_max: i64,
    /// The largest current, in either direction, in 0.01 A.
    pub current_ca_max: i64,
    /// The largest power, in either direction, in W.
    pub power_w_max: i64,
    /// How far a stamp may be ahead.
    pub ahead_max: Duration,
    /// How late a tick may come.
    pub late_max: Duration,
}

impl Default for Limits {
    /// A megawatt at up to 1,500 V and 1,500 A; an hour ahead; 45 days late.
    fn default() -> Self {
        Limits {
            voltage_dv_max: 15_000,
            current_ca_max: 150_000,
            power_w_max: 1_000_000,
            ahead_max: Duration::from_secs(60 * 60),
            late_max: Duration::from_secs(45 * 24 * 60 * 60),
        }
    }
}

impl Limits {
    /// The most a register can grow from one stamp to another.
    #[must_use]
    pub fn growth_max(&self, from: Timestamp, to: Timestamp) -> i64 {
        let micros = i128::from(to.0.saturating_sub(from.0));
        let growth = i128::from(self.power_w_max.max(0)) * micros / MICROS_PER_HOUR;
        i64::try_from(growth).unwrap_or(REGISTER_MAX).min(REGISTER_MAX) + GROWTH_SLACK
    }

    /// What flowed between two readings of a register, in Wh: rollovers are counted, what a register
    /// shows after it began anew too, a jump that cannot be energy is not.
    #[must_use]
    pub fn energy(&self, (from, before): (Timestamp, i64), (to, after): (Timestamp, i64)) -> i64 {
        let readable = 0..=REGISTER_MAX;
        if !readable.contains(&before) || !readable.contains(&after) {
            return 0;
        }
        let growth_max = self.growth_max(from, to);
        let grown = if after >= before {
            after - before
        } else {
            rolled_over(before, after, growth_max).unwrap_or(after)
        };
        if grown <= growth_max { grown } else { 0 }
    }
}

const MICROS_PER_HOUR: i128 = 3_600_000_000;
/// A register may be kept in kWh by the device.
const GROWTH_SLACK: i64 = 1_000;
/// No register shows more, in Wh: a terawatt-hour.
const REGISTER_MAX: i64 = 1_000_000_000_000;
/// Below this, a thousandth says too little to tell a unit by.
const UNIT_REGISTER_MIN: i64 = 10_000;
/// Below this product of voltage and current, in W, nothing is said about the unit of power.
const UNIT_POWER_MIN: i64 = 1_000;
/// A value that cannot follow the last one is believed when the last is this old.
const DOUBT: Duration = Duration::from_secs(60);
/// A device without a clock counts from 1970, 2000 or the year it was made.
const CLOCK_SET_AFTER: Timestamp = Timestamp(1_577_836_800_000_000); // 2020-01-01
/// How far behind the log a stamp that was shifted may fall before it is shifted anew.
const SHIFTED_BEHIND_MAX: Duration = Duration::from_secs(60 * 60);
/// In 0.1 degrees Celsius.
const TEMPERATURES: std::ops::RangeInclusive<i64> = -600..=2_000;
/// In 0.1 degrees Celsius, at once.
const TEMPERATURE_STEP_MAX: i64 = 50;
/// In 0.1 degrees Celsius, a second.
const TEMPERATURE_PER_S_MAX: i64 = 50;
/// In 0.1 percent.
const SOCS: std::ops::RangeInclusive<i64> = 0..=1_000;
/// After which numbers registers begin at zero again.
const MODULI: [i64; 5] = [1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 1 << 32];

/// How much a register grew that went round, if it can have.
fn rolled_over(before: i64, after: i64, growth_max: i64) -> Option<i64> {
    let around =
        |modulus: &i64| (*modulus > before && after >= 0).then(|| modulus - before + after);
    MODULI.iter().filter_map(around).find(|grown| *grown <= growth_max)
}

/// A tick as it is kept, with what is to be remarked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// What is believed.
    pub tick: MeterTick,
    /// What was found, when there was something. Its `row` has no meaning here.
    pub remark: Option<Box<Remark>>,
}

impl Row {
    /// A tick with nothing to remark.
    #[must_use]
    pub fn plain(tick: MeterTick) -> Row {
        Row { tick, remark: None }
    }

    /// Its flags.
    #[must_use]
    pub fn flags(&self) -> Flags {
        self.remark.as_ref().map_or(Flags::NONE, |remark| remark.flags)
    }

    /// Sets flags.
    pub fn flag(&mut self, flags: Flags) {
        let remark = self.remark.get_or_insert_default();
        remark.flags = remark.flags.union(flags);
    }

    /// Puts `value` for what the device said.
    fn change(&mut self, measurand: Measurand, value: Option<i64>, flags: Flags) {
        let place = &mut self.tick.values[measurand as usize];
        let raw = std::mem::replace(place, value);
        self.flag(flags);
        if let Some(remark) = &mut self.remark {
            let known = &mut remark.raw[measurand as usize];
            *known = known.or(raw);
        }
    }
}

/// What one series has to remember for its next tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cleaner {
    /// The newest stamp kept.
    newest: Option<Timestamp>,
    /// The last register believed, and when.
    register: Option<(Timestamp, i64)>,
    /// The last temperature believed, and when.
    temperature: Option<(Timestamp, i64)>,
    /// Microseconds by which the device's clock was off when its stamp was last replaced.
    clock_off_us: Option<i64>,
}

impl Cleaner {
    /// Knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cleans a tick that the log took at `now`; `None` when it is too old to be kept.
    #[must_use]
    pub fn clean(&mut self, limits: &Limits, now: Timestamp, tick: MeterTick) -> Option<Row> {
        let mut row = Row::plain(tick);
        self.check_stamp(limits, now, &mut row)?;
        check_range(&mut row, Measurand::Voltage, &(0..=limits.voltage_dv_max));
        check_range(
            &mut row,
            Measurand::Current,
            &(-limits.current_ca_max..=limits.current_ca_max),
        );
        check_range(&mut row, Measurand::Energy, &(0..=REGISTER_MAX));
        check_range(&mut row, Measurand::Temperature, &TEMPERATURES);
        check_range(&mut row, Measurand::Soc, &SOCS);
        check_power(limits, &mut row);
        if self.newest.is_none_or(|newest| newest < row.tick.at) {
            self.newest = Some(row.tick.at);
            self.check_register(limits, &mut row);
            self.check_temperature(&mut row);
        }
        Some(row)
    }

    /// Puts the log's time for a stamp that cannot be. Ticks whose clock is off by the same keep
    /// their distances.
    fn check_stamp(&mut self, limits: &Limits, now: Timestamp, row: &mut Row) -> Option<()> {
        let at = row.tick.at;
        let latest = now.saturating_add(limits.ahead_max);
        let flag = if at > latest {
            Flags::CLOCK_AHEAD
        } else if now.since(at) <= limits.late_max {
            return Some(());
        } else if at < CLOCK_SET_AFTER {
            Flags::CLOCK_UNSET
        } else {
            return None;
        };
        let shifted = self.clock_off_us.and_then(|off| at.0.checked_add_signed(off.checked_neg()?));
        let fits = |at: &Timestamp| *at <= latest && now.since(*at) <= SHIFTED_BEHIND_MAX;
        let shifted = shifted.map(Timestamp).filter(fits);
        row.tick.at = shifted.unwrap_or_else(|| {
            self.clock_off_us = at.0.checked_signed_diff(now.0);
            now
        });
        row.flag(flag);
        if let Some(remark) = &mut row.remark {
            remark.raw_at = Some(at);
        }
        Some(())
    }

    /// Looks at a register in the light of the last one believed.
    fn check_register(&mut self, limits: &Limits, row: &mut Row) {
        let at = row.tick.at;
        let Some(value) = row.tick.get(Measurand::Energy) else { return };
        if let Some((then, last)) = self.register {
            let growth_max = limits.growth_max(then, at);
            let believed = at.since(then) >= DOUBT;
            let (kept, flag) = if value < last {
                fallen(last, value, growth_max, believed)
            } else {
                risen(last, value, growth_max, believed)
            };
            if kept != Some(value) {
                row.change(Measurand::Energy, kept, flag);
            } else if !flag.is_empty() {
                row.flag(flag);
            }
        }
        if let Some(kept) = row.tick.get(Measurand::Energy) {
            self.register = Some((at, kept));
        }
    }

    fn check_temperature(&mut self, row: &mut Row) {
        let at = row.tick.at;
        let Some(value) = row.tick.get(Measurand::Temperature) else { return };
        if let Some((then, last)) = self.temperature {
            let passed = at.since(then);
            let seconds = i64::try_from(passed.as_secs()).unwrap_or(i64::MAX);
            let most = TEMPERATURE_PER_S_MAX.saturating_mul(seconds) + TEMPERATURE_STEP_MAX;
            if passed < DOUBT && (value - last).abs() > most {
                row.change(Measurand::Temperature, None, Flags::SPIKE);
                return;
            }
        }
        self.temperature = Some((at, value));
    }

    /// Appends its bytes.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let put_pair = |out: &mut Vec<u8>, pair: Option<(u64, i64)>| match pair {
            None => out.push(0),
            Some((at, value)) => {
                out.push(1);
                put_varint(out, at);
                crate::bytes::put_signed(out, value);
            }
        };
        put_pair(out, self.newest.map(|at| (at.0, 0)));
        put_pair(out, self.register.map(|(at, value)| (at.0, value)));
        put_pair(out, self.temperature.map(|(at, value)| (at.0, value)));
        put_pair(out, self.clock_off_us.map(|off| (0, off)));
    }

    /// Reads what [`put`](Self::put) wrote.
    pub(crate) fn get(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let mut pair = || -> Result<Option<(Timestamp, i64)>, Error> {
            match reader.u8()? {
                0 => Ok(None),
                1 => Ok(Some((Timestamp(reader.varint()?), reader.signed()?))),
                _ => Err(Error::Invalid("neither there nor not there")),
            }
        };
        let newest = pair()?.map(|(at, _)| at);
        let (register, temperature) = (pair()?, pair()?);
        let clock_off_us = pair()?.map(|(_, off)| off);
        let sound = register.is_none_or(|(_, value)| (0..=REGISTER_MAX).contains(&value))
            && temperature.is_none_or(|(_, value)| TEMPERATURES.contains(&value));
        if !sound {
            return Err(Error::Invalid("a memory of values that were never believed"));
        }
        Ok(Self { newest, register, temperature, clock_off_us })
    }
}

fn check_range(row: &mut Row, measurand: Measurand, range: &std::ops::RangeInclusive<i64>) {
    if row.tick.get(measurand).is_some_and(|value| !range.contains(&value)) {
        row.change(measurand, None, Flags::SPIKE);
    }
}

/// Power beside voltage and current: one to three phases, any power factor an EV charger has.
fn check_power(limits: &Limits, row: &mut Row) {
    let Some(power) = row.tick.get(Measurand::Power) else { return };
    let possible = -limits.power_w_max..=limits.power_w_max;
    let product = match (row.tick.get(Measurand::Voltage), row.tick.get(Measurand::Current)) {
        (Some(voltage), Some(current)) => voltage.saturating_mul(current.saturating_abs()) / 1_000,
        _ => 0,
    };
    // From three tenths of one phase to three phases and a tenth.
    let fits = |power: i64| {
        let tenths = power.saturating_abs().saturating_mul(10);
        tenths >= product.saturating_mul(3) && tenths <= product.saturating_mul(31)
    };
    if product >= UNIT_POWER_MIN && !fits(power) {
        let (more, less) = (power.saturating_mul(1_000), power / 1_000);
        if fits(more) && possible.contains(&more) {
            return row.change(Measurand::Power, Some(more), Flags::POWER_KILO);
        }
        if !possible.contains(&power) && fits(less) && possible.contains(&less) {
            return row.change(Measurand::Power, Some(less), Flags::POWER_MILLI);
        }
    }
    if !possible.contains(&power) {
        row.change(Measurand::Power, None, Flags::SPIKE);
    }
}

/// A register above the last: what of it is kept, and what is to be said.
fn risen(last: i64, value: i64, growth_max: i64, believed: bool) -> (Option<i64>, Flags) {
    let most = last.saturating_add(growth_max);
    if value <= most {
        (Some(value), Flags::NONE)
    } else if last >= UNIT_REGISTER_MIN && (last..=most).contains(&(value / 1_000)) {
        (Some(value / 1_000), Flags::ENERGY_MILLI)
    } else if believed {
        (Some(value), Flags::JUMP)
    } else {
        (None, Flags::SPIKE)
    }
}

/// A register below the last: what of it is kept, and what is to be said.
fn fallen(last: i64, value: i64, growth_max: i64, believed: bool) -> (Option<i64>, Flags) {
    let thousandfold = value.saturating_mul(1_000);
    // After a long time nearly every register could be a thousandth of what might have been.
    let most = last.saturating_add(growth_max.min(last / 10));
    if last >= UNIT_REGISTER_MIN && thousandfold + 999 >= last && thousandfold <= most {
        // Kilowatt-hours are cut off: the last watt-hours are still true.
        (Some(thousandfold.max(last)), Flags::ENERGY_KILO)
    } else if rolled_over(last, value, growth_max).is_some() {
        (Some(value), Flags::ROLLOVER)
    } else if believed {
        (Some(value), Flags::RESET)
    } else {
        (None, Flags::SPIKE)
    }
}
