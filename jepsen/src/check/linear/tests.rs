//! Cases by hand, and random histories that stateright judges too.

use super::*;
use crate::check::models::{
    Element, ElementCall, Register, RegisterCall, SetCall, WholeSet, without_unseen_writes,
};
use crate::random::Random;
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};
use std::collections::BTreeSet;

fn timed<C>(call: C, invoked: u64, returned: impl Into<Option<u64>>) -> Timed<C> {
    Timed { call, invoked, returned: returned.into() }
}

#[track_caller]
fn check_register(calls: &[Timed<RegisterCall>], linearisable: bool) {
    let verdict = check(&Register::default(), calls, Bounds::default());
    assert_eq!(verdict.is_pass(), linearisable, "{verdict:?}");
    assert!(!matches!(verdict, Verdict::Broken { .. }), "{verdict:?}");
}

#[test]
fn a_read_sees_the_last_write_or_one_that_is_under_way() {
    use RegisterCall::{Read, Write};
    check_register(&[], true);
    check_register(&[timed(Write(1), 0, 1), timed(Read(Some(1)), 2, 3)], true);
    check_register(&[timed(Write(1), 0, 1), timed(Read(None), 2, 3)], false);
    check_register(&[timed(Write(1), 0, 3), timed(Read(None), 1, 2)], true);
    check_register(&[timed(Write(1), 0, 3), timed(Read(Some(1)), 1, 2)], true);
    // Once somebody saw it, nobody sees the old value any more.
    let seen = timed(Read(Some(1)), 1, 2);
    check_register(&[timed(Write(1), 0, 5), seen, timed(Read(None), 3, 4)], false);
}

#[test]
fn what_is_not_known_may_come_late_or_never_but_not_early() {
    use RegisterCall::{Read, Write};
    let unknown = timed(Write(1), 2, None);
    check_register(&[unknown.clone(), timed(Read(None), 3, 4)], true);
    check_register(&[unknown.clone(), timed(Read(None), 3, 4), timed(Read(Some(1)), 5, 6)], true);
    check_register(&[timed(Read(Some(1)), 0, 1), unknown.clone()], false);
    let back = [unknown, timed(Read(Some(1)), 3, 4), timed(Read(None), 5, 6)];
    check_register(&back, false);
}

#[test]
fn compare_and_set_says_what_it_found() {
    use RegisterCall::{Cas, Read, Write};
    let cas = |from, to, done| Cas { from, to, done };
    let write = timed(Write(1), 0, 1);
    check_register(&[write.clone(), timed(cas(1, 2, Some(true)), 2, 3)], true);
    check_register(&[write.clone(), timed(cas(1, 2, Some(false)), 2, 3)], false);
    check_register(&[write.clone(), timed(cas(3, 2, Some(true)), 2, 3)], false);
    // Two of them cannot both win.
    let both =
        [write.clone(), timed(cas(1, 2, Some(true)), 2, 5), timed(cas(1, 3, Some(true)), 3, 4)];
    check_register(&both, false);
    let lost = [write, timed(cas(1, 2, None), 2, None), timed(Read(Some(2)), 3, 4)];
    check_register(&lost, true);
}

#[test]
fn a_refutation_names_the_call_that_fits_nowhere() {
    use RegisterCall::{Read, Write};
    let calls = [timed(Write(1), 0, 1), timed(Write(2), 2, 3), timed(Read(Some(1)), 4, 9)];
    let Verdict::Failed { findings } = check(&Register::default(), &calls, Bounds::default())
    else {
        panic!("a stale read")
    };
    assert!(findings[0].contains("Read(Some(1)) of lines 4 to 9"), "{findings:?}");
    assert!(findings[0].contains("at best 2 calls"), "{findings:?}");
    assert!(findings[0].contains("state is Some(2)"), "{findings:?}");
}

#[test]
fn keys_are_objects_of_their_own_and_named_in_findings() {
    use RegisterCall::{Read, Write};
    let calls = [
        ("a", timed(Write(1), 0, 1)),
        ("b", timed(Read(None), 2, 3)),
        ("a", timed(Read(Some(1)), 4, 5)),
        ("b", timed(Read(Some(7)), 6, 7)),
    ];
    let verdict = check_by_key(&Register::default(), calls, Bounds::default());
    let Verdict::Failed { findings } = verdict else { panic!("nobody wrote 7") };
    assert_eq!(findings.len(), 1);
    assert!(findings[0].starts_with("\"b\": "), "{findings:?}");
}

#[test]
fn a_search_that_would_remember_too_much_says_nothing() {
    // Thirty writes at once and a value that none of them wrote.
    let mut calls: Vec<_> =
        (0..30).map(|n| timed(RegisterCall::Write(1 + n), n.cast_unsigned(), 100)).collect();
    for (number, call) in (0..).zip(&mut calls) {
        call.returned = Some(100 + number);
    }
    calls.push(timed(RegisterCall::Read(Some(99)), 50, 99));
    let bounds = Bounds { configurations_max: 10_000 };
    let verdict = check(&Register::default(), &calls, bounds);
    assert!(matches!(verdict, Verdict::Broken { .. }), "{verdict:?}");
}

