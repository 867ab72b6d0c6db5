//! The physics of charging, as predictions: power is nearly voltage times current times phases, and
//! energy the integral of power. What is stored is what the prediction misses, to the last digit.
//!
//! Integers alone, rounding towards minus infinity, wrapping: a reader on any machine predicts the
//! same. Factors are fitted for each block of 128 rows by the writer and stored; the reader never
//! fits.

use crate::bytes::{Reader, put_signed, put_varint};
use crate::error::Error;
use crate::lanes::BLOCK;

/// Fractional bits of the factor from voltage times current (in milliwatts) to watts.
const FACTOR_BITS: u32 = 24;
/// Fractional bits of the factor from watts, summed over ticks twice, to watt-hours.
const RATE_BITS: u32 = 40;
/// Fractional bits of the part of a watt-hour with which a block begins.
const PHASE_BITS: u32 = 8;
/// Microseconds of an hour, twice: the integral takes the mean of two powers.
const TWO_HOURS_US: u128 = 7_200_000_000;

/// What power is predicted to be.
fn product(voltage: i64, current: i64, factor: i64) -> i64 {
    voltage.wrapping_mul(current).wrapping_mul(factor) >> FACTOR_BITS
}

/// Appends the factors of power, and replaces `residual` by what they miss.
pub(crate) fn split_power(
    out: &mut Vec<u8>,
    voltage: &[i64],
    current: &[i64],
    power: &[i64],
    residual: &mut Vec<i64>,
) {
    assert!(
        voltage.len() == power.len() && current.len() == power.len(),
        "columns are of a length"
    );
    residual.clear();
    let mut factor = 0;
    let blocks = voltage.chunks(BLOCK).zip(current.chunks(BLOCK)).zip(power.chunks(BLOCK));
    for ((voltage, current), power) in blocks {
        let before = factor;
        factor = fitted_factor(voltage, current, power, before);
        put_signed(out, factor.wrapping_sub(before));
        let rows = voltage.iter().zip(current).zip(power);
        residual.extend(
            rows.map(|((volts, amps), power)| power.wrapping_sub(product(*volts, *amps, factor))),
        );
    }
}

/// Total power over total of voltage times current; the factor of the block before when that is as
/// good to a watt or two, because then it costs nothing.
fn fitted_factor(voltage: &[i64], current: &[i64], power: &[i64], before: i64) -> i64 {
    let apparent: i128 = voltage
        .iter()
        .zip(current)
        .map(|(volts, amps)| i128::from(volts.wrapping_mul(*amps)))
        .sum();
    let active: i128 = power.iter().copied().map(i128::from).sum();
    if apparent <= 0 || active <= 0 {
        return before;
    }
    let fitted = i64::try_from((active << FACTOR_BITS) / apparent).unwrap_or(0);
    let rows = i128::try_from(power.len()).unwrap_or(1);
    let off = (i128::from(fitted) - i128::from(before)).saturating_mul(apparent) >> FACTOR_BITS;
    if off.abs() < rows { before } else { fitted }
}

/// Reads factors, and adds their prediction to the residuals in `power`.
pub(crate) fn join_power(
    factors: &mut Reader<'_>,
    voltage: &[i64],
    current: &[i64],
    power: &mut [i64],
) -> Result<(), Error> {
    if voltage.len() != power.len() || current.len() != power.len() {
        return Err(Error::Invalid("power is predicted from columns that are not there"));
    }
    let mut factor = 0_i64;
    let blocks = voltage.chunks(BLOCK).zip(current.chunks(BLOCK)).zip(power.chunks_mut(BLOCK));
    for ((voltage, current), power) in blocks {
        factor = factor.wrapping_add(factors.signed()?);
        for ((volts, amps), power) in voltage.iter().zip(current).zip(power) {
            *power = power.wrapping_add(product(*volts, *amps, factor));
        }
    }
    Ok(())
}

/// Goes past the factors of so many rows.
pub(crate) fn skip_power(reader: &mut Reader<'_>, rows: usize) -> Result<(), Error> {
    for _ in 0..rows.div_ceil(BLOCK) {
        reader.signed()?;
    }
    Ok(())
}

