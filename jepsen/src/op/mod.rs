//! A history as Jepsen writes it: who called what, when, and how it ended.
//!
//! **Invariants**
//! * Every line has an index of its own, in the order in which the lines were written: what returned before
//!   something else was called has the smaller index. Checkers order by it, never by clocks.
//! * A call ends *ok*, *fail* (it certainly did not happen) or *info* (nothing is known, and nothing ever will
//!   be): three outcomes, kept apart.
//! * A process whose call ended with *info* calls nothing more; whoever drove it goes on as another process.

mod edn;
mod record;

pub use record::{LANES_MAX, Open, Recorder};

use crate::harness::{Doing as _, HarnessError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::io::BufRead as _;
use std::path::Path;

/// Data of a call or an answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Nothing.
    #[default]
    Nil,
    /// Yes or no.
    Bool(bool),
    /// A number.
    Int(i64),
    /// A text.
    Text(String),
    /// In order.
    List(Vec<Value>),
    /// By name.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// A list of numbers.
    #[must_use]
    pub fn ints(numbers: impl IntoIterator<Item = i64>) -> Value {
        Value::List(numbers.into_iter().map(Value::Int).collect())
    }

    /// A map.
    #[must_use]
    pub fn map<const N: usize>(fields: [(&str, Value); N]) -> Value {
        Value::Map(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The number, if it is one.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        if let Value::Int(number) = self { Some(*number) } else { None }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }

    /// The items, if it is a list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Value]> {
        if let Value::List(items) = self { Some(items) } else { None }
    }

    /// A field of a map.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        if let Value::Map(fields) = self { fields.get(name) } else { None }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Int(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Process {
    /// A client.
    Client(u64),
    /// Who breaks things.
    Nemesis,
}

impl Serialize for Process {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Process::Client(number) => to.serialize_u64(*number),
            Process::Nemesis => to.serialize_str("nemesis"),
        }
    }
}

impl<'de> Deserialize<'de> for Process {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Process, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Client(u64),
            Named(String),
        }
        match Either::deserialize(from)? {
            Either::Client(number) => Ok(Process::Client(number)),
            Either::Named(name) if name == "nemesis" => Ok(Process::Nemesis),
            Either::Named(name) => Err(serde::de::Error::custom(format!("no process {name:?}"))),
        }
    }
}

/// What a line says of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It begins.
    Invoke,
    /// It was done.
    Ok,
    /// It certainly was not done.
    Fail,
    /// Nothing is known. Also what the nemesis says.
    Info,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::Invoke => "invoke",
            Kind::Ok => "ok",
            Kind::Fail => "fail",
            Kind::Info => "info",
        }
    }
}

/// A line of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    /// Its number in the history.
    pub index: u64,
    /// Since the beginning.
    #[serde(rename = "time")]
    pub time_ns: u64,
    /// What it says.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Who.
    pub process: Process,
    /// Which function.
    pub f: String,
    /// Argument or answer.
    #[serde(default)]
    pub value: Value,
    /// Why it failed, or why nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl fmt::Display for Op {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        edn::write(self, to)
    }
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Done, with this answer.
    Ok(Value),
    /// Certainly not done.
    Fail(String),
    /// Not known.
    Unknown(String),
}

/// A call with its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Who.
    pub process: u64,
    /// Which function.
    pub f: String,
    /// Its argument.
    pub argument: Value,
    /// Index of the line that began it.
    pub invoked: u64,
    /// Index of the line that ended it; `None` when nothing ever did.
    pub completed: Option<u64>,
    /// When it began.
    pub invoked_ns: u64,
    /// When the line that ended it was written.
    pub completed_ns: Option<u64>,
    /// How it ended.
    pub end: End,
}

impl Call {
    /// The answer, if it was done.
    #[must_use]
    pub fn answer(&self) -> Option<&Value> {
        if let End::Ok(value) = &self.end { Some(value) } else { None }
    }

    /// Whether it may have had an effect: it was done, or nothing is known.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        !matches!(self.end, End::Fail(_))
    }

    /// By which index an effect of it was over: of what is not known it never is.
    #[must_use]
    pub fn returned(&self) -> Option<u64> {
        if matches!(self.end, End::Unknown(_)) { None } else { self.completed }
    }
}

/// Lines of the longest history that is read back.
pub const LINES_MAX: u64 = 4_000_000;

/// Reads a kept history. A last line that was cut short, as a harness that was killed leaves it, is left out.
///
/// # Errors
/// When the file cannot be read, is too long, or is no history.
pub fn read(path: &Path) -> Result<Vec<Op>, HarnessError> {
    let file = std::fs::File::open(path).doing(|| format!("opening {}", path.display()))?;
    let mut reader = std::io::BufReader::new(file);
    let (mut ops, mut text, mut line) = (Vec::new(), String::new(), 0);
    loop {
        text.clear();
        let count = reader.read_line(&mut text).doing(|| format!("reading {}", path.display()))?;
        if count == 0 || !text.ends_with('\n') {
            return Ok(ops);
        }
        line += 1;
        if line > LINES_MAX {
            return Err(HarnessError::HistoryFull(LINES_MAX));
        }
        let op: Op = serde_json::from_str(&text)
            .map_err(|error| HarnessError::HistoryLine { line, why: error.to_string() })?;
        ops.push(op);
    }
}

