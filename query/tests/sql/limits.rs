//! What bounds statements and sessions: cancel requests, time, memory, rows, seats.

use super::store::{Server, Store};
use novax_query::{Database, SqlConfig, run_statement};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

/// Ten thousand million rows, joined without a condition a hash could help with.
const ENDLESS: &str = "select count(*) from telemetry a, telemetry b \
                       where a.power_w + b.power_w <> a.energy_wh * b.voltage_v";

fn endless() -> Arc<Store> {
    Store::long(100_000)
}

/// Waits until a statement no longer runs.
async fn idle(database: &Database, within: Duration) {
    let deadline = Instant::now() + within;
    while database.running() > 0 {
        assert!(Instant::now() < deadline, "the statement runs on after it was stopped");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_request_ends_a_big_join_at_once() {
    let store = endless();
    let server = Server::start(store.clone(), SqlConfig::default()).await;
    let mut waits = Vec::new();
    for round in 1..=5 {
        let client = server.connect().await;
        let token = client.cancel_token();
        let running = tokio::spawn(async move {
            let error = client.simple_query(ENDLESS).await.unwrap_err();
            assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
            // The session goes on.
            client.simple_query("select 1").await.unwrap();
        });
        store.asked(round).await;
        // Deep in the join, not in its beginning.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let began = Instant::now();
        token.cancel_query(NoTls).await.unwrap();
        running.await.unwrap();
        waits.push(began.elapsed());
    }
    waits.sort();
    println!("cancelled and answered again after {waits:?}");
    assert!(waits[2] < Duration::from_millis(200), "{waits:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_wrong_secret_cancels_nothing() {
    let store = endless();
    let server = Server::start(store.clone(), SqlConfig::default()).await;
    let (mine, other) = (server.connect().await, server.connect().await);
    let token = other.cancel_token();
    let running = tokio::spawn(async move {
        mine.simple_query("select count(*) from telemetry a, telemetry b where a.at > b.at limit 1")
            .await
    });
    store.asked(1).await;
    token.cancel_query(NoTls).await.unwrap();
    // The other session was idle: its cancel request is forgotten, not kept for its next statement.
    other.simple_query("select 1").await.unwrap();
    assert!(!running.is_finished());
    running.abort();
}

#[tokio::test]
async fn an_abandoned_join_stops_running() {
    let store = endless();
    let database = store.database();
    let statement = tokio::spawn({
        let database = database.clone();
        async move { run_statement(&database, ENDLESS).await }
    });
    store.asked(1).await;
    assert_eq!(database.running(), 1);
    statement.abort();
    idle(&database, Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_statement_has_its_time() {
    let store = endless();
    let config =
        SqlConfig { statement_timeout: Duration::from_millis(300), ..SqlConfig::default() };
    let server = Server::start(store, config).await;
    let client = server.connect().await;
    for sql in [ENDLESS, "set statement_timeout = '1h'", ENDLESS] {
        let began = Instant::now();
        let result = client.simple_query(sql).await;
        if sql == ENDLESS {
            let error = result.unwrap_err();
            assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
            assert!(error.as_db_error().unwrap().message().contains("timeout"));
            assert!(began.elapsed() < Duration::from_secs(5));
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn memory_and_rows_are_bounded() {
    let config = SqlConfig {
        memory_bytes_max: 2 << 20,
        result_rows_max: Some(1_000),
        ..SqlConfig::default()
    };
    let server = Server::start(endless(), config).await;
    let client = server.connect().await;
    let sort = "select * from telemetry order by power_w, voltage_v, at desc offset 99999";
    let error = client.simple_query(sort).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::OUT_OF_MEMORY), "{error:?}");
    let error = client.simple_query("select at from telemetry").await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::PROGRAM_LIMIT_EXCEEDED));
    assert_eq!(
        client.query("select at from telemetry limit 1000", &[]).await.unwrap().len(),
        1_000
    );
}

#[tokio::test]
async fn seats_are_bounded_and_free_again_when_a_session_ends() {
    let config = SqlConfig { sessions_max: 2, ..SqlConfig::default() };
    let server = Server::start(Store::small(), config).await;
    let first = server.connect().await;
    let second = server.connect().await;
    let refused = server.config().connect(NoTls).await.err().expect("no seat");
    assert_eq!(refused.code(), Some(&SqlState::TOO_MANY_CONNECTIONS));
    drop(first);
    // The server hears of the end of a session when its socket closes.
    let deadline = Instant::now() + Duration::from_secs(10);
    let third = loop {
        match server.config().connect(NoTls).await {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                break client;
            }
            Err(error) => {
                assert_eq!(error.code(), Some(&SqlState::TOO_MANY_CONNECTIONS));
                assert!(Instant::now() < deadline, "the seat stays taken");
            }
        }
    };
    third.query("select 1", &[]).await.unwrap();
    second.query("select 1", &[]).await.unwrap();
}

#[tokio::test]
async fn prepared_statements_are_bounded() {
    let server = Server::start(Store::small(), SqlConfig::default()).await;
    let client = server.connect().await;
    let mut kept = Vec::new();
    let refused = loop {
        match client.prepare(&format!("select {}", kept.len())).await {
            Ok(statement) => kept.push(statement),
            Err(error) => break error,
        }
        assert!(kept.len() <= 512, "no bound");
    };
    assert_eq!(refused.code(), Some(&SqlState::PROGRAM_LIMIT_EXCEEDED));
    client.batch_execute("deallocate all").await.unwrap();
    client.prepare("select 1").await.unwrap();
}

#[tokio::test]
async fn stopping_the_server_ends_running_statements() {
    let store = endless();
    let server = Server::start(store.clone(), SqlConfig::default()).await;
    let client = server.connect().await;
    let running = tokio::spawn(async move { client.simple_query(ENDLESS).await.unwrap_err() });
    store.asked(1).await;
    server.stop().await;
    assert_eq!(running.await.unwrap().code(), Some(&SqlState::ADMIN_SHUTDOWN));
}

#[tokio::test]
async fn text_that_nests_deep_does_no_harm() {
    let server = Server::start(Store::small(), SqlConfig::default()).await;
    let client = server.connect().await;
    let long = format!("select {}1", "1+".repeat(30_000));
    let error = client.simple_query(&long).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::STATEMENT_TOO_COMPLEX));
    // What is accepted can be planned and run.
    let most = format!("select {}1 as n", "1+".repeat(400));
    assert_eq!(client.query_one(&most, &[]).await.unwrap().get::<_, i64>(0), 401);
    let ors = (0..400).map(|n| format!("evse + {n} = 7")).collect::<Vec<_>>().join(" or ");
    client.simple_query(&format!("select * from connectors where {ors}")).await.unwrap();
}
