//! Sessions: list, start, stop.

use super::Api;
use super::extract::{Body, IdempotencyKey, Params};
use super::page::{Cursor, ResultsPage, Want};
use super::problem::{Problem, keyed};
use super::read::{ReadError, Rows, SCAN_ROWS_MAX, read};
use super::views::{SessionView, connector_ref, session_id};
use crate::control::StartCharge;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use novax_charging::Keyspace;
use novax_charging::rows::{self, ConnectorRow, DriverRow, SessionRow, TermsRow};
use novax_model::{ConnectorRef, Identity, SessionId, TokenUid};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, start)).routes(routes!(get)).routes(routes!(stop))
}

/// Which sessions.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SessionParams {
    /// Items at most: 1 to 1000, 100 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// `next_page` of the page before; absent for the first.
    page_token: Option<String>,
    /// Only those in this state, such as `CHARGING`.
    state: Option<String>,
    /// Only those of this station.
    station: Option<String>,
    /// Only those of this driver.
    driver: Option<String>,
    /// `true`: only those that have a connector now, found without looking at all the others.
    live: Option<bool>,
}

impl SessionParams {
    fn keeps(&self, row: &SessionRow) -> bool {
        let is = |wanted: &Option<String>, text: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| text == Some(wanted))
        };
        is(&self.state, Some(row.state.as_str()))
            && is(&self.station, Some(row.identity.as_str()))
            && is(&self.driver, row.driver.as_ref().map(Identity::as_str))
            && self.live.is_none_or(|live| live == row.state.is_live())
    }
}

/// Sessions by id. Ids say nothing of time: filter, or ask SQL for an order.
#[utoipa::path(get, path = "/v1/sessions", tag = "sessions", params(SessionParams),
    operation_id = "list_sessions",
    responses((status = 200, body = ResultsPage<SessionView>)))]
async fn list(
    State(api): State<Api>,
    Params(params): Params<SessionParams>,
) -> Result<Json<ResultsPage<SessionView>>, Problem> {
    let want = Want::new(params.limit, params.page_token.as_deref(), Keyspace::Sessions)?;
    let page = read(api.control(), false, move |rows| {
        if params.live == Some(true) {
            return live(rows, &want, &params);
        }
        rows.page(&want, &[], |found| {
            let row = rows::read::<SessionRow>(found.value)?;
            Ok(params.keeps(&row).then(|| SessionView::from(&row)))
        })
    });
    Ok(Json(page.await?))
}

/// A page of the sessions that connectors name: few among the many that ended.
fn live(
    rows: &Rows,
    want: &Want,
    params: &SessionParams,
) -> Result<ResultsPage<SessionView>, ReadError> {
    let mut ids = Vec::new();
    rows.each(Keyspace::Connectors, SCAN_ROWS_MAX, |found| {
        ids.extend(rows::read::<ConnectorRow>(found.value)?.session);
        Ok(())
    })?;
    ids.sort_unstable();
    ids.dedup();
    let after = want.after.as_ref().map(|cursor| cursor.key.as_slice());
    ids.retain(|id| after.is_none_or(|after| id.0.to_be_bytes().as_slice() > after));
    let mut items = Vec::new();
    for (at, id) in ids.iter().enumerate() {
        if let Some(row) = session_row(rows, *id)? {
            items.extend(params.keeps(&row).then(|| SessionView::from(&row)));
        }
        if items.len() == want.limit && at + 1 < ids.len() {
            let cursor = Cursor { key: id.0.to_be_bytes().to_vec(), partition: id.partition() };
            return Ok(ResultsPage { items, next_page: Some(cursor.token(want.keyspace)) });
        }
    }
    Ok(ResultsPage { items, next_page: None })
}

fn session_row(rows: &Rows, id: SessionId) -> Result<Option<SessionRow>, ReadError> {
    let key = id.0.to_be_bytes();
    rows.get(id.partition(), Keyspace::Sessions, &key, rows::read::<SessionRow>)
}

/// One session.
#[utoipa::path(get, path = "/v1/sessions/{id}", tag = "sessions", operation_id = "get_session",
    params(("id" = String, Path, description = "The session's id")),
    responses((status = 200, body = SessionView)))]
