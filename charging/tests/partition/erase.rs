//! Drivers are forgotten, told in `testdata/erase.txt`: what keeps it from being done, what is left of
//! them, and that the books and their proofs stay as they were.

use crate::node::{Node, config};
use crate::saga::{Words, World, check};
use novax_audit::canonical::{encode, transactions};
use novax_audit::merkle::{self, leaf_hash};
use novax_charging::rows::{self, ExceptionRow, MetaRow};
use novax_charging::{
    Command, DirectoryKind, DriverRow, EraseDriver, Erasure, Keyspace, Outcome, PayerSessionRow,
    PaymentRow, Refusal, SessionRow, erased_name,
};
use novax_ledger::{Account, JournalRow, NAME_ERASED};
use novax_model::{AccountId, Currency, Identity, PartitionId, Timestamp, TokenUid, TransferKey};

fn id(text: &str) -> Identity {
    Identity::new(text).unwrap()
}

/// What a step brings along, as whoever asks for it reads the store.
fn forget(node: &Node, erase: &EraseDriver) -> Erasure {
    let mut sessions = node.rows::<SessionRow>(Keyspace::Sessions);
    sessions.retain(|row| erase.is_of(row));
    let mut payers = node.rows::<PayerSessionRow>(Keyspace::PayerSessions);
    payers.retain(|row| row.driver == erase.driver);
    let mut payments = node.rows::<PaymentRow>(Keyspace::Payments);
    payments.retain(|row| row.driver == erase.driver);
    let metas = node.rows::<MetaRow>(Keyspace::Meta);
    let read_at = metas.first().map_or(0, |meta| meta.applied_index);
    Erasure::Forget { read_at, sessions, payers, payments }
}

impl World {
    /// `erase dora [only check|forget|finish]`: the steps in order in both partitions, home last.
    pub(crate) fn erase(&mut self, home: usize, words: &mut Words<'_>) -> String {
        let driver = id(words.next());
        let only = words.option("only");
        let row = self.nodes[home].partition.driver(driver.as_str()).cloned();
        let Some(DriverRow { wallet, tokens, .. }) = row else { return "nobody".to_owned() };
        let erase = EraseDriver { driver, wallet, tokens, step: Erasure::Check };
        for step in ["check", "forget", "finish"] {
            if only.is_some_and(|only| only != step) {
                continue;
            }
            for node in [1 - home, home] {
                let step = match step {
                    "check" => Erasure::Check,
                    "forget" => forget(&self.nodes[node], &erase),
                    _ if node == home => Erasure::Finish,
                    _ => continue,
                };
                let answer = self.step(
                    node,
                    Command::EraseDriver(Box::new(EraseDriver { step, ..erase.clone() })),
                );
                if answer != "done" {
                    return format!("p{node} {answer}");
                }
            }
        }
        "done".to_owned()
    }
}

/// Whether these bytes stand anywhere in the store.
fn stands(node: &Node, text: &str) -> bool {
    let text = text.as_bytes();
    let has = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    node.store.iter().any(|((_, key), value)| has(key) || has(value))
}

/// A world in which `marguerite` charged at home and elsewhere, by wallet and by card, was refused, paid
/// what was owed, and has nothing left.
fn charged() -> World {
    let mut world = World::new();
    world.run("site garage");
    world.run("p1 site yard");
    world.run("station CP1 garage");
    world.run("p1 station CP2 yard");
    world.run("driver marguerite MARGUERITE-TOKEN 1000");
    world.run("start s1 CP1 1.1 MARGUERITE-TOKEN meter 0");
    world.run("end CP1 1 meter 5000");
    world.run("place-hold s2 MARGUERITE-TOKEN 500");
    world.run(
        "p1 start s2 CP2 1.1 MARGUERITE-TOKEN meter 0 held 500 driver marguerite at-partition p0",
    );
    world.run("p1 end CP2 1 meter 2000");
    world.run("p1 deliver");
    world.run("card marguerite MARGUERITE-TOKEN");
    world.run("start s3 CP1 1.1 MARGUERITE-TOKEN meter 5000");
    world.run("psp AUTHORISE ok");
    world.run("end CP1 2 meter 6000");
    world.run("psp CAPTURE ok");
    world.run("start s4 CP1 1.1 MARGUERITE-TOKEN meter 6000");
    world.run("psp AUTHORISE declined 1");
    world.run("end CP1 3 meter 7000");
    world
}

