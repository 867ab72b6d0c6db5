//! Figures, the crash tests and the fuzzers: each builds what it runs.

use crate::shell::{answers, build, command, root, run, run_command, step, target};
use crate::{Result, setup};
use std::path::Path;

/// `cargo xtask bench <name>`: nothing but `figure` lines on stdout.
pub(crate) fn run_bench(arguments: &[String]) -> Result {
    match arguments.first().map(String::as_str) {
        Some("engine" | "tsdb") => {
            let python = setup::peers()?;
            beside_peers(arguments, &["--features", "peers"], Some(&python))
        }
        Some("ledger") => {
            setup::postgres()?;
            beside_peers(arguments, &[], None)
        }
        Some("replication") => {
            setup::etcd()?;
            let charts = text(&root().join("docs/charts"))?;
            of_the_node(&[arguments, &["--peers".into(), "--charts".into(), charts]].concat())
        }
        Some("start-charge") => {
            let python = text(&setup::ocpp()?)?;
            of_the_node(&[arguments, &["--python".into(), python]].concat())
        }
        Some("connections" | "telemetry") => {
            let charts = text(&root().join("docs/charts"))?;
            of_the_node(&[arguments, &["--charts".into(), charts]].concat())
        }
        Some("runtime") => beside_runtimes(arguments),
        Some(_) => of_the_node(arguments),
        None => {
            let names = "start-charge, telemetry, connections, soak, replication, runtime, engine, tsdb or ledger";
            Err(format!("which one? {names}"))
        }
    }
}

/// Loads the binary over sockets.
fn of_the_node(arguments: &[String]) -> Result {
    build("release", &["novax", "novax-benches"])?;
    let release = target().join("release");
    let mut bench = command(&text(&release.join("novax-benches"))?, &[]);
    bench.args(arguments).arg("--novax").arg(release.join("novax"));
    run_command(&mut bench)
}

/// Measures the ring and echo servers on other runtimes, which are a workspace of their own.
fn beside_runtimes(arguments: &[String]) -> Result {
    run("cargo", &["build", "-q", "--release", "-p", "novax-benches"])?;
    let folder = target().join("peers/runtimes");
    let manifest = "benches/runtimes/Cargo.toml";
    let mut peers =
        command("cargo", &["build", "-q", "--locked", "--release", "--manifest-path", manifest]);
    run_command(peers.env("CARGO_TARGET_DIR", &folder))?;
    let mut bench = command(&text(&target().join("release/novax-benches"))?, &[]);
    bench.args(arguments).arg("--runtimes").arg(folder.join("release"));
    run_command(bench.arg("--charts").arg(root().join("docs/charts")))
}

