//! The crash test of the store standing alone: a process writes what a seed decides and says what was acknowledged;
//! it is killed at any moment - while it opens, writes, flushes, compacts - and what comes back is checked.
//!
//! The claims: what comes back is the state after some batch, all batches before it and nothing else; no batch that
//! was acknowledged is missing; every key is read and compared with a model; tables and blobs verify.
//!
//! The lives of a store write different batches under the same marks, so that a batch of an earlier life which was
//! lost and comes back later is noticed too.

use crate::folder::copy_folder;
use crate::random::Random;
use novax_engine::store::{Error, Store, StoreOptions};
use novax_engine::{Batch, Options};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Batches a life keeps under way.
const UNDER_WAY_MAX: usize = 64;
const KEYSPACES: u8 = 3;
/// Different keys in each keyspace: few enough that most are written over, and tables merge.
const KEYS: u64 = 4000;
/// A message of a life: one letter and a mark.
const MESSAGE_BYTES: usize = 9;
const OPENED: u8 = b'o';
const ACKNOWLEDGED: u8 = b'a';
/// After so many kills the parent opens the store itself and reads everything.
const LOOKS_AFTER: u64 = 3;

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The program to start with `--child`: the `store-crash` binary.
    pub program: PathBuf,
    /// How often to kill it.
    pub kills: u32,
    /// Decides what is written and when it is killed.
    pub seed: u64,
    /// Half way the folder goes back to what it was at an earlier look: a store that forgets. Such a run must fail.
    pub forget: bool,
}

/// What happened, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Processes killed.
    pub kills: u32,
    /// Of these, before they had opened the store.
    pub while_opening: u32,
    /// Batches in the store in the end.
    pub batches: u64,
    /// Times everything was read and compared.
    pub looks: u32,
    /// Keys compared.
    pub keys: u64,
    /// Entries that came back from the log, as far as the parent opened it.
    pub replayed: u64,
    /// Tables that flushes had written when the parent looked.
    pub tables: u64,
}

/// Why a run did not pass.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The store broke a promise: its fault.
    #[error("failed: {0}")]
    Failed(String),
    /// The run itself did not work: nothing can be said.
    #[error("broken: {0}")]
    Broken(#[from] io::Error),
}

fn options() -> StoreOptions {
    // So small that flushes, compactions and turns of the log come many times a second.
    let engine = Options {
        keyspaces: KEYSPACES,
        memtable_bytes_max: 256 << 10,
        block_cache_bytes: 1 << 20,
        table_bytes_max: 128 << 10,
        level0_tables_max: 2,
        level1_bytes_max: 512 << 10,
        ..Options::default()
    };
    StoreOptions {
        engine,
        segment_bytes: 512 << 10,
        segments_max: 4,
        relaxed_delay: Duration::from_millis(2),
        ..StoreOptions::default()
    }
}

enum Change {
    Put(u8, [u8; 8], Vec<u8>),
    Delete(u8, [u8; 8]),
    DeleteRange(u8, [u8; 8], [u8; 8]),
}

/// What a life of the store writes under a mark.
fn changes(seed: u64, life: u64, mark: u64) -> Vec<Change> {
    let mut random = Random::new(seed ^ life.wrapping_mul(0x9e37_79b9_7f4a_7c15), mark);
    let count = random.between(1, 6);
    let change = |random: &mut Random| {
        let keyspace = u8::try_from(random.between(0, u64::from(KEYSPACES))).unwrap_or(0);
        let number = random.between(0, KEYS);
        let key = number.to_be_bytes();
        if random.one_in(8) {
            return Change::Delete(keyspace, key);
        }
        if random.one_in(300) {
            return Change::DeleteRange(
                keyspace,
                key,
                (number + random.between(1, 200)).to_be_bytes(),
            );
        }
        let bytes = random.between(0, 300);
        let fill = random.between(0, 256);
        let value = (0..bytes).map(|at| ((fill + at * number) & 0xff) as u8).collect();
        Change::Put(keyspace, key, value)
    };
    (0..count).map(|_| change(&mut random)).collect()
}

