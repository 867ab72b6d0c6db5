//! The densest coding that still scans fast: what a smoothed level misses, by `pco`.
//!
//! A value is predicted by a level that follows the values slowly or quickly, whichever the writer
//! found best for a series; noise around a level then costs its own width, not that of two values'
//! difference. What the predictions of a whole group miss is coded as one stream, without the
//! blocks of 128 in which nothing is missed.

use pco::{ChunkConfig, DeltaSpec, ModeSpec};

use crate::bytes::{Reader, put_signed, put_varint};
use crate::error::Error;

/// Residuals are left out by the block.
const BLOCK: usize = 128;
/// Fractional bits of a level.
const LEVEL_BITS: u32 = 8;
/// How slowly a level may follow: by one part in two to the power of these.
const SLOWEST: u8 = 6;
/// The finest that `pco` bins; more do not make it smaller.
const PCO_LEVEL: usize = 8;

/// The stream is empty.
const EMPTY: u8 = 0;
/// All residuals fit 32 bits.
const NARROW: u8 = 1;
/// They do not.
const WIDE: u8 = 2;

/// How a level follows its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Smoothing {
    /// Each miss moves the level by one part in two to this power: 0 follows at once.
    pub(crate) slowness: u8,
    /// A miss of this many bits is a jump: the level goes there at once.
    pub(crate) jump_bits: u8,
}

impl Smoothing {
    pub(crate) fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.slowness, self.jump_bits]);
    }

    pub(crate) fn get(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let one = Self { slowness: reader.u8()?, jump_bits: reader.u8()? };
        if one.slowness > SLOWEST || one.jump_bits > 63 {
            return Err(Error::Invalid("a level slower than any writer's"));
        }
        Ok(one)
    }

    /// The level after a value that missed the prediction by so much.
    fn follow(self, level: i64, value: i64, miss: i64) -> i64 {
        let there = value << LEVEL_BITS;
        if miss.unsigned_abs() >> self.jump_bits != 0 {
            there
        } else {
            level.wrapping_add(there.wrapping_sub(level) >> self.slowness)
        }
    }

    /// Replaces the values after the first by what their predictions miss; the first stays.
    fn split(self, values: &mut [i64]) {
        let Some((first, rest)) = values.split_first_mut() else { return };
        let mut level = *first << LEVEL_BITS;
        for value in rest {
            let miss = value.wrapping_sub(predicted(level));
            level = self.follow(level, *value, miss);
            *value = miss;
        }
    }

    /// The inverse of [`split`](Self::split).
    fn join(self, values: &mut [i64]) {
        let Some((first, rest)) = values.split_first_mut() else { return };
        let mut level = *first << LEVEL_BITS;
        for value in rest {
            let miss = *value;
            *value = miss.wrapping_add(predicted(level));
            level = self.follow(level, *value, miss);
        }
    }

    /// What the misses add up to, jumps counted as no more than jumps.
    fn cost(self, values: &[i64]) -> u64 {
        let Some((first, rest)) = values.split_first() else { return 0 };
        let most = 1_u64 << self.jump_bits;
        let mut level = *first << LEVEL_BITS;
        let mut cost = 0_u64;
        for value in rest {
            let miss = value.wrapping_sub(predicted(level));
            level = self.follow(level, *value, miss);
            cost = cost.saturating_add(miss.unsigned_abs().min(most));
        }
        cost
    }

    /// The one under which the values cost least, and what they cost.
    pub(crate) fn fitted(values: &[i64]) -> (Self, u64) {
        let pairs = values.iter().zip(values.iter().skip(1));
        let moved: u128 = pairs.map(|(a, b)| u128::from(b.wrapping_sub(*a).unsigned_abs())).sum();
        let mean = moved / values.len().max(1) as u128;
        // Eight to sixteen times the mean step; noise reaches five times its deviation.
        let jump_bits = (131 - mean.leading_zeros()).clamp(4, 63);
        let jump_bits = u8::try_from(jump_bits).unwrap_or(63);
        let each = [0, 1, 2, 3, 4, SLOWEST].map(|slowness| Self { slowness, jump_bits });
        let costs = each.map(|one| (one, one.cost(values)));
        costs.into_iter().min_by_key(|(_, cost)| *cost).unwrap_or((each[0], 0))
    }
}

fn predicted(level: i64) -> i64 {
    level.wrapping_add(1 << (LEVEL_BITS - 1)) >> LEVEL_BITS
}

/// The residuals of a group's series, on their way to or from `pco`.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    residuals: Vec<i64>,
    narrow: Vec<i32>,
    taken: usize,
}

impl Stream {
    pub(crate) fn clear(&mut self) {
        self.residuals.clear();
        self.taken = 0;
    }

    /// Adds residuals as they are: a bit for each block, set if it is in the stream, goes to `meta`.
    pub(crate) fn put(&mut self, meta: &mut Vec<u8>, residuals: &[i64]) {
        for eight in residuals.chunks(8 * BLOCK) {
            let mut bits = 0_u8;
            for (bit, block) in eight.chunks(BLOCK).enumerate() {
                if block.iter().any(|residual| *residual != 0) {
                    bits |= 1 << bit;
                    self.residuals.extend_from_slice(block);
                }
            }
            meta.push(bits);
        }
    }

    /// Adds values, at least one, by what smoothing misses of them. They are overwritten.
    pub(crate) fn put_smoothed(
        &mut self,
        meta: &mut Vec<u8>,
        smoothing: Smoothing,
        values: &mut [i64],
    ) {
        smoothing.put(meta);
        smoothing.split(values);
        let Some((first, residuals)) = values.split_first() else { return };
        put_signed(meta, *first);
        self.put(meta, residuals);
    }

