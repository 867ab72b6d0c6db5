//! What `psql` shows of us, from `testdata/psql.txt`, and the catalogs other clients read.

use super::store::{Server, Store};
use novax_query::SqlConfig;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// Runs psql; its output and errors together. Fails where there is no psql: it is part of what we
/// promise, and `apt-get install postgresql-client` brings it.
pub(crate) async fn psql(server: &Server, arguments: &[&str]) -> String {
    let port = server.addr.port().to_string();
    let mut command = Command::new("psql");
    command
        .args(["-h", "127.0.0.1", "-p", &port, "-U", "ada", "-d", "novax", "-X"])
        .args(arguments)
        .env("PGCONNECT_TIMEOUT", "20")
        .env_remove("PGPASSWORD");
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.expect("no panic");
    let output = output.expect("psql runs; it comes with the package postgresql-client");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8(text).expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_commands_show_what_is_written_down() {
    let server = Server::start(Store::small(), SqlConfig::default()).await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/psql.txt");
    let file = std::fs::read_to_string(&path).expect("the cases");
    let mut today = String::new();
    for line in file.lines() {
        if line.starts_with('#') {
            writeln!(today, "{line}").unwrap();
        }
        let Some(command) = line.strip_prefix("$ psql -c '").and_then(|c| c.strip_suffix('\''))
        else {
            continue;
        };
        writeln!(today, "\n{line}").unwrap();
        for shown in psql(&server, &["-c", command]).await.lines() {
            writeln!(today, "  {}", shown.trim_end()).unwrap();
        }
    }
    if std::env::var_os("NOVAX_BLESS").is_some() {
        std::fs::write(&path, &today).expect("the cases can be written");
    }
    let file = std::fs::read_to_string(&path).expect("the cases");
    for (number, (expected, found)) in file.lines().zip(today.lines()).enumerate() {
        assert_eq!(expected.trim_end(), found.trim_end(), "psql.txt, line {}", number + 1);
    }
    assert_eq!(file.lines().count(), today.lines().count(), "psql.txt: the end");
    server.stop().await;
}

#[tokio::test]
async fn what_clients_ask_when_they_connect_is_answered() {
    let server = Server::start(Store::small(), SqlConfig::default()).await;
    let client = server.connect().await;
    // Grafana, JDBC, pgcli, DBeaver, Metabase: the first things they say.
    for sql in [
        "select version()",
        "SELECT current_setting_is_not_asked FROM (SELECT 1 AS current_setting_is_not_asked) x",
        "SELECT nspname FROM pg_catalog.pg_namespace ORDER BY nspname",
        "SELECT quote_ident(table_name) FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
        "SELECT quote_ident(column_name) AS \"column\", data_type AS \"type\" FROM information_schema.columns WHERE quote_ident(table_name) = 'stations'",
        "SELECT t.oid, t.typname, t.typelem FROM pg_type t WHERE t.typname = 'text'",
        "SELECT d.oid, d.datname FROM pg_database d WHERE datallowconn AND NOT datistemplate",
        "SELECT * FROM pg_catalog.pg_index",
        "SELECT n.nspname, c.relname, c.relkind FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'v') AND n.nspname !~ '^pg_' ORDER BY 1, 2",
        "SELECT conname FROM pg_constraint WHERE conrelid = 'stations'::regclass",
        "SHOW TRANSACTION ISOLATION LEVEL",
        "SET extra_float_digits = 3",
        "SET DateStyle = 'ISO'",
        "select pg_backend_pid()",
    ] {
        client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    let columns = "select count(*) from information_schema.columns where table_schema = 'public' and table_name = 'connectors'";
    assert_eq!(client.query_one(columns, &[]).await.unwrap().get::<_, i64>(0), 16);
}
