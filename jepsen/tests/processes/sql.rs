//! SQL through `psql` and through `novax sql`.

use crate::scene::Scene;
use novax_jepsen::node::{Node, novax};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What `psql` prints for a statement that must succeed.
#[track_caller]
pub(crate) fn psql(node: &Node, statement: &str) -> String {
    node.psql(statement).expect("psql runs the statement; cargo xtask setup installs it")
}

fn shell(node: &Node) -> Command {
    let mut shell = Command::new(novax());
    shell.arg("sql").args(["--sql", &node.addresses.sql.to_string()]);
    shell.env("NOVAX__SQL__PASSWORD", node.client().key);
    shell
}

#[test]
fn psql_sees_the_books_and_they_balance() {
    let mut scene = Scene::new(&["--shards", "2"]);
    let running = psql(&scene.node, "select station, state, driver from sessions");
    assert_eq!(running, "GOOD|CHARGING|anna\n");
    scene.the_neighbour_is_well();
    let sums = "select currency, sum(debits_posted) = sum(credits_posted), \
                sum(debits_pending) = sum(credits_pending), sum(debits_pending) \
                from accounts group by currency";
    assert_eq!(psql(&scene.node, sums), "EUR|t|t|0\n");
    let bill = "select s.energy_wh, s.cost_total, a.debits_posted from sessions s \
                join accounts a on a.name = 'driver/' || s.driver";
    assert_eq!(psql(&scene.node, bill), "10000|530|530\n");
    assert!(psql(&scene.node, "\\d sessions").contains("energy_wh"));
}

#[test]
fn the_shell_runs_a_statement_and_says_what_is_wrong_with_one() {
    let scene = Scene::new(&[]);
    let run = |format: &str, statement: &str| {
        shell(&scene.node).args(["--format", format, statement]).output().expect("runs")
    };
    let csv = run("csv", "select station, connected from stations order by station");
    let text = String::from_utf8_lossy(&csv.stdout);
    assert!(csv.status.success(), "{}", String::from_utf8_lossy(&csv.stderr));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "station,connected");
    assert_eq!((lines.len(), &lines[1][..4], &lines[2][..5]), (3, "BAD,", "GOOD,"));
    let wrong = run("table", "select nonsense from stations");
    assert_eq!(wrong.status.code(), Some(1));
    let error = String::from_utf8_lossy(&wrong.stderr);
    assert!(error.contains("nonsense"), "{error}");
}

#[test]
fn ctrl_c_cancels_a_long_statement() {
    let mut scene = Scene::new(&[]);
    // A hundred million million rows: it ends by being cancelled or not at all.
    let long = "select count(*) from generate_series(1, 10000000) a, generate_series(1, 10000000) b \
                where a.value + b.value < 0";
    let mut child = shell(&scene.node)
        .arg(long)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let limit = Instant::now() + Duration::from_secs(30);
    let pid = child.id().to_string();
    // Told again each second: the first may come before the statement is under way.
    let status = loop {
        std::thread::sleep(Duration::from_secs(1));
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        assert!(Instant::now() < limit, "it goes on");
        assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
    };
    assert!(!status.success(), "a statement that was cancelled is no success: {status}");
    scene.the_neighbour_is_well();
}
