//! How the node is: totals, health, metrics, the live stream.

use super::Api;
use super::live::{HISTORY_SAMPLES_MAX, Sample, now};
use super::problem::Problem;
use super::views::Money;
use crate::control::Totals;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{Stream, StreamExt};
use novax_model::Duration;
use serde::Serialize;
use std::convert::Infallible;
use std::fmt::Write;
use std::sync::atomic::Ordering;
use tokio_stream::wrappers::WatchStream;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(history))
        .routes(routes!(events))
        .routes(routes!(metrics))
}

/// The node in numbers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StatusView {
    /// When, by the node's clock.
    pub at: String,
    /// The build's version.
    pub version: &'static str,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Threads that own sockets and partitions.
    pub shards: usize,
    /// Units of ownership.
    pub partitions: u16,
    /// Stations with an open socket.
    pub stations_connected: u64,
    /// Sessions that hold a connector.
    pub live_sessions: u64,
    /// Sessions that ended, ever.
    pub ended_sessions: u64,
    /// Power of all connectors.
    pub power_w: i64,
    /// Energy of ended sessions.
    pub energy_wh: u64,
    /// What drivers paid, per currency.
    pub settled: Vec<Money>,
    /// Commands applied since the start.
    pub commands_applied: u64,
    /// Commands applied in the last second.
    pub commands_per_s: u64,
    /// Messages of stations in the last second.
    pub messages_per_s: u64,
}

impl StatusView {
    pub(super) fn new(api: &Api, totals: &Totals) -> StatusView {
        let rates = api.0.live.rates();
        StatusView {
            at: now().to_rfc3339(),
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: api.0.live.uptime().as_secs(),
            shards: api.control().counters().count(),
            partitions: api.control().partitions(),
            stations_connected: totals.stations_connected,
            live_sessions: totals.live_sessions,
            ended_sessions: totals.ended_sessions,
            power_w: totals.power_w,
            energy_wh: totals.energy_wh,
            settled: totals.settled.iter().map(|(code, sum)| Money::new(*sum, *code)).collect(),
            commands_applied: api
                .control()
                .counters()
                .map(|counters| counters.commands_applied.get())
                .sum(),
            commands_per_s: rates.commands_per_s,
            messages_per_s: rates.messages_per_s,
        }
    }
}

/// Totals and rates.
#[utoipa::path(get, path = "/v1/status", tag = "status",
    responses((status = 200, body = StatusView)))]
async fn status(State(api): State<Api>) -> Result<Json<StatusView>, Problem> {
    let totals = api.control().totals().await?;
    Ok(Json(StatusView::new(&api, &totals)))
}

/// The last ten minutes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HistoryView {
    /// One a second, oldest first, at most 600.
    pub samples: Vec<Sample>,
}

/// The last ten minutes, second by second.
#[utoipa::path(get, path = "/v1/status/history", tag = "status",
    responses((status = 200, body = HistoryView)))]
async fn history(State(api): State<Api>) -> Json<HistoryView> {
    let samples = api.0.live.history();
    assert!(samples.len() <= HISTORY_SAMPLES_MAX, "the history is bounded");
    Json(HistoryView { samples })
}

/// Server-sent events: an event `status` each second, its data as at `/v1/status`.
#[utoipa::path(get, path = "/v1/events", tag = "status",
    responses((status = 200, body = String, content_type = "text/event-stream")))]
async fn events(State(api): State<Api>) -> Result<Response, Problem> {
    let permit = api.0.subscribers.clone().try_acquire_owned();
    let permit = permit.map_err(|_| Problem::overloaded("too many event streams are open"))?;
    // A watch keeps the newest value only, and `None` after a value is the end.
    let values = WatchStream::new(api.0.live.watch())
        .skip_while(|value| futures::future::ready(value.is_none()))
        .take_while(|value| futures::future::ready(value.is_some()));
    let stream = values.map(move |value| {
        let _held_as_long_as_the_stream = &permit;
        let text = value.unwrap_or_default();
        Ok::<_, Infallible>(Event::default().event("status").data(&*text))
    });
    Ok(sse(stream))
}

fn sse(stream: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
    Sse::new(stream).keep_alive(keep_alive).into_response()
}

/// Whether the node answers. Needs no key.
pub(super) async fn healthz(State(api): State<Api>) -> Result<&'static str, Problem> {
    const PATIENCE: Duration = Duration::from_secs(2);
    match tokio::time::timeout(PATIENCE, api.control().totals()).await {
        Ok(Ok(_)) => Ok("ok\n"),
        Ok(Err(_)) | Err(_) => Err(Problem::overloaded("a shard does not answer")),
    }
}

/// Counters and gauges in the Prometheus text format.
#[utoipa::path(get, path = "/metrics", tag = "status",
    responses((status = 200, body = String, content_type = "text/plain")))]
async fn metrics(State(api): State<Api>) -> Response {
    let type_ = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, type_)], metrics_text(&api)).into_response()
}

fn metrics_text(api: &Api) -> String {
    let mut text = String::new();
    let shards: Vec<_> =
        api.control().counters().map(novax_shard::counters::Counters::list).collect();
    let Some(first) = shards.first() else { return text };
    for (at, metric) in first.iter().enumerate() {
        let suffix = if metric.kind == "counter" { "_total" } else { "" };
        let name = format!("novax_{}{suffix}", metric.name);
        head(&mut text, &name, metric.kind, metric.help.trim());
        for (shard, list) in shards.iter().enumerate() {
            let value = list.get(at).map_or(0, |metric| metric.value);
            let _ = writeln!(text, "{name}{{shard=\"{shard}\"}} {value}");
        }
    }
    let counts = &api.0.counts;
    for (name, help, count) in [
        ("novax_http_requests_total", "HTTP requests received.", &counts.requests),
        (
            "novax_http_unauthorised_total",
            "HTTP requests with no key or a wrong one.",
            &counts.unauthorised,
        ),
        (
            "novax_http_overloaded_total",
            "HTTP requests turned away because too many were under way.",
            &counts.overloaded,
        ),
        ("novax_http_failed_total", "HTTP requests answered 500 or above.", &counts.failed),
    ] {
        head(&mut text, name, "counter", help);
        let _ = writeln!(text, "{name} {}", count.load(Ordering::Relaxed));
    }
    if let Some(links) = api.seat().links.get() {
        let name = "novax_links_refused_total";
        head(&mut text, name, "counter", "Connections of other nodes refused or ended, by why.");
        for (why, count) in links.status().refusals {
            let _ = writeln!(text, "{name}{{why=\"{}\"}} {count}", why.name());
        }
    }
    head(&mut text, "novax_uptime_seconds", "gauge", "Seconds since the start.");
    let _ = writeln!(text, "novax_uptime_seconds {}", api.0.live.uptime().as_secs());
    text
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}
