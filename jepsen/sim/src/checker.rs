//! Whether the books say what really happened.
//!
//! Pure: the truth and the rows in, findings out. Prices are worked out anew, not with the hub's code.
//!
//! 1. Every acknowledged start is one session, under the name that was acknowledged; no start has two.
//! 2. Every session comes from a start that was tried, or was promised to an app; what was promised is there.
//! 3. Every acknowledged stop of an accepted start is settled: its energy is the register's difference, its cost
//!    the price of that.
//! 4. All sessions are over and nothing is held.
//! 5. Every acknowledged meter value is in the series of its connector.
//! 6. Debits equal credits per currency, clearing is empty, what drivers and cards paid is what sessions cost and is
//!    what was shared out; each wallet is what was paid in less what its sessions cost.

use crate::truth::{Means, Transaction, Truth};
use novax_charging::{PaymentRow, SessionRow, SessionState, TransactionRef};
use novax_ledger::Account;
use novax_model::Amount;
use std::collections::{BTreeMap, BTreeSet};

/// Rows of all partitions.
#[derive(Debug, Default)]
pub struct Books {
    /// All sessions.
    pub sessions: Vec<SessionRow>,
    /// All accounts.
    pub accounts: Vec<Account>,
    /// All operations at the provider.
    pub payments: Vec<PaymentRow>,
    /// When the values of each connector's series were measured, by station and EVSE.
    pub metered: BTreeMap<(String, u16), BTreeSet<String>>,
    /// What each driver's wallet can spend.
    pub wallets: BTreeMap<String, Amount>,
}

/// Energy, fee and tax of a session, in cents, by what [`crate::client::TERMS`] says; each rounded half up.
#[must_use]
pub fn price(energy_wh: u64) -> [Amount; 3] {
    let energy = (u128::from(energy_wh) * 39_500 + 500_000) / 1_000_000;
    let tax = ((energy + 50) * 1_900 + 5_000) / 10_000;
    [energy, 50, tax]
}

/// Everything that is wrong, a sentence each.
pub fn check(truth: &Truth, books: &Books, taken: i128, findings: &mut Vec<String>) {
    let index = Index::of(books);
    for transaction in &truth.transactions {
        check_transaction(truth, transaction, &index, findings);
    }
    check_origins(truth, books, findings);
    check_ends(books, findings);
    check_series(truth, books, findings);
    check_money(truth, books, taken, findings);
}

/// Sessions by the transactions that they were.
struct Index<'a>(BTreeMap<(String, String), Vec<&'a SessionRow>>);

fn name(transaction: &TransactionRef) -> String {
    match transaction {
        TransactionRef::V16(number) => number.to_string(),
        TransactionRef::V201(name) => name.to_string(),
    }
}

