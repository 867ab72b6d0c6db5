//! Up to 1,024 integers, as chunks of version 2 keep them: in blocks of 128, each block coded in
//! the way that is shortest for it. `docs/formats/chunk.md` has the bytes.
//!
//! A block is plain (noise around a level), sloped (noise around a trend) or delta (steps that add
//! up). A few numbers far from the rest do not widen a block: they are added as exceptions. All
//! arithmetic wraps, so every sequence of 64-bit numbers comes back.

use crate::bytes::{Reader, put_signed, signed_len};
use crate::error::Error;
use crate::lanes::{self, BLOCK};

/// The most numbers of a sequence: what bounds a decoder.
pub(crate) const SEQUENCE_MAX: usize = 1_024;
/// The most numbers that are left out at either end of a block.
const EXCEPTIONS_SIDE_MAX: usize = 6;
/// What an exception is reckoned to cost, in bits: its place and mostly a byte of number.
const EXCEPTION_BITS: usize = 18;

/// All numbers are the first.
const CONSTANT: u8 = 0;
/// What all distances to the first number are divided by: the kind is one more than the place.
const SCALES: [i64; 4] = [1, 10, 100, 1_000];
/// Width of a block whose numbers take all 64 bits.
const WIDE: u8 = 33;
/// Fractional bits of a slope.
const SLOPE_BITS: u32 = 8;

/// How a block is coded: the upper two bits of its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Plain = 0,
    Sloped = 1,
    Delta = 2,
}

/// Appends a sequence. Its length is not stored: the reader must know it.
pub(crate) fn put(out: &mut Vec<u8>, values: &[i64]) {
    assert!(values.len() <= SEQUENCE_MAX, "a sequence is bounded");
    let Some(first) = values.first().copied() else { return };
    if values.iter().all(|value| *value == first) {
        out.push(CONSTANT);
        put_signed(out, first);
        return;
    }
    let (kind, scale) = coarsest_scale(values, first);
    out.push(kind);
    put_signed(out, first);
    let mask_place = out.len();
    out.push(0);
    let mut before = 0;
    for (number, block) in values.chunks(BLOCK).enumerate() {
        let mut scaled = [0_i64; BLOCK];
        let scaled = &mut scaled[..block.len()];
        for (scaled, value) in scaled.iter_mut().zip(block) {
            *scaled = value.wrapping_sub(first);
        }
        if scale > 1 {
            scaled.iter_mut().for_each(|value| *value /= scale);
        }
        let has_exceptions = put_block(out, scaled, before);
        out[mask_place] |= u8::from(has_exceptions) << number;
        before = scaled.last().copied().unwrap_or(before);
    }
}

/// The largest of [`SCALES`] that divides every distance to the first value.
fn coarsest_scale(values: &[i64], first: i64) -> (u8, i64) {
    let divides = |scale: i64| {
        values.iter().all(|value| value.checked_sub(first).is_some_and(|off| off % scale == 0))
    };
    let mut best = (1, 1);
    for (kind, scale) in (2_u8..).zip(SCALES.into_iter().skip(1)) {
        if !divides(scale) {
            break;
        }
        best = (kind, scale);
    }
    best
}

/// How a block's numbers are taken: those from `base` to `base + 2^width` are packed.
#[derive(Debug, Clone, Copy)]
struct Frame {
    base: i64,
    width: u32,
    bits: usize,
}

