//! A run from an empty folder to its verdict.
//!
//! 1. What killed runs left on the machine is swept; nodes are started; the workload makes what it needs.
//! 2. Clients call, each lane one thing at a time; faults come and go.
//! 3. Everything is healed. What the workload asks for in the end must be answered: a cluster that does not come
//!    back has failed.
//! 4. The history is read back from its file and judged; the evidence and a page about it are written.
//!
//! **Invariants**
//! * Whatever goes wrong with the test's own tools, the last phase is tried, the evidence is kept, and the verdict
//!   is no pass.
//! * A run in which no fault could be installed, or in which hardly anything was done, says nothing.

use super::cluster::{Cluster, Endpoint, Layout, Needs, log_path};
use super::faults::{self, Fault, InForce};
use super::leads;
use super::processes::Processes;
use super::workload::{Answer, Background, Client, Request, Workload};
use super::workloads::workload;
use crate::check::gaps::{Latencies, gaps};
use crate::harness::{Doing as _, HarnessError};
use crate::nemesis::{Outcome, tag, unable};
use crate::op::{self, Call, End, Recorder, Value};
use crate::random::Random;
use crate::report::{self, Counts, Page, Report};
use crate::verdict::Verdict;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The workload's name.
    pub workload: String,
    /// The faults, by name; one after the other, by chance.
    pub faults: Vec<(&'static str, Fault)>,
    /// For how long clients call.
    pub time: Duration,
    /// How many nodes.
    pub nodes: u64,
    /// What nodes are upgraded to.
    pub other: Option<PathBuf>,
    /// How many clients.
    pub lanes: usize,
    /// Decides who does what, as far as a plan can.
    pub seed: u64,
    /// How long a fault stays, and how long there is none between two: between these, by chance.
    pub pace: (Duration, Duration),
    /// An empty folder for the evidence.
    pub evidence: PathBuf,
}

/// The pace of a long run.
pub const PACE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// How long after the end of all faults an answer may take.
const RECOVERY: Duration = Duration::from_secs(60);
/// Partitions of a cluster: more than nodes, so that one of three leads two.
const PARTITIONS: u16 = 4;
/// Fewer calls that were done, and nothing was tested.
const OK_MIN: u64 = 20;
/// A finer picture of more calls would show no more.
const LINES_MAX: u64 = 2_000_000;

/// Runs a plan and keeps the evidence.
///
/// # Errors
/// When the evidence cannot be kept.
pub fn run(plan: &Plan) -> Result<Report, HarnessError> {
    // On a thread of its own: it moves into the clients' network, and its threads after it.
    let ran = std::thread::scope(|scope| scope.spawn(|| Run::play(plan)).join());
    let ran = ran.unwrap_or_else(|_| Run::broken("the harness panicked"));
    judge(plan, ran)
}

/// What is known when the processes are gone.
struct Run {
    verdict: Verdict,
    counts: Counts,
    outcomes: Vec<(String, Outcome)>,
}

impl Run {
    fn broken(reason: &str) -> Run {
        Run { verdict: Verdict::broken(reason), counts: Counts::default(), outcomes: Vec::new() }
    }

    fn play(plan: &Plan) -> Run {
        let Some(workload) = workload(&plan.workload, plan.lanes) else {
            return Run::broken(&format!("there is no workload {:?}", plan.workload));
        };
        let mut run =
            Run { verdict: Verdict::Passed, counts: Counts::default(), outcomes: Vec::new() };
        if let Err(error) = run.play_with(plan, workload.as_ref()) {
            run.note(error);
        }
        run
    }

    /// An error of the tools makes a run broken; a node that stays down has failed.
    fn note(&mut self, error: HarnessError) {
        let verdict = match error {
            down @ HarnessError::NodeDown { .. } => Verdict::of(vec![down.to_string()]),
            other => Verdict::broken(other.to_string()),
        };
        self.verdict = std::mem::replace(&mut self.verdict, Verdict::Passed).and(verdict);
    }

