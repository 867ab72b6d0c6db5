//! The console's files and the OpenAPI document: the same for everybody, no key.

use super::Api;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;

/// Where the document is.
pub(super) const OPENAPI_PATH: &str = "/openapi.json";

/// The page may load and call only its own origin, and nobody may frame it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

pub(super) fn routes(document: Bytes) -> Router<Api> {
    let openapi = move || async move {
        ([(header::CONTENT_TYPE, "application/json")], document).into_response()
    };
    let mut router = Router::new().route(OPENAPI_PATH, get(openapi));
    for path in novax_console::PATHS {
        router = router.route(path, get(asset));
    }
    router
}

async fn asset(request: Request) -> Response {
    let Some(asset) = novax_console::asset(request.uri().path()) else {
        unreachable!("only the console's own paths are routed here")
    };
    let mut response = if knows(request.headers(), asset.etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from(asset.body))
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, asset.content_type),
        (header::ETAG, asset.etag),
        // Asked for again each time, answered 304 until the build changes.
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn knows(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    known.is_some_and(|known| known.split(',').any(|one| one.trim() == etag))
}
