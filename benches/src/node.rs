//! The node under load: a process of its own on a data directory of its own, both gone at the end.

use crate::Common;
use crate::cpu::Threads;
use crate::error::{BenchError, During, Result};
use crate::http::Http;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A node that runs.
#[derive(Debug)]
pub(crate) struct Node {
    child: Child,
    threads: Threads,
    /// Its own, or its part of a cluster's.
    data: Option<tempfile::TempDir>,
    ocpp: SocketAddr,
    http: SocketAddr,
    /// Where apps start charges, if it was told to serve them.
    starts: Option<SocketAddr>,
    key: String,
}

/// A process that is not ready yet.
#[derive(Debug)]
pub(crate) struct Starting {
    child: Child,
    ready: std::sync::mpsc::Receiver<BTreeMap<String, String>>,
}

const STOP_TIMEOUT: Duration = Duration::from_secs(30);

impl Node {
    /// Starts it, its command changed as the caller wants it, and waits until it is ready.
    pub(crate) fn start_with(common: &Common, change: impl FnOnce(&mut Command)) -> Result<Node> {
        let data = data_dir(common)?;
        let mut command = command(common, data.path());
        change(&mut command);
        let starting = Starting::new(command)?;
        let mut node = starting.ready(data.path())?;
        node.data = Some(data);
        Ok(node)
    }

    /// Starts the process on a data directory.
    pub(crate) fn launch(common: &Common, data: &Path) -> Result<Starting> {
        Starting::new(command(common, data))
    }
}

/// A node on any free ports of this machine.
fn command(common: &Common, data: &Path) -> Command {
    let any = "127.0.0.1:0";
    let mut command = Command::new(&common.novax);
    command.arg("serve").arg("--data").arg(data);
    command.args(["--http", any, "--sql", any]).env("NOVAX__OCPP__LISTEN", any);
    command.args(["--shards", &common.shards.to_string()]);
    command.args(["--partitions", &common.partitions.to_string()]);
    command
}

impl Starting {
    fn new(mut command: Command) -> Result<Starting> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().during("starting the node")?;
        let out = child.stdout.take().expect("it is piped");
        let (sender, ready) = std::sync::mpsc::channel();
        // The pipe is read to its end, so that the node can never block on it.
        std::thread::spawn(move || {
            let mut addresses = BTreeMap::new();
            for line in BufReader::new(out).lines().map_while(std::io::Result::ok) {
                let told = line.strip_prefix("listening ").and_then(|rest| rest.split_once(' '));
                if let Some((what, address)) = told {
                    addresses.insert(what.to_owned(), address.to_owned());
                } else if line == "ready" {
                    let _ = sender.send(addresses.clone());
                }
            }
        });
        Ok(Starting { child, ready })
    }

    /// Waits until it is ready.
    pub(crate) fn ready(self, data: &Path) -> Result<Node> {
        let Starting { mut child, ready } = self;
        let Ok(addresses) = ready.recv_timeout(Duration::from_secs(60)) else {
            let _ = child.kill();
            let status = child.wait().during("waiting for the node")?;
            return Err(BenchError::Node(format!("it did not get ready: {status}")));
        };
        let address = |name: &str| {
            let text = addresses.get(name).map(String::as_str).unwrap_or_default();
            let said = || BenchError::Node(format!("it did not say where {name} is"));
            text.parse::<SocketAddr>().map_err(|_| said())
        };
        let (ocpp, http) = (address("ocpp")?, address("http")?);
        let starts = addresses.contains_key("starts").then(|| address("starts")).transpose()?;
        let key = std::fs::read_to_string(data.join("api.key"));
        let key = key.during("reading the API key")?.trim().to_owned();
        Ok(Node { child, threads: Threads::default(), data: None, ocpp, http, starts, key })
    }
}

impl Node {
    pub(crate) fn ocpp(&self) -> SocketAddr {
        self.ocpp
    }

