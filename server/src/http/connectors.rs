//! Connectors: live values, and their history.

use super::Api;
use super::extract::{Params, identity};
use super::live::now;
use super::page::{LIMIT_MAX, PageParams, ResultsPage};
use super::problem::Problem;
use super::read::{ReadError, Rows, read};
use super::views::{ConnectorView, MeterView};
use axum::Json;
use axum::extract::{Path, State};
use novax_charging::Keyspace;
use novax_charging::rows::{self, ConnectorRow, StationRow, connector_key};
use novax_engine::Snapshot;
use novax_model::{ConnectorRef, Identity, Timestamp};
use novax_query::HotSeries;
use novax_tsdb::DAY_US;
use novax_tsdb::clean::Row;
use novax_tsdb::head::day_of;
use novax_tsdb::query::{self, SeriesSource, SourceError, Stretch};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(series))
}

/// Connectors with their live values, by station.
#[utoipa::path(get, path = "/v1/connectors", tag = "connectors", params(PageParams),
    operation_id = "list_connectors",
    responses((status = 200, body = ResultsPage<ConnectorView>)))]
async fn list(
    State(api): State<Api>,
    Params(params): Params<PageParams>,
) -> Result<Json<ResultsPage<ConnectorView>>, Problem> {
    let want = params.want(Keyspace::Connectors)?;
    let page = read(api.control(), false, move |rows| {
        rows.page(&want, &[], |found| {
            Ok(Some(ConnectorView::from(&rows::read::<ConnectorRow>(found.value)?)))
        })
    });
    Ok(Json(page.await?))
}

/// Which part of a history.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SeriesParams {
    /// From when on (RFC 3339); an hour before `to` when absent.
    from: Option<String>,
    /// Up to when, not included (RFC 3339); now when absent.
    to: Option<String>,
    /// Points at most: 1 to 1000, 1000 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
}

/// A part of a connector's history.
#[derive(Debug, Serialize, ToSchema)]
struct SeriesView {
    /// Its station.
    station: String,
    /// Its EVSE.
    evse: u16,
    /// Its connector.
    connector: u16,
    /// Oldest first.
    points: Vec<MeterView>,
    /// When there is more: send it as `from`.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_from: Option<String>,
}

/// The history of a connector's meter values, oldest first.
#[utoipa::path(get, path = "/v1/connectors/{station}/{evse}/{connector}/series",
    tag = "connectors", operation_id = "get_series",
    params(("station" = String, Path, description = "The station's OCPP identity"),
        ("evse" = u16, Path, description = "EVSE number"),
        ("connector" = u16, Path, description = "Connector number within the EVSE"),
        SeriesParams),
    responses((status = 200, body = SeriesView)))]
async fn series(
    State(api): State<Api>,
    Path((station, evse, connector)): Path<(String, u16, u16)>,
    Params(params): Params<SeriesParams>,
) -> Result<Json<SeriesView>, Problem> {
    let identity = identity("station", &station)?;
    let connector = ConnectorRef { evse, connector };
    let span = Span::of(&params, now())?;
    let found =
        read(api.control(), true, move |rows| history(rows, &identity, connector, span)).await?;
    let Some(ticks) = found else {
        return Err(Problem::not_found("connector", &format!("{station} {connector}")));
    };
    let next_from = ticks.get(span.limit).map(|row| micros_text(row.tick.at));
    let points = ticks.iter().take(span.limit).map(MeterView::from).collect();
    let (evse, connector) = (connector.evse, connector.connector);
    Ok(Json(SeriesView { station, evse, connector, points, next_from }))
}

/// RFC 3339 with microseconds, so that no tick is shown twice by going on from it.
fn micros_text(at: Timestamp) -> String {
    let text = at.to_rfc3339();
    format!("{}{:03}Z", text.trim_end_matches('Z'), at.0 % 1_000)
}

/// A stretch of time and how many points of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from: Timestamp,
    to: Timestamp,
    limit: usize,
}

