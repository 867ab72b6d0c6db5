//! Runs the fuzz target's entry over its kept corpus and over mutations of it, so that every
//! machine that can run tests also fuzzes a little. The seed is fixed: a failure repeats.

use novax_wire::fuzz::fuzz_one;
use std::path::Path;

const MUTATIONS: usize = 150_000;
const SEED: u64 = 0x6e6f_7661_7820_0001;

/// SplitMix64: small, good enough, and the same for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0);
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/ocpp_socket");
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 20, "the corpus is kept in the repository");
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// One to four small changes, as fuzzers make them.
fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(4) {
        if input.is_empty() {
            return;
        }
        let at = random.below(input.len());
        match random.below(6) {
            0 => input[at] = random.byte(),
            1 => input[at] ^= 1 << random.below(8),
            2 => input.insert(at, random.byte()),
            3 => drop(input.remove(at)),
            4 => input.truncate(at),
            _ => {
                let from = random.below(other.len().max(1)).min(other.len());
                let length = random.below(32).min(other.len() - from);
                input.splice(at..at, other[from..from + length].iter().copied());
            }
        }
    }
}

#[test]
fn the_kept_corpus_and_its_mutations_break_nothing() {
    let corpus = corpus();
    for input in &corpus {
        fuzz_one(input);
    }
    let mut random = Random(SEED);
    for _ in 0..MUTATIONS {
        let mut input = corpus[random.below(corpus.len())].clone();
        let other = &corpus[random.below(corpus.len())];
        mutate(&mut input, other, &mut random);
        fuzz_one(&input);
    }
}