    pub(crate) fn starts(&self) -> Result<SocketAddr> {
        let nowhere = || BenchError::Node("it does not start charges for apps".into());
        self.starts.ok_or_else(nowhere)
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// A connection of its own to the HTTP API.
    pub(crate) fn client(&self) -> Http {
        Http::new(self.http, self.key.clone())
    }

    /// The sum of a metric over all shards.
    pub(crate) fn metric(&self, name: &str) -> Result<u64> {
        let text = self.client().get_text("/metrics")?;
        let of_name =
            |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let values: Vec<u64> = text
            .lines()
            .filter(of_name)
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect();
        if values.is_empty() {
            return Err(BenchError::Answer(format!("there is no metric {name}")));
        }
        Ok(values.iter().sum())
    }

    /// Time its threads have been on a processor.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        self.threads.so_far(self.child.id())
    }

    /// Memory it has in use, in bytes.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.during("reading the node's memory")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        kib.map(|kib| kib * 1_024).ok_or_else(|| BenchError::Node("it has ended".into()))
    }

    /// How many files it has open; sockets of its rings are not among them.
    pub(crate) fn open_files(&self) -> Result<u64> {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        let files = files.during("reading the node's open files")?;
        Ok(files.count() as u64)
    }

    /// Waits until it has little to do, for a few seconds at most.
    pub(crate) fn rest(&self) -> Result<()> {
        const TURN: Duration = Duration::from_millis(100);
        let mut before = self.cpu()?;
        for _ in 0..50 {
            std::thread::sleep(TURN);
            let now = self.cpu()?;
            if now.saturating_sub(before) < TURN / 10 {
                break;
            }
            before = now;
        }
        Ok(())
    }

    /// Waits until it has nothing to do and its memory stands still; returns the memory.
    pub(crate) fn settle(&self) -> Result<u64> {
        const QUIET: Duration = Duration::from_millis(500);
        const TURNS_MAX: u32 = 120;
        let mut before = (self.cpu()?, self.resident_bytes()?);
        let mut quiet_turns = 0;
        for _ in 0..TURNS_MAX {
            std::thread::sleep(QUIET);
            let now = (self.cpu()?, self.resident_bytes()?);
            let busy = now.0.saturating_sub(before.0) > QUIET / 20;
            let still = now.1.abs_diff(before.1) * 500 <= before.1;
            quiet_turns = if still && !busy { quiet_turns + 1 } else { 0 };
            if quiet_turns == 4 {
                return Ok(now.1);
            }
            before = now;
        }
        Err(BenchError::Node("it does not come to rest within a minute".into()))
    }

    /// Sends it a signal, by name.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        let sent = sent.during("sending a signal")?;
        let lost = || BenchError::Node(format!("no signal {name} for it: {sent}"));
        sent.success().then_some(()).ok_or_else(lost)
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill().during("killing a node")?;
        self.child.wait().map(drop).during("waiting for a node")
    }

    /// Stops it as an operator does; an error when it does not end cleanly.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.signal("INT")?;
        self.wait()
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&mut self) -> Result<()> {
        let limit = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < limit {
            if let Some(status) = self.child.try_wait().during("waiting for the node")? {
                let ended = format!("it ended with {status}");
                return if status.success() { Ok(()) } else { Err(BenchError::Node(ended)) };
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(BenchError::Node(format!("it did not stop within {} s", STOP_TIMEOUT.as_secs())))
    }
}

/// A fresh folder, removed when dropped.
pub(crate) fn data_dir(common: &Common) -> Result<tempfile::TempDir> {
    // Beside the binary is the same kind of disk that the project is on; /tmp may be memory.
    let beside = common.novax.parent().unwrap_or(Path::new("."));
    let place = common.data_in.as_deref().unwrap_or(beside);
    let data = tempfile::Builder::new().prefix("bench-").tempdir_in(place);
    data.during("making a data directory")
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let data = self.data.as_ref().is_none_or(|data| data.path().exists());
        assert!(data, "the data outlives the node");
    }
}
