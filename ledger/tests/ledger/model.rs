//! The ledger against a naive one that copies everything and remembers everything.

use std::collections::BTreeMap;

use novax_ledger::{
    Code, EntryKind, Hold, HoldId, LEGS_MAX, Ledger, LedgerError, Leg, Limit, Posted, SplitRule,
    Tariff,
};
use novax_model::{AccountId, Amount, Currency, Timestamp, TransferKey, WattHours};
use proptest::prelude::*;

use crate::store::Store;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Fate {
    Open,
    Posted,
    Voided,
    Expired,
}

#[derive(Clone, Debug)]
struct NaiveAccount {
    currency: Currency,
    limit: Limit,
    /// Held to debit, debited, held to credit, credited.
    sums: [Amount; 4],
}

#[derive(Clone, Debug, Default)]
struct Naive {
    accounts: BTreeMap<AccountId, NaiveAccount>,
    holds: BTreeMap<HoldId, (Hold, Fate)>,
    payloads: BTreeMap<TransferKey, Vec<Leg>>,
}

impl Naive {
    fn post(
        &mut self,
        at: Timestamp,
        key: TransferKey,
        legs: &[Leg],
    ) -> Result<Posted, LedgerError> {
        if legs.is_empty() {
            return Err(LedgerError::NoLegs);
        }
        if legs.len() > LEGS_MAX {
            return Err(LedgerError::TooManyLegs(legs.len()));
        }
        if let Some(known) = self.payloads.get(&key) {
            return if known == legs {
                Ok(Posted::Repeat)
            } else {
                Err(LedgerError::KeyReused(key))
            };
        }
        let mut next = self.clone();
        for (number, leg) in legs.iter().enumerate() {
            let number = u8::try_from(number).unwrap();
            match *leg {
                Leg::Post { debit, credit, amount, .. } => {
                    next.check(debit, credit, amount)?;
                    next.add(debit, 1, amount);
                    next.add(credit, 3, amount);
                }
                Leg::Hold { debit, credit, amount, code, expires } => {
                    if expires <= at {
                        return Err(LedgerError::ExpiresInPast);
                    }
                    next.check(debit, credit, amount)?;
                    next.add(debit, 0, amount);
                    next.add(credit, 2, amount);
                    let hold = Hold {
                        key,
                        leg: number,
                        debit,
                        credit,
                        amount,
                        code,
                        created: at,
                        expires,
                    };
                    next.holds.insert(hold.id(), (hold, Fate::Open));
                }
                Leg::PostHold { hold, amount, .. } => next.resolve(at, hold, amount)?,
                Leg::VoidHold { hold, .. } => next.resolve(at, hold, 0)?,
            }
        }
        next.payloads.insert(key, legs.to_vec());
        *self = next;
        Ok(Posted::New)
    }

    fn check(
        &self,
        debit: AccountId,
        credit: AccountId,
        amount: Amount,
    ) -> Result<(), LedgerError> {
        if debit == credit {
            return Err(LedgerError::SameAccount(debit));
        }
        let giver = self.accounts.get(&debit).ok_or(LedgerError::AccountMissing(debit))?;
        let taker = self.accounts.get(&credit).ok_or(LedgerError::AccountMissing(credit))?;
        if giver.currency != taker.currency {
            let (debit, credit) = (giver.currency, taker.currency);
            return Err(LedgerError::CurrencyDiffers { debit, credit });
        }
        if amount == 0 {
            return Err(LedgerError::ZeroAmount);
        }
        let refuse = |account, room: i128| {
            let available = Amount::try_from(room).unwrap_or(0);
            LedgerError::LimitExceeded { account, available, required: amount }
        };
        let signed = |sums: [Amount; 4]| sums.map(|sum| i128::try_from(sum).unwrap());
        let [held, debited, _, credited] = signed(giver.sums);
        let room = credited - debited - held;
        if giver.limit == Limit::DebitsMustNotExceedCredits && amount.cast_signed() > room {
            return Err(refuse(debit, room));
        }
        let [_, debited, held, credited] = signed(taker.sums);
        let room = debited - credited - held;
        if taker.limit == Limit::CreditsMustNotExceedDebits && amount.cast_signed() > room {
            return Err(refuse(credit, room));
        }
        Ok(())
    }

    fn add(&mut self, account: AccountId, sum: usize, amount: Amount) {
        self.accounts.get_mut(&account).unwrap().sums[sum] += amount;
    }

    fn end(&mut self, id: HoldId, fate: Fate) -> Hold {
        let (hold, known) = self.holds.get_mut(&id).unwrap();
        assert_eq!(*known, Fate::Open);
        *known = fate;
        let hold = *hold;
        self.accounts.get_mut(&hold.debit).unwrap().sums[0] -= hold.amount;
        self.accounts.get_mut(&hold.credit).unwrap().sums[2] -= hold.amount;
        hold
    }

