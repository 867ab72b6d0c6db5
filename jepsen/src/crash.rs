//! The crash test: stations charge, the node is killed again and again, the books are checked.
//!
//! The evidence is kept whatever the verdict.

use crate::books::Books;
use crate::charger::{Charger, Shared};
use crate::checker;
use crate::folder::copy_folder;
use crate::history::{Event, Journal, Line};
use crate::http::Client;
use crate::node::{Node, tariff};
use crate::random::Random;
use crate::station::{Version, now_ms};
pub use crate::verdict::Verdict;
use serde::Serialize;
use serde_json::json;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How often the node is killed.
    pub kills: u32,
    /// Decides who does what when, as far as a plan can.
    pub seed: u64,
    /// How many stations, half of each version.
    pub chargers: u32,
    /// Where the evidence goes.
    pub evidence: PathBuf,
    /// At the last kill, the data directory goes back to what it was at the first: a node that forgets.
    /// Such a run must fail; it shows that the test would notice.
    pub forget: bool,
}

/// What happened, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Kills.
    pub kills: u32,
    /// Acknowledged starts.
    pub starts: u64,
    /// Acknowledged stops.
    pub stops: u64,
    /// Starts that an app asked for.
    pub app_starts: u64,
    /// Acknowledged meter values.
    pub meter_values: u64,
    /// Transactions that began before a kill and ended after it.
    pub survivors: u64,
    /// The longest time from a start of the process to readiness.
    pub ready_ms_max: u64,
}

/// A run's outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Seed of the plan.
    pub seed: u64,
    /// How it went.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// How much happened.
    pub counts: Counts,
}

/// A new folder for a run's evidence in cargo's target folder.
///
/// # Errors
/// When it cannot be made.
pub fn evidence_folder() -> io::Result<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(own, PathBuf::from);
    let folder = target.join("jepsen").join(format!("{}-{}", now_ms(), std::process::id()));
    std::fs::create_dir_all(&folder)?;
    folder.canonicalize()
}

/// Runs a plan and keeps the evidence.
///
/// # Errors
/// When the evidence cannot be kept.
pub fn run(plan: &Plan) -> io::Result<Report> {
    let journal = Journal::create(&plan.evidence.join("history.jsonl"))?;
    let mut node = Node::start(&["--shards", "2", "--log-segment-bytes", "4MiB"]);
    let shared = Arc::new(Shared {
        hubs: vec![(node.addresses.ocpp, node.client())],
        journal,
        ending: AtomicBool::new(false),
    });
    let outcome = play(plan, &mut node, &shared);
    let history = shared.journal.lines();
    let counts = count(&history);
    let verdict = match outcome {
        Err(error) => Verdict::Broken { reason: error.to_string() },
        Ok(books) => {
            write(&plan.evidence.join("books.json"), &books)?;
            judge(plan, &history, &counts, &books)
        }
    };
    std::fs::write(plan.evidence.join("node.log"), node.log())?;
    let report = Report { seed: plan.seed, verdict, counts };
    write(&plan.evidence.join("report.json"), &report)?;
    Ok(report)
}

fn write(path: &Path, what: &impl Serialize) -> io::Result<()> {
    std::fs::write(path, serde_json::to_string_pretty(what)?)
}

fn judge(plan: &Plan, history: &[Line], counts: &Counts, books: &Books) -> Verdict {
    let findings = checker::check(history, books);
    if !findings.is_empty() {
        return Verdict::Failed { findings };
    }
    // Fewer than that, and the kills met nothing.
    let enough = u64::from(plan.kills);
    let dull = [
        ("kills", u64::from(counts.kills), u64::from(plan.kills)),
        ("starts", counts.starts, enough),
        ("stops", counts.stops, enough),
        ("transactions that lived through a kill", counts.survivors, enough.min(10)),
        ("starts by an app", counts.app_starts, enough / 10),
    ];
    for (what, happened, wanted) in dull {
        if happened < wanted {
            let reason = format!("only {happened} {what}, at least {wanted} are wanted");
            return Verdict::Broken { reason };
        }
    }
    Verdict::Passed
}

/// What each driver pays in: enough for everything.
const PAID_IN: u64 = 100_000_000;

/// Station, driver, token.
fn names(number: u32) -> (String, String, String) {
    (format!("CRASH-{number:03}"), format!("driver-{number:03}"), format!("TOKEN-{number:03}"))
}

/// The client of some hub; of another one for another number.
fn client(shared: &Shared, number: usize) -> io::Result<&Client> {
    let count = shared.hubs.len().max(1);
    let hub = shared.hubs.get(number % count).ok_or_else(|| io::Error::other("no hub"))?;
    Ok(&hub.1)
}

pub(crate) fn provision(chargers: u32, shared: &Shared) -> io::Result<()> {
    let client = client(shared, 0)?;
    let send = |path: &str, key: Option<&str>, body: &serde_json::Value| -> io::Result<()> {
        let answer = client.post(path, key, body)?;
        if answer.status == 200 {
            Ok(())
        } else {
            Err(io::Error::other(format!("{path}: {} {}", answer.status, answer.text)))
        }
    };
    let split = json!({"site_host_basis_points": 1000, "platform_basis_points": 500});
    for number in 0..chargers.div_ceil(4) {
        // Every other site has less power than its stations would draw.
        let mut site =
            json!({"site": format!("site-{number}"), "tariff": tariff(), "split": split});
        if number % 2 == 1 {
            site["limit_w"] = 22_000.into();
        }
        send("/v1/sites", None, &site)?;
    }
    for number in 0..chargers {
        let (station, driver, token) = names(number);
        let site = format!("site-{}", number / 4);
        send("/v1/stations", None, &json!({"station": station, "site": site}))?;
        let body = json!({"driver": driver, "tokens": [token], "currency": "EUR"});
        send("/v1/drivers", None, &body)?;
        let body = json!({"amount": {"minor": PAID_IN.to_string(), "currency": "EUR"}});
        send(&format!("/v1/drivers/{driver}/deposits"), Some(&driver), &body)?;
        shared.journal.note(Event::Station { station, driver, paid_in: PAID_IN });
    }
    Ok(())
}

