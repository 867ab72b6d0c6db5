//! What the command line looks like. Parses and nothing else: `main` dispatches.
//!
//! The flags of `serve`, `config` and `doctor` are made from the table of configuration keys, so
//! they cannot drift from the file and the environment.

use crate::audit::AuditCommand;
use crate::config::{Config, ConfigError, KEYS, Resolved, Sources, load};
use crate::report::ReportArgs;
use crate::store::StoreCommand;
use crate::tariffs::TariffCommand;
use clap::{Arg, ArgMatches, Args, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// The command did what it should.
pub const EXIT_OK: u8 = 0;
/// It did not: the node failed, a statement failed, a check of `doctor` failed.
pub const EXIT_FAILED: u8 = 1;
/// The command line or the configuration is wrong; nothing was started.
pub const EXIT_USAGE: u8 = 2;

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed (the node, a statement, or a check of \
                          doctor); 2 wrong command line or configuration, nothing was started.";

/// `novax`
#[derive(Debug, Parser)]
#[command(name = "novax", version, about = "Charging stations, sessions and money in one node.")]
#[command(after_help = EXIT_CODES, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Starts a node in the foreground; Ctrl-C stops it cleanly.
    Serve(ConfigFlags),
    /// Simulates charging stations that connect to a node.
    Fleet(FleetArgs),
    /// Runs a statement, or a shell for many.
    Sql(SqlArgs),
    /// Checks or shows the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Checks this machine: kernel, limits, disk, clock, ports, memory. Says what to do.
    Doctor(ConfigFlags),
    /// Looks after the stores of a node: verify, stats, dump, repair, compact, backup, restore.
    #[command(subcommand)]
    Store(StoreCommand),
    /// A cluster of several nodes: init, invite, join, status, drain, transfer, move, replace, remove.
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// The journal for auditors: the signing key, and checking an exported journal offline.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Looks at tariffs, contracts and rule books in files: lint, explain, simulate.
    #[command(subcommand)]
    Tariff(TariffCommand),
    /// Asks a node for documents: revenue, settlement, invoice, document, cdr, receipt.
    Report(ReportArgs),
}

/// `novax cluster`
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum ClusterCommand {
    /// Forms a cluster: makes its keys, and a folder for each of its nodes.
    Init {
        /// The first node's data directory; it must not have been used.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Every node: its number, where the others call it and, if there are several, its site, as
        /// `1=10.0.0.1:7700,fra`. The first is this one.
        #[arg(long = "node", value_name = "N=HOST:PORT[,SITE]", required = true)]
        nodes: Vec<String>,
        /// How many partitions; it cannot be changed.
        #[arg(long, default_value_t = 8, value_name = "N")]
        partitions: u16,
    },
    /// Invites a node to a cluster that runs: prints what `join` needs on the new machine, a secret for one use.
    Invite {
        /// Where the node will stand, in a word.
        #[arg(long, value_name = "NAME")]
        site: Option<String>,
        /// For how many seconds the invitation is good.
        #[arg(long, value_name = "S", default_value_t = 3600)]
        valid_s: u64,
        /// Which node invites; it must have the authority's key.
        #[command(flatten)]
        api: ApiArgs,
    },
    /// Makes the folder of a new node from an invitation. Then start the node: it gets all partitions and follows.
    Join {
        /// Its data directory; it must not have been used.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// What `invite` printed.
        #[arg(long, value_name = "TEXT")]
        invite: String,
        /// Where the other nodes call it.
        #[arg(long, value_name = "ADDR")]
        listen: SocketAddr,
        /// The name by which they call it, where that is another address.
        #[arg(long, value_name = "HOST:PORT")]
        address: Option<String>,
    },
    /// Moves the vote of one node in a partition, or in all, to another, which gets all of it first. Without --from a
    /// vote is added, without --to one is taken away.
    Move {
        /// The partition's number; all of them without it.
        #[arg(long, value_name = "N")]
        partition: Option<u16>,
        /// The node that loses its vote; it follows on.
        #[arg(long, value_name = "NODE", required_unless_present = "to")]
        from: Option<u64>,
        /// The node that gets one.
        #[arg(long, value_name = "NODE")]
        to: Option<u64>,
        /// Which node to ask.
        #[command(flatten)]
        api: ApiArgs,
    },
    /// Puts a new node into the place of an old one, which may be gone with its disk, and takes the old one out.
    Replace {
        /// The number of the old one.
        old: u64,
        /// The number of the new one, which has joined.
        new: u64,
        /// Which node to ask; not the old one.
        #[command(flatten)]
        api: ApiArgs,
    },
    /// Takes a node out of the cluster for ever, its votes first. Its number is not used again.
    Remove {
        /// The node's number.
        node: u64,
        /// Which node to ask; not the one that goes.
        #[command(flatten)]
        api: ApiArgs,
    },
    /// Shows the nodes, the links, and how far each replica is, as one node sees it.
    Status {
        /// Which node to ask.
        #[command(flatten)]
        api: ApiArgs,
    },
    /// Has a node hand away what it leads and lead nothing more, until --undo or its next start.
    Drain {
        /// The node's number.
        node: u64,
        /// Let it lead again.
        #[arg(long)]
        undo: bool,
        /// Which node to ask.
        #[command(flatten)]
        api: ApiArgs,
    },
    /// Hands the lead of a partition to another node. Leads are balanced: it goes back after some seconds.
    Transfer {
        /// The partition's number.
        #[arg(long, value_name = "N")]
        partition: u16,
        /// The node that gets the lead.
        #[arg(long, value_name = "NODE")]
        to: u64,
        /// Which node to ask.
        #[command(flatten)]
        api: ApiArgs,
    },
}

