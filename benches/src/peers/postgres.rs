//! PostgreSQL, Debian's build: a server of our own on a folder of our own, on a Unix socket and no port, loaded by
//! its own `pgbench`.

use crate::cpu;
use crate::error::{BenchError, During as _, Result};
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SCHEMA: &str = include_str!("postgres.sql");
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Where Debian puts a folder for each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// PostgreSQL refuses to run as root; Debian's package brings this user.
const USER: &str = "postgres";
const WARM_UP: Duration = Duration::from_secs(2);
const SITES: u64 = 10_000;
const HOT_ACCOUNTS: u64 = 8;
const CLEARING_FIRST: u64 = 1_000_001;

/// Memory and log as one would give them to a server for this; each commit is on the disk before it is answered.
const SETTINGS: [&str; 9] = [
    "listen_addresses=",
    "fsync=on",
    "synchronous_commit=on",
    "shared_buffers=1GB",
    "wal_buffers=64MB",
    "max_wal_size=8GB",
    "min_wal_size=2GB",
    "checkpoint_timeout=30min",
    "max_connections=100",
];

/// Which accounts the holds go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Ten thousand.
    Uniform,
    /// Eight.
    Hot,
}

impl Target {
    fn accounts(self) -> u64 {
        match self {
            Target::Uniform => SITES,
            Target::Hot => HOT_ACCOUNTS,
        }
    }
}

/// What it did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holds {
    pub(crate) per_s: f64,
    /// Processor time of a hold, all processes of the server.
    pub(crate) cpu_us: f64,
}

/// A server that runs; stopped when dropped.
pub(crate) struct Postgres {
    child: Child,
    /// Its programs.
    programs: PathBuf,
    /// Holds its data, its socket and its scripts.
    dir: PathBuf,
    user: Option<(u32, u32)>,
    wallets: u64,
}

fn failed(said: impl Into<String>) -> BenchError {
    BenchError::Store("postgres", said.into())
}

impl Postgres {
    /// Makes a fresh cluster in `dir` with the schema, filled wallets and a warm cache.
    pub(crate) fn start(dir: &Path, wallets: u64, deposit: u128) -> Result<Postgres> {
        let (programs, user) = (programs()?, unprivileged()?);
        if let Some((uid, gid)) = user {
            chown(dir, Some(uid), Some(gid)).during("giving a folder to postgres")?;
        }
        std::fs::set_permissions(dir, Permissions::from_mode(0o700)).during("closing a folder")?;
        eprintln!("bench: postgres initdb");
        let data = dir.join("data");
        let mut init = as_user(&programs.join("initdb"), user, dir);
        init.arg("-D").arg(&data).args(["-A", "trust", "-U", "bench", "-E", "UTF8"]);
        said(init.args(["--locale=C", "--no-instructions"]))?;
        let mut server = as_user(&programs.join("postgres"), user, dir);
        server.arg("-D").arg(&data).arg("-k").arg(dir);
        for setting in SETTINGS {
            server.args(["-c", setting]);
        }
        let log = std::fs::File::create(dir.join("server.log")).during("making a file")?;
        let child = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let child = child.during("starting postgres")?;
        let mut postgres = Postgres { child, programs, dir: dir.to_path_buf(), user, wallets };
        postgres.wait_until_it_answers()?;
        postgres.fill(deposit)?;
        Ok(postgres)
    }

    /// Clients that each place one hold after the other for the time, as fast as it answers.
    pub(crate) fn holds(
        &self,
        clients: usize,
        target: Target,
        amount: u128,
        time: Duration,
    ) -> Result<Holds> {
        let (wallets, accounts) = (self.wallets, target.accounts());
        let last = CLEARING_FIRST + accounts - 1;
        let script = format!(
            "\\set k random(1, 9000000000000000000)\n\\set d random(1, {wallets})\n\
             \\set c random({CLEARING_FIRST}, {last})\nSELECT hold(:k, :d, :c, {amount});\n"
        );
        self.bench(&script, clients, WARM_UP)?;
        self.bench(&script, clients, time)
    }

    /// Holds in transactions of `batch`, by one client.
    pub(crate) fn batched_holds(
        &self,
        batch: usize,
        amount: u128,
        time: Duration,
    ) -> Result<Holds> {
        let wallets = self.wallets;
        let script = format!("SELECT hold_many({batch}, {wallets}, {SITES}, {amount});\n");
        let batches = self.bench(&script, 1, time)?;
        let batch = Duration::from_secs(batch as u64).as_secs_f64();
        Ok(Holds { per_s: batches.per_s * batch, cpu_us: batches.cpu_us / batch })
    }

    /// Whether both sides of its books hold what its transfers say.
    pub(crate) fn check(&self, amount: u128) -> Result<()> {
        let sums = self.query(
            "SELECT count(*) || ' ' || (SELECT sum(debits_pending) FROM account) || ' ' || \
             (SELECT sum(credits_pending) FROM account) FROM transfer",
        )?;
        let numbers: Vec<u128> = sums.split(' ').filter_map(|word| word.parse().ok()).collect();
        match numbers[..] {
            [holds, debits, credits] if debits == holds * amount && credits == debits => Ok(()),
            _ => Err(failed(format!("its books do not balance: {sums}"))),
        }
    }

