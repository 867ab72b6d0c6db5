//! The suite against a real node, short enough for every run of the tests; and that it would notice.

use novax_jepsen::crash::evidence_folder;
use novax_jepsen::nemesis::unable;
use novax_jepsen::op;
use novax_jepsen::report::Report;
use novax_jepsen::station::now_ms;
use novax_jepsen::suite::{WORKLOADS, faults, run};
use novax_jepsen::verdict::Verdict;
use std::path::PathBuf;
use std::time::Duration;

/// A short run on one node, with its folder.
fn run(workload: &str, nemesis: &str, time_ms: u64) -> (Report, PathBuf) {
    run_on(1, workload, nemesis, time_ms)
}

fn run_on(nodes: u64, workload: &str, nemesis: &str, time_ms: u64) -> (Report, PathBuf) {
    let evidence =
        evidence_folder().expect("a folder for the evidence").join(format!("{workload}-{nemesis}"));
    std::fs::create_dir_all(&evidence).expect("made");
    let plan = run::Plan {
        workload: workload.to_owned(),
        faults: faults::named(nemesis).expect("known"),
        time: Duration::from_millis(time_ms),
        nodes,
        other: None,
        lanes: 6,
        seed: now_ms(),
        pace: (Duration::from_millis(200), Duration::from_millis(700)),
        evidence: evidence.clone(),
    };
    (run::run(&plan).expect("the evidence is kept"), evidence)
}

#[track_caller]
fn check_passes(workload: &str, nemesis: &str, time_ms: u64) {
    check_passes_on(1, workload, nemesis, time_ms);
}

#[track_caller]
fn check_passes_on(nodes: u64, workload: &str, nemesis: &str, time_ms: u64) -> PathBuf {
    let (report, evidence) = run_on(nodes, workload, nemesis, time_ms);
    let seed = report.seed;
    assert_eq!(report.verdict, Verdict::Passed, "{nemesis}, seed {seed}, {}", evidence.display());
    for kept in ["history.edn", "history.jsonl", "report.json", "report.html", "n1.log"] {
        assert!(evidence.join(kept).exists(), "{kept}");
    }
    evidence
}

#[test]
fn every_workload_holds_while_the_node_is_killed() {
    for (workload, _) in WORKLOADS {
        check_passes(workload, "kill-one", 2_500);
    }
}

#[test]
fn a_node_keeps_its_promises_through_every_fault_of_processes_and_clocks() {
    for fault in ["pause-one", "delay", "clock-jump", "kill-one,pause-one,delay,clock-jump"] {
        check_passes("bank", fault, 2_000);
    }
}

#[test]
fn a_node_keeps_its_promises_through_every_fault_of_the_network() {
    if let Some(why) = unable() {
        eprintln!("skipped: {why}");
        return;
    }
    for fault in ["cut-clients", "loss", "slow-cable"] {
        check_passes("bank", fault, 2_500);
    }
}

#[test]
fn a_node_keeps_its_promises_through_every_fault_of_its_disk() {
    if let Some(why) = unable() {
        eprintln!("skipped: {why}");
        return;
    }
    for fault in ["disk-full", "disk-read-only", "disk-power-cut", "disk-slow"] {
        check_passes("bank", fault, 2_500);
    }
}

/// Three nodes, in networks of their own where that is allowed: who leads is killed, stopped and cut off.
#[test]
fn a_cluster_keeps_its_promises_when_its_leaders_are_lost() {
    let nemesis = match unable() {
        None => "kill-leader,partition-leader,pause-leader,kill-majority",
        Some(_) => "kill-leader,pause-leader,kill-majority",
    };
    for (workload, time_ms) in [("bank", 8_000), ("register", 6_000)] {
        let evidence = check_passes_on(3, workload, nemesis, time_ms);
        let leads = op::leads(&op::read(&evidence.join("history.jsonl")).expect("a history"));
        assert!(!leads.is_empty(), "who leads is seen");
        let page = std::fs::read_to_string(evidence.join("report.html")).expect("a page");
        assert!(page.contains("Who led") && page.contains("<th>who led</th>"));
        for log in ["n1.log", "n2.log", "n3.log"] {
            assert!(evidence.join(log).exists(), "{log}");
        }
    }
}

/// Nodes leave for good and others come in their place; nodes are stopped and started by their operator.
#[test]
fn a_cluster_keeps_its_promises_when_its_nodes_are_replaced() {
    for fault in ["members", "replace-disk", "upgrade"] {
        check_passes_on(3, "bank", fault, 3_000);
    }
}

#[test]
fn every_workload_notices_a_node_that_forgets() {
    for workload in ["register", "bank", "set", "telemetry", "sql"] {
        let (report, evidence) = run(workload, "forget", 3_500);
        let Verdict::Failed { findings } = &report.verdict else {
            panic!("{workload}: {report:?}, {}", evidence.display());
        };
        assert!(!findings.is_empty());
        // What it found is in the page, and the history is there for other checkers.
        let page = std::fs::read_to_string(evidence.join("report.html")).expect("a page");
        assert!(page.contains("failed"));
        let ops = op::read(&evidence.join("history.jsonl")).expect("a history");
        let edn = std::fs::read_to_string(evidence.join("history.edn")).expect("a history");
        assert_eq!(edn.lines().count(), ops.len());
    }
}

#[test]
fn a_run_that_could_break_nothing_or_did_nothing_is_no_pass() {
    // One node cannot be parted from itself.
    let (report, _) = run("register", "partition-halves", 1_500);
    let Verdict::Broken { reason } = &report.verdict else { panic!("{report:?}") };
    assert!(reason.starts_with("no fault was in force"), "{reason}");
    let (report, _) = run("bank", "none", 1);
    assert!(matches!(report.verdict, Verdict::Broken { .. }), "{report:?}");
}