/// Is the process that is killed: opens the store and writes until it is dead.
///
/// # Errors
/// When the store refuses something it should not.
pub fn live(dir: &Path, seed: u64, life: u64) -> Result<(), Error> {
    let store = Store::open(dir, options())?;
    let client = store.client();
    let mut said = io::stdout().lock();
    // Nobody listens any more when the parent is gone: then this is over too.
    let mut say = |letter: u8, mark: u64| {
        let mut message = [letter; MESSAGE_BYTES];
        message[1..].copy_from_slice(&mark.to_le_bytes());
        said.write_all(&message).and_then(|()| said.flush()).is_ok()
    };
    let mut mark = client.snapshot()?.mark();
    let mut goes_on = say(OPENED, mark);
    let mut batch = Batch::new();
    let mut under_way = VecDeque::new();
    let mut random = Random::new(seed, life);
    while goes_on {
        mark += 1;
        for change in changes(seed, life, mark) {
            match change {
                Change::Put(keyspace, key, value) => batch.put(keyspace, &key, &value),
                Change::Delete(keyspace, key) => batch.delete(keyspace, &key),
                Change::DeleteRange(keyspace, from, to) => batch.delete_range(keyspace, &from, &to),
            }
        }
        while let Err(error) = client.submit(&mut batch).map(|ticket| under_way.push_back(ticket)) {
            match error {
                Error::Busy => client.wait_for_room()?,
                error => return Err(error),
            }
        }
        // Sometimes a burst, sometimes one at a time.
        let keep = if random.one_in(50) { 0 } else { UNDER_WAY_MAX };
        while under_way.len() > keep {
            let Some(ticket) = under_way.pop_front() else { break };
            goes_on = say(ACKNOWLEDGED, ticket.wait()?);
        }
    }
    Ok(())
}

/// What the store should hold.
struct Model {
    seed: u64,
    mark: u64,
    /// The life that wrote what comes after `mark`.
    life: u64,
    state: BTreeMap<(u8, [u8; 8]), Vec<u8>>,
}

impl Model {
    /// The store was found with everything up to `mark`: the rest of that life is lost.
    fn advance(&mut self, mark: u64) {
        for mark in self.mark + 1..=mark {
            for change in changes(self.seed, self.life, mark) {
                match change {
                    Change::Put(keyspace, key, value) => {
                        self.state.insert((keyspace, key), value);
                    }
                    Change::Delete(keyspace, key) => {
                        self.state.remove(&(keyspace, key));
                    }
                    Change::DeleteRange(keyspace, from, to) => {
                        let covered = (keyspace, from)..(keyspace, to);
                        let keys: Vec<_> = self.state.range(covered).map(|(key, _)| *key).collect();
                        for key in keys {
                            self.state.remove(&key);
                        }
                    }
                }
            }
        }
        self.mark = mark;
    }
}

struct Run<'a> {
    plan: &'a Plan,
    dir: PathBuf,
    model: Model,
    acknowledged: u64,
    report: Report,
}

/// Runs a plan.
///
/// # Errors
/// [`Failure::Failed`] when the store broke a promise.
pub fn run(plan: &Plan) -> Result<Report, Failure> {
    let folder = tempfile::tempdir()?;
    let model = Model { seed: plan.seed, mark: 0, life: 0, state: BTreeMap::new() };
    let dir = folder.path().join("store");
    let mut run = Run { plan, dir, model, acknowledged: 0, report: Report::default() };
    let mut random = Random::new(plan.seed, u64::MAX);
    let past = folder.path().join("past");
    for number in 1..=plan.kills {
        run.kill_one(u64::from(number), &mut random)?;
        if random.one_in(LOOKS_AFTER) || number == plan.kills {
            run.look()?;
        }
        if plan.forget && number == plan.kills.div_ceil(3) {
            copy_folder(&run.dir, &past)?;
        } else if plan.forget && number == plan.kills.div_ceil(3) * 2 {
            std::fs::remove_dir_all(&run.dir)?;
            copy_folder(&past, &run.dir)?;
        }
    }
    run.report.batches = run.model.mark;
    Ok(run.report)
}