/// Measures a component and its peers, and draws the charts. Built alone: the query engine is not part of it.
fn beside_peers(arguments: &[String], features: &[&str], python: Option<&Path>) -> Result {
    let build = ["build", "-q", "--release", "-p", "novax-benches"];
    run("cargo", &[&build, features].concat())?;
    let mut bench = command(&text(&target().join("release/novax-benches"))?, &[]);
    bench.args(arguments).arg("--peers");
    if let Some(python) = python {
        bench.arg("--python").arg(python);
    }
    // Charts of a part of the full size would say something else under the same name.
    if !arguments.iter().any(|argument| argument.starts_with("--scale")) {
        bench.arg("--charts").arg(root().join("docs/charts"));
    }
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

/// `cargo xtask crash-store`: kills a process that writes to a store, again and again, and checks what is left.
pub(crate) fn crash_store(arguments: &[String]) -> Result {
    run("cargo", &["build", "-q", "--release", "-p", "novax-jepsen", "--bin", "store-crash"])?;
    let mut crash = command(&text(&target().join("release/store-crash"))?, &[]);
    run_command(crash.args(arguments))
}

/// `cargo xtask sim`: simulated worlds, with all assertions of a debug build.
pub(crate) fn sim(arguments: &[String]) -> Result {
    run("cargo", &["build", "-q", "-p", "novax-sim", "--bin", "sim"])?;
    let mut sim = command(&text(&target().join("debug/sim"))?, &[]);
    run_command(sim.args(arguments))
}

/// `cargo xtask fuzz [TARGET..]`: all targets one after the other, or those that are named.
pub(crate) fn fuzz(arguments: &[String]) -> Result {
    let known = fuzz_targets()?;
    let (seconds, named) = match arguments {
        [flag, seconds, named @ ..] if flag == "--seconds" => (seconds.as_str(), named),
        named => ("60", named),
    };
    if seconds.parse::<u32>().is_err() {
        return Err(format!("{seconds:?} is no number of seconds"));
    }
    if let Some(unknown) = named.iter().find(|name| !known.contains(name)) {
        return Err(format!("no fuzz target {unknown:?}; there are {}", known.join(", ")));
    }
    nightly()?;
    if !answers("cargo", &["fuzz", "--version"]) {
        eprintln!("xtask: installing cargo-fuzz");
        run("cargo", &["install", "--locked", "cargo-fuzz"])?;
    }
    let limit = format!("-max_total_time={seconds}");
    for target in if named.is_empty() { &known } else { named } {
        step(target, || run("cargo", &["+nightly", "fuzz", "run", target, "--", &limit]))?;
    }
    Ok(())
}

/// The ring's shared memory under Miri, and the whole ring, on real sockets, under AddressSanitizer.
pub(crate) fn sanitize() -> Result {
    nightly()?;
    if !answers("cargo", &["+nightly", "miri", "--version"]) {
        run("rustup", &["component", "add", "--toolchain", "nightly", "miri", "rust-src"])?;
    }
    let folder = text(&target().join("sanitize"))?;
    let checked = |(flag, value), arguments: &[&str]| {
        let mut cargo = command("cargo", &["+nightly"]);
        run_command(cargo.args(arguments).env("CARGO_TARGET_DIR", &folder).env(flag, value))
    };
    // The kernel is told addresses as numbers, and so is the one that the tests play.
    let miri = ("MIRIFLAGS", "-Zmiri-permissive-provenance");
    step("miri", || {
        checked(miri, &["miri", "test", "-q", "-p", "novax-ring", "--lib", "::tests::"])
    })?;
    let address = ("RUSTFLAGS", "-Zsanitizer=address");
    let host = "x86_64-unknown-linux-gnu";
    let test = ["test", "-q", "-p", "novax-ring", "--lib", "--target", host];
    step("address", || checked(address, &test))
}

fn nightly() -> Result {
    if answers("cargo", &["+nightly", "--version"]) {
        return Ok(());
    }
    run("rustup", &["toolchain", "install", "nightly", "--profile", "minimal"])
}

/// The targets that the manifest of `fuzz/` lists.
fn fuzz_targets() -> Result<Vec<String>> {
    let manifest = std::fs::read_to_string(root().join("fuzz/Cargo.toml"));
    let manifest = manifest.map_err(|error| format!("fuzz/Cargo.toml: {error}"))?;
    let targets = targets_in(&manifest);
    if targets.is_empty() { Err("fuzz/Cargo.toml lists no target".into()) } else { Ok(targets) }
}

/// Names of the `[[bin]]` sections of a manifest.
fn targets_in(manifest: &str) -> Vec<String> {
    let bins = manifest.split("[[bin]]").skip(1);
    let name = |bin: &str| {
        let line =
            bin.lines().find_map(|line| line.trim().strip_prefix("name")?.trim().strip_prefix('='));
        line.map(|name| name.trim().trim_matches('"').to_owned())
    };
    bins.filter_map(name).collect()
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| "the path of the workspace is not UTF-8".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzz_targets_are_those_of_the_manifest() {
        let manifest =
            "[package]\nname = \"p\"\n[[bin]]\nname = \"a\"\ntest = false\n\n[[bin]]\nname=\"b\"\n";
        assert_eq!(targets_in(manifest), ["a", "b"]);
        assert!(fuzz_targets().expect("the manifest is there").contains(&"ocpp_socket".to_owned()));
    }
}
