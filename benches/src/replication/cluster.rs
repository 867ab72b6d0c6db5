//! Three nodes on this machine, each a process with its own data directory and log.

use crate::Common;
use crate::error::{BenchError, During as _, Result};
use crate::node::{Node, data_dir};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

pub(super) const NODES: usize = 3;

/// See the file's head.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) nodes: Vec<Node>,
    dir: TempDir,
}

impl Cluster {
    /// Forms it and waits until all are ready.
    pub(super) fn start(common: &Common) -> Result<Cluster> {
        let dir = data_dir(common)?;
        let first = dir.path().join("n1");
        let mut init = Command::new(&common.novax);
        init.args(["cluster", "init", "--partitions", &common.partitions.to_string()]);
        init.arg("--data").arg(&first);
        for (number, port) in (1..).zip(free_ports(NODES)?) {
            init.args(["--node", &format!("{number}=127.0.0.1:{port}")]);
        }
        let made = init.output().during("forming a cluster")?;
        if !made.status.success() {
            return Err(BenchError::Node(String::from_utf8_lossy(&made.stderr).into_owned()));
        }
        for number in 2..=NODES {
            let home = dir.path().join(format!("n{number}"));
            std::fs::create_dir(&home).during("making a data directory")?;
            let bundle = first.join("cluster").join(format!("for-node-{number}"));
            std::fs::rename(bundle, home.join("cluster")).during("carrying certificates")?;
        }
        let homes: Vec<PathBuf> =
            (1..=NODES).map(|number| dir.path().join(format!("n{number}"))).collect();
        // A node is ready when a majority is: all start at once.
        let starting: Vec<_> =
            homes.iter().map(|home| Node::launch(common, home)).collect::<Result<_>>()?;
        let ready = starting.into_iter().zip(&homes).map(|(node, home)| node.ready(home));
        Ok(Cluster { nodes: ready.collect::<Result<_>>()?, dir })
    }

    /// Where stations connect.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Node::ocpp).collect()
    }

    /// Starts a node that has ended again, at its place.
    pub(super) fn restart(&mut self, common: &Common, at: usize) -> Result<()> {
        let home = self.dir.path().join(format!("n{}", at + 1));
        let node = Node::launch(common, &home)?.ready(&home)?;
        self.nodes.insert(at, node);
        Ok(())
    }

    pub(super) fn stop(self) -> Result<()> {
        // Together: the last one could not commit what it still has to say.
        self.nodes.iter().try_for_each(|node| node.signal("INT"))?;
        self.nodes.into_iter().try_for_each(|mut node| node.wait())
    }
}

/// Ports that nobody uses at the moment.
pub(super) fn free_ports(count: usize) -> Result<Vec<u16>> {
    let bind = |_| TcpListener::bind("127.0.0.1:0");
    let bound: Vec<TcpListener> =
        (0..count).map(bind).collect::<std::io::Result<_>>().during("looking for ports")?;
    let ports = bound.iter().map(|taken| taken.local_addr().map(|address| address.port()));
    ports.collect::<std::io::Result<_>>().during("looking for ports")
}
