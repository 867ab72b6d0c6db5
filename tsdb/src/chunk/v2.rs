//! Chunks of version 2: sections with their lengths in front, so that a reader goes to the one it
//! wants; power and energy as what physics misses, where that is shorter.

use novax_model::{MEASURANDS, Measurand, MeterTick, Timestamp};

use super::remarks;
use crate::aggregate::extremes_and_sum;
use crate::bytes::{self, Reader, put_signed, put_varint};
use crate::columns::{self, Presence, PresenceMap};
use crate::error::Error;
use crate::predict;
use crate::remark::Remark;
use crate::rows::{Columns, Scratch, sources};
use crate::sequence;
use crate::stamps;

pub(super) const VERSION: u8 = 2;
/// Chunks of at least so many ticks have summaries: in shorter ones they are not worth their bytes.
const SUMMARY_TICKS_MIN: usize = 256;
/// The header says of each full column how many, least, most and so on.
const HAS_SUMMARIES: u8 = 1;
/// There are remarks behind the columns.
const HAS_REMARKS: u8 = 2;
/// In place of the kind of a sequence: a prediction comes first.
const PREDICTED: u8 = 0x80;

/// What the header says of a column that is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) min: i64,
    pub(super) max: i64,
    pub(super) sum: i128,
    pub(super) first: i64,
    pub(super) last: i64,
}

/// Header and sections of a chunk of version 2.
#[derive(Debug, Clone)]
pub(super) struct V2<'a> {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) count: usize,
    presence: PresenceMap,
    stamps: &'a [u8],
    columns: [&'a [u8]; 6],
    remarks: &'a [u8],
    summaries: [Option<Summary>; 6],
}

/// Encodes ticks and remarks that were looked at.
pub(super) fn encode(ticks: &[MeterTick], remarks: &[Remark]) -> Vec<u8> {
    let [first, ..] = ticks else { panic!("a chunk has ticks") };
    let last = ticks.last().unwrap_or(first);
    let presence = PresenceMap::of(ticks.iter());
    let has_summaries = ticks.len() >= SUMMARY_TICKS_MIN;
    let mut encoder = Encoder::default();
    let stamps: Vec<u64> = ticks.iter().map(|tick| tick.at.0).collect();
    let step_us = stamps::put(&mut encoder.sections, &stamps, &mut encoder.residual);
    let mut lengths = vec![encoder.sections.len()];
    let mut summaries = Vec::new();
    for measurand in MEASURANDS.into_iter().filter(|one| presence.get(*one) != Presence::Absent) {
        let begin = encoder.sections.len();
        encoder.put_column(ticks, presence, measurand, step_us);
        lengths.push(encoder.sections.len() - begin);
        if has_summaries && presence.get(measurand) == Presence::Full {
            put_summary(&mut summaries, &encoder.columns[measurand as usize]);
        }
    }
    if !remarks.is_empty() {
        let begin = encoder.sections.len();
        remarks::put(&mut encoder.sections, remarks);
        lengths.push(encoder.sections.len() - begin);
    }

    let mut out = Vec::with_capacity(64 + summaries.len() + encoder.sections.len());
    out.push(VERSION);
    let remark_bit = if remarks.is_empty() { 0 } else { HAS_REMARKS };
    let summary_bit = if has_summaries { HAS_SUMMARIES } else { 0 };
    out.push(summary_bit | remark_bit);
    let count = u16::try_from(ticks.len()).expect("a chunk is bounded");
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&presence.to_bits().to_le_bytes());
    out.extend_from_slice(&first.at.0.to_le_bytes());
    put_varint(&mut out, last.at.0 - first.at.0);
    lengths.iter().for_each(|length| put_varint(&mut out, *length as u64));
    out.extend_from_slice(&summaries);
    out.extend_from_slice(&encoder.sections);
    bytes::seal(&mut out);
    out
}

/// Buffers of one encoding.
#[derive(Default)]
struct Encoder {
    sections: Vec<u8>,
    /// The values of each column so far.
    columns: [Vec<i64>; 6],
    residual: Vec<i64>,
    /// A column the other way.
    other: Vec<u8>,
}

