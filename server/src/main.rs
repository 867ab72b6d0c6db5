//! `novax`: parses the command line and hands over.

use clap::Parser as _;
use novax_server::cli::{Cli, Command, ConfigCommand};
use novax_server::{audit, cluster, commands, fleet, report, store, tariffs};
use std::process::ExitCode;

/// Rows and messages are small, many, and freed by other threads than made them: what glibc's is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    novax_server::memory::keep_freed();
    ExitCode::from(match Cli::parse().command {
        Command::Serve(flags) => commands::serve(flags),
        Command::Fleet(args) => fleet::run(&args),
        Command::Sql(args) => commands::sql(args),
        Command::Config(ConfigCommand::Check(flags)) => commands::config_check(flags),
        Command::Config(ConfigCommand::Show { origin, flags }) => {
            commands::config_show(flags, origin)
        }
        Command::Doctor(flags) => commands::doctor(flags),
        Command::Store(command) => store::run(&command),
        Command::Cluster(command) => cluster::run(&command),
        Command::Audit(command) => audit::run(&command),
        Command::Tariff(command) => tariffs::run(&command),
        Command::Report(args) => report::run(&args),
    })
}
