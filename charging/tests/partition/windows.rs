//! The windows of time between money and hardware in which something may be lost, late, doubled or
//! wrong: one test for each, named by its number. Each drives the state machine through the words of
//! `testdata/*.txt` and ends by asking whether money, session and charger agree.

use crate::saga::World;
use novax_charging::rows::ExceptionRow;
use novax_charging::{
    Command, Keyspace, OutboxKind, Outcome, PaymentAnswer, Refusal, SessionRow, SessionState,
};
use novax_ledger::JournalRow;
use novax_model::Duration;

/// Prices of the default site: 0.40 EUR a kWh, 1.00 EUR a session, 20 % tax.
pub(crate) const SETUP: &str = "
    site garage
    station CP1 garage
    driver alice A 5000
    driver bob B 5000
    p1 driver carol C 5000
";

/// Runs lines; `command => answer` also compares the answer.
pub(crate) fn play(world: &mut World, lines: &str) {
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.split_once("=>") {
            Some((command, expected)) => {
                let answer = world.run(command.trim());
                assert_eq!(answer, expected.trim(), "{command}");
            }
            None => {
                world.run(line);
            }
        }
    }
}

fn begin(lines: &str) -> World {
    let mut world = World::new();
    play(&mut world, SETUP);
    play(&mut world, lines);
    world
}

/// Money: no hold stands, nothing is left in clearing, what drivers paid and owe is what sessions cost
/// and what others earned. Session: none lives. Charger: nothing more is asked of it.
pub(crate) fn agree(world: &World) {
    let mut cost = 0;
    let mut paid = 0;
    let mut clearing = 0;
    for node in &world.nodes {
        node.check_books();
        assert_eq!(node.partition.ledger().holds().count(), 0, "no hold stands");
        assert_eq!(node.partition.outbox().count(), 0, "nothing is on its way");
        for row in node.rows::<SessionRow>(Keyspace::Sessions) {
            let is_over = !row.state.is_live() && row.state != SessionState::Settling;
            assert!(is_over, "{row:?}");
            assert!(row.owed <= row.charges.total(), "{row:?}");
            cost += i128::try_from(row.charges.total()).unwrap();
        }
        for driver in ["alice", "bob", "carol"] {
            if node.partition.driver(driver).is_some() {
                paid += 5_000 - node.balance(&format!("driver/{driver}"));
                paid -= node.balance(&format!("receivable/{driver}"));
            }
        }
        paid += crate::cards::agree(node);
        clearing +=
            ["clearing/p0", "clearing/p1"].map(|name| node.balance(name)).iter().sum::<i128>();
        let earned = ["garage", "yard", "dear", "free"].map(|site| format!("site-host/{site}"));
        let earned = earned.iter().map(String::as_str).chain(["operator", "platform", "tax"]);
        let earned = earned.map(|name| node.balance(name)).sum::<i128>();
        let here = node.rows::<SessionRow>(Keyspace::Sessions);
        let here: u128 = here.iter().map(|row| row.charges.total()).sum();
        let journal = node.rows::<JournalRow>(Keyspace::Transfers);
        let undone = journal.iter().filter(|row| row.reverses.is_some());
        let undone: u128 = undone.map(|row| row.amount).sum();
        let here = here - undone;
        cost -= i128::try_from(undone).unwrap();
        assert_eq!(earned, i128::try_from(here).unwrap(), "what sessions cost is earned");
    }
    assert_eq!(clearing, 0, "clearing is back at zero");
    assert_eq!(paid, cost, "what sessions cost is paid or owed");
}

fn exceptions(world: &World) -> Vec<String> {
    let rows = world.nodes[0].rows::<ExceptionRow>(Keyspace::Exceptions);
    rows.into_iter().map(|row| row.text.into()).collect()
}

/// Answers all station commands that stand.
fn hear_out(world: &mut World) {
    while world.nodes[0]
        .partition
        .outbox()
        .any(|row| matches!(row.kind, OutboxKind::Station { .. }))
    {
        play(world, "answer CP1 accepted => done");
    }
}

#[test]
fn window_01_a_crash_between_hold_and_command_sends_it_later() {
    let mut world = begin(
        "request s1 CP1 1.1 A => started s1 transaction 0
         restart
         connect CP1 2
         show outbox => CP1 RemoteStart s1 1.1 A id 1
         answer RemoteStart accepted => done
         start s1 CP1 1.1 A meter 0 remote 1 => started s1 transaction 1
         end CP1 1 meter 1000 => ended s1, 1.68 EUR",
    );
    play(&mut world, "show wallet alice => 4832 of which available 4832");
    agree(&world);
}

#[test]
fn window_01_a_crash_that_lasts_too_long_gives_the_hold_back() {
    let mut world = begin(
        "request s1 CP1 1.1 A => started s1 transaction 0
         restart
         wait 200
         show session s1 => EXPIRED held 500, no transaction came in time
         show outbox => nothing",
    );
    play(&mut world, "show wallet alice => 5000 of which available 5000");
    agree(&world);
}

#[test]
fn window_02_a_lost_reply_is_not_a_no_and_nothing_is_sent_twice() {
    let world = begin(
        "request s1 CP1 1.1 A => started s1 transaction 0
         answer RemoteStart silent => done
         show outbox => nothing
         show session s1 => STARTING held 500
         start x1 CP1 1.1 A meter 0 => started s1 transaction 1
         end CP1 1 meter 1000 => ended s1, 1.68 EUR",
    );
    agree(&world);
}

#[test]
fn window_03_a_no_gives_the_hold_back_at_once() {
    let world = begin(
        "request s1 CP1 1.1 A => started s1 transaction 0
         answer RemoteStart Rejected => done
         show session s1 => REJECTED held 500, Rejected
         show wallet alice => 5000 of which available 5000",
    );
    agree(&world);
}

#[test]
fn window_04_a_yes_without_a_transaction_gives_the_hold_back_in_time() {
    let world = begin(
        "request s1 CP1 1.1 A => started s1 transaction 0
         answer RemoteStart accepted => done
         wait 60
         show session s1 => START_ACCEPTED held 500
         wait 60
         show session s1 => EXPIRED held 500, no transaction came in time
         show wallet alice => 5000 of which available 5000",
    );
    agree(&world);
}

