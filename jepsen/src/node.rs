//! A `novax serve` process on a data directory of its own: started, killed, started again.

use crate::http::Client;
use serde_json::json;
use std::io::{self, BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The binary under test: `NOVAX_BIN`, or what cargo built beside this test.
///
/// # Panics
/// When there is none: a test that silently tests nothing would be worse.
#[must_use]
pub fn novax() -> PathBuf {
    if let Some(path) = std::env::var_os("NOVAX_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test knows where it is");
    let built = test.ancestors().map(|dir| dir.join("novax")).find(|path| path.is_file());
    built.expect("no novax binary: run `cargo build -p novax`, or set NOVAX_BIN")
}

/// The Python with the stock OCPP client: `NOVAX_PYTHON`, or the workspace's own.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn python() -> PathBuf {
    if let Some(path) = std::env::var_os("NOVAX_PYTHON") {
        return path.into();
    }
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/python");
    assert!(own.exists(), "no Python with the ocpp package: run `cargo xtask setup`");
    own
}

/// Where a node listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// Stations.
    pub ocpp: SocketAddr,
    /// The API.
    pub http: SocketAddr,
    /// Charges of apps, if the shards serve them.
    pub starts: Option<SocketAddr>,
    /// SQL.
    pub sql: SocketAddr,
}

/// Where and how a node is started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// What is run.
    pub program: PathBuf,
    /// Words before the command: for a namespace of its own, say.
    pub prefix: Vec<String>,
    /// What is added to its environment.
    pub environment: Vec<(String, String)>,
    /// Its data directory.
    pub data: PathBuf,
    /// What it says on its error output goes here.
    pub log: PathBuf,
    /// Flags of `novax serve`.
    pub flags: Vec<String>,
}

/// A node process. Killed when dropped.
#[derive(Debug)]
pub struct Node {
    launch: Launch,
    child: Child,
    /// The same over restarts.
    pub addresses: Addresses,
    _directory: Option<tempfile::TempDir>,
}

impl Node {
    /// Starts a node on a fresh directory and any free ports.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    pub fn start(flags: &[&str]) -> Node {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let data = directory.path().join("data");
        let any = "127.0.0.1:0".parse().expect("an address");
        let ports = Addresses { ocpp: any, http: any, starts: None, sql: any };
        let launch = Launch {
            program: novax(),
            prefix: Vec::new(),
            environment: Vec::new(),
            log: data.with_extension("log"),
            data,
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
        };
        let (child, addresses) = spawn(&launch, ports).expect("the node becomes ready");
        Node { launch, child, addresses, _directory: Some(directory) }
    }

    /// Starts a node anywhere.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start_at(launch: Launch, addresses: Addresses) -> io::Result<Node> {
        let (child, addresses) = spawn(&launch, addresses)?;
        Ok(Node { launch, child, addresses, _directory: None })
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// SIGKILL, whether or not it has ended by itself.
    ///
    /// # Errors
    /// When the system does not do it.
    pub fn end(&mut self) -> io::Result<()> {
        if self.child.try_wait()?.is_none() {
            self.child.kill()?;
        }
        self.child.wait().map(drop)
    }

    /// Where and how it is started.
    #[must_use]
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// What it is started from the next time.
    pub fn set_program(&mut self, program: PathBuf) {
        self.launch.program = program;
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.launch.data
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to its error output, over all its lives.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.launch.log).unwrap_or_default()
    }

    /// SIGKILL, and wait until it is gone.
    ///
    /// # Panics
    /// When it ended by itself before: that is a finding, not a kill.
    pub fn kill(&mut self) {
        let before = self.child.try_wait().expect("a child can be waited for");
        assert!(before.is_none(), "the node had ended by itself: {before:?}\n{}", self.log());
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// SIGINT, and how it ended; none when it has not within this time.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn interrupt(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-INT", &pid]).status()?;
        let until = Instant::now() + limit;
        loop {
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > until {
                return Ok(ended);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGINT, and wait for its own end.
    ///
    /// # Panics
    /// When it does not end within 20 s.
    pub fn stop(&mut self) -> ExitStatus {
        let ended = self.interrupt(Duration::from_secs(20)).expect("a child can be waited for");
        ended.unwrap_or_else(|| panic!("the node does not stop\n{}", self.log()))
    }

    /// Starts again on the same directory and ports, with other flags if given.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn restart(&mut self, flags: Option<&[&str]>) -> io::Result<()> {
        if let Some(flags) = flags {
            self.launch.flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        }
        let (child, addresses) = spawn(&self.launch, self.addresses)?;
        self.child = child;
        self.addresses = addresses;
        Ok(())
    }

    /// A client of its API.
    ///
    /// # Panics
    /// When it has no key.
    #[must_use]
    pub fn client(&self) -> Client {
        let key =
            std::fs::read_to_string(self.launch.data.join("api.key")).expect("a node has a key");
        Client::new(self.addresses.http, key.trim())
    }

    /// What `psql` prints for a statement: values parted by `|`, a line a row.
    ///
    /// # Errors
    /// When psql is not there, or the statement fails; with psql's own words.
    pub fn psql(&self, statement: &str) -> io::Result<String> {
        psql(self.addresses.sql, &self.client().key, statement)
    }

    /// The value of a counter on the metrics page, added up over shards.
    ///
    /// # Panics
    /// When the page has no such counter.
    #[must_use]
    pub fn counter(&self, name: &str) -> u64 {
        let page = self.client().get("/metrics").expect("the metrics page answers").text;
        let values: Vec<u64> = page
            .lines()
            .filter(|line| {
                let end = line.find(['{', ' ']).unwrap_or(line.len());
                &line[..end] == name
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect();
        assert!(!values.is_empty(), "no counter {name} in\n{page}");
        values.iter().sum()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already; there is nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the node said:\n{}", self.log());
        }
    }
}

/// A node that is not ready by then will not be.
const READY_MAX: Duration = Duration::from_secs(120);

fn spawn(launch: &Launch, ports: Addresses) -> io::Result<(Child, Addresses)> {
    let Launch { program, prefix, environment, data, log, flags } = launch;
    let errors = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
    let mut words = prefix.iter().map(PathBuf::from).chain([program.clone()]);
    let mut child = Command::new(words.next().unwrap_or_default())
        .args(words)
        .arg("serve")
        .arg("--data")
        .arg(data)
        .args(["--ocpp", &ports.ocpp.to_string()])
        .args(["--http", &ports.http.to_string()])
        .args(["--sql", &ports.sql.to_string()])
        .args(flags)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        // A configuration file lying about must not change what is tested.
        .current_dir(data.parent().unwrap_or(Path::new("/")))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()?;
    let stdout = child.stdout.take().expect("piped");
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stdout);
        // Whoever waited may have given up.
        let _ = tell.send(read_addresses(&mut lines));
        // Nobody reads on; the node must not stop for it.
        io::copy(&mut lines, &mut io::sink())
    });
    let late = |_| {
        let limit = READY_MAX.as_secs();
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("not ready within {limit} s")))
    };
    match told.recv_timeout(READY_MAX).unwrap_or_else(late) {
        Ok(addresses) => Ok((child, addresses)),
        Err(error) => {
            let _ = child.kill();
            let status = child.wait()?;
            let log = std::fs::read_to_string(log).unwrap_or_default();
            Err(io::Error::other(format!("{error}: the node ended with {status}\n{log}")))
        }
    }
}

