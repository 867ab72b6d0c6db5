use super::*;
use crate::random::Random;

type Asked = Request<Money, Booked>;

fn deposit(to: &str, amount: i128) -> Money {
    Money::Transfer { from: "bank".to_owned(), to: to.to_owned(), amount }
}

fn replied(key: &str, to: &str, amount: i128, invoked: u64, at: u64, available: i128) -> Asked {
    let reply = Booked::Available(available);
    let ended = Ended::Replied { at, place: None, reply };
    Request { key: key.to_owned(), command: deposit(to, amount), invoked, ended }
}

fn line(place: u64, request: &Asked) -> Line<Money> {
    Line { place, key: request.key.clone(), command: request.command.clone() }
}

#[track_caller]
fn check_finds(requests: &[Asked], journal: &[Line<Money>], words: &str) {
    let Verdict::Failed { findings } = check(NaiveLedger::default(), requests, journal) else {
        panic!("nothing found: {words}")
    };
    assert!(findings.iter().any(|finding| finding.contains(words)), "{words}: {findings:#?}");
}

#[test]
fn each_of_the_rules_is_checked() {
    let first = replied("a", "anna", 5, 0, 1, 5);
    let second = replied("b", "anna", 7, 2, 3, 12);
    let both = [first.clone(), second.clone()];
    let good = [line(4, &first), line(9, &second)];
    assert!(check(NaiveLedger::default(), &both, &good).is_pass());
    // 1: the journal's order is not that of time, though the replies would fit it.
    let early = [replied("a", "anna", 5, 0, 1, 12), replied("b", "anna", 7, 2, 3, 7)];
    let turned = [line(4, &early[1]), line(9, &early[0])];
    check_finds(
        &early,
        &turned,
        "\"a\" was answered before \"b\" was asked for, and stands after it",
    );
    // Overlapping, that order is right.
    let overlap = [replied("a", "anna", 5, 0, 3, 12), replied("b", "anna", 7, 1, 2, 7)];
    assert!(check(NaiveLedger::default(), &overlap, &turned).is_pass());
    // 2: an answer that the journal does not explain.
    let wrong = replied("b", "anna", 7, 2, 3, 7);
    check_finds(
        &[first.clone(), wrong.clone()],
        &good,
        "replaying the journal gives Available(12)",
    );
    // 3: done twice.
    let twice = [line(4, &first), line(5, &first), line(9, &second)];
    check_finds(&both, &twice, "\"a\" was done twice, at 4 and at 5");
    // 4: lost, and out of nowhere.
    check_finds(&both, &good[..1], "\"b\" was acknowledged");
    check_finds(&both[..1], &good, "nobody asked for \"b\"");
    // 5: refused, yet done.
    let refused = Asked { ended: Ended::Refused, ..first.clone() };
    check_finds(&[refused, second.clone()], &good, "\"a\" was refused");
    // The journal itself.
    let back = [line(9, &first), line(4, &second)];
    check_finds(&both, &back, "the journal goes back");
    let other = Line { command: deposit("anna", 6), ..good[0].clone() };
    check_finds(&both[..1], &[other], "\"a\" asked for");
    let Ended::Replied { at, reply, .. } = first.ended.clone() else { panic!("replied") };
    let elsewhere = Asked { ended: Ended::Replied { at, place: Some(5), reply }, ..first };
    check_finds(&[elsewhere, second], &good, "\"a\" was said to be at 5, and is at 4");
}

#[test]
fn what_is_not_known_may_be_there_once_or_not_at_all() {
    let known = replied("a", "anna", 5, 0, 1, 5);
    let unknown = Asked { ended: Ended::Unknown, ..replied("b", "anna", 7, 2, 3, 0) };
    let both = [known.clone(), unknown.clone()];
    let without = [line(1, &known)];
    let with = [line(1, &known), line(2, &unknown)];
    assert!(check(NaiveLedger::default(), &both, &without).is_pass());
    assert!(check(NaiveLedger::default(), &both, &with).is_pass());
    let twice = [line(1, &known), line(2, &unknown), line(3, &unknown)];
    check_finds(&both, &twice, "\"b\" was done twice");
    // It cannot have been done before it was asked for.
    let early = [line(1, &unknown), line(2, &replied("a", "anna", 5, 0, 1, 12))];
    check_finds(&[replied("a", "anna", 5, 0, 1, 12), unknown], &early, "stands after it");
    let again = [known.clone(), known];
    assert!(!check(NaiveLedger::default(), &again, &[]).is_pass());
}

