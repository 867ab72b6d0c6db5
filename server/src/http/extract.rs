//! What handlers take from a request, with our errors instead of the framework's.

use super::problem::Problem;
use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use novax_model::Identity;
use serde::de::DeserializeOwned;

/// A JSON body.
#[derive(Debug)]
pub(super) struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Body(body)),
            Err(rejection) => Err(bad_body(&rejection)),
        }
    }
}

fn bad_body(rejection: &JsonRejection) -> Problem {
    let code = match rejection {
        JsonRejection::JsonDataError(_) => return Problem::unprocessable(rejection.body_text()),
        JsonRejection::JsonSyntaxError(_) => "invalid_json",
        JsonRejection::MissingJsonContentType(_) => "not_json",
        _ if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => "body_too_large",
        _ => "invalid_body",
    };
    Problem::new(rejection.status(), code, rejection.body_text())
}

/// A body that is text of whatever kind its route takes.
#[derive(Debug)]
pub(super) struct Text(pub String);

impl<S: Send + Sync> FromRequest<S> for Text {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match String::from_request(request, state).await {
            Ok(text) => Ok(Text(text)),
            Err(rejection) => {
                let code = match rejection.status() {
                    StatusCode::PAYLOAD_TOO_LARGE => "body_too_large",
                    _ => "invalid_body",
                };
                Err(Problem::new(rejection.status(), code, rejection.body_text()))
            }
        }
    }
}

/// The query string.
#[derive(Debug)]
pub(super) struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        match query {
            Ok(Query(params)) => Ok(Params(params)),
            Err(rejection) => Err(Problem::bad_request("invalid_query", rejection.body_text())),
        }
    }
}

/// The idempotency key of a request that must have one.
///
/// draft-ietf-httpapi-idempotency-key-header, without the quotes of a structured field if the
/// client leaves them out.
#[derive(Debug)]
pub(super) struct IdempotencyKey(pub String);

const KEY_CHARS_MAX: usize = 128;

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        idempotency_key(&parts.headers).map(IdempotencyKey)
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<String, Problem> {
    let value = headers.get("idempotency-key");
    checked_key(value.map(|value| value.to_str().unwrap_or_default()))
}

/// The key in the header's text, or what is wrong with it.
pub(super) fn checked_key(header: Option<&str>) -> Result<String, Problem> {
    let Some(text) = header else {
        return Err(Problem::bad_request(
            "idempotency_key_missing",
            "this request needs an Idempotency-Key header: a text of its own, the same when it \
             is sent again",
        ));
    };
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let graphic = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.is_empty() || text.len() > KEY_CHARS_MAX || !graphic {
        return Err(Problem::bad_request(
            "idempotency_key_invalid",
            "an Idempotency-Key is 1 to 128 printable ASCII characters without spaces",
        ));
    }
    Ok(text.to_owned())
}

/// An identity in a path. One that cannot exist does not exist.
pub(super) fn identity(what: &str, text: &str) -> Result<Identity, Problem> {
    Identity::new(text).map_err(|_| Problem::not_found(what, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_key_is_taken_with_or_without_quotes() {
        let key = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("idempotency-key", HeaderValue::from_static(text));
            idempotency_key(&headers).map_err(|problem| problem.code())
        };
        assert_eq!(key("abc"), Ok("abc".into()));
        assert_eq!(key("\"abc\""), Ok("abc".into()));
        assert_eq!(key(""), Err("idempotency_key_invalid"));
        assert_eq!(key("a b"), Err("idempotency_key_invalid"));
        let missing = idempotency_key(&HeaderMap::new()).unwrap_err();
        assert_eq!(missing.code(), "idempotency_key_missing");
    }
}
