//! What is over has left memory, and is there when somebody means it: each case says again, or takes back, what
//! was done so long ago that nothing but the store has it.

use crate::saga::World;
use crate::windows::{SETUP, agree, play};
use novax_charging::{Command, DirectoryKind, Outcome, Refusal, rows};
use novax_model::{PartitionId, TransferKey};

/// Nothing that is over stays in memory.
fn forgetful(lines: &str) -> World {
    let mut world = World::with(|config| {
        config.keys_max = 0;
        config.finished_sessions_max = 0;
        config.finished_per_station_max = 0;
    });
    play(&mut world, SETUP);
    play(&mut world, lines);
    world
}

#[test]
fn a_start_by_card_that_is_said_again_long_after_gets_its_first_answer() {
    let world = forgetful(
        "start s1 CP1 1.1 A meter 0 at 40 => started s1 transaction 1
         end CP1 1 meter 1000 => ended s1, 1.68 EUR
         start s2 CP1 1.1 A meter 1000 => started s2 transaction 2
         end CP1 2 meter 2000 => ended s2, 1.68 EUR
         wait 8000000
         start s1 CP1 1.1 A meter 0 at 40 => started s1 transaction 1
         show holds => 0
         show wallet alice => 4664 of which available 4664",
    );
    agree(&world);
}

#[test]
fn an_apps_start_that_is_sent_again_long_after_gets_its_first_answer() {
    let world = forgetful(
        "request s1 CP1 1.1 A => started s1 transaction 0
         start s1 CP1 1.1 A meter 0 remote 1 => started s1 transaction 1
         end CP1 1 meter 1000 => ended s1, 1.68 EUR
         wait 8000000
         request s1 CP1 1.1 A => started s1 transaction 0
         request s1 CP1 1.1 A hash 2 => refused KeyReused
         stop s1 => refused WrongState(Settled)
         show outbox => nothing
         show wallet alice => 4832 of which available 4832",
    );
    agree(&world);
}

#[test]
fn a_session_of_long_ago_is_refunded_once_and_no_more_than_it_cost() {
    let world = forgetful(
        "start s1 CP1 1.1 A meter 0 => started s1 transaction 1
         end CP1 1 meter 1000 => ended s1, 1.68 EUR
         wait 80000000
         refund s1 1 100 => refunded 100
         refund s1 1 100 => refunded 100
         refund s1 2 100 => refused InsufficientFunds 68 of 100
         restart
         refund s1 2 68 => refunded 68
         refund s1 3 1 => refused InsufficientFunds 0 of 1
         show wallet alice => 5000 of which available 5000",
    );
    world.nodes[0].check_books();
}

#[test]
fn a_bill_of_long_ago_is_refunded_to_a_driver_of_another_partition_once() {
    let world = forgetful(
        "p1 driver dora D 5000
         p1 place-hold s1 C 500
         start s1 CP1 1.1 C meter 0 held 500 driver carol at-partition p1 => started s1 transaction 1
         end CP1 1 meter 1000 => ended s1, 1.68 EUR
         deliver => captured 168
         p1 place-hold s2 D 500
         start s2 CP1 1.1 D meter 0 held 500 driver dora at-partition p1 => started s2 transaction 2
         end CP1 2 meter 1000 => ended s2, 1.68 EUR
         deliver => captured 168
         p1 place-hold s1 C 500 => refused WrongState(Settled)
         refund s1 1 100 => refunded 100
         deliver twice => refunded 100; refunded 100
         p1 show wallet carol => 4932 of which available 4932",
    );
    world.nodes.iter().for_each(crate::node::Node::check_books);
    assert_eq!(world.nodes[1].partition.ledger().holds().count(), 0);
}

#[test]
fn a_deposit_that_is_sent_again_long_after_is_booked_once() {
    let mut world = forgetful("wait 80000000");
    let driver = novax_model::Identity::new("alice").unwrap();
    for (key, amount, books) in [(1, 5_000, 0), (1, 10, 0), (99, 10, 10), (99, 10, 0)] {
        let before = world.nodes[0].partition.available("alice").unwrap();
        let deposit = Command::Deposit { key: TransferKey(key), driver: driver.clone(), amount };
        world.step(0, deposit);
        let after = world.nodes[0].partition.available("alice").unwrap();
        assert_eq!(after - before, books, "{amount} under {key}");
    }
}

#[test]
fn request_keys_are_kept_for_ever_and_take_no_room_in_memory() {
    let mut world = World::with(|config| config.directory_max = 2);
    let kind = DirectoryKind::RequestKey;
    let mut put = |id: &str, home: u16| {
        let (id, home) = (id.into(), PartitionId(home));
        let node = &mut world.nodes[0];
        world.now.0 += 1_000_000;
        let outcome = node.one(world.now, Command::PutDirectory { kind, id, home });
        (outcome, node.partition.directory(kind, "k0").is_some())
    };
    for number in 0..10 {
        assert_eq!(put(&format!("k{number}"), 1), (Outcome::Done, false));
    }
    assert_eq!(put("k0", 1), (Outcome::Done, false));
    assert_eq!(put("k0", 2), (Outcome::Refused(Refusal::KeyReused), false));
    let stored = world.nodes[0].store.keys();
    let first = rows::directory_key(kind, "k0");
    assert_eq!(stored.filter(|(_, key)| key.starts_with(&first[..2])).count(), 10);
}
