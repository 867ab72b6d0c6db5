//! Statements and what they answer, from `testdata/*.sql.txt`, over the wire.
//!
//! A case is a statement behind `> `, on as many lines as it takes, and the answer: names of columns,
//! rows, NULL as `~`, or the error. Run with `NOVAX_BLESS=1` to write the answers of today into the
//! files, and read the difference.

use super::store::{Server, Store};
use novax_query::SqlConfig;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use tokio_postgres::{Client, SimpleQueryMessage};

async fn answer(client: &Client, sql: &str) -> String {
    let mut text = String::new();
    match client.simple_query(sql).await {
        Ok(messages) => {
            for message in messages {
                match message {
                    SimpleQueryMessage::RowDescription(columns) => {
                        let names: Vec<&str> = columns.iter().map(|c| c.name()).collect();
                        writeln!(text, "{}", names.join("|")).unwrap();
                    }
                    SimpleQueryMessage::Row(row) => {
                        let values: Vec<&str> =
                            (0..row.len()).map(|at| row.get(at).unwrap_or("~")).collect();
                        writeln!(text, "{}", values.join("|")).unwrap();
                    }
                    _ => {}
                }
            }
        }
        Err(error) => {
            let told = error.as_db_error().expect("an answer of the server");
            let first = told.message().lines().next().unwrap_or("");
            writeln!(text, "ERROR {}: {first}", told.code().code()).unwrap();
        }
    }
    text
}

/// The file as today's server would write it.
async fn answered(client: &Client, file: &str) -> String {
    let mut text = String::new();
    let mut lines = file.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(first) = line.strip_prefix("> ") else {
            if line.starts_with('#') || line.is_empty() {
                writeln!(text, "{line}").unwrap();
            }
            continue;
        };
        let mut sql = first.to_owned();
        writeln!(text, "> {first}").unwrap();
        while let Some(more) = lines.next_if(|line| line.starts_with("> ")) {
            sql = format!("{sql}\n{}", &more[2..]);
            writeln!(text, "{more}").unwrap();
        }
        text += &answer(client, &sql).await;
    }
    text
}

async fn check(name: &str) {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    let file = std::fs::read_to_string(&path).expect("the cases");
    let server = Server::start(Store::small(), SqlConfig::default()).await;
    let client = server.connect().await;
    let today = answered(&client, &file).await;
    if std::env::var_os("NOVAX_BLESS").is_some() {
        std::fs::write(&path, &today).expect("the cases can be written");
    }
    let file = std::fs::read_to_string(&path).expect("the cases");
    for (number, (expected, found)) in file.lines().zip(today.lines()).enumerate() {
        assert_eq!(expected, found, "{name}, line {}", number + 1);
    }
    assert_eq!(file.lines().count(), today.lines().count(), "{name}: the end");
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn tables_answer_as_written_down() {
    check("tables.sql.txt").await;
}

#[tokio::test]
async fn sessions_and_refusals_answer_as_written_down() {
    check("session.sql.txt").await;
}

#[tokio::test]
async fn expressions_and_types_answer_as_written_down() {
    check("types.sql.txt").await;
}