#[test]
fn window_05_a_late_start_is_held_for_anew() {
    let world = begin(
        "request s1 CP1 1.1 A => started s1 transaction 0
         answer RemoteStart accepted
         wait 200
         start x1 CP1 1.1 A meter 0 remote 1 => started x1 transaction 1
         show wallet alice => 5000 of which available 4500
         end CP1 1 meter 1000 => ended x1, 1.68 EUR",
    );
    agree(&world);
}

#[test]
fn window_05_a_late_start_that_cannot_be_held_for_is_stopped_and_owes_its_energy() {
    let mut world = begin(
        "request s1 CP1 1.1 A => started s1 transaction 0
         answer RemoteStart accepted
         wait 200
         site yard hold 4800
         station CP2 yard
         start y1 CP2 1.1 A meter 0 => started y1 transaction 1
         start x1 CP1 1.1 A meter 0 => started x1 transaction 1, but InsufficientFunds 200 of 500
         show outbox => CP1 RemoteStop x1 transaction 1
         answer RemoteStop accepted
         end CP2 1 meter 0 => ended y1, 1.20 EUR
         end CP1 1 meter 2000 => ended x1, 2.16 EUR
         show session x1 => REFUSED held 0 transaction 1 energy 2000 Wh total 216, insufficient funds: 200 of 500",
    );
    play(&mut world, "end CP1 1 meter 2000 => ended x1, 2.16 EUR");
    play(&mut world, "show wallet alice => 4664 of which available 4664");
    world.restart_all();
    play(&mut world, "end CP1 1 meter 2000 => ended x1, 2.16 EUR");
    agree(&world);
}

#[test]
fn window_06_a_card_without_a_hold_is_held_for_now_or_stopped() {
    let mut world = begin(
        "start s1 CP1 1.1 A meter 0 => started s1 transaction 1
         show wallet alice => 5000 of which available 4500
         start s2 CP1 2.1 X meter 0 => started s2 transaction 2, but UnknownToken
         show outbox => CP1 RemoteStop s2 transaction 2
         end CP1 2 meter 300 => ended s2, 0.00 EUR
         end CP1 1 meter 1000 => ended s1, 1.68 EUR",
    );
    hear_out(&mut world);
    assert!(exceptions(&world)[0].contains("300 Wh delivered without a hold, not billed"));
    agree(&world);
}

#[test]
fn window_07_a_start_said_twice_is_one_transaction() {
    let world = begin(
        "start s1 CP1 1.1 A meter 5 at 100 => started s1 transaction 1
         restart
         start s1 CP1 1.1 A meter 5 at 100 => started s1 transaction 1
         start x1 CP1 1.1 A meter 5 at 100 => started s1 transaction 1
         show holds => 1
         end CP1 1 meter 1005 => ended s1, 1.68 EUR
         start s1 CP1 1.1 A meter 5 at 100 => started s1 transaction 1",
    );
    agree(&world);
}

#[test]
fn window_08_a_made_up_number_is_matched_by_meter_and_time() {
    let world = begin(
        "start s1 CP1 1.1 A meter 0 => started s1 transaction 1
         start s2 CP1 2.1 B meter 7000 => started s2 transaction 2
         end CP1 -1 meter 1000 => ended s1, 1.68 EUR
         end CP1 0 meter 8000 => ended s2, 1.68 EUR",
    );
    agree(&world);
}

#[test]
fn window_08_a_stop_from_before_the_start_or_below_its_meter_ends_nothing() {
    let mut world = begin(
        "start s1 CP1 1.1 A meter 5000 at 1000 => started s1 transaction 1
         end CP1 -1 meter 6000 at 900 => Parked
         end CP1 -1 meter 4000 at 2000 => Parked
         end CP1 -1 at 2000 => Parked
         end CP1 -1 meter 99999999 at 2000 => Parked
         show session s1 => CHARGING held 500 transaction 1 energy 0 Wh total 120",
    );
    play(&mut world, "end CP1 -1 meter 6000 at 2000 => ended s1, 1.68 EUR");
    // The same stop again does not look for another session.
    play(&mut world, "start s2 CP1 1.1 B meter 6000 at 1999 => started s2 transaction 2");
    play(&mut world, "end CP1 -1 meter 6000 at 2000 => ended s1, 1.68 EUR");
    play(&mut world, "end CP1 2 meter 6000 at 2100 => ended s2, 1.20 EUR");
    agree(&world);
}

#[test]
fn window_09_start_and_stop_of_an_offline_station_come_days_later() {
    let mut world = begin(
        "disconnect CP1 1
         wait 700000
         connect CP1 2
         start s1 CP1 1.1 A meter 100 at 60 => started s1 transaction 1
         end CP1 1 meter 10100 at 3600 => ended s1, 6.00 EUR",
    );
    // More than the hold: the rest is charged anew.
    play(&mut world, "show wallet alice => 4400 of which available 4400");
    agree(&world);
}

#[test]
fn window_09_an_old_start_does_not_take_the_connector_from_a_newer_one() {
    let world = begin(
        "wait 3000
         start s2 CP1 1.1 B meter 4200 at 2000 => started s2 transaction 1
         start s1 CP1 1.1 A meter 0 at 100 => started s1 transaction 2
         tick CP1 1.1 energy 5000
         show session s2 => CHARGING held 500 transaction 1 energy 800 Wh total 158
         restart
         connect CP1 2
         end CP1 2 meter 4200 at 1900 => ended s1, 3.22 EUR
         end CP1 1 meter 5200 => ended s2, 1.68 EUR",
    );
    agree(&world);
}

#[test]
fn window_10_a_stop_said_twice_books_once() {
    let world = begin(
        "start s1 CP1 1.1 A meter 0 => started s1 transaction 1
         end CP1 1 meter 1000 => ended s1, 1.68 EUR
         end CP1 1 meter 9000 => ended s1, 1.68 EUR
         restart
         end CP1 1 meter 1000 => ended s1, 1.68 EUR",
    );
    agree(&world);
}

