//! Who may enter, what a bad request gets, and what has a bound.

use super::client::{KEY, LIMITS, World};
use super::site;
use crate::http::Limits;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn everything_of_the_data_needs_the_key() {
    let world = World::new(1).await;
    let paths = crate::http::openapi::routes().to_openapi().paths.paths;
    assert!(paths.len() > 15, "all routes are in the document");
    for (path, operations) in &paths {
        // A provider shows its signature instead, which its own tests forge.
        if path == "/v1/payments/webhooks/stripe" {
            continue;
        }
        let methods =
            [("GET", &operations.get), ("POST", &operations.post), ("PUT", &operations.put)];
        let methods = methods.into_iter().filter(|(_, operation)| operation.is_some());
        assert!(methods.clone().count() > 0, "{path}");
        for (method, _) in methods {
            for header in [&[][..], &[("Authorization", "Bearer wrong-key-wrong-key")][..]] {
                let answer = world.send(method, path, header, "").await;
                assert_eq!(answer.problem(), (401, "unauthorised".into()), "{path}");
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{path}");
            }
        }
    }
    for path in ["/healthz", "/openapi.json", "/", "/app.js"] {
        assert_eq!(world.send("GET", path, &[], "").await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn every_error_is_a_problem_with_the_requests_id() {
    let world = World::new(1).await;
    let key = format!("Bearer {KEY}");
    let authorised = ("Authorization", key.as_str());
    let json_type = ("Content-Type", "application/json");
    let long = format!("{{\"site\":\"{}\"}}", "x".repeat(LIMITS.body_bytes_max));
    for (method, path, headers, body, expected) in [
        ("GET", "/v1/nothing", vec![authorised], "", (404, "not_found")),
        ("GET", "/v1/stations/CP-9", vec![authorised], "", (404, "not_found")),
        ("GET", "/v1/stations/%20", vec![authorised], "", (404, "not_found")),
        ("GET", "/v1/stations/%FF", vec![authorised], "", (400, "error")),
        ("GET", "/v1/sessions/xyz", vec![authorised], "", (404, "not_found")),
        ("GET", "/v1/accounts/9.00", vec![authorised], "", (404, "not_found")),
        ("DELETE", "/v1/stations", vec![authorised], "", (405, "method_not_allowed")),
        ("GET", "/v1/stations?limit=0", vec![authorised], "", (400, "invalid_limit")),
        ("GET", "/v1/stations?limt=1", vec![authorised], "", (400, "invalid_query")),
        ("GET", "/v1/stations?page_token=%21", vec![authorised], "", (400, "invalid_page_token")),
        ("POST", "/v1/sites", vec![authorised, json_type], "{", (400, "invalid_json")),
        ("POST", "/v1/sites", vec![authorised, json_type], "{}", (422, "invalid_request")),
        ("POST", "/v1/sites", vec![authorised], "{}", (415, "not_json")),
        ("POST", "/v1/sites", vec![authorised, json_type], &long, (413, "body_too_large")),
    ] {
        let mut headers = headers;
        headers.push(("X-Request-Id", "mine-1"));
        let answer = world.send(method, path, &headers, body).await;
        assert_eq!(answer.problem(), (expected.0, expected.1.into()), "{method} {path}");
        assert_eq!(answer.header("x-request-id"), Some("mine-1"), "{method} {path}");
    }
    let made = world.get("/v1/stations").await;
    assert_eq!(made.header("x-request-id").map(str::len), Some(32));
}

#[tokio::test]
async fn provisioning_out_of_bounds_is_refused() {
    let world = World::new(2).await;
    let mut elsewhere = site("depot", 2);
    assert_eq!(
        world.post("/v1/sites", &elsewhere).await.problem(),
        (422, "invalid_request".into())
    );
    elsewhere["partition"] = json!(1);
    world.make("/v1/sites", elsewhere.clone()).await;
    elsewhere["partition"] = json!(0);
    assert_eq!(world.post("/v1/sites", &elsewhere).await.problem(), (409, "conflict".into()));
    let mut negative = site("depot", 1);
    negative["limit_w"] = json!(-1);
    assert_eq!(world.post("/v1/sites", &negative).await.problem().0, 422);
    for (path, body) in [
        ("/v1/stations", json!({"station": "a b", "site": "depot"})),
        ("/v1/stations", json!({"station": "x".repeat(49), "site": "depot"})),
        ("/v1/stations", json!({"station": "CP", "site": "depot", "password": "short"})),
        ("/v1/stations", json!({"station": "CP", "site": "depot", "pasword": "long-enough"})),
        ("/v1/drivers", json!({"driver": "d", "tokens": vec!["t"; 65], "currency": "EUR"})),
        ("/v1/drivers", json!({"driver": "d", "tokens": [], "currency": "ZZZ"})),
    ] {
        assert_eq!(world.post(path, &body).await.problem().0, 422, "{path} {body}");
    }
    let unknown = json!({"station": "CP", "site": "nowhere"});
    assert_eq!(world.post("/v1/stations", &unknown).await.problem(), (404, "unknown_site".into()));
    let anna = json!({"driver": "anna", "tokens": ["T"], "currency": "EUR", "partition": 0});
    world.make("/v1/drivers", anna).await;
    let thief = json!({"driver": "bert", "tokens": ["T"], "currency": "EUR", "partition": 1});
    assert_eq!(world.post("/v1/drivers", &thief).await.problem(), (409, "conflict".into()));
}

/// A node whose only station never answers, with one place for requests.
async fn one_place(request_time_max: Duration) -> World {
    let limits = Limits { requests_max: 1, request_time_max, ..LIMITS };
    let world = World::with(1, limits, |_, _| None).await;
    world.make("/v1/sites", site("depot", 0)).await;
    world.make("/v1/stations", json!({"station": "CP-1", "site": "depot"})).await;
    world
}

#[tokio::test]
async fn overload_is_answered_at_once_and_health_still_is() {
    let world = one_place(Duration::from_secs(30)).await;
    let key = format!("Bearer {KEY}");
    let headers = [("Authorization", key.as_str()), ("Content-Type", "application/json")];
    let path = "/v1/stations/CP-1/commands";
    let mut waiting = world.open("POST", path, &headers, r#"{"command":"reset"}"#).await;
    // The first request has its place once a second one is turned away.
    let refused = loop {
        let answer = world.get("/v1/status").await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(refused.problem(), (503, "overloaded".into()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(world.send("GET", "/healthz", &[], "").await.status, 200);
    // A stranger is told so even now, and takes no place.
    assert_eq!(world.send("GET", "/v1/status", &[], "").await.status, 401);
    tokio::io::AsyncWriteExt::shutdown(&mut waiting).await.expect("a socket");
}

#[tokio::test]
async fn a_request_without_an_answer_ends_and_gives_its_place_back() {
    let world = one_place(Duration::from_millis(50)).await;
    let answer = world.post("/v1/stations/CP-1/commands", &json!({"command": "reset"})).await;
    assert_eq!(answer.problem(), (504, "timeout".into()));
    assert_eq!(world.get("/v1/status").await.status, 200);
}

#[tokio::test]
async fn without_its_shard_a_node_says_unavailable_and_unhealthy() {
    let mut world = World::new(1).await;
    world.node.end_full();
    let answer = world.get("/v1/status").await;
    assert_eq!(answer.problem(), (503, "overloaded".into()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(world.send("GET", "/healthz", &[], "").await.problem().0, 503);
}
