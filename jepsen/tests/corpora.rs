//! Runs the entry of every fuzz target over its kept corpus and over mutations of it, so that every machine that can
//! run tests also fuzzes a little. The seeds are fixed: a failure repeats.

use std::collections::BTreeSet;
use std::path::PathBuf;

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

fn fuzz() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = fuzz().join("corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 10, "the corpus of {target} is kept in the repository");
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

fn replay(target: &str, mutations: usize, run: fn(&[u8])) {
    let corpus = corpus(target);
    for input in &corpus {
        run(input);
    }
    let mut random = Random(0x6e6f_7661_7820_0001);
    for _ in 0..mutations {
        let mut input = corpus[random.below(corpus.len())].clone();
        let other = &corpus[random.below(corpus.len())];
        mutate(&mut input, other, &mut random);
        run(&input);
    }
}

macro_rules! targets {
    ($($target:ident: $mutations:literal, $run:path;)*) => {
        $(
            #[test]
            fn $target() {
                replay(stringify!($target), $mutations, $run);
            }
        )*

        #[test]
        fn every_fuzz_target_is_replayed_here() {
            let here = BTreeSet::from([$(concat!(stringify!($target), ".rs")),*]);
            let targets = std::fs::read_dir(fuzz().join("fuzz_targets")).unwrap();
            let names = targets.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            assert_eq!(names.collect::<BTreeSet<_>>(), here.iter().map(|&name| name.into()).collect());
        }
    };
}

targets! {
    audit_export: 5_000, novax_audit::fuzz::fuzz_export;
    charging_entry: 200_000, novax_charging::fuzz::fuzz_entry;
    engine_blob: 200_000, novax_engine::fuzz::fuzz_blob;
    engine_block: 200_000, novax_engine::fuzz::fuzz_block;
    engine_filter: 200_000, novax_engine::fuzz::fuzz_filter;
    engine_manifest: 200_000, novax_engine::fuzz::fuzz_manifest;
    engine_table: 50_000, novax_engine::fuzz::fuzz_table;
    log_segment: 200_000, novax_log::fuzz::fuzz_segment;
    ocpp_socket: 200_000, novax_wire::fuzz::fuzz_one;
    payments_webhook: 100_000, novax_payments::fuzz::fuzz_webhook;
    peer_link: 200_000, novax_peer::fuzz::fuzz_link;
    raft_message: 200_000, novax_raft::fuzz::fuzz_message;
    tariff_json: 200_000, novax_tariff::fuzz::fuzz_tariff_json;
    tsdb_block: 200_000, novax_tsdb::fuzz::fuzz_block;
    tsdb_chunk: 200_000, novax_tsdb::fuzz::fuzz_chunk;
    tsdb_cold: 200_000, novax_tsdb::fuzz::fuzz_cold_file;
    tsdb_floats: 200_000, novax_tsdb::fuzz::fuzz_floats;
}