#[test]
fn window_11_silence_is_billed_by_estimate_and_the_true_stop_adjusts() {
    let mut world = begin(
        "start s1 CP1 1.1 A meter 0 => started s1 transaction 1
         tick CP1 1.1 energy 4000
         wait 250000
         show session s1 => CHARGING held 500 transaction 1 energy 4000 Wh total 312
         wait 15000
         show session s1 => SETTLED held 500 transaction 1 energy 4000 Wh total 312, nothing was heard of it for too long, suspect
         show outbox => CP1 RemoteStop s1 transaction 1
         show wallet alice => 4688 of which available 4688",
    );
    world.restart_all();
    play(&mut world, "end CP1 1 meter 9000 => ended s1, 5.52 EUR");
    play(
        &mut world,
        "show session s1 => SETTLED held 500 transaction 1 energy 9000 Wh total 552, Local, suspect",
    );
    play(&mut world, "end CP1 1 meter 9999 => ended s1, 5.52 EUR");
    agree(&world);
    let row = world.session("s1");
    assert!(!row.estimated && row.adjusted == 1, "{row:?}");
}

#[test]
fn window_11_a_connector_that_is_free_is_waited_for_for_a_shorter_time() {
    let mut world = begin(
        "start s1 CP1 1.1 A meter 0 => started s1 transaction 1
         tick CP1 1.1 energy 4000
         status CP1 1.1 Available
         wait 1700
         show session s1 => CHARGING held 500 transaction 1 energy 4000 Wh total 312",
    );
    world.restart_all();
    // The same register again says nothing of energy.
    play(
        &mut world,
        "tick CP1 1.1 energy 4000
         wait 200
         show session s1 => SETTLED held 500 transaction 1 energy 4000 Wh total 312, nothing was heard of it for too long, suspect
         end CP1 1 meter 9000 => ended s1, 5.52 EUR",
    );
    agree(&world);
}

#[test]
fn window_11_a_connector_that_is_not_free_after_all_is_waited_for() {
    for word in ["tick CP1 1.1 energy 5000", "status CP1 1.1 Faulted"] {
        let mut world = begin(
            "start s1 CP1 1.1 A meter 0 => started s1 transaction 1
             tick CP1 1.1 energy 4000
             status CP1 1.1 Available",
        );
        play(&mut world, word);
        play(&mut world, "wait 200000");
        assert_eq!(world.session("s1").state, novax_charging::SessionState::Charging, "{word}");
        play(&mut world, "wait 100000");
        assert_eq!(world.session("s1").state, novax_charging::SessionState::Settled, "{word}");
    }
}

#[test]
fn window_11_the_next_start_closes_the_one_before_and_its_stop_adjusts() {
    let world = begin(
        "start s1 CP1 1.1 A meter 0 => started s1 transaction 1
         tick CP1 1.1 energy 4000
         start s2 CP1 1.1 B meter 4200 => started s2 transaction 2
         end CP1 1 meter 4200 => ended s1, 3.22 EUR
         end CP1 2 meter 5200 => ended s2, 1.68 EUR",
    );
    agree(&world);
}

#[test]
fn window_11_an_adjustment_reaches_the_payer_however_its_messages_go() {
    let mut world = begin(
        "p1 place-hold s1 C 500
         start s1 CP1 1.1 C meter 0 held 500 driver carol at-partition p1 => started s1 transaction 1
         tick CP1 1.1 energy 4000
         wait 270000
         show session s1 => SETTLING held 500 transaction 1 energy 4000 Wh total 312, nothing was heard of it for too long, suspect
         end CP1 1 meter 9000 => ended s1, 5.52 EUR
         deliver answer-lost
         deliver twice
         deliver answer-lost
         deliver twice
         p1 deliver
         show account clearing/p1 => -552
         p1 show account clearing/p0 => 552",
    );
    hear_out(&mut world);
    agree(&world);
    // Settled before the true stop comes.
    play(
        &mut world,
        "p1 place-hold s2 C 500
         start s2 CP1 1.1 C meter 0 held 500 driver carol at-partition p1 => started s2 transaction 2
         tick CP1 1.1 energy 60000
         wait 270000
         deliver
         p1 deliver
         end CP1 2 meter 130000 => ended s2, 63.60 EUR
         deliver answer-lost
         deliver twice => captured 4448; captured 4448",
    );
    hear_out(&mut world);
    assert_eq!(world.nodes[1].balance("driver/carol"), 0);
    assert_eq!(world.nodes[1].balance("receivable/carol"), -1_912);
    agree(&world);
}

#[test]
fn window_12_a_stop_before_its_start_waits_for_it() {
    let mut world = begin(
        "end CP1 -1 meter 1500 at 300 => Parked
         end CP1 -1 meter 1500 at 300 => Parked
         restart
         connect CP1 2
         start s1 CP1 1.1 A meter 500 at 100 => started s1 transaction 1
         show session s1 => SETTLED held 500 transaction 1 energy 1000 Wh total 168, Local
         end CP1 T9 meter 2500 at 700 => Parked
         start s2 CP1 1.1 A meter 1500 at 600 transaction T9 => started s2 transaction 0
         show session s2 => SETTLED held 500 transaction T9 energy 1000 Wh total 168, Local",
    );
    assert!(world.nodes[0].partition.station("CP1").unwrap().parked.is_empty());
    play(&mut world, "start s3 CP1 1.1 A meter 2500 at 900 => started s3 transaction 2");
    play(&mut world, "end CP1 2 meter 2500 => ended s3, 1.20 EUR");
    agree(&world);
}

#[test]
fn window_12_so_many_stops_wait_and_no_more() {
    let mut world = begin("");
    for n in 0..40 {
        play(&mut world, &format!("end CP1 -1 meter {} at {} => Parked", 1_000 + n, 100 + n));
    }
    assert_eq!(world.nodes[0].partition.station("CP1").unwrap().parked.len(), 16);
    assert_eq!(exceptions(&world).len(), 40, "each is shown to a person");
    agree(&world);
}

#[test]
fn window_13_a_meter_that_began_anew_bills_each_stretch_it_grew() {
    let mut world = begin(
        "start s1 CP1 1.1 A meter 1000 => started s1 transaction 1
         tick CP1 1.1 energy 3000
         tick CP1 1.1 energy 0
         show session s1 => CHARGING held 500 transaction 1 energy 2000 Wh total 216, suspect
         tick CP1 1.1 energy 400
         show session s1 => CHARGING held 500 transaction 1 energy 2400 Wh total 235, suspect
         end CP1 1 meter 1000 => ended s1, 2.64 EUR",
    );
    // One low value among good ones is a glitch.
    play(
        &mut world,
        "start s2 CP1 1.1 A meter 1000 => started s2 transaction 2
         tick CP1 1.1 energy 3000
         tick CP1 1.1 energy 5
         tick CP1 1.1 energy 3100
         end CP1 2 meter 3500 => ended s2, 2.40 EUR",
    );
    agree(&world);
}

