//! ClickHouse, as the Python package `chdb` brings it: the whole server in a Python process.

use crate::error::{BenchError, During as _, Result};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

const SCRIPT: &str = include_str!("clickhouse.py");

/// Whether that Python has it.
pub(crate) fn is_there(python: &Path) -> bool {
    let tried = Command::new(python).args(["-c", "import chdb"]).output();
    tried.is_ok_and(|output| output.status.success())
}

/// Loads a file of `RowBinary` rows into a new database in `dir` and asks it what the tool's script asks;
/// returns what that tells.
pub(crate) fn measure(python: &Path, dir: &Path, rows: &Path, kind: &str) -> Result<Value> {
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT]).arg(dir).arg(rows).arg(kind).stdin(Stdio::null());
    let output = command.output().during("starting chdb")?;
    let told = String::from_utf8_lossy(&output.stdout);
    let line = told.lines().last().unwrap_or_default();
    match serde_json::from_str(line) {
        Ok(found) if output.status.success() => Ok(found),
        _ => {
            let why = String::from_utf8_lossy(&output.stderr);
            Err(BenchError::Store("clickhouse", format!("{told}\n{why}")))
        }
    }
}
