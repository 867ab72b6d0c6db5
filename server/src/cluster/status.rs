//! `novax cluster status`, `drain` and `transfer`: asks a node's API, waits for what was ordered, prints tables.

use crate::ask::{Request, ask};
use crate::cli::{ApiArgs, EXIT_FAILED, EXIT_OK, EXIT_USAGE};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// An order should have been followed within this.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks at what came of an order.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs what needs the API; answers the exit code.
pub(super) fn with_key(api: &ApiArgs, run: impl FnOnce(&str) -> Result<String, String>) -> u8 {
    let Some(key) = &api.api_key else {
        eprintln!("novax: name the key of the HTTP API with --api-key or NOVAX__HTTP__API_KEY");
        return EXIT_USAGE;
    };
    match run(key) {
        Ok(text) => match std::io::stdout().lock().write_all(text.as_bytes()) {
            Ok(()) => EXIT_OK,
            Err(_) => EXIT_FAILED,
        },
        Err(reason) => {
            eprintln!("novax: {reason}");
            EXIT_FAILED
        }
    }
}

pub(super) fn look(api: &ApiArgs, key: &str) -> Result<Value, String> {
    let request = Request { method: "GET", path: "/v1/cluster".to_owned(), body: None };
    let body = ask(api.http, key, &request)?;
    serde_json::from_slice(&body).map_err(|error| format!("{}: {error}", api.http))
}

fn put(api: &ApiArgs, key: &str, path: &str, body: &Value) -> Result<(), String> {
    send(api, key, "PUT", path, Some(body)).map(drop)
}

/// What a node answers; nothing to what has no answer.
pub(super) fn send(
    api: &ApiArgs,
    key: &str,
    method: &'static str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, String> {
    let request = Request { method, path: path.to_owned(), body: body.map(Value::to_string) };
    let answer = ask(api.http, key, &request)?;
    if answer.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&answer).map_err(|error| format!("{}: {error}", api.http))
}

