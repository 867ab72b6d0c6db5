//! A peer that serves in a process of its own, on the first core, and says `listening ADDRESS` when it does.

use crate::cpu::Threads;
use crate::error::{BenchError, During as _, Result};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// One that runs. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    threads: Threads,
    address: SocketAddr,
}

impl Server {
    /// Starts it and waits until it says where it listens.
    pub(crate) fn start(mut command: Command) -> Result<Server> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        // A process has the cores of the thread that starts it.
        let started = std::thread::spawn(move || {
            novax_ring::pin_to_core(0);
            command.spawn()
        });
        let child = started.join().expect("starting a process does not panic");
        let mut child = child.during("starting a peer")?;
        let out = child.stdout.take().expect("it is piped");
        let mut server = Server {
            child,
            threads: Threads::default(),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).during("reading from a peer")?;
        let address = line.trim_end().strip_prefix("listening ").and_then(|text| text.parse().ok());
        let silent = || BenchError::Node(format!("a peer said {line:?}"));
        server.address = address.ok_or_else(silent)?;
        Ok(server)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Time its threads have been on a processor.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        self.threads.so_far(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
