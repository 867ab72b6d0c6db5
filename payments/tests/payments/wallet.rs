//! The wallet behind the same seam, over books in memory whose answers get lost, beside a naive model.

use crate::world::{Working, authorise, hasty, succeeded, with};
use async_trait::async_trait;
use novax_model::{Amount, Currency, Timestamp};
use novax_payments::wallet::{BookError, Wallet, WalletBooks, WalletPayment};
use novax_payments::{
    Attempt, Knowledge, OperationId, OperationKind, Outcome, PaymentProvider, ProviderRef, Refusal,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

/// What goes wrong with one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    Nothing,
    Request,
    Reply,
    Rival,
}

#[derive(Default)]
struct Inner {
    free: Amount,
    payments: BTreeMap<OperationId, WalletPayment>,
    losses: VecDeque<Loss>,
}

/// One wallet, named `w`, in euros.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Inner>>);

impl Memory {
    fn with(free: Amount) -> Memory {
        let memory = Memory::default();
        memory.0.lock().unwrap().free = free;
        memory
    }

    /// Free, reserved, spent.
    fn balances(&self) -> (Amount, Amount, Amount) {
        let inner = self.0.lock().unwrap();
        let sum = |of: fn(&WalletPayment) -> Amount| inner.payments.values().map(of).sum();
        (inner.free, sum(WalletPayment::open), sum(WalletPayment::spent))
    }
}

#[async_trait]
impl WalletBooks for Memory {
    async fn payment(&self, operation: OperationId) -> Result<Option<WalletPayment>, String> {
        Ok(self.0.lock().unwrap().payments.get(&operation).cloned())
    }

    async fn replace(
        &self,
        old: Option<&WalletPayment>,
        new: &WalletPayment,
    ) -> Result<(), BookError> {
        let mut inner = self.0.lock().unwrap();
        let loss = inner.losses.pop_front().unwrap_or(Loss::Nothing);
        match loss {
            Loss::Request => return Err(BookError::Unknown("lost".into())),
            Loss::Rival => return Err(BookError::Changed),
            Loss::Nothing | Loss::Reply => {}
        }
        if inner.payments.get(&new.operation) != old {
            return Err(BookError::Changed);
        }
        if new.wallet.as_str() != "w" || new.currency != Currency::EUR {
            return Err(BookError::NoSuchWallet);
        }
        let bound = |payment: &WalletPayment| payment.open() + payment.spent();
        let before = old.map_or(0, bound);
        let free = (inner.free + before).checked_sub(bound(new)).ok_or(BookError::Insufficient)?;
        inner.free = free;
        inner.payments.insert(new.operation, new.clone());
        if loss == Loss::Reply { Err(BookError::Unknown("lost".into())) } else { Ok(()) }
    }

    async fn since(&self, since: Timestamp, rows_max: usize) -> Result<Vec<WalletPayment>, String> {
        let inner = self.0.lock().unwrap();
        let changed = |payment: &&WalletPayment| payment.done.iter().any(|done| done.at >= since);
        Ok(inner.payments.values().filter(changed).take(rows_max + 1).cloned().collect())
    }
}