/// The rate of energy at a tick each `step_us`.
fn nominal_rate(step_us: u64) -> i64 {
    i64::try_from((u128::from(step_us) << RATE_BITS) / TWO_HOURS_US).unwrap_or(0)
}

/// The rate that energy had over all rows.
fn fitted_rate(power: &[i64], energy: &[i64]) -> i64 {
    let twice: i128 = power.iter().copied().map(i128::from).sum::<i128>() * 2;
    let (Some(first), Some(last)) = (energy.first(), energy.last()) else { return 0 };
    if twice <= 0 || last <= first {
        return 0;
    }
    let gained = i128::from(*last) - i128::from(*first);
    i64::try_from((gained << RATE_BITS) / twice).unwrap_or(0)
}

/// Twice the integral of power over a block's rows, as 40-bit fractions of watt-hours.
struct Integral {
    rate: i64,
    sum: i64,
    before: i64,
}

impl Integral {
    fn add(&mut self, power: i64) -> i64 {
        self.sum = self.sum.wrapping_add(self.before).wrapping_add(power);
        self.before = power;
        self.sum.wrapping_mul(self.rate)
    }
}

/// Appends first value, rate and phases of energy, and replaces `residual` by what they miss. `step_us` is the
/// distance from tick to tick, if that is known.
pub(crate) fn split_energy(
    out: &mut Vec<u8>,
    power: &[i64],
    energy: &[i64],
    step_us: Option<u64>,
    residual: &mut Vec<i64>,
) {
    assert_eq!(power.len(), energy.len(), "columns are of a length");
    let fitted = fitted_rate(power, energy);
    let rate = match step_us.map(nominal_rate) {
        Some(nominal) if spread(power, energy, nominal) <= spread(power, energy, fitted) => nominal,
        _ => fitted,
    };
    let mut level = energy.first().copied().unwrap_or(0);
    put_signed(out, level);
    put_varint(out, rate.cast_unsigned());
    residual.clear();
    let mut before = power.first().copied().unwrap_or(0);
    for (power, energy) in power.chunks(BLOCK).zip(energy.chunks(BLOCK)) {
        let (least, most) = misses(power, energy, rate, level, before);
        let is_narrow = most.wrapping_sub(least) < 1 << PHASE_BITS;
        let middle = least.wrapping_add(most.wrapping_sub(least) / 2);
        let phase = if is_narrow { most } else { middle.wrapping_add(1 << (PHASE_BITS - 1)) };
        let phase = u8::try_from(phase & 0xff).unwrap_or(0);
        out.push(phase);
        let mut integral = Integral { rate, sum: 0, before };
        for (power, energy) in power.iter().zip(energy) {
            residual.push(energy.wrapping_sub(predicted(integral.add(*power), phase, level)));
        }
        level = energy.last().copied().unwrap_or(level);
        before = power.last().copied().unwrap_or(before);
    }
}

fn predicted(integral: i64, phase: u8, level: i64) -> i64 {
    let begun = i64::from(phase) << (RATE_BITS - PHASE_BITS);
    level.wrapping_add(integral.wrapping_add(begun) >> RATE_BITS)
}

/// How far energy is above its prediction, in parts of a watt-hour: least and most of a block.
fn misses(power: &[i64], energy: &[i64], rate: i64, level: i64, before: i64) -> (i64, i64) {
    let mut integral = Integral { rate, sum: 0, before };
    let (mut least, mut most) = (i64::MAX, i64::MIN);
    for (power, energy) in power.iter().zip(energy) {
        let moved = integral.add(*power) >> (RATE_BITS - PHASE_BITS);
        let miss = (energy.wrapping_sub(level) << PHASE_BITS).wrapping_sub(moved);
        (least, most) = (least.min(miss), most.max(miss));
    }
    (least, most)
}

/// How well a rate does over all blocks: the sum of what is between least and most of each.
fn spread(power: &[i64], energy: &[i64], rate: i64) -> u128 {
    let mut before = power.first().copied().unwrap_or(0);
    let mut total = 0_u128;
    for (power, energy) in power.chunks(BLOCK).zip(energy.chunks(BLOCK)) {
        let level = energy.first().copied().unwrap_or(0);
        let (least, most) = misses(power, energy, rate, level, before);
        total += u128::from(most.wrapping_sub(least).cast_unsigned());
        before = power.last().copied().unwrap_or(before);
    }
    total
}