impl Encoder {
    fn put_column(
        &mut self,
        ticks: &[MeterTick],
        presence: PresenceMap,
        measurand: Measurand,
        step_us: Option<u64>,
    ) {
        if presence.get(measurand) == Presence::Mixed {
            let bits = ticks.iter().map(|tick| tick.get(measurand).is_some());
            columns::put_bitmap(&mut self.sections, bits);
        }
        let values = &mut self.columns[measurand as usize];
        values.extend(ticks.iter().filter_map(|tick| tick.get(measurand)));
        let begin = self.sections.len();
        sequence::put(&mut self.sections, values);
        let own_len = self.sections.len() - begin;
        // A constant is never longer than a prediction of it.
        let is_worth_it = own_len > 16 && presence.get(measurand) == Presence::Full;
        if !is_worth_it || !self.put_predicted(presence, measurand, step_us) {
            return;
        }
        if self.other.len() < own_len {
            self.sections.truncate(begin);
            self.sections.extend_from_slice(&self.other);
        }
    }

    /// Fills `other` with the column as what a prediction misses, if there is one.
    fn put_predicted(
        &mut self,
        presence: PresenceMap,
        measurand: Measurand,
        step_us: Option<u64>,
    ) -> bool {
        let is_full = sources(measurand).iter().all(|one| presence.get(*one) == Presence::Full);
        let [voltage, current, power, energy, ..] = &self.columns;
        self.other.clear();
        self.other.push(PREDICTED);
        let (out, residual) = (&mut self.other, &mut self.residual);
        match measurand {
            Measurand::Power if is_full => {
                predict::split_power(out, voltage, current, power, residual);
            }
            Measurand::Energy if is_full => {
                predict::split_energy(out, power, energy, step_us, residual);
            }
            _ => return false,
        }
        sequence::put(out, residual);
        true
    }
}

fn put_summary(out: &mut Vec<u8>, values: &[i64]) {
    let Some((min, max, sum)) = extremes_and_sum(values) else { return };
    put_signed(out, min);
    let above = |value: i64| value.wrapping_sub(min).cast_unsigned();
    put_varint(out, above(max));
    if min == max {
        return;
    }
    let [first, ..] = values else { return };
    put_varint(out, above(*first));
    put_varint(out, above(values.last().copied().unwrap_or(*first)));
    let count = i128::try_from(values.len()).expect("a chunk is bounded");
    bytes::put_varint_128(out, (sum - i128::from(min) * count).cast_unsigned());
}

fn get_summary(reader: &mut Reader<'_>, count: usize) -> Result<Summary, Error> {
    let invalid = Error::Invalid("a summary that contradicts itself");
    let min = reader.signed()?;
    let range = reader.varint()?;
    let above = |off: u64| {
        if off <= range { min.checked_add_unsigned(off).ok_or(invalid) } else { Err(invalid) }
    };
    let max = above(range)?;
    let count = i128::try_from(count).map_err(|_| invalid)?;
    let least_sum = i128::from(min) * count;
    if range == 0 {
        return Ok(Summary { min, max, sum: least_sum, first: min, last: min });
    }
    let (first, last) = (above(reader.varint()?)?, above(reader.varint()?)?);
    let more = i128::try_from(reader.varint_128()?).map_err(|_| invalid)?;
    if more > i128::from(range) * count {
        return Err(invalid);
    }
    Ok(Summary { min, max, sum: least_sum + more, first, last })
}

impl<'a> V2<'a> {
    /// Reads the header, from behind the version.
    pub(super) fn open(mut reader: Reader<'a>) -> Result<Self, Error> {
        let flags = reader.u8()?;
        if flags & !(HAS_SUMMARIES | HAS_REMARKS) != 0 {
            return Err(Error::Invalid("unknown flags of a chunk"));
        }
        let count = usize::from(reader.u16()?);
        let presence = PresenceMap::from_bits(reader.u16()?)?;
        let first = Timestamp(reader.u64()?);
        let last = first.0.checked_add(reader.varint()?);
        let last = Timestamp(last.ok_or(Error::Invalid("a stamp past the end of time"))?);
        let mut length = || Ok(usize::try_from(reader.varint()?).unwrap_or(usize::MAX));
        let stamps_len = length()?;
        let mut lengths = [0; 6];
        for measurand in MEASURANDS {
            if presence.get(measurand) != Presence::Absent {
                lengths[measurand as usize] = length()?;
            }
        }
        let remarks_len = if flags & HAS_REMARKS != 0 { length()? } else { 0 };
        let mut summaries = [None; 6];
        if flags & HAS_SUMMARIES != 0 {
            for measurand in MEASURANDS {
                if presence.get(measurand) == Presence::Full {
                    summaries[measurand as usize] = Some(get_summary(&mut reader, count)?);
                }
            }
        }
        let stamps = reader.take(stamps_len)?;
        let mut columns: [&[u8]; 6] = [&[]; 6];
        for (column, length) in columns.iter_mut().zip(lengths) {
            *column = reader.take(length)?;
        }
        let remarks = reader.take(remarks_len)?;
        reader.finish()?;
        Ok(Self { first, last, count, presence, stamps, columns, remarks, summaries })
    }

