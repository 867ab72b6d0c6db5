//! Remarks as bytes: the same in chunks and in cold files.

use novax_model::Timestamp;

use crate::bytes::{Reader, put_signed, put_varint};
use crate::error::Error;
use crate::remark::{Flags, Remark};

/// In the mask: the device's stamp is there too.
const HAS_RAW_AT: u8 = 1 << 6;

/// Appends remarks: their number, then each.
pub(crate) fn put(out: &mut Vec<u8>, remarks: &[Remark]) {
    assert!(remarks.is_sorted_by(|a, b| a.row < b.row), "one remark a row, by row");
    put_varint(out, remarks.len() as u64);
    let mut next_row = 0;
    for remark in remarks {
        put_varint(out, u64::from(remark.row - next_row));
        next_row = remark.row + 1;
        put_varint(out, remark.flags.0.into());
        let bits = (0..6).zip(remark.raw).map(|(bit, raw)| u8::from(raw.is_some()) << bit);
        let mask: u8 = bits.sum();
        out.push(mask | if remark.raw_at.is_some() { HAS_RAW_AT } else { 0 });
        if let Some(at) = remark.raw_at {
            out.extend_from_slice(&at.0.to_le_bytes());
        }
        remark.raw.iter().flatten().for_each(|raw| put_signed(out, *raw));
    }
}

/// Reads remarks on `rows` rows.
pub(crate) fn get(reader: &mut Reader<'_>, rows: usize) -> Result<Vec<Remark>, Error> {
    let invalid = Error::Invalid("a remark on a row that is not there");
    let count = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
    if count > rows {
        return Err(invalid);
    }
    let mut remarks = Vec::new();
    let mut next_row = 0_u64;
    for _ in 0..count {
        let row = next_row.checked_add(reader.varint()?).ok_or(invalid)?;
        if row >= rows as u64 {
            return Err(invalid);
        }
        next_row = row + 1;
        let flags = u16::try_from(reader.varint()?);
        let flags = Flags(flags.map_err(|_| Error::Invalid("flags of more than 16 bits"))?);
        let mask = reader.u8()?;
        if mask > 0x7f {
            return Err(Error::Invalid("a remark on more than six columns"));
        }
        let raw_at = if mask & HAS_RAW_AT != 0 { Some(Timestamp(reader.u64()?)) } else { None };
        let mut raw = [None; 6];
        for (bit, raw) in raw.iter_mut().enumerate() {
            if mask >> bit & 1 == 1 {
                *raw = Some(reader.signed()?);
            }
        }
        let row = u32::try_from(row).map_err(|_| invalid)?;
        remarks.push(Remark { row, flags, raw_at, raw });
    }
    Ok(remarks)
}
