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

/// The bugs, by the names under which the code asks `novax_model::seeded` for them.
const BUGS: &[(&str, Finder)] = &[
    ("ack-before-write", ONE),
    ("log-skips-write", ONE),
    ("mark-before-flush", ONE),
    ("heads-not-flushed", ONE),
    ("delete-not-stored", ONE),
    ("start-not-deduped", ONE),
    ("payment-asked-anew", ONE),
    ("deposit-not-deduped", ONE),
    ("lost-batch-answered", THREE),
    ("commit-without-quorum", THREE),
    ("read-without-quorum", THREE),
    ("vote-not-persisted", THREE),
    ("segment-retired-early", THREE),
    ("commit-without-quorum", Finder::Cluster),
    ("read-without-quorum", Finder::Cluster),
    ("follower-acks-early", Finder::Cluster),
];

/// Raft's simulated cluster, as a test.
const CLUSTER: &[&str] = &["test", "-q", "--workspace", "--test", "cluster"];
/// What is shown of a finding.
const FINDING_CHARS_MAX: usize = 240;
/// Names the bug of a process.
const VARIABLE: &str = "NOVAX_SEEDED_BUG";

/// All bugs one after another, or those that are named.
pub(crate) fn run(named: &[String]) -> Result {
    let known = |name: &String| BUGS.iter().any(|(bug, _)| bug == name);
    if let Some(unknown) = named.iter().find(|name| !known(name)) {
        return Err(format!("no seeded bug {unknown:?}"));
    }
    step("build with seeded bugs", build)?;
    step("no bug, nothing found", || {
        for finder in [ONE, THREE, Finder::Cluster] {
            if let Some(found) = find(finder, None)? {
                return Err(format!("without a bug this was found: {found}"));
            }
        }
        Ok(())
    })?;
    let mut missed = Vec::new();
    for (bug, finder) in
        BUGS.iter().filter(|(bug, _)| named.is_empty() || named.iter().any(|n| n == bug))
    {
        match find(*finder, Some(bug))? {
            Some(found) => println!("{bug}: {found}"),
            None => missed.push(*bug),
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

/// What was found with the bug, in a line; `None` if nothing was.
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
    verdict(&said).map(Some).ok_or_else(|| format!("{command:?} has no verdict:\n{said}"))
}

/// The line that says what was found. A run that is broken itself, or that never began, is no finding.
fn verdict(said: &str) -> Option<String> {
    if said.contains("the run is broken") || said.contains("could not compile") {
        return None;
    }
    let tells = |line: &&str| line.contains(" FAILED: ") || line.ends_with("... FAILED");
    let failed_test = |line: &&str| line.contains("panicked at");
    // A panic says more than the test it ended; what follows either line is the finding itself.
    let first = |is: &dyn Fn(&&str) -> bool| said.lines().position(|line| is(&line));
    let at = first(&failed_test).or_else(|| first(&tells))?;
    let lines: Vec<&str> = said.lines().skip(at).take(2).map(str::trim).collect();
    Some(lines.join(" ").chars().take(FINDING_CHARS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::verdict;

    #[test]
    fn a_finding_is_told_from_a_run_that_is_broken() {
        let found = verdict("seed 2: fine\nseed 3 FAILED: 1 broken promises:\n  a cent is gone\n");
        assert_eq!(found.as_deref(), Some("seed 3 FAILED: 1 broken promises: a cent is gone"));
        assert!(verdict("thread 'a' panicked at raft/tests/cluster/world.rs:538:17:").is_some());
        assert!(verdict("seed 3 FAILED: the run is broken: no answer").is_none());
        assert!(verdict("error: could not compile `novax-raft`").is_none());
        assert!(verdict("").is_none());
    }
}
