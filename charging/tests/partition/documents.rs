//! Invoices, credit notes and settlement statements, told in `testdata/documents.txt` in the words of
//! `saga.rs` and a few more; their numbers under whatever is asked for in whatever order; and what
//! meters signed.

use crate::node::{Node, config};
use crate::saga::{Words, World, check, session, session_name};
use crate::windows::play;
use novax_charging::document::{
    DOCUMENT_BYTES_MAX, SIGNED_BYTES_MAX, document_facts_key, document_key,
};
use novax_charging::rows::{self, ExceptionRow};
use novax_charging::{
    Command, DocumentId, DocumentKind, DocumentPart, DocumentRow, EndTransaction, IssueDocument,
    Keyspace, Outcome, Refusal, Signed, SignedNature, SignedRow, SignedValue, TransactionRef,
};
use novax_model::{Currency, Identity, Timestamp, WattHours};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn id(text: &str) -> Identity {
    Identity::new(text).unwrap()
}

/// `s1 120 s2 40`, in order of ids.
fn parts(words: &[&str]) -> Vec<DocumentPart> {
    let mut parts: Vec<DocumentPart> = words
        .chunks(2)
        .map(|pair| DocumentPart { session: session(pair[0]), amount: pair[1].parse().unwrap() })
        .collect();
    parts.sort_by_key(|part| part.session);
    parts
}

/// All documents of a partition, in order of their keys.
fn documents(node: &Node) -> Vec<DocumentRow> {
    let stored = node.store.iter().filter(|((keyspace, key), _)| {
        *keyspace == Keyspace::Documents && key.first() == Some(&novax_charging::document::HEAD)
    });
    stored.map(|(_, value)| rows::read(value).unwrap()).collect()
}

fn ask(kind: DocumentKind, subject: &str, (from, until): (u64, u64)) -> IssueDocument {
    let entity = match kind {
        DocumentKind::Invoice => "NX-INV",
        DocumentKind::CreditNote => "NX-CN",
        DocumentKind::SettlementStatement => "NX-SET",
    };
    IssueDocument {
        kind,
        entity: entity.into(),
        subject: subject.into(),
        from: Timestamp(from),
        until: Timestamp(until),
        currency: Currency::EUR,
        total: 0,
        parts: Vec::new(),
        original: None,
        due_days: Some(14),
        facts: br#"{"a":1}"#.to_vec(),
    }
}

impl World {
    /// `invoice alice 2026-01-01 2026-02-01 s1 120`, `credit NX-INV-p0-2026-1 sorry 2026-01-01 2026-02-01
    /// s1 40`, `statement operator 2026-01-01 2026-02-01 300`; options `says`, `entity`, `total`.
    pub(crate) fn documents(&mut self, node: usize, verb: &str, words: &mut Words<'_>) -> String {
        if verb == "documents" {
            return self.show_documents(node);
        }
        let (says, entity) = (words.option("says"), words.option("entity"));
        let total = words.number("total").map(i128::from);
        let original = (verb == "credit").then(|| DocumentId::parse(words.next()).unwrap());
        let subject = words.next();
        let period = (crate::books::time(words.next()).0, crate::books::time(words.next()).0);
        let kind = match verb {
            "invoice" => DocumentKind::Invoice,
            "credit" => DocumentKind::CreditNote,
            _ => DocumentKind::SettlementStatement,
        };
        let mut ask = ask(kind, subject, period);
        let rest = words.rest();
        if kind == DocumentKind::SettlementStatement {
            ask.total = rest[0].parse().unwrap();
        } else {
            ask.parts = parts(&rest);
            let amounts = ask.parts.iter().map(|part| i128::try_from(part.amount).unwrap());
            ask.total = amounts.sum();
        }
        ask.total = total.unwrap_or(ask.total);
        ask.original = original;
        if let Some(says) = says {
            ask.facts = says.as_bytes().to_vec();
        }
        ask.entity = entity.map_or(ask.entity, Into::into);
        self.step(node, Command::IssueDocument(Box::new(ask)))
    }

    fn show_documents(&self, node: usize) -> String {
        let texts = documents(&self.nodes[node]).into_iter().map(|row| {
            let parts = row.parts.iter();
            let parts =
                parts.map(|part| format!(" {} {}", session_name(part.session), part.amount));
            let parts: String = parts.collect();
            format!("{} {} {} {}{parts}", row.id, row.kind.as_str(), row.subject, row.total)
        });
        let texts: Vec<String> = texts.collect();
        if texts.is_empty() { "nothing".to_owned() } else { texts.join("; ") }
    }
}

