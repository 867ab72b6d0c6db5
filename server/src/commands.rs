//! What the subcommands do, except those with a module of their own.

use crate::cli::{ConfigFlags, EXIT_FAILED, EXIT_OK, EXIT_USAGE, SqlArgs, SqlFormat};
use crate::config::ConfigError;
use crate::node::Node;
use novax_query::shell;
use std::io::Write as _;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

fn usage(error: &ConfigError) -> u8 {
    eprintln!("{error}");
    EXIT_USAGE
}

fn failed(error: &dyn std::fmt::Display) -> u8 {
    eprintln!("novax: {error}");
    EXIT_FAILED
}

/// `novax config check`
#[must_use]
pub fn config_check(flags: ConfigFlags) -> u8 {
    match flags.resolve() {
        Ok(_) => {
            println!("the configuration is sound");
            EXIT_OK
        }
        Err(error) => usage(&error),
    }
}

/// `novax config show`
#[must_use]
pub fn config_show(flags: ConfigFlags, origin: bool) -> u8 {
    match flags.resolve() {
        Ok(resolved) => {
            print!("{}", resolved.show(origin));
            EXIT_OK
        }
        Err(error) => usage(&error),
    }
}

/// `novax doctor`
#[must_use]
pub fn doctor(flags: ConfigFlags) -> u8 {
    match flags.config() {
        Ok(config) => {
            let report = crate::doctor::examine(&config);
            print!("{report}");
            report.exit_code()
        }
        Err(error) => usage(&error),
    }
}

/// `novax sql`
#[must_use]
pub fn sql(args: SqlArgs) -> u8 {
    let format = match args.format {
        SqlFormat::Table => shell::Format::Table,
        SqlFormat::Vertical => shell::Format::Vertical,
        SqlFormat::Csv => shell::Format::Csv,
        SqlFormat::Json => shell::Format::Json,
    };
    let options = shell::ShellOptions {
        addr: args.sql.to_string(),
        user: args.user,
        password: args.password,
        command: args.statement,
        format,
        ..shell::ShellOptions::default()
    };
    shell::run(options)
}

/// A shard that panics has a state nobody can vouch for, and a node without one of its shards serves half its
/// stations. It ends at once, as if killed; what was acknowledged is in the log.
fn abort_when_a_shard_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        if name.starts_with("shard-") {
            std::process::abort();
        }
    }));
}

/// `novax serve`
#[must_use]
pub fn serve(flags: ConfigFlags) -> u8 {
    let config = match flags.config() {
        Ok(config) => config,
        Err(error) => return usage(&error),
    };
    abort_when_a_shard_panics();
    let node = match Node::start(&config) {
        Ok(node) => node,
        Err(error) => return failed(&error),
    };
    if let Err(error) = announce(&node) {
        return failed(&error);
    }
    node.block_on(until_told_to_stop(&node));
    match node.stop() {
        Ok(()) => EXIT_OK,
        Err(error) => failed(&error),
    }
}

/// Says where the node listens, one line each, for people and for scripts.
fn announce(node: &Node) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "listening ocpp {}", node.addresses.ocpp)?;
    writeln!(out, "listening http {}", node.addresses.http)?;
    writeln!(out, "listening sql {}", node.addresses.sql)?;
    if let Some(starts) = node.addresses.starts {
        writeln!(out, "listening starts {starts}")?;
    }
    writeln!(out, "ready")?;
    out.flush()
}

async fn until_told_to_stop(node: &Node) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        eprintln!("novax: signals cannot be received; stop the node by killing it");
        return std::future::pending().await;
    };
    let mut alive = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            _ = interrupt.recv() => return,
            _ = terminate.recv() => return,
            _ = alive.tick() => {
                if !node.is_running() {
                    eprintln!("novax: a shard ended");
                    return;
                }
            }
        }
    }
}
