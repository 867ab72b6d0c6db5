//! `novax sql`: a shell over the wire protocol.
//!
//! A client like any other: what it can, `psql` can too. Statements end with a semicolon, commands
//! begin with a backslash. Ctrl-C stops the running statement and gives the prompt back.
//!
//! * `prompt`: reading lines: history, completion, colours
//! * `run`: what is typed: statements and backslash commands
//! * `client`: the connection, and statements that can be stopped
//! * `table`: rows as a table, as CSV, as JSON or one column a line
//! * `split`: where statements end

mod client;
mod prompt;
mod run;
mod split;
mod table;

use std::io::Write;
use std::path::PathBuf;

/// How rows are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns.
    #[default]
    Table,
    /// Comma-separated values with a header (RFC 4180).
    Csv,
    /// One JSON object a line; every value is a string or null, so that numbers stay exact.
    Json,
    /// One column a line.
    Vertical,
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        match text {
            "table" => Ok(Format::Table),
            "csv" => Ok(Format::Csv),
            "json" => Ok(Format::Json),
            "vertical" => Ok(Format::Vertical),
            _ => Err(format!("{text:?} is no format; there are table, csv, json and vertical")),
        }
    }
}

/// What the shell is started with.
#[derive(Clone, Debug)]
pub struct ShellOptions {
    /// Host and port of a node's SQL listener.
    pub addr: String,
    /// Who signs in.
    pub user: String,
    /// The password, where the node wants one.
    pub password: Option<String>,
    /// Run this and end, instead of asking.
    pub command: Option<String>,
    /// How rows are shown.
    pub format: Format,
    /// Where typed lines are kept; `None` keeps them in memory alone.
    pub history: Option<PathBuf>,
}

impl Default for ShellOptions {
    fn default() -> Self {
        ShellOptions {
            addr: "127.0.0.1:5432".into(),
            user: "novax".into(),
            password: None,
            command: None,
            format: Format::Table,
            history: default_history(),
        }
    }
}

fn default_history() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state"));
    Some(state.or_else(home)?.join("novax/sql_history"))
}

/// All went well.
pub const EXIT_OK: u8 = 0;
/// A statement failed.
pub const EXIT_STATEMENT: u8 = 1;
/// No connection, or it was lost.
pub const EXIT_CONNECTION: u8 = 2;

/// Runs the shell to its end; answers the exit code of the process. Blocks; not to be called from
/// async code.
#[must_use]
pub fn run(options: ShellOptions) -> u8 {
    run_to(options, &mut std::io::stdout())
}

/// As [`run`], with the answers going to `out`.
#[must_use]
pub fn run_to(options: ShellOptions, out: &mut (dyn Write + Send)) -> u8 {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(run::run(options, out)),
        Err(error) => {
            eprintln!("cannot start: {error}");
            EXIT_CONNECTION
        }
    }
}