/// Reads first value, rate and phases, and adds their prediction to the residuals in `energy`.
pub(crate) fn join_energy(
    reader: &mut Reader<'_>,
    power: &[i64],
    energy: &mut [i64],
) -> Result<(), Error> {
    if power.len() != energy.len() {
        return Err(Error::Invalid("energy is predicted from a column that is not there"));
    }
    let mut level = reader.signed()?;
    let rate = reader.varint()?.cast_signed();
    let mut before = power.first().copied().unwrap_or(0);
    for (power, energy) in power.chunks(BLOCK).zip(energy.chunks_mut(BLOCK)) {
        let phase = reader.u8()?;
        let mut integral = Integral { rate, sum: 0, before };
        for (power, energy) in power.iter().zip(&mut *energy) {
            *energy = energy.wrapping_add(predicted(integral.add(*power), phase, level));
        }
        level = energy.last().copied().unwrap_or(level);
        before = power.last().copied().unwrap_or(before);
    }
    Ok(())
}

/// Goes past first value, rate and the phases of so many rows.
pub(crate) fn skip_energy(reader: &mut Reader<'_>, rows: usize) -> Result<(), Error> {
    reader.signed()?;
    reader.varint()?;
    reader.take(rows.div_ceil(BLOCK))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{join_energy, join_power, split_energy, split_power};
    use crate::bytes::Reader;

    fn power_comes_back(voltage: &[i64], current: &[i64], power: &[i64]) -> Vec<i64> {
        let (mut bytes, mut residual) = (Vec::new(), Vec::new());
        split_power(&mut bytes, voltage, current, power, &mut residual);
        let mut back = residual.clone();
        join_power(&mut Reader::new(&bytes), voltage, current, &mut back).unwrap();
        assert_eq!(back, power);
        residual
    }

    fn energy_comes_back(power: &[i64], energy: &[i64], step_us: Option<u64>) -> Vec<i64> {
        let (mut bytes, mut residual) = (Vec::new(), Vec::new());
        split_energy(&mut bytes, power, energy, step_us, &mut residual);
        let mut back = residual.clone();
        join_energy(&mut Reader::new(&bytes), power, &mut back).unwrap();
        assert_eq!(back, energy);
        residual
    }

    #[test]
    fn exact_physics_leaves_nothing() {
        let voltage: Vec<i64> = (0..300).map(|n| 2_300 + n * 7 % 11).collect();
        let current: Vec<i64> = (0..300).map(|n| 1_600 - n * 5 % 13).collect();
        let power: Vec<i64> =
            voltage.iter().zip(&current).map(|(volts, amps)| volts * amps * 3 / 1_000).collect();
        let residual = power_comes_back(&voltage, &current, &power);
        assert!(residual.iter().all(|off| off.abs() <= 1), "{residual:?}");

        let mut joules = 5_000_000_000_i64;
        let mut before = power[0];
        let energy: Vec<i64> = power
            .iter()
            .map(|power| {
                joules += (before + power) * 5 / 2;
                before = *power;
                joules / 3_600
            })
            .collect();
        let residual = energy_comes_back(&power, &energy, Some(5_000_000));
        let wrong = residual.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(wrong <= 6, "{residual:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn whatever_the_columns_they_come_back(
            rows in prop::collection::vec((any::<i64>(), any::<i64>(), any::<i64>(), any::<i64>()), 1..300),
            tame in any::<bool>(),
            step_us in prop::option::of(any::<u64>()),
        ) {
            let column = |pick: fn(&(i64, i64, i64, i64)) -> i64| -> Vec<i64> {
                rows.iter().map(|row| if tame { pick(row) % 5_000 } else { pick(row) }).collect()
            };
            let (voltage, current) = (column(|row| row.0), column(|row| row.1));
            let (power, energy) = (column(|row| row.2), column(|row| row.3));
            power_comes_back(&voltage, &current, &power);
            energy_comes_back(&power, &energy, step_us);
        }
    }
}
