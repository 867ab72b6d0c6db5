//! What happens to every request before and after its route.
//!
//! Outermost first: request id and rendering of problems, then for everything that needs the
//! key: the key, overload, the deadline. The key comes before overload so that a stranger cannot take
//! the places of those who may enter.

use super::auth::random_hex;
use super::problem::Problem;
use super::{Api, pages, payments, status};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use axum::serve::Listener;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Puts all layers around the routes.
pub(super) fn around(routes: Router<Api>, api: Api) -> Router {
    routes
        .layer(DefaultBodyLimit::max(api.0.limits.body_bytes_max))
        .layer(from_fn_with_state(api.clone(), bounded_work))
        .layer(from_fn_with_state(api.clone(), key))
        // Health is asked when all is not well: no key, and no place in the queue.
        .route("/healthz", get(status::healthz))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(api.clone(), request_id))
        .with_state(api)
}

async fn unknown_route(request: Request) -> Problem {
    Problem::not_found("page", request.uri().path())
}

async fn wrong_method(request: Request) -> Problem {
    let detail = format!("{} is not for this page", request.method());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

/// Gives the request an id, and every error of every layer below its body.
async fn request_id(State(api): State<Api>, request: Request, next: Next) -> Response {
    api.0.counts.requests.fetch_add(1, Ordering::Relaxed);
    let id = id_of(&request);
    let response = next.run(request).await;
    let failed = response.status().is_client_error() || response.status().is_server_error();
    if response.status().is_server_error() {
        api.0.counts.failed.fetch_add(1, Ordering::Relaxed);
    }
    let mut response = match response.extensions().get::<Problem>() {
        Some(problem) => problem.render(&id),
        // The framework's own error, such as a path that is not UTF-8.
        None if failed => plain(response.status()).render(&id),
        None => response,
    };
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn plain(status: StatusCode) -> Problem {
    let title = status.canonical_reason().unwrap_or("Error");
    Problem::new(status, "error", format!("the request failed: {title}"))
}

/// The client's id if it is a short word; else a new one.
fn id_of(request: &Request) -> String {
    let named = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    match named {
        Some(id) if (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) => {
            id.to_owned()
        }
        _ => random_hex::<16>(),
    }
}

/// Whether a path is for everybody: the console's files and the document tell nothing of the data.
fn is_public(path: &str) -> bool {
    // The provider's messages carry a signature of their own.
    let is_signed = path == payments::WEBHOOK_PATH;
    path == pages::OPENAPI_PATH || is_signed || novax_console::asset(path).is_some()
}

async fn key(State(api): State<Api>, request: Request, next: Next) -> Result<Response, Problem> {
    if is_public(request.uri().path()) || api.0.key.admits(request.headers()) {
        return Ok(next.run(request).await);
    }
    api.0.counts.unauthorised.fetch_add(1, Ordering::Relaxed);
    Err(Problem::unauthorised())
}

async fn bounded_work(
    State(api): State<Api>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let Ok(_place) = api.0.requests.try_acquire() else {
        api.0.counts.overloaded.fetch_add(1, Ordering::Relaxed);
        return Err(Problem::overloaded("too many requests are under way"));
    };
    let limit = api.0.limits.request_time_max;
    tokio::time::timeout(limit, next.run(request)).await.map_err(|_| Problem::overdue())
}

/// Sockets open at once; a further client waits in the kernel's queue.
const CONNECTIONS_MAX: usize = 1_024;

/// A listener that takes no more than [`CONNECTIONS_MAX`] connections at once.
pub(super) fn bounded(listener: TcpListener) -> Bounded {
    Bounded { listener, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
}

pub(super) struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

/// A connection and its place.
pub(super) struct Placed {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
}

impl Listener for Bounded {
    type Io = Placed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Placed, SocketAddr) {
        let place = self.places.clone().acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        // The framework's own accept backs off when the process has no files left.
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // Small answers should not wait for more to say; without it they are only slower.
        let _ = stream.set_nodelay(true);
        (Placed { stream, _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl AsyncRead for Placed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Placed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
