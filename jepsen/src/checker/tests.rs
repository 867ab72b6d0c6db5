//! Hand-made histories: one that is right, and one for each thing that can be wrong with it.

use super::*;
use crate::books::Account;

const STATION: &str = "s";
const PAID_IN: u64 = 10_000;

fn line(event: Event) -> Line {
    Line { at_ms: 0, event }
}

fn started(at: &str, meter_start: i64, transaction: &str) -> Event {
    Event::Started {
        station: STATION.into(),
        at: at.into(),
        meter_start,
        transaction: transaction.into(),
        status: "Accepted".into(),
    }
}

fn tried(at: &str, meter_start: i64) -> Event {
    Event::TryStart { station: STATION.into(), at: at.into(), meter_start }
}

fn session(id: &str, state: &str, transaction: &str, at: &str, energy_wh: i64) -> Session {
    Session {
        id: id.into(),
        state: state.into(),
        station: STATION.into(),
        driver: Some("anna".into()),
        transaction: Some(transaction.into()),
        started: Some(at.into()),
        energy_wh,
        cost: price(energy_wh.unsigned_abs()),
        held: 2_000,
        suspect: false,
    }
}

fn account(name: &str, debits_posted: u64, credits_posted: u64) -> Account {
    Account {
        id: format!("0.{name}"),
        name: name.into(),
        currency: "EUR".into(),
        debits_posted,
        credits_posted,
        debits_pending: 0,
        credits_pending: 0,
    }
}

/// One session ended after 10 kWh, asked for by an app; another one runs.
fn right() -> (Vec<Line>, Books) {
    let station = || STATION.to_owned();
    let history = [
        Event::Station { station: station(), driver: "anna".into(), paid_in: PAID_IN },
        Event::AppAccepted { station: station(), key: "k".into(), session: "a".into() },
        tried("t1", 500),
        started("t1", 500, "1"),
        Event::Metered { station: station(), at: "t2".into(), register: 700 },
        Event::Killed { number: 1 },
        Event::Ready { number: 1, after_ms: 5 },
        Event::Stopped { station: station(), transaction: "1".into(), meter_stop: 10_500 },
        tried("t3", 10_500),
        started("t3", 10_500, "2"),
        Event::LeftRunning { station: station(), transaction: "2".into() },
    ];
    // 395 for the energy, 50 for the session, 85 tax.
    assert_eq!(price(10_000), [395, 50, 85]);
    let mut wallet = account("driver/anna", 530, PAID_IN);
    wallet.debits_pending = 2_000;
    let mut clearing = account("clearing/p0", 530, 530);
    clearing.credits_pending = 2_000;
    let books = Books {
        sessions: vec![
            session("a", "SETTLED", "1", "t1", 10_000),
            session("b", "CHARGING", "2", "t3", 0),
        ],
        accounts: vec![
            wallet,
            clearing,
            account("funding", PAID_IN, 0),
            account("operator", 0, 379),
            account("platform", 0, 22),
            account("site-host/x", 0, 44),
            account("tax", 0, 85),
        ],
        ticks: BTreeMap::from([(station(), BTreeSet::from([("t2".to_owned(), 700)]))]),
    };
    (history.map(line).to_vec(), books)
}

/// The one finding after `spoil` has been at it must say `expected`.
#[track_caller]
fn finds(expected: &[&str], spoil: impl Fn(&mut Vec<Line>, &mut Books)) {
    let (mut history, mut books) = right();
    spoil(&mut history, &mut books);
    let findings = check(&history, &books);
    for part in expected {
        assert!(findings.iter().any(|found| found.contains(part)), "no {part:?} in {findings:#?}");
    }
    assert_eq!(findings.len(), expected.len(), "{findings:#?}");
}

#[test]
fn a_history_that_is_right_has_no_findings() {
    finds(&[], |_, _| {});
}

#[test]
fn a_try_without_an_answer_may_have_happened_or_not() {
    finds(&[], |history, _| history.push(line(tried("t9", 10_500))));
    finds(&[], |history, books| {
        // It happened, and was refused: no money moved.
        history.push(line(tried("t9", 10_500)));
        books.sessions.push(session("c", "REFUSED", "3", "t9", 0));
    });
    finds(&["session c still lives"], |history, books| {
        // It happened and lives, though its station knows of nothing that does.
        history.push(line(tried("t9", 10_500)));
        books.sessions.push(Session { held: 0, ..session("c", "CHARGING", "3", "t9", 0) });
    });
}

