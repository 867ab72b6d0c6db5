//! 128 numbers in as many bits as the widest needs, laid out so that four come out at a time.
//!
//! Number `i` goes to lane `i % 4`; each lane is a stream of 32 numbers, lowest bits first, in
//! 32-bit words; the words of the lanes alternate. So one shift and one mask, four lanes wide, give
//! four neighbours: the compiler makes vector code of it, width by width. Fewer than 128 numbers
//! are one stream of bits, for which padding would cost more than time.

use crate::error::Error;

/// Numbers in a full block.
pub(crate) const BLOCK: usize = 128;
/// Numbers wider than this do not come here.
pub(crate) const WIDTH_MAX: u32 = 32;
const LANES: usize = 4;

/// How many bytes so many numbers of a width take.
pub(crate) fn packed_len(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// Calls a function by a width known to the compiler.
macro_rules! by_width {
    ($width:expr, $function:ident ( $($argument:expr),* )) => {
        by_width!(@ $width, $function, ($($argument),*),
            0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32)
    };
    (@ $width:expr, $function:ident, $arguments:tt, $($known:literal)*) => {
        match $width {
            $($known => by_width!(@@ $function, $known, $arguments),)*
            _ => unreachable!("widths are checked where they are read"),
        }
    };
    (@@ $function:ident, $known:literal, ($($argument:expr),*)) => {
        $function::<$known>($($argument),*)
    };
}

/// Does something for each of the 32 rounds, the number of the round known to the compiler.
macro_rules! each_round {
    ($do:ident) => {
        each_round!(@ $do 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15
            16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31)
    };
    (@ $do:ident $($round:literal)*) => { $($do!($round);)* };
}

fn mask(width: usize) -> u32 {
    u32::MAX.checked_shr(32 - u32::try_from(width).unwrap_or(0)).unwrap_or(0)
}

/// Appends `numbers`, each below two to the `width`.
pub(crate) fn pack(out: &mut Vec<u8>, numbers: &[u32], width: u32) {
    assert!(width <= WIDTH_MAX && numbers.len() <= BLOCK, "what a block may be");
    if let Ok(full) = <&[u32; BLOCK]>::try_from(numbers) {
        by_width!(width, pack_full(out, full));
    } else {
        pack_some(out, numbers, width);
    }
}

/// Reads `numbers.len()` numbers, from exactly [`packed_len`] bytes.
pub(crate) fn unpack(packed: &[u8], numbers: &mut [u32], width: u32) -> Result<(), Error> {
    let is_whole = packed.len() == packed_len(numbers.len(), width);
    if width > WIDTH_MAX || numbers.len() > BLOCK || !is_whole {
        return Err(Error::Invalid("a block that is not as long as its width says"));
    }
    if let Ok(full) = <&mut [u32; BLOCK]>::try_from(&mut *numbers) {
        by_width!(width, unpack_full(packed, full));
    } else {
        unpack_some(packed, numbers, width);
    }
    Ok(())
}

fn pack_full<const WIDTH: usize>(out: &mut Vec<u8>, numbers: &[u32; BLOCK]) {
    let (fours, _) = numbers.as_chunks::<LANES>();
    let mut words = [[0_u32; LANES]; 32];
    macro_rules! round {
        ($round:literal) => {
            let (word, shift) = ($round * WIDTH / 32, $round * WIDTH % 32);
            if WIDTH > 0 {
                for lane in 0..LANES {
                    words[word][lane] |= fours[$round][lane] << shift;
                }
                if shift + WIDTH > 32 {
                    for lane in 0..LANES {
                        words[word + 1][lane] |= fours[$round][lane] >> ((32 - shift) % 32);
                    }
                }
            }
        };
    }
    each_round!(round);
    for word in words.iter().take(WIDTH).flatten() {
        out.extend_from_slice(&word.to_le_bytes());
    }
}

fn unpack_full<const WIDTH: usize>(packed: &[u8], numbers: &mut [u32; BLOCK]) {
    let mut words = [[0_u32; LANES]; 32];
    let (bytes, _) = packed.as_chunks::<4>();
    for (word, bytes) in words.as_flattened_mut().iter_mut().zip(bytes) {
        *word = u32::from_le_bytes(*bytes);
    }
    let (fours, _) = numbers.as_chunks_mut::<LANES>();
    let mask = mask(WIDTH);
    macro_rules! round {
        ($round:literal) => {
            let (word, shift) = ($round * WIDTH / 32, $round * WIDTH % 32);
            let mut four = [0_u32; LANES];
            if WIDTH > 0 {
                for lane in 0..LANES {
                    four[lane] = words[word][lane] >> shift;
                }
                if shift + WIDTH > 32 {
                    for lane in 0..LANES {
                        four[lane] |= words[word + 1][lane] << ((32 - shift) % 32);
                    }
                }
            }
            for lane in 0..LANES {
                fours[$round][lane] = four[lane] & mask;
            }
        };
    }
    each_round!(round);
}

fn pack_some(out: &mut Vec<u8>, numbers: &[u32], width: u32) {
    let (mut buffer, mut filled) = (0_u64, 0_u32);
    for number in numbers {
        buffer |= u64::from(*number) << filled;
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

fn unpack_some(packed: &[u8], numbers: &mut [u32], width: u32) {
    // A copy with room behind it, so that eight bytes can be read anywhere.
    let mut bytes = [0_u8; BLOCK * 4 + 8];
    bytes[..packed.len()].copy_from_slice(packed);
    let mask = u64::from(mask(width as usize));
    let mut bit = 0_usize;
    for number in numbers {
        let eight =
            bytes[bit / 8..].first_chunk::<8>().map_or(0, |eight| u64::from_le_bytes(*eight));
        *number = (eight >> (bit % 8) & mask) as u32;
        bit += width as usize;
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, mask, pack, packed_len, unpack};

    #[test]
    fn every_width_and_every_length_comes_back() {
        let mut state = 1_u32;
        for width in 0..=32_u32 {
            for count in [0, 1, 2, 3, 5, 31, 64, 127, BLOCK] {
                let mut next = || {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    state.rotate_left(11) & mask(width as usize)
                };
                let numbers: Vec<u32> = (0..count).map(|_| next()).collect();
                let mut packed = Vec::new();
                pack(&mut packed, &numbers, width);
                assert_eq!(packed.len(), packed_len(count, width), "width {width}, {count}");
                let mut back = vec![7; count];
                unpack(&packed, &mut back, width).unwrap();
                assert_eq!(back, numbers, "width {width}, {count}");
            }
        }
    }

    #[test]
    fn a_block_of_another_length_is_refused() {
        let mut numbers = [0; BLOCK];
        assert!(unpack(&[0; 15], &mut numbers, 1).is_err());
        assert!(unpack(&[0; 17], &mut numbers, 1).is_err());
        assert!(unpack(&[0; 16], &mut numbers, 1).is_ok());
        assert!(unpack(&[0; 528], &mut numbers, 33).is_err());
    }

    #[test]
    fn the_lanes_alternate() {
        let mut numbers = [0; BLOCK];
        numbers[5] = 0xff;
        let mut packed = Vec::new();
        pack(&mut packed, &numbers, 8);
        // Number 5: lane 1, second of its stream: the second byte of the second word.
        let place = packed.iter().position(|byte| *byte == 0xff);
        assert_eq!(place, Some(5));
    }
}
