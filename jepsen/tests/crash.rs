//! The crash test, short enough for every run of the tests.

use novax_jepsen::crash::{Plan, Verdict, evidence_folder, run};
use novax_jepsen::station::now_ms;

#[test]
fn crashes_break_no_promise() {
    let evidence = evidence_folder().expect("a folder for the evidence");
    // Another plan each time: the seed and the evidence are in the message.
    let plan = Plan { kills: 50, seed: now_ms(), chargers: 24, evidence, forget: false };
    let report = run(&plan).expect("the evidence is kept");
    eprintln!("{:?}", report.counts);
    assert_eq!(report.verdict, Verdict::Passed, "seed {}, {}", plan.seed, plan.evidence.display());
}

#[test]
fn the_crash_test_notices_a_node_that_forgets() {
    let evidence = evidence_folder().expect("a folder for the evidence");
    let plan = Plan { kills: 6, seed: now_ms(), chargers: 12, evidence, forget: true };
    let report = run(&plan).expect("the evidence is kept");
    let Verdict::Failed { findings } = &report.verdict else {
        panic!("{report:?}: seed {}, {}", plan.seed, plan.evidence.display());
    };
    assert!(findings.iter().any(|finding| finding.contains("is lost")), "{findings:#?}");
}