#[test]
fn window_13_what_the_meter_signed_wins() {
    let mut world = begin(
        "start s1 CP1 1.1 A meter 1000 => started s1 transaction 1
         tick CP1 1.1 energy 50
         end CP1 1 meter 90 signed 4000 signed-start 1500 => ended s1, 2.40 EUR",
    );
    assert!(!world.session("s1").suspect, "no doubt is left");
    play(
        &mut world,
        "start s2 CP1 1.1 A meter 1000 => started s2 transaction 2
         end CP1 2 meter 2000 signed 10 signed-start 500 => ended s2, 1.68 EUR",
    );
    assert!(world.session("s2").suspect, "signed, and yet impossible");
    agree(&world);
}

#[test]
fn window_13_a_start_without_a_register_begins_where_the_meter_is_first_heard() {
    let mut world = begin(
        "start s1 CP1 1.1 A transaction T1 => started s1 transaction 0
         tick CP1 1.1 energy 70000
         tick CP1 1.1 energy 71000
         end CP1 T1 meter 72000 => ended s1, 2.16 EUR",
    );
    assert!(!world.session("s1").suspect);
    play(
        &mut world,
        "start s2 CP1 1.1 A transaction T2 => started s2 transaction 0
         end CP1 T2 meter 72000 => ended s2, 1.20 EUR",
    );
    assert!(world.session("s2").suspect, "what it took nobody knows");
    agree(&world);
}

#[test]
fn window_14_a_station_that_lost_power_goes_on_under_the_same_hold() {
    let mut world = begin(
        "start s1 CP1 1.1 A meter 0 at 50 => started s1 transaction 1
         tick CP1 1.1 energy 1000
         disconnect CP1 1
         connect CP1 2
         boot CP1
         start x1 CP1 1.1 A meter 1000 at 60 => started s1 transaction 2
         start x1 CP1 1.1 A meter 1000 at 60 => started s1 transaction 2
         start s1 CP1 1.1 A meter 0 at 50 => started s1 transaction 1
         show holds => 1
         end CP1 1 meter 1000 => ended s1, 1.68 EUR
         show session s1 => CHARGING held 500 transaction 2 energy 1000 Wh total 168
         restart
         connect CP1 3
         end CP1 2 meter 3000 => ended s1, 2.64 EUR
         end CP1 1 meter 1000 => ended s1, 2.64 EUR
         start x1 CP1 1.1 A meter 1000 at 60 => started s1 transaction 2",
    );
    assert_eq!(world.session("s1").segments.len(), 2);
    // Not another driver, not long after, not without a boot.
    play(
        &mut world,
        "start s2 CP1 1.1 A meter 3000 => started s2 transaction 3
         boot CP1
         start s3 CP1 1.1 B meter 3500 => started s3 transaction 4
         wait 2000
         start s4 CP1 1.1 B meter 3600 => started s4 transaction 5
         end CP1 5 meter 3600 => ended s4, 1.20 EUR
         end CP1 3 meter 3000 => ended s2, 1.20 EUR
         end CP1 4 meter 3500 => ended s3, 1.20 EUR",
    );
    agree(&world);
}

#[test]
fn window_14_a_station_that_ends_what_it_lost_starts_anew() {
    let world = begin(
        "start s1 CP1 1.1 A meter 0 => started s1 transaction 1
         disconnect CP1 1
         connect CP1 2
         boot CP1
         end CP1 1 meter 1000 => ended s1, 1.68 EUR
         start s2 CP1 1.1 A meter 1000 => started s2 transaction 2
         end CP1 2 meter 2000 => ended s2, 1.68 EUR",
    );
    agree(&world);
}

#[test]
fn window_15_a_wrong_clock_changes_no_amount() {
    for at in [0, 99_999_999] {
        let world = begin(&format!(
            "start s1 CP1 1.1 A meter 0 at {at} => started s1 transaction 1
             tick CP1 1.1 energy 1000 at {at}
             tick CP1 1.1 energy 1500
             end CP1 1 meter 2000 at {at} => ended s1, 2.16 EUR"
        ));
        agree(&world);
    }
}

#[test]
fn window_16_the_hold_grows_or_the_station_is_asked_to_stop_in_time() {
    let world = begin(
        "start s1 CP1 1.1 A meter 0 => started s1 transaction 1
         tick CP1 1.1 energy 8000
         show session s1 => CHARGING held 1000 transaction 1 energy 8000 Wh total 504
         tick CP1 1.1 energy 80000
         show session s1 => CHARGING held 5000 transaction 1 energy 80000 Wh total 3960
         tick CP1 1.1 energy 84000
         show session s1 => STOPPING held 5000 transaction 1 energy 84000 Wh total 4152, insufficient funds: 0 of 500
         show outbox => CP1 RemoteStop s1 transaction 1
         answer RemoteStop accepted
         end CP1 1 meter 86500 => ended s1, 42.72 EUR",
    );
    agree(&world);
}

#[test]
fn window_17_a_hold_is_renewed_before_it_runs_out() {
    let mut world = begin("start s1 CP1 1.1 A meter 0 => started s1 transaction 1");
    for day in 1..30 {
        play(&mut world, &format!("tick CP1 1.1 energy {day}"));
        play(&mut world, "wait 86400");
        play(&mut world, "show wallet alice => 5000 of which available 4500");
    }
    play(&mut world, "end CP1 1 meter 1000 => ended s1, 1.68 EUR");
    assert!(world.session("s1").holds > 4, "placed anew each few days");
    agree(&world);
}

/// Two nodes that hear nothing for longer than holds last.
fn asleep(silence_days: u64, hold_days: u64) -> World {
    let days = |days: u64| Duration::from_secs(days * 86_400);
    let mut world = World::with(|config| {
        config.silence_close_after = days(silence_days);
        config.hold_lifetime = days(hold_days);
    });
    play(&mut world, SETUP);
    world
}

#[test]
fn window_17_a_hold_that_ran_out_is_placed_anew() {
    let mut world = asleep(100, 7);
    play(
        &mut world,
        "start s1 CP1 1.1 A meter 0 => started s1 transaction 1
         wait 700000
         show session s1 => CHARGING held 500 transaction 1 energy 0 Wh total 120
         show wallet alice => 5000 of which available 4500
         end CP1 1 meter 1000 => ended s1, 1.68 EUR",
    );
    agree(&world);
}