async fn get(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<SessionView>, Problem> {
    Ok(Json(session(&api, parse(&id)?).await?))
}

/// First byte of the keys of contracts.
const CONTRACT: u8 = 1;

fn parse(id: &str) -> Result<SessionId, Problem> {
    session_id(id).ok_or_else(|| Problem::not_found("session", id))
}

async fn session(api: &Api, id: SessionId) -> Result<SessionView, Problem> {
    let found = read(api.control(), false, move |rows| {
        let Some(row) = session_row(rows, id)? else { return Ok(None) };
        let key = [&[CONTRACT][..], &row.deal.contract.0.to_be_bytes()].concat();
        let terms = rows.get(id.partition(), Keyspace::Terms, &key, rows::read::<TermsRow>)?;
        let view = SessionView::from(&row);
        Ok(Some(match &terms {
            Some(TermsRow::Contract(contract)) => view.shared(&row, contract),
            _ => view,
        }))
    });
    found.await?.ok_or_else(|| Problem::not_found("session", &id.to_string()))
}

/// A charge to start. Where: an `evse` (the station chooses the connector), an `evse` and its
/// `connector`, or an OCPP 1.6 `connector`. Who pays: a `token` or a `driver`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Start {
    /// The station's OCPP identity.
    #[schema(value_type = String, example = "CP-0001")]
    station: Identity,
    /// EVSE number.
    evse: Option<u16>,
    /// Connector number.
    connector: Option<u16>,
    /// A driver's token.
    #[schema(value_type = Option<String>, example = "TAG-0001")]
    token: Option<TokenUid>,
    /// A driver, whose first token is used.
    #[schema(value_type = Option<String>, example = "anna")]
    driver: Option<Identity>,
}

/// Who pays for a charge.
pub(super) enum Payer {
    Token(TokenUid),
    Driver(Identity),
}

/// A charge without who pays for it.
pub(super) struct Charge {
    key: String,
    station: Identity,
    connector: ConnectorRef,
}

impl Charge {
    pub(super) fn with(self, token: TokenUid) -> StartCharge {
        let Charge { key, station, connector } = self;
        StartCharge { key, station, connector, token }
    }
}

impl Start {
    /// What it asks for under an idempotency key.
    pub(super) fn charge(self, key: &str) -> Result<(Charge, Payer), Problem> {
        let connector = connector_ref(self.evse, self.connector)?;
        let payer = match (self.token, self.driver) {
            (Some(token), None) => Payer::Token(token),
            (None, Some(driver)) => Payer::Driver(driver),
            _ => return Err(Problem::unprocessable("name either a token or a driver")),
        };
        Ok((Charge { key: of_caller(key), station: self.station, connector }, payer))
    }
}

/// Starts a charge: the money is held and the station is told. 202 means under way: read the session to see
/// how it goes on. The same key and request again give the same session; a start that was refused
/// is tried again.
#[utoipa::path(post, path = "/v1/sessions", tag = "sessions", request_body = Start,
    operation_id = "start_session",
    params(("Idempotency-Key" = String, Header, description = "Chosen by the client, 1 to 128 characters")),
    responses((status = 202, body = SessionView)))]
async fn start(
    State(api): State<Api>,
    IdempotencyKey(key): IdempotencyKey,
    Body(body): Body<Start>,
) -> Result<(StatusCode, Json<SessionView>), Problem> {
    let request = match body.charge(&key)? {
        (request, Payer::Token(token)) => request.with(token),
        (request, Payer::Driver(driver)) => request.with(first_token(&api, driver).await?),
    };
    let id = api.control().start_charge(request).await.map_err(keyed)?;
    Ok((StatusCode::ACCEPTED, Json(session(&api, id).await?)))
}

/// The key with the caller's name in it: with one API key there is one caller.
pub(super) fn of_caller(key: &str) -> String {
    format!("api:{key}")
}

async fn first_token(api: &Api, driver: Identity) -> Result<TokenUid, Problem> {
    let id = driver.to_string();
    let found = read(api.control(), false, move |rows| {
        rows.find(Keyspace::Drivers, driver.as_str().as_bytes(), rows::read::<DriverRow>)
    });
    let Some((_, row)) = found.await? else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "unknown_driver",
            format!("there is no driver {id:?}"),
        ));
    };
    let token = row.tokens.into_iter().next();
    token.ok_or_else(|| Problem::conflict("driver_has_no_token", "the driver has no token"))
}

/// Asks for the end of a session. 202 means under way; the same again changes nothing.
#[utoipa::path(post, path = "/v1/sessions/{id}/stop", tag = "sessions",
    operation_id = "stop_session",
    params(("id" = String, Path, description = "The session's id")),
    responses((status = 202, body = SessionView)))]
async fn stop(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<SessionView>), Problem> {
    let id = parse(&id)?;
    api.control().stop_charge(id).await?;
    Ok((StatusCode::ACCEPTED, Json(session(&api, id).await?)))
}