impl<'a> Index<'a> {
    fn of(books: &'a Books) -> Index<'a> {
        let mut index: BTreeMap<(String, String), Vec<&SessionRow>> = BTreeMap::new();
        for session in &books.sessions {
            let segments = session.segments.iter().map(|segment| &segment.transaction);
            let names: BTreeSet<String> = segments.chain(&session.transaction).map(name).collect();
            for name in names {
                index.entry((session.identity.to_string(), name)).or_default().push(session);
            }
        }
        Index(index)
    }

    fn find(&self, station: &str, name: &str) -> &[&'a SessionRow] {
        self.0.get(&(station.to_owned(), name.to_owned())).map_or(&[], Vec::as_slice)
    }
}

fn check_transaction(
    truth: &Truth,
    of: &Transaction,
    index: &Index<'_>,
    findings: &mut Vec<String>,
) {
    let Some((name, accepted)) = &of.started else { return };
    let place = format!("{}: transaction {name}, begun {}", of.station, of.at);
    let session = match index.find(&of.station, name) {
        [session] => *session,
        // 2.x: another card on the same transaction, after a refusal, is another session; here nobody does that.
        found => {
            findings.push(format!("{place}, has {} sessions", found.len()));
            return;
        }
    };
    let driver = &truth.drivers[of.driver];
    if !accepted || !of.stopped {
        return;
    }
    if session.driver.as_ref().is_none_or(|name| name.as_str() != driver.name) {
        findings.push(format!("{place}: charged by {}, billed {}", driver.name, brief(session)));
    }
    let rejected = matches!(session.state, SessionState::Refused | SessionState::Rejected);
    if rejected && driver.means != Means::Rich {
        // It was accepted, and its money did not come: a card that was declined.
        return;
    }
    if session.state != SessionState::Settled {
        findings.push(format!("{place}: stopped, and {}", brief(session)));
        return;
    }
    if !session.segments.is_empty() {
        // Power was lost within: the parts are one session, and only the whole has a price.
        return;
    }
    let energy = of.meter_stop.unwrap_or(of.meter_start) - of.meter_start;
    if session.energy().0 != energy {
        findings.push(format!("{place}: delivered {energy} Wh, billed {}", brief(session)));
        return;
    }
    let due = price(u64::try_from(energy).unwrap_or(0));
    let charges = &session.charges;
    // What nobody promised to pay for is doubtful; of a wallet with means nothing is.
    let doubtful = session.suspect && driver.means == Means::Rich;
    if [charges.energy, charges.fee, charges.tax] != due || doubtful {
        findings.push(format!("{place}: costs {due:?} for {energy} Wh, billed {}", brief(session)));
    }
}

/// What of a session a reader of a finding needs.
fn brief(session: &SessionRow) -> String {
    let (id, state, station) = (session.session, session.state.as_str(), &session.identity);
    let name = session.transaction.as_ref().map(name);
    let (energy, charges) = (session.energy().0, &session.charges);
    let (started, reason) = (session.started, &session.reason);
    format!(
        "session {id} {state} at {station} of {:?}, transaction {name:?} begun {started}, {} to {} is {energy} Wh, \
         energy {} fee {} tax {}, owed {}, held {}, suspect {}, estimated {}, {} parts, payer {:?}, {reason:?}",
        session.driver.as_ref().map(novax_model::Identity::as_str),
        session.meter_start.map_or(-1, |register| register.0),
        session.meter_last.0,
        charges.energy,
        charges.fee,
        charges.tax,
        session.owed,
        session.held,
        session.suspect,
        session.estimated,
        session.segments.len(),
        session.payer,
    )
}

fn check_origins(truth: &Truth, books: &Books, findings: &mut Vec<String>) {
    let tried: BTreeSet<(&str, &str)> =
        truth.transactions.iter().map(|of| (of.station.as_str(), of.at.as_str())).collect();
    let mut ids = BTreeSet::new();
    let mut began = BTreeSet::new();
    for session in &books.sessions {
        if !ids.insert(session.session) {
            findings.push(format!("session {} is there twice", session.session));
        }
        let station = session.identity.as_str();
        if session.started.0 == 0 {
            if !truth.apps.contains_key(&session.session) && !session.app {
                findings.push(format!("nobody asked for {}", brief(session)));
            }
            continue;
        }
        let at = session.started.to_rfc3339();
        if !tried.contains(&(station, at.as_str())) {
            findings.push(format!("nobody started {}", brief(session)));
        }
        if !began.insert((station, at)) {
            findings.push(format!("a start has two sessions, one is {}", brief(session)));
        }
    }
    for (session, start) in &truth.apps {
        match books.sessions.iter().find(|row| row.session == *session) {
            Some(row) if row.identity.as_str() == start.station => {}
            Some(row) => findings.push(format!("{start:?} became {row:?}")),
            None => findings.push(format!("{start:?}: the promised session {session} is lost")),
        }
    }
}

fn check_ends(books: &Books, findings: &mut Vec<String>) {
    for session in &books.sessions {
        if session.state.is_live() || session.state == SessionState::Settling {
            findings.push(format!("all is quiet, and this is not over: {}", brief(session)));
        }
        if session.owed > session.charges.total() {
            findings.push(format!("more is owed than it cost: {}", brief(session)));
        }
    }
    for payment in books.payments.iter().filter(|payment| !payment.state.is_definite()) {
        findings.push(format!("all is quiet, and this is not decided: {payment:?}"));
    }
}

fn check_series(truth: &Truth, books: &Books, findings: &mut Vec<String>) {
    let none = BTreeSet::new();
    for (of, told) in &truth.metered {
        let kept = books.metered.get(of).unwrap_or(&none);
        let lost: Vec<&String> = told.difference(kept).collect();
        if let Some(first) = lost.first() {
            let ((station, evse), lost, told) = (of, lost.len(), told.len());
            findings.push(format!(
                "{station}, EVSE {evse}: {lost} of {told} meter values that were taken are lost, the first of {first}"
            ));
        }
    }
}

/// Credits less debits.
fn balance(account: &Account) -> i128 {
    let signed = |amount: Amount| i128::try_from(amount).expect("amounts are small");
    signed(account.credits_posted) - signed(account.debits_posted)
}

fn check_money(truth: &Truth, books: &Books, taken: i128, findings: &mut Vec<String>) {
    let mut totals: BTreeMap<_, [Amount; 4]> = BTreeMap::new();
    let mut kinds: BTreeMap<&str, i128> = BTreeMap::new();
    for account in &books.accounts {
        let total = totals.entry(account.currency).or_default();
        total[0] += account.debits_posted;
        total[1] += account.credits_posted;
        total[2] += account.debits_pending;
        total[3] += account.credits_pending;
        let kind = account.name.split('/').next().unwrap_or_default();
        *kinds.entry(kind).or_default() += balance(account);
    }
    for (currency, [debits, credits, held_debits, held_credits]) in totals {
        if debits != credits || held_debits + held_credits != 0 {
            findings.push(format!(
                "{currency:?}: {debits} debited, {credits} credited, {held_debits} and {held_credits} held"
            ));
        }
    }
    let kind = |name: &str| kinds.get(name).copied().unwrap_or(0);
    if kind("clearing") != 0 {
        findings.push(format!("clearing is {} instead of 0", kind("clearing")));
    }
    if -kind("psp") != taken {
        findings.push(format!("by our books the provider has {}, it has {taken}", -kind("psp")));
    }
    let cost: i128 = books.sessions.iter().map(|row| total(row.charges.total())).sum();
    let shared: i128 =
        ["operator", "site-host", "platform", "tax"].iter().map(|name| kind(name)).sum();
    if cost != shared {
        findings.push(format!("sessions cost {cost}, {shared} was shared out: {kinds:?}"));
    }
    let paid_in: i128 = truth.drivers.iter().map(|driver| total(driver.paid_in)).sum();
    let paid = paid_in - kind("driver") - kind("receivable") + taken;
    if paid != cost {
        findings.push(format!("sessions cost {cost}, {paid} was paid or is owed: {kinds:?}"));
    }
    check_wallets(truth, books, findings);
}

fn total(amount: Amount) -> i128 {
    i128::try_from(amount).expect("amounts are small")
}

fn check_wallets(truth: &Truth, books: &Books, findings: &mut Vec<String>) {
    for driver in truth.drivers.iter().filter(|driver| driver.means == Means::Rich) {
        let theirs = |row: &&SessionRow| {
            row.driver.as_ref().is_some_and(|name| name.as_str() == driver.name)
        };
        let spent: i128 =
            books.sessions.iter().filter(theirs).map(|row| total(row.charges.total())).sum();
        let left = books.wallets.get(&driver.name).copied().map(total);
        if left != Some(total(driver.paid_in) - spent) {
            let (name, paid_in) = (&driver.name, driver.paid_in);
            findings.push(format!("{name} paid in {paid_in}, spent {spent}, has {left:?}"));
        }
    }
}
