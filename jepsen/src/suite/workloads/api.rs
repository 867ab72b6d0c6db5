//! Calls of the HTTP API, and what their answers mean.
//!
//! **Invariant.** A call is *fail* only when it certainly had no effect: it was never sent, it was refused, or it
//! only reads. What a server could not finish is *unknown*, whatever it says.

use crate::harness::HarnessError;
use crate::http::{Answer as HttpAnswer, Client as HttpClient, NoAnswer};
use crate::op::Value;
use crate::suite::cluster::Endpoint;
use crate::suite::workload::{Answer, Client, Request};
use serde_json::Value as Json;
use std::time::Duration;

/// Calls that take longer are over.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a call that changes something came to.
pub(super) fn written(
    answer: Result<HttpAnswer, NoAnswer>,
    read: impl FnOnce(&Json) -> Option<Value>,
) -> Answer {
    match answer {
        Err(NoAnswer::NotSent(error)) => Answer::Fail(error.to_string()),
        Err(error) => Answer::Unknown(error.to_string()),
        Ok(answer) if (200..300).contains(&answer.status) => match read(&answer.json) {
            Some(value) => Answer::Ok(value),
            None => Answer::Unknown(format!("not as documented: {}", answer.text)),
        },
        Ok(answer) if (400..500).contains(&answer.status) => Answer::Fail(short(&answer)),
        Ok(answer) => Answer::Unknown(short(&answer)),
    }
}

/// What a call that only reads came to: without an answer it said nothing.
pub(super) fn asked(
    answer: Result<HttpAnswer, NoAnswer>,
    read: impl FnOnce(&Json) -> Option<Value>,
) -> Answer {
    match written(answer, read) {
        Answer::Unknown(error) => Answer::Fail(error),
        other => other,
    }
}

/// As [`asked`], of what takes several requests.
pub(super) fn gathered(answer: std::io::Result<Value>) -> Answer {
    answer.map_or_else(|error| Answer::Fail(error.to_string()), Answer::Ok)
}

fn short(answer: &HttpAnswer) -> String {
    let detail = answer.json["detail"].as_str().unwrap_or(&answer.text);
    format!("{} {}", answer.status, detail.chars().take(200).collect::<String>())
}

/// Makes something before the run begins.
pub(super) fn make(
    endpoint: &Endpoint,
    path: &str,
    key: Option<&str>,
    body: &Json,
) -> Result<(), HarnessError> {
    let wrong = |what: String| HarnessError::Scene(format!("POST {path}: {what}"));
    let answer = endpoint.client.post(path, key, body).map_err(|error| wrong(error.to_string()))?;
    if (200..300).contains(&answer.status) { Ok(()) } else { Err(wrong(short(&answer))) }
}

/// A client of the API that goes to another node when one does not answer.
pub(super) struct Roving<F> {
    clients: Vec<HttpClient>,
    at: usize,
    call: F,
}

impl<F: FnMut(&HttpClient, &Request) -> Answer + Send> Roving<F> {
    pub(super) fn new(endpoints: &[Endpoint], lane: usize, call: F) -> Roving<F> {
        let impatient =
            |endpoint: &Endpoint| HttpClient { patience: PATIENCE, ..endpoint.client.clone() };
        Roving { clients: endpoints.iter().map(impatient).collect(), at: lane, call }
    }
}

impl<F: FnMut(&HttpClient, &Request) -> Answer + Send> Client for Roving<F> {
    fn invoke(&mut self, request: &Request) -> Answer {
        let Some(client) = self.clients.get(self.at % self.clients.len().max(1)) else {
            return Answer::Fail("there is no node".to_owned());
        };
        let answer = (self.call)(client, request);
        if !matches!(answer, Answer::Ok(_)) {
            self.at += 1;
        }
        answer
    }
}

/// An amount as the API writes it.
pub(super) fn minor(money: &Json) -> Option<i64> {
    money["minor"].as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16) -> Result<HttpAnswer, NoAnswer> {
        Ok(HttpAnswer { status, json: serde_json::json!({"n": 1}), text: String::new() })
    }

    #[test]
    fn only_what_certainly_had_no_effect_is_a_failure() {
        let n = |json: &Json| json["n"].as_i64().map(Value::Int);
        assert_eq!(written(status(200), n), Answer::Ok(Value::Int(1)));
        assert!(matches!(written(status(200), |_| None), Answer::Unknown(_)));
        assert!(matches!(written(status(409), n), Answer::Fail(_)));
        assert!(matches!(written(status(503), n), Answer::Unknown(_)));
        let refused = || Err(NoAnswer::NotSent(std::io::ErrorKind::ConnectionRefused.into()));
        assert!(matches!(written(refused(), n), Answer::Fail(_)));
        let broken = || Err(NoAnswer::Unknown(std::io::ErrorKind::ConnectionReset.into()));
        assert!(matches!(written(broken(), n), Answer::Unknown(_)));
        assert!(matches!(asked(broken(), n), Answer::Fail(_)));
    }
}
