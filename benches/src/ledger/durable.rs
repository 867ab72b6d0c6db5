//! Transfers that are on the disk before they are booked, in entries of 8,190 as TigerBeetle's.
//!
//! A thread of its own is the client: it encodes entries. The other hands them to the log, and books those that
//! are durable while the next are written.

use super::books::{self, Books, SESSION_TRANSFERS, Spread, refused};
use super::entry::{self, ENTRY_TRANSFERS_MAX, TRANSFER_BYTES};
use super::journal::Journal;
use super::number;
use super::price::{Bill, Prices};
use crate::cpu;
use crate::error::{BenchError, Result};
use novax_ledger::{Ledger, Leg, Stamp};
use novax_model::Timestamp;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Entries between being taken and being booked.
const PIPELINE_MAX: u64 = 4;
/// Entries that wait for the log.
const WAITING_MAX: usize = 2;
/// Bills are worked out in advance, so many: pricing is not what this measures.
const BILLS: u64 = 1_000;

/// How much was booked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// Transfers a second, on the wall.
    pub(crate) per_s: f64,
    /// Processor time of a transfer, without the client's.
    pub(crate) cpu_us: f64,
    /// How long the disk took for a write of the log.
    pub(crate) write_us: f64,
    /// Writes bypass the page cache.
    pub(crate) direct: bool,
}

/// What the entries hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// Holds and nothing else.
    Holds,
    /// Sessions held in one entry, and posted and split in the next.
    Sessions,
}

/// Books as much as goes within the time.
pub(crate) fn run(dir: &Path, load: Load, spread: Spread, time: Duration) -> Result<Rate> {
    let books = Books::new(spread);
    let mut ledger = books.open()?;
    let accounts = ledger.next_journal();
    let mut journal = Journal::start(dir, Arc::new(|| {}))?;
    let direct = journal.is_direct();
    let bills = bills()?;
    std::thread::scope(|scope| {
        let (sender, entries) = sync_channel(WAITING_MAX);
        scope.spawn(move || encode_entries(books, load, &bills, &sender));
        let (begun, used) = (Instant::now(), cpu::of_thread());
        let booked = book(&mut ledger, &mut journal, &entries, begun + time)?;
        // The client ends once nobody takes its entries.
        drop(entries);
        let (wall, cpu) = (begun.elapsed(), cpu::of_thread() - used);
        let written = journal.close(dir)?;
        let cpu = cpu + written.cpu;
        ledger.audit().map_err(|error| refused(&error))?;
        if ledger.next_journal() != accounts + booked {
            return Err(BenchError::Answer("the journal has another length".into()));
        }
        let per_s = number(booked) / wall.as_secs_f64();
        let cpu_us = cpu.as_secs_f64() * 1e6 / number(booked);
        Ok(Rate { per_s, cpu_us, write_us: written.each_us(), direct })
    })
}

fn bills() -> Result<Vec<Bill>> {
    let prices = Prices::new()?;
    let bill = |session| {
        let mut bill = Bill::default();
        prices.bill(session, &mut bill).map(|()| bill)
    };
    (0..BILLS).map(bill).collect()
}

/// The client: entries until they are no longer wanted.
fn encode_entries(books: Books, load: Load, bills: &[Bill], entries: &SyncSender<Vec<u8>>) {
    let transfers = ENTRY_TRANSFERS_MAX as u64;
    let sessions = match load {
        Load::Holds => transfers,
        Load::Sessions => transfers / SESSION_TRANSFERS,
    };
    let mut legs: Vec<Leg> = Vec::new();
    for number in 0.. {
        let mut entry = Vec::with_capacity(ENTRY_TRANSFERS_MAX * TRANSFER_BYTES);
        for session in number * sessions..(number + 1) * sessions {
            entry::encode(books.hold_key(session), &[books.hold(session)], &mut entry);
        }
        if load == Load::Sessions && number > 0 {
            for session in (number - 1) * sessions..number * sessions {
                let bill = &bills[session as usize % bills.len()];
                books.settle(session, bill, &mut legs);
                entry::encode(books.bill_key(session), &legs, &mut entry);
            }
        }
        if entries.send(entry).is_err() {
            return;
        }
    }
}

/// Makes entries durable and books them; returns how many transfers.
fn book(
    ledger: &mut Ledger,
    journal: &mut Journal<()>,
    entries: &Receiver<Vec<u8>>,
    until: Instant,
) -> Result<u64> {
    let (mut submitted, mut applied, mut booked) = (0, 0, 0);
    loop {
        let open = Instant::now() < until;
        while open && submitted - applied < PIPELINE_MAX {
            let entry =
                if journal.is_writing() { entries.try_recv().ok() } else { entries.recv().ok() };
            let Some(entry) = entry else { break };
            journal.submit(entry, ());
            submitted += 1;
        }
        if submitted == applied {
            return Ok(booked);
        }
        for (entry, ()) in journal.wait_durable()? {
            applied += 1;
            booked += apply(ledger, applied + 1, &entry)?;
        }
    }
}

/// Books a durable entry; returns how many transfers it has.
pub(crate) fn apply(ledger: &mut Ledger, index: u64, entry: &[u8]) -> Result<u64> {
    let stamp = Stamp::now(index, Timestamp(1_000 + index));
    entry::decode(entry, |key, legs| {
        let receipt = ledger.post(stamp, key, legs).map_err(|error| refused(&error))?;
        if receipt.is_new() {
            return Ok(());
        }
        Err(BenchError::Answer("a new set is taken for a repeat".into()))
    })?;
    let changes = ledger.take_changes();
    books::visit(changes);
    let transfers = (entry.len() / TRANSFER_BYTES) as u64;
    assert_eq!(changes.journal().len() as u64, transfers, "each transfer is a line");
    Ok(transfers)
}
