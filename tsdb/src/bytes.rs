//! Reading and writing bytes: little-endian numbers, varints, the checksum at the end.
//!
//! The reader is the only thing that touches foreign bytes: it never panics, and never reads past
//! their end.

use crate::error::Error;

/// Bytes of the checksum that ends every chunk and block.
pub(crate) const CHECKSUM_BYTES: usize = 4;

/// Appends the checksum of all bytes so far.
pub(crate) fn seal(out: &mut Vec<u8>) {
    let sum = crc32fast::hash(out);
    out.extend_from_slice(&sum.to_le_bytes());
}

/// The bytes before the checksum, if it is theirs.
pub(crate) fn open(bytes: &[u8]) -> Result<&[u8], Error> {
    let (body, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(Error::Truncated)?;
    let (expected, found) = (u32::from_le_bytes(*sum), crc32fast::hash(body));
    if expected != found {
        return Err(Error::Checksum { expected, found });
    }
    Ok(body)
}

/// LEB128: seven bits a byte, low bits first.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A varint of up to 128 bits.
pub(crate) fn put_varint_128(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A varint of a signed number: 0, -1, 1, -2 ... become 0, 1, 2, 3 ...
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, (value << 1 ^ value >> 63).cast_unsigned());
}

/// How many bytes [`put_signed`] writes.
pub(crate) fn signed_len(value: i64) -> usize {
    let bits = 64 - (value << 1 ^ value >> 63).leading_zeros();
    bits.div_ceil(7).max(1) as usize
}

/// Reads from the front.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Error> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Error> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Error> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Error::Invalid("a varint of more than 64 bits"))
    }

    pub(crate) fn varint_128(&mut self) -> Result<u128, Error> {
        let mut value = 0_u128;
        for shift in (0..126).step_by(7) {
            let byte = self.u8()?;
            value |= u128::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Error::Invalid("a varint of more than 126 bits"))
    }

    pub(crate) fn signed(&mut self) -> Result<i64, Error> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(crate) fn finish(&self) -> Result<(), Error> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(Error::Invalid("bytes are left over"))
    }
}
