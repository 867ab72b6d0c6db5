//! What the command line of `novax store` looks like.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `novax store`
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum StoreCommand {
    /// Reads every block of every table and the whole log, and names what is damaged.
    Verify(Target),
    /// Levels, windows, sizes and amplification. Works beside a running node.
    Stats(Target),
    /// Keys and values, or the raw entries of a table.
    Dump(DumpArgs),
    /// Rebuilds stores from what is readable; moves the rest to lost/, deletes nothing.
    Repair(RepairArgs),
    /// Compacts everything to the bottom: what is deleted leaves the disk now.
    Compact(Target),
    /// Adds a backup to a folder of backups, copying only what that lacks.
    Backup(BackupArgs),
    /// Writes a backup into an empty data directory.
    Restore(RestoreArgs),
    /// Makes a second folder with the same tables, by hard links.
    Checkpoint(CheckpointArgs),
    /// As verify, but slowly and beside a running node: stores only, no log.
    Scrub(ScrubArgs),
    /// Writes meter series as partitioned Parquet, for DuckDB, Spark and others. Goes on where an
    /// earlier one was killed. The node must be stopped.
    Export(ExportArgs),
}

/// Which stores.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Target {
    /// The data directory of a node, a backup target (verify only), or a single store.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// One partition; without it, all.
    #[arg(long, value_name = "N")]
    pub partition: Option<u16>,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// `novax store dump`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct DumpArgs {
    /// Which stores.
    #[command(flatten)]
    pub target: Target,
    /// One keyspace, by number or name.
    #[arg(long, value_name = "KEYSPACE")]
    pub keyspace: Option<String>,
    /// The first key: text, or hexadecimal after 0x.
    #[arg(long, value_name = "KEY")]
    pub from: Option<String>,
    /// The first key not shown any more: text, or hexadecimal after 0x.
    #[arg(long, value_name = "KEY")]
    pub to: Option<String>,
    /// The most entries of each store.
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    pub limit: u64,
    /// Leave the values out.
    #[arg(long)]
    pub keys_only: bool,
    /// Bytes in hexadecimal only.
    #[arg(long)]
    pub hex: bool,
    /// The raw entries of one table.
    #[arg(long, value_name = "NUMBER", conflicts_with = "manifest")]
    pub table: Option<u64>,
    /// The raw values of one file of values.
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["manifest", "table"])]
    pub values: Option<u64>,
    /// What the manifest says.
    #[arg(long)]
    pub manifest: bool,
}

/// `novax store repair`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct RepairArgs {
    /// Which stores.
    #[command(flatten)]
    pub target: Target,
    /// A checkpoint, a restored backup or a replica's data directory, to take from what is lost here.
    #[arg(long, value_name = "DIR")]
    pub from: Vec<PathBuf>,
}

/// `novax store backup`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct BackupArgs {
    /// What to save.
    #[command(flatten)]
    pub target: Target,
    /// The folder of backups.
    #[arg(long, value_name = "DIR")]
    pub into: PathBuf,
    /// Afterwards keep so many backups, the newest, and remove the others.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: Option<u32>,
}

/// `novax store restore`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct RestoreArgs {
    /// The folder of backups.
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// Which backup; without it, the newest.
    #[arg(long, value_name = "N")]
    pub id: Option<u64>,
    /// Where to: empty, or not there yet.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// `novax store checkpoint`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct CheckpointArgs {
    /// What to link.
    #[command(flatten)]
    pub target: Target,
    /// Where to, on the same file system: empty, or not there yet.
    #[arg(long, value_name = "DIR")]
    pub into: PathBuf,
}

/// `novax store scrub`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ScrubArgs {
    /// Which stores.
    #[command(flatten)]
    pub target: Target,
    /// How much to read in a second, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 16,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub mib_per_s: u32,
}

/// `novax store export`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ExportArgs {
    /// The data directory of a node.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Where to: a directory, or s3://bucket/prefix.
    #[arg(long, value_name = "URL")]
    pub to: String,
    /// The cold tier: a directory, or s3://bucket/prefix. Without it, `cold` in the data directory.
    #[arg(long, value_name = "URL")]
    pub cold: Option<String>,
    /// The first time: 2026-11-21, or 2026-11-21T08:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// The first time no longer wanted; without it, the start of today.
    #[arg(long, value_name = "TIME")]
    pub to_time: Option<String>,
    /// Only this station; may be given again.
    #[arg(long, value_name = "STATION")]
    pub station: Vec<String>,
    /// Only these columns, and those that say whose rows they are.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// S3: the server, when it is not Amazon's.
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// S3: the region.
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// S3: the key.
    #[arg(long, value_name = "KEY", env = "AWS_ACCESS_KEY_ID", hide_env_values = true)]
    pub access_key: Option<String>,
    /// S3: its secret.
    #[arg(long, value_name = "SECRET", env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
    pub secret_key: Option<String>,
    /// S3: an endpoint without TLS will do.
    #[arg(long)]
    pub allow_http: bool,
}
