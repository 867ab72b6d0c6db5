//! The stock Python `ocpp` client, unchanged, against the binary.

use novax_jepsen::node::{Node, python};
use std::path::Path;
use std::process::Command;

/// Runs a script of `jepsen/python` against a fresh node.
pub(crate) fn run_script(name: &str, flags: &[&str]) {
    let node = Node::start(flags);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name);
    let ran = Command::new(python())
        .arg(&script)
        .env("NOVAX_HTTP", node.addresses.http.to_string())
        .env("NOVAX_OCPP", node.addresses.ocpp.to_string())
        .env("NOVAX_KEY", node.client().key)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("Python runs");
    let (out, error) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{name} ended with {}\n{out}\n{error}", ran.status);
    assert!(out.trim_end().ends_with("passed"), "{name} says {out:?}");
}

#[test]
fn a_stock_client_charges_by_card_and_app_and_obeys_every_command_on_1_6() {
    run_script("charge_v16.py", &["--shards", "2"]);
}

#[test]
fn a_stock_client_charges_by_card_and_app_and_obeys_every_command_on_2_0_1() {
    run_script("charge_v201.py", &["--shards", "2"]);
}