    fn play_with(
        &mut self,
        plan: &Plan,
        workload: &(dyn Workload + Send),
    ) -> Result<(), HarnessError> {
        if unable().is_none() {
            for left in tag::sweep()? {
                println!("swept {left}");
            }
        }
        let mut cluster = Processes::start(&layout(plan))?;
        let endpoints = cluster.endpoints();
        workload.setup(&endpoints)?;
        let background = workload.background(&endpoints, &plan.evidence, plan.seed)?;
        // One lane more, for what is asked for in the end.
        let recorder = Recorder::create(&plan.evidence, plan.lanes + 1, LINES_MAX)?;
        let stop = AtomicBool::new(false);
        let stage =
            Stage { plan, workload, endpoints: &endpoints, recorder: &recorder, stop: &stop };
        std::thread::scope(|scope| {
            let lanes: Vec<_> =
                (0..plan.lanes).map(|lane| scope.spawn(move || stage.drive(lane))).collect();
            let watch = (plan.nodes > 1).then(|| scope.spawn(|| stage.watch()));
            self.break_things(&stage, &mut cluster);
            stop.store(true, Ordering::Relaxed);
            if watch.is_some_and(|watch| watch.join().is_err()) {
                self.note(HarnessError::Scene("the watch panicked".to_owned()));
            }
            for lane in lanes {
                match lane.join() {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => self.note(error),
                    Err(_) => self.note(HarnessError::Scene("a client panicked".to_owned())),
                }
            }
        });
        self.finish(&stage, &mut cluster, background);
        recorder.finish()
    }

    /// Installs and heals faults until the time is up. What is in force then is healed.
    fn break_things(&mut self, stage: &Stage<'_>, cluster: &mut Processes) {
        let mut random = Random::new(stage.plan.seed, 0);
        let until = Instant::now() + stage.plan.time;
        while Instant::now() < until {
            let quiet = between(&mut random, stage.plan.pace);
            sleep_until(until.min(Instant::now() + quiet));
            let faults = &stage.plan.faults;
            let Some(count) = u64::try_from(faults.len()).ok().filter(|&count| count > 0) else {
                continue;
            };
            if Instant::now() >= until {
                return;
            }
            let pick = usize::try_from(random.between(0, count)).unwrap_or(0);
            let (name, fault) = faults[pick];
            let (outcome, in_force) = faults::install(fault, cluster, &mut random);
            self.say(stage.recorder, name, "install", &outcome);
            self.outcomes.push((name.to_owned(), outcome.clone()));
            match &outcome {
                Outcome::Skipped(_) => continue,
                Outcome::Installed(_) => {
                    sleep_until(Instant::now() + between(&mut random, stage.plan.pace));
                }
                // The tools do not work: what there is of it is undone, and nothing more is tried.
                Outcome::Indeterminate(why) => {
                    self.note(HarnessError::Scene(format!("{name} was perhaps installed: {why}")));
                }
            }
            let healed = self.heal(stage.recorder, name, in_force, cluster);
            if !healed || matches!(outcome, Outcome::Indeterminate(_)) {
                return;
            }
        }
    }

    fn heal(
        &mut self,
        recorder: &Recorder,
        name: &str,
        in_force: InForce,
        cluster: &mut Processes,
    ) -> bool {
        match in_force.heal(cluster) {
            Ok(outcome) => {
                self.say(recorder, name, "heal", &outcome);
                true
            }
            Err(error) => {
                self.say(recorder, name, "heal", &Outcome::Indeterminate(error.to_string()));
                self.note(error);
                false
            }
        }
    }

    fn say(&self, recorder: &Recorder, name: &str, phase: &str, outcome: &Outcome) {
        println!(
            "{:>8.3} s  {name}: {phase} {}: {}",
            seconds(recorder.now_ns()),
            outcome.word(),
            outcome.detail()
        );
        let fields = [
            ("phase", phase.into()),
            ("outcome", outcome.word().into()),
            ("detail", outcome.detail().into()),
        ];
        recorder.nemesis(name, Value::map(fields));
    }

