//! The recovery oracle on the simulated disk: what is read back from a log is a prefix of what was written to it,
//! without a hole, and everything that was acknowledged is in it - wherever the power goes, also while the log is
//! being read again; and a disk that lies is found out or costs no more than the last batch.

use novax_log::sim::{Rng, SimDisk};
use novax_log::{
    Error, Frame, GroupMeta, LogConfig, Position, Replayed, ShardLog, blocking_write, replay,
};
use novax_model::PartitionId;
use proptest::prelude::*;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

const P: PartitionId = PartitionId(0);
const ROOT: &str = "/data";
const SEGMENT_BYTES: u64 = 64 << 10;

/// What was written, and what of it must come back.
#[derive(Default)]
struct Oracle {
    /// The entry of index 1 first.
    written: Vec<Vec<u8>>,
    acknowledged: u64,
    /// Durable elsewhere: entries up to it may be gone from the log.
    flushed: u64,
    /// Entries of the last batch acknowledged begin here.
    last_batch: u64,
}

impl Oracle {
    /// Checks what came back, and forgets what did not.
    fn check(&mut self, found: &[(u64, Vec<u8>)], last: u64) {
        assert!(
            last >= self.acknowledged,
            "{last} came back, {} was acknowledged",
            self.acknowledged
        );
        self.check_prefix(found, last);
        self.written.truncate(usize::try_from(last).unwrap());
        (self.acknowledged, self.last_batch) = (last, last);
    }

    fn check_prefix(&self, found: &[(u64, Vec<u8>)], last: u64) {
        assert!(last <= self.written.len() as u64, "{last} was never written");
        let expected = self.flushed + 1..=last;
        assert!(found.iter().map(|(index, _)| *index).eq(expected), "no hole, nothing twice");
        for (index, data) in found {
            let index = usize::try_from(*index).unwrap();
            assert!(*data == self.written[index - 1], "entry {index} is as it was written");
        }
    }
}

/// Reads the log; the last index is the flushed one when there is nothing above it.
fn read(disk: &SimDisk, flushed: u64) -> Result<(Replayed, Vec<(u64, Vec<u8>)>), Error> {
    let mut found = Vec::new();
    let replayed = replay(disk.arc(), Path::new(ROOT), P, flushed, |index, data| {
        found.push((index, data.to_vec()));
        ControlFlow::Continue(())
    })?;
    Ok((replayed, found))
}

struct Writer {
    log: ShardLog<u64>,
    meta: GroupMeta,
    woken: Receiver<()>,
}

impl Writer {
    fn start(replayed: &Replayed) -> Result<Writer, Error> {
        let (wake, woken) = sync_channel(64);
        let wake = Arc::new(move || {
            let _ = wake.try_send(()); // a full channel holds news enough
        });
        let config = LogConfig {
            segment_bytes: SEGMENT_BYTES,
            direct: true,
            ..LogConfig::for_shard(Path::new(ROOT), 0)
        };
        let meta = replayed.meta();
        let log = ShardLog::start(config, Arc::clone(replayed.root()), &[(P, meta)], wake)?;
        Ok(Writer { log, meta, woken })
    }

    fn push(&mut self, data: &[u8]) {
        self.meta.last = Position { index: self.meta.last.index + 1, term: 1 };
        let gather = self.log.gather();
        gather.push(P, &Frame::Entry { at: self.meta.last, data });
        gather.note(0, self.meta, self.meta.last.index);
        gather.attached = self.meta.last.index;
    }

    fn mark(&mut self, index: u64) {
        self.meta.mark = Position { index, term: 1 };
        let gather = self.log.gather();
        gather.push(P, &Frame::Mark(self.meta.mark));
        gather.note(0, self.meta, 0);
    }

    /// Makes the next write; `Ok(None)` when nothing is to be written, an error when the disk fails.
    fn write(&mut self) -> Result<Option<u64>, ()> {
        loop {
            let stalls = self.log.stats().stalls;
            if let Some(write) = self.log.next_write() {
                blocking_write(&write).map_err(drop)?;
                return Ok(Some(self.log.written(write.id).expect("it was in flight")));
            }
            if self.log.stats().stalls == stalls {
                return Ok(None);
            }
            // A segment is being made; on a disk without power none ever is.
            while self.woken.recv_timeout(Duration::from_millis(2)).is_err() {
                if self.log.stats().segment_failures > 0 {
                    return Err(());
                }
            }
        }
    }
}