#[test]
fn documents_get_numbers_when_the_books_confirm_them() {
    check("documents", 10);
}

/// A month with one session of alice's, 3.60 EUR, that is over.
fn january() -> World {
    let mut world = World::new();
    play(
        &mut world,
        "site garage
         station CP1 garage
         driver alice A 9000
         start s1 CP1 1.1 A meter 0
         end CP1 1 meter 5000 => ended s1, 3.60 EUR
         until 2026-02-01",
    );
    world
}

const JANUARY: (u64, u64) = (1_767_225_600_000_000, 1_769_904_000_000_000);

#[test]
fn what_a_document_says_is_kept_to_the_byte() {
    let mut world = january();
    let mut asked = ask(DocumentKind::Invoice, "alice", JANUARY);
    (asked.parts, asked.total) = (parts(&["s1", "360"]), 360);
    asked.facts = "{\"buyer\":\"Müller & Söhne\",\"n\":0}".as_bytes().to_vec();
    let command = Command::IssueDocument(Box::new(asked.clone()));
    let now = Timestamp(world.now.0 + 1_000_000);
    let outcome = world.nodes[0].one(now, command);
    let Outcome::Issued { id, issued, is_new: true } = outcome else { panic!("{outcome:?}") };
    assert_eq!(issued, now, "stamped by its entry");
    let store = &world.nodes[0].store;
    assert_eq!(store[&(Keyspace::Documents, document_facts_key(&id))], asked.facts);
    let row: DocumentRow = rows::read(&store[&(Keyspace::Documents, document_key(&id))]).unwrap();
    assert_eq!((row.id, row.issued, row.parts, row.due_days), (id, now, asked.parts, Some(14)));
}

#[test]
fn a_document_past_its_bounds_is_refused_whole() {
    let mut world = january();
    let good = {
        let mut good = ask(DocumentKind::Invoice, "alice", JANUARY);
        (good.parts, good.total) = (parts(&["s1", "360"]), 360);
        good
    };
    let part = good.parts[0];
    let over = u128::from(novax_charging::document::DOCUMENT_SESSIONS_MAX as u64) + 1;
    let many: Vec<DocumentPart> =
        (0..over).map(|n| DocumentPart { session: novax_model::SessionId(n), amount: 1 }).collect();
    type Change = Box<dyn Fn(&mut IssueDocument)>;
    let changes: [(&str, Change); 13] = [
        ("no facts", Box::new(|ask| ask.facts.clear())),
        ("long", Box::new(|ask| ask.facts = vec![b' '; DOCUMENT_BYTES_MAX + 1])),
        ("no text", Box::new(|ask| ask.facts = vec![0xff])),
        ("no entity", Box::new(|ask| ask.entity = "".into())),
        ("small letters", Box::new(|ask| ask.entity = "nx".into())),
        ("long entity", Box::new(|ask| ask.entity = "A".repeat(17).into())),
        ("no subject", Box::new(|ask| ask.subject = "".into())),
        ("long subject", Box::new(|ask| ask.subject = "a".repeat(129).into())),
        ("no sessions", Box::new(|ask| (ask.parts, ask.total) = (Vec::new(), 0))),
        ("many", Box::new(move |ask| ask.parts.clone_from(&many))),
        ("twice", Box::new(move |ask| ask.parts = vec![part, part])),
        ("open period", Box::new(|ask| ask.until = Timestamp(JANUARY.1 * 2))),
        ("no period", Box::new(|ask| ask.until = ask.from)),
    ];
    for (name, change) in changes {
        let mut bad = good.clone();
        change(&mut bad);
        world.now = Timestamp(world.now.0 + 1_000_000);
        let before = world.nodes[0].store.len();
        let outcome = world.nodes[0].one(world.now, Command::IssueDocument(Box::new(bad)));
        assert!(
            matches!(outcome, Outcome::Refused(Refusal::BadDocument(_))),
            "{name}: {outcome:?}"
        );
        assert_eq!(world.nodes[0].store.len(), before, "{name}: nothing is written");
    }
    world.now = Timestamp(world.now.0 + 1_000_000);
    let outcome = world.nodes[0].one(world.now, Command::IssueDocument(Box::new(good)));
    assert!(matches!(outcome, Outcome::Issued { is_new: true, .. }), "{outcome:?}");
}

