//! The power goes at any moment, writes and syncs fail, the disk fills up: what was reported as flushed is
//! there, and what is there is exactly the state at some mark.

use crate::common::{DIR, KEYSPACES, Model, Store, contents, noise, small, tiny};
use crate::sim_disk::{Rng, SimDisk};
use novax_engine::{Batch, Disk, Error, Options, verify_on};
use proptest::prelude::*;
use std::io::ErrorKind;
use std::path::Path;

/// What the batch of a mark changes: the same each time, as if read from the log.
fn changes(seed: u64, mark: u64) -> Vec<(u8, Vec<u8>, Option<Vec<u8>>)> {
    let mut rng = Rng(seed ^ mark.wrapping_mul(0xA076_1D64_78BD_642F));
    let count = rng.below(6);
    let mut change = || {
        let keyspace = rng.below(u64::from(KEYSPACES)) as u8;
        let key = rng.below(60).to_be_bytes().to_vec();
        let (seed, len) = (rng.next(), rng.below(200) as usize);
        (keyspace, key, (!rng.one_in(4)).then(|| noise(seed, len)))
    };
    (0..count).map(|_| change()).collect()
}

fn batch_of(seed: u64, mark: u64) -> Batch {
    let mut batch = Batch::new();
    for (keyspace, key, value) in changes(seed, mark) {
        match value {
            Some(value) => batch.put(keyspace, &key, &value),
            None => batch.delete(keyspace, &key),
        }
    }
    batch.set_mark(mark);
    batch
}

/// The states at each mark from 0, worked out without the store.
struct History {
    seed: u64,
    states: Vec<Model>,
}

impl History {
    fn new(seed: u64) -> History {
        History { seed, states: vec![Model::new()] }
    }

    fn at(&mut self, mark: u64) -> &Model {
        while self.states.len() as u64 <= mark {
            let mut state = self.states.last().unwrap().clone();
            for (keyspace, key, value) in changes(self.seed, self.states.len() as u64) {
                match value {
                    Some(value) => drop(state.insert((keyspace, key), value)),
                    None => drop(state.remove(&(keyspace, key))),
                }
            }
            self.states.push(state);
        }
        &self.states[mark as usize]
    }
}

/// Writes batches until an error or the end. Returns the highest flushed mark reported.
fn live(store: &mut Store, seed: u64, rng: &mut Rng, batches: u64) -> u64 {
    let mut flushed = store.engine.flushed_mark();
    for _ in 0..batches {
        store.engine.write(&mut batch_of(seed, store.engine.mark() + 1));
        if rng.one_in(15) {
            store.engine.flush();
        }
        let outcome = if rng.one_in(10) { store.drain() } else { store.engine.poll() };
        match outcome {
            Ok(progress) => {
                assert!(progress.flushed_mark >= flushed, "the flushed mark never falls");
                flushed = progress.flushed_mark;
            }
            Err(_) => break,
        }
    }
    flushed
}

