//! A sequence of integers, packed: by a frame of reference over the values or over their
//! differences, whichever is smaller.
//!
//! Numbers go in groups of up to 128 (miniblocks). Each group stores its smallest number and then
//! what each has above it, in as many bits as the largest needs. Arithmetic wraps, so every
//! sequence of 64-bit numbers can be packed. `docs/formats/chunk.md` has the bytes.

use crate::bytes::{Reader, put_signed, signed_len};
use crate::error::Error;

/// Numbers per miniblock.
pub(crate) const MINIBLOCK: usize = 128;

/// All values are the first.
const CONSTANT: u8 = 0;
/// Miniblocks of differences follow the first value.
const DELTA: u8 = 1;
/// Miniblocks of the values themselves.
const PLAIN: u8 = 2;

/// Appends a packed sequence. Its length is not stored: the reader must know it.
pub(crate) fn put(out: &mut Vec<u8>, values: &[i64]) {
    let Some((first, rest)) = values.split_first() else { return };
    if rest.iter().all(|value| value == first) {
        out.push(CONSTANT);
        put_signed(out, *first);
        return;
    }
    let deltas: Vec<i64> =
        values.iter().zip(rest).map(|(before, after)| after.wrapping_sub(*before)).collect();
    if signed_len(*first) + miniblocks_len(&deltas) <= miniblocks_len(values) {
        out.push(DELTA);
        put_signed(out, *first);
        put_miniblocks(out, &deltas);
    } else {
        out.push(PLAIN);
        put_miniblocks(out, values);
    }
}

/// Reads `count` values that [`put`] wrote. The caller bounds `count`.
pub(crate) fn get(reader: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, Error> {
    if count == 0 {
        return Ok(Vec::new());
    }
    match reader.u8()? {
        CONSTANT => Ok(vec![reader.signed()?; count]),
        DELTA => {
            let mut value = reader.signed()?;
            let mut values = get_miniblocks(reader, count - 1)?;
            for slot in &mut values {
                let before = value;
                value = value.wrapping_add(*slot);
                *slot = before;
            }
            values.push(value);
            Ok(values)
        }
        PLAIN => get_miniblocks(reader, count),
        _ => Err(Error::Invalid("unknown packing")),
    }
}

/// Goes past `count` values without unpacking them.
pub(crate) fn skip(reader: &mut Reader<'_>, count: usize) -> Result<(), Error> {
    if count == 0 {
        return Ok(());
    }
    let mut left = match reader.u8()? {
        CONSTANT => {
            reader.signed()?;
            return Ok(());
        }
        DELTA => {
            reader.signed()?;
            count - 1
        }
        PLAIN => count,
        _ => return Err(Error::Invalid("unknown packing")),
    };
    while left > 0 {
        let length = left.min(MINIBLOCK);
        reader.signed()?;
        let width = get_width(reader)?;
        reader.take(packed_len(length, width))?;
        left -= length;
    }
    Ok(())
}

/// The smallest of a group, and the bits that the rest above it needs.
fn frame(group: &[i64]) -> (i64, u32) {
    let least = group.iter().copied().min().unwrap_or(0);
    let most = group.iter().copied().max().unwrap_or(0);
    (least, 64 - above(most, least).leading_zeros())
}

/// `value - least`, which is never negative and always fits.
fn above(value: i64, least: i64) -> u64 {
    value.wrapping_sub(least).cast_unsigned()
}

fn packed_len(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

fn miniblocks_len(values: &[i64]) -> usize {
    let length = |group: &[i64]| {
        let (least, width) = frame(group);
        signed_len(least) + 1 + packed_len(group.len(), width)
    };
    values.chunks(MINIBLOCK).map(length).sum()
}

fn put_miniblocks(out: &mut Vec<u8>, values: &[i64]) {
    for group in values.chunks(MINIBLOCK) {
        let (least, width) = frame(group);
        put_signed(out, least);
        out.push(u8::try_from(width).expect("at most 64"));
        let end = out.len() + packed_len(group.len(), width);
        put_bits(out, group.iter().map(|value| above(*value, least)), width);
        assert_eq!(out.len(), end, "the size was foretold");
    }
}

/// Appends the low `width` bits of each number, the first in the lowest bits of the first byte.
fn put_bits(out: &mut Vec<u8>, numbers: impl Iterator<Item = u64>, width: u32) {
    let (mut buffer, mut filled) = (0_u128, 0_u32);
    for number in numbers {
        buffer |= u128::from(number) << filled;
        filled += width;
        while filled >= 8 {
            out.push((buffer & 0xff) as u8);
            buffer >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        out.push((buffer & 0xff) as u8);
    }
}

fn get_width(reader: &mut Reader<'_>) -> Result<u32, Error> {
    let width = u32::from(reader.u8()?);
    if width > 64 {
        return Err(Error::Invalid("a width of more than 64 bits"));
    }
    Ok(width)
}

fn get_miniblocks(reader: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, Error> {
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let length = (count - values.len()).min(MINIBLOCK);
        let least = reader.signed()?;
        let width = get_width(reader)?;
        let packed = reader.take(packed_len(length, width))?;
        get_bits(&mut values, packed, length, width, least);
    }
    Ok(values)
}

fn get_bits(values: &mut Vec<i64>, packed: &[u8], count: usize, width: u32, least: i64) {
    let mask = u64::MAX.checked_shr(64 - width).unwrap_or(0);
    let (mut buffer, mut filled) = (0_u128, 0_u32);
    let mut packed = packed.iter();
    for _ in 0..count {
        while filled < width {
            let byte = packed.next().copied().unwrap_or(0);
            buffer |= u128::from(byte) << filled;
            filled += 8;
        }
        let number = (buffer & u128::from(mask)) as u64;
        buffer >>= width;
        filled -= width;
        values.push(least.wrapping_add(number.cast_signed()));
    }
}