#[test]
fn window_17_a_hold_that_is_gone_for_good_ends_the_charge() {
    let mut world = asleep(3, 2);
    play(
        &mut world,
        "site free hold 0
         station CP2 free
         start s2 CP2 1.1 A meter 0 => started s2 transaction 1
         tick CP2 1.1 energy 99000
         wait 172800
         start s1 CP1 1.1 A meter 0 => started s1 transaction 1
         show wallet alice => 5000 of which available 4500
         wait 216000
         show session s2 => SETTLED held 0 transaction 1 energy 99000 Wh total 4872, nothing was heard of it for too long, suspect
         show session s1 => STOPPING held 0 transaction 1 energy 0 Wh total 120, insufficient funds: 128 of 500
         answer CP1 accepted => done
         end CP1 1 meter 1000 => ended s1, 1.68 EUR
         end CP2 1 meter 99000 => ended s2, 48.72 EUR",
    );
    assert!(exceptions(&world).iter().any(|text| text.contains("cannot be renewed")));
    assert_eq!(world.session("s1").owed, 40);
    agree(&world);
}

#[test]
fn window_17_a_hold_elsewhere_is_renewed_while_its_session_lives() {
    let mut world = begin(
        "p1 place-hold s1 C 500
         start s1 CP1 1.1 C meter 0 held 500 driver carol at-partition p1 => started s1 transaction 1",
    );
    for day in 1..20 {
        play(&mut world, &format!("tick CP1 1.1 energy {day}"));
        play(&mut world, "wait 86400");
        play(&mut world, "p1 wait 1");
        play(&mut world, "p1 deliver => session CHARGING");
        play(&mut world, "p1 show wallet carol => 5000 of which available 4500");
    }
    play(&mut world, "end CP1 1 meter 1000 => ended s1, 1.68 EUR");
    play(&mut world, "deliver => captured 168");
    play(&mut world, "p1 wait 700");
    play(&mut world, "p1 deliver");
    agree(&world);
}

#[test]
fn window_17_a_hold_elsewhere_that_ran_out_is_charged_anew() {
    let mut world = asleep(100, 7);
    play(
        &mut world,
        "p1 place-hold s1 C 500
         start s1 CP1 1.1 C meter 0 held 500 driver carol at-partition p1 => started s1 transaction 1
         p1 wait 700000
         p1 show wallet carol => 5000 of which available 5000
         end CP1 1 meter 1000 => ended s1, 1.68 EUR
         deliver => captured 168
         p1 deliver",
    );
    play(&mut world, "p1 show wallet carol => 4832 of which available 4832");
    agree(&world);
}

#[test]
fn window_18_a_capture_that_is_refused_leaves_the_revenue_and_shows_the_gap() {
    let mut world = begin(
        "p1 place-hold s1 C 500
         start s1 CP1 1.1 C meter 0 held 500 driver carol at-partition p1 => started s1 transaction 1
         end CP1 1 meter 1000 => ended s1, 1.68 EUR
         show session s1 => SETTLING held 500 transaction 1 energy 1000 Wh total 168, Local",
    );
    let outbox = world.nodes[0].partition.outbox().next().expect("the capture").id;
    let outcome = Box::new(Outcome::Refused(Refusal::Full));
    world.step(0, Command::PeerAnswered { outbox, outcome });
    let row = world.session("s1");
    assert!(row.state == SessionState::Settled && row.suspect, "{row:?}");
    assert_eq!(world.nodes[0].balance("clearing/p1"), -168, "what the payer's side still owes");
    assert_eq!(world.nodes[0].balance("operator"), 84);
    assert!(exceptions(&world)[0].contains("did not take the bill"));
    world.nodes[0].check_books();
}

#[test]
fn window_19_a_capture_whose_answer_is_lost_is_asked_again_and_booked_once() {
    let world = begin(
        "p1 place-hold s1 C 500
         start s1 CP1 1.1 C meter 0 held 500 driver carol at-partition p1 => started s1 transaction 1
         end CP1 1 meter 1000 => ended s1, 1.68 EUR
         deliver answer-lost => captured 168
         restart
         connect CP1 2
         deliver twice => captured 168; captured 168
         p1 show wallet carol => 4832 of which available 4832",
    );
    agree(&world);
}

#[test]
fn window_20_more_than_the_hold_takes_the_wallet_then_is_owed() {
    let world = begin(
        "start s1 CP1 1.1 A meter 0 => started s1 transaction 1
         end CP1 1 meter 120000 => ended s1, 58.80 EUR
         show wallet alice => 0 of which available 0
         show account receivable/alice => -880",
    );
    assert_eq!(world.session("s1").owed, 880);
    assert!(exceptions(&world)[0].contains("its driver owes 880"), "somebody is told");
    agree(&world);
}

#[test]
fn window_20_a_bill_that_the_ledger_refuses_holds_nothing() {
    let mut world = begin(
        "site free hold 0 fee 0
         station CP2 free
         start s1 CP2 1.1 A meter 0 => started s1 transaction 1
         end CP2 1 meter 1000 => ended s1, 0.48 EUR",
    );
    // The same id again, after everybody has forgotten the first.
    world.forget_sessions();
    play(
        &mut world,
        "connect CP1 2
         boot CP1
         start s1 CP1 1.1 A meter 0 => started s1 transaction 1
         show wallet alice => 4952 of which available 4452
         end CP1 1 meter 1000 => ended s1, 0.00 EUR
         show wallet alice => 4952 of which available 4952
         show holds => 0",
    );
    let row = world.session("s1");
    assert!(row.suspect && row.charges.total() == 0, "{row:?}");
    assert!(exceptions(&world)[0].contains("the bill of 168 was not booked"));
}

#[test]
fn window_21_a_new_leader_sends_again_and_a_second_answer_changes_nothing() {
    let world = begin(
        "request s1 CP1 1.1 A => started s1 transaction 0
         start s1 CP1 1.1 A meter 0 remote 1 => started s1 transaction 1
         stop s1 => stopping s1
         restart
         connect CP1 2
         show outbox => CP1 RemoteStop s1 transaction 1
         answer RemoteStop accepted => done
         answer RemoteStop accepted => no such row
         end CP1 1 meter 1000 => ended s1, 1.68 EUR
         request s1 CP1 1.1 A => started s1 transaction 0",
    );
    agree(&world);
}

