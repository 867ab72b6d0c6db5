//! Stamps of a chunk of version 2: how far each is off a regular grid.
//!
//! Devices tick by a timer, so the deviations of ticks do not add up: a grid takes half of what
//! distances would, whose noise is that of two ticks. Where ticks are missing, the grid jumps; where
//! there is no rhythm, the distances are kept instead. `docs/formats/chunk.md` has the bytes.

use novax_model::Timestamp;

use crate::bytes::{Reader, put_signed, put_varint};
use crate::columns;
use crate::error::Error;
use crate::sequence;

/// The distances from stamp to stamp.
const DISTANCES: u8 = 0;
/// Deviations from a grid.
const GRID: u8 = 1;
/// The most jumps of a grid that are worth it.
const JUMPS_MAX: usize = 64;

/// A regular grid through stamps, in their unit.
pub(crate) struct Grid {
    pub(crate) step: i64,
    /// Distances at which ticks are missing (or crowded), and by how many steps.
    pub(crate) jumps: Vec<(usize, i64)>,
}

/// Appends the stamps after the first. Returns the step of their grid in microseconds, if they have
/// one. `work` is overwritten.
pub(crate) fn put(out: &mut Vec<u8>, stamps: &[u64], work: &mut Vec<i64>) -> Option<u64> {
    assert!(stamps.is_sorted_by(|a, b| a < b), "stamps increase");
    if stamps.len() < 2 {
        return None;
    }
    let distances = stamps.iter().zip(stamps.iter().skip(1)).map(|(a, b)| b - a);
    let (unit, micros) = columns::coarsest_unit(&distances);
    work.clear();
    work.extend(distances.map(|distance| (distance / micros).cast_signed()));
    let grid = grid(work, JUMPS_MAX.min(work.len() / 4));
    let Some(grid) = grid else {
        out.push(DISTANCES << 2 | unit);
        sequence::put(out, work);
        return None;
    };
    out.push(GRID << 2 | unit);
    put_varint(out, grid.step.cast_unsigned());
    put_jumps(out, &grid.jumps);
    to_deviations(work, grid.step, &grid.jumps);
    sequence::put(out, work);
    grid.step.cast_unsigned().checked_mul(micros)
}

/// Replaces distances by how far each stamp is off its place on the grid.
pub(crate) fn to_deviations(distances: &mut [i64], step: i64, jumps: &[(usize, i64)]) {
    let mut jumps = jumps.iter().peekable();
    let mut off = 0;
    for (row, distance) in distances.iter_mut().enumerate() {
        let extra = jumps.next_if(|jump| jump.0 == row).map_or(0, |jump| jump.1);
        off += *distance - step * (1 + extra);
        *distance = off;
    }
}

/// The grid of stamps at these distances, if there is one with no more jumps.
pub(crate) fn grid(distances: &[i64], jumps_max: usize) -> Option<Grid> {
    let mut sorted = distances.to_vec();
    let middle = sorted.len() / 2;
    let (_, median, _) = sorted.select_nth_unstable(middle);
    // Far below where products could leave 64 bits.
    let median = Some(*median).filter(|median| (1..1 << 40).contains(median))?;
    let steps = |distance: i64, step: i64| (distance + step / 2) / step;
    let (mut span, mut count) = (0_i64, 0_i64);
    for distance in distances {
        let distance = Some(*distance).filter(|distance| (1..1 << 48).contains(distance))?;
        span += distance;
        count += steps(distance, median);
    }
    let step = (span + count / 2) / count.max(1);
    if step < 1 {
        return None;
    }
    let mut jumps = Vec::new();
    for (row, distance) in distances.iter().enumerate() {
        let extra = steps(*distance, step) - 1;
        if extra != 0 {
            jumps.push((row, extra));
        }
        if jumps.len() > jumps_max {
            return None;
        }
    }
    Some(Grid { step, jumps })
}

