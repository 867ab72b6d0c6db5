//! Chance that repeats: the same seed gives the same fleet.

/// A generator of numbers that look random (SplitMix64). Not for secrets.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// A generator of its own for each `stream` of a seed.
    pub(super) fn new(seed: u64, stream: u64) -> Random {
        let mut random = Random(seed ^ stream.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        // The first number of neighbouring streams is alike; the second is not.
        random.next();
        random
    }

    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// From `low` to `high`, both included.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "a range has a low and a high end");
        let span = (high - low).saturating_add(1);
        low + self.next() % span
    }

    /// True in so many of a hundred cases.
    pub(super) fn chance(&mut self, percent: u8) -> bool {
        self.next() % 100 < u64::from(percent)
    }

    /// One of the choices.
    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        assert!(!choices.is_empty(), "there is something to pick");
        let at = self.next() % choices.len() as u64;
        let at = usize::try_from(at).expect("below a length");
        *choices.get(at).expect("below the length")
    }

    /// Sixteen bytes.
    pub(super) fn bytes_16(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let (low, high) = bytes.split_at_mut(8);
        low.copy_from_slice(&self.next().to_be_bytes());
        high.copy_from_slice(&self.next().to_be_bytes());
        bytes
    }

    /// A masking key.
    pub(super) fn mask(&mut self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.next().to_be_bytes();
        [a, b, c, d]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_streams_differ() {
        let draw = |seed, stream| {
            let mut random = Random::new(seed, stream);
            [random.next(), random.next()]
        };
        assert_eq!(draw(1, 1), draw(1, 1));
        assert_ne!(draw(1, 1), draw(1, 2));
        assert_ne!(draw(1, 1), draw(2, 1));
    }

    #[test]
    fn ranges_hold_both_ends_and_nothing_else() {
        let mut random = Random::new(7, 0);
        let mut seen = [false; 4];
        for _ in 0..200 {
            let drawn = random.between(3, 6);
            assert!((3..=6).contains(&drawn));
            seen[usize::try_from(drawn - 3).unwrap()] = true;
        }
        assert_eq!(seen, [true; 4]);
        assert!((0..100).all(|_| !random.chance(0) && random.chance(100)));
    }
}