    pub(super) fn summary(&self, measurand: Measurand) -> Option<Summary> {
        self.summaries[measurand as usize]
    }

    pub(super) fn remarks(&self) -> Result<Vec<Remark>, Error> {
        if self.remarks.is_empty() {
            return Ok(Vec::new());
        }
        let mut reader = Reader::new(self.remarks);
        let remarks = remarks::get(&mut reader, self.count)?;
        reader.finish()?;
        Ok(remarks)
    }

    /// How many bytes the stamps and each column take.
    pub(super) fn section_lens(&self) -> (usize, [usize; 6]) {
        (self.stamps.len(), self.columns.map(<[u8]>::len))
    }

    /// Decodes what is wanted, and what that is predicted from.
    pub(super) fn load(&self, wanted: Columns, scratch: &mut Scratch) -> Result<(), Error> {
        if wanted.has_stamps() {
            let (work, stamps) = (&mut scratch.work, &mut scratch.stamps);
            let reader = &mut Reader::new(self.stamps);
            stamps::get(reader, (self.first, self.last), self.count, work, stamps)?;
        }
        let mut needed = wanted;
        for measurand in [Measurand::Energy, Measurand::Power] {
            if needed.has(measurand) && self.is_predicted(measurand) {
                let sources = sources(measurand).iter().copied().map(Columns::of);
                needed = sources.fold(needed, Columns::and);
            }
        }
        for measurand in MEASURANDS.into_iter().filter(|one| needed.has(*one)) {
            self.load_column(measurand, scratch)?;
        }
        scratch.loaded = needed;
        Ok(())
    }

    fn is_predicted(&self, measurand: Measurand) -> bool {
        let is_full = self.presence.get(measurand) == Presence::Full;
        is_full && self.columns[measurand as usize].first() == Some(&PREDICTED)
    }

    /// Decodes a column whose sources are decoded.
    fn load_column(&self, measurand: Measurand, scratch: &mut Scratch) -> Result<(), Error> {
        let mut reader = Reader::new(self.columns[measurand as usize]);
        let [voltage, current, power, energy, ..] = &mut scratch.columns;
        if self.is_predicted(measurand) {
            reader.u8()?;
            let mut prediction = reader.clone();
            match measurand {
                Measurand::Power => {
                    predict::skip_power(&mut reader, self.count)?;
                    sequence::get(&mut reader, self.count, &mut power.values)?;
                    power.set_full();
                    let (voltage, current) = (voltage.full()?, current.full()?);
                    predict::join_power(&mut prediction, voltage, current, &mut power.values)?;
                }
                Measurand::Energy => {
                    predict::skip_energy(&mut reader, self.count)?;
                    sequence::get(&mut reader, self.count, &mut energy.values)?;
                    energy.set_full();
                    predict::join_energy(&mut prediction, power.full()?, &mut energy.values)?;
                }
                _ => return Err(Error::Invalid("a prediction of what cannot be predicted")),
            }
            return reader.finish();
        }
        let column = &mut scratch.columns[measurand as usize];
        match self.presence.get(measurand) {
            Presence::Absent => column.set_absent(self.count),
            Presence::Full => {
                sequence::get(&mut reader, self.count, &mut column.values)?;
                column.set_full();
            }
            Presence::Mixed => {
                let bitmap = reader.take(self.count.div_ceil(8))?;
                let set = columns::count_ones(bitmap, self.count)?;
                sequence::get(&mut reader, set, &mut scratch.work)?;
                column.set_mixed(bitmap, self.count, &scratch.work);
            }
        }
        reader.finish()
    }
}