#[test]
fn window_22_an_older_socket_says_nothing_any_more() {
    let world = begin(
        "connect CP1 7 => done
         connect CP1 6 => refused KeyReused
         disconnect CP1 6 => done
         request s1 CP1 1.1 A => started s1 transaction 0
         start s1 CP1 1.1 A meter 0 remote 1 => started s1 transaction 1
         end CP1 1 meter 1000 => ended s1, 1.68 EUR",
    );
    assert!(world.nodes[0].partition.station("CP1").unwrap().connected);
    agree(&world);
}

#[test]
fn window_23_a_refund_is_taken_from_all_who_earned_in_proportion() {
    let mut world = begin(
        "start s1 CP1 1.1 A meter 0 => started s1 transaction 1
         refund s1 1 10 => refused NotRefundable
         end CP1 1 meter 1000 => ended s1, 1.68 EUR
         show account site-host/garage => 42
         show account operator => 84
         show account platform => 14
         show account tax => 28
         refund s1 1 42 => refunded 42
         refund s1 1 42 => refunded 42
         show account site-host/garage => 31
         show account operator => 63
         show account platform => 11
         show account tax => 21
         show wallet alice => 4874 of which available 4874
         refund s1 1 43 => refused KeyReused
         refund s1 2 127 => refused InsufficientFunds 126 of 127
         restart
         refund s1 2 126 => refunded 126
         show wallet alice => 5000 of which available 5000
         show account operator => 0
         show account tax => 0
         show account clearing/p0 => 0",
    );
    world.nodes[0].check_books();
    play(&mut world, "refund s1 3 1 => refused InsufficientFunds 0 of 1");
}

#[test]
fn window_23_a_refund_reaches_a_driver_of_another_partition_once() {
    let world = begin(
        "p1 place-hold s1 C 500
         start s1 CP1 1.1 C meter 0 held 500 driver carol at-partition p1 => started s1 transaction 1
         end CP1 1 meter 120000 => ended s1, 58.80 EUR
         deliver => captured 5000
         p1 show account receivable/carol => -880
         refund s1 1 1000 => refunded 1000
         show outbox => p1 Refund s1 1 of 1000
         refund s1 2 100 => refunded 100
         deliver answer-lost => refunded 1000; refunded 100
         deliver twice => refunded 1000; refunded 1000; refunded 100; refunded 100
         p1 show account receivable/carol => 0
         p1 show wallet carol => 220 of which available 220
         show account clearing/p1 => -4780
         p1 show account clearing/p0 => 4780
         show outbox => nothing",
    );
    world.nodes.iter().for_each(crate::node::Node::check_books);
}

#[test]
fn window_23_an_adjustment_after_a_refund_keeps_the_refund() {
    let world = begin(
        "p1 place-hold s1 C 500
         start s1 CP1 1.1 C meter 0 held 500 driver carol at-partition p1 => started s1 transaction 1
         tick CP1 1.1 energy 4000
         wait 270000
         deliver
         p1 deliver
         refund s1 1 100 => refunded 100
         deliver => refunded 100
         end CP1 1 meter 9000 => ended s1, 5.52 EUR
         deliver => captured 452
         show account clearing/p1 => -452
         p1 show account clearing/p0 => 452",
    );
    world.nodes.iter().for_each(crate::node::Node::check_books);
}

#[test]
fn window_24_a_new_price_waits_for_the_next_session() {
    let world = begin(
        "start s1 CP1 1.1 A meter 0 => started s1 transaction 1
         site garage price 90000 fee 900 tax 0
         end CP1 1 meter 1000 => ended s1, 1.68 EUR",
    );
    agree(&world);
}

#[test]
fn a_request_key_is_not_spent_by_a_refusal_wherever_the_wallet_is() {
    let mut world = begin(
        "start s0 CP1 1.1 A meter 0 => started s0 transaction 1
         request s1 CP1 1.1 B => refused ConnectorBusy
         p1 place-hold s2 C 500 => held 500 of carol
         request s2 CP1 1.1 C held 500 driver carol at-partition p1 => refused ConnectorBusy
         deliver => done
         end CP1 1 meter 1000 => ended s0, 1.68 EUR
         p1 place-hold s2 C 500 => held 500 of carol in attempt 1
         request s2 CP1 1.1 C held 500 attempt 1 driver carol at-partition p1 => started s2 transaction 0
         p1 show wallet carol => 5000 of which available 4500
         start x2 CP1 1.1 C meter 1000 remote 1 => started s2 transaction 2
         tick CP1 1.1 energy 11000
         deliver => held 1000 of carol in attempt 1
         end CP1 2 meter 12000 => ended s2, 6.48 EUR
         deliver => captured 648
         request s1 CP1 1.1 B => started s1 transaction 0
         answer RemoteStart Rejected => done",
    );
    play(&mut world, "p1 wait 700");
    play(&mut world, "p1 deliver");
    agree(&world);
}

#[test]
fn a_try_that_the_payer_gave_up_does_not_spend_the_key_either() {
    let mut world = begin(
        "p1 place-hold s1 C 500 => held 500 of carol
         p1 wait 700
         p1 deliver => session never heard of
         request s1 CP1 1.1 C held 500 driver carol at-partition p1 => refused WrongState(Refused)
         p1 place-hold s1 C 500 => held 500 of carol in attempt 1
         restart
         connect CP1 2
         request s1 CP1 1.1 C held 500 attempt 1 driver carol at-partition p1 => started s1 transaction 0
         restart
         connect CP1 3
         start s1 CP1 1.1 C meter 0 remote 1 => started s1 transaction 1
         end CP1 1 meter 1000 => ended s1, 1.68 EUR
         deliver => captured 168
         p1 wait 700",
    );
    play(&mut world, "p1 deliver");
    agree(&world);
}

#[test]
fn a_second_card_on_a_refused_transaction_charges() {
    let mut world = begin(
        "start s1 CP1 1.1 X meter 0 transaction T1 => started s1 transaction 0, but UnknownToken
         show outbox => CP1 RemoteStop s1 transaction T1
         start s1 CP1 1.1 X meter 0 transaction T1 => started s1 transaction 0, but UnknownToken
         start s2 CP1 1.1 A meter 50 transaction T1 => started s2 transaction 0
         show outbox => nothing
         restart
         connect CP1 2
         end CP1 T1 meter 1050 => ended s2, 1.68 EUR
         end CP1 T1 meter 1050 => ended s2, 1.68 EUR",
    );
    play(
        &mut world,
        "show session s1 => REFUSED held 0 transaction T1 energy 50 Wh total 0, unknown token",
    );
    agree(&world);
}

