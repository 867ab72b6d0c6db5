//! The ledger against a naive one, over random requests, repeats, restarts and leaps in time.

use std::collections::BTreeMap;

use novax_ledger::{
    Code, EntryKind, Hold, HoldId, Ledger, Leg, Limit, Opening, POST_ALL, Posted, RateId, Receipt,
    Stamp,
};
use novax_model::{AccountId, Amount, Currency, Timestamp, TransferKey};
use proptest::prelude::*;

use crate::naive::{Answer, Fate, Naive, NaiveAccount, Payload, sums_of};
use crate::store::Store;

#[derive(Clone, Debug)]
enum Step {
    /// The times in the legs are relative to when it is sent.
    Request {
        key: TransferKey,
        payload: Payload,
        late: u64,
    },
    /// One of the requests before, word for word.
    Again {
        pick: usize,
    },
    Expire {
        max: usize,
    },
    Close {
        account: AccountId,
    },
    ClosePeriod {
        ago: u64,
    },
    /// Only the newest keys stay in memory.
    Trim {
        max: usize,
    },
    Leap {
        days: u64,
    },
    Restore,
}

/// Seven are opened, the eighth never.
fn accounts() -> Vec<(AccountId, Currency, Limit)> {
    let usd = Currency::new("USD").unwrap();
    let wallet = Limit::DebitsMustNotExceedCredits;
    let debt = Limit::CreditsMustNotExceedDebits;
    let kinds = [
        (Currency::EUR, Limit::None),
        (Currency::EUR, wallet),
        (Currency::EUR, wallet),
        (Currency::EUR, debt),
        (Currency::EUR, Limit::None),
        (usd, Limit::None),
        (usd, wallet),
    ];
    let numbered = (0_u128..).zip(kinds);
    numbered.map(|(id, (currency, limit))| (AccountId(id), currency, limit)).collect()
}

fn any_account() -> impl Strategy<Value = AccountId> + Clone {
    // Mostly accounts of one currency, so that most sets get past the first checks.
    prop_oneof![12 => 0_u128..5, 2 => 5_u128..7, 1 => 7_u128..8].prop_map(AccountId)
}

fn any_key() -> impl Strategy<Value = TransferKey> + Clone {
    (0_u128..24).prop_map(TransferKey)
}

fn any_leg() -> impl Strategy<Value = Leg> {
    let hold = (any_key(), 0_u8..3).prop_map(|(key, leg)| HoldId { key, leg });
    let amount = prop_oneof![20 => 1_u128..200, 1 => Just(0)];
    // Relative to the time of the request, less one.
    let expires = prop_oneof![2 => Just(u64::MAX), 3 => 0_u64..40].prop_map(Timestamp);
    let code = Code::Correction;
    let pair = (any_account(), any_account());
    prop_oneof![
        4 => (pair.clone(), amount.clone()).prop_map(move |((debit, credit), amount)| {
            Leg::Post { debit, credit, amount, code }
        }),
        3 => (pair.clone(), amount.clone(), expires.clone()).prop_map(
            move |((debit, credit), amount, expires)| {
                Leg::Hold { debit, credit, amount, code, expires }
            }
        ),
        2 => (hold.clone(), amount.clone(), expires).prop_map(|(hold, more, expires)| {
            Leg::RaiseHold { hold, more, expires }
        }),
        4 => (hold.clone(), prop_oneof![6 => amount.clone(), 1 => Just(POST_ALL)]).prop_map(
            move |(hold, amount)| Leg::PostHold { hold, amount, code }
        ),
        1 => hold.prop_map(move |hold| Leg::VoidHold { hold, code }),
        2 => (pair.clone(), amount.clone()).prop_map(move |((debit, credit), max)| {
            Leg::Balancing { debit, credit, max, code }
        }),
        1 => (pair, amount, 0_u128..2).prop_map(move |((debit, credit), amount, rate)| {
            Leg::Convert { debit, credit, amount, code, rate: RateId(rate) }
        }),
    ]
}

/// Both sides of an exchange, as a caller would book it.
fn any_exchange() -> impl Strategy<Value = Vec<Leg>> {
    let sides = (0_u128..5, 0_u128..5, 5_u128..7, 5_u128..7, 1_u128..50, 1_u128..50);
    sides.prop_map(|(a, b, c, d, from, to)| {
        let leg = |debit, credit, amount| Leg::Convert {
            debit: AccountId(debit),
            credit: AccountId(credit),
            amount,
            code: Code::Fx,
            rate: RateId(7),
        };
        vec![leg(a, b, from), leg(c, d, to)]
    })
}

