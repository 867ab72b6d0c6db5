//! Events, metrics, the console's files, the document.

use super::client::{KEY, World, read_until};
use super::{ready, site};
use serde_json::{Value, json};
use std::path::Path;

fn authorised() -> String {
    format!("Bearer {KEY}")
}

async fn subscribe(world: &World) -> tokio::net::TcpStream {
    let key = authorised();
    world.open("GET", "/v1/events", &[("Authorization", key.as_str())], "").await
}

#[tokio::test]
async fn events_tell_the_status_and_end_with_the_server() {
    let mut world = ready().await;
    let mut stream = subscribe(&world).await;
    let text = read_until(&mut stream, "\n\n").await;
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    let text =
        if text.contains("event: status") { text } else { read_until(&mut stream, "\n\n").await };
    assert!(text.contains("event: status"), "{text}");
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
    let status: Value = serde_json::from_str(data).expect("JSON");
    assert_eq!(status["partitions"], 3);
    assert!(status["at"].as_str().is_some_and(|at| at.ends_with('Z')));
    let history = world.read("/v1/status/history").await;
    assert!(history["samples"].as_array().is_some_and(|samples| !samples.is_empty()));
    world.stop().await;
    let rest = read_until(&mut stream, "never said").await;
    assert!(!rest.contains("never said"), "the stream has ended");
}

#[tokio::test]
async fn streams_have_a_bound_and_a_closed_one_makes_room() {
    let world = World::new(1).await;
    let mut first = subscribe(&world).await;
    let mut second = subscribe(&world).await;
    read_until(&mut first, "event: status").await;
    read_until(&mut second, "event: status").await;
    let refused = world.get("/v1/events").await;
    assert_eq!(refused.problem(), (503, "overloaded".into()));
    drop(first);
    // The server notices when it writes the next status.
    let mut third = loop {
        let mut stream = subscribe(&world).await;
        if read_until(&mut stream, "\r\n").await.starts_with("HTTP/1.1 200") {
            break stream;
        }
        read_until(&mut second, "event: status").await;
    };
    assert!(read_until(&mut third, "event: status").await.contains("event: status"));
}

#[tokio::test]
async fn metrics_are_in_the_text_format_with_every_counter() {
    let world = ready().await;
    world.node.counters.connections.set(3);
    let page = world.get("/metrics").await;
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        "# TYPE novax_connections gauge",
        "novax_connections{shard=\"0\"} 3",
        "# TYPE novax_commands_applied_total counter",
        "# TYPE novax_http_requests_total counter",
    ] {
        assert!(page.body.lines().any(|found| found == line), "{line} in {}", page.body);
    }
    for metric in world.node.counters.list() {
        assert!(page.body.contains(&format!("novax_{}", metric.name)), "{}", metric.name);
    }
    for line in page.body.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.split_once(' ').expect("a name and a value");
        assert!(name.starts_with("novax_") && value.parse::<u64>().is_ok(), "{line}");
    }
}

#[tokio::test]
async fn the_consoles_files_are_served_safely_and_asked_for_once() {
    let world = World::new(1).await;
    for path in novax_console::PATHS {
        let file = world.send("GET", path, &[], "").await;
        assert_eq!(file.status, 200, "{path}");
        let policy = file.header("content-security-policy").expect("a policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
        let etag = file.header("etag").expect("a tag");
        let again = world.send("GET", path, &[("If-None-Match", etag)], "").await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
        assert_eq!(world.send("POST", path, &[], "").await.problem().0, 405, "{path}");
    }
}

#[tokio::test]
async fn the_committed_document_is_the_one_that_is_served() {
    let world = World::new(1).await;
    let served = world.send("GET", "/openapi.json", &[], "").await.json();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi/novax-v1.json");
    let text = serde_json::to_string_pretty(&served).expect("serialises") + "\n";
    if std::env::var_os("NOVAX_BLESS").is_some() {
        std::fs::write(&path, &text).expect("the document can be written");
    }
    let committed = std::fs::read_to_string(&path).expect("openapi/novax-v1.json is committed");
    assert_eq!(committed, text, "NOVAX_BLESS=1 cargo nextest run -p novax document");
}

#[tokio::test]
async fn what_is_answered_has_the_shape_that_is_documented() {
    let world = ready().await;
    let document = world.send("GET", "/openapi.json", &[], "").await.json();
    world.make("/v1/sessions", json!({"station": "CP-1", "connector": 1, "driver": "anna"})).await;
    world.make("/v1/sites", site("annex", 0)).await;
    for (path, schema) in [
        ("/v1/stations", "StationView"),
        ("/v1/connectors", "ConnectorView"),
        ("/v1/sessions", "SessionView"),
        ("/v1/sites", "SiteView"),
        ("/v1/drivers", "DriverView"),
        ("/v1/accounts", "AccountView"),
        ("/v1/transfers", "TransferView"),
    ] {
        let page = world.read(path).await;
        let item = page["items"][0].as_object().unwrap_or_else(|| panic!("{path}: {page}"));
        let properties = &document["components"]["schemas"][schema]["properties"];
        for field in item.keys() {
            assert!(properties.get(field).is_some(), "{path} answers {field}, undocumented");
        }
        let required = document["components"]["schemas"][schema]["required"].as_array();
        for field in required.into_iter().flatten() {
            assert!(item.contains_key(field.as_str().expect("text")), "{path} leaves {field} out");
        }
    }
}

#[tokio::test]
async fn a_node_that_stands_alone_is_a_cluster_of_one() {
    let world = World::new(2).await;
    let cluster = world.get("/v1/cluster").await.json();
    assert!(cluster["cluster"].is_null() && cluster["node"] == 1, "{cluster}");
    let node = &cluster["nodes"][0];
    assert!(node["linked"] == true && node["leads"] == 2, "{node}");
    assert_eq!(cluster["partitions"].as_array().map(Vec::len), Some(2));
    assert_eq!(cluster["partitions"][1]["replicas"][0]["behind"], 0);
    let key = format!("Bearer {}", super::client::KEY);
    let headers = [("Authorization", key.as_str()), ("Content-Type", "application/json")];
    for (path, body, status) in [
        ("/v1/cluster/nodes/1", r#"{"draining": true}"#, 202),
        ("/v1/cluster/nodes/2", r#"{"draining": true}"#, 404),
        ("/v1/cluster/nodes/0", r#"{"draining": true}"#, 404),
        ("/v1/cluster/partitions/1/leader", r#"{"node": 1}"#, 202),
        ("/v1/cluster/partitions/2/leader", r#"{"node": 1}"#, 404),
        ("/v1/cluster/partitions/1/leader", r#"{"node": 2}"#, 404),
    ] {
        assert_eq!(world.send("PUT", path, &headers, body).await.status, status, "{path} {body}");
    }
}
