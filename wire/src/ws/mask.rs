//! XOR with the masking key, eight bytes a step, in safe code.

/// Masks or unmasks `data` in place. `offset` is how many bytes of the frame came before it.
pub(crate) fn apply(data: &mut [u8], key: [u8; 4], offset: usize) {
    let mut key = key;
    key.rotate_left(offset % 4);
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut chunks = data.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let word: &mut [u8; 8] = chunk.try_into().expect("chunks of eight have eight bytes");
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    // Eight is a multiple of four: the rest starts at the key's first byte again.
    for (byte, key) in chunks.into_remainder().iter_mut().zip([a, b, c, d].iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::apply;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_the_byte_by_byte_definition(
            data in proptest::collection::vec(any::<u8>(), 0..70),
            key in any::<[u8; 4]>(),
            offset in 0_usize..9,
        ) {
            let expected: Vec<u8> =
                data.iter().enumerate().map(|(i, b)| b ^ key[(i + offset) % 4]).collect();
            let mut masked = data;
            apply(&mut masked, key, offset);
            prop_assert_eq!(masked, expected);
        }
    }
}