#[test]
fn a_session_stands_on_one_invoice_however_long_ago_it_was() {
    let mut world = World::new();
    play(
        &mut world,
        "site garage
         station CP1 garage
         driver alice A 9000
         start s1 CP1 1.1 A meter 0
         end CP1 1 meter 5000 => ended s1, 3.60 EUR
         until 2026-02-01
         invoice alice 2026-01-01 2026-02-01 s1 360 => issued NX-INV-p0-2026-1
         until 2026-03-01
         invoice alice 2026-01-01 2026-02-01 s1 360 => was issued as NX-INV-p0-2026-1
         until 2026-04-01
         invoice alice 2026-01-01 2026-02-01 s1 360 => was issued as NX-INV-p0-2026-1
         invoice alice 2026-01-01 2026-04-01 s1 360 => no document: session s1 stands on NX-INV-p0-2026-1 already",
    );
    assert_eq!(documents(&world.nodes[0]).len(), 1, "what was issued stays");
}

/// What somebody asks for in the property below.
#[derive(Debug, Clone)]
enum Step {
    Charge {
        kwh: u32,
    },
    Refund {
        of: usize,
        amount: u32,
    },
    /// `greedy` asks for sessions whether or not they can stand on an invoice.
    Invoice {
        month: u64,
        greedy: bool,
        says: u8,
    },
    Credit {
        of: usize,
        percent: u32,
        reference: u8,
    },
    Statement {
        party: usize,
        month: u64,
    },
    Again {
        of: usize,
    },
    Wait {
        days: u64,
    },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..40_u32).prop_map(|kwh| Step::Charge { kwh }),
        3 => (any::<usize>(), 1..500_u32).prop_map(|(of, amount)| Step::Refund { of, amount }),
        4 => (0..4_u64, prop::bool::weighted(0.2), 0..2_u8)
            .prop_map(|(month, greedy, says)| Step::Invoice { month, greedy, says }),
        3 => (any::<usize>(), 1..200_u32, 0..3_u8)
            .prop_map(|(of, percent, reference)| Step::Credit { of, percent, reference }),
        1 => (0..3_usize, 0..4_u64).prop_map(|(party, month)| Step::Statement { party, month }),
        3 => any::<usize>().prop_map(|of| Step::Again { of }),
        3 => (1..20_u64).prop_map(|days| Step::Wait { days }),
        1 => Just(Step::Restart),
    ]
}

const PERIOD_US: u64 = 30 * 24 * 60 * 60 * 1_000_000;

struct Office {
    world: World,
    sessions: Vec<String>,
    refunds: BTreeMap<String, u32>,
    asked: Vec<(IssueDocument, Outcome)>,
    meter: i64,
}

impl Office {
    fn new() -> Office {
        let mut world = World::new();
        play(&mut world, "site garage\nstation CP1 garage\ndriver alice A 9000000");
        Office { world, sessions: vec![], refunds: BTreeMap::new(), asked: vec![], meter: 0 }
    }