#[test]
fn the_naive_ledger_holds_posts_voids_and_refuses() {
    let mut ledger = NaiveLedger::with_bounded(["anna".to_owned()]);
    let hold = |name: &str, amount| Money::Hold {
        hold: name.to_owned(),
        from: "anna".to_owned(),
        to: "site".to_owned(),
        amount,
    };
    let post = |amount| Money::Post { hold: "h".to_owned(), amount };
    assert_eq!(ledger.apply(&hold("h", 1)), Booked::Refused("not enough"));
    assert_eq!(ledger.apply(&deposit("anna", 100)), Booked::Available(100));
    assert_eq!(ledger.apply(&deposit("anna", 0)), Booked::Refused("nothing to book"));
    assert_eq!(ledger.apply(&hold("h", 60)), Booked::Available(40));
    assert_eq!(ledger.apply(&hold("h", 1)), Booked::Refused("held already"));
    assert_eq!(ledger.apply(&hold("g", 41)), Booked::Refused("not enough"));
    assert_eq!(ledger.apply(&hold("g", 40)), Booked::Available(0));
    assert_eq!(ledger.apply(&post(61)), Booked::Refused("more than was held"));
    assert_eq!(ledger.apply(&post(25)), Booked::Available(35));
    assert_eq!(ledger.apply(&post(25)), Booked::Refused("no such hold"));
    assert_eq!(ledger.apply(&Money::Void { hold: "g".to_owned() }), Booked::Available(75));
    assert_eq!(
        ledger.apply(&Money::Void { hold: "g".to_owned() }),
        Booked::Refused("no such hold")
    );
    assert_eq!((ledger.total(), ledger.available("site"), ledger.available("bank")), (0, 25, -100));
}

/// A history of clients whose calls overlap, done in order by the naive ledger itself.
fn honest(seed: u64, count: u64) -> (Vec<Asked>, Vec<Line<Money>>) {
    let mut random = Random::new(seed, 5);
    let mut ledger = NaiveLedger::default();
    let (mut requests, mut journal) = (Vec::new(), Vec::new());
    for number in 0..count {
        // Number n takes effect at 100 n; it begins up to 450 before and ends up to 450 after.
        let effect = 1_000 + 100 * number;
        let command =
            deposit(&format!("d{}", random.between(0, 3)), i128::from(random.between(1, 50)));
        let key = format!("k{number}");
        let invoked = effect - random.between(1, 450);
        let kind = random.between(0, 10);
        if kind > 0 {
            let reply = ledger.apply(&command);
            let place = journal.len() as u64 * 2;
            journal.push(Line { place, key: key.clone(), command: command.clone() });
            let at = effect + random.between(1, 450);
            let ended = match kind {
                1 => Ended::Unknown,
                2 => Ended::Replied { at, place: Some(place), reply },
                _ => Ended::Replied { at, place: None, reply },
            };
            requests.push(Request { key, command, invoked, ended });
        } else {
            let ended = if random.one_in(2) { Ended::Unknown } else { Ended::Refused };
            requests.push(Request { key, command, invoked, ended });
        }
    }
    (requests, journal)
}

#[test]
fn honest_ledgers_pass_and_every_kind_of_lie_is_found() {
    for seed in 0..60 {
        let (requests, journal) = honest(seed, 60);
        let judged = |requests: &[Asked], journal: &[Line<Money>]| {
            check(NaiveLedger::default(), requests, journal)
        };
        assert!(judged(&requests, &journal).is_pass(), "{seed}: {:?}", judged(&requests, &journal));
        let mut random = Random::new(seed, 6);
        // Of the second half, so that what a line adds is seen in an answer after it.
        let acked: Vec<usize> = (0..journal.len())
            .filter(|&at| {
                let key = &journal[at].key;
                let of = requests.iter().find(|request| request.key == *key);
                of.is_some_and(|request| matches!(request.ended, Ended::Replied { .. }))
            })
            .collect();
        let pick = random.between(0, acked.len() as u64);
        let at = acked[usize::try_from(pick).expect("small")];
        let mut lost = journal.clone();
        lost.remove(at);
        assert!(!judged(&requests, &lost).is_pass(), "{seed}: a lost line");
        let mut doubled = journal.clone();
        let copy = Line { place: journal.len() as u64 * 2 + 1, ..journal[at].clone() };
        doubled.push(copy);
        assert!(!judged(&requests, &doubled).is_pass(), "{seed}: a doubled line");
        let mut late = journal.clone();
        let moved = late.remove(0);
        late.push(Line { place: journal.len() as u64 * 2 + 1, ..moved });
        assert!(!judged(&requests, &late).is_pass(), "{seed}: a line out of its time");
        let mut changed = requests.clone();
        let key = &journal[at].key;
        let request = changed.iter_mut().find(|request| request.key == *key).expect("asked");
        if let Ended::Replied { reply: Booked::Available(sum), .. } = &mut request.ended {
            *sum += 1;
        }
        assert!(!judged(&changed, &journal).is_pass(), "{seed}: a cent too much");
    }
}

#[test]
fn a_hundred_thousand_lines_are_judged_at_once() {
    let (requests, journal) = honest(1, 100_000);
    assert!(check(NaiveLedger::default(), &requests, &journal).is_pass());
}
