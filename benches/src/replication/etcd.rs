//! etcd, Debian's build: three members on this machine, loaded by `etcdctl check perf`, its own measure of a cluster.

use crate::cpu;
use crate::error::{BenchError, During as _, Result};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const MEMBERS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);
/// A thousand clients, 15,000 writes of 1 KiB a second at most, for a minute.
const LOAD: &str = "xl";

/// What it did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Writes {
    pub(super) per_s: f64,
    /// Processor time of a write, all members.
    pub(super) cpu_us: f64,
}

struct Members(Vec<Child>);

impl Drop for Members {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn failed(said: impl Into<String>) -> BenchError {
    BenchError::Store("etcd", said.into())
}

/// Three members on fresh data in `dir`, each write on the disks of two before it is answered.
pub(super) fn measure(dir: &Path) -> Result<Writes> {
    let ports = crate::replication::cluster::free_ports(2 * MEMBERS)?;
    let (clients, peers) = ports.split_at(MEMBERS);
    let url = |port: &u16| format!("http://127.0.0.1:{port}");
    let all: Vec<String> =
        (1..).zip(peers).map(|(number, port)| format!("m{number}={}", url(port))).collect();
    let mut members = Members(Vec::new());
    for (number, (client, peer)) in (1..).zip(clients.iter().zip(peers)) {
        let child = Command::new("etcd")
            .args(["--name", &format!("m{number}")])
            .arg("--data-dir")
            .arg(dir.join(format!("m{number}")))
            .args(["--listen-client-urls", &url(client), "--advertise-client-urls", &url(client)])
            .args(["--listen-peer-urls", &url(peer), "--initial-advertise-peer-urls", &url(peer)])
            .args(["--initial-cluster", &all.join(","), "--initial-cluster-state", "new"])
            .args(["--quota-backend-bytes", "8589934592", "--log-level", "error"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .during("starting etcd")?;
        members.0.push(child);
    }
    let endpoints = clients.iter().map(url).collect::<Vec<_>>().join(",");
    let etcdctl = |arguments: &[&str]| {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &endpoints]).args(arguments);
        command.output().during("running etcdctl")
    };
    let limit = Instant::now() + PATIENCE;
    while !etcdctl(&["endpoint", "health"])?.status.success() {
        if Instant::now() > limit {
            return Err(failed("it does not get healthy"));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let used = |members: &Members| -> Result<Duration> {
        members.0.iter().map(|child| cpu::of_pid(child.id())).sum()
    };
    let before = used(&members)?;
    let began = Instant::now();
    let said = etcdctl(&["check", "perf", "--load", LOAD])?;
    let seconds = began.elapsed().as_secs_f64();
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let per_s = throughput(&text).ok_or_else(|| failed(format!("check perf said {text:?}")))?;
    let cpu = used(&members)?.saturating_sub(before).as_secs_f64();
    // Clean-up of the keys at the end is in both; the writes are nearly all of it.
    Ok(Writes { per_s, cpu_us: cpu * 1e6 / (per_s * seconds) })
}

/// The number before `writes/s`.
fn throughput(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains("hroughput"))?;
    let (before, _) = line.split_once(" writes/s")?;
    before.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn its_verdict_is_read() {
        let text = "60 / 60 Boooo! 100.00%\nFAIL: Throughput too low: 8817 writes/s\nPASS: x";
        assert_eq!(super::throughput(text), Some(8817.0));
        assert_eq!(super::throughput("PASS: Throughput is 150 writes/s"), Some(150.0));
        assert_eq!(super::throughput("nothing"), None);
    }
}
