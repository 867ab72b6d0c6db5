//! The Python that `cargo xtask setup` installs.

use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) fn python() -> Command {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/python");
    assert!(python.exists(), "{} is missing: cargo xtask setup installs it", python.display());
    Command::new(python)
}

pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(name)
}