fn crash_again_and_again(seed: u64, cuts: &[u64]) {
    let mut history = History::new(seed);
    let mut rng = Rng(seed);
    let mut disk = SimDisk::default();
    let mut flushed = 0;
    for &cut in cuts {
        disk.cut_power_after(cut);
        // The power may go while the store is being opened.
        if let Ok(mut store) = Store::open(&disk, tiny()) {
            let mark = store.engine.mark();
            assert!(mark >= flushed, "recovered {mark}, but {flushed} was reported flushed");
            flushed = flushed.max(live(&mut store, seed, &mut rng, 150));
        }
        disk = disk.crash(rng.next());
        let mut store = Store::open(&disk.copy(), tiny()).unwrap();
        let mark = store.engine.mark();
        assert!(mark >= flushed, "recovered {mark}, but {flushed} was reported flushed");
        let found = contents(&store.engine.snapshot()).unwrap();
        assert_eq!(&found, history.at(mark), "exactly the state at mark {mark}");
    }
    let mut store = Store::open(&disk, tiny()).unwrap();
    live(&mut store, seed, &mut rng, 50);
    let mark = store.engine.mark();
    assert_eq!(store.engine.close().unwrap(), mark);
    let report = verify_on(disk.arc(), Path::new(DIR)).unwrap();
    assert!(report.problems.is_empty() && report.mark == mark, "{report:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn after_a_crash_the_state_is_that_of_a_mark_not_before_the_flushed_one(
        seed in any::<u64>(),
        cuts in proptest::collection::vec(0u64..400, 1..6),
    ) {
        crash_again_and_again(seed, &cuts);
    }

    #[test]
    fn failed_writes_and_syncs_are_reported_tried_again_and_lose_nothing(
        seed in any::<u64>(),
        one_in in 4u64..40,
    ) {
        let mut history = History::new(seed);
        let mut rng = Rng(seed);
        let disk = SimDisk::default();
        let mut store = Store::open(&disk, tiny()).unwrap();
        disk.fail_one_in(one_in, seed);
        let mut errors = 0;
        for mark in 1..=120 {
            store.engine.write(&mut batch_of(seed, mark));
            if rng.one_in(10) {
                store.engine.flush();
            }
            let outcome = if rng.one_in(5) { store.drain() } else { store.engine.poll() };
            errors += u32::from(outcome.is_err());
        }
        // A crash in the middle of it finds a whole state too.
        let flushed = store.engine.flushed_mark();
        let mut found = Store::open(&disk.crash(seed), tiny()).unwrap();
        prop_assert!(found.engine.mark() >= flushed);
        let mark = found.engine.mark();
        prop_assert_eq!(&contents(&found.engine.snapshot()).unwrap(), history.at(mark));

        disk.fail_one_in(0, 0);
        // Failures that happened in the background are still to be heard of, two at most.
        let drained = (0..3).any(|_| store.flush().is_ok());
        prop_assert!(drained, "after {errors} errors");
        prop_assert_eq!(store.engine.flushed_mark(), 120);
        let found = contents(&store.engine.snapshot()).unwrap();
        prop_assert_eq!(&found, history.at(120));
        drop(store);
        let mut store = Store::open(&disk.crash(seed), tiny()).unwrap();
        prop_assert_eq!(store.engine.mark(), 120);
        prop_assert_eq!(&contents(&store.engine.snapshot()).unwrap(), history.at(120));
    }
}

#[test]
fn a_full_disk_is_reported_reads_go_on_and_room_mends_it() {
    let options = Options { level0_tables_max: 100, ..small() };
    let disk = SimDisk::default();
    let mut store = Store::open(&disk, options.clone()).unwrap();
    store.put(1, &[(0, b"before", b"1")]);
    store.flush().unwrap();
    disk.set_bytes_free(Some(50));
    store.put(2, &[(0, b"during", &[9; 3_000])]);
    for _ in 0..3 {
        let error = store.flush().unwrap_err();
        let full =
            matches!(&error, Error::Io { source, .. } if source.kind() == ErrorKind::StorageFull);
        assert!(full, "{error}");
        assert!(error.to_string().contains(".nvt"), "names the file: {error}");
        let snapshot = store.engine.snapshot();
        assert_eq!(snapshot.get(0, b"before").unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(snapshot.get(0, b"during").unwrap().map(|value| value.len()), Some(3_000));
        assert_eq!(store.engine.flushed_mark(), 1);
        let progress = store.engine.progress();
        assert!(progress.flush_in_flight && progress.flushed_mark == 1, "{progress:?}");
        assert_eq!(store.engine.stats().last_error, Some(error.to_string()));
    }
    disk.set_bytes_free(None);
    // The attempt that was under way may still report.
    assert!((0..2).any(|_| store.flush().is_ok()));
    assert_eq!(store.engine.flushed_mark(), 2);
    assert_eq!(store.engine.stats().last_error, None);
    let files = disk.list(Path::new(DIR)).unwrap();
    assert_eq!(files.len(), 3, "the manifest, two tables, and no half-written ones: {files:?}");
    drop(store);
    let mut store = Store::open(&disk.crash(3), options).unwrap();
    assert_eq!(contents(&store.engine.snapshot()).unwrap().len(), 2);
}

#[test]
fn closing_onto_a_broken_disk_says_so() {
    let disk = SimDisk::default();
    let mut store = Store::open(&disk, small()).unwrap();
    store.put(1, &[(0, b"key", b"value")]);
    disk.cut_power_after(0);
    assert!(matches!(store.engine.close(), Err(Error::Io { .. })));
}