/// Chargers at work, each on a thread of its own.
pub(crate) type AtWork = Vec<JoinHandle<io::Result<()>>>;

/// Sets so many chargers to work.
pub(crate) fn begin(chargers: u32, seed: u64, shared: &Arc<Shared>) -> AtWork {
    let begin_one = |number| {
        let (station, _, token) = names(number);
        let version = if number % 2 == 0 { Version::V16 } else { Version::V201 };
        let random = Random::new(seed, u64::from(number) + 1);
        let leaves_running = number % 6 == 0;
        let charger =
            Charger::new(Arc::clone(shared), &station, &token, version, random, leaves_running);
        std::thread::spawn(move || charger.run())
    };
    (0..chargers).map(begin_one).collect()
}

/// Lets them end what they began.
pub(crate) fn end(chargers: AtWork, shared: &Shared) -> io::Result<()> {
    shared.ending.store(true, Ordering::Relaxed);
    let mut ended = Ok(());
    for charger in chargers {
        let result = charger.join().map_err(|_| io::Error::other("a charger panicked"))?;
        ended = ended.and(result);
    }
    ended
}

/// The stations of so many chargers.
pub(crate) fn stations(chargers: u32) -> Vec<String> {
    (0..chargers).map(|number| names(number).0).collect()
}

fn play(plan: &Plan, node: &mut Node, shared: &Arc<Shared>) -> io::Result<Books> {
    provision(plan.chargers, shared)?;
    let chargers = begin(plan.chargers, plan.seed, shared);
    let killed = kill(plan, node, shared);
    // The stations end what they began even when the killing failed: there is more to see then.
    let ended = end(chargers, shared);
    killed.and(ended)?;
    let stations = stations(plan.chargers);
    let books = settle(shared, &stations)?;
    // What is said after one more crash is what counts.
    node.kill();
    node.restart(None)?;
    let again = settle(shared, &stations)?;
    let wrong = |text: String| shared.journal.note(Event::Wrong { station: "all".into(), text });
    if again != books {
        wrong("the books are others after a crash without any work".to_owned());
    }
    let sums = node.psql(SUMS)?;
    if !sums.lines().all(|line| line.ends_with("|t|t")) || sums.is_empty() {
        wrong(format!("SQL says that the accounts do not balance: {sums}"));
    }
    Ok(again)
}

/// Of each currency: whether debits equal credits, posted and pending.
const SUMS: &str = "select currency, sum(debits_posted) = sum(credits_posted), \
                    sum(debits_pending) = sum(credits_pending) from accounts group by currency";

fn kill(plan: &Plan, node: &mut Node, shared: &Shared) -> io::Result<()> {
    let mut random = Random::new(plan.seed, 0);
    let past = plan.evidence.join("past");
    for number in 1..=plan.kills {
        // The moment is the point: any, but not always the same.
        std::thread::sleep(Duration::from_millis(random.between(200, 2_000)));
        node.kill();
        shared.journal.note(Event::Killed { number });
        if plan.forget && number == 1 {
            copy_folder(node.data(), &past)?;
        } else if plan.forget && number == plan.kills {
            std::fs::remove_dir_all(node.data())?;
            copy_folder(&past, node.data())?;
            std::fs::remove_dir_all(&past)?;
        }
        let begun = Instant::now();
        node.restart(None)?;
        let after_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        shared.journal.note(Event::Ready { number, after_ms });
    }
    Ok(())
}

/// What partitions owe each other is done within this.
const SETTLE_PATIENCE: Duration = Duration::from_secs(30);

/// The books once nothing is under way any more, or as they are when that does not come.
pub(crate) fn settle(shared: &Shared, stations: &[String]) -> io::Result<Books> {
    let limit = Instant::now() + SETTLE_PATIENCE;
    let mut hub = 0;
    loop {
        let books = Books::read(client(shared, hub)?, stations);
        let under_way =
            |state: &str| !matches!(state, "SETTLED" | "CHARGING" | "EXPIRED" | "REJECTED");
        let busy = |books: &Books| books.sessions.iter().any(|session| under_way(&session.state));
        if Instant::now() > limit || books.as_ref().is_ok_and(|books| !busy(books)) {
            return books;
        }
        // A node of a cluster that has just healed may not answer yet; another one does.
        hub += usize::from(books.is_err());
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub(crate) fn count(history: &[Line]) -> Counts {
    let mut counts = Counts::default();
    let mut began = std::collections::BTreeMap::new();
    for line in history {
        match &line.event {
            Event::Started { station, transaction, .. } => {
                let name = (station.clone(), transaction.clone());
                if began.insert(name, counts.kills).is_none() {
                    counts.starts += 1;
                }
            }
            Event::Stopped { station, transaction, .. } => {
                let name = (station.clone(), transaction.clone());
                if let Some(kills) = began.get_mut(&name) {
                    counts.stops += u64::from(*kills != u32::MAX);
                    counts.survivors += u64::from(*kills < counts.kills);
                    *kills = u32::MAX;
                }
            }
            Event::RemoteStart { .. } => counts.app_starts += 1,
            Event::Metered { .. } => counts.meter_values += 1,
            Event::Killed { .. } => counts.kills += 1,
            Event::Ready { after_ms, .. } => {
                counts.ready_ms_max = counts.ready_ms_max.max(*after_ms);
            }
            _ => {}
        }
    }
    counts
}
