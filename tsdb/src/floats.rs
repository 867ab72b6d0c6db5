//! Columns that are not scaled integers: exact to the bit, whatever they hold.
//!
//! Meters say decimals, so a column of floats mostly is one of integers divided by a power of ten;
//! then it is kept as those, and the division gives back every bit. Where a single value does not
//! come back (NaN of any payload, minus zero, infinities, true binary fractions), all are kept as
//! their bits, in the order of the numbers they stand for. `docs/formats/chunk.md` has the bytes.

use pco::{ChunkConfig, DeltaSpec, ModeSpec};

use crate::bytes::{self, Reader, put_varint};
use crate::error::Error;

/// The most values of one column.
pub const FLOATS_MAX: usize = 65_536;

const VERSION: u8 = 1;
/// Powers of ten that a column may be scaled by; all are exact.
const SCALES: [f64; 10] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
/// In place of the power of ten: bits.
const BITS: u8 = 0xff;
/// Integers up to here are exact as floats.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Encodes a column of floats.
///
/// # Panics
/// When there are more than [`FLOATS_MAX`].
#[must_use]
pub fn encode_floats(values: &[f64]) -> Vec<u8> {
    assert!(values.len() <= FLOATS_MAX, "a column of floats is bounded");
    let mut out = vec![VERSION];
    put_varint(&mut out, values.len() as u64);
    let scaled =
        (0_u8..).zip(SCALES).find_map(|(power, scale)| Some((power, integers(values, scale)?)));
    let (kind, numbers) = scaled.unwrap_or_else(|| (BITS, values.iter().map(ordered).collect()));
    out.push(kind);
    if !numbers.is_empty() {
        let config = ChunkConfig::default()
            .with_mode_spec(ModeSpec::Classic)
            .with_delta_spec(DeltaSpec::TryConsecutive(1));
        pco::standalone::simple_compress_into(&numbers, &config, &mut out)
            .expect("a valid configuration, and memory to write to");
    }
    bytes::seal(&mut out);
    out
}

/// The integers that, divided by `scale`, are all values to the last bit.
fn integers(values: &[f64], scale: f64) -> Option<Vec<i64>> {
    values
        .iter()
        .map(|value| {
            let scaled = (value * scale).round();
            let is_exact = scaled.abs() < EXACT_MAX && same_bits(scaled / scale, *value);
            // Minus zero is an integer and yet would come back as plus zero.
            let is_exact = is_exact && !(scaled == 0.0 && value.is_sign_negative());
            if is_exact { Some(whole(scaled)) } else { None }
        })
        .collect()
}

fn same_bits(one: f64, other: f64) -> bool {
    one.to_bits() == other.to_bits()
}

#[expect(clippy::cast_possible_truncation, reason = "whole and below two to the 53")]
fn whole(value: f64) -> i64 {
    value as i64
}

#[expect(clippy::cast_precision_loss, reason = "below two to the 53")]
fn float(value: i64) -> f64 {
    value as f64
}

/// Bits as an integer of the same order: near numbers have near integers.
fn ordered(value: &f64) -> i64 {
    let bits = value.to_bits().cast_signed();
    if bits < 0 { bits ^ i64::MAX } else { bits }
}

fn from_ordered(number: i64) -> f64 {
    let bits = if number < 0 { number ^ i64::MAX } else { number };
    f64::from_bits(bits.cast_unsigned())
}

/// Decodes a column of floats.
///
/// # Errors
/// [`Error`] when the bytes are no such column.
pub fn decode_floats(bytes: &[u8]) -> Result<Vec<f64>, Error> {
    let mut reader = Reader::new(bytes::open(bytes)?);
    let version = reader.u8()?;
    if version != VERSION {
        return Err(Error::UnknownVersion(version));
    }
    let count = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
    if count > FLOATS_MAX {
        return Err(Error::Invalid("a column of more than 65536 floats"));
    }
    let kind = reader.u8()?;
    let mut numbers = vec![0_i64; count];
    if count == 0 {
        reader.finish()?;
    } else {
        let damaged = Error::Invalid("floats that cannot be decoded");
        let done = pco::standalone::simple_decompress_into(reader.rest(), &mut numbers);
        let done = done.map_err(|_| damaged)?;
        if done.n_processed != count || !done.finished {
            return Err(damaged);
        }
    }
    if kind == BITS {
        return Ok(numbers.into_iter().map(from_ordered).collect());
    }
    let scale = SCALES.get(usize::from(kind)).ok_or(Error::Invalid("unknown scale of floats"))?;
    Ok(numbers.into_iter().map(|number| float(number) / scale).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{decode_floats, encode_floats};

    fn coded(values: &[f64]) -> usize {
        let bytes = encode_floats(values);
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&decode_floats(&bytes).unwrap()), bits(values));
        bytes.len()
    }

    #[test]
    fn decimals_are_as_small_as_integers() {
        let volts: Vec<f64> = (0..1_000).map(|n| f64::from(2_300 + n * 7 % 16) / 10.0).collect();
        assert!(coded(&volts) < 650, "{}", coded(&volts));
    }

    #[test]
    fn what_is_no_decimal_comes_back_to_the_bit() {
        coded(&[]);
        coded(&[-0.0, 0.0]);
        coded(&[f64::NAN, f64::from_bits(0x7ff0_0000_0000_0001), -f64::NAN, f64::INFINITY]);
        coded(&[f64::MIN_POSITIVE, f64::MAX, f64::MIN, f64::EPSILON, 1.0 / 3.0, 5e-324]);
        coded(&[9_007_199_254_740_993.0, 9_007_199_254_740_991.0, 0.1 + 0.2]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn all_bits_come_back(bits in prop::collection::vec(any::<u64>(), 0..300)) {
            coded(&bits.into_iter().map(f64::from_bits).collect::<Vec<_>>());
        }

        #[test]
        fn decimals_come_back(values in prop::collection::vec(-1_000_000_i32..1_000_000, 0..300), power in 0_u8..8) {
            let scale = 10_f64.powi(power.into());
            coded(&values.into_iter().map(|value| f64::from(value) / scale).collect::<Vec<_>>());
        }
    }
}