#[test]
fn a_card_pays_for_an_app_start_and_the_station_waits_for_its_provider() {
    let mut world = begin(
        "card dora D
         request s1 CP1 1.1 D => started s1 transaction 0
         show session s1 => AUTHORISING held 500
         show outbox => stripe AUTHORISE s1 500
         request s2 CP1 1.1 A => refused ConnectorBusy
         restart
         connect CP1 2
         psp AUTHORISE pending => stripe AUTHORISE s1 500
         show session s1 => AUTHORISING held 500
         psp AUTHORISE ok => stripe AUTHORISE s1 500
         show session s1 => STARTING held 500
         show outbox => CP1 RemoteStart s1 1.1 D id 1
         answer RemoteStart accepted => done
         start s1 CP1 1.1 D meter 0 remote 1 => started s1 transaction 1
         end CP1 1 meter 1000 => ended s1, 1.68 EUR
         show session s1 => SETTLING held 500 transaction 1 energy 1000 Wh total 168, Local
         show outbox => stripe CAPTURE s1 168 on pi_s1_0
         psp CAPTURE ok => stripe CAPTURE s1 168 on pi_s1_0
         show session s1 => SETTLED held 500 transaction 1 energy 1000 Wh total 168, Local
         show account psp/stripe => -168",
    );
    play(&mut world, "end CP1 1 meter 1000 => ended s1, 1.68 EUR");
    agree(&world);
}

#[test]
fn a_card_that_says_no_or_nothing_refuses_an_app_start_and_gives_back() {
    let mut world = begin(
        "card dora D
         request s1 CP1 1.1 D => started s1 transaction 0
         psp AUTHORISE declined 2
         show session s1 => REFUSED held 500, payment declined
         show outbox => nothing
         show holds => 0
         request s1 CP1 1.1 D => started s1 transaction 0
         request s2 CP1 1.1 D => started s2 transaction 0
         wait 200
         show session s2 => REFUSED held 500, the payment provider did not answer in time
         show holds => 0
         show outbox => stripe AUTHORISE s2 500
         restart
         connect CP1 2
         psp AUTHORISE ok
         show outbox => stripe VOID s2 0 on pi_s2_0
         psp VOID ok
         request s3 CP1 1.1 D => started s3 transaction 0
         stop s3 => stopping s3
         psp AUTHORISE ok
         psp VOID ok",
    );
    agree(&world);
    play(
        &mut world,
        "request s4 CP1 1.1 D => started s4 transaction 0
         psp AUTHORISE ok
         wait 200
         show session s4 => EXPIRED held 500, no transaction came in time
         psp VOID ok",
    );
    agree(&world);
}

#[test]
fn window_06_a_card_of_another_partition_charges_at_once_and_is_asked_beside() {
    let mut world = begin("p1 card dora D");
    let held = world.run("p1 place-hold s1 D 500");
    assert!(held.starts_with("Card"), "{held}");
    play(
        &mut world,
        "start s1 CP1 1.1 D meter 0 card-of dora => started s1 transaction 1
         show session s1 => CHARGING held 500 transaction 1 energy 0 Wh total 120
         tick CP1 1.1 energy 500
         end CP1 1 meter 1000 => ended s1, 1.68 EUR
         show outbox => stripe AUTHORISE s1 500
         psp AUTHORISE ok
         psp CAPTURE ok
         show session s1 => SETTLED held 500 transaction 1 energy 1000 Wh total 168, Local
         start s2 CP1 1.1 D meter 1000 card-of dora => started s2 transaction 2
         psp AUTHORISE declined 1
         show session s2 => STOPPING held 0 transaction 2 energy 0 Wh total 120, payment declined
         show holds => 0
         answer RemoteStop accepted
         end CP1 2 meter 2000 => ended s2, 1.68 EUR
         show account receivable/dora => -168
         start s3 CP1 1.1 D meter 2000 card-of dora => started s3 transaction 3
         end CP1 3 meter 3000 => ended s3, 1.68 EUR
         psp AUTHORISE declined 1
         show account receivable/dora => -336",
    );
    assert_eq!((world.session("s2").owed, world.session("s3").owed), (168, 168));
    agree(&world);
}

#[test]
fn window_16_a_card_is_asked_for_more_one_thing_at_a_time() {
    let world = begin(
        "card dora D
         start s1 CP1 1.1 D meter 0 => started s1 transaction 1
         tick CP1 1.1 energy 8000
         show outbox => stripe AUTHORISE s1 500
         psp AUTHORISE ok
         tick CP1 1.1 energy 8100
         show outbox => stripe INCREMENT s1 1000 on pi_s1_0
         tick CP1 1.1 energy 9000
         psp INCREMENT ok
         show session s1 => CHARGING held 1000 transaction 1 energy 9000 Wh total 552
         restart
         connect CP1 2
         tick CP1 1.1 energy 20000
         psp INCREMENT declined 9
         show outbox => stripe AUTHORISE s1 500
         psp AUTHORISE ok
         show session s1 => CHARGING held 1500 transaction 1 energy 20000 Wh total 1080
         tick CP1 1.1 energy 30000
         show outbox => stripe AUTHORISE s1 500
         psp AUTHORISE declined 1
         show session s1 => STOPPING held 1500 transaction 1 energy 30000 Wh total 1560, payment declined
         answer RemoteStop accepted
         end CP1 1 meter 31000 => ended s1, 16.08 EUR
         show outbox => stripe CAPTURE s1 1000 on pi_s1_0; stripe CAPTURE s1 500 on pi_s1_3
         psp CAPTURE ok
         psp CAPTURE ok
         show account psp/stripe => -1500
         show account receivable/dora => -108",
    );
    agree(&world);
}