    fn issue(&mut self, ask: IssueDocument) {
        self.world.now = Timestamp(self.world.now.0 + 1_000_000);
        let command = Command::IssueDocument(Box::new(ask.clone()));
        let outcome = self.world.nodes[0].one(self.world.now, command);
        self.asked.push((ask, outcome));
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Charge { kwh } => {
                let name = format!("s{}", self.sessions.len());
                let number = self.sessions.len() + 1;
                let from = self.meter;
                self.meter += i64::from(*kwh) * 1_000;
                self.world.run(&format!("start {name} CP1 1.1 A meter {from}"));
                self.world.run(&format!("end CP1 {number} meter {}", self.meter));
                self.sessions.push(name);
            }
            Step::Refund { of, amount } => {
                let Some(name) = self.sessions.get(of % self.sessions.len().max(1)) else { return };
                let n = self.refunds.entry(name.clone()).or_insert(0);
                let answer = self.world.run(&format!("refund {name} {} {amount}", *n + 1));
                *n += u32::from(answer.starts_with("refunded"));
            }
            Step::Invoice { month, greedy, says } => {
                let from = JANUARY.0 + month * PERIOD_US;
                let mut ask = ask(DocumentKind::Invoice, "alice", (from, from + PERIOD_US));
                let node = &mut self.world.nodes[0];
                for name in &self.sessions {
                    let Some(known) = node.invoicing(session(name)) else { continue };
                    let booked = node.booked(session(name)).unwrap().at.0;
                    let fits = (from..from + PERIOD_US).contains(&booked);
                    let amount = known.gross - known.invoiced;
                    if *greedy || (fits && amount > 0) {
                        let amount = if *greedy { known.gross } else { amount };
                        ask.parts.push(DocumentPart { session: session(name), amount });
                    }
                }
                ask.parts.sort_by_key(|part| part.session);
                ask.total = ask.parts.iter().map(|part| i128::try_from(part.amount).unwrap()).sum();
                ask.facts = vec![b'0' + says];
                self.issue(ask);
            }
            Step::Credit { of, percent, reference } => {
                let docs = documents(&self.world.nodes[0]);
                let invoices: Vec<&DocumentRow> =
                    docs.iter().filter(|row| row.kind == DocumentKind::Invoice).collect();
                let Some(invoice) = invoices.get(of % invoices.len().max(1)) else { return };
                let subject = format!("{}/{reference}", invoice.id);
                let mut ask =
                    ask(DocumentKind::CreditNote, &subject, (invoice.from.0, invoice.until.0));
                for part in &invoice.parts {
                    let known = self.world.nodes[0].invoicing(part.session).unwrap();
                    let amount = known.creditable * u128::from(*percent) / 100;
                    if amount > 0 {
                        ask.parts.push(DocumentPart { session: part.session, amount });
                    }
                }
                ask.total = ask.parts.iter().map(|part| i128::try_from(part.amount).unwrap()).sum();
                ask.original = Some(invoice.id.clone());
                self.issue(ask);
            }
            Step::Statement { party, month } => {
                let from = JANUARY.0 + month * PERIOD_US;
                let party = ["operator", "site-host/garage", "nobody"][*party];
                self.issue(ask(DocumentKind::SettlementStatement, party, (from, from + PERIOD_US)));
            }
            Step::Again { of } => {
                let Some((ask, _)) = self.asked.get(of % self.asked.len().max(1)) else { return };
                self.issue(ask.clone());
            }
            Step::Wait { days } => {
                self.world.run(&format!("wait {}", days * 24 * 60 * 60));
            }
            Step::Restart => self.world.restart_all(),
        }
    }

    fn check(&mut self) {
        let docs = documents(&self.world.nodes[0]);
        let mut numbers: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for row in &docs {
            numbers.entry(&row.id.series).or_default().push(row.id.number);
        }
        for (series, numbers) in numbers {
            let wanted: Vec<u64> = (1..=numbers.len() as u64).collect();
            assert_eq!(numbers, wanted, "{series} has no gap");
        }
        // The same request got the same document, and each document one request.
        let mut requests: BTreeMap<String, (DocumentId, Vec<u8>)> = BTreeMap::new();
        let mut fresh = BTreeSet::new();
        for (ask, outcome) in &self.asked {
            let Outcome::Issued { id, is_new, .. } = outcome else { continue };
            let request = format!("{:?} {} {:?}", ask.kind, ask.subject, (ask.from, ask.until));
            let known = requests.entry(request).or_insert((id.clone(), ask.facts.clone()));
            assert_eq!(*known, (id.clone(), ask.facts.clone()));
            assert_eq!(*is_new, fresh.insert(id.clone()));
        }
        assert_eq!(fresh.len(), docs.len());
        for name in &self.sessions {
            let on = |kind| -> u128 {
                let of_kind = docs.iter().filter(|row| row.kind == kind);
                let parts = of_kind.flat_map(|row| &row.parts);
                parts.filter(|part| part.session == session(name)).map(|part| part.amount).sum()
            };
            let (invoiced, credited) = (on(DocumentKind::Invoice), on(DocumentKind::CreditNote));
            let Some(known) = self.world.nodes[0].invoicing(session(name)) else {
                assert_eq!((invoiced, credited), (0, 0));
                continue;
            };
            assert!(invoiced == 0 || invoiced == known.gross, "a session is invoiced once, whole");
            assert!(credited <= known.refunded, "no more is credited than was given back");
            assert_eq!((known.invoiced, known.credited), (invoiced, credited));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Whatever is asked for, twice, out of order, between restarts: series have no gaps, no session is
    /// invoiced twice, no more is credited than was given back, and repeats find what there is.
    #[test]
    fn numbers_have_no_gaps_and_no_session_is_invoiced_twice(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut office = Office::new();
        for step in &steps {
            office.step(step);
        }
        office.world.nodes[0].check_books();
        office.check();
    }
}

fn value(nature: SignedNature, raw: Vec<u8>) -> SignedValue {
    let (encoding, method) = ("OCMF".into(), "".into());
    SignedValue { nature, encoding, method, key: "".into(), raw }
}

fn end_with(world: &mut World, transaction: i32, values: Vec<SignedValue>) -> Outcome {
    world.now = Timestamp(world.now.0 + 1_000_000);
    let end = EndTransaction {
        identity: id("CP1"),
        transaction: TransactionRef::V16(transaction),
        meter_stop: Some(WattHours(1_000)),
        at: world.now,
        reason: "Local".into(),
        signed: Some(Box::new(Signed { energy: None, values })),
    };
    let now = world.now;
    world.nodes[0].one(now, Command::EndTransaction(end))
}

fn begun() -> World {
    let mut world = World::new();
    play(
        &mut world,
        "site garage
         station CP1 garage
         driver alice A 9000
         start s1 CP1 1.1 A meter 0 => started s1 transaction 1",
    );
    world
}

#[test]
fn what_a_meter_signed_is_kept_as_it_came() {
    let mut world = begun();
    let values = vec![
        value(SignedNature::Start, b"OCMF|{}|{\"SD\":\"00\"}".to_vec()),
        value(SignedNature::End, vec![0xff, 0, 0x7f]),
    ];
    let outcome = end_with(&mut world, 1, values.clone());
    assert!(matches!(outcome, Outcome::Ended { total: 168, .. }), "{outcome:?}");
    let kept: Vec<SignedRow> = world.nodes[0].rows(Keyspace::SignedValues);
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].session, &kept[0].values), (session("s1"), &values));
    // Told again, with something else: the first stays.
    end_with(&mut world, 1, vec![value(SignedNature::End, vec![1])]);
    let again: Vec<SignedRow> = world.nodes[0].rows(Keyspace::SignedValues);
    assert_eq!(again, kept);
}