/// The calls of the clients, in the order in which they began.
///
/// # Errors
/// When the lines do not pair: two calls of a process at once, or an end without a beginning.
pub fn calls(ops: &[Op]) -> Result<Vec<Call>, HarnessError> {
    let mut calls: Vec<Call> = Vec::new();
    let mut open: BTreeMap<u64, usize> = BTreeMap::new();
    for (line, op) in (1..).zip(ops) {
        let Process::Client(process) = op.process else { continue };
        let wrong = |why: &str| HarnessError::HistoryLine { line, why: why.to_owned() };
        if op.kind == Kind::Invoke {
            let call = Call {
                process,
                f: op.f.clone(),
                argument: op.value.clone(),
                invoked: op.index,
                completed: None,
                invoked_ns: op.time_ns,
                completed_ns: None,
                end: End::Unknown("the history ends".to_owned()),
            };
            if open.insert(process, calls.len()).is_some() {
                return Err(wrong("a process calls twice at once"));
            }
            calls.push(call);
            continue;
        }
        let number = open.remove(&process).ok_or_else(|| wrong("an end without a beginning"))?;
        let call = calls.get_mut(number).ok_or_else(|| wrong("an end without a beginning"))?;
        let error = op.error.clone().unwrap_or_default();
        call.completed = Some(op.index);
        call.completed_ns = Some(op.time_ns);
        call.end = match op.kind {
            Kind::Ok => End::Ok(op.value.clone()),
            Kind::Fail => End::Fail(error),
            Kind::Info | Kind::Invoke => End::Unknown(error),
        };
    }
    Ok(calls)
}

/// What the nemesis did, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultSpan {
    /// Which fault.
    pub name: String,
    /// What it did exactly.
    pub detail: String,
    /// From when.
    pub from_ns: u64,
    /// Until when; `None` when it was never healed.
    pub to_ns: Option<u64>,
}

/// The faults that were, or may have been, in force.
#[must_use]
pub fn faults(ops: &[Op]) -> Vec<FaultSpan> {
    let mut spans: Vec<FaultSpan> = Vec::new();
    for op in ops.iter().filter(|op| op.process == Process::Nemesis) {
        let text = |name| op.value.get(name).and_then(Value::as_text).unwrap_or_default();
        match text("phase") {
            "install" if text("outcome") != "skipped" => spans.push(FaultSpan {
                name: op.f.clone(),
                detail: text("detail").to_owned(),
                from_ns: op.time_ns,
                to_ns: None,
            }),
            "heal" => {
                let open =
                    spans.iter_mut().rev().find(|span| span.name == op.f && span.to_ns.is_none());
                if let Some(span) = open {
                    span.to_ns = Some(op.time_ns);
                }
            }
            _ => {}
        }
    }
    spans
}

/// A time in which a node led a partition, as far as could be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeadSpan {
    /// The partition's number.
    pub partition: u64,
    /// The node's.
    pub node: u64,
    /// From when.
    pub from_ns: u64,
    /// Until when; `None` when it still did at the end.
    pub to_ns: Option<u64>,
}

/// Who led when, by partition and time.
#[must_use]
pub fn leads(ops: &[Op]) -> Vec<LeadSpan> {
    let mut spans: Vec<LeadSpan> = Vec::new();
    let mut open: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for op in ops.iter().filter(|op| op.process == Process::Nemesis) {
        let Some(Value::Map(now)) = op.value.get("leads") else { continue };
        let lead = |(partition, node): (&String, &Value)| {
            Some((partition.parse().ok()?, u64::try_from(node.as_int()?).ok()?))
        };
        let now: BTreeMap<u64, u64> = now.iter().filter_map(lead).collect();
        open.retain(|&partition, &mut (node, from_ns)| {
            let goes_on = now.get(&partition) == Some(&node);
            if !goes_on {
                spans.push(LeadSpan { partition, node, from_ns, to_ns: Some(op.time_ns) });
            }
            goes_on
        });
        for (partition, node) in now {
            open.entry(partition).or_insert((node, op.time_ns));
        }
    }
    spans.extend(open.into_iter().map(|(partition, (node, from_ns))| LeadSpan {
        partition,
        node,
        from_ns,
        to_ns: None,
    }));
    spans.sort_by_key(|span| (span.partition, span.from_ns));
    spans
}

#[cfg(test)]
mod tests;
