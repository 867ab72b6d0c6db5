//! `novax cluster`

use super::join::Place;
use super::{Founder, found, moves, status};
use crate::cli::{ClusterCommand, EXIT_FAILED, EXIT_OK, EXIT_USAGE};
use novax_model::NodeId;
use novax_peer::ClusterId;
use std::net::SocketAddr;
use std::path::Path;

/// Runs a subcommand; answers the exit code.
#[must_use]
pub fn run(command: &ClusterCommand) -> u8 {
    match command {
        ClusterCommand::Init { data, nodes, partitions } => match founders(nodes) {
            Ok(founders) => init(data, &founders, *partitions),
            Err(reason) => {
                eprintln!("novax: {reason}");
                EXIT_USAGE
            }
        },
        ClusterCommand::Invite { site, valid_s, api } => {
            moves::invite(api, site.as_deref(), *valid_s)
        }
        ClusterCommand::Join { data, invite, listen, address } => {
            join(data, invite, *listen, address.as_deref())
        }
        ClusterCommand::Move { partition, from, to, api } => {
            moves::move_votes(api, *partition, *from, *to)
        }
        ClusterCommand::Replace { old, new, api } => moves::replace(api, *old, *new),
        ClusterCommand::Remove { node, api } => moves::remove(api, *node),
        ClusterCommand::Status { api } => status::show(api),
        ClusterCommand::Drain { node, undo, api } => status::drain(api, *node, *undo),
        ClusterCommand::Transfer { partition, to, api } => status::transfer(api, *partition, *to),
    }
}

fn founders(nodes: &[String]) -> Result<Vec<Founder>, String> {
    let mut founders: Vec<Founder> = Vec::new();
    for text in nodes {
        let (number, address) = text
            .split_once('=')
            .ok_or_else(|| format!("--node {text}: say which node is where, as 1=10.0.0.1:7700"))?;
        let (address, site) = address.split_once(',').unwrap_or((address, ""));
        let node = number.parse().ok().and_then(NodeId::new);
        let node = node.ok_or_else(|| format!("--node {text}: nodes are numbered from 1"))?;
        if !address.contains(':') {
            return Err(format!("--node {text}: {address} has no port"));
        }
        if founders.iter().any(|known| known.node == node || known.address == address) {
            return Err(format!("--node {text}: that number or address was given before"));
        }
        if !site.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',') {
            return Err(format!("--node {text}: a site is a word"));
        }
        let (address, site) = (address.to_owned(), site.to_owned());
        founders.push(Founder { node, address, site });
    }
    Ok(founders)
}

fn join(data: &Path, invite: &str, listen: SocketAddr, address: Option<&str>) -> u8 {
    match super::join::join(data, invite, listen, address) {
        Ok(Place { node, cluster, partitions, others }) => {
            println!("{node} of cluster {cluster}, beside {others} others");
            println!("Start it with --partitions {partitions}; it is ready once it has them all.");
            EXIT_OK
        }
        Err(error) => {
            eprintln!("novax: {error}");
            EXIT_FAILED
        }
    }
}

fn init(data: &Path, founders: &[Founder], partitions: u16) -> u8 {
    if data.join("NODE").exists() {
        eprintln!("novax: {} was used by a node that stood alone", data.display());
        return EXIT_FAILED;
    }
    let mut id = [0; 16];
    getrandom::fill(&mut id).expect("the system has random bytes");
    match found(data, ClusterId(id), founders, partitions) {
        Ok(made) => {
            println!("cluster {}", ClusterId(id));
            for (node, folder) in &made {
                println!("{node}: {}", folder.display());
            }
            if made.len() > 1 {
                println!(
                    "Carry each other folder to its machine as DATA/cluster, delete it here, and \
                     start every node with --partitions {partitions}."
                );
            }
            EXIT_OK
        }
        Err(error) => {
            eprintln!("novax: {error}");
            EXIT_FAILED
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn founders_are_read_or_refused_in_words() {
        let texts =
            |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let read = founders(&texts(&["1=a:1", "2=b:1,fra"])).expect("sound");
        assert_eq!((&*read[0].site, &*read[1].address, &*read[1].site), ("", "b:1", "fra"));
        for (wrong, word) in [
            (["1=a:1", "1=b:1"], "before"),
            (["1=a:1", "2=a:1"], "before"),
            (["1=a:1", "0=b:1"], "from 1"),
            (["1=a:1", "b:1"], "which node"),
            (["1=a:1", "2=b"], "no port"),
            (["1=a:1", "2=b:1,a b"], "a word"),
        ] {
            let error = founders(&texts(&wrong)).expect_err(word);
            assert!(error.contains(word), "{error}");
        }
    }
}