#[test]
fn too_much_is_told_and_not_cut() {
    let mut world = begun();
    let outcome =
        end_with(&mut world, 1, vec![value(SignedNature::End, vec![7; SIGNED_BYTES_MAX])]);
    assert!(matches!(outcome, Outcome::Ended { total: 168, .. }), "the bill does not wait for it");
    assert!(world.nodes[0].rows::<SignedRow>(Keyspace::SignedValues).is_empty());
    let told = world.nodes[0].rows::<ExceptionRow>(Keyspace::Exceptions);
    assert!(told.iter().any(|row| row.text.contains("were not kept")), "{told:?}");
}

#[test]
fn a_stop_that_comes_before_its_start_brings_its_values_along() {
    let mut world = World::new();
    play(&mut world, "site garage\nstation CP1 garage\ndriver alice A 9000");
    world.now = Timestamp(world.now.0 + 60_000_000);
    let end = EndTransaction {
        identity: id("CP1"),
        transaction: TransactionRef::V201("T-1".into()),
        meter_stop: Some(WattHours(1_000)),
        at: world.now,
        reason: "Local".into(),
        signed: Some(Box::new(Signed {
            energy: None,
            values: vec![value(SignedNature::End, vec![9])],
        })),
    };
    let now = world.now;
    assert_eq!(world.nodes[0].one(now, Command::EndTransaction(end)), Outcome::Parked);
    play(&mut world, "start s1 CP1 1.1 A meter 0 transaction T-1 at 1");
    let kept: Vec<SignedRow> = world.nodes[0].rows(Keyspace::SignedValues);
    assert_eq!(kept.len(), 1, "{kept:?}");
}

#[test]
fn a_meters_key_stands_with_its_station() {
    let mut node = Node::new(config(0));
    let put =
        |key: Option<&str>| Command::PutMeterKey { identity: id("CP1"), key: key.map(Into::into) };
    let unknown = Outcome::Refused(Refusal::UnknownStation);
    assert_eq!(node.one(Timestamp(1), put(Some("3059"))), unknown);
    let mut world = begun();
    let mut say = |command| {
        world.now = Timestamp(world.now.0 + 1_000_000);
        let now = world.now;
        world.nodes[0].one(now, command)
    };
    assert_eq!(say(put(Some("3059"))), Outcome::Done);
    let long = "0".repeat(1_025);
    assert!(matches!(say(put(Some(&long))), Outcome::Refused(Refusal::BadTerms(_))));
    assert!(matches!(say(put(Some(""))), Outcome::Refused(Refusal::BadTerms(_))));
    let row = world.nodes[0].restored().station("CP1").unwrap().clone();
    assert_eq!(row.meter_key.as_deref(), Some("3059"));
}
