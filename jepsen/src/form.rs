//! Forming a cluster as its operator does: `novax cluster init` on the first machine, the other folders carried.

use crate::node::novax;
use novax_model::NodeId;
use std::io;
use std::path::PathBuf;
use std::process::Command;

/// A node of a cluster that is not formed yet.
#[derive(Debug, Clone)]
pub struct Founder {
    /// Its number.
    pub node: NodeId,
    /// Where the others call it, and its site if it has one: `host:port,site`.
    pub address: String,
    /// Its data directory, on which nothing has run.
    pub data: PathBuf,
}

/// Forms a cluster; the first of them is where it is done.
///
/// # Errors
/// When the command fails, with its own words, or a folder cannot be carried.
pub fn form(founders: &[Founder], partitions: u16) -> io::Result<()> {
    let Some((first, others)) = founders.split_first() else { return Ok(()) };
    let mut init = Command::new(novax());
    init.args(["cluster", "init", "--partitions", &partitions.to_string(), "--data"]);
    init.arg(&first.data);
    for Founder { node, address, .. } in founders {
        init.args(["--node", &format!("{}={address}", node.get())]);
    }
    let made = init.output()?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stderr);
        return Err(io::Error::other(format!("novax cluster init: {said}")));
    }
    for other in others {
        let bundle = first.data.join("cluster").join(format!("for-node-{}", other.node.get()));
        // Copied, not renamed: each may be on a disk of its own.
        crate::folder::copy_folder(&bundle, &other.data.join("cluster"))?;
        std::fs::remove_dir_all(&bundle)?;
    }
    Ok(())
}