/// Writes until the disk fails or the steps are done.
fn live(writer: &mut Writer, oracle: &mut Oracle, rng: &mut Rng, steps: u64) -> Result<(), ()> {
    for _ in 0..steps {
        for _ in 0..rng.below(4) {
            let bytes = if rng.one_in(6) { rng.below(8000) } else { rng.below(300) };
            let data: Vec<u8> = (0..bytes).map(|_| (rng.next() & 0xff) as u8).collect();
            writer.push(&data);
            oracle.written.push(data);
        }
        if rng.one_in(8) && oracle.acknowledged > oracle.flushed {
            // The tables are durable before the log is told.
            oracle.flushed += 1 + rng.below(oracle.acknowledged - oracle.flushed);
            writer.mark(oracle.flushed);
        }
        if rng.one_in(3) {
            continue; // gathers more
        }
        while let Some(index) = writer.write()? {
            if index > 0 {
                oracle.last_batch = oracle.acknowledged + 1;
                oracle.acknowledged = oracle.acknowledged.max(index);
            }
        }
    }
    Ok(())
}

/// One life: opens the log, checks it, writes on. The power may go at any operation.
fn one_life(disk: &SimDisk, oracle: &mut Oracle, rng: &mut Rng, steps: u64) -> Result<(), ()> {
    let (replayed, found) = match read(disk, oracle.flushed) {
        Ok(read) => read,
        Err(Error::Io { .. }) => return Err(()),
        Err(error) => panic!("{error}"),
    };
    oracle.check(&found, replayed.meta().last.index);
    let mut writer = match Writer::start(&replayed) {
        Ok(writer) => writer,
        Err(Error::Io { .. }) => return Err(()),
        Err(error) => panic!("{error}"),
    };
    live(&mut writer, oracle, rng, steps)
}

fn crash_again_and_again(seed: u64, cuts: &[u64], steps: u64) {
    let (mut rng, mut oracle, mut disk) = (Rng(seed), Oracle::default(), SimDisk::new());
    for &cut in cuts {
        disk.cut_power_after(cut);
        // Whether it came to the end of its steps or of its power.
        let _ = one_life(&disk, &mut oracle, &mut rng, steps);
        disk = disk.crash(rng.next());
    }
    one_life(&disk, &mut oracle, &mut rng, 10).expect("a whole disk");
    let (replayed, found) = read(&disk.copy(), oracle.flushed).expect("a whole log");
    assert_eq!(replayed.meta().last.index, oracle.acknowledged.max(replayed.meta().last.index));
    oracle.check(&found, replayed.meta().last.index);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_comes_back_is_a_prefix_with_all_that_was_acknowledged(
        seed in any::<u64>(),
        cuts in prop::collection::vec(0u64..160, 1..8),
    ) {
        crash_again_and_again(seed, &cuts, 60);
    }

    #[test]
    fn a_write_that_is_lost_or_misdirected_is_named_or_was_the_last(
        seed in any::<u64>(),
        misdirected in any::<bool>(),
        after in 0u64..40,
    ) {
        let (mut rng, mut oracle, disk) = (Rng(seed), Oracle::default(), SimDisk::new());
        let (replayed, _) = read(&disk, 0).unwrap();
        let mut writer = Writer::start(&replayed).unwrap();
        // Of segments in the making no write is lost: they are read back as zeros all the same.
        live(&mut writer, &mut oracle, &mut rng, 3).unwrap();
        if misdirected { disk.misdirect_write_after(after) } else { disk.lose_write_after(after) }
        live(&mut writer, &mut oracle, &mut rng, 50).unwrap();
        drop((writer, replayed));
        match read(&disk.copy(), oracle.flushed) {
            Err(Error::Corrupt { .. } | Error::LogBehindState { .. }) => {}
            Err(error) => panic!("{error}"),
            Ok((replayed, found)) => {
                let last = replayed.meta().last.index;
                oracle.check_prefix(&found, last);
                prop_assert!(last + 1 >= oracle.last_batch, "more than the last batch is lost unseen");
            }
        }
    }

    #[test]
    fn a_rotten_bit_is_named_or_costs_no_more_than_the_last_batch(
        seed in any::<u64>(),
        place in any::<u64>(),
    ) {
        let (mut rng, mut oracle, disk) = (Rng(seed), Oracle::default(), SimDisk::new());
        let (replayed, _) = read(&disk, 0).unwrap();
        let mut writer = Writer::start(&replayed).unwrap();
        live(&mut writer, &mut oracle, &mut rng, 40).unwrap();
        drop((writer, replayed));
        let disk = disk.copy();
        let segments: Vec<_> = disk.files().into_iter().filter(|file| {
            file.extension().is_some_and(|end| end == "log")
        }).collect();
        let mut place = Rng(place);
        let file = &segments[place.below_usize(segments.len())];
        let at = place.below_usize(disk.read_file(file).len());
        disk.rot(file, at, 3);
        match read(&disk, oracle.flushed) {
            Err(Error::Corrupt { .. } | Error::LogBehindState { .. }) => {}
            Err(error) => panic!("{error}"),
            Ok((replayed, found)) => {
                let last = replayed.meta().last.index;
                oracle.check_prefix(&found, last);
                prop_assert!(last + 1 >= oracle.last_batch, "more than the last batch is lost unseen");
            }
        }
    }
}