/// Finds the frame that takes the fewest bits, leaving out some numbers at either end.
fn frame(values: &[i64]) -> Frame {
    let side = EXCEPTIONS_SIDE_MAX.min(values.len() / 4);
    let (mut low, mut high) =
        ([i64::MAX; EXCEPTIONS_SIDE_MAX + 1], [i64::MIN; EXCEPTIONS_SIDE_MAX + 1]);
    for value in values {
        if *value < low[side] {
            insert(&mut low[..=side], *value, |a, b| a < b);
        }
        if *value > high[side] {
            insert(&mut high[..=side], *value, |a, b| a > b);
        }
    }
    let width = |low: i64, high: i64| 64 - high.wrapping_sub(low).cast_unsigned().leading_zeros();
    let cost = |width: u32, left_out: usize| {
        let each = if width > lanes::WIDTH_MAX { 64 } else { width as usize };
        let exceptions = if left_out > 0 { 8 + left_out * EXCEPTION_BITS } else { 0 };
        each * values.len() + exceptions
    };
    let full = width(low[0], high[0]);
    let mut best = Frame { base: low[0], width: full, bits: cost(full, 0) };
    let (mut below, mut above) = (0, 0);
    while best.width > 0 && (below < side || above < side) {
        // Drop from the side where more is won.
        let won_below = low[(below + 1).min(side)].wrapping_sub(low[below]).cast_unsigned();
        let won_above = high[above].wrapping_sub(high[(above + 1).min(side)]).cast_unsigned();
        if above >= side || (below < side && won_below > won_above) {
            below += 1;
        } else {
            above += 1;
        }
        let width = width(low[below], high[above]);
        let bits = cost(width, below + above);
        if bits < best.bits {
            best = Frame { base: low[below], width, bits };
        }
    }
    best.bits += signed_len(best.base) * 8;
    best
}

/// Puts a value in its place, the last one falls out.
fn insert(sorted: &mut [i64], value: i64, comes_before: fn(&i64, &i64) -> bool) {
    let mut place = sorted.len() - 1;
    while place > 0 && comes_before(&value, &sorted[place - 1]) {
        sorted[place] = sorted[place - 1];
        place -= 1;
    }
    sorted[place] = value;
}

/// Appends a block and says whether it has exceptions. `before` is the number before it.
fn put_block(out: &mut Vec<u8>, values: &[i64], before: i64) -> bool {
    let mut plain = [0_i64; BLOCK];
    let plain = &mut plain[..values.len()];
    let mut delta = [0_i64; BLOCK];
    let delta = &mut delta[..values.len()];
    let mut last = before;
    for ((value, plain), delta) in values.iter().zip(&mut *plain).zip(&mut *delta) {
        *plain = value.wrapping_sub(before);
        *delta = value.wrapping_sub(last);
        last = *value;
    }
    let (plain_frame, delta_frame) = (frame(plain), frame(delta));
    let slope = slope(plain);
    let mut sloped = [0_i64; BLOCK];
    let sloped = &mut sloped[..values.len()];
    let mut sloped_frame = Frame { bits: usize::MAX, ..plain_frame };
    if slope != 0 && plain_frame.width > 1 {
        for ((row, sloped), plain) in (0..).zip(&mut *sloped).zip(&*plain) {
            *sloped = plain.wrapping_sub(on_slope(slope, row));
        }
        sloped_frame = frame(sloped);
        sloped_frame.bits += signed_len(slope) * 8;
    }
    if plain_frame.bits <= delta_frame.bits.min(sloped_frame.bits) {
        put_framed(out, Mode::Plain, 0, plain, plain_frame)
    } else if delta_frame.bits <= sloped_frame.bits {
        put_framed(out, Mode::Delta, 0, delta, delta_frame)
    } else {
        put_framed(out, Mode::Sloped, slope, sloped, sloped_frame)
    }
}

/// What a trend has added at a row.
fn on_slope(slope: i64, row: i64) -> i64 {
    slope.wrapping_mul(row) >> SLOPE_BITS
}

/// The trend of a block, from the means of its halves: noise hardly moves them.
fn slope(plain: &[i64]) -> i64 {
    let half = plain.len() / 2;
    if half < 4 {
        return 0;
    }
    let sum = |values: &[i64]| values.iter().fold(0_i64, |sum, value| sum.wrapping_add(*value));
    let (early, late) = plain.split_at(half);
    let late = late.get(late.len() - half..).unwrap_or(late);
    let rise = i128::from(sum(late).wrapping_sub(sum(early))) << SLOPE_BITS;
    let run = i128::try_from(half * (plain.len() - half)).unwrap_or(1);
    i64::try_from(rise / run).unwrap_or(0)
}