fn any_payload() -> impl Strategy<Value = Payload> {
    let code = prop_oneof![Just(Code::Refund), Just(Code::Chargeback)];
    prop_oneof![
        12 => prop::collection::vec(any_leg(), 1..3).prop_map(Payload::Legs),
        4 => prop::collection::vec(any_leg(), 0..6).prop_map(Payload::Legs),
        1 => prop::collection::vec(any_leg(), 16..20).prop_map(Payload::Legs),
        1 => any_exchange().prop_map(Payload::Legs),
        4 => (any_key(), code.clone()).prop_map(|(key, code)| Payload::Reverse(key, code)),
        6 => (any_key(), 0_u128..120, code).prop_map(|(key, amount, code)| {
            Payload::Refund(key, amount, code)
        }),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => (any_key(), any_payload(), 0_u64..30).prop_map(|(key, payload, late)| {
            Step::Request { key, payload, late }
        }),
        4 => any::<usize>().prop_map(|pick| Step::Again { pick }),
        2 => (0_usize..4).prop_map(|max| Step::Expire { max }),
        1 => any_account().prop_map(|account| Step::Close { account }),
        1 => (0_u64..20).prop_map(|ago| Step::ClosePeriod { ago }),
        4 => (0_usize..6).prop_map(|max| Step::Trim { max }),
        1 => (20_u64..90).prop_map(|days| Step::Leap { days }),
        2 => Just(Step::Restore),
    ]
}

const DAY_US: u64 = 24 * 3600 * 1_000_000;

/// Sends a request; answers what a naive ledger answers.
fn send(
    ledger: &mut Ledger,
    lines: &Store,
    stamp: Stamp,
    key: TransferKey,
    payload: &Payload,
) -> Answer {
    let lines_of = |original| lines.lines_of_set(ledger.set(original));
    let receipt = match payload {
        Payload::Legs(legs) => ledger.post(stamp, key, legs),
        Payload::Reverse(original, code) => {
            let lines = lines_of(*original);
            ledger.reverse(stamp, key, *original, &lines, *code)
        }
        Payload::Refund(original, amount, code) => {
            let lines = lines_of(*original);
            ledger.refund(stamp, key, *original, &lines, *amount, *code)
        }
    };
    let Receipt { posted, first, rows, touched } = receipt?;
    let after = touched.iter().map(|touched| (touched.id, sums_of(touched.after))).collect();
    Ok((posted, first, rows, after))
}

/// Times in legs become absolute.
fn at_time(payload: Payload, now: u64) -> Payload {
    let Payload::Legs(mut legs) = payload else { return payload };
    for leg in &mut legs {
        if let Leg::Hold { expires, .. } | Leg::RaiseHold { expires, .. } = leg
            && *expires != Timestamp::MAX
        {
            *expires = Timestamp(now + expires.0 - 1);
        }
    }
    Payload::Legs(legs)
}

/// Money everybody starts with, so that limits bind late enough.
fn opening(ledger: &mut Ledger, naive: &mut Naive) {
    for (id, currency, limit) in accounts() {
        let has_history = id.0 % 2 == 0;
        let opening = Opening { has_history, ..Opening::new(id, "a", currency, limit) };
        ledger.open_account(Timestamp(0), opening).unwrap();
        let account = NaiveAccount {
            currency,
            limit,
            has_history,
            is_closed: false,
            unbalanced_since: None,
            sums: [0; 4],
        };
        naive.accounts.insert(id, account);
    }
    let give = |debit: u128, credit: u128, amount| Leg::Post {
        debit: AccountId(debit),
        credit: AccountId(credit),
        amount,
        code: Code::Deposit,
    };
    let legs = vec![give(0, 1, 500), give(0, 2, 200), give(3, 4, 300), give(5, 6, 100)];
    let (key, payload) = (TransferKey(1_000), Payload::Legs(legs));
    let stamp = Stamp::now(0, Timestamp(0));
    let found = send(ledger, &Store::default(), stamp, key, &payload);
    assert_eq!(found, naive.request(stamp, key, &payload));
    assert!(found.is_ok_and(|(posted, ..)| posted == Posted::New));
}

/// The sets that a request means.
fn named_in(key: TransferKey, payload: &Payload) -> Vec<TransferKey> {
    let mut named = vec![key];
    match payload {
        Payload::Legs(legs) => named.extend(legs.iter().filter_map(|leg| match leg {
            Leg::RaiseHold { hold, .. }
            | Leg::PostHold { hold, .. }
            | Leg::VoidHold { hold, .. } => Some(hold.key),
            _ => None,
        })),
        Payload::Reverse(original, _) | Payload::Refund(original, ..) => named.push(*original),
    }
    named
}

fn compare(ledger: &Ledger, store: &Store, naive: &Naive) -> Result<(), TestCaseError> {
    for (id, account) in &naive.accounts {
        let found = ledger.account(*id).unwrap();
        prop_assert_eq!(sums_of(found.balances()), account.sums, "account {}", id);
        prop_assert_eq!(found.unbalanced_since, account.unbalanced_since, "account {}", id);
        prop_assert_eq!(found.is_closed, account.is_closed);
    }
    let is_open = |(_, fate): &&(Hold, Fate)| *fate == Fate::Open;
    let open: Vec<Hold> = naive.holds.values().filter(is_open).map(|(hold, _)| *hold).collect();
    let found: Vec<Hold> = ledger.holds().copied().collect();
    prop_assert_eq!(found, open);
    for key in (0..24).map(TransferKey) {
        let found = ledger.set(key).or_else(|| store.key(key));
        let found = found.map(|row| (row.first, row.rows, row.at, row.undone));
        let known = naive.sets.get(&key).map(|set| (set.first, set.rows, set.at, set.undone));
        prop_assert_eq!(found, known, "set {}", key);
    }
    Ok(())
}