    /// Ends it in order.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.control("fast")?;
        self.child.wait().during("waiting for postgres").map(drop)
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let limit = Instant::now() + START_PATIENCE;
        while self.query("SELECT 1").is_err() {
            let ended = self.child.try_wait().during("watching postgres")?;
            if ended.is_some() || Instant::now() > limit {
                let log = std::fs::read_to_string(self.dir.join("server.log")).unwrap_or_default();
                return Err(failed(format!("it does not answer: {log}")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn fill(&self, deposit: u128) -> Result<()> {
        eprintln!("bench: postgres fills its tables");
        self.query(SCHEMA)?;
        let (wallets, last) = (self.wallets, CLEARING_FIRST + SITES - 1);
        self.query(&format!(
            "INSERT INTO account (id, credits_posted, limited) \
             SELECT id, {deposit}, true FROM generate_series(1, {wallets}) id"
        ))?;
        self.query(&format!(
            "INSERT INTO account (id, limited) \
             SELECT id, false FROM generate_series({CLEARING_FIRST}, {last}) id"
        ))?;
        self.query("VACUUM ANALYZE account").map(drop)?;
        self.query("CHECKPOINT").map(drop)
    }

    /// Runs a script from so many clients and reads what `pgbench` says of it.
    fn bench(&self, script: &str, clients: usize, time: Duration) -> Result<Holds> {
        let file = self.dir.join("hold.sql");
        std::fs::write(&file, script).during("writing a script")?;
        std::fs::set_permissions(&file, Permissions::from_mode(0o644)).during("opening a file")?;
        let used = cpu::of_family(self.child.id())?;
        let mut bench = self.program("pgbench");
        bench.args(["-n", "-M", "prepared", "-j", "1", "-c", &clients.to_string()]);
        bench.args(["-T", &time.as_secs().to_string(), "-f"]).arg(&file).arg("postgres");
        let told = said(&mut bench)?;
        // Its own children have ended by now: all of them count.
        let used = cpu::of_family(self.child.id())?.saturating_sub(used).as_secs_f64();
        let number = |before: &str| {
            let line = told.lines().find_map(|line| line.strip_prefix(before));
            let word = line.and_then(|line| line.split_whitespace().next());
            let number = word.and_then(|word| word.parse::<f64>().ok());
            number.ok_or_else(|| failed(format!("pgbench says no {before:?}: {told}")))
        };
        let done = number("number of transactions actually processed: ")?;
        if number("number of failed transactions: ")? > 0.0 || done < 1.0 {
            return Err(failed(format!("it refuses holds: {told}")));
        }
        Ok(Holds { per_s: number("tps = ")?, cpu_us: used * 1e6 / done })
    }

    fn query(&self, text: &str) -> Result<String> {
        let mut psql = self.program("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", text, "postgres"]);
        said(&mut psql).map(|answer| answer.trim().to_owned())
    }

    /// One of its programs, told where the server is.
    fn program(&self, name: &str) -> Command {
        let mut command = as_user(&self.programs.join(name), self.user, &self.dir);
        command.arg("-h").arg(&self.dir).args(["-U", "bench"]);
        command
    }

    fn control(&self, mode: &str) -> Result<()> {
        let mut control = as_user(&self.programs.join("pg_ctl"), self.user, &self.dir);
        control.arg("-D").arg(self.dir.join("data")).args(["stop", "-m", mode]);
        said(&mut control).map(drop)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // At once: nothing of it is kept.
            drop(self.control("immediate"));
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// Runs a program to its end; what it says on stdout.
fn said(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().during("starting a program of postgres")?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let name = command.get_program().to_string_lossy().into_owned();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(failed(format!("{name}: {words}")))
}

/// The programs of the newest version that is installed.
fn programs() -> Result<PathBuf> {
    let missing =
        || BenchError::Machine(format!("no PostgreSQL in {VERSIONS}: install postgresql"));
    let versions = std::fs::read_dir(VERSIONS).map_err(|_| missing())?;
    let versions = versions.filter_map(|version| version.ok()?.file_name().into_string().ok());
    let versions = versions.filter_map(|name| name.parse::<u32>().ok());
    let bin = |version: u32| Path::new(VERSIONS).join(version.to_string()).join("bin");
    let complete = |version: &u32| bin(*version).join("initdb").is_file();
    versions.filter(complete).max().map(bin).ok_or_else(missing)
}

/// Whom to be instead of root; nobody else when we are not root.
fn unprivileged() -> Result<Option<(u32, u32)>> {
    let status =
        std::fs::read_to_string("/proc/self/status").during("reading about this process")?;
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    if uid.and_then(|uid| uid.split_whitespace().nth(1)) != Some("0") {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd").during("reading the users")?;
    let user = users.lines().find_map(|line| {
        let mut words = line.split(':');
        (words.next() == Some(USER)).then_some(())?;
        Some((words.nth(1)?.parse().ok()?, words.next()?.parse().ok()?))
    });
    let missing = || BenchError::Machine(format!("no user {USER}: install postgresql"));
    user.ok_or_else(missing).map(Some)
}

fn as_user(program: &Path, user: Option<(u32, u32)>, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).env("LC_ALL", "C");
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}
