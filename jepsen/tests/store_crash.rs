//! The store's crash test in short: the long one is `store-crash --kills 5000`.

use novax_jepsen::store_crash::{Failure, Plan, run};
use std::path::PathBuf;

fn plan(kills: u32, forget: bool) -> Plan {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_store-crash"));
    Plan { program, kills, seed: 20_260_801, forget }
}

#[test]
fn a_store_that_is_killed_at_any_moment_keeps_its_promises() {
    let report = run(&plan(40, false)).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{report:?}");
    // Fewer, and the kills met nothing.
    assert!(report.kills == 40 && report.looks >= 5 && report.batches > 100, "{report:?}");
    assert!(report.while_opening > 0 && report.keys > 0 && report.replayed > 0, "{report:?}");
}

#[test]
fn a_store_that_forgets_is_found_out() {
    match run(&plan(12, true)) {
        Err(Failure::Failed(what)) => assert!(what.contains("was acknowledged"), "{what}"),
        other => panic!("{other:?}"),
    }
}
