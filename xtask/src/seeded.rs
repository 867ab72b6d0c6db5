//! `cargo xtask sim --bugs`: the tests find bugs that were put in on purpose, and none without one.

use crate::Result;
use crate::shell::{command, root, run_command, step, target};
use std::path::PathBuf;
use std::process::Command;

/// What looks for a bug.
#[derive(Clone, Copy)]
enum Finder {
    /// The simulator with so many nodes, and how many seeds it may take.
    Sim { nodes: u16, seeds: u32 },
    /// Raft's simulated cluster.
    Cluster,
}

const ONE: Finder = Finder::Sim { nodes: 1, seeds: 48 };
const THREE: Finder = Finder::Sim { nodes: 3, seeds: 12 };

/// A bug: the name under which the code asks `novax_model::seeded` for it, what must find it, and what that must
/// say, so that it is found for what it is.
type Bug = (&'static str, Finder, &'static str);

const BUGS: &[Bug] = &[
    ("ack-before-write", ONE, "was committed, the disk has entries up to"),
    ("log-skips-write", ONE, "is known to have been written"),
    ("mark-before-flush", ONE, "was committed, the disk has entries up to"),
    ("heads-not-flushed", ONE, "meter values that were taken are lost"),
    ("delete-not-stored", ONE, "a hold is open and resolved"),
    ("start-not-deduped", ONE, "a start has two sessions"),
    ("payment-asked-anew", ONE, "by our books the provider has"),
    ("deposit-not-deduped", ONE, "was paid or is owed"),
    ("lost-batch-answered", THREE, " Wh, billed session"),
    ("commit-without-quorum", THREE, "replicas differ after entry"),
    ("read-without-quorum", THREE, "was answered Refused(Unknown"),
    ("vote-not-persisted", THREE, "a restatement contradicts the log before it"),
    ("segment-retired-early", THREE, "are not all there"),
    ("commit-without-quorum", Finder::Cluster, "has another entry at"),
    ("read-without-quorum", Finder::Cluster, "a read at"),
    ("follower-acks-early", Finder::Cluster, "has another entry at"),
];

/// Raft's simulated cluster, as a test.
const CLUSTER: &[&str] = &["test", "-q", "--workspace", "--test", "cluster"];
/// What is shown of a finding.
const FINDING_CHARS_MAX: usize = 240;
/// Names the bug of a process.
const VARIABLE: &str = "NOVAX_SEEDED_BUG";

/// All bugs one after another, or those that are named.
pub(crate) fn run(named: &[String]) -> Result {
    let known = |name: &String| BUGS.iter().any(|(bug, ..)| bug == name);
    if let Some(unknown) = named.iter().find(|name| !known(name)) {
        return Err(format!("no seeded bug {unknown:?}"));
    }
    step("build with seeded bugs", build)?;
    step("no bug, nothing found", || {
        for finder in [ONE, THREE, Finder::Cluster] {
            if let Some(said) = find(finder, None)? {
                return Err(format!("without a bug this was found: {}", finding(&said)));
            }
        }
        Ok(())
    })?;
    let is_wanted = |bug: &str| named.is_empty() || named.iter().any(|name| name == bug);
    let mut missed = Vec::new();
    for (bug, finder, reason) in BUGS.iter().filter(|(bug, ..)| is_wanted(bug)) {
        let said = find(*finder, Some(bug))?;
        println!("{bug}: {}", said.as_deref().map_or("nothing was found".to_owned(), finding));
        if said.is_none_or(|said| !said.contains(reason)) {
            missed.push(*bug);
        }
    }
    if missed.is_empty() { Ok(()) } else { Err(format!("not found: {}", missed.join(", "))) }
}

/// The bugs are compiled into the crates of the workspace alone: what they stand on is that of any other build.
fn build() -> Result {
    run_command(&mut seeded("cargo", &["build", "-q", "--workspace", "--bin", "sim"]))?;
    run_command(&mut seeded("cargo", &[CLUSTER, &["--no-run"]].concat()))?;
    // The next build without bugs puts its own in that place.
    let (from, to) = (target().join("debug/sim"), simulator());
    let copied = std::fs::create_dir_all(target().join("seeded"))
        .and_then(|()| std::fs::copy(&from, &to).map(drop));
    copied.map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))
}

fn simulator() -> PathBuf {
    target().join("seeded/sim")
}

fn seeded(program: &str, arguments: &[&str]) -> Command {
    let mut command = command(program, arguments);
    command.env("RUSTC_WORKSPACE_WRAPPER", root().join("xtask/seeded-rustc.sh"));
    command.env_remove(VARIABLE).env("RUST_BACKTRACE", "0");
    command
}

/// All that was said when something was found; `None` if nothing was.
fn find(finder: Finder, bug: Option<&str>) -> Result<Option<String>> {
    let mut command = match finder {
        Finder::Sim { nodes, seeds } => {
            let sim = simulator();
            let sim = sim.to_str().ok_or("the target folder's name is no text")?;
            let (nodes, seeds) = (nodes.to_string(), seeds.to_string());
            let load = ["--seconds", "600", "--stations", "6", "--first"];
            let mut command = seeded(sim, &["--nodes", &nodes, "--count", &seeds]);
            command.args(load);
            command
        }
        Finder::Cluster => seeded("cargo", CLUSTER),
    };
    command.envs(bug.map(|bug| (VARIABLE, bug)));
    let output =
        command.output().map_err(|error| format!("{command:?} does not start: {error}"))?;
    if output.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    if is_broken(&said) {
        return Err(format!("{command:?} has no verdict:\n{said}"));
    }
    Ok(Some(said))
}

/// A run that is broken itself, or that never began, is no finding.
fn is_broken(said: &str) -> bool {
    let broken = ["FAILED: the run is broken", "could not compile"];
    broken.iter().any(|words| said.contains(words)) || line_of_finding(said).is_none()
}

fn line_of_finding(said: &str) -> Option<usize> {
    let tells = |line: &str| line.contains(" FAILED: ") || line.ends_with("... FAILED");
    // A panic says more than the test it ended.
    let panics = said.lines().position(|line| line.contains("panicked at"));
    panics.or_else(|| said.lines().position(tells))
}

/// What was found, in a line.
fn finding(said: &str) -> String {
    let at = line_of_finding(said).unwrap_or(0);
    // What follows is the finding itself.
    let lines: Vec<&str> = said.lines().skip(at).take(2).map(str::trim).collect();
    lines.join(" ").chars().take(FINDING_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::{finding, is_broken};

    #[test]
    fn a_finding_is_told_from_a_run_that_is_broken() {
        let found = "seed 2: fine\nseed 3 FAILED: 1 broken promises:\n  a cent is gone\n";
        assert_eq!(finding(found), "seed 3 FAILED: 1 broken promises: a cent is gone");
        assert!(!is_broken(found));
        assert!(!is_broken("thread 'a' panicked at raft/tests/cluster/world.rs:538:17:"));
        assert!(is_broken("seed 3 FAILED: the run is broken: no answer"));
        assert!(is_broken("error: could not compile `novax-raft`"));
        assert!(is_broken(""));
    }
}
