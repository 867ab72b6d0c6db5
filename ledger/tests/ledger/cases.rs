//! The cases of `testdata/`, which people can read.

use std::collections::BTreeSet;

use novax_ledger::{
    Code, HoldId, Ledger, LedgerError, Leg, Limit, Opening, POST_ALL, Posted, RateId, Receipt,
    Stamp, fingerprint,
};
use novax_model::{AccountId, Amount, Currency, Timestamp, TransferKey};

use crate::naive::sums_of;
use crate::store::Store;

/// Numbered lines that are neither blank nor comments, apart at `=>`.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    let numbered = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(|(number, line)| {
        let (left, right) = line.split_once("=>").unwrap_or((line, ""));
        (number, left.trim(), right.trim())
    })
}

#[test]
fn fingerprints_are_fixed_for_ever() {
    let account = |name: &str| AccountId(u128::from_str_radix(name, 16).unwrap());
    let (mut found, mut expected) = (Vec::new(), Vec::new());
    for (_, left, right) in lines(include_str!("../../testdata/fingerprint.txt")) {
        let legs = parse_legs(left, &account);
        found.push(format!("{left} => {:016x}", fingerprint(&legs)));
        expected.push(format!("{left} => {right}"));
    }
    assert_eq!(found, expected);
    assert!(found.len() >= 8, "the cases were read");
    // Each field counts: no two are alike.
    let fingerprints: BTreeSet<&str> =
        found.iter().filter_map(|line| line.split("=> ").nth(1)).collect();
    assert_eq!(fingerprints.len(), found.len());
}

#[test]
fn transfers_go_as_the_cases_say() {
    run_transfers(false);
}

#[test]
fn a_ledger_restored_after_each_step_answers_the_same() {
    run_transfers(true);
}

fn run_transfers(restores: bool) {
    let mut count = 0;
    let mut case = None;
    for (number, left, expected) in lines(include_str!("../../testdata/transfers.txt")) {
        if left.starts_with("case:") {
            case = Some(Case::default());
            count += 1;
            continue;
        }
        let case = case.as_mut().expect("a step belongs to a case");
        assert_eq!(case.step(left), expected, "line {number}");
        case.store.follow(&mut case.ledger);
        case.ledger.audit().unwrap();
        if restores {
            case.ledger = case.store.restore().unwrap();
        }
    }
    assert!(count >= 15, "the cases were read");
}

#[derive(Default)]
struct Case {
    ledger: Ledger,
    store: Store,
    names: Vec<String>,
}

impl Case {
    fn id(names: &[String], name: &str) -> AccountId {
        let place = names.iter().position(|known| known == name);
        AccountId(place.map_or(u128::MAX, |place| place as u128 + 1))
    }

    fn step(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["open", name, currency] => self.open(name, currency, Limit::None, false),
            ["open", name, currency, "debits<=credits"] => {
                self.open(name, currency, Limit::DebitsMustNotExceedCredits, false)
            }
            ["open", name, currency, "debits<=credits,", "history"] => {
                self.open(name, currency, Limit::DebitsMustNotExceedCredits, true)
            }
            ["open", name, currency, "credits<=debits"] => {
                self.open(name, currency, Limit::CreditsMustNotExceedDebits, false)
            }
            ["close", name] => {
                let closed = self.ledger.close_account(Self::id(&self.names, name));
                closed.map_or_else(|error| describe(&error), |()| "ok".into())
            }
            ["close", "period", "until", until, "at", now] => {
                let (now, until) = (parse_time(now), parse_time(until));
                let closed = self.ledger.close_period(now, until);
                closed.map_or_else(|error| describe(&error), |()| "ok".into())
            }
            ["value", key] => self.value(parse_key(key)),
            ["statement", name] => self.statement(Self::id(&self.names, name)),
            ["lies", "on", name] => {
                let account = self.ledger.account(Self::id(&self.names, name)).unwrap();
                let since = account.unbalanced_since;
                since.map_or("nothing".into(), |at| format!("since {}", at.0))
            }
            ["balance", name] => {
                let account = self.ledger.account(Self::id(&self.names, name)).unwrap();
                format!(
                    "{} {} {} {}; {}",
                    account.debits_pending,
                    account.debits_posted,
                    account.credits_pending,
                    account.credits_posted,
                    account.available(),
                )
            }
            ["expire", now, "at", "most", max] => {
                let now = Timestamp(now.parse().unwrap());
                let expired = self.ledger.expire(Stamp::now(0, now), max.parse().unwrap());
                let texts: Vec<String> =
                    expired.iter().map(|id| format!("k{}/{}", id.key.0, id.leg)).collect();
                if texts.is_empty() { "none".into() } else { texts.join(" ") }
            }
            [at, "post", key, "for", effective_at, ..] => {
                let effective_at = parse_time(effective_at.trim_end_matches(':'));
                let stamp = Stamp { effective_at, ..Stamp::now(0, parse_time(at)) };
                self.post(stamp, key, line)
            }
            [at, "post", key, ..] => self.post(Stamp::now(0, parse_time(at)), key, line),
            [at, "reverse", key, "of", original, code] => {
                let original = parse_key(original);
                let lines = self.store.lines_of_set(self.ledger.set(original));
                let (stamp, key) = (Stamp::now(0, parse_time(at)), parse_key(key));
                let code = parse_code(code);
                answer(self.ledger.reverse(stamp, key, original, &lines, code))
            }
            [at, "refund", key, "of", original, amount, code] => {
                let original = parse_key(original);
                let lines = self.store.lines_of_set(self.ledger.set(original));
                let (stamp, key) = (Stamp::now(0, parse_time(at)), parse_key(key));
                let (amount, code) = (parse_amount(amount), parse_code(code));
                answer(self.ledger.refund(stamp, key, original, &lines, amount, code))
            }
            _ => panic!("no such step: {line}"),
        }
    }

    fn post(&mut self, stamp: Stamp, key: &str, line: &str) -> String {
        let (_, legs) = line.split_once(':').unwrap();
        let legs = parse_legs(legs, &|name: &str| Self::id(&self.names, name));
        answer(self.ledger.post(stamp, parse_key(key.trim_end_matches(':')), &legs))
    }

    /// When the rows of a set count, and what was stated where that is another time.
    fn value(&self, key: TransferKey) -> String {
        let lines = self.store.lines_of_set(self.ledger.set(key));
        let times: BTreeSet<(u64, u64)> =
            lines.iter().map(|row| (row.effective_at.0, row.stated_at.0)).collect();
        let texts = times.into_iter().map(|(effective, stated)| {
            if effective == stated {
                format!("counts from {effective}")
            } else {
                format!("counts from {effective}, stated {stated}")
            }
        });
        texts.collect::<Vec<_>>().join(" | ")
    }

    fn statement(&self, account: AccountId) -> String {
        let of_account = self.store.entries.range((account, 0)..=(account, u64::MAX));
        let texts: Vec<String> = of_account
            .map(|((_, number), entry)| {
                let [a, b, c, d] = sums_of(entry.balances);
                format!("{number}: {a} {b} {c} {d}")
            })
            .collect();
        if texts.is_empty() { "none".into() } else { texts.join(" | ") }
    }

    fn open(&mut self, name: &str, currency: &str, limit: Limit, has_history: bool) -> String {
        if !self.names.iter().any(|known| known == name) {
            self.names.push(name.into());
        }
        let id = Self::id(&self.names, name);
        let currency = Currency::new(currency).unwrap();
        let opening = Opening { has_history, ..Opening::new(id, name, currency, limit) };
        match self.ledger.open_account(Timestamp(0), opening) {
            Ok(()) => "ok".into(),
            Err(error) => describe(&error),
        }
    }
}

