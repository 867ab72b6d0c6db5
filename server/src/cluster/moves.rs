//! `novax cluster invite`, `move`, `replace` and `remove`: asks a node's API and waits until the leaders have
//! brought it about. Each may be given again: it goes on where it stands.

use super::status::{LOOK_EVERY, list, look, send, with_key};
use crate::cli::ApiArgs;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A partition of a terabyte takes hours; whoever waited in vain gives the command again.
const MOVE_PATIENCE: Duration = Duration::from_secs(3_600);

/// `novax cluster invite`
pub(super) fn invite(api: &ApiArgs, site: Option<&str>, valid_s: u64) -> u8 {
    with_key(api, |key| {
        let body = json!({"site": site, "valid_s": valid_s});
        let made = send(api, key, "POST", "/v1/cluster/invitations", Some(&body))?;
        let text = made["invitation"].as_str().ok_or("the answer is none")?;
        eprintln!(
            "novax: as node {}, within {valid_s} s; whoever has this can join:",
            made["node"]
        );
        Ok(format!("{text}\n"))
    })
}

/// `novax cluster move`
pub(super) fn move_votes(
    api: &ApiArgs,
    partition: Option<u16>,
    from: Option<u64>,
    to: Option<u64>,
) -> u8 {
    with_key(api, |key| {
        let moved = order(api, key, partition, (from, to))?;
        Ok(match moved.len() {
            0 => "nothing is to be moved\n".to_owned(),
            1 => format!("partition {} has moved\n", moved[0]),
            many => format!("{many} partitions have moved\n"),
        })
    })
}

/// `novax cluster replace`
pub(super) fn replace(api: &ApiArgs, old: u64, new: u64) -> u8 {
    with_key(api, |key| {
        let cluster = look(api, key)?;
        not_itself(&cluster, old)?;
        if !is_there(&cluster, new) {
            return Err(format!("there is no node {new}: invite it and let it join first"));
        }
        if is_there(&cluster, old) {
            order(api, key, None, (Some(old), Some(new)))?;
            take_out(api, key, old)?;
        }
        Ok(format!("node {new} is in the place of node {old}, whose number is not used again\n"))
    })
}

/// `novax cluster remove`
pub(super) fn remove(api: &ApiArgs, node: u64) -> u8 {
    with_key(api, |key| {
        let cluster = look(api, key)?;
        not_itself(&cluster, node)?;
        if is_there(&cluster, node) {
            order(api, key, None, (Some(node), None))?;
        }
        take_out(api, key, node)?;
        Ok(format!("node {node} is out of the cluster; its number is not used again\n"))
    })
}

fn not_itself(cluster: &Value, node: u64) -> Result<(), String> {
    let words = "that is the node that was asked: ask another one, with --http";
    if cluster["node"] == node { Err(words.to_owned()) } else { Ok(()) }
}

fn is_there(cluster: &Value, node: u64) -> bool {
    list(cluster, "nodes").iter().any(|row| row["node"] == node)
}

/// Orders votes to move and waits for it; which partitions it was about.
fn order(
    api: &ApiArgs,
    key: &str,
    partition: Option<u16>,
    (from, to): (Option<u64>, Option<u64>),
) -> Result<Vec<u64>, String> {
    let body = json!({"partition": partition, "from": from, "to": to});
    let ordered = send(api, key, "POST", "/v1/cluster/moves", Some(&body))?;
    let partitions: Vec<u64> =
        list(&ordered, "partitions").iter().filter_map(Value::as_u64).collect();
    let moved = |row: &Value| {
        let votes = |node| list(row, "voters").iter().any(|voter| *voter == node);
        row["joint"] == false && from.is_none_or(|from| !votes(from)) && to.is_none_or(votes)
    };
    let is_asked = |row: &&Value| partitions.iter().any(|number| row["partition"] == *number);
    wait(api, key, |cluster| {
        let behind: Vec<String> = list(cluster, "partitions")
            .iter()
            .filter(is_asked)
            .filter(|row| !moved(row))
            .map(|row| row["partition"].to_string())
            .collect();
        (!behind.is_empty()).then(|| format!("partitions {} have not moved", behind.join(", ")))
    })?;
    Ok(partitions)
}

/// Takes a node without votes out, and waits until no partition has it.
fn take_out(api: &ApiArgs, key: &str, node: u64) -> Result<(), String> {
    send(api, key, "DELETE", &format!("/v1/cluster/nodes/{node}"), None)?;
    wait(api, key, |cluster| {
        let still = is_there(cluster, node);
        still.then(|| format!("some partitions still have a replica on node {node}"))
    })
}

/// Looks until nothing is missing.
fn wait(
    api: &ApiArgs,
    key: &str,
    missing: impl Fn(&Value) -> Option<String>,
) -> Result<(), String> {
    let limit = Instant::now() + MOVE_PATIENCE;
    loop {
        let Some(missing) = missing(&look(api, key)?) else { return Ok(()) };
        if Instant::now() >= limit {
            return Err(format!("{missing} yet; it goes on by itself, give the command again"));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