pub(crate) fn put_jumps(out: &mut Vec<u8>, jumps: &[(usize, i64)]) {
    put_varint(out, jumps.len() as u64);
    let mut before = 0;
    for (row, extra) in jumps {
        put_varint(out, (row - before) as u64);
        put_signed(out, *extra);
        before = *row;
    }
}

/// Reads `count` stamps that begin at `first` and must end at `last`, into `stamps`.
pub(crate) fn get(
    reader: &mut Reader<'_>,
    (first, last): (Timestamp, Timestamp),
    count: usize,
    work: &mut Vec<i64>,
    stamps: &mut Vec<Timestamp>,
) -> Result<(), Error> {
    stamps.clear();
    stamps.push(first);
    if count > 1 {
        let kind = reader.u8()?;
        let micros = columns::unit_micros(kind & 3)?;
        match kind >> 2 {
            DISTANCES => {
                sequence::get(reader, count - 1, work)?;
                add_up(work);
            }
            GRID => get_grid(reader, count - 1, work)?,
            _ => return Err(Error::Invalid("unknown kind of stamps")),
        }
        let after =
            |off: &i64| Timestamp(first.0.wrapping_add(off.cast_unsigned().wrapping_mul(micros)));
        stamps.extend(work.iter().map(after));
    }
    reader.finish()?;
    if !is_increasing(stamps) {
        return Err(Error::Invalid("stamps do not increase"));
    }
    if stamps.last() != Some(&last) {
        return Err(Error::Invalid("the stamps do not end where the header says"));
    }
    Ok(())
}

/// Without a way out in the middle, so that it is as fast as the decoding it checks.
pub(crate) fn is_increasing(stamps: &[Timestamp]) -> bool {
    let pairs = stamps.iter().zip(stamps.iter().skip(1));
    pairs.fold(true, |so_far, (a, b)| so_far & (a < b))
}

pub(crate) fn add_up(numbers: &mut [i64]) {
    let mut sum = 0_i64;
    for number in numbers {
        sum = sum.wrapping_add(*number);
        *number = sum;
    }
}

/// Distances from the first stamp, from a grid.
fn get_grid(reader: &mut Reader<'_>, count: usize, work: &mut Vec<i64>) -> Result<(), Error> {
    let step = reader.varint()?.cast_signed();
    let jumps = get_jumps(reader, JUMPS_MAX)?;
    sequence::get(reader, count, work)?;
    from_deviations(work, step, &jumps)
}

/// Reads at most `most` jumps of a grid.
pub(crate) fn get_jumps(reader: &mut Reader<'_>, most: usize) -> Result<Vec<(usize, i64)>, Error> {
    let count = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
    if count > most {
        return Err(Error::Invalid("a grid of too many jumps"));
    }
    let mut jumps = Vec::new();
    let mut row = 0_usize;
    for _ in 0..count {
        let further = usize::try_from(reader.varint()?).unwrap_or(usize::MAX);
        row = row.saturating_add(further);
        jumps.push((row, reader.signed()?));
    }
    Ok(jumps)
}

/// The inverse of [`to_deviations`], but for sums instead of distances.
pub(crate) fn from_deviations(
    deviations: &mut [i64],
    step: i64,
    jumps: &[(usize, i64)],
) -> Result<(), Error> {
    let mut at = 0_i64;
    let mut done = 0;
    for (row, extra) in jumps {
        let stretch = deviations.get_mut(done..*row);
        on_grid(stretch.ok_or(Error::Invalid("a jump past the stamps"))?, &mut at, step);
        at = at.wrapping_add(step.wrapping_mul(*extra));
        done = *row;
    }
    on_grid(deviations.get_mut(done..).unwrap_or_default(), &mut at, step);
    Ok(())
}

fn on_grid(deviations: &mut [i64], at: &mut i64, step: i64) {
    for deviation in deviations {
        *at = at.wrapping_add(step);
        *deviation = deviation.wrapping_add(*at);
    }
}
