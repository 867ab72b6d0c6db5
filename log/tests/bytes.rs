//! Any bytes in a segment, also behind right checksums, are read or named: never a panic, never memory beyond the
//! file's.

use novax_log::sim::SimDisk;
use novax_log::{BLOCK_BYTES, Disk, Error, recover_on, replay};
use novax_model::PartitionId;
use proptest::prelude::*;
use std::ops::ControlFlow;
use std::path::Path;

const DIR: &str = "/data/log/shard-000";

/// A batch as the format lays it down, with right checksums around any payload.
fn batch(opens: bool, seq: u64, previous_crc: u32, frames: u32, payload: &[u8]) -> (Vec<u8>, u32) {
    let mut bytes = vec![0; (64 + payload.len()).next_multiple_of(BLOCK_BYTES)];
    bytes[64..64 + payload.len()].copy_from_slice(payload);
    bytes[0..4].copy_from_slice(b"NXBL");
    bytes[4..6].copy_from_slice(&1_u16.to_le_bytes());
    bytes[6] = u8::from(opens);
    bytes[8..16].copy_from_slice(&1_u64.to_le_bytes());
    bytes[16..24].copy_from_slice(&1_u64.to_le_bytes());
    bytes[24..32].copy_from_slice(&seq.to_le_bytes());
    bytes[32..36].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
    bytes[36..40].copy_from_slice(&frames.to_le_bytes());
    let crc = crc32fast::hash(&bytes[64..]);
    bytes[40..44].copy_from_slice(&crc.to_le_bytes());
    bytes[44..48].copy_from_slice(&previous_crc.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    (bytes, crc)
}

fn frame(kind: u8, data_bytes: u32, term: u64, index: u64) -> Vec<u8> {
    let mut frame = vec![kind, 0, 0, 0];
    frame.extend_from_slice(&data_bytes.to_le_bytes());
    frame.extend_from_slice(&term.to_le_bytes());
    frame.extend_from_slice(&index.to_le_bytes());
    frame.resize(24 + usize::try_from(data_bytes.min(64)).unwrap(), 0);
    frame
}

fn read(segment: &[u8]) -> [Result<(), Error>; 2] {
    let disk = SimDisk::new();
    disk.create_dir(Path::new(DIR)).unwrap();
    disk.write_file(&Path::new(DIR).join("0000000001-0000000001.log"), segment);
    let all = recover_on(disk.copy().arc(), Path::new("/data")).map(drop);
    let one = replay(disk.arc(), Path::new("/data"), PartitionId(0), 0, |_, data| {
        assert!(data.len() <= segment.len());
        ControlFlow::Continue(())
    });
    [all, one.map(drop)]
}

fn check(segment: &[u8]) {
    for result in read(segment) {
        match result {
            Ok(()) | Err(Error::Corrupt { .. } | Error::StateBehindLog { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let small = prop_oneof![0..4_u64, any::<u64>()];
    let length = prop_oneof![Just(0_u32), Just(8), Just(40), 0..70_u32, any::<u32>()];
    (0..7_u8, length, small.clone(), small)
        .prop_map(|(kind, length, term, index)| frame(kind, length, term, index))
}

#[test]
fn the_bytes_made_here_are_those_of_a_log() {
    let (mut segment, crc) = batch(true, 1, 0, 1, &frame(4, 40, 0, 0));
    segment.extend(batch(false, 2, crc, 1, &frame(1, 3, 1, 1)).0);
    segment.resize(16 * BLOCK_BYTES, 0);
    for result in read(&segment) {
        result.unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_named(bytes in prop::collection::vec(any::<u8>(), 0..10_000)) {
        check(&bytes);
    }

    #[test]
    fn any_frames_behind_right_checksums_are_read_or_named(
        opening in prop::collection::vec(any_frame(), 0..4),
        later in prop::collection::vec(any_frame(), 0..6),
        cut in 0..20_usize,
        count in prop_oneof![Just(None), any::<u32>().prop_map(Some)],
    ) {
        let opening = if opening.is_empty() { vec![frame(4, 40, 0, 0)] } else { opening };
        let frames = |frames: &[Vec<u8>]| u32::try_from(frames.len()).unwrap();
        let (mut segment, crc) = batch(true, 1, 0, frames(&opening), &opening.concat());
        let mut payload = later.concat();
        payload.truncate(payload.len().saturating_sub(cut / 4));
        segment.extend(batch(false, 2, crc, count.unwrap_or(frames(&later)), &payload).0);
        check(&segment);
    }
}
