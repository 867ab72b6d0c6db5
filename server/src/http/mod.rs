//! The HTTP API, the live events, the metrics and the console's pages.
//!
//! Floors, top first:
//!
//! * this file: options, router, server
//! * [`layers`]: request ids, the key, overload, deadlines, problems
//! * [`stations`], [`connectors`], [`sessions`], [`sites`], [`tariffs`], [`drivers`], [`books`],
//!   [`payments`], [`documents`], [`ageing`], [`audit`], [`cluster`],
//!   [`status`], [`pages`]: the routes, by what they are about
//! * [`live`]: one status a second for whoever watches
//! * [`read`], [`page`], [`views`], [`extract`]: rows to pages of JSON, requests to types
//! * [`problem`], [`auth`]: errors, the key
//!
//! **Invariants**
//! * Everything below `/v1` and `/metrics` needs the key; `/healthz`, `/openapi.json` and the console's
//!   files do not, and tell nothing of the data.
//! * Whatever a client can make grow has a bound: bodies, pages, requests and streams at once,
//!   connections, the rows one request looks at.
//! * The OpenAPI document is made from the routes and committed; a test compares them.

mod ageing;
mod audit;
pub mod auth;
mod books;
mod cluster;
mod connectors;
mod documents;
mod drivers;
mod erase;
mod extract;
mod finance;
mod layers;
mod live;
mod members;
mod openapi;
mod page;
mod pages;
mod payments;
pub mod problem;
mod read;
mod sessions;
mod sites;
pub mod starts;
mod stations;
mod status;
mod tariffs;
mod views;

use crate::cluster::Seat;
use crate::config::{HttpConfig, StatementsConfig};
use crate::control::Control;
use crate::payments::Payments;
use auth::ApiKey;
use axum::Router;
use live::Live;
pub(crate) use live::now;
use novax_model::Duration;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// Bounds of the server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest request body.
    pub body_bytes_max: usize,
    /// Requests worked on at once.
    pub requests_max: usize,
    /// Event streams open at once.
    pub subscribers_max: usize,
    /// A request that takes longer is answered 504.
    pub request_time_max: Duration,
}

impl From<&HttpConfig> for Limits {
    fn from(config: &HttpConfig) -> Limits {
        Limits {
            body_bytes_max: config.body_bytes_max,
            requests_max: config.requests_max,
            subscribers_max: config.subscribers_max,
            // Longer than a station may take for its answer.
            request_time_max: Duration::from_secs(60),
        }
    }
}

/// What all routes share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Api(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    control: Control,
    key: ApiKey,
    limits: Limits,
    requests: Semaphore,
    subscribers: Arc<Semaphore>,
    live: Live,
    counts: Counts,
    payments: Option<Arc<Payments>>,
    statements: StatementsConfig,
    seat: Seat,
    /// How the keys followed one another that sign the journal.
    rotations: Arc<[novax_audit::Rotation]>,
}

/// What the server counts of itself, for `/metrics`.
#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    unauthorised: AtomicU64,
    overloaded: AtomicU64,
    failed: AtomicU64,
}

impl Api {
    /// Over a node.
    #[must_use]
    pub fn new(control: Control, key: ApiKey, limits: Limits) -> Api {
        assert!(limits.requests_max > 0 && limits.body_bytes_max > 0, "limits let something in");
        Api(Arc::new(Shared {
            control,
            key,
            requests: Semaphore::new(limits.requests_max),
            subscribers: Arc::new(Semaphore::new(limits.subscribers_max)),
            limits,
            live: Live::new(),
            counts: Counts::default(),
            payments: None,
            statements: StatementsConfig::default(),
            seat: Seat::alone(),
            rotations: Arc::new([]),
        }))
    }

    /// With a payment provider.
    ///
    /// # Panics
    /// When it is shared already.
    #[must_use]
    pub fn with_payments(mut self, payments: Option<Arc<Payments>>) -> Api {
        Arc::get_mut(&mut self.0).expect("not shared yet").payments = payments;
        self
    }

    /// With whoever issues documents.
    ///
    /// # Panics
    /// When it is shared already.
    #[must_use]
    pub fn with_statements(mut self, statements: StatementsConfig) -> Api {
        Arc::get_mut(&mut self.0).expect("not shared yet").statements = statements;
        self
    }

    /// With the node's place in its cluster.
    ///
    /// # Panics
    /// When it is shared already.
    #[must_use]
    pub fn with_seat(mut self, seat: Seat) -> Api {
        Arc::get_mut(&mut self.0).expect("not shared yet").seat = seat;
        self
    }

    fn seat(&self) -> &Seat {
        &self.0.seat
    }

    fn statements(&self) -> &StatementsConfig {
        &self.0.statements
    }

    /// With the rotations of the keys that sign the journal.
    ///
    /// # Panics
    /// When it is shared already.
    #[must_use]
    pub fn with_rotations(mut self, rotations: Arc<[novax_audit::Rotation]>) -> Api {
        Arc::get_mut(&mut self.0).expect("not shared yet").rotations = rotations;
        self
    }

    fn rotations(&self) -> Arc<[novax_audit::Rotation]> {
        self.0.rotations.clone()
    }

    fn payments(&self) -> Option<&Payments> {
        self.0.payments.as_deref()
    }

    fn control(&self) -> &Control {
        &self.0.control
    }
}

/// All routes, ready to be served.
pub fn router(api: Api) -> Router {
    let (routes, document) = openapi::routes().split_for_parts();
    let document = openapi::finish(document);
    let document = serde_json::to_vec(&document).expect("a document always serialises");
    layers::around(routes.merge(pages::routes(document.into())), api)
}

/// Serves until `stop` is ready, then finishes the requests under way and ends all streams.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    api: Api,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (stopping, stopped) = watch::channel(());
    let ticker = tokio::spawn(live::run(api.clone(), stopped.clone()));
    let app = router(api);
    let served = axum::serve(layers::bounded(listener), app)
        .with_graceful_shutdown(async move {
            stop.await;
            // The ticker hears of it, ends, and with it every stream of events.
            drop(stopping);
        })
        .await;
    drop(stopped);
    ticker.await.map_err(io::Error::other)?;
    served
}

#[cfg(test)]
mod tests;
