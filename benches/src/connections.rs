//! What an idle station costs the node in memory.
//!
//! Stations are provisioned first, so the difference is what a socket and a boot add: buffers, the
//! session, and what the rows grow by. Memory of the kernel for the sockets is not the node's and not in it.
//! One local address has ports for as many as may be asked for (28,000 on a stock kernel).

use crate::Common;
use crate::error::{BenchError, Result};
use crate::figures::Figures;
use crate::node::Node;
use crate::provision;
use crate::station::{check_open_files, open_all};

pub(crate) fn run(common: &Common, chargers: u32) -> Result<Figures> {
    check_open_files(u64::from(chargers) + 200)?;
    let node = Node::start(common)?;
    eprintln!("provisioning {chargers} stations");
    provision::stations(&node, chargers)?;
    let before = node.settle()?;
    eprintln!("{} MiB at rest; opening sockets", before >> 20);
    let sockets = open_all(node.ocpp(), chargers)?;
    let after = node.settle()?;
    let live = node.metric("novax_connections")?;
    eprintln!("{} MiB with {live} stations connected", after >> 20);
    if live != u64::from(chargers) {
        return Err(BenchError::Answer(format!("{live} of {chargers} stations stayed connected")));
    }
    drop(sockets);
    node.stop()?;
    let mut figures = Figures::default();
    let bytes = f64::from(u32::try_from(after.saturating_sub(before)).unwrap_or(u32::MAX));
    figures.add("live_connections", f64::from(chargers), "1");
    figures.add("idle_connection_bytes", bytes / f64::from(chargers), "B");
    Ok(figures)
}