impl Span {
    fn of(params: &SeriesParams, now: Timestamp) -> Result<Span, Problem> {
        let time = |field: &str, text: &Option<String>| {
            let read = text.as_deref().map(Timestamp::parse_rfc3339).transpose();
            read.map_err(|error| Problem::bad_request("invalid_time", format!("{field}: {error}")))
        };
        let to = time("to", &params.to)?.unwrap_or(now);
        let an_hour_before = Timestamp(to.0.saturating_sub(3_600_000_000));
        let from = time("from", &params.from)?.unwrap_or(an_hour_before);
        if from > to {
            return Err(Problem::bad_request("invalid_time", "from is behind to"));
        }
        let limit = params.limit.unwrap_or(LIMIT_MAX);
        if !(1..=LIMIT_MAX).contains(&limit) {
            let detail = format!("limit is {limit}; it goes from 1 to {LIMIT_MAX}");
            return Err(Problem::bad_request("invalid_limit", detail));
        }
        Ok(Span { from, to, limit: usize::from(limit) })
    }

    fn contains(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.to
    }
}

/// The ticks of the span in order, one more than its limit if there are so many; `None` when there is no
/// such connector.
fn history(
    rows: &Rows,
    identity: &Identity,
    connector: ConnectorRef,
    span: Span,
) -> Result<Option<Vec<Row>>, ReadError> {
    let key = identity.as_str().as_bytes();
    let Some((partition, station)) =
        rows.find(Keyspace::Stations, key, rows::read::<StationRow>)?
    else {
        return Ok(None);
    };
    let key = connector_key(identity, connector);
    let known = rows.get(partition, Keyspace::Connectors, &key, rows::read::<ConnectorRow>)?;
    let (Some(_), Some(part)) = (known, rows.part(partition)) else { return Ok(None) };
    let series = station.series(connector);
    let bad = |error: SourceError| ReadError::Storage(format!("the series of {identity}: {error}"));
    let mut ticks = merged(part, series, span).map_err(bad)?;
    ticks.truncate(span.limit + 1);
    Ok(Some(ticks))
}

/// The ticks of the span in order, day by day until there are more than its limit.
fn merged(part: &Snapshot, series: u64, span: Span) -> Result<Vec<Row>, SourceError> {
    let until = Timestamp(span.to.0.saturating_sub(1));
    let hot = HotSeries::within(part, span.from, until);
    let early: Vec<Stretch> = hot.reaching(series, span.from)?.into_iter().collect();
    let mut rows = query::range(early, span.from, until)?;
    let mut next = Some(span.from);
    while let Some(from) = next.take() {
        let found = hot.next_time(series, from)?.filter(|found| *found <= until);
        let Some(found) = found else { break };
        // No chunk reaches from one day into the next: what overlaps is of one day.
        let midnight = Timestamp(day_of(found).0.saturating_add(DAY_US - 1));
        let stretches = hot.stretches(series, from.max(day_of(found)), midnight.min(until))?;
        rows.append(&mut query::range(stretches, span.from, until)?);
        if midnight < until && rows.len() <= span.limit {
            next = Some(Timestamp(midnight.0 + 1));
        }
    }
    rows.retain(|row| span.contains(row.tick.at));
    // A chunk of an earlier build may reach into the next day.
    rows.sort_by_key(|row| row.tick.at);
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: Option<&str>, to: Option<&str>) -> Result<Span, &'static str> {
        let params =
            SeriesParams { from: from.map(Into::into), to: to.map(Into::into), limit: None };
        Span::of(&params, Timestamp(7_200_000_000)).map_err(|problem| problem.code())
    }

    #[test]
    fn without_times_a_span_is_the_last_hour() {
        let hour =
            Span { from: Timestamp(3_600_000_000), to: Timestamp(7_200_000_000), limit: 1_000 };
        assert_eq!(span(None, None), Ok(hour));
        assert_eq!(span(Some("yesterday"), None), Err("invalid_time"));
        assert_eq!(
            span(Some("1970-01-01T01:00:00Z"), Some("1970-01-01T00:00:00Z")),
            Err("invalid_time")
        );
    }

    #[test]
    fn going_on_from_a_tick_names_it_exactly() {
        let at = Timestamp(1_795_353_264_123_456);
        assert_eq!(micros_text(at), "2026-11-22T13:14:24.123456Z");
        assert_eq!(Timestamp::parse_rfc3339(&micros_text(at)), Ok(at));
    }
}