    /// Takes residuals, as [`put`](Self::put) added them.
    pub(crate) fn get(
        &mut self,
        meta: &mut Reader<'_>,
        residuals: &mut [i64],
    ) -> Result<(), Error> {
        for eight in residuals.chunks_mut(8 * BLOCK) {
            let bits = meta.u8()?;
            if u32::from(bits) >> eight.len().div_ceil(BLOCK) != 0 {
                return Err(Error::Invalid("blocks of residuals that are not there"));
            }
            for (bit, block) in eight.chunks_mut(BLOCK).enumerate() {
                if bits >> bit & 1 == 0 {
                    block.fill(0);
                    continue;
                }
                let end = self.taken + block.len();
                let from = self.residuals.get(self.taken..end);
                block.copy_from_slice(from.ok_or(Error::Invalid("too few residuals"))?);
                self.taken = end;
            }
        }
        Ok(())
    }

    /// Takes values, as [`put_smoothed`](Self::put_smoothed) added them.
    pub(crate) fn get_smoothed(
        &mut self,
        meta: &mut Reader<'_>,
        values: &mut [i64],
    ) -> Result<(), Error> {
        let smoothing = Smoothing::get(meta)?;
        let Some((first, residuals)) = values.split_first_mut() else {
            return Err(Error::Invalid("a smoothed series of no values"));
        };
        *first = meta.signed()?;
        self.get(meta, residuals)?;
        smoothing.join(values);
        Ok(())
    }

    /// Appends what was added.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>) {
        put_varint(out, self.residuals.len() as u64);
        if self.residuals.is_empty() {
            out.push(EMPTY);
            return;
        }
        let config = ChunkConfig::default()
            .with_compression_level(PCO_LEVEL)
            .with_mode_spec(ModeSpec::Classic)
            .with_delta_spec(DeltaSpec::NoOp);
        self.narrow.clear();
        self.narrow.extend(self.residuals.iter().map_while(|one| i32::try_from(*one).ok()));
        let is_narrow = self.narrow.len() == self.residuals.len();
        out.push(if is_narrow { NARROW } else { WIDE });
        let written = if is_narrow {
            pco::standalone::simple_compress_into(&self.narrow, &config, &mut *out)
        } else {
            pco::standalone::simple_compress_into(&self.residuals, &config, &mut *out)
        };
        written.expect("a valid configuration, and memory to write to");
    }

    /// Reads a stream of at most `most` residuals: all that is left of the reader.
    pub(crate) fn read(&mut self, reader: &mut Reader<'_>, most: usize) -> Result<(), Error> {
        self.clear();
        let count = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
        if count > most {
            return Err(Error::Invalid("more residuals than rows"));
        }
        let kind = reader.u8()?;
        let bytes = reader.rest();
        let damaged = Error::Invalid("residuals that cannot be decoded");
        let done = match kind {
            EMPTY if count == 0 && bytes.is_empty() => return Ok(()),
            NARROW => {
                self.narrow.clear();
                self.narrow.resize(count, 0);
                let done = pco::standalone::simple_decompress_into(bytes, &mut self.narrow);
                self.residuals.extend(self.narrow.iter().copied().map(i64::from));
                done
            }
            WIDE => {
                self.residuals.resize(count, 0);
                pco::standalone::simple_decompress_into(bytes, &mut self.residuals)
            }
            _ => return Err(Error::Invalid("unknown kind of residuals")),
        };
        let done = done.map_err(|_| damaged)?;
        if done.n_processed == count && done.finished { Ok(()) } else { Err(damaged) }
    }

    /// Whether all residuals were taken.
    pub(crate) fn finish(&self) -> Result<(), Error> {
        if self.taken == self.residuals.len() {
            return Ok(());
        }
        Err(Error::Invalid("residuals are left over"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Smoothing, Stream};
    use crate::bytes::Reader;

    fn coded(series: &[Vec<i64>]) -> usize {
        let (mut meta, mut stream) = (Vec::new(), Stream::default());
        for values in series {
            let (smoothing, _) = Smoothing::fitted(values);
            stream.put_smoothed(&mut meta, smoothing, &mut values.clone());
        }
        let mut bytes = Vec::new();
        stream.write(&mut bytes);
        let mut back = Stream::default();
        back.read(&mut Reader::new(&bytes), series.iter().map(Vec::len).sum()).unwrap();
        let mut reader = Reader::new(&meta);
        for values in series {
            let mut found = vec![9; values.len()];
            back.get_smoothed(&mut reader, &mut found).unwrap();
            assert_eq!(found, *values);
        }
        reader.finish().unwrap();
        back.finish().unwrap();
        meta.len() + bytes.len()
    }

    #[test]
    fn noise_around_a_level_costs_its_own_width() {
        let mut state = 1_u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            i64::try_from(state >> 61).unwrap()
        };
        let values: Vec<i64> = (0..20_000).map(|n| 2_300 + n / 500 + noise()).collect();
        // Three bits of noise, and little more.
        let bits = coded(&[values]) * 8;
        assert!(bits < 20_000 * 34 / 10, "{bits}");
    }

    #[test]
    fn what_stands_still_costs_bits_by_the_block() {
        let values = vec![77; 100_000];
        assert!(coded(&[values]) < 140);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whatever_the_values_they_come_back(
            wild in prop::collection::vec(any::<i64>(), 1..300),
            tame in prop::collection::vec(-300_i64..300, 1..2_000),
            still in 1_usize..2_000,
        ) {
            coded(&[wild, tame.clone(), vec![5; still], tame]);
        }
    }
}