/// Where the API of a node is.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ApiArgs {
    /// Where the HTTP API of any node of the cluster is.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub http: SocketAddr,
    /// The key of the HTTP API.
    #[arg(long, value_name = "SECRET", env = "NOVAX__HTTP__API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
}

/// `novax config`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Reads every layer and lists every mistake at once.
    Check(ConfigFlags),
    /// Prints every key and its value; secrets as stars.
    Show {
        /// Also where each value came from.
        #[arg(long)]
        origin: bool,
        /// The layers.
        #[command(flatten)]
        flags: ConfigFlags,
    },
}

/// The flags made from the table of configuration keys, and `--config`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigFlags {
    /// `--config`
    pub file: Option<PathBuf>,
    /// Key name and text of each flag given, in the order of the table.
    pub values: Vec<(&'static str, String)>,
}

impl ConfigFlags {
    /// Reads all layers, these flags on top of the process's environment.
    ///
    /// # Errors
    /// [`ConfigError`] with every mistake.
    pub fn resolve(self) -> Result<Resolved, ConfigError> {
        load(&Sources::of_process(self.file, self.values))
    }

    /// As [`ConfigFlags::resolve`], without the origins.
    ///
    /// # Errors
    /// [`ConfigError`] with every mistake.
    pub fn config(self) -> Result<Config, ConfigError> {
        self.resolve().map(|resolved| resolved.config)
    }
}

const CONFIG_ARG: &str = "config";

impl Args for ConfigFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        let file = Arg::new(CONFIG_ARG)
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("TOML file to read. Default: novax.toml in the working directory, if there");
        KEYS.iter().fold(command.arg(file), |command, key| {
            let default = key.default.map(|text| format!("default: {text}; ")).unwrap_or_default();
            let help = format!("{} [{default}key: {}; env: {}]", key.doc, key.name, key.env());
            command.arg(
                Arg::new(key.name)
                    .long(key.flag)
                    .value_name(key.kind.placeholder())
                    .allow_hyphen_values(true)
                    .help(help),
            )
        })
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ConfigFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let values = KEYS
            .iter()
            .filter_map(|key| {
                matches.get_one::<String>(key.name).map(|text| (key.name, text.clone()))
            })
            .collect();
        Ok(ConfigFlags { file: matches.get_one::<PathBuf>(CONFIG_ARG).cloned(), values })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// `novax fleet`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct FleetArgs {
    /// Where the node takes stations.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    pub ocpp: SocketAddr,
    /// Where the node's HTTP API is: sites, stations and drivers are made there.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub http: SocketAddr,
    /// The key of the HTTP API.
    #[arg(long, value_name = "SECRET", env = "NOVAX__HTTP__API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// How many stations.
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub chargers: u32,
    /// How many of a hundred stations speak OCPP 2.0.1; the others 1.6J.
    #[arg(long, value_name = "PERCENT", default_value_t = 50,
          value_parser = clap::value_parser!(u8).range(0..=100))]
    pub v201_percent: u8,
    /// How long to run, such as 90s, 10m or 2h. Without it: until Ctrl-C.
    #[arg(long, value_name = "TIME")]
    pub duration: Option<Span>,
    /// Time between two meter values of a charging connector.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub meter_interval: Span,
    /// How long a session lasts, about.
    #[arg(long, value_name = "TIME", default_value = "2m")]
    pub session: Span,
    /// Stations that connect in a second while the fleet starts.
    #[arg(long, value_name = "N", default_value_t = 200,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub connects_per_s: u32,
    /// Same seed, same behaviour.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How many of a hundred sessions are started by an app, through the HTTP API; the others by card.
    #[arg(long, value_name = "PERCENT", default_value_t = 33,
          value_parser = clap::value_parser!(u8).range(0..=100))]
    pub app_percent: u8,
    /// File to append every acknowledged event of a transaction to, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
}