/// Wallet and debts to zero.
fn settle_up(world: &mut World) {
    let node = &world.nodes[0];
    let wallet = node.balance("driver/marguerite");
    let owed = -node.balance("receivable/marguerite");
    if wallet > 0 {
        assert!(world.run(&format!("pay-out marguerite {wallet} 901")).starts_with("deposited"));
    }
    if owed > 0 {
        assert_eq!(world.run(&format!("write-off marguerite {owed} 902")), "done");
    }
}

#[test]
fn a_driver_is_forgotten_only_with_nothing_open_and_nothing_owed() {
    check("erase", 8);
}

#[test]
fn what_a_provider_books_by_itself_is_booked_once() {
    check("disputes", 4);
}

#[test]
fn nothing_names_a_driver_who_was_forgotten() {
    let mut world = charged();
    settle_up(&mut world);
    assert!(world.nodes.iter().all(|node| stands(node, "marguerite")));
    let before: Vec<SessionRow> = world.nodes[0].rows(Keyspace::Sessions);
    let wallet = world.nodes[0].partition.driver("marguerite").unwrap().wallet;
    assert_eq!(world.run("erase marguerite"), "done");
    for node in &world.nodes {
        for text in ["marguerite", "MARGUERITE-TOKEN"] {
            assert!(!stands(node, text), "{text} stands in p{}", node.config.partition.0);
        }
        assert!(!node.store.values().any(|value| value.windows(32).any(|salt| salt == [7; 32])));
        node.check_books();
    }
    // What was charged is as it was, but for who it was.
    let after: Vec<SessionRow> = world.nodes[0].rows(Keyspace::Sessions);
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((before.session, &before.charges), (after.session, &after.charges));
        assert_eq!(after.driver, before.driver.as_ref().map(|_| erased_name(wallet)));
    }
    let accounts: Vec<Account> = world.nodes[0].rows(Keyspace::Accounts);
    let personal = accounts.iter().filter(|account| account.is_personal);
    assert!(personal.clone().count() >= 2, "wallet and debts");
    assert!(personal.into_iter().all(|account| *account.name == *NAME_ERASED));
    assert!(accounts.iter().any(|account| account.id == wallet), "its sums stay");
    // The same name may come again, as another person.
    let again = Command::PutDriver {
        driver: id("marguerite"),
        salt: [8; 32],
        tokens: vec![TokenUid::new("MARGUERITE-TOKEN").unwrap()],
        currency: Currency::EUR,
        blocked: false,
    };
    assert_eq!(world.step(0, again), "done");
    assert_ne!(world.nodes[0].partition.driver("marguerite").unwrap().wallet, wallet);
    assert_eq!(world.nodes[0].partition.available("marguerite"), Some(0));
}

#[test]
fn what_is_remembered_in_words_names_nobody() {
    let world = charged();
    let exceptions =
        world.nodes.iter().flat_map(|node| node.rows::<ExceptionRow>(Keyspace::Exceptions));
    let mut seen = 0;
    for row in exceptions {
        assert!(!row.text.contains("marguerite"), "{}", row.text);
        assert_ne!(row.identity, id("marguerite"));
        seen += 1;
    }
    assert!(seen > 0, "a declined card is shown to a person");
}

#[test]
fn leaves_and_proofs_of_before_stay_valid() {
    let mut world = charged();
    settle_up(&mut world);
    let node = &world.nodes[0];
    let meta = node.rows::<MetaRow>(Keyspace::Meta).remove(0);
    let journal: Vec<JournalRow> = node.rows(Keyspace::Transfers);
    assert_eq!(world.run("erase marguerite"), "done");
    let node = &world.nodes[0];
    let after = node.rows::<MetaRow>(Keyspace::Meta).remove(0);
    assert_eq!(after.tree, meta.tree, "forgetting books nothing");
    assert_eq!(node.rows::<JournalRow>(Keyspace::Transfers), journal);
    let (size, root) = (after.tree.size(), after.tree.root());
    for (leaf, set) in (0..).zip(transactions(&journal)) {
        let stored = crate::tree::Stored(&node.store);
        let proof = merkle::inclusion_proof(&stored, leaf, size).unwrap();
        let mut bytes = Vec::new();
        encode(node.config.partition, set, &mut bytes).unwrap();
        merkle::verify_inclusion(&leaf_hash(&bytes), leaf, size, &proof, &root).unwrap();
    }
}

#[test]
fn each_step_may_come_again_after_a_crash() {
    let mut world = charged();
    settle_up(&mut world);
    for _ in 0..2 {
        for step in ["check", "forget"] {
            assert_eq!(world.run(&format!("erase marguerite only {step}")), "done");
            world.restart_all();
        }
    }
    assert_eq!(world.run("erase marguerite"), "done");
    assert_eq!(world.run("erase marguerite"), "nobody");
    assert!(!stands(&world.nodes[0], "marguerite"));
}