fn put_framed(out: &mut Vec<u8>, mode: Mode, slope: i64, values: &[i64], frame: Frame) -> bool {
    let is_wide = frame.width > lanes::WIDTH_MAX;
    let width = if is_wide { WIDE } else { u8::try_from(frame.width).unwrap_or(WIDE) };
    out.push((mode as u8) << 6 | width);
    put_signed(out, frame.base);
    if mode == Mode::Sloped {
        put_signed(out, slope);
    }
    if is_wide {
        for value in values {
            out.extend_from_slice(&value.wrapping_sub(frame.base).to_le_bytes());
        }
        return false;
    }
    let mut packed = [0_u32; BLOCK];
    let mut exceptions = [0_u8; 2 * EXCEPTIONS_SIDE_MAX];
    let mut count = 0;
    for ((row, value), packed) in (0_u8..).zip(values).zip(&mut packed) {
        let above = value.wrapping_sub(frame.base).cast_unsigned();
        if above >> frame.width == 0 {
            *packed = (above & 0xffff_ffff) as u32;
        } else {
            exceptions[count] = row;
            count += 1;
        }
    }
    lanes::pack(out, &packed[..values.len()], frame.width);
    if count > 0 {
        out.push(u8::try_from(count).expect("at most twelve"));
        for row in exceptions.iter().take(count) {
            out.push(*row);
            put_signed(out, values[usize::from(*row)].wrapping_sub(frame.base));
        }
    }
    count > 0
}

/// Reads `count` numbers that [`put`] wrote, into `values` (emptied first).
pub(crate) fn get(
    reader: &mut Reader<'_>,
    count: usize,
    values: &mut Vec<i64>,
) -> Result<(), Error> {
    values.clear();
    if count > SEQUENCE_MAX {
        return Err(Error::Invalid("a sequence of more than 1024 numbers"));
    }
    if count == 0 {
        return Ok(());
    }
    let kind = reader.u8()?;
    let first = reader.signed()?;
    values.resize(count, first);
    let Some(scale) = usize::from(kind).checked_sub(1) else { return Ok(()) };
    let scale = *SCALES.get(scale).ok_or(Error::Invalid("unknown kind of sequence"))?;
    let exceptions = reader.u8()?;
    let mut before = 0;
    for (number, block) in values.chunks_mut(BLOCK).enumerate() {
        get_block(reader, block, before, exceptions >> number & 1 == 1)?;
        before = block.last().copied().unwrap_or(before);
        if scale == 1 {
            block.iter_mut().for_each(|value| *value = value.wrapping_add(first));
        } else {
            for value in block {
                *value = value.wrapping_mul(scale).wrapping_add(first);
            }
        }
    }
    if usize::from(exceptions.checked_ilog2().map_or(0, |bit| bit as u8 + 1))
        > count.div_ceil(BLOCK)
    {
        return Err(Error::Invalid("exceptions of blocks that are not there"));
    }
    Ok(())
}

