//! Running other programs, and where things are.

use crate::Result;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").into()
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A command in the workspace.
pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    // What cargo tells us of ourselves. Build scripts look at it (that of `ring` does), and would have all
    // that stands on them compiled anew whenever a build by hand follows one of ours.
    for (name, _) in std::env::vars_os() {
        let of_package = ["CARGO_PKG_", "CARGO_MANIFEST_"];
        let text = name.to_string_lossy();
        if of_package.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a command to its end; its output goes where ours does.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result {
    run_command(&mut command(program, arguments))
}

/// Runs a prepared command to its end.
pub(crate) fn run_command(command: &mut Command) -> Result {
    let line = format!("{command:?}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{line} ended with {status}")),
        Err(error) => Err(format!("{line} does not start: {error}")),
    }
}

/// Builds binaries. Always as part of the whole workspace: with another selection of packages, cargo unifies
/// other features and compiles the query engine once more.
pub(crate) fn build(profile: &str, binaries: &[&str]) -> Result {
    let mut arguments = vec!["build", "-q", "--workspace", "--profile", profile];
    for binary in binaries {
        arguments.extend(["--bin", binary]);
    }
    run("cargo", &arguments)
}

/// Whether a program is there and answers.
pub(crate) fn answers(program: &str, arguments: &[&str]) -> bool {
    command(program, arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs a step and says how long it took.
pub(crate) fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("xtask: {name}");
    let begun = std::time::Instant::now();
    let done = work()?;
    eprintln!("xtask: {name}: {:.1} s", begun.elapsed().as_secs_f32());
    Ok(done)
}
