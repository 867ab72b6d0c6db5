//! The bytes of manifests: fixtures of version 1, and bytes that are none.

use novax_cold::{ColdError, Day, FileEntry, Manifest};
use novax_model::{PartitionId, Timestamp};
use proptest::prelude::*;
use std::collections::BTreeMap;

const FIXTURE: &[u8] = include_bytes!("../fixtures/manifest-v1.nvm");

/// What the fixture has: see `docs/formats/cold-manifest.md`.
fn fixture() -> Manifest {
    let day = |n| Day::from_number(n).expect("a day");
    let file = |generation, n: u64, of: Day| FileEntry {
        generation,
        fingerprint: 0x0123_4567_89ab_cdef + n,
        bytes: 1_000_000 + n,
        crc: 0xdead_beef,
        index_bytes: 4_321,
        index_crc: 0x1234_5678,
        series: 64,
        series_first: 1 << 32 | 1 << 16 | 1,
        series_last: 33 << 32 | 1 << 16 | 2,
        rows: 64 * 17_280,
        first: Timestamp(of.window().from.0 + 5_000_000),
        last: Timestamp(of.window().to.0 - 1),
    };
    let (one, other) = (day(20_778), day(20_780));
    let days = BTreeMap::from([
        (one, vec![file(1, 0, one), file(3, 1, one)]),
        (other, vec![file(2, 2, other)]),
    ]);
    Manifest { partition: PartitionId(7), generation: 3, kept_from: day(20_000), days }
}

#[test]
fn version_1_still_opens_and_is_still_written() {
    assert_eq!(Manifest::decode("it", FIXTURE).expect("a manifest"), fixture());
    assert_eq!(fixture().encode(), FIXTURE);
}

#[test]
fn an_object_says_what_it_is_of() {
    let manifest = fixture();
    let (day, file) = manifest.files().next().expect("a file");
    let path = file.path(PartitionId(7), day);
    assert_eq!(path.as_ref(), "series/p007/2026-11-21/g000001-0123456789abcdef.nvc");
}

#[test]
fn any_flipped_bit_and_any_cut_is_found() {
    for bit in 0..FIXTURE.len() * 8 {
        let mut bytes = FIXTURE.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        Manifest::decode("it", &bytes).expect_err("a bit is flipped");
    }
    for length in 0..FIXTURE.len() {
        Manifest::decode("it", &FIXTURE[..length]).expect_err("it is cut");
    }
}

fn sealed(mut body: Vec<u8>) -> Vec<u8> {
    let crc = crc32fast::hash(&body);
    body.extend_from_slice(&crc.to_le_bytes());
    body
}

#[test]
fn a_newer_version_is_said_to_be_one() {
    let mut body = FIXTURE[..FIXTURE.len() - 4].to_vec();
    body[8] = 2;
    let error = Manifest::decode("it", &sealed(body)).expect_err("newer");
    assert!(matches!(error, ColdError::NewerFormat { version: 2, .. }), "{error}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(mut tail in proptest::collection::vec(any::<u8>(), 0..400), at in 0_usize..300) {
        let _ = Manifest::decode("it", &tail);
        // Behind a good beginning and under a good checksum, too.
        let mut body = FIXTURE[..at.min(FIXTURE.len() - 4)].to_vec();
        body.append(&mut tail);
        if let Ok(manifest) = Manifest::decode("it", &sealed(body.clone())) {
            prop_assert_eq!(manifest.encode(), sealed(body));
        }
    }
}
