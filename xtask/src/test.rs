//! All checks, in the order in which they fail fastest.

use crate::shell::{self, command, run_command, step, target};
use crate::{Result, setup};

/// Crates whose clippy run needs no second build of the query engine's dependencies.
const LINTED: [&str; 14] = [
    "novax-model",
    "novax-log",
    "novax-engine",
    "novax-tsdb",
    "novax-ledger",
    "novax-scheduler",
    "novax-wire",
    "novax-charging",
    "novax-raft",
    "novax-cold",
    "novax-console",
    "novax-jepsen",
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
    shell::run("cargo", &["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"])
}

fn clippy(packages: &[&str]) -> Result {
    let mut arguments = vec!["clippy", "-q", "--all-targets", "--no-deps"];
    for package in packages {
        arguments.extend(["-p", package]);
    }
    arguments.extend(["--", "-D", "warnings"]);
    shell::run("cargo", &arguments)
}
