//! Nodes that leave the cluster and come back as others, and nodes that run another binary: by the commands that an
//! operator has.
//!
//! **Invariant.** A command that the cluster does not carry out within its time, all its nodes being up and linked, is
//! the cluster's fault and no broken run.

use crate::harness::{Doing as _, HarnessError};
use crate::node::Node;
use serde_json::Value as Json;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Nodes that have just been healed may be behind: an order is given again until then.
const PATIENCE: Duration = Duration::from_secs(120);
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// One command; it waits for what it ordered.
const COMMAND_MAX_S: &str = "90";

/// How a node left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// It was removed in words, and had no vote any more.
    Removed,
    /// Its disk was lost, and its votes with it.
    Lost,
}

/// Runs a command of `novax cluster` at a node until it is done.
pub(super) fn order(at: &Node, words: &[&str]) -> Result<String, HarnessError> {
    let limit = Instant::now() + PATIENCE;
    loop {
        let said = command(at, words)?;
        if said.status.success() {
            return Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned());
        }
        if Instant::now() > limit {
            return Err(HarnessError::NodeDown {
                node: 0,
                said: format!(
                    "novax cluster {}: {}",
                    words.join(" "),
                    String::from_utf8_lossy(&said.stderr).trim()
                ),
            });
        }
        std::thread::sleep(AGAIN_AFTER);
    }
}

fn command(at: &Node, words: &[&str]) -> Result<Output, HarnessError> {
    let client = at.client();
    let mut command = Command::new("timeout");
    command.arg(COMMAND_MAX_S).arg(&at.launch().program).arg("cluster").args(words);
    command.args(["--http", &client.address.to_string()]).env("NOVAX__HTTP__API_KEY", client.key);
    command.output().doing(|| "running novax cluster".to_owned())
}

/// Has a node's empty folder join by an invitation, and gives the number that it has now.
pub(super) fn join(node: &Node, listen: &str, invitation: &str) -> Result<u64, HarnessError> {
    let launch = node.launch();
    // From where the node stands: its links are nobody else's business.
    let program = launch.program.to_string_lossy().into_owned();
    let mut words = vec!["timeout".to_owned(), COMMAND_MAX_S.to_owned()];
    words.extend(launch.prefix.iter().cloned().chain([program]));
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(["cluster", "join", "--invite", invitation]);
    command.args(["--listen", listen, "--data"]).arg(&launch.data);
    let said = command.output().doing(|| "running novax cluster join".to_owned())?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let number = text.strip_prefix('n').and_then(|rest| rest.split(' ').next()?.parse().ok());
    match number {
        Some(number) if said.status.success() => Ok(number),
        _ => Err(HarnessError::NodeDown {
            node: 0,
            said: format!("novax cluster join: {}", String::from_utf8_lossy(&said.stderr).trim()),
        }),
    }
}

/// Nothing is left of what it had.
pub(super) fn wipe(data: &Path) -> Result<(), HarnessError> {
    std::fs::remove_dir_all(data).doing(|| format!("emptying {}", data.display()))
}

/// Waits until every partition has these votes, and none is on its way to others.
pub(super) fn until_voters(at: &Node, voters: &[u64]) -> Result<(), HarnessError> {
    let limit = Instant::now() + PATIENCE;
    loop {
        let said = at.client().get("/v1/cluster");
        if said.as_ref().is_ok_and(|answer| answer.status == 200 && have(&answer.json, voters)) {
            return Ok(());
        }
        if Instant::now() > limit {
            let said = said.map_or_else(|error| error.to_string(), |answer| answer.text);
            let said = format!("votes are not {voters:?}: {said}");
            return Err(HarnessError::NodeDown { node: 0, said });
        }
        std::thread::sleep(AGAIN_AFTER);
    }
}

fn have(cluster: &Json, voters: &[u64]) -> bool {
    let rows = cluster["partitions"].as_array();
    rows.is_some_and(|rows| {
        let is = |row: &Json| {
            let said = row["voters"].as_array().into_iter().flatten();
            let mut said: Vec<u64> = said.filter_map(Json::as_u64).collect();
            said.sort_unstable();
            said == voters && row["joint"] == false
        };
        !rows.is_empty() && rows.iter().all(is)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn votes_count_when_every_partition_has_them_and_none_is_in_between() {
        let row = |voters: &[u64], joint: bool| json!({"voters": voters, "joint": joint});
        let cluster = |rows: Vec<Json>| json!({"partitions": rows});
        assert!(have(&cluster(vec![row(&[4, 1, 2], false), row(&[1, 2, 4], false)]), &[1, 2, 4]));
        assert!(!have(&cluster(vec![row(&[1, 2, 4], false), row(&[1, 2, 3], false)]), &[1, 2, 4]));
        assert!(!have(&cluster(vec![row(&[1, 2, 4], true)]), &[1, 2, 4]));
        assert!(!have(&cluster(Vec::new()), &[1, 2, 4]) && !have(&json!({}), &[1]));
    }
}
