//! Our own shell, as a client of a server.

use super::store::{Server, Store};
use novax_query::SqlConfig;
use novax_query::shell::{EXIT_CONNECTION, EXIT_OK, EXIT_STATEMENT, Format, ShellOptions, run_to};
use std::time::{Duration, Instant};

/// Runs the shell with one command on a thread of its own; its exit code and output.
async fn shell(addr: String, format: Format, command: &str) -> (u8, String) {
    let options = ShellOptions {
        addr,
        command: Some(command.to_owned()),
        format,
        history: None,
        ..ShellOptions::default()
    };
    let running = tokio::task::spawn_blocking(move || {
        let mut out = Vec::new();
        let code = run_to(options, &mut out);
        (code, String::from_utf8(out).expect("UTF-8"))
    });
    running.await.expect("no panic")
}

#[tokio::test]
async fn one_shot_shows_rows_in_every_format_and_says_how_it_went() {
    let server = Server::start(Store::small(), SqlConfig::default()).await;
    let addr = server.addr.to_string();
    let sql = "select station, power_w from connectors where evse = 1 order by station";
    for (format, expected) in [
        (
            Format::Table,
            " station | power_w\n---------+---------\n CP-1    |    3693\n CP-2    |\n(2 rows)\n",
        ),
        (Format::Csv, "station,power_w\r\nCP-1,3693\r\nCP-2,\r\n"),
        (
            Format::Json,
            "{\"station\":\"CP-1\",\"power_w\":\"3693\"}\n{\"station\":\"CP-2\",\"power_w\":null}\n",
        ),
        (
            Format::Vertical,
            "-[ RECORD 1 ]-------\nstation | CP-1\npower_w | 3693\n\
             -[ RECORD 2 ]-------\nstation | CP-2\npower_w | \n",
        ),
    ] {
        assert_eq!(shell(addr.clone(), format, sql).await, (EXIT_OK, expected.to_owned()));
    }
    let two = shell(addr.clone(), Format::Csv, "select 1 as a; select 2 as b;").await;
    assert_eq!(two, (EXIT_OK, "a\r\n1\r\nb\r\n2\r\n".to_owned()));
    for bad in
        ["select no_such_column from sites", "selct", "\\nonsense", "\\d nothing", "select 'open"]
    {
        assert_eq!(shell(addr.clone(), Format::Csv, bad).await.0, EXIT_STATEMENT, "{bad}");
    }
    // The first failure ends it.
    let ended = shell(addr.clone(), Format::Csv, "select 1 as a; selct; select 2 as b").await;
    assert_eq!(ended.0, EXIT_STATEMENT);
    assert!(!ended.1.contains('2'), "{ended:?}");
    server.stop().await;
    assert_eq!(shell(addr, Format::Csv, "select 1").await.0, EXIT_CONNECTION);
}

#[tokio::test]
async fn commands_describe_tables() {
    let server = Server::start(Store::small(), SqlConfig::default()).await;
    let addr = server.addr.to_string();
    for (command, expected) in [
        ("\\d", "connectors"),
        ("\\dt", "Meter values of all connectors over time"),
        ("\\d accounts", "credits_posted  | numeric(38,0)"),
        ("\\dn", "information_schema"),
        ("\\l", "novax"),
        ("\\?", "\\watch SECONDS"),
        ("\\conninfo", "127.0.0.1"),
        ("\\x\nselect 1 as one", "one | 1"),
        ("\\format json\nselect 1 as one", "{\"one\":\"1\"}"),
        ("select 1 as one \\gx", "one | 1"),
    ] {
        let (code, out) = shell(addr.clone(), Format::Table, command).await;
        assert_eq!(code, EXIT_OK, "{command}");
        assert!(out.contains(expected), "{command}: {out}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_stops_the_statement() {
    let store = Store::long(100_000);
    let server = Server::start(store.clone(), SqlConfig::default()).await;
    let sql = "select count(*) from telemetry a, telemetry b where a.power_w <> b.energy_wh * a.energy_wh";
    let running = tokio::spawn(shell(server.addr.to_string(), Format::Table, sql));
    // The shell listens for the signal from before it sends the statement.
    store.asked(1).await;
    let began = Instant::now();
    let pid = std::process::id().to_string();
    let sent = std::process::Command::new("kill").args(["-INT", &pid]).status().expect("kill runs");
    assert!(sent.success());
    let (code, _) = running.await.expect("no panic");
    assert_eq!(code, EXIT_STATEMENT);
    assert!(began.elapsed() < Duration::from_secs(5));
    server.stop().await;
}