#[test]
fn window_17_a_card_is_reserved_anew_before_it_lapses() {
    let mut world = begin(
        "card dora D
         start s1 CP1 1.1 D meter 0 => started s1 transaction 1
         psp AUTHORISE ok",
    );
    for day in 1..=5 {
        play(&mut world, &format!("tick CP1 1.1 energy {day}"));
        play(&mut world, "wait 86400");
    }
    play(
        &mut world,
        "tick CP1 1.1 energy 10
         wait 43200
         show outbox => stripe AUTHORISE s1 500
         restart
         connect CP1 2
         psp AUTHORISE ok
         show outbox => stripe VOID s1 0 on pi_s1_0
         psp VOID ok
         show holds => 1",
    );
    for day in 6..=11 {
        play(&mut world, &format!("tick CP1 1.1 energy {day}0"));
        play(&mut world, "wait 86400");
    }
    play(
        &mut world,
        "psp AUTHORISE declined 1
         show session s1 => STOPPING held 500 transaction 1 energy 110 Wh total 125, payment declined
         answer RemoteStop accepted
         end CP1 1 meter 1000 => ended s1, 1.68 EUR
         psp CAPTURE ok",
    );
    agree(&world);
}

#[test]
fn window_18_a_card_that_does_not_give_leaves_the_revenue_and_a_debt() {
    let mut world = begin(
        "card dora D
         start s1 CP1 1.1 D meter 0 => started s1 transaction 1
         psp AUTHORISE ok
         end CP1 1 meter 1000 => ended s1, 1.68 EUR
         restart
         connect CP1 2
         psp CAPTURE declined 5
         show account psp/stripe => 0
         show account receivable/dora => -168
         start s2 CP1 1.1 D meter 1000 => started s2 transaction 2
         psp AUTHORISE ok
         end CP1 2 meter 2000 => ended s2, 1.68 EUR
         psp CAPTURE ok 100
         show account psp/stripe => -100
         show account receivable/dora => -236",
    );
    let row = world.session("s1");
    assert_eq!((row.state, row.owed, row.card_due), (SessionState::Settled, 168, 0));
    assert_eq!(world.session("s2").owed, 68);
    assert_eq!(world.nodes[0].balance("operator"), 168);
    assert!(exceptions(&world)[0].contains("was to give 168 and gave 0"));
    // What was never paid is no longer owed, and the provider is not asked to pay it back.
    play(&mut world, "refund s1 1 168 => refunded 168");
    play(&mut world, "show outbox => nothing");
    play(&mut world, "refund s2 1 168 => refunded 168");
    play(&mut world, "show outbox => stripe REFUND s2 100 on pi_s2_0");
    play(&mut world, "psp REFUND ok");
    play(&mut world, "show account receivable/dora => 0");
    agree(&world);
}

#[test]
fn window_19_a_capture_that_nobody_knows_of_is_found_out_later_and_booked_once() {
    let mut world = begin(
        "card dora D
         start s1 CP1 1.1 D meter 0 => started s1 transaction 1
         psp AUTHORISE ok
         end CP1 1 meter 1000 => ended s1, 1.68 EUR
         psp CAPTURE unknown
         show session s1 => SETTLED held 500 transaction 1 energy 1000 Wh total 168, Local, suspect
         show account psp/stripe => -168
         restart
         connect CP1 2
         start s2 CP1 1.1 D meter 1000 => started s2 transaction 2
         psp AUTHORISE ok
         end CP1 2 meter 2000 => ended s2, 1.68 EUR
         psp CAPTURE unknown",
    );
    let reference = "pi_s1_0".into();
    world.resolve("s1", 1, PaymentAnswer::Succeeded { reference, amount: 168 });
    world.resolve("s1", 1, PaymentAnswer::Declined { code: 5, words: "".into() });
    play(&mut world, "show account receivable/dora => 0");
    for _ in 0..2 {
        world.resolve("s2", 1, PaymentAnswer::Declined { code: 5, words: "".into() });
    }
    play(&mut world, "show account receivable/dora => -168");
    agree(&world);
}

#[test]
fn window_11_a_card_bill_by_estimate_is_adjusted_at_the_debt() {
    let mut world = begin(
        "card dora D
         start s1 CP1 1.1 D meter 0 => started s1 transaction 1
         psp AUTHORISE ok
         tick CP1 1.1 energy 4000
         wait 270000
         psp CAPTURE ok
         answer RemoteStop accepted
         end CP1 1 meter 9000 => ended s1, 5.52 EUR
         show account psp/stripe => -312
         show account receivable/dora => -240",
    );
    assert_eq!(world.session("s1").owed, 240);
    hear_out(&mut world);
    agree(&world);
}

#[test]
fn window_23_a_refund_is_paid_back_to_the_card_that_gave_it() {
    let world = begin(
        "card dora D
         start s1 CP1 1.1 D meter 0 => started s1 transaction 1
         psp AUTHORISE ok
         end CP1 1 meter 1000 => ended s1, 1.68 EUR
         psp CAPTURE ok
         refund s1 1 169 => refused InsufficientFunds 168 of 169
         refund s1 1 84 => refunded 84
         show outbox => stripe REFUND s1 84 on pi_s1_0
         refund s1 1 84 => refunded 84
         show outbox => stripe REFUND s1 84 on pi_s1_0
         restart
         connect CP1 2
         psp REFUND ok
         show account operator => 42
         show account tax => 14
         refund s1 2 85 => refused InsufficientFunds 84 of 85
         refund s1 2 84 => refunded 84
         psp REFUND ok
         show account operator => 0
         show account psp/stripe => 0
         start s2 CP1 1.1 A meter 1000 => started s2 transaction 2
         end CP1 2 meter 2000 => ended s2, 1.68 EUR
         refund s2 1 68 => refunded 68
         show wallet alice => 4900 of which available 4900",
    );
    agree(&world);
}

#[test]
fn window_23_a_refund_that_the_provider_declines_is_owed_to_the_driver() {
    let mut world = begin(
        "card dora D
         start s1 CP1 1.1 D meter 0 => started s1 transaction 1
         psp AUTHORISE ok
         end CP1 1 meter 1000 => ended s1, 1.68 EUR
         psp CAPTURE ok
         refund s1 1 100 => refunded 100
         psp REFUND declined 7
         show account psp/stripe => -168
         show account receivable/dora => 100",
    );
    agree(&world);
    // Rows from before another refund are of no use.
    let stale = crate::cards::refund(&world.nodes[0], crate::saga::session("s1"), 3, 8);
    play(&mut world, "refund s1 2 60 => refunded 60");
    let answer = world.step(0, Command::Refund(stale));
    assert_eq!(answer, "refused NotRefundable");
    play(&mut world, "psp REFUND ok");
    play(&mut world, "refund s1 3 8 => refunded 8");
    play(&mut world, "psp REFUND ok");
    agree(&world);
}
