//! All checks, in the order in which they fail fastest.

use crate::shell::{self, command, run_command, step, target};
use crate::{Result, setup};

/// Crates whose clippy run needs no second build of the query engine's dependencies.
const LINTED: [&str; 23] = [
    "novax-model",
    "novax-log",
    "novax-engine",
    "novax-tsdb",
    "novax-ledger",
    "novax-tariff",
    "novax-settlement",
    "novax-audit",
    "novax-payments",
    "novax-statements",
    "novax-scheduler",
    "novax-wire",
    "novax-charging",
    "novax-raft",
    "novax-peer",
    "novax-ring",
    "novax-shard",
    "novax-cold",
    "novax-console",
    "novax-jepsen",
    "novax-sim",
    "novax-benches",
    "xtask",
];

/// `cargo xtask test`
pub(crate) fn run() -> Result {
    step("set up", setup::run)?;
    step("rustfmt", rustfmt)?;
    step("clippy", || clippy(&LINTED))?;
    step("build novax", || shell::build("dev", &["novax"]))?;
    step("tests", || {
        let mut nextest = command("cargo", &["nextest", "run", "--workspace"]);
        nextest.env("NOVAX_BIN", target().join("debug/novax")).env("NOVAX_PYTHON", setup::python());
        run_command(&mut nextest)
    })?;
    step("another rater agrees", || {
        let manifest = "tariff/oracle/Cargo.toml";
        let mut oracle = command("cargo", &["test", "-q", "--manifest-path", manifest]);
        // A target folder of its own: its features are others.
        oracle.env("CARGO_TARGET_DIR", target().join("oracle"));
        run_command(&mut oracle)
    })
}

/// `cargo xtask lint`
pub(crate) fn lint_everything() -> Result {
    step("rustfmt", rustfmt)?;
    step("clippy", || {
        shell::run("cargo", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
    })
}

fn rustfmt() -> Result {
    shell::run("cargo", &["fmt", "--all", "--check"])?;
    shell::run("cargo", &["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"])?;
    shell::run("cargo", &["fmt", "--manifest-path", "benches/runtimes/Cargo.toml", "--check"])?;
    shell::run("cargo", &["fmt", "--manifest-path", "tariff/oracle/Cargo.toml", "--check"])
}

fn clippy(packages: &[&str]) -> Result {
    let mut arguments = vec!["clippy", "-q", "--all-targets", "--no-deps"];
    for package in packages {
        arguments.extend(["-p", package]);
    }
    arguments.extend(["--", "-D", "warnings"]);
    shell::run("cargo", &arguments)
}
