//! Errors as RFC 9457 `application/problem+json`, one shape for every route and layer.
//!
//! **Invariant:** every response from 400 up has this body, with a `code` that programs can match and
//! the request's id. Status policy: 400 the request cannot be read, 401 no or wrong key, 404 unknown,
//! 409 the state forbids it, 422 readable but wrong, 502/504 the station failed or was silent, 503 try
//! again later.

use super::read::ReadError;
use crate::control::{CallFailed, ControlError, Unavailable};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use novax_charging::Refusal;
use novax_shard::apps::AppProblem;
use serde::Serialize;
use utoipa::ToSchema;

/// What a client is told when something does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    retry_after_s: Option<u32>,
}

/// The body of an error (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody {
    /// `urn:novax:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What went wrong, in a sentence for people.
    detail: String,
    /// What went wrong, in a word for programs.
    code: String,
    /// The id of the request, as in `X-Request-Id`.
    request_id: String,
}

/// The media type of errors.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// When a client that met overload should try again.
const RETRY_AFTER_S: u32 = 1;

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<String>,
    ) -> Problem {
        assert!(status.is_client_error() || status.is_server_error(), "a problem is an error");
        Problem { status, code, detail: detail.into(), retry_after_s: None }
    }

    pub(super) fn bad_request(code: &'static str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub(super) fn unprocessable(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", detail)
    }

    pub(super) fn not_found(what: &str, id: &str) -> Problem {
        // The id came from the client: shown short, so that an error stays small.
        let id: String = id.chars().take(64).collect();
        Problem::new(StatusCode::NOT_FOUND, "not_found", format!("there is no {what} {id:?}"))
    }

    pub(super) fn conflict(code: &'static str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, code, detail)
    }

    pub(super) fn overloaded(detail: impl Into<String>) -> Problem {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail);
        Problem { retry_after_s: Some(RETRY_AFTER_S), ..problem }
    }

    pub(super) fn unauthorised() -> Problem {
        let detail = "send the API key as Authorization: Bearer KEY";
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorised", detail)
    }

    pub(super) fn overdue() -> Problem {
        let detail = "the node did not answer in time; what was asked for may yet happen";
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", detail)
    }

    /// The word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The whole response, once the request's id is known.
    pub(super) fn render(&self, request_id: &str) -> Response {
        let body = problem_body(self.status, self.code, &self.detail, request_id);
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Problem> for AppProblem {
    fn from(problem: Problem) -> AppProblem {
        let Problem { status, code, detail, retry_after_s } = problem;
        AppProblem { status: status.as_u16(), code, detail, retry_after_s }
    }
}

/// The body of an error.
pub(super) fn problem_body(
    status: StatusCode,
    code: &str,
    detail: &str,
    request_id: &str,
) -> Vec<u8> {
    let body = ProblemBody {
        kind: format!("urn:novax:problem:{code}"),
        title: status.canonical_reason().unwrap_or("Error").to_owned(),
        status: status.as_u16(),
        detail: detail.to_owned(),
        code: code.to_owned(),
        request_id: request_id.to_owned(),
    };
    serde_json::to_vec(&body).expect("texts and a number always serialise")
}

impl IntoResponse for Problem {
    /// Only marks the response: the outermost layer knows the request's id and renders it.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Unavailable> for Problem {
    fn from(error: Unavailable) -> Problem {
        Problem::overloaded(error.to_string())
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Problem {
        match error {
            ReadError::Unavailable(error) => error.into(),
            ReadError::Storage(detail) => {
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "storage", detail)
            }
        }
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Problem {
        match error {
            ControlError::Unavailable(error) => error.into(),
            ControlError::Refused(refusal) => refused(&refusal),
        }
    }
}

/// A refusal of the state machine as HTTP says it.
pub(super) fn refused(refusal: &Refusal) -> Problem {
    let unknown = |code, what: &str| {
        Problem::new(StatusCode::NOT_FOUND, code, format!("there is no such {what}"))
    };
    match refusal {
        Refusal::UnknownToken => unknown("unknown_token", "token"),
        Refusal::UnknownSite => unknown("unknown_site", "site"),
        Refusal::UnknownStation => unknown("unknown_station", "station"),
        Refusal::UnknownDriver => unknown("unknown_driver", "driver"),
        Refusal::UnknownSession => unknown("unknown_session", "session"),
        Refusal::DriverBlocked => Problem::conflict("driver_blocked", "the driver is blocked"),
        Refusal::InsufficientFunds { available, required } => Problem::conflict(
            "insufficient_funds",
            format!("{required} minor units are needed and {available} can be held"),
        ),
        Refusal::BadTerms(words) => Problem::unprocessable(words.to_string()),
        Refusal::BadNode(words) => Problem::conflict("bad_node", words.to_string()),
        Refusal::BadDocument(words) => Problem::conflict("not_confirmed", words.to_string()),
        Refusal::DocumentDiffers(number) => Problem::conflict(
            "document_differs",
            format!("{number} was issued for this, and the books say something else by now"),
        ),
        Refusal::CurrencyMismatch => Problem::conflict(
            "currency_mismatch",
            "the wallet's currency is not the one that is asked for",
        ),
        Refusal::StationOffline => {
            Problem::conflict("station_offline", "the station is not connected")
        }
        Refusal::StationNotReady => Problem::conflict(
            "station_not_ready",
            "the station is faulted, unavailable or has not booted",
        ),
        Refusal::ConnectorBusy => {
            Problem::conflict("connector_busy", "another session has the connector")
        }
        Refusal::WrongState(state) => {
            Problem::conflict("wrong_state", format!("the session is {}", state.as_str()))
        }
        Refusal::TokenInUse => {
            Problem::conflict("token_in_use", "the driver charges with this token already")
        }
        Refusal::PaymentDeclined => Problem::conflict("payment_declined", "the card was declined"),
        Refusal::PaymentUnanswered => {
            Problem::conflict("payment_unanswered", "the payment provider did not answer in time")
        }
        Refusal::NotRefundable => Problem::conflict(
            "not_refundable",
            "there is no bill to refund, or its journal lines are not those that were booked",
        ),
        Refusal::WrongHead => Problem::conflict("wrong_head", "no such head waits for a signature"),
        Refusal::KeyReused => Problem::conflict(
            "conflict",
            "this name is taken, by another home or with another content",
        ),
        Refusal::NotErasable(words) => Problem::conflict(
            "not_erasable",
            format!("the driver cannot be forgotten yet: {words}"),
        ),
        Refusal::Stale => Problem::overloaded("rows changed while they were read"),
        Refusal::Full => Problem::overloaded("a bound of the node is reached; nothing was done"),
    }
}

/// As [`From<ControlError>`], for requests with an idempotency key: there a used key is the
/// caller's mistake.
pub(super) fn keyed(error: ControlError) -> Problem {
    match error {
        ControlError::Refused(Refusal::KeyReused) => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            "this Idempotency-Key came with another request before",
        ),
        other => other.into(),
    }
}

impl From<CallFailed> for Problem {
    fn from(error: CallFailed) -> Problem {
        let detail = error.to_string();
        match error {
            CallFailed::Unavailable(error) => error.into(),
            CallFailed::UnknownStation => {
                Problem::new(StatusCode::NOT_FOUND, "unknown_station", detail)
            }
            CallFailed::Offline => Problem::conflict("station_offline", detail),
            CallFailed::Busy => Problem::overloaded(detail),
            CallFailed::NotInVersion => Problem::conflict("not_in_version", detail),
            CallFailed::Silent => {
                Problem::new(StatusCode::GATEWAY_TIMEOUT, "station_silent", detail)
            }
            CallFailed::CallError { .. } => {
                Problem::new(StatusCode::BAD_GATEWAY, "station_error", detail)
            }
        }
    }
}
