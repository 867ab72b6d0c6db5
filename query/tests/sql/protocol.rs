//! The wire protocol as a typed client uses it: parameters, binary results, cursors, transactions.

use super::store::{Broken, DAY_US, Server, Store};
use futures::{StreamExt, pin_mut};
use novax_query::SqlConfig;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, Type};

/// A numeric as the bytes it came in.
struct Numeric(Vec<u8>);

impl<'a> FromSql<'a> for Numeric {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Numeric(raw.to_vec()))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::NUMERIC
    }
}

async fn small() -> Server {
    Server::start(Store::small(), SqlConfig::default()).await
}

fn code(error: &tokio_postgres::Error) -> &str {
    error.as_db_error().expect("an answer of the server").code().code()
}

#[tokio::test]
async fn results_come_in_binary_with_their_types() {
    let server = small().await;
    let client = server.connect().await;
    let row = client
        .query_one(
            "select station, evse, power_w, voltage_v, at, session_id, temperature_c, evse = 1 \
             from connectors where status = 'Charging'",
            &[],
        )
        .await
        .unwrap();
    let types: Vec<&Type> = row.columns().iter().map(|column| column.type_()).collect();
    let expected = [
        Type::TEXT,
        Type::INT4,
        Type::INT8,
        Type::NUMERIC,
        Type::TIMESTAMPTZ,
        Type::TEXT,
        Type::NUMERIC,
        Type::BOOL,
    ];
    assert_eq!(types, expected.iter().collect::<Vec<_>>());
    assert_eq!(row.get::<_, &str>(0), "CP-1");
    assert_eq!(row.get::<_, i32>(1), 1);
    assert_eq!(row.get::<_, i64>(2), 3_693);
    // 230.1: two digits to the base 10000, weight 0, positive, one decimal.
    assert_eq!(row.get::<_, Numeric>(3).0, [0, 2, 0, 0, 0, 0, 0, 1, 0, 230, 3, 232]);
    let expected = UNIX_EPOCH + Duration::from_micros(DAY_US) + Duration::from_secs(3_600);
    assert_eq!(row.get::<_, SystemTime>(4), expected);
    // -5.5
    assert_eq!(row.get::<_, Numeric>(6).0, [0, 2, 0, 0, 0x40, 0, 0, 1, 0, 5, 0x13, 0x88]);
    assert!(row.get::<_, bool>(7));
    let lists = client.query_one("select array[1, null, 3], array['a', 'b']", &[]).await.unwrap();
    assert_eq!(lists.get::<_, Vec<Option<i64>>>(0), [Some(1), None, Some(3)]);
    assert_eq!(lists.get::<_, Vec<String>>(1), ["a", "b"]);
    let null = client
        .query_one("select limit_w from connectors where false union all select null", &[])
        .await;
    assert_eq!(null.unwrap().get::<_, Option<i64>>(0), None);
}

#[tokio::test]
async fn parameters_have_the_types_of_what_they_are_compared_with() {
    let server = small().await;
    let client = server.connect().await;
    let statement = client
        .prepare("select station from connectors where station = $1 and evse = $2 and at <= $3")
        .await
        .unwrap();
    assert_eq!(statement.params(), [Type::TEXT, Type::INT4, Type::TIMESTAMPTZ]);
    let late = UNIX_EPOCH + Duration::from_micros(DAY_US + 86_400_000_000);
    let rows = client.query(&statement, &[&"CP-1", &1_i32, &late]).await.unwrap();
    assert_eq!(rows.len(), 1);
    let rows = client.query(&statement, &[&"CP-1", &1_i32, &UNIX_EPOCH]).await.unwrap();
    assert_eq!(rows.len(), 0);
    let rows = client.query(&statement, &[&None::<&str>, &1_i32, &late]).await.unwrap();
    assert_eq!(rows.len(), 0, "nothing equals NULL");

    let count = "select count(*) from sessions where energy_wh > $1";
    for (least, expected) in [(0_i64, 3_i64), (2_500, 1), (99_999, 0)] {
        assert_eq!(client.query_one(count, &[&least]).await.unwrap().get::<_, i64>(0), expected);
    }
    // A pushed-down key works through a parameter as well.
    let limit =
        client.query("select at from telemetry where station = $1 limit 3", &[&"CP-2"]).await;
    assert_eq!(limit.unwrap().len(), 3);
}

