//! `POST /v1/sessions` on the shards' own port (`http.starts_listen`): the same words as on the API's.
//!
//! The shards read the bytes and run the charge; here is what they mean. One thing is asked of clients that the other
//! port does not ask: the token is named, for who a driver is would have to be looked up elsewhere.

use super::auth::ApiKey;
use super::extract::checked_key;
use super::problem::{Problem, keyed, problem_body};
use super::sessions::{Payer, Start};
use super::views::SessionView;
use crate::control::{ControlError, StartCharge, Unavailable};
use axum::http::StatusCode;
use novax_charging::rows::SessionRow;
use novax_settlement::RevenueContract;
use novax_shard::apps::{AppApi, AppError, AppProblem};
use novax_wire::http::Request;

/// Reads and answers apps.
#[derive(Debug)]
pub struct Starts {
    key: ApiKey,
}

impl Starts {
    /// For whoever shows this key.
    #[must_use]
    pub fn new(key: ApiKey) -> Starts {
        Starts { key }
    }

    fn charge(&self, request: &Request<'_>) -> Result<StartCharge, Problem> {
        // The key first: a stranger learns nothing of what is here.
        if !self.key.is_shown(request.authorization) {
            return Err(Problem::unauthorised());
        }
        if request.target != "/v1/sessions" {
            return Err(Problem::not_found("page", request.target));
        }
        if request.method != "POST" {
            let detail =
                format!("{} is not for this port: it only starts sessions", request.method);
            return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail));
        }
        let key = checked_key(request.idempotency_key)?;
        match body(request)?.charge(&key)? {
            (charge, Payer::Token(token)) => Ok(charge.with(token)),
            (_, Payer::Driver(_)) => Err(Problem::unprocessable(
                "name a token: this port does not look up drivers, the API's port does",
            )),
        }
    }
}

fn body(request: &Request<'_>) -> Result<Start, Problem> {
    let media_type = request.content_type.and_then(|value| value.split(';').next());
    if !media_type.is_some_and(|text| text.trim().eq_ignore_ascii_case("application/json")) {
        let detail = "send the body as Content-Type: application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", detail));
    }
    serde_json::from_slice(request.body).map_err(|error| match error.is_data() {
        true => Problem::unprocessable(error.to_string()),
        false => Problem::bad_request("invalid_json", error.to_string()),
    })
}

impl AppApi for Starts {
    fn read(&self, request: &Request<'_>) -> Result<StartCharge, AppProblem> {
        self.charge(request).map_err(AppProblem::from)
    }

    fn started(&self, session: &SessionRow, contract: &RevenueContract) -> Vec<u8> {
        let view = SessionView::from(session).shared(session, contract);
        serde_json::to_vec(&view).expect("a view always serialises")
    }

    fn problem(&self, error: &AppError) -> AppProblem {
        let problem = match error {
            AppError::Problem(problem) => return problem.clone(),
            AppError::Http(error) => {
                let status =
                    StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
                Problem::new(status, "bad_request", error.to_string())
            }
            AppError::Refused(refusal) => keyed(ControlError::Refused(refusal.clone())),
            AppError::Unavailable => Unavailable.into(),
            AppError::Overdue => Problem::overdue(),
            AppError::Stopping => Problem::overloaded("the hub is restarting"),
        };
        problem.into()
    }

    fn body(&self, problem: &AppProblem, request_id: &str) -> Vec<u8> {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
        problem_body(status, problem.code, &problem.detail, request_id)
    }
}