/// Looks until it is so.
fn wait(
    api: &ApiArgs,
    key: &str,
    not_yet: &str,
    is_so: impl Fn(&Value) -> bool,
) -> Result<(), String> {
    let limit = Instant::now() + PATIENCE;
    loop {
        if is_so(&look(api, key)?) {
            return Ok(());
        }
        if Instant::now() >= limit {
            return Err(not_yet.to_owned());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// `novax cluster status`
pub(super) fn show(api: &ApiArgs) -> u8 {
    with_key(api, |key| look(api, key).map(|cluster| tables(&cluster)))
}

/// `novax cluster drain`
pub(super) fn drain(api: &ApiArgs, node: u64, undo: bool) -> u8 {
    with_key(api, |key| {
        put(api, key, &format!("/v1/cluster/nodes/{node}"), &json!({"draining": !undo}))?;
        let done = |cluster: &Value| {
            let row = list(cluster, "nodes").iter().find(|row| row["node"] == node);
            row.is_some_and(|row| {
                row["draining"] == !undo && (undo || row["leads"].as_u64() == Some(0))
            })
        };
        let not_yet = if undo {
            format!("node {node} did not hear of it")
        } else {
            format!("node {node} still leads: is a majority of the others up and level?")
        };
        wait(api, key, &not_yet, done)?;
        let now = if undo { "may lead again" } else { "leads nothing" };
        Ok(format!("node {node} {now}\n"))
    })
}

/// `novax cluster transfer`
pub(super) fn transfer(api: &ApiArgs, partition: u16, to: u64) -> u8 {
    with_key(api, |key| {
        let path = format!("/v1/cluster/partitions/{partition}/leader");
        put(api, key, &path, &json!({"node": to}))?;
        let done = |cluster: &Value| {
            let row = list(cluster, "partitions").iter().find(|row| row["partition"] == partition);
            row.is_some_and(|row| row["leader"] == to)
        };
        wait(api, key, &format!("node {to} did not take over: is it up and level?"), done)?;
        Ok(format!("node {to} leads partition {partition}\n"))
    })
}

pub(super) fn list<'a>(of: &'a Value, name: &str) -> &'a [Value] {
    of[name].as_array().map_or(&[], Vec::as_slice)
}

/// A value in a cell: nothing is a stroke.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn tables(cluster: &Value) -> String {
    let id = cluster["cluster"].as_str().unwrap_or("none: the node stands alone");
    let mut text = format!("cluster {id}, as node {} sees it\n\n", cell(&cluster["node"]));
    let mut rows =
        vec![["node", "address", "link", "round trip", "leads", "run"].map(str::to_owned)];
    for node in list(cluster, "nodes") {
        let link = match (node["linked"] == true, node["link_ended"].as_str()) {
            _ if node["node"] == cluster["node"] => "itself",
            _ if node["invited"] == true => "invited",
            (true, _) => "up",
            (false, why) => why.unwrap_or("down"),
        };
        let trip = node["round_trip_us"].as_u64().map_or("-".to_owned(), |us| format!("{us} us"));
        let draining = if node["draining"] == true { " (draining)" } else { "" };
        let leads = format!("{}{draining}", cell(&node["leads"]));
        let [number, address, run] = ["node", "address", "run"].map(|name| cell(&node[name]));
        rows.push([number, address, link.to_owned(), trip, leads, run]);
    }
    write_table(&mut text, &rows);
    text.push('\n');
    let heads = ["partition", "leader", "term", "commit", "members", "behind by node"];
    let mut rows = vec![heads.map(str::to_owned)];
    for partition in list(cluster, "partitions") {
        let [number, leader, term, commit] =
            ["partition", "leader", "term", "commit"].map(|name| cell(&partition[name]));
        let behind = list(partition, "replicas")
            .iter()
            .map(|replica| format!("{}:{}", cell(&replica["node"]), cell(&replica["behind"])))
            .collect::<Vec<String>>();
        rows.push([number, leader, term, commit, members(partition), behind.join(" ")]);
    }
    write_table(&mut text, &rows);
    text
}

fn members(partition: &Value) -> String {
    let join = |name| list(partition, name).iter().map(cell).collect::<Vec<String>>().join(" ");
    let mut text = join("voters");
    let learners = join("learners");
    if !learners.is_empty() {
        text = format!("{text}, learning {learners}");
    }
    if partition["joint"] == true {
        text.push_str(", changing");
    }
    let wanted = join("wanted_voters");
    if !wanted.is_empty() {
        text = format!("{text}, to be {wanted}");
    }
    text
}

/// Columns as wide as their widest cell; the last one as it is.
fn write_table<const N: usize>(text: &mut String, rows: &[[String; N]]) {
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<String>>().join("  ");
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_shown_as_tables() {
        let cluster = json!({
            "cluster": "0a0b", "node": 1,
            "nodes": [
                {"node": 1, "address": "a:7700", "linked": true, "draining": true, "leads": 0, "run": 7},
                {"node": 2, "address": "b:7700", "linked": false, "link_ended": "silence", "leads": 1},
            ],
            "partitions": [{
                "partition": 0, "leader": 2, "term": 3, "commit": 20, "voters": [1, 2],
                "learners": [3], "joint": true, "wanted_voters": [2, 3],
                "replicas": [{"node": 1, "behind": 4}, {"node": 2, "behind": 0}],
            }],
        });
        let shown = "cluster 0a0b, as node 1 sees it\n\n\
            node  address  link     round trip  leads         run\n\
            1     a:7700   itself   -           0 (draining)  7\n\
            2     b:7700   silence  -           1             -\n\n\
            partition  leader  term  commit  members                               behind by node\n\
            0          2       3     20      1 2, learning 3, changing, to be 2 3  1:4 2:0\n";
        assert_eq!(tables(&cluster), shown);
    }
}