/// A length of time as people type it: `500ms`, `90s`, `10m`, `2h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub std::time::Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let factor_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(format!("{text:?} has no unit: write 500ms, 90s, 10m or 2h")),
        };
        let number: u64 = number.parse().map_err(|_| format!("{text:?} has no number"))?;
        let ms = number.checked_mul(factor_ms).ok_or("longer than time itself")?;
        Ok(Span(std::time::Duration::from_millis(ms)))
    }
}

/// `novax sql`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct SqlArgs {
    /// Where the node takes SQL.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5433")]
    pub sql: SocketAddr,
    /// The user's name.
    #[arg(long, value_name = "NAME", default_value = "novax")]
    pub user: String,
    /// The password, if the node asks for one.
    #[arg(long, value_name = "SECRET", env = "NOVAX__SQL__PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// How rows are printed.
    #[arg(long, value_enum, default_value_t = SqlFormat::Table)]
    pub format: SqlFormat,
    /// The statement to run. Without it: a shell.
    pub statement: Option<String>,
}

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SqlFormat {
    /// Aligned columns.
    Table,
    /// One line for each value.
    Vertical,
    /// Comma-separated values with a head line.
    Csv,
    /// One array of objects.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use std::time::Duration;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_takes_a_flag_for_every_key() {
        let help = Cli::command().find_subcommand_mut("serve").expect("serve").render_long_help();
        let help = help.to_string();
        for key in KEYS {
            assert!(help.contains(&format!("--{} ", key.flag)), "{}", key.name);
            assert!(help.contains(&key.env()), "{}", key.name);
        }
    }

    #[test]
    fn flags_of_serve_become_keys() {
        let line = "novax serve --data d --ocpp 127.0.0.1:1 --http [::1]:2 --sql 127.0.0.1:3 \
                    --shards 2 --config c.toml";
        let Command::Serve(flags) = parse(line).expect("valid").command else {
            panic!("serve was asked")
        };
        assert_eq!(flags.file, Some(PathBuf::from("c.toml")));
        let names: Vec<_> =
            flags.values.iter().map(|(name, text)| format!("{name}={text}")).collect();
        assert_eq!(
            names,
            [
                "data=d",
                "node.shards=2",
                "ocpp.listen=127.0.0.1:1",
                "http.listen=[::1]:2",
                "sql.listen=127.0.0.1:3",
            ]
        );
    }

    #[test]
    fn mistyped_commands_exit_with_usage() {
        for line in
            ["novax serv", "novax serve --shard 2", "novax fleet --chargers 0", "novax config"]
        {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), i32::from(EXIT_USAGE), "{line}");
        }
    }

    #[test]
    fn sql_takes_a_statement_or_none() {
        let parsed = Cli::try_parse_from(["novax", "sql", "select 1"]).expect("valid");
        let Command::Sql(args) = parsed.command else { panic!("sql was asked") };
        assert_eq!(args.statement.as_deref(), Some("select 1"));
        assert_eq!(args.format, SqlFormat::Table);
    }

    #[test]
    fn store_takes_a_directory_and_its_commands_their_own_flags() {
        for line in [
            "novax store verify --data d --partition 3 --json",
            "novax store dump --data d --keyspace sites --from 0x00 --limit 5",
            "novax store repair --data d --from a --from b",
            "novax store backup --data d --into b --keep 7",
            "novax store restore --from b --id 3 --data d",
            "novax store scrub --data d --mib-per-s 4",
        ] {
            assert!(matches!(parse(line), Ok(Cli { command: Command::Store(_) })), "{line}");
        }
        for line in
            ["novax store", "novax store stats", "novax store backup --data d --into b --keep 0"]
        {
            assert_eq!(parse(line).expect_err(line).exit_code(), i32::from(EXIT_USAGE), "{line}");
        }
    }

    #[test]
    fn tariff_takes_a_file_and_a_course() {
        let line = "novax tariff simulate t.json --energy-wh 20000 --charging 2h --parked 30m \
                    --zone Europe/Berlin --start 2026-11-22T20:00:00Z --rules r --temperature -7.2";
        let parsed = parse(line).expect("valid");
        let Command::Tariff(TariffCommand::Simulate(args)) = parsed.command else {
            panic!("a simulation was asked")
        };
        assert_eq!((args.energy_wh, args.temperature.as_deref()), (20_000, Some("-7.2")));
        for line in ["novax tariff", "novax tariff lint", "novax tariff simulate t --energy-wh -1"]
        {
            assert_eq!(parse(line).expect_err(line).exit_code(), i32::from(EXIT_USAGE), "{line}");
        }
    }

    #[test]
    fn spans_read_as_people_type_them() {
        assert_eq!("90s".parse(), Ok(Span(Duration::from_secs(90))));
        assert_eq!("500ms".parse(), Ok(Span(Duration::from_millis(500))));
        assert_eq!("2h".parse(), Ok(Span(Duration::from_secs(7_200))));
        for text in ["", "5", "s", "1d", "99999999999999999999s", "-1s"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
