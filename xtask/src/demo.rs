//! `cargo xtask demo`: a node, a fleet, and a line a second of what they do.
//!
//! The data stays in `data/demo`: the next run goes on from there. Ctrl-C reaches the children too, since
//! they are in our process group; each stops by itself, and we wait for both.

use crate::shell::{command, root, run_command, step, target};
use crate::{Result, http, shell};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

struct Options {
    chargers: u32,
    exit_after: Option<Duration>,
}

fn options(arguments: &[String]) -> Result<Options> {
    let mut options = Options { chargers: 60, exit_after: None };
    let mut arguments = arguments.iter();
    while let Some(flag) = arguments.next() {
        let value = arguments.next().and_then(|text| text.parse::<u32>().ok());
        match (flag.as_str(), value) {
            ("--chargers", Some(chargers)) if chargers > 0 => options.chargers = chargers,
            ("--exit-after", Some(seconds)) => {
                options.exit_after = Some(Duration::from_secs(seconds.into()));
            }
            _ => return Err("demo [--chargers N] [--exit-after SECONDS]".into()),
        }
    }
    Ok(options)
}

/// `cargo xtask demo`
pub(crate) fn run(arguments: &[String]) -> Result {
    let options = options(arguments)?;
    let begun = Instant::now();
    step("build (the first time takes a quarter of an hour on two cores)", || {
        shell::build("dev", &["novax"])
    })?;
    let novax = target().join("debug/novax");
    let data = root().join("data/demo");
    let mut node = Node::start(&novax, &data)?;
    let key = read(&data.join("api.key"))?;
    let mut fleet = start_fleet(&novax, &node, &key, options.chargers)?;
    println!();
    println!("  console   http://{}/#key={key}", node.http());
    println!("  API       http://{}/openapi.json   (Authorization: Bearer {key})", node.http());
    println!("  stations  ws://{}/ocpp/{{identity}}   (ocpp1.6, ocpp2.0.1)", node.ocpp());
    println!("  SQL       {}", node.psql(&key));
    println!("  stop      Ctrl-C; the data stays in data/demo, the next run goes on from there");
    println!();
    let watched = watch(&mut node, &mut fleet, &key, &options, begun);
    // The fleet first: its chargers end their sessions properly while the node is there.
    let stopped = stop(&mut fleet, "the fleet").and(stop(&mut node.child, "the node"));
    watched.and(stopped)
}

struct Node {
    child: Child,
    addresses: BTreeMap<String, String>,
}

impl Node {
    fn start(novax: &Path, data: &Path) -> Result<Node> {
        std::fs::create_dir_all(data).map_err(|error| format!("data/demo: {error}"))?;
        let mut serve = Command::new(novax);
        serve.current_dir(root()).arg("serve").arg("--data").arg(data);
        for (flag, port) in [("--ocpp", 9000), ("--http", 8080), ("--sql", 5433)] {
            serve.args([flag, &free_address(port)]);
        }
        let mut child = serve
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("novax serve does not start: {error}"))?;
        let out = child.stdout.take().expect("piped");
        let addresses = read_addresses(out);
        match addresses {
            Some(addresses) => Ok(Node { child, addresses }),
            None => {
                let status = child.wait().map_err(|error| error.to_string())?;
                Err(format!("novax serve ended with {status} before it was ready"))
            }
        }
    }

    fn address(&self, name: &str) -> &str {
        self.addresses.get(name).map_or("?", String::as_str)
    }

    fn ocpp(&self) -> &str {
        self.address("ocpp")
    }

    fn http(&self) -> &str {
        self.address("http")
    }

    fn psql(&self, key: &str) -> String {
        let (host, port) = self.address("sql").rsplit_once(':').unwrap_or(("?", "?"));
        format!("PGPASSWORD={key} psql \"host={host} port={port} user=novax dbname=novax\"")
    }
}

/// The usual port when it is free, else any.
fn free_address(port: u16) -> String {
    match TcpListener::bind(("127.0.0.1", port)) {
        Ok(_free_again) => format!("127.0.0.1:{port}"),
        Err(_) => "127.0.0.1:0".into(),
    }
}

/// Reads `listening <what> <address>` lines up to `ready`; the rest of the output is passed on.
fn read_addresses(out: ChildStdout) -> Option<BTreeMap<String, String>> {
    let mut addresses = BTreeMap::new();
    let mut lines = BufReader::new(out).lines();
    for line in lines.by_ref() {
        let line = line.ok()?;
        if line == "ready" {
            std::thread::spawn(move || {
                lines.map_while(std::result::Result::ok).for_each(|line| println!("{line}"));
            });
            return Some(addresses);
        }
        if let Some((what, address)) =
            line.strip_prefix("listening ").and_then(|line| line.split_once(' '))
        {
            addresses.insert(what.to_owned(), address.to_owned());
        }
    }
    None
}

fn start_fleet(novax: &Path, node: &Node, key: &str, chargers: u32) -> Result<Child> {
    let log = root().join("data/demo/fleet.log");
    let file = std::fs::File::create(&log).map_err(|error| format!("fleet.log: {error}"))?;
    Command::new(novax)
        .arg("fleet")
        .args(["--ocpp", node.ocpp(), "--http", node.http(), "--api-key", key])
        .args(["--chargers", &chargers.to_string(), "--v201-percent", "50"])
        .args(["--meter-interval", "2s", "--session", "90s"])
        .stdin(Stdio::null())
        .stdout(file)
        .spawn()
        .map_err(|error| format!("novax fleet does not start: {error}"))
}

