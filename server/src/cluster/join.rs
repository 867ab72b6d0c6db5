//! `novax cluster join`: makes the folder of a new node from an invitation.
//!
//! **Invariant:** `DATA/cluster` is whole or not there. What an attempt that was cut short has left is used
//! again: the invitation serves one key.

use super::welcome::Welcome;
use super::{ClusterError, ClusterFile, Founder, folder};
use novax_model::NodeId;
use novax_peer::pki::{self, Token};
use std::net::SocketAddr;
use std::path::Path;

/// A new node's place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) node: NodeId,
    pub(super) cluster: String,
    pub(super) partitions: u16,
    pub(super) others: usize,
}

/// An invitation as an operator carries it: the token, and where the node that gave it is called.
pub fn invitation(token: &Token, address: &str) -> String {
    format!("{token}@{address}")
}

fn read_invitation(text: &str) -> Result<(Token, &str), String> {
    let (token, address) = text.trim().split_once('@').ok_or("it does not say whom to call")?;
    let token = token.parse::<Token>().map_err(|error| error.to_string())?;
    if !address.contains(':') {
        return Err(format!("{address} has no port"));
    }
    Ok((token, address))
}

/// Joins: `listen` is where this node is called, `address` where the others call it if that is another name.
///
/// # Errors
/// In words.
pub(super) fn join(
    data: &Path,
    invite: &str,
    listen: SocketAddr,
    address: Option<&str>,
) -> Result<Place, String> {
    let (token, inviter) = read_invitation(invite).map_err(|why| format!("--invite: {why}"))?;
    let home = folder(data);
    if data.join("NODE").exists() || home.exists() {
        return Err(format!("{} is in use: a node joins with an empty directory", data.display()));
    }
    let made = data.join("cluster.new");
    let io = |error: std::io::Error| format!("{}: {error}", made.display());
    std::fs::create_dir_all(&made).map_err(io)?;
    // A certificate from before says that the rest did not work out: the key stays, and gets another.
    match std::fs::remove_file(made.join("node.pem")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    let own = address.map_or_else(|| listen.to_string(), str::to_owned);
    if listen.ip().is_unspecified() && address.is_none() {
        return Err("--listen names no address that others could call: add --address".to_owned());
    }
    let joined = pki::join(&token, inviter, &own, &made).map_err(|error| error.to_string())?;
    let welcome = Welcome::read(&joined.welcome);
    let welcome = welcome.map_err(|error| format!("{inviter} said what is no welcome: {error}"))?;
    let failed = |error: ClusterError| error.to_string();
    welcome.write_keys(&made).map_err(failed)?;
    let mut nodes = welcome.nodes()?;
    nodes.retain(|known| known.node != joined.node);
    let others = nodes.len();
    nodes.push(Founder { node: joined.node, address: own, site: String::new() });
    let file = ClusterFile {
        cluster: joined.cluster,
        node: joined.node,
        partitions: welcome.partitions,
        listen: address.map(|_| listen),
        founders: Vec::new(),
        nodes,
        version: welcome.version(),
    };
    file.write(&made).map_err(failed)?;
    std::fs::rename(&made, &home).map_err(io)?;
    std::fs::File::open(data).and_then(|data| data.sync_all()).map_err(io)?;
    let cluster = joined.cluster.to_string();
    Ok(Place { node: joined.node, cluster, partitions: welcome.partitions, others })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_an_invitation_is_said_and_nothing_is_made() {
        let dir = tempfile::tempdir().expect("a directory");
        let listen: SocketAddr = "127.0.0.1:1".parse().expect("an address");
        for (text, word) in [("novax-join-1.abc", "whom to call"), ("nonsense@a:1", "begins")] {
            let error = join(dir.path(), text, listen, None).expect_err(text);
            assert!(error.contains(word), "{error}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).expect("there").count(), 0);
    }
}