fn answer(receipt: Result<Receipt<'_>, LedgerError>) -> String {
    match receipt.map(|receipt| receipt.posted) {
        Ok(Posted::New) => "new".into(),
        Ok(Posted::Repeat) => "repeat".into(),
        Err(error) => describe(&error),
    }
}

/// The name of the variant, and the figures of a limit.
fn describe(error: &LedgerError) -> String {
    if let LedgerError::LimitExceeded { available, required, .. } = error {
        return format!("LimitExceeded available {available} required {required}");
    }
    let debug = format!("{error:?}");
    debug.split(|c: char| !c.is_alphanumeric()).next().unwrap().into()
}

fn parse_time(text: &str) -> Timestamp {
    if text == "never" { Timestamp::MAX } else { Timestamp(text.parse().unwrap()) }
}

fn parse_amount(text: &str) -> Amount {
    if text == "all" { POST_ALL } else { text.parse().unwrap() }
}

fn parse_key(text: &str) -> TransferKey {
    TransferKey(text.strip_prefix('k').unwrap().parse().unwrap())
}

fn parse_hold(text: &str) -> HoldId {
    let (key, leg) = text.split_once('/').unwrap();
    HoldId { key: parse_key(key), leg: leg.parse().unwrap() }
}

fn parse_code(text: &str) -> Code {
    *Code::ALL.iter().find(|code| code.as_str() == text).unwrap_or_else(|| panic!("code {text}"))
}

fn parse_legs(text: &str, account: &dyn Fn(&str) -> AccountId) -> Vec<Leg> {
    let texts = text.split(';').map(str::trim).filter(|text| !text.is_empty());
    texts.map(|text| parse_leg(text, account)).collect()
}

fn parse_leg(text: &str, account: &dyn Fn(&str) -> AccountId) -> Leg {
    let words: Vec<&str> = text.split_whitespace().collect();
    let hold = |debit, credit, amount: &str, code, expires| Leg::Hold {
        debit: account(debit),
        credit: account(credit),
        amount: amount.parse().unwrap(),
        code: parse_code(code),
        expires,
    };
    match words[..] {
        ["post", debit, credit, amount, code] => Leg::Post {
            debit: account(debit),
            credit: account(credit),
            amount: amount.parse().unwrap(),
            code: parse_code(code),
        },
        ["hold", debit, credit, amount, code] => hold(debit, credit, amount, code, Timestamp::MAX),
        ["hold", debit, credit, amount, code, "until", at] => {
            hold(debit, credit, amount, code, Timestamp(at.parse().unwrap()))
        }
        ["posthold", hold, amount, code] => Leg::PostHold {
            hold: parse_hold(hold),
            amount: parse_amount(amount),
            code: parse_code(code),
        },
        ["raise", hold, more, "until", at] => Leg::RaiseHold {
            hold: parse_hold(hold),
            more: parse_amount(more),
            expires: parse_time(at),
        },
        ["balance", debit, credit, max, code] => Leg::Balancing {
            debit: account(debit),
            credit: account(credit),
            max: parse_amount(max),
            code: parse_code(code),
        },
        ["convert", debit, credit, amount, code, "at", rate] => Leg::Convert {
            debit: account(debit),
            credit: account(credit),
            amount: parse_amount(amount),
            code: parse_code(code),
            rate: RateId(rate.strip_prefix('r').unwrap().parse().unwrap()),
        },
        ["void", hold, code] => Leg::VoidHold { hold: parse_hold(hold), code: parse_code(code) },
        _ => panic!("no such leg: {text}"),
    }
}