#[test]
fn elements_and_whole_sets() {
    use ElementCall::{Add, Contains, Remove};
    let element = |calls: &[_]| check(&Element, calls, Bounds::default()).is_pass();
    assert!(element(&[timed(Add(None), 0, 1), timed(Contains(true), 2, 3)]));
    assert!(!element(&[timed(Add(None), 0, 1), timed(Contains(false), 2, 3)]));
    assert!(element(&[timed(Add(Some(true)), 0, 3), timed(Add(Some(false)), 1, 2)]));
    assert!(!element(&[timed(Add(Some(true)), 0, 3), timed(Add(Some(true)), 1, 2)]));
    assert!(element(&[
        timed(Add(None), 0, 1),
        timed(Remove(Some(true)), 2, 3),
        timed(Contains(false), 4, 5)
    ]));
    assert!(!element(&[timed(Remove(Some(true)), 2, 3)]));
    let read = |elements: &[i64]| SetCall::Read(elements.iter().copied().collect());
    let whole = |calls: &[_]| check(&WholeSet, calls, Bounds::default()).is_pass();
    let adds = [timed(SetCall::Add(1), 0, 9), timed(SetCall::Add(2), 1, 8)];
    assert!(whole(&[
        adds[0].clone(),
        adds[1].clone(),
        timed(read(&[1]), 2, 3),
        timed(read(&[1, 2]), 4, 5)
    ]));
    // Two readers that saw them come in different orders.
    assert!(!whole(&[
        adds[0].clone(),
        adds[1].clone(),
        timed(read(&[1]), 2, 3),
        timed(read(&[2]), 4, 5)
    ]));
}

/// The same register, as stateright wants it.
#[derive(Debug, Clone, PartialEq)]
struct Oracle(Option<i64>);

#[derive(Debug, Clone, PartialEq)]
enum OracleCall {
    Read,
    Write(i64),
    Cas(i64, i64),
}

#[derive(Debug, Clone, PartialEq)]
enum OracleAnswer {
    Value(Option<i64>),
    Done(bool),
}

impl SequentialSpec for Oracle {
    type Op = OracleCall;
    type Ret = OracleAnswer;

    fn invoke(&mut self, op: &OracleCall) -> OracleAnswer {
        match *op {
            OracleCall::Read => OracleAnswer::Value(self.0),
            OracleCall::Write(value) => {
                self.0 = Some(value);
                OracleAnswer::Done(true)
            }
            OracleCall::Cas(from, to) => {
                let fits = self.0 == Some(from);
                if fits {
                    self.0 = Some(to);
                }
                OracleAnswer::Done(fits)
            }
        }
    }
}

/// A random history of a few processes on a register whose answers are mostly, but not always, right: the calls
/// as we see them, and what stateright says of them.
fn random_history(random: &mut Random) -> (Vec<Timed<RegisterCall>>, bool) {
    let mut oracle = LinearizabilityTester::new(Oracle(None));
    let mut register = Oracle(None);
    let threads = random.between(2, 5);
    let mut open: Vec<Option<(OracleCall, u64, Option<OracleAnswer>)>> =
        (0..threads).map(|_| None).collect();
    let mut dead = vec![false; open.len()];
    let mut calls = Vec::new();
    for line in 0..random.between(6, 22) {
        let at = usize::try_from(random.between(0, threads)).expect("small");
        if dead[at] {
            continue;
        }
        match open[at].take() {
            None => {
                let value = |random: &mut Random| random.between(1, 4).cast_signed();
                let call = match random.between(0, 3) {
                    0 => OracleCall::Read,
                    1 => OracleCall::Write(value(random)),
                    _ => OracleCall::Cas(value(random), value(random)),
                };
                oracle.on_invoke(at, call.clone()).expect("free");
                open[at] = Some((call, line, None));
            }
            // Its effect, at some moment between beginning and end.
            Some((call, began, None)) => {
                let mut answer = register.invoke(&call);
                if random.one_in(12) {
                    answer = match answer {
                        OracleAnswer::Value(_) => {
                            OracleAnswer::Value(Some(random.between(1, 4).cast_signed()))
                        }
                        // A write has but one answer.
                        OracleAnswer::Done(done) if matches!(call, OracleCall::Cas(..)) => {
                            OracleAnswer::Done(!done)
                        }
                        other => other,
                    };
                }
                open[at] = Some((call, began, Some(answer)));
            }
            Some((call, began, Some(answer))) => {
                if random.one_in(8) {
                    // Never heard of again.
                    dead[at] = true;
                    calls.push(timed(seen(&call, None), began, None));
                } else {
                    oracle.on_return(at, answer.clone()).expect("called");
                    calls.push(timed(seen(&call, Some(&answer)), began, line));
                }
            }
        }
    }
    for (call, began, _) in open.into_iter().flatten() {
        calls.push(timed(seen(&call, None), began, None));
    }
    (calls, oracle.is_consistent())
}

