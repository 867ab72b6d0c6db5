//! Readers on other threads beside writes, flushes and compactions, on the real disk.

use crate::common::small;
use novax_engine::{Batch, Engine, Options, Snapshot, Worker};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::thread;

const ACCOUNTS: u64 = 200;
const EACH: u64 = 1_000;

/// Every snapshot shows whole transfers: the sum is always the same.
fn read_until_the_end(snapshots: &Receiver<Snapshot>) -> usize {
    let mut count = 0;
    for snapshot in snapshots {
        let mut sum = 0;
        let mut accounts = 0;
        for entry in snapshot.range(0, b"", None) {
            let (key, value) = entry.unwrap();
            let again = snapshot.get(0, &key).unwrap().unwrap();
            assert_eq!(again, value, "a scan and a look-up agree");
            sum += u64::from_le_bytes(value[..8].try_into().unwrap());
            accounts += 1;
        }
        assert_eq!((accounts, sum), (ACCOUNTS, ACCOUNTS * EACH), "at mark {}", snapshot.mark());
        let journal = snapshot.range_rev(1, b"", None).next().map(|entry| entry.unwrap().0);
        let last = journal.map_or(0, |key| u64::from_be_bytes(key.try_into().unwrap()));
        assert_eq!(last + 1, snapshot.mark(), "the journal ends with the last transfer");
        count += 1;
    }
    count
}

#[test]
fn readers_see_whole_batches_while_tables_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(2).unwrap();
    let options = Options { block_cache_bytes: 64 << 10, ..small() };
    let mut engine = Engine::open(folder.path(), options, &worker).unwrap();
    let (wake, wakes) = channel();
    engine.set_wake(Arc::new(move || wake.send(()).unwrap_or_default()));
    let mut balances = vec![EACH; ACCOUNTS as usize];
    let mut batch = Batch::new();
    let value = |balance: u64| [balance.to_le_bytes().as_slice(), &[0; 40]].concat();
    for (i, balance) in balances.iter().enumerate() {
        batch.put(0, &(i as u64).to_be_bytes(), &value(*balance));
    }
    batch.set_mark(1);
    engine.write(&mut batch);
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (sender, snapshots) = sync_channel(2);
            (sender, thread::spawn(move || read_until_the_end(&snapshots)))
        })
        .collect();
    let mut sent = 0;
    for transfer in 1..=3_000u64 {
        let from = (transfer * 7919 % ACCOUNTS) as usize;
        let to = (transfer * 104_729 % ACCOUNTS) as usize;
        let amount = balances[from].min(transfer % 90);
        balances[from] -= amount;
        balances[to] += amount;
        for i in [from, to] {
            batch.put(0, &(i as u64).to_be_bytes(), &value(balances[i]));
        }
        batch.put(1, &transfer.to_be_bytes(), &[1; 30]);
        batch.set_mark(transfer + 1);
        engine.write(&mut batch);
        // The disk is slower than this loop: hold back when told to.
        while engine.poll().unwrap().stalled {
            wakes.recv().unwrap();
        }
        if transfer % 10 == 0 {
            for (reader, _) in &readers {
                // A reader that is busy misses one; the last is sent below.
                sent += usize::from(reader.try_send(engine.snapshot()).is_ok());
            }
        }
    }
    let mut read = 0;
    for (sender, reader) in readers {
        sender.send(engine.snapshot()).unwrap();
        sent += 1;
        drop(sender);
        read += reader.join().unwrap();
    }
    assert_eq!(read, sent);
    let stats = engine.stats();
    assert!(stats.flushes > 5 && stats.compactions > 0, "{stats:?}");
    assert_eq!(engine.close().unwrap(), 3_001);
}