fn refusal(attempt: &Attempt) -> Refusal {
    match attempt {
        Attempt::Answered(Outcome::Declined { refusal, .. }) => *refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_wallet_holds_takes_and_pays_back() {
    let memory = Memory::with(1000);
    let wallet = Wallet::new(memory.clone());
    let hold = authorise("w", 600);
    let Attempt::Answered(outcome) = wallet.send(&hold).await else { panic!("it answers") };
    let (payment, _) = succeeded(&outcome);
    assert_eq!(memory.balances(), (400, 600, 0));
    assert_eq!(wallet.send(&hold).await, Attempt::Answered(outcome.clone()), "once");
    assert_eq!(memory.balances(), (400, 600, 0));
    let too_much = with(OperationKind::Increment, &payment, 1001);
    assert_eq!(refusal(&wallet.send(&too_much).await), Refusal::InsufficientFunds);
    let take = with(OperationKind::Capture, &payment, 250);
    assert_eq!(wallet.query(&take).await, Knowledge::Absent);
    wallet.send(&take).await;
    assert_eq!(memory.balances(), (750, 0, 250));
    assert!(matches!(
        wallet.query(&take).await,
        Knowledge::Found(Outcome::Succeeded { amount: 250, .. })
    ));
    let again = with(OperationKind::Capture, &payment, 250);
    assert_eq!(refusal(&wallet.send(&again).await), Refusal::AlreadyCaptured);
    let back = with(OperationKind::Refund, &payment, 251);
    assert_eq!(refusal(&wallet.send(&back).await), Refusal::AmountTooLarge);
    let back = with(OperationKind::Refund, &payment, 250);
    wallet.send(&back).await;
    assert_eq!(memory.balances(), (1000, 0, 0));
    let rows = wallet.list(hold.at, 10).await.expect("a list");
    assert_eq!(rows.iter().map(|row| row.moved).collect::<Vec<_>>().len(), 2);
    let mut other = take.clone();
    other.amount = 9;
    assert_eq!(refusal(&wallet.send(&other).await), Refusal::Malformed, "an id is for one thing");
    let nobody = ProviderRef::new("pi_1").unwrap();
    let foreign = with(OperationKind::Void, &nobody, 0);
    assert_eq!(refusal(&wallet.send(&foreign).await), Refusal::NoSuchObject);
    assert_eq!(refusal(&wallet.send(&authorise("x", 5)).await), Refusal::NoSuchObject);
}

fn losses() -> impl Strategy<Value = Vec<Loss>> {
    let loss = prop_oneof![
        3 => Just(Loss::Nothing),
        1 => Just(Loss::Request),
        1 => Just(Loss::Reply),
        1 => Just(Loss::Rival),
    ];
    proptest::collection::vec(loss, 0..40)
}

/// A payment of the model: held, taken, whether it is open.
type Model = (Amount, Amount, bool);

async fn world(free: Amount, steps: Vec<(u8, usize, Amount)>, losses: Vec<Loss>) {
    let memory = Memory::with(free);
    memory.0.lock().unwrap().losses.extend(losses);
    let mut working = Working::start(Arc::new(Wallet::new(memory.clone())), hasty());
    let mut model: Vec<(ProviderRef, Model)> = Vec::new();
    let mut left = free;
    for (what, which, amount) in steps {
        let index = which % model.len().max(1);
        let kind = match (what, model.is_empty()) {
            (0 | 1, _) | (_, true) => None,
            (2, _) => Some(OperationKind::Increment),
            (3, _) => Some(OperationKind::Capture),
            (4, _) => Some(OperationKind::Void),
            _ => Some(OperationKind::Refund),
        };
        let operation = match kind {
            None => authorise("w", amount),
            Some(kind) => with(kind, &model[index].0, amount),
        };
        let outcome = working.outcome(&operation, false).await;
        let done = matches!(outcome, Outcome::Succeeded { .. });
        // The naive model: what must have come of it.
        let Some(kind) = kind else {
            assert_eq!(done, amount <= left, "{outcome:?}");
            if done {
                left -= amount;
                model.push((succeeded(&outcome).0, (amount, 0, true)));
            }
            continue;
        };
        let (held, taken, open) = &mut model[index].1;
        let fits = match kind {
            OperationKind::Increment => *open && amount.saturating_sub(*held) <= left,
            OperationKind::Capture => *open && amount <= *held,
            OperationKind::Void => *open,
            _ => !*open && amount <= *taken,
        };
        assert_eq!(done, fits, "{kind:?} {outcome:?}");
        match kind {
            _ if !done => {}
            OperationKind::Increment => {
                left -= amount.saturating_sub(*held);
                *held = amount.max(*held);
            }
            OperationKind::Capture => {
                left += *held - amount;
                (*taken, *open) = (amount, false);
            }
            OperationKind::Void => {
                left += *held;
                *open = false;
            }
            _ => {
                left += amount;
                *taken -= amount;
            }
        }
    }
    let (free_now, reserved, spent) = memory.balances();
    assert_eq!((free_now, free_now + reserved + spent), (left, free), "no money is made or lost");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn a_wallet_does_what_the_model_says_whatever_is_lost(
        free in 0_u128..2000,
        steps in proptest::collection::vec((0_u8..6, 0_usize..10, 1_u128..800), 1..15),
        losses in losses(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(world(free, steps, losses));
    }
}