#[tokio::test]
async fn rows_are_fetched_in_portions_through_a_cursor() {
    let server = small().await;
    let mut client = server.connect().await;
    let transaction = client.transaction().await.unwrap();
    let portal =
        transaction.bind("select at from telemetry where station = 'CP-1'", &[]).await.unwrap();
    let mut total = 0;
    loop {
        let rows = transaction.query_portal(&portal, 1_000).await.unwrap();
        total += rows.len();
        if rows.len() < 1_000 {
            break;
        }
    }
    assert_eq!(total, 8_640);
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn a_failed_transaction_takes_nothing_but_its_end() {
    let server = small().await;
    let client = server.connect().await;
    client.batch_execute("begin").await.unwrap();
    let error = client.batch_execute("select * from no_such_table").await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::UNDEFINED_TABLE));
    let error = client.query("select 1", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
    client.batch_execute("rollback").await.unwrap();
    client.query("select 1", &[]).await.unwrap();
}

#[tokio::test]
async fn an_error_says_where_in_the_text_it_is() {
    let server = small().await;
    let client = server.connect().await;
    let error = client.simple_query("select 1;\nselct 2").await.unwrap_err();
    let told = error.as_db_error().unwrap();
    assert_eq!(told.code(), &SqlState::SYNTAX_ERROR);
    assert_eq!(told.position(), Some(&tokio_postgres::error::ErrorPosition::Original(11)));
    let error = client.prepare("select 1; select 2").await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::SYNTAX_ERROR));
    let error = client.simple_query("select no_such from sites").await.unwrap_err();
    assert!(error.as_db_error().unwrap().hint().unwrap().contains("price_from"));
}

#[tokio::test]
async fn a_source_without_rows_is_an_answer() {
    let server = Server::start(Arc::new(Broken), SqlConfig::default()).await;
    let client = server.connect().await;
    let error = client.query("select * from stations", &[]).await.unwrap_err();
    assert_eq!(code(&error), "57P03");
    // The session goes on, and what needs no rows works.
    client.query("select 1", &[]).await.unwrap();
}

#[tokio::test]
async fn large_results_stream_and_can_be_dropped_half_read() {
    let store = Store::long(200_000);
    let server = Server::start(store, SqlConfig::default()).await;
    let client = server.connect().await;
    let parameters: [i64; 0] = [];
    let rows = client.query_raw("select * from telemetry", parameters).await.unwrap();
    pin_mut!(rows);
    for _ in 0..10_000 {
        rows.next().await.unwrap().unwrap();
    }
    drop(client);
    let client = server.connect().await;
    let count = client.query_one("select count(*) from telemetry", &[]).await.unwrap();
    assert_eq!(count.get::<_, i64>(0), 200_000);
    server.stop().await;
}

#[tokio::test]
async fn a_password_is_wanted_when_one_is_set() {
    let config = SqlConfig { password: Some("key-1".into()), ..SqlConfig::default() };
    let server = Server::start(Store::small(), config).await;
    for (password, right) in [("key-1", true), ("key-2", false), ("key-11", false), ("", false)] {
        let connected = server.config().password(password).connect(tokio_postgres::NoTls).await;
        match connected {
            Ok((client, connection)) => {
                assert!(right, "{password:?}");
                tokio::spawn(connection);
                client.query("select 1", &[]).await.unwrap();
            }
            Err(error) => {
                assert!(!right, "{password:?}");
                assert_eq!(error.code(), Some(&SqlState::INVALID_PASSWORD));
            }
        }
    }
}

#[tokio::test]
async fn a_session_says_how_new_its_rows_must_be_and_hears_how_new_they_were() {
    let server = small().await;
    let client = server.connect().await;
    let one = async |sql: &str| {
        let messages =
            client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
    };
    assert_eq!(one("SHOW novax.reads").await.as_deref(), Some("fresh"));
    assert_eq!(one("SHOW novax.as_of").await.as_deref(), Some(""), "nothing was read");
    one("SELECT count(*) FROM stations").await;
    assert_eq!(one("SHOW novax.as_of").await.as_deref(), Some("2026-11-22T00:00:00.000Z"));
    one("SET novax.reads = 'local'").await;
    one("SELECT count(*) FROM stations").await;
    assert_eq!(one("SHOW novax.as_of").await.as_deref(), Some("2026-11-21T23:59:00.000Z"));
    assert!(client.simple_query("SET novax.reads = 'yesterday'").await.is_err());
    assert!(client.simple_query("SET novax.as_of = 'now'").await.is_err());
}