fn watch(
    node: &mut Node,
    fleet: &mut Child,
    key: &str,
    options: &Options,
    begun: Instant,
) -> Result {
    let interrupted = interrupts()?;
    let mut charging_since = None;
    let started = Instant::now();
    let mut commands_before: Option<u64> = None;
    let mut billed = false;
    loop {
        if interrupted.recv_timeout(Duration::from_secs(1)).is_ok() {
            println!();
            return Ok(());
        }
        for (child, what) in [(&mut node.child, "the node"), (&mut *fleet, "the fleet")] {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("{what} ended with {status}"));
            }
        }
        let status = http::get(node.http(), "/v1/status", key)?;
        let number = |name: &str| {
            http::field(&status, name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
        };
        let (live, commands) = (number("live_sessions"), number("commands_applied"));
        let rate = commands.saturating_sub(commands_before.replace(commands).unwrap_or(commands));
        if live > 0 && charging_since.is_none() {
            charging_since = Some(Instant::now());
            println!("  demo ready after {:.0} s", begun.elapsed().as_secs_f32());
        }
        println!(
            "  {live:>4} sessions   {:>8.1} kW   {rate:>6} commands/s   {:>6} ended   settled {}",
            number("power_w") as f64 / 1000.0,
            number("ended_sessions"),
            settled(&status),
        );
        if !billed && number("ended_sessions") > 0 {
            billed = show_bill(node, key)?;
        }
        if options.exit_after.is_some_and(|limit| started.elapsed() >= limit) {
            return Ok(());
        }
    }
}

/// One session that was paid for: its parts, its taxes, and who got what. `false` while there is none.
fn show_bill(node: &Node, key: &str) -> Result<bool> {
    let list = http::get(node.http(), "/v1/sessions?state=SETTLED&limit=1", key)?;
    let Some(id) = http::field(&list, "id") else { return Ok(false) };
    let session = http::get(node.http(), &format!("/v1/sessions/{id}"), key)?;
    println!("{}", bill(&session));
    Ok(true)
}

/// A session's bill in lines.
fn bill(session: &str) -> String {
    let cost = after(session, "\"cost\":");
    let part = |name: &str| {
        let text = http::field(after(cost, &format!("\"{name}\":")), "text");
        text.unwrap_or("?").to_owned()
    };
    let field = |name: &str| http::field(session, name).unwrap_or("?");
    let mut lines = format!(
        "\n  bill of {} at {}: {} Wh\n    energy {}, session {}, time {}, parking {}",
        field("driver"),
        field("station"),
        field("energy_wh"),
        part("energy"),
        part("fee"),
        part("time"),
        part("parking"),
    );
    let taxes = after(cost, "\"taxes\":");
    for tax in taxes.split(']').next().unwrap_or_default().split("\"name\":\"").skip(1) {
        let name = tax.split('"').next().unwrap_or("?");
        lines += &format!("\n    {name} {}", http::field(tax, "text").unwrap_or("?"));
    }
    lines += &format!("\n    total {}", part("total"));
    let shares = after(session, "\"shares\":");
    for share in shares.split(']').next().unwrap_or_default().split("\"party\":\"").skip(1) {
        let party = share.split('"').next().unwrap_or("?");
        lines += &format!("\n    -> {party} {}", http::field(share, "text").unwrap_or("?"));
    }
    lines.push('\n');
    lines
}

/// What follows the first of these words in a text.
fn after<'a>(text: &'a str, words: &str) -> &'a str {
    text.split_once(words).map_or("", |(_, rest)| rest)
}

/// The texts of the amounts in the `settled` list.
fn settled(status: &str) -> String {
    let list = status.split_once("\"settled\":").map_or("", |(_, rest)| rest);
    let list = list.split(']').next().unwrap_or_default();
    let texts: Vec<&str> =
        list.split("\"text\":\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    if texts.is_empty() { "nothing yet".into() } else { texts.join(", ") }
}

/// Says something when the person presses Ctrl-C.
fn interrupts() -> Result<mpsc::Receiver<()>> {
    let (pressed, interrupted) = mpsc::sync_channel(1);
    ctrlc::set_handler(move || {
        // Full: it has been pressed before and we are on the way out.
        let _ = pressed.try_send(());
    })
    .map_err(|error| format!("signals cannot be received: {error}"))?;
    Ok(interrupted)
}

fn stop(child: &mut Child, what: &str) -> Result {
    if child.try_wait().map_err(|error| error.to_string())?.is_none() {
        let pid = child.id().to_string();
        run_command(&mut command("kill", &["-INT", &pid]))?;
    }
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("{what} ended with {status}")),
            None if Instant::now() > limit => {
                child.kill().map_err(|error| error.to_string())?;
                return Err(format!("{what} did not stop within 20 s"));
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn read(path: &PathBuf) -> Result<String> {
    std::fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bill_shows_its_parts_its_taxes_and_who_gets_what() {
        let session = r#"{"station":"CP-1","driver":"anna","energy_wh":10000,"cost":{
            "energy":{"text":"3.95 EUR"},"fee":{"text":"0.50 EUR"},"time":{"text":"0.00 EUR"},
            "parking":{"text":"0.00 EUR"},"tax":{"text":"0.85 EUR"},
            "taxes":[{"name":"VAT","rate_ppm":190000,"amount":{"text":"0.85 EUR"}}],
            "total":{"text":"5.30 EUR"}},
            "shares":[{"party":"operator","amount":{"text":"4.00 EUR"}},
                      {"party":"platform","amount":{"text":"0.45 EUR"}}]}"#;
        assert_eq!(
            bill(session),
            "\n  bill of anna at CP-1: 10000 Wh\n    energy 3.95 EUR, session 0.50 EUR, \
             time 0.00 EUR, parking 0.00 EUR\n    VAT 0.85 EUR\n    total 5.30 EUR\n    \
             -> operator 4.00 EUR\n    -> platform 0.45 EUR\n"
        );
    }
}
