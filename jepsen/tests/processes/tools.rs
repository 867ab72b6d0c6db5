//! The commands besides `serve`.

use novax_jepsen::node::novax;
use std::process::{Command, Output};

fn run(arguments: &[&str], directory: &std::path::Path) -> (Output, String) {
    let ran = Command::new(novax()).args(arguments).current_dir(directory).output().expect("runs");
    let text =
        String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    (ran, text)
}

#[test]
fn a_mistyped_key_is_named_with_what_was_meant() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("novax.toml");
    std::fs::write(&file, "[ocpp]\nlisten = \"127.0.0.1:9000\"\nheartbeats_s = 60\n")
        .expect("written");
    let (ran, text) = run(&["config", "check"], directory.path());
    assert_eq!(ran.status.code(), Some(2), "{text}");
    assert!(text.contains("heartbeats_s") && text.contains("ocpp.heartbeat_s"), "{text}");
    std::fs::write(&file, "[ocpp]\nheartbeat_s = 60\n").expect("written");
    let (ran, text) = run(&["config", "check"], directory.path());
    assert!(ran.status.success(), "{text}");
}

#[test]
fn the_doctor_finds_this_machine_well() {
    let directory = tempfile::tempdir().expect("a directory");
    let any = "127.0.0.1:0";
    let arguments = ["doctor", "--data", "data", "--ocpp", any, "--http", any, "--sql", any];
    let (ran, text) = run(&arguments, directory.path());
    assert!(ran.status.success(), "{text}");
    assert!(text.contains("io_uring"), "{text}");
}
