//! Figures, the crash test and the fuzzer: each builds what it runs.

use crate::Result;
use crate::shell::{answers, build, command, run, run_command, target};

/// `cargo xtask bench <name>`: nothing but `figure` lines on stdout.
pub(crate) fn run_bench(arguments: &[String]) -> Result {
    if arguments.is_empty() {
        return Err("which one? start-charge or connections".into());
    }
    build("release", &["novax", "novax-benches"])?;
    let release = target().join("release");
    let mut bench = command(&text(&release.join("novax-benches"))?, &[]);
    bench.args(arguments).arg("--novax").arg(release.join("novax"));
    run_command(&mut bench)
}

/// `cargo xtask jepsen`
pub(crate) fn jepsen(arguments: &[String]) -> Result {
    build("dev", &["novax", "novax-jepsen"])?;
    let debug = target().join("debug");
    let mut jepsen = command(&text(&debug.join("novax-jepsen"))?, &[]);
    jepsen.args(arguments).env("NOVAX_BIN", debug.join("novax"));
    run_command(&mut jepsen)
}

/// `cargo xtask fuzz`
pub(crate) fn fuzz(arguments: &[String]) -> Result {
    if !answers("cargo", &["+nightly", "fuzz", "--version"]) {
        return Err("needs a nightly toolchain and cargo-fuzz (cargo install cargo-fuzz)".into());
    }
    let seconds = match arguments {
        [] => "60",
        [flag, seconds] if flag == "--seconds" => seconds,
        _ => return Err("fuzz [--seconds N]".into()),
    };
    let limit = format!("-max_total_time={seconds}");
    run("cargo", &["+nightly", "fuzz", "run", "ocpp_socket", "--", &limit])
}

fn text(path: &std::path::Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| "the path of the workspace is not UTF-8".into())
}