/// Balances follow from the journal alone: nothing moves that is not written down.
fn replay_journal(store: &Store) -> BTreeMap<AccountId, [Amount; 4]> {
    let mut sums: BTreeMap<AccountId, [Amount; 4]> = BTreeMap::new();
    for row in &store.journal {
        for (account, held, moved) in [(row.debit, 0, 1), (row.credit, 2, 3)] {
            let sums = sums.entry(account).or_default();
            match row.kind {
                EntryKind::Posted => sums[moved] += row.amount,
                EntryKind::Held | EntryKind::HeldMore => sums[held] += row.amount,
                EntryKind::PostedHold | EntryKind::Voided | EntryKind::Expired => {
                    sums[held] -= row.amount + row.released;
                    sums[moved] += row.amount;
                }
            }
        }
    }
    sums
}

/// A ledger that is restored now and then and whose keys leave memory, one of which neither is true, and what
/// both should do.
#[derive(Default)]
struct World {
    ledger: Ledger,
    store: Store,
    twin: Ledger,
    twin_store: Store,
    naive: Naive,
    sent: Vec<(Stamp, TransferKey, Payload)>,
}

impl World {
    fn new() -> World {
        let mut world = World::default();
        opening(&mut world.ledger, &mut Naive::default());
        opening(&mut world.twin, &mut world.naive);
        world
    }

    fn request(
        &mut self,
        stamp: Stamp,
        key: TransferKey,
        payload: &Payload,
    ) -> Result<(), TestCaseError> {
        self.store.follow(&mut self.ledger);
        self.twin_store.follow(&mut self.twin);
        for named in named_in(key, payload) {
            self.store.recall(&mut self.ledger, named);
        }
        let found = send(&mut self.ledger, &self.store, stamp, key, payload);
        prop_assert_eq!(&found, &self.naive.request(stamp, key, payload));
        prop_assert_eq!(&found, &send(&mut self.twin, &self.twin_store, stamp, key, payload));
        Ok(())
    }

    fn step(&mut self, now: &mut u64, step: Step) -> Result<(), TestCaseError> {
        *now += 1;
        let at = Timestamp(*now);
        let stamp = Stamp::now(*now, at);
        match step {
            Step::Request { key, payload, late } => {
                let effective_at = Timestamp(now.saturating_sub(late));
                let stamp = Stamp { effective_at, ..stamp };
                let payload = at_time(payload, *now);
                self.request(stamp, key, &payload)?;
                self.sent.push((stamp, key, payload));
            }
            Step::Again { pick } => {
                if !self.sent.is_empty() {
                    let (_, key, payload) = self.sent[pick % self.sent.len()].clone();
                    self.request(stamp, key, &payload)?;
                }
            }
            Step::Expire { max } => {
                let found = self.ledger.expire(stamp, max);
                prop_assert_eq!(&found, &self.naive.expire(stamp, max));
                prop_assert_eq!(&found, &self.twin.expire(stamp, max));
            }
            Step::Close { account } => {
                let found = self.ledger.close_account(account);
                prop_assert_eq!(&found, &self.twin.close_account(account));
                if let Some(account) = self.naive.accounts.get_mut(&account) {
                    account.is_closed = true;
                }
            }
            Step::ClosePeriod { ago } => {
                let until = Timestamp((*now + 3).saturating_sub(ago));
                let found = self.ledger.close_period(at, until);
                prop_assert_eq!(&found, &self.naive.close_period(at, until));
                prop_assert_eq!(&found, &self.twin.close_period(at, until));
            }
            Step::Trim { max } => {
                self.store.follow(&mut self.ledger);
                self.ledger.trim_keys(max);
            }
            Step::Leap { days } => *now += days * DAY_US,
            Step::Restore => {
                self.store.follow(&mut self.ledger);
                self.ledger = self.store.restore().unwrap();
            }
        }
        compare(&self.ledger, &self.store, &self.naive)?;
        prop_assert_eq!(self.ledger.next_expiry(), self.twin.next_expiry());
        Ok(())
    }

    /// The rows say what was done, the same ones with and without restarts.
    fn finish(mut self) -> Result<(), TestCaseError> {
        self.ledger.audit().unwrap();
        self.store.follow(&mut self.ledger);
        self.twin_store.follow(&mut self.twin);
        prop_assert_eq!(&self.store.journal, &self.naive.journal);
        let mut entries = self.naive.entries.clone();
        entries.sort_by_key(|entry| (entry.account, entry.number));
        prop_assert!(self.store.entries.values().eq(&entries));
        for (id, sums) in replay_journal(&self.store) {
            prop_assert_eq!(sums, self.naive.accounts[&id].sums);
        }
        prop_assert_eq!(self.twin_store, self.store);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_ledger_does_what_a_naive_one_does(
        steps in prop::collection::vec(any_step(), 1..80),
    ) {
        let mut world = World::new();
        let mut now = 0;
        for step in steps {
            world.step(&mut now, step)?;
        }
        world.finish()?;
    }
}