    /// The last phase: nodes that are down are started, and what is asked for in the end is answered.
    fn finish(
        &mut self,
        stage: &Stage<'_>,
        cluster: &mut Processes,
        background: Option<Box<dyn Background>>,
    ) {
        let unexpected = cluster.unexpected();
        let mut down = cluster.nodes();
        down.retain(|node| !cluster.is_up(*node));
        let put_down = down.iter().try_for_each(|node| cluster.put_down(*node));
        if let Err(error) = put_down.and_then(|()| cluster.start(&down)) {
            self.note(error);
        }
        let mut client = stage.workload.client(stage.endpoints, stage.plan.lanes);
        for request in stage.workload.finals() {
            match stage.until_answered(client.as_mut(), &request) {
                Ok(None) => {}
                Ok(Some(finding)) => {
                    self.verdict = std::mem::replace(&mut self.verdict, Verdict::Passed)
                        .and(Verdict::of(vec![finding]));
                }
                Err(error) => self.note(error),
            }
        }
        if let Some(background) = background {
            let (verdict, done) = background.end();
            self.counts.background = done;
            self.verdict = std::mem::replace(&mut self.verdict, Verdict::Passed).and(verdict);
        }
        let ended = [unexpected, cluster.unexpected()].concat();
        self.verdict =
            std::mem::replace(&mut self.verdict, Verdict::Passed).and(Verdict::of(ended));
    }
}

/// What all lanes share.
#[derive(Clone, Copy)]
struct Stage<'a> {
    plan: &'a Plan,
    workload: &'a (dyn Workload + Send),
    endpoints: &'a [Endpoint],
    recorder: &'a Recorder,
    stop: &'a AtomicBool,
}

