//! `store-crash`: kills a process that writes to a store, again and again, and checks what comes back.
//!
//! Exit codes: 0 passed, 1 failed, 2 broken (nothing can be said).

use clap::Parser;
use novax_jepsen::store_crash::{self, Failure, Plan};
use std::path::PathBuf;
use std::process::ExitCode;

/// Kills a process that writes to a store, at any moment, and checks that what comes back is the state after some
/// batch, with everything in it that was acknowledged.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often to kill.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    kills: u32,
    /// Which plan; another one each time when not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Be the process that is killed, on the store in this folder.
    #[arg(long, hide = true)]
    child: Option<PathBuf>,
    /// Which life of the store this is.
    #[arg(long, hide = true, default_value_t = 0)]
    life: u64,
}

fn main() -> ExitCode {
    let Arguments { kills, seed, child, life } = Arguments::parse();
    let seed = seed.unwrap_or_else(novax_jepsen::station::now_ms);
    if let Some(dir) = child {
        return match store_crash::live(&dir, seed, life) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(2)
            }
        };
    }
    println!("seed {seed}");
    let ran = std::env::current_exe()
        .map_err(Failure::Broken)
        .and_then(|program| store_crash::run(&Plan { program, kills, seed, forget: false }));
    match ran {
        Ok(report) => {
            println!("{report:?}");
            println!("passed");
            ExitCode::SUCCESS
        }
        Err(failure @ Failure::Broken(_)) => {
            println!("{failure}");
            ExitCode::from(2)
        }
        Err(failure) => {
            println!("{failure}");
            ExitCode::from(1)
        }
    }
}