fn get_block(
    reader: &mut Reader<'_>,
    block: &mut [i64],
    before: i64,
    has_exceptions: bool,
) -> Result<(), Error> {
    let head = reader.u8()?;
    let (mode, width) = (head >> 6, head & 0x3f);
    let base = reader.signed()?;
    let slope = if mode == Mode::Sloped as u8 { reader.signed()? } else { 0 };
    // What stands before the block is part of the level of all but delta.
    let level = if mode == Mode::Delta as u8 { base } else { base.wrapping_add(before) };
    if width == WIDE {
        let (eights, _) = reader.take(block.len() * 8)?.as_chunks::<8>();
        for (value, eight) in block.iter_mut().zip(eights) {
            *value = level.wrapping_add(i64::from_le_bytes(*eight));
        }
    } else {
        let mut numbers = [0_u32; BLOCK];
        let numbers = &mut numbers[..block.len()];
        let packed = reader.take(lanes::packed_len(block.len(), u32::from(width)))?;
        lanes::unpack(packed, numbers, u32::from(width))?;
        for (value, number) in block.iter_mut().zip(&*numbers) {
            *value = level.wrapping_add(i64::from(*number));
        }
    }
    if has_exceptions {
        add_exceptions(reader, block)?;
    }
    match mode {
        0 => {}
        1 => {
            for (row, value) in (0..).zip(block) {
                *value = value.wrapping_add(on_slope(slope, row));
            }
        }
        2 => {
            let mut sum = before;
            for value in block {
                sum = sum.wrapping_add(*value);
                *value = sum;
            }
        }
        _ => return Err(Error::Invalid("unknown mode of a block")),
    }
    Ok(())
}

fn add_exceptions(reader: &mut Reader<'_>, block: &mut [i64]) -> Result<(), Error> {
    for _ in 0..reader.u8()? {
        let row = usize::from(reader.u8()?);
        let more = reader.signed()?;
        let value = block.get_mut(row).ok_or(Error::Invalid("an exception past its block"))?;
        *value = value.wrapping_add(more);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{get, put};
    use crate::bytes::Reader;

    fn coded(values: &[i64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, values);
        let (mut reader, mut back) = (Reader::new(&bytes), vec![1, 2, 3]);
        get(&mut reader, values.len(), &mut back).unwrap();
        reader.finish().unwrap();
        assert_eq!(back, values);
        bytes
    }

    #[test]
    fn one_spike_does_not_widen_a_block() {
        let mut values: Vec<i64> = (0..128).map(|n| 2_300 + n * 7 % 8).collect();
        let quiet = coded(&values).len();
        values[60] = 65_535;
        values[61] = 0;
        let spiked = coded(&values).len();
        assert!(spiked <= quiet + 12, "{quiet} and {spiked}");
    }

    #[test]
    fn a_trend_costs_no_width() {
        let trend: Vec<i64> = (0..128).map(|n| 1_000 + n * 3 / 2 + n * 5 % 4).collect();
        // Two to three bits a number, whatever the trend.
        assert!(coded(&trend).len() <= 3 * 16 + 8, "{}", coded(&trend).len());
    }

    #[test]
    fn whole_percents_are_as_small_as_their_tenths_are_not() {
        let percents: Vec<i64> = (0..1_000).map(|n| 400 + n / 13 % 50 * 10).collect();
        assert!(coded(&percents).len() <= 260, "{}", coded(&percents).len());
    }

    fn any_values() -> impl Strategy<Value = Vec<i64>> {
        let near = prop::collection::vec(-20_i64..20, 0..1_025);
        let wild = prop::collection::vec(any::<i64>(), 0..300);
        let steps =
            prop::collection::vec(prop_oneof![9 => -2_i64..3, 1 => -9_000_i64..9_000], 0..1_025)
                .prop_map(|steps| {
                    let mut sum = 1_000_000_i64;
                    steps
                        .into_iter()
                        .map(|step| {
                            sum += step;
                            sum
                        })
                        .collect()
                });
        let scaled = prop::collection::vec(-50_i64..50, 0..600)
            .prop_map(|values| values.into_iter().map(|value| value * 100 - 7).collect());
        prop_oneof![near, wild, steps, scaled]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn every_sequence_comes_back(values in any_values()) {
            coded(&values);
        }

        #[test]
        fn any_bytes_are_read_without_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..400), count in 0_usize..1_100,
        ) {
            let mut values = Vec::new();
            let _ = get(&mut Reader::new(&bytes), count, &mut values);
            prop_assert!(values.len() <= 1_024);
        }
    }
}