impl Run<'_> {
    /// Starts a life, hears what it says, kills it.
    fn kill_one(&mut self, life: u64, random: &mut Random) -> Result<(), Failure> {
        let mut child = Command::new(&self.plan.program)
            .arg("--child")
            .arg(&self.dir)
            .args(["--seed", &self.plan.seed.to_string(), "--life", &life.to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        // Often while it opens, mostly while it writes.
        let patience_ms =
            if random.one_in(4) { random.between(0, 12) } else { random.between(5, 120) };
        let heard = hear(&mut child, Duration::from_millis(patience_ms))?;
        self.report.kills += 1;
        let mut opened = false;
        for message in heard.chunks_exact(MESSAGE_BYTES) {
            let mark = mark_of(message);
            match message.first() {
                Some(&OPENED) => {
                    self.found(mark, life)?;
                    opened = true;
                }
                Some(&ACKNOWLEDGED) if opened && mark > self.acknowledged => {
                    self.acknowledged = mark;
                }
                _ => return Err(Failure::Failed(format!("life {life} said {message:?}"))),
            }
        }
        self.report.while_opening += u32::from(!opened);
        Ok(())
    }

    /// The store was found with everything up to `mark`; `life` writes what comes next.
    fn found(&mut self, mark: u64, life: u64) -> Result<(), Failure> {
        if mark < self.acknowledged {
            let acknowledged = self.acknowledged;
            let what = format!("life {life}: {mark} came back, {acknowledged} was acknowledged");
            return Err(Failure::Failed(what));
        }
        self.model.advance(mark);
        self.model.life = life;
        self.acknowledged = mark;
        Ok(())
    }

    /// Opens the store here, reads everything, and leaves it as a crash would.
    fn look(&mut self) -> Result<(), Failure> {
        let failed =
            |what: String| Failure::Failed(format!("after {} kills: {what}", self.report.kills));
        let store = Store::open(&self.dir, options()).map_err(|error| failed(error.to_string()))?;
        let client = store.client();
        let snapshot = client.snapshot().map_err(|error| failed(error.to_string()))?;
        let stats = client.stats().map_err(|error| failed(error.to_string()))?;
        let life = self.model.life;
        self.found(snapshot.mark(), life)?;
        let failed =
            |what: String| Failure::Failed(format!("after {} kills: {what}", self.report.kills));
        let mut expected = self.model.state.iter();
        let mut keys = 0;
        for keyspace in 0..KEYSPACES {
            for entry in snapshot.range(keyspace, b"", None) {
                let (key, value) = entry.map_err(|error| failed(error.to_string()))?;
                let next = expected.next();
                let same = next.is_some_and(|((of, expected), wanted)| {
                    *of == keyspace && expected[..] == key[..] && *wanted == value
                });
                if !same {
                    return Err(failed(format!(
                        "keyspace {keyspace}, key {key:?}: {next:?} expected"
                    )));
                }
                keys += 1;
            }
        }
        if let Some(missing) = expected.next() {
            return Err(failed(format!("{missing:?} is missing")));
        }
        let tables = stats.engine.levels.iter().map(|level| level.tables).sum::<u64>();
        drop(snapshot);
        drop(store);
        let verified = novax_engine::verify(&self.dir.join("engine"));
        let verified = verified.map_err(|error| failed(error.to_string()))?;
        if !verified.problems.is_empty() {
            return Err(failed(format!("{:?}", verified.problems)));
        }
        self.report.looks += 1;
        self.report.keys += keys;
        self.report.replayed += stats.replayed_entries;
        self.report.tables = self.report.tables.max(tables);
        Ok(())
    }
}

fn mark_of(message: &[u8]) -> u64 {
    message.get(1..).and_then(|bytes| bytes.try_into().ok()).map_or(u64::MAX, u64::from_le_bytes)
}

/// Hears what a process says until it is killed, after so long, and what was still in the pipe.
fn hear(child: &mut Child, patience: Duration) -> io::Result<Vec<u8>> {
    let mut out = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let listener = std::thread::spawn(move || {
        let mut heard = Vec::new();
        out.read_to_end(&mut heard).map(|_| heard)
    });
    // The moment is the point: any.
    std::thread::sleep(patience);
    let ended = child.try_wait()?;
    child.kill()?;
    child.wait()?;
    let heard = listener.join().map_err(|_| io::Error::other("the listener panicked"))??;
    match ended {
        Some(status) => Err(io::Error::other(format!("the process ended by itself: {status}"))),
        None => Ok(heard),
    }
}