#[test]
fn rows_that_changed_since_they_were_read_are_not_overwritten() {
    let mut world = charged();
    world.run("card marguerite MARGUERITE-TOKEN");
    settle_up(&mut world);
    let row = world.nodes[0].partition.driver("marguerite").cloned().unwrap();
    let (driver, wallet, tokens) = (row.driver, row.wallet, row.tokens);
    let erase = EraseDriver { driver, wallet, tokens, step: Erasure::Check };
    let step = forget(&world.nodes[0], &erase);
    // A refund comes in between: the rows of its card are not as they were read.
    world.run("refund s3 1 10");
    world.run("psp REFUND ok");
    let command = Command::EraseDriver(Box::new(EraseDriver { step, ..erase.clone() }));
    let now = world.now;
    let answer = world.nodes[0].one(Timestamp(now.0 + 1_000_000), command);
    assert_eq!(answer, Outcome::Refused(Refusal::Stale));
    let step = forget(&world.nodes[0], &erase);
    let command = Command::EraseDriver(Box::new(EraseDriver { step, ..erase }));
    assert_eq!(world.nodes[0].one(Timestamp(now.0 + 2_000_000), command), Outcome::Done);
}

#[test]
fn rows_of_somebody_else_are_not_taken() {
    let mut world = charged();
    settle_up(&mut world);
    let row = world.nodes[0].partition.driver("marguerite").cloned().unwrap();
    let mut erase = EraseDriver {
        driver: row.driver,
        wallet: row.wallet,
        tokens: row.tokens,
        step: Erasure::Check,
    };
    let Erasure::Forget { read_at, mut sessions, payers, payments } =
        forget(&world.nodes[0], &erase)
    else {
        unreachable!("as made")
    };
    sessions[0].driver = Some(id("somebody"));
    sessions[0].token = TokenUid::new("ELSE").unwrap();
    erase.step = Erasure::Forget { read_at, sessions, payers, payments };
    let at = Timestamp(world.now.0 + 1_000_000);
    let answer = world.nodes[0].one(at, Command::EraseDriver(Box::new(erase.clone())));
    assert_eq!(answer, Outcome::Refused(Refusal::KeyReused));
    let other = EraseDriver { wallet: AccountId(1), step: Erasure::Finish, ..erase };
    let at = Timestamp(at.0 + 1_000_000);
    let answer = world.nodes[0].one(at, Command::EraseDriver(Box::new(other)));
    assert_eq!(answer, Outcome::Refused(Refusal::KeyReused), "another person of that name");
}

#[test]
fn a_directory_row_goes_only_where_it_leads() {
    let mut node = Node::new(config(0));
    let (kind, id, home) = (DirectoryKind::Token, "MARGUERITE-TOKEN", PartitionId(1));
    let at = |second: u64| Timestamp(second * 1_000_000);
    node.one(at(1), Command::PutDirectory { kind, id: id.into(), home });
    let remove = |home| Command::RemoveDirectory { kind, id: id.into(), home };
    assert_eq!(node.one(at(2), remove(PartitionId(0))), Outcome::Refused(Refusal::KeyReused));
    assert!(stands(&node, id));
    assert_eq!(node.one(at(3), remove(home)), Outcome::Done);
    assert_eq!(node.one(at(4), remove(home)), Outcome::Done, "again");
    assert!(!stands(&node, id));
}

#[test]
fn the_salt_of_the_first_time_stays() {
    let mut node = Node::new(config(0));
    let put = |salt: [u8; 32]| Command::PutDriver {
        driver: id("dora"),
        salt,
        tokens: vec![],
        currency: Currency::EUR,
        blocked: false,
    };
    let at = |second: u64| Timestamp(second * 1_000_000);
    node.one(at(1), put([1; 32]));
    let first = node.partition.driver("dora").cloned().unwrap();
    let key = TransferKey(1);
    node.one(at(2), Command::Deposit { key, driver: id("dora"), amount: 5 });
    node.one(at(3), put([2; 32]));
    assert_eq!(node.partition.driver("dora"), Some(&first));
    assert_eq!(node.partition.available("dora"), Some(5));
    assert!(novax_audit::commitment::opens(first.wallet, &[1; 32], "driver/dora", Currency::EUR));
    let stored: Vec<DriverRow> = node.rows(Keyspace::Drivers);
    assert_eq!(stored, [first]);
    let _ = rows::read::<DriverRow>(b"").unwrap_err();
}
