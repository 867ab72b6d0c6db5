//! Installs what the tests need. Does nothing, quickly, when it is all there.

use crate::Result;
use crate::shell::{self, answers, command, root, run_command, target};
use std::path::{Path, PathBuf};

/// The Python with the stock OCPP client.
pub(crate) fn python() -> PathBuf {
    root().join(".venv/bin/python")
}

/// ClickHouse within Python; pinned, for figures are compared over time.
const CHDB: &str = "chdb==4.4.0";

/// The stores that figures are set beside, which no test needs. Returns the Python that has one of them.
pub(crate) fn peers() -> Result<PathBuf> {
    install(&missing_of(&[
        ("db_bench", "--version", "rocksdb-tools"),
        ("victoria-metrics", "-version", "victoria-metrics"),
        ("python3", "--version", "python3"),
    ]))?;
    let folder = target().join("peers/venv");
    let python = folder.join("bin/python");
    let text = python.to_str().ok_or("the path of the build folder is not UTF-8")?;
    if !answers(text, &["-c", "import chdb"]) {
        eprintln!("xtask: installing ClickHouse (the Python package chdb, about a gigabyte)");
        let folder = folder.to_str().ok_or("the path of the build folder is not UTF-8")?;
        shell::run("python3", &["-m", "venv", folder])
            .map_err(|error| format!("{error}\nDebian's package python3-venv may be missing"))?;
        shell::run(text, &["-m", "pip", "install", "-q", CHDB])?;
    }
    Ok(python)
}

/// The server that the ledger is set beside. Its programs are not on the path: Debian keeps versions apart.
pub(crate) fn postgres() -> Result {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut programs = versions.flatten().map(|version| version.path().join("bin/initdb"));
    if programs.any(|initdb| initdb.is_file()) { Ok(()) } else { install(&["postgresql"]) }
}

/// The Python that has the package `ocpp`.
pub(crate) fn ocpp() -> Result<PathBuf> {
    python_packages()?;
    Ok(python())
}

/// etcd and its command, which the benchmark of replication starts itself.
pub(crate) fn etcd() -> Result {
    let programs = [("etcd", "--version", "etcd-server"), ("etcdctl", "version", "etcd-client")];
    install(&missing_of(&programs))
}

/// Everything.
pub(crate) fn run() -> Result {
    debian_packages()?;
    python_packages()?;
    node_packages()?;
    nextest()
}

/// A command, how it shows that it is there, and the Debian package that brings it.
const COMMANDS: [(&str, &str, &str); 8] = [
    ("ip", "-V", "iproute2"),
    ("nft", "--version", "nftables"),
    ("faketime", "--version", "faketime"),
    ("psql", "--version", "postgresql-client"),
    ("chromium", "--version", "chromium"),
    ("node", "--version", "nodejs"),
    ("npm", "--version", "npm"),
    ("python3", "--version", "python3"),
];

fn debian_packages() -> Result {
    let mut missing = missing_of(&COMMANDS);
    if !Path::new("/usr/share/fonts/truetype/dejavu").exists() {
        missing.push("fonts-dejavu-core");
    }
    install(&missing)
}

/// The packages of those commands that do not answer.
fn missing_of(commands: &[(&str, &str, &'static str)]) -> Vec<&'static str> {
    let missing = commands.iter().filter(|(program, flag, _)| !answers(program, &[flag]));
    missing.map(|(_, _, package)| *package).collect()
}

/// Installs Debian packages, as root.
fn install(missing: &[&str]) -> Result {
    if missing.is_empty() {
        return Ok(());
    }
    if !answers("apt-get", &["--version"]) {
        return Err(format!("please install {} and run this again", missing.join(", ")));
    }
    eprintln!("xtask: installing {}", missing.join(", "));
    let quiet = |arguments: &[&str]| {
        run_command(command("apt-get", arguments).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    quiet(&["-qq", "update"])?;
    let mut install = vec!["-qq", "install", "-y", "--no-install-recommends"];
    install.extend(missing);
    quiet(&install).map_err(|error| {
        format!("{error}\ninstalling packages needs root: install {} by hand", missing.join(", "))
    })
}

/// A copy of the requirements beside what was installed from them says whether it is up to date.
fn python_packages() -> Result {
    let requirements = root().join("jepsen/python/requirements.txt");
    let installed = root().join(".venv/requirements.txt");
    let wanted = read(&requirements)?;
    if python().exists() && std::fs::read_to_string(&installed).is_ok_and(|had| had == wanted) {
        return Ok(());
    }
    eprintln!("xtask: installing the stock OCPP client");
    if !python().exists() {
        shell::run("python3", &["-m", "venv", ".venv"])
            .map_err(|error| format!("{error}\nDebian's package python3-venv may be missing"))?;
    }
    let python = python();
    let python = python.to_str().ok_or("the path of the workspace is not UTF-8")?;
    let pip = ["-m", "pip", "install", "-q", "-r", "jepsen/python/requirements.txt"];
    shell::run(python, &pip)?;
    std::fs::write(&installed, wanted).map_err(|error| format!(".venv/requirements.txt: {error}"))
}

fn node_packages() -> Result {
    let folder = root().join("console/tests");
    let lock = read(&folder.join("package-lock.json"))?;
    let installed = folder.join("node_modules/.installed-lock");
    if std::fs::read_to_string(&installed).is_ok_and(|had| had == lock) {
        return Ok(());
    }
    eprintln!("xtask: installing the browser driver");
    let mut npm = command("npm", &["ci", "--silent", "--no-audit", "--no-fund"]);
    run_command(npm.current_dir(&folder))?;
    std::fs::write(&installed, lock).map_err(|error| format!("node_modules: {error}"))
}

fn nextest() -> Result {
    if answers("cargo", &["nextest", "--version"]) {
        return Ok(());
    }
    eprintln!("xtask: installing cargo-nextest");
    shell::run("cargo", &["install", "--locked", "cargo-nextest"])
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}