#[test]
fn a_lost_start_is_found() {
    finds(
        &["start of transaction 2 is lost", "the node says []", "is held of wallets"],
        |_, books| {
            books.sessions.pop();
        },
    );
}

#[test]
fn a_doubled_session_is_found() {
    finds(
        &["transaction 2 has 2 sessions", "t3 has the sessions", "the node says", "is held of"],
        |_, books| books.sessions.push(session("c", "CHARGING", "2", "t3", 0)),
    );
}

#[test]
fn a_session_from_nowhere_is_found() {
    finds(&["nobody started"], |_, books| {
        books.sessions.push(session("c", "REFUSED", "3", "t8", 0));
    });
    finds(&["neither started nor asked for"], |_, books| {
        books.sessions.push(Session {
            started: None,
            transaction: None,
            ..session("c", "EXPIRED", "", "", 0)
        });
    });
}

#[test]
fn one_start_with_two_transactions_is_found() {
    finds(&["the start at t1 got transactions 1 and 7", "transaction 7 is lost"], |history, _| {
        history.push(line(started("t1", 500, "7")));
    });
}

#[test]
fn one_transaction_for_two_starts_is_found() {
    finds(&["stands for the starts at t3 and t4", "began at t4"], |history, _| {
        history.push(line(started("t4", 10_500, "2")));
    });
}

#[test]
fn a_lost_app_session_is_found() {
    finds(&["the app's session z is lost"], |history, _| {
        let (station, key, session) = (STATION.into(), "k3".into(), "z".into());
        history.push(line(Event::AppAccepted { station, key, session }));
    });
}

#[test]
fn an_unsettled_stop_is_found() {
    finds(
        &["its session a is STOPPING", "still lives", "is held of", "was shared", "paid in"],
        |_, books| books.sessions[0].state = "STOPPING".into(),
    );
}

#[test]
fn wrong_energy_and_wrong_money_are_found() {
    finds(&["delivered 10000 Wh"], |_, books| books.sessions[0].energy_wh = 9_999);
    finds(&["costs [395, 50, 85]", "was shared", "paid in"], |_, books| {
        books.sessions[0].cost[0] = 394;
    });
}

#[test]
fn a_transaction_that_did_not_go_on_is_found() {
    finds(&["charges on; the node says [\"EXPIRED\"]", "is held of"], |_, books| {
        books.sessions[1].state = "EXPIRED".into();
    });
}

#[test]
fn a_lost_meter_value_is_found() {
    finds(&["700 Wh at t2 is lost"], |_, books| books.ticks.clear());
}

#[test]
fn money_from_nowhere_is_found() {
    finds(&["EUR: debits"], |_, books| books.accounts[2].debits_posted += 1);
    finds(&["EUR: debits", "was shared of"], |_, books| books.accounts[3].credits_posted += 1);
    finds(&["EUR: debits", "anna paid in"], |_, books| books.accounts[0].credits_posted += 1);
}

#[test]
fn a_hold_that_nobody_let_go_is_found() {
    finds(&["4000 is held of wallets, 2000 for live sessions"], |_, books| {
        books.accounts[0].debits_pending += 2_000;
        books.accounts[1].credits_pending += 2_000;
    });
}

#[test]
fn money_stuck_between_partitions_is_found() {
    finds(&["clearing is 85 instead of 0", "was shared of"], |_, books| {
        books.accounts[1].debits_posted -= 85;
        books.accounts[6].credits_posted -= 85;
    });
}

#[test]
fn what_was_wrong_while_it_happened_is_found() {
    finds(&["s: told to start for nobody"], |history, _| {
        let text = "told to start for nobody".into();
        history.push(line(Event::Wrong { station: STATION.into(), text }));
    });
}

#[test]
fn a_refused_driver_with_money_is_found() {
    finds(&["a funded driver was refused: Blocked"], |history, _| {
        for line in history {
            if let Event::Started { status, transaction, .. } = &mut line.event
                && transaction == "2"
            {
                *status = "Blocked".into();
            }
        }
    });
}