fn read_addresses(lines: &mut impl io::BufRead) -> io::Result<Addresses> {
    let (mut ocpp, mut http, mut starts, mut sql) = (None, None, None, None);
    for line in lines.lines() {
        let line = line?;
        if line == "ready" {
            break;
        }
        let mut words = line.split(' ').skip(1);
        let (what, address) = (words.next(), words.next().and_then(|text| text.parse().ok()));
        match what {
            Some("ocpp") => ocpp = address,
            Some("http") => http = address,
            Some("starts") => starts = address,
            Some("sql") => sql = address,
            _ => {}
        }
    }
    match (ocpp, http, sql) {
        (Some(ocpp), Some(http), Some(sql)) => Ok(Addresses { ocpp, http, starts, sql }),
        _ => Err(io::Error::other("not ready")),
    }
}

/// What `psql` prints for a statement at an address: values parted by `|`, a line a row. A statement that takes
/// longer than a minute fails.
///
/// # Errors
/// When psql is not there, or the statement fails; with psql's own words.
pub fn psql(address: SocketAddr, password: &str, statement: &str) -> io::Result<String> {
    let (ip, port) = (address.ip(), address.port());
    let target = format!("host={ip} port={port} user=novax dbname=novax connect_timeout=5");
    let ran = Command::new("timeout")
        .args(["60", "psql", &target, "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement])
        .env("PGPASSWORD", password)
        .output()?;
    if !ran.status.success() {
        let error = String::from_utf8_lossy(&ran.stderr);
        return Err(io::Error::other(format!("{statement}: {error}")));
    }
    String::from_utf8(ran.stdout).map_err(io::Error::other)
}

/// The tariff of the tests: 39.5 cents a kWh, 50 cents a session, 19 % tax, 20 euros held.
#[must_use]
pub fn tariff() -> serde_json::Value {
    json!({
        "currency": "EUR", "energy_millis_per_kwh": 39_500, "session_fee_minor": "50",
        "tax_basis_points": 1900, "hold_minor": "2000"
    })
}

/// Makes a site, one station on it and one driver with 100 euros.
///
/// # Panics
/// When the node refuses.
pub fn provision(client: &Client, site: &str, station: &str, driver: &str, token: &str) {
    let split = json!({"site_host_basis_points": 1000, "platform_basis_points": 500});
    let body = json!({"site": site, "tariff": tariff(), "split": split});
    client.post("/v1/sites", None, &body).expect("answers").ok();
    let body = json!({"station": station, "site": site});
    client.post("/v1/stations", None, &body).expect("answers").ok();
    let body = json!({"driver": driver, "tokens": [token], "currency": "EUR"});
    client.post("/v1/drivers", None, &body).expect("answers").ok();
    let body = json!({"amount": {"minor": "10000", "currency": "EUR"}});
    let path = format!("/v1/drivers/{driver}/deposits");
    client.post(&path, Some(&format!("first-{driver}")), &body).expect("answers").ok();
}
