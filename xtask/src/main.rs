//! `cargo xtask`: everything one does with this project besides editing it.
//!
//! Almost standard library only, so that the first command on a fresh machine compiles in seconds.

mod bench;
mod demo;
mod http;
mod seeded;
mod setup;
mod shell;
mod test;
#[cfg(test)]
mod tidy;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask <command>

  demo [--chargers N] [--exit-after S]   build, start a node and a fleet, show them live
  test                                   install what the tests need and run all of them
  bench <name> [options]                 print figures: start-charge, connections; replication, runtime, engine, tsdb, ledger (with peers)
  jepsen [--kills N] [--seed S]          kill a node under load, restart it, check every promise
  jepsen --workload W [--nemesis F] [--nodes 3]
                                         break nodes in every other way under load, and check; --list shows how
  sim [--seed N] [--count N] [--seconds S] [--nodes 1]
                                         a whole hub in one thread, its faults from a seed
  sim --bugs [BUG..]                     puts bugs in on purpose, and demands that each is found
  crash-store [--kills N] [--seed S]     kill a process that writes to a store, reopen it, check every promise
  fuzz [--seconds N] [TARGET..]          fuzz what reads foreign bytes
  sanitize                               the ring under Miri and AddressSanitizer
  lint                                   rustfmt, and clippy over everything
  setup                                  only install what the tests need
";

/// What a command returns: a sentence for the person when it failed.
type Result<T = ()> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    let done = match command {
        "demo" => demo::run(rest),
        "test" => test::run(),
        "bench" => bench::run_bench(rest),
        "jepsen" => bench::jepsen(rest),
        "sim" if rest.first().is_some_and(|flag| flag == "--bugs") => seeded::run(&rest[1..]),
        "sim" => bench::sim(rest),
        "crash-store" => bench::crash_store(rest),
        "fuzz" => bench::fuzz(rest),
        "sanitize" => bench::sanitize(),
        "lint" => test::lint_everything(),
        "setup" => setup::run(),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(format!("no command {other:?}\n\n{HELP}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}