fn seen(call: &OracleCall, answer: Option<&OracleAnswer>) -> RegisterCall {
    match (call, answer) {
        (OracleCall::Read, Some(OracleAnswer::Value(value))) => RegisterCall::Read(*value),
        (OracleCall::Read, _) => RegisterCall::Read(None),
        (OracleCall::Write(value), _) => RegisterCall::Write(*value),
        (OracleCall::Cas(from, to), answer) => {
            let done = match answer {
                Some(OracleAnswer::Done(done)) => Some(*done),
                _ => None,
            };
            RegisterCall::Cas { from: *from, to: *to, done }
        }
    }
}

#[test]
fn stateright_says_the_same_of_random_histories() {
    let mut verdicts = [0_u32; 2];
    for seed in 0..4_000 {
        let (calls, expected) = random_history(&mut Random::new(seed, 77));
        let verdict = check(&Register::default(), &calls, Bounds::default());
        assert_eq!(verdict.is_pass(), expected, "seed {seed}: {calls:#?}\n{verdict:?}");
        assert!(!matches!(verdict, Verdict::Broken { .. }), "seed {seed}");
        let pruned = without_unseen_writes(calls);
        let again = check(&Register::default(), &pruned, Bounds::default());
        assert_eq!(again.is_pass(), expected, "seed {seed}: a write that nobody saw mattered");
        verdicts[usize::from(expected)] += 1;
    }
    assert!(verdicts.iter().all(|&count| count > 400), "one-sided: {verdicts:?}");
}

/// A set of elements, as stateright wants it.
#[derive(Debug, Clone)]
struct OracleSet(BTreeSet<i64>);

impl SequentialSpec for OracleSet {
    type Op = Option<i64>;
    type Ret = Option<BTreeSet<i64>>;

    fn invoke(&mut self, op: &Option<i64>) -> Option<BTreeSet<i64>> {
        match op {
            Some(element) => {
                self.0.insert(*element);
                None
            }
            None => Some(self.0.clone()),
        }
    }
}

/// What was asked for, in which line, and what will be answered.
type OpenSetCall = (Option<i64>, u64, Option<BTreeSet<i64>>);

#[test]
fn stateright_says_the_same_of_random_sets() {
    let mut verdicts = [0_u32; 2];
    for seed in 0..1_500 {
        let mut random = Random::new(seed, 78);
        let mut oracle = LinearizabilityTester::new(OracleSet(BTreeSet::new()));
        let mut truth = OracleSet(BTreeSet::new());
        let (mut calls, mut next) = (Vec::new(), 1);
        let mut open: [Option<OpenSetCall>; 3] = [None, None, None];
        for line in 0..random.between(6, 20) {
            let at = usize::try_from(random.between(0, 3)).expect("small");
            match open[at].take() {
                None => {
                    let call = random.one_in(2).then_some(next);
                    next += i64::from(call.is_some());
                    oracle.on_invoke(at, call).expect("free");
                    let mut answer = truth.invoke(&call);
                    if let Some(read) = answer.as_mut().filter(|_| random.one_in(6)) {
                        read.pop_first();
                    }
                    open[at] = Some((call, line, answer));
                }
                Some((call, began, answer)) => {
                    oracle.on_return(at, answer.clone()).expect("called");
                    let call = match (call, answer) {
                        (Some(element), _) => SetCall::Add(element),
                        (None, read) => SetCall::Read(read.unwrap_or_default()),
                    };
                    calls.push(timed(call, began, line));
                }
            }
        }
        for (call, began, _) in open.into_iter().flatten() {
            let call = call.map_or(SetCall::Read(BTreeSet::new()), SetCall::Add);
            calls.push(timed(call, began, None));
        }
        let verdict = check(&WholeSet, &calls, Bounds::default());
        let expected = oracle.is_consistent();
        assert_eq!(verdict.is_pass(), expected, "seed {seed}: {calls:#?}\n{verdict:?}");
        verdicts[usize::from(expected)] += 1;
    }
    assert!(verdicts.iter().all(|&count| count > 150), "one-sided: {verdicts:?}");
}

#[test]
fn long_histories_of_many_clients_are_judged() {
    let mut random = Random::new(3, 9);
    let mut register = None;
    let mut calls = Vec::new();
    let mut line = 0;
    // Ten at a time, each taking effect in the order of their numbers.
    for round in 0..2_000 {
        let begins = line;
        let mut order: Vec<u64> = (0..10).collect();
        for at in (1..order.len()).rev() {
            let other = usize::try_from(random.between(0, 1 + u64::try_from(at).expect("small")));
            order.swap(at, other.expect("small"));
        }
        for number in 0..10_u64 {
            let ends = begins + 10 + order[usize::try_from(number).expect("small")];
            let call = if random.one_in(2) {
                RegisterCall::Read(register)
            } else {
                register = Some(round * 10 + number.cast_signed());
                RegisterCall::Write(register.unwrap_or_default())
            };
            calls.push(timed(call, begins + number, ends));
        }
        line += 20;
    }
    check_register(&calls, true);
    let Some(late) =
        calls.iter_mut().rev().find(|timed| matches!(timed.call, RegisterCall::Read(_)))
    else {
        panic!("reads")
    };
    late.call = RegisterCall::Read(Some(5));
    check_register(&calls, false);
}
