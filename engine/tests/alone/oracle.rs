//! The recovery oracle: wherever the power goes - writing, flushing, compacting, opening - what comes back is exactly
//! the state after some batch, with no hole before it, and everything that was acknowledged is in it.

use crate::model::{DIR, History, contents, fill, small};
use novax_engine::Batch;
use novax_engine::store::{Error, Store, Ticket};
use novax_log::sim::{Rng, SimDisk};
use proptest::prelude::*;
use std::path::Path;
use std::time::Duration;

/// How long to wait before looking whether the power is gone.
const GLANCE: Duration = Duration::from_millis(1);

struct World {
    seed: u64,
    history: History,
    acknowledged: u64,
    lives: u64,
    opens: u64,
}

impl World {
    fn new(seed: u64) -> World {
        World { seed, history: History::new(seed), acknowledged: 0, lives: 0, opens: 0 }
    }

    /// Opens the store and checks what is in it. None if the power went meanwhile.
    fn open(&mut self, disk: &SimDisk) -> Option<Store> {
        // What one life keeps in memory is too much for the next, which brings it back in many pieces.
        self.opens += 1;
        let mut options = small();
        options.engine.memtable_bytes_max = if self.opens % 2 == 1 { 24 << 10 } else { 1 << 10 };
        let store = match Store::open_on(disk.arc(), Path::new(DIR), options) {
            Ok(store) => store,
            Err(error) => {
                assert!(disk.is_power_gone(), "{error}");
                return None;
            }
        };
        let snapshot = store.client().snapshot().unwrap();
        let mark = snapshot.mark();
        let acknowledged = self.acknowledged;
        assert!(mark >= acknowledged, "{mark} came back, {acknowledged} was acknowledged");
        assert!(mark <= self.history.last(), "{mark} was never written");
        match contents(&snapshot) {
            Ok(found) => assert!(&found == self.history.at(mark), "the state after {mark}"),
            // What the tables hold is read from the disk, which may end now.
            Err(error) => assert!(disk.is_power_gone(), "{error}"),
        }
        self.history.cut(mark);
        self.acknowledged = mark;
        self.lives += 1;
        Some(store)
    }

    /// Waits for a write; false when it never becomes durable because the power is gone.
    fn wait(&mut self, disk: &SimDisk, ticket: &Ticket) -> bool {
        loop {
            match ticket.wait_for(GLANCE) {
                Ok(true) => {
                    self.acknowledged = self.acknowledged.max(ticket.mark());
                    return true;
                }
                Ok(false) if disk.is_power_gone() => return false,
                Ok(false) => {}
                Err(Error::LogFailed { .. }) => return false,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Writes until the power is gone or all is written.
    fn live(&mut self, store: &Store, disk: &SimDisk, rng: &mut Rng, batches: u64) {
        let client = store.client();
        let mut batch = Batch::new();
        let mut last: Option<Ticket> = None;
        for _ in 0..batches {
            let mark = self.history.last() + 1;
            fill(&mut batch, self.seed, self.lives, mark);
            // Whatever becomes of it, it may come back.
            self.history.push(self.lives);
            let ticket = loop {
                let handed_over = if rng.one_in(3) {
                    client.write_relaxed(&mut batch).map(|mark| (mark, None))
                } else {
                    client.submit(&mut batch).map(|ticket| (ticket.mark(), Some(ticket)))
                };
                match handed_over {
                    Ok((found, ticket)) => {
                        assert_eq!(found, mark);
                        break ticket;
                    }
                    Err(Error::Busy) if disk.is_power_gone() => return,
                    Err(Error::Busy) => std::thread::yield_now(),
                    Err(Error::LogFailed { .. }) => return,
                    Err(error) => panic!("{error}"),
                }
            };
            last = ticket.or(last);
            if rng.one_in(20) {
                client.flush().unwrap();
            }
            if let Some(ticket) = &last
                && rng.one_in(4)
                && !self.wait(disk, ticket)
            {
                return;
            }
        }
        if let Some(ticket) = last {
            self.wait(disk, &ticket);
        }
    }
}

fn crash_again_and_again(seed: u64, cuts: &[u64]) {
    let (mut world, mut rng, mut disk) = (World::new(seed), Rng(seed), SimDisk::new());
    for &cut in cuts {
        disk.cut_power_after(cut);
        if let Some(store) = world.open(&disk) {
            world.live(&store, &disk, &mut rng, 120);
        }
        disk = disk.crash(rng.next());
    }
    let store = world.open(&disk).expect("a whole disk");
    world.live(&store, &disk, &mut rng, 30);
    let last = world.history.last();
    assert_eq!(store.close().unwrap(), last);
    // A clean end needs no log.
    let store = world.open(&disk.crash(seed)).expect("a whole disk");
    assert_eq!(store.client().stats().unwrap().replayed_entries, 0);
    assert_eq!(store.client().snapshot().unwrap().mark(), last);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_comes_back_is_the_state_after_a_batch_not_before_the_last_acknowledged(
        seed in any::<u64>(),
        cuts in prop::collection::vec(0u64..300, 1..5),
    ) {
        crash_again_and_again(seed, &cuts);
    }
}

#[test]
fn the_power_may_go_at_every_operation_of_opening() {
    // First a life that leaves tables and a log to read, then starts that are cut ever later.
    for cut in 0..60 {
        crash_again_and_again(3, &[250, cut, 20 + cut]);
    }
}
