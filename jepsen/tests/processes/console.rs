//! The console in a real Chromium, with a fleet that charges.

use novax_jepsen::node::{Node, novax};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Killed when dropped.
struct Fleet(Child);

impl Drop for Fleet {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn fleet(node: &Node) -> Fleet {
    let key = node.client().key;
    let addresses = node.addresses;
    let fleet = Command::new(novax())
        .arg("fleet")
        .args(["--ocpp", &addresses.ocpp.to_string(), "--http", &addresses.http.to_string()])
        .args(["--api-key", &key, "--chargers", "12", "--meter-interval", "1s", "--session", "60s"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the fleet starts");
    Fleet(fleet)
}

#[test]
fn the_console_works_in_a_browser() {
    let node = Node::start(&["--shards", "2"]);
    let _fleet = fleet(&node);
    crate::scene::until("sessions that charge", || {
        let status = crate::scene::get(&node, "/v1/status");
        (status["power_w"].as_i64() > Some(0)).then_some(())
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../console/tests");
    let ran = Command::new("node")
        .arg("console.mjs")
        .current_dir(&folder)
        .env("BASE_URL", format!("http://{}", node.addresses.http))
        .env("OCPP_URL", format!("ws://{}/ocpp", node.addresses.ocpp))
        .env("API_KEY", node.client().key)
        .output()
        .expect("node runs: cargo xtask setup installs it");
    let (out, error) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}\n{error}");
    assert!(out.contains("ok "), "it did something: {out}");
}
