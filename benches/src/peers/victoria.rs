//! VictoriaMetrics, Debian's build, as a process of its own that is fed and asked over HTTP.

use crate::cpu;
use crate::error::{BenchError, During as _, Result};
use crate::tsdb::fleet::line;
use novax_model::MeterTick;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_PATIENCE: Duration = Duration::from_secs(60);
const REST_PATIENCE: Duration = Duration::from_secs(300);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// Lines are posted in bodies of this size.
const BODY_BYTES: usize = 8 << 20;

/// A server that runs; killed when dropped.
pub(crate) struct Victoria {
    child: Child,
    address: SocketAddr,
}

/// Whether it is installed.
pub(crate) fn is_there() -> bool {
    Command::new("victoria-metrics").arg("-version").output().is_ok()
}

fn failed(said: String) -> BenchError {
    BenchError::Store("victoria", said)
}

impl Victoria {
    /// Starts it on a folder and waits until it answers.
    pub(crate) fn start(dir: &Path) -> Result<Victoria> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during("finding a free port")?;
        let address = free.local_addr().during("finding a free port")?;
        drop(free);
        let child = Command::new("victoria-metrics")
            .arg(format!("-storageDataPath={}", dir.display()))
            .arg(format!("-httpListenAddr={address}"))
            .args(["-retentionPeriod=100y", "-search.disableCache", "-loggerLevel=ERROR"])
            .args([
                "-search.maxUniqueTimeseries=10000000",
                "-search.maxSamplesPerQuery=10000000000",
            ])
            .args(["-search.maxQueryDuration=120s"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .during("starting victoria-metrics")?;
        let server = Victoria { child, address };
        let limit = Instant::now() + START_PATIENCE;
        while server.call("GET", "/health", "").is_err() {
            if Instant::now() > limit {
                return Err(failed("it does not answer within a minute".into()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// Processor time it has used.
    pub(crate) fn cpu_s(&self) -> Result<f64> {
        Ok(cpu::of_pid(self.child.id())?.as_secs_f64())
    }

    /// The most memory it has had.
    pub(crate) fn peak_resident_bytes(&self) -> Result<u64> {
        cpu::peak_resident_bytes(self.child.id())
    }

    /// Feeds it rows and waits until all are in parts on the disk and merged. Returns the processor seconds that
    /// took it; writing the text is not among them.
    pub(crate) fn ingest(&self, rows: impl Iterator<Item = (u64, MeterTick)>) -> Result<f64> {
        let before = self.cpu_s()?;
        let mut text = String::with_capacity(BODY_BYTES + 256);
        for (series, tick) in rows {
            line(&mut text, series, &tick);
            if text.len() >= BODY_BYTES {
                self.call("POST", "/write?precision=ms", &text)?;
                text.clear();
            }
        }
        self.call("POST", "/write?precision=ms", &text)?;
        self.call("GET", "/internal/force_flush", "")?;
        self.rest()?;
        self.call("GET", "/internal/force_merge", "")?;
        self.rest()?;
        Ok(self.cpu_s()? - before)
    }

    /// The answer to an instant query at `at_s`, as text.
    pub(crate) fn query(&self, query: &str, at_s: u64) -> Result<String> {
        self.call(
            "GET",
            &format!("/api/v1/query?nocache=1&time={at_s}&query={}", quoted(query)),
            "",
        )
    }

    /// The raw samples of a selector, as text.
    pub(crate) fn export(&self, selector: &str) -> Result<String> {
        self.call("GET", &format!("/api/v1/export?match[]={}", quoted(selector)), "")
    }

    /// Processor microseconds of one of so many calls.
    pub(crate) fn cost_us(&self, times: u32, call: impl Fn(u32) -> Result<()>) -> Result<f64> {
        call(0)?;
        let before = self.cpu_s()?;
        for n in 0..times {
            call(n)?;
        }
        Ok((self.cpu_s()? - before) * 1e6 / f64::from(times))
    }

    /// Waits until it has had next to nothing to do for two seconds.
    fn rest(&self) -> Result<()> {
        const TURN: Duration = Duration::from_millis(500);
        let limit = Instant::now() + REST_PATIENCE;
        let (mut before, mut quiet_turns) = (self.cpu_s()?, 0);
        while quiet_turns < 4 {
            std::thread::sleep(TURN);
            let now = self.cpu_s()?;
            quiet_turns = if now - before < 0.04 { quiet_turns + 1 } else { 0 };
            before = now;
            if Instant::now() > limit {
                return Err(failed("it does not come to rest in five minutes".into()));
            }
        }
        Ok(())
    }

    /// Ends it as an operator does, so that all is on disk.
    pub(crate) fn stop(mut self) -> Result<()> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-INT", &pid]).status().during("stopping victoria-metrics")?;
        self.child.wait().during("stopping victoria-metrics").map(drop)
    }

    /// One request on a connection of its own: in HTTP 1.0 the end of the answer is that of the connection.
    fn call(&self, method: &str, path: &str, body: &str) -> Result<String> {
        let mut socket =
            TcpStream::connect(self.address).during("connecting to victoria-metrics")?;
        socket.set_read_timeout(Some(ANSWER_TIMEOUT)).during("connecting to victoria-metrics")?;
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).during("writing to victoria-metrics")?;
        socket.write_all(body.as_bytes()).during("writing to victoria-metrics")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).during("reading from victoria-metrics")?;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        if !status.starts_with('2') {
            return Err(failed(format!("{method} {path}: {answer}")));
        }
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        body.ok_or_else(|| failed("it sends no HTTP that can be read".into()))
    }
}

impl Drop for Victoria {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// As a value in a query string.
fn quoted(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn selectors_are_quoted() {
        assert_eq!(quoted("meter_power{cp=\"7\"}"), "meter_power%7Bcp%3D%227%22%7D");
    }
}