    fn resolve(&mut self, at: Timestamp, id: HoldId, amount: Amount) -> Result<(), LedgerError> {
        let (hold, fate) = self.holds.get(&id).ok_or(LedgerError::HoldMissing(id))?;
        match fate {
            Fate::Posted => return Err(LedgerError::HoldAlreadyPosted(id)),
            Fate::Voided => return Err(LedgerError::HoldAlreadyVoided(id)),
            Fate::Expired => return Err(LedgerError::HoldExpired(id)),
            Fate::Open if hold.expires <= at => return Err(LedgerError::HoldExpired(id)),
            Fate::Open => {}
        }
        if amount > hold.amount {
            let (held, required) = (hold.amount, amount);
            return Err(LedgerError::ExceedsHold { hold: id, held, required });
        }
        let hold = self.end(id, if amount == 0 { Fate::Voided } else { Fate::Posted });
        self.add(hold.debit, 1, amount);
        self.add(hold.credit, 3, amount);
        Ok(())
    }

    fn expire(&mut self, now: Timestamp, max: usize) -> Vec<HoldId> {
        let mut due: Vec<(Timestamp, HoldId)> = self
            .holds
            .iter()
            .filter(|(_, (hold, fate))| *fate == Fate::Open && hold.expires <= now)
            .filter(|(_, (hold, _))| hold.expires != Timestamp::MAX)
            .map(|(id, (hold, _))| (hold.expires, *id))
            .collect();
        due.sort();
        due.truncate(max);
        due.iter().map(|(_, id)| self.end(*id, Fate::Expired).id()).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Post { key: TransferKey, legs: Vec<Leg> },
    Expire { max: usize },
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

fn any_leg() -> impl Strategy<Value = Leg> {
    let hold = (0_u128..24, 0_u8..3).prop_map(|(key, leg)| HoldId { key: TransferKey(key), leg });
    let amount = prop_oneof![20 => 1_u128..200, 1 => Just(0)];
    let expires = prop_oneof![2 => Just(u64::MAX), 3 => 0_u64..120].prop_map(Timestamp);
    let code = Code::Correction;
    let pair = (any_account(), any_account());
    prop_oneof![
        4 => (pair.clone(), amount.clone()).prop_map(move |((debit, credit), amount)| {
            Leg::Post { debit, credit, amount, code }
        }),
        3 => (pair, amount.clone(), expires).prop_map(
            move |((debit, credit), amount, expires)| {
                Leg::Hold { debit, credit, amount, code, expires }
            }
        ),
        4 => (hold.clone(), amount).prop_map(move |(hold, amount)| {
            Leg::PostHold { hold, amount, code }
        }),
        1 => hold.prop_map(move |hold| Leg::VoidHold { hold, code }),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let legs = prop_oneof![
        6 => prop::collection::vec(any_leg(), 1..3),
        2 => prop::collection::vec(any_leg(), 0..6),
    ];
    prop_oneof![
        20 => (0_u128..24, legs).prop_map(|(key, legs)| Step::Post { key: TransferKey(key), legs }),
        2 => (0_usize..4).prop_map(|max| Step::Expire { max }),
        1 => Just(Step::Restore),
    ]
}

/// Money everybody starts with, so that limits bind late enough.
fn opening(ledger: &mut Ledger, naive: &mut Naive) {
    for (id, currency, limit) in accounts() {
        ledger.open_account(id, "a", currency, limit).unwrap();
        naive.accounts.insert(id, NaiveAccount { currency, limit, sums: [0; 4] });
    }
    let give = |debit: u128, credit: u128, amount| Leg::Post {
        debit: AccountId(debit),
        credit: AccountId(credit),
        amount,
        code: Code::Deposit,
    };
    let legs = [give(0, 1, 500), give(0, 2, 200), give(3, 4, 300), give(5, 6, 100)];
    let key = TransferKey(1_000);
    assert_eq!(ledger.post(Timestamp(0), Timestamp(0), key, &legs), Ok(Posted::New));
    assert_eq!(naive.post(Timestamp(0), key, &legs), Ok(Posted::New));
}

fn compare(ledger: &Ledger, naive: &Naive) -> Result<(), TestCaseError> {
    for (id, account) in &naive.accounts {
        let found = ledger.account(*id).unwrap();
        let sums = [
            found.debits_pending,
            found.debits_posted,
            found.credits_pending,
            found.credits_posted,
        ];
        prop_assert_eq!(sums, account.sums, "account {}", id);
    }
    let open: Vec<Hold> = naive
        .holds
        .values()
        .filter(|(_, fate)| *fate == Fate::Open)
        .map(|(hold, _)| *hold)
        .collect();
    let found: Vec<Hold> = ledger.holds().copied().collect();
    prop_assert_eq!(found, open);
    Ok(())
}

/// Balances follow from the journal alone: nothing moves that is not written down.
fn replay_journal(store: &Store) -> BTreeMap<AccountId, [Amount; 4]> {
    let mut sums: BTreeMap<AccountId, [Amount; 4]> = BTreeMap::new();
    for row in &store.journal {
        let given_back = row.amount + row.released;
        let debit = sums.entry(row.debit).or_default();
        match row.kind {
            EntryKind::Posted => debit[1] += row.amount,
            EntryKind::Held => debit[0] += row.amount,
            EntryKind::PostedHold | EntryKind::Voided | EntryKind::Expired => {
                debit[0] -= given_back;
                debit[1] += row.amount;
            }
        }
        let credit = sums.entry(row.credit).or_default();
        match row.kind {
            EntryKind::Posted => credit[3] += row.amount,
            EntryKind::Held => credit[2] += row.amount,
            EntryKind::PostedHold | EntryKind::Voided | EntryKind::Expired => {
                credit[2] -= given_back;
                credit[3] += row.amount;
            }
        }
    }
    sums
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_ledger_does_what_a_naive_one_does(steps in prop::collection::vec(any_step(), 1..60)) {
        let (mut ledger, mut naive, mut store) = (Ledger::new(), Naive::default(), Store::default());
        opening(&mut ledger, &mut naive);
        let mut twin = Ledger::new();
        opening(&mut twin, &mut Naive::default());
        for (now, step) in (1..).zip(steps) {
            let now = Timestamp(now);
            match step {
                Step::Post { key, legs } => {
                    let found = ledger.post(now, now, key, &legs);
                    prop_assert_eq!(&found, &naive.post(now, key, &legs));
                    prop_assert_eq!(&found, &twin.post(now, now, key, &legs));
                }
                Step::Expire { max } => {
                    let found = ledger.expire(now, max);
                    prop_assert_eq!(&found, &naive.expire(now, max));
                    prop_assert_eq!(&found, &twin.expire(now, max));
                }
                Step::Restore => {
                    store.write(ledger.take_changes());
                    ledger = store.restore().unwrap();
                }
            }
            compare(&ledger, &naive)?;
            prop_assert_eq!(ledger.next_expiry(), twin.next_expiry());
        }
        ledger.audit().unwrap();
        store.write(ledger.take_changes());
        for (id, sums) in replay_journal(&store) {
            prop_assert_eq!(sums, naive.accounts[&id].sums);
        }
        // The twin was never restored, and its changes were taken once: the rows are the same.
        let mut straight = Store::default();
        straight.write(twin.take_changes());
        prop_assert_eq!(straight, store);
    }

    #[test]
    fn a_split_loses_nothing_and_is_fair_to_a_minor_unit(
        site in 0_u32..=10_000, rest in 0_u32..=10_000, net in any::<u128>(), small in any::<bool>(),
    ) {
        let net = if small { net % 100_000 } else { net };
        let platform = rest.min(10_000 - site);
        let rule = SplitRule { site_host_basis_points: site, platform_basis_points: platform };
        let shares = rule.split(net);
        prop_assert_eq!(shares.site_host + shares.operator + shares.platform, net);
        if small {
            for (share, points) in [
                (shares.site_host, site),
                (shares.platform, platform),
                (shares.operator, 10_000 - site - platform),
            ] {
                // Less than one minor unit from the exact share.
                let exact = net * u128::from(points);
                prop_assert!((share * 10_000).abs_diff(exact) < 10_000);
            }
        }
    }

    #[test]
    fn any_tariff_rates_any_energy_without_panic(
        price in any::<u64>(), fee in any::<u128>(), tax in any::<u32>(), energy in any::<i64>(),
    ) {
        let tariff = Tariff {
            currency: Currency::EUR,
            energy_millis_per_kwh: price,
            session_fee: fee,
            tax_basis_points: tax,
            hold: 0,
        };
        let charges = tariff.rate(WattHours(energy));
        prop_assert_eq!(charges.total(), charges.energy + charges.fee + charges.tax);
    }

    #[test]
    fn more_energy_never_costs_less(
        price in 0_u64..1_000_000, a in 0_i64..1_000_000, b in 0_i64..1_000_000,
    ) {
        let tariff = Tariff {
            currency: Currency::EUR,
            energy_millis_per_kwh: price,
            session_fee: 50,
            tax_basis_points: 1_900,
            hold: 0,
        };
        let (less, more) = (tariff.rate(WattHours(a.min(b))), tariff.rate(WattHours(a.max(b))));
        prop_assert!(less.total() <= more.total());
        // Rounded once: within half a minor unit of the exact price.
        let exact = u128::from(price) * u128::from(a.max(b).cast_unsigned());
        prop_assert!((more.energy * 1_000_000).abs_diff(exact) <= 500_000);
    }
}