#[test]
fn the_power_may_go_at_every_operation_of_a_life_and_of_the_next_start() {
    // The same life each time, cut one operation later; then the start after it, cut as well.
    for cut in 0..220 {
        crash_again_and_again(7, &[cut], 40);
        crash_again_and_again(8, &[60, cut % 30, 5], 25);
    }
}

#[test]
fn without_room_for_segments_nothing_is_lost_and_room_mends_it() {
    let (mut rng, mut oracle, disk) = (Rng(5), Oracle::default(), SimDisk::new());
    let (replayed, _) = read(&disk, 0).unwrap();
    let mut writer = Writer::start(&replayed).unwrap();
    disk.set_bytes_free(Some(1000));
    assert_eq!(live(&mut writer, &mut oracle, &mut rng, 1000), Err(()), "no segment can be made");
    assert!(writer.log.next_write().is_none(), "back-pressure, not an error");
    disk.set_bytes_free(None);
    while writer.log.next_write().is_none() {
        writer.woken.recv_timeout(Duration::from_secs(30)).expect("it is tried again");
    }
    drop((writer, replayed));
    let (replayed, found) = read(&disk.copy(), oracle.flushed).unwrap();
    oracle.check(&found, replayed.meta().last.index);
}

#[test]
fn a_read_only_disk_is_an_error_that_names_the_file() {
    let disk = SimDisk::new();
    disk.set_read_only(true);
    let (replayed, _) = read(&disk, 0).expect("there is nothing to write in reading nothing");
    let error = Writer::start(&replayed).err().expect("a refusal");
    assert!(matches!(&error, Error::Io { .. }), "{error}");
    assert!(error.to_string().contains("/data/log/shard-000"), "{error}");
}

#[test]
fn a_log_that_does_not_fit_the_state_is_named() {
    let (mut rng, mut oracle, disk) = (Rng(1), Oracle::default(), SimDisk::new());
    one_life(&disk, &mut oracle, &mut rng, 200).unwrap();
    let disk = disk.copy();
    let flushed = oracle.flushed;
    assert!(flushed > 0);
    let behind = read(&disk, oracle.written.len() as u64 + 1);
    assert!(matches!(behind, Err(Error::LogBehindState { .. })), "{behind:?}");
    let ahead = read(&disk, 0);
    assert!(matches!(ahead, Err(Error::StateBehindLog { applied: 0, .. })), "{ahead:?}");
    let (_replayed, _) = read(&disk, flushed).unwrap();
    let in_use = read(&disk, flushed);
    assert!(matches!(in_use, Err(Error::InUse { .. })), "{in_use:?}");
}