impl Stage<'_> {
    /// Notes who leads until the run ends.
    fn watch(&self) {
        let clients: Vec<_> =
            self.endpoints.iter().map(|endpoint| endpoint.client.clone()).collect();
        leads::watch(&clients, self.recorder, self.stop);
    }

    /// Calls until the run ends.
    fn drive(&self, lane: usize) -> Result<(), HarnessError> {
        let stream = u64::try_from(lane).unwrap_or(u64::MAX).saturating_add(1_000);
        let mut random = Random::new(self.plan.seed, stream);
        let mut client = self.workload.client(self.endpoints, lane);
        let think_us = u64::try_from(self.workload.think().as_micros()).unwrap_or(1).max(1);
        while !self.stop.load(Ordering::Relaxed) {
            let request = self.workload.generate(lane, &mut random);
            self.call(lane, client.as_mut(), &request)?;
            std::thread::sleep(Duration::from_micros(random.between(0, 2 * think_us)));
        }
        Ok(())
    }

    fn call(
        &self,
        lane: usize,
        client: &mut dyn Client,
        request: &Request,
    ) -> Result<Answer, HarnessError> {
        let open = self.recorder.invoke(lane, request.f, request.argument.clone())?;
        let answer = client.invoke(request);
        match answer.clone() {
            Answer::Ok(value) => open.ok(value),
            Answer::Fail(error) => open.fail(error),
            Answer::Unknown(error) => open.unknown(error),
        }
        Ok(answer)
    }

    /// Asks until there is an answer; a finding when none comes.
    fn until_answered(
        &self,
        client: &mut dyn Client,
        request: &Request,
    ) -> Result<Option<String>, HarnessError> {
        let until = Instant::now() + RECOVERY;
        loop {
            let answer = self.call(self.plan.lanes, client, request)?;
            if matches!(answer, Answer::Ok(_)) {
                return Ok(None);
            }
            if Instant::now() > until {
                let limit = RECOVERY.as_secs();
                let f = request.f;
                return Ok(Some(format!(
                    "{f} is not answered {limit} s after all faults: {answer:?}"
                )));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn between(random: &mut Random, (least, most): (Duration, Duration)) -> Duration {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX - 1);
    Duration::from_millis(random.between(ms(least), ms(most).max(ms(least)) + 1))
}

fn sleep_until(until: Instant) {
    std::thread::sleep(until.saturating_duration_since(Instant::now()));
}

fn seconds(ns: u64) -> f64 {
    Duration::from_nanos(ns).as_secs_f64()
}

fn layout(plan: &Plan) -> Layout {
    let mut needs = Needs::default();
    for (_, fault) in &plan.faults {
        let more = fault.needs();
        needs.network |= more.network;
        needs.disk |= more.disk;
        needs.clock |= more.clock;
        needs.proxies |= more.proxies;
    }
    // Nodes of a cluster are not on one network with their clients: they could take each other's ports.
    needs.network |= plan.nodes > 1;
    if unable().is_some() {
        // Without these the faults that need them are skipped, in words.
        (needs.network, needs.disk) = (false, false);
    }
    let flags = ["--shards", "2", "--log-segment-bytes", "4MiB"].map(str::to_owned).to_vec();
    let folder = plan.evidence.join("nodes");
    Layout {
        nodes: plan.nodes,
        needs,
        flags,
        partitions: PARTITIONS,
        folder,
        other: plan.other.clone(),
        seed: plan.seed,
    }
}

/// Reads the history back, judges it, and writes what is to be kept.
fn judge(plan: &Plan, run: Run) -> Result<Report, HarnessError> {
    let path = plan.evidence.join("history.jsonl");
    let ops = if path.exists() { op::read(&path)? } else { Vec::new() };
    let calls = op::calls(&ops)?;
    let (spans, leads) = (op::faults(&ops), op::leads(&ops));
    let counts = count(run.counts, &calls, &run.outcomes);
    let mut verdict = run.verdict;
    if let Some(workload) = workload(&plan.workload, plan.lanes).filter(|_| !calls.is_empty()) {
        verdict = verdict.and(workload.check(&calls));
    }
    verdict = verdict.and(enough(plan, &counts, &run.outcomes));
    let report = Report {
        workload: plan.workload.clone(),
        faults: plan.faults.iter().map(|(name, _)| (*name).to_owned()).collect(),
        nodes: plan.nodes,
        seed: plan.seed,
        verdict,
        counts,
        gaps: gaps(&calls, &spans),
    };
    let page = Page { report: &report, calls: &calls, faults: &spans, leads: &leads };
    keep(plan, &report, &report::render(&page))?;
    Ok(report)
}

/// Broken when hardly anything was done, or nothing was broken that was to be.
fn enough(plan: &Plan, counts: &Counts, outcomes: &[(String, Outcome)]) -> Verdict {
    if counts.ok < OK_MIN {
        return Verdict::broken(format!("only {} calls were done", counts.ok));
    }
    if !plan.faults.is_empty() && counts.installed == 0 {
        let why = outcomes.first().map_or("none was tried", |(_, outcome)| outcome.detail());
        return Verdict::broken(format!("no fault was in force: {why}"));
    }
    Verdict::Passed
}

fn count(mut counts: Counts, calls: &[Call], outcomes: &[(String, Outcome)]) -> Counts {
    for call in calls {
        match call.end {
            End::Ok(_) => counts.ok += 1,
            End::Fail(_) => counts.fail += 1,
            End::Unknown(_) => counts.unknown += 1,
        }
    }
    for (_, outcome) in outcomes {
        match outcome {
            Outcome::Installed(_) => counts.installed += 1,
            Outcome::Skipped(_) => counts.skipped += 1,
            Outcome::Indeterminate(_) => counts.indeterminate += 1,
        }
    }
    let taken = Latencies::between(calls, 0, u64::MAX);
    let micros = |per_mille| taken.per_mille_ns(per_mille).unwrap_or(0) / 1_000;
    (counts.latency_p50_us, counts.latency_p99_us) = (micros(500), micros(990));
    counts
}

/// Writes the report and its page. The data of nodes that passed is let go: it is large and says nothing.
fn keep(plan: &Plan, report: &Report, page: &str) -> Result<(), HarnessError> {
    let doing = || format!("keeping the evidence in {}", plan.evidence.display());
    let text = serde_json::to_string_pretty(report).map_err(std::io::Error::other).doing(doing)?;
    std::fs::write(plan.evidence.join("report.json"), text).doing(doing)?;
    std::fs::write(plan.evidence.join("report.html"), page).doing(doing)?;
    let nodes = plan.evidence.join("nodes");
    for node in (1..=plan.nodes).filter_map(novax_model::NodeId::new) {
        let log = log_path(&nodes, node);
        if log.exists() {
            let to = plan.evidence.join(format!("n{}.log", node.get()));
            std::fs::copy(&log, to).doing(doing)?;
        }
    }
    if report.verdict.is_pass() && nodes.exists() {
        std::fs::remove_dir_all(&nodes).doing(doing)?;
    }
    Ok(())
}
