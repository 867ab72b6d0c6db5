//! Stations: list, provision, approve, and calls on an admin's behalf.

use super::Api;
use super::auth::random;
use super::extract::{Body, Params, identity};
use super::page::{PageParams, ResultsPage};
use super::problem::Problem;
use super::read::{ReadError, Rows, read};
use super::views::{ConnectorView, PendingView, StationView};
use crate::control::{StationCall, hash_password};
use axum::Json;
use axum::extract::{Path, State};
use novax_charging::rows::{self, ConnectorRow, DirectoryRow, StationRow};
use novax_charging::{DirectoryKind, Keyspace, PasswordHash};
use novax_model::{ConnectorRef, Identity, PartitionId, Watts};
use novax_statements::ocmf::PublicKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, provision))
        .routes(routes!(pending))
        .routes(routes!(get))
        .routes(routes!(approve))
        .routes(routes!(command))
}

/// Stations with their connectors and live values, by identity.
#[utoipa::path(get, path = "/v1/stations", tag = "stations", params(PageParams),
    operation_id = "list_stations",
    responses((status = 200, body = ResultsPage<StationView>)))]
async fn list(
    State(api): State<Api>,
    Params(params): Params<PageParams>,
) -> Result<Json<ResultsPage<StationView>>, Problem> {
    let want = params.want(Keyspace::Stations)?;
    let page = read(api.control(), false, move |rows| {
        rows.page(&want, &[], |found| {
            let row = rows::read::<StationRow>(found.value)?;
            Ok(Some(with_connectors(rows, found.partition, &row)?))
        })
    });
    Ok(Json(page.await?))
}

/// Connectors a station may have, as the state machine bounds them, with room to spare.
const CONNECTORS_MAX: usize = 256;

fn with_connectors(
    rows: &Rows,
    partition: PartitionId,
    row: &StationRow,
) -> Result<StationView, ReadError> {
    let mut connectors = Vec::new();
    // A connector's key is the identity, a zero, and two numbers: the next identity is behind 1.
    let from = connector_prefix(&row.identity, 0);
    let to = connector_prefix(&row.identity, 1);
    if let Some(part) = rows.part(partition) {
        let found = part.range(Keyspace::Connectors as u8, &from, Some(to.as_slice()));
        for connector in found.take(CONNECTORS_MAX) {
            let (_, value) = connector?;
            let connector = rows::read::<ConnectorRow>(&value)?;
            assert_eq!(connector.identity, row.identity, "the key holds the identity");
            connectors.push(ConnectorView::from(&connector));
        }
    }
    Ok(StationView::new(partition, row, connectors))
}

fn connector_prefix(identity: &Identity, end: u8) -> Vec<u8> {
    let mut key = identity.as_str().as_bytes().to_vec();
    key.push(end);
    key
}

/// Stations that connected without being provisioned and wait for approval.
#[utoipa::path(get, path = "/v1/stations/pending", tag = "stations", params(PageParams),
    operation_id = "list_pending_stations",
    responses((status = 200, body = ResultsPage<PendingView>)))]
async fn pending(
    State(api): State<Api>,
    Params(params): Params<PageParams>,
) -> Result<Json<ResultsPage<PendingView>>, Problem> {
    let want = params.want(Keyspace::Directory)?;
    let prefix = rows::directory_key(DirectoryKind::PendingStation, "");
    let page = read(api.control(), false, move |rows| {
        rows.page(&want, &prefix, |found| {
            let row = rows::read::<DirectoryRow>(found.value)?;
            assert_eq!(row.kind, DirectoryKind::PendingStation, "the prefix is the kind");
            Ok(Some(PendingView::new(&row)))
        })
    });
    Ok(Json(page.await?))
}

/// One station with its connectors.
#[utoipa::path(get, path = "/v1/stations/{id}", tag = "stations", operation_id = "get_station",
    params(("id" = String, Path, description = "The station's OCPP identity")),
    responses((status = 200, body = StationView)))]
async fn get(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<StationView>, Problem> {
    Ok(Json(station(&api, identity("station", &id)?).await?))
}

async fn station(api: &Api, identity: Identity) -> Result<StationView, Problem> {
    let id = identity.to_string();
    let found = read(api.control(), false, move |rows| {
        let key = identity.as_str().as_bytes();
        let found = rows.find(Keyspace::Stations, key, rows::read::<StationRow>)?;
        found.map(|(partition, row)| with_connectors(rows, partition, &row)).transpose()
    });
    found.await?.ok_or_else(|| Problem::not_found("station", &id))
}

/// A station to provision.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Provision {
    /// Its OCPP identity.
    #[schema(value_type = String, example = "CP-0001")]
    station: Identity,
    /// Its site; must exist.
    #[schema(value_type = String, example = "depot-1")]
    site: Identity,
    /// What it shows as HTTP Basic password: 8 to 40 characters. Absent: none is asked.
    password: Option<String>,
    /// The public key of its meter, in hex, base64 or PEM: signed meter values are verified by it. Absent:
    /// what was entered before.
    meter_public_key: Option<String>,
}

/// Provisions a station at a site, or changes its password. The same again changes nothing.
#[utoipa::path(post, path = "/v1/stations", tag = "stations", request_body = Provision,
    operation_id = "provision_station", responses((status = 200, body = StationView)))]
async fn provision(
    State(api): State<Api>,
    Body(body): Body<Provision>,
) -> Result<Json<StationView>, Problem> {
    let password = hashed(body.password.as_deref())?;
    let meter_key = body.meter_public_key;
    if let Some(error) = meter_key.as_deref().and_then(|key| PublicKey::parse(key).err()) {
        return Err(Problem::unprocessable(format!("meter_public_key: {error}")));
    }
    api.control().put_station(&body.station, &body.site, password).await?;
    if let Some(key) = meter_key {
        api.control().put_meter_key(&body.station, Some(key.into())).await?;
    }
    Ok(Json(station(&api, body.station).await?))
}

/// Where an approved station goes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Approve {
    /// Its site; must exist.
    #[schema(value_type = String, example = "depot-1")]
    site: Identity,
    /// What it must show as HTTP Basic password from now on: 8 to 40 characters. Absent: none.
    password: Option<String>,
}

/// Approves a pending station. The same again changes nothing.
#[utoipa::path(post, path = "/v1/stations/{id}/approve", tag = "stations",
    operation_id = "approve_station", request_body = Approve,
    params(("id" = String, Path, description = "The station's OCPP identity")),
    responses((status = 200, body = StationView)))]
async fn approve(
    State(api): State<Api>,
    Path(id): Path<String>,
    Body(body): Body<Approve>,
) -> Result<Json<StationView>, Problem> {
    let identity = identity("pending station", &id)?;
    let control = api.control();
    let waits = control.locate(DirectoryKind::PendingStation, identity.as_str()).await?.is_some();
    if !waits && control.locate(DirectoryKind::Station, identity.as_str()).await?.is_none() {
        return Err(Problem::not_found("pending station", &id));
    }
    let password = hashed(body.password.as_deref())?;
    control.put_station(&identity, &body.site, password).await?;
    Ok(Json(station(&api, identity).await?))
}

/// OCPP: a Basic password is at most 40 characters; fewer than 8 is no password.
const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 8..=40;

fn hashed(password: Option<&str>) -> Result<Option<PasswordHash>, Problem> {
    let Some(password) = password else { return Ok(None) };
    let graphic = password.bytes().all(|byte| byte.is_ascii_graphic());
    if !PASSWORD_CHARS.contains(&password.len()) || !graphic {
        let detail = "a password is 8 to 40 printable ASCII characters without spaces";
        return Err(Problem::unprocessable(detail));
    }
    Ok(Some(hash_password(random::<16>(), password.as_bytes())))
}

/// A call to a station. Texts are at most 1000 characters, lists at most 100 items.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
enum CommandRequest {
    /// Reset: at once (Hard / Immediate), or when it is idle (Soft / OnIdle).
    Reset {
        /// Without waiting for transactions to end.
        #[serde(default)]
        immediate: bool,
    },
    /// ChangeAvailability of a connector, or of the station when no EVSE is named.
    ChangeAvailability {
        /// Which EVSE; 0 is the station.
        #[serde(default)]
        evse: u16,
        /// Which connector of the EVSE; 0 is all.
        #[serde(default)]
        connector: u16,
        /// Operative or not.
        operative: bool,
    },
    /// UnlockConnector.
    UnlockConnector {
        /// Which EVSE.
        evse: u16,
        /// Which connector of the EVSE.
        #[serde(default = "one")]
        connector: u16,
    },
    /// TriggerMessage.
    TriggerMessage {
        /// The message's name as OCPP writes it.
        message: String,
        /// For which EVSE.
        evse: Option<u16>,
        /// For which connector of the EVSE.
        connector: Option<u16>,
    },
    /// OCPP 1.6 GetConfiguration.
    GetConfiguration {
        /// Which keys; none asks for all.
        #[serde(default)]
        keys: Vec<String>,
    },
    /// OCPP 1.6 ChangeConfiguration.
    ChangeConfiguration {
        /// Which key.
        key: String,
        /// To what.
        value: String,
    },
    /// OCPP 2.0.1 GetVariables.
    GetVariables {
        /// Which.
        variables: Vec<Variable>,
    },
    /// OCPP 2.0.1 SetVariables.
    SetVariables {
        /// Which, and to what.
        variables: Vec<VariableValue>,
    },
    /// OCPP 2.0.1 GetBaseReport; answered when the last part has come.
    GetBaseReport {
        /// `ConfigurationInventory`, `FullInventory` or `SummaryInventory`.
        #[serde(default = "full_inventory")]
        report: String,
    },
    /// SetChargingProfile: a default profile with one period.
    SetChargingProfile {
        /// Which EVSE; 0 is the station.
        #[serde(default)]
        evse: u16,
        /// Which connector of the EVSE; 0 is all.
        #[serde(default)]
        connector: u16,
        /// How much it may draw.
        limit_w: i64,
    },
    /// ClearCache.
    ClearCache,
}

/// A variable of the OCPP 2.0.1 device model.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Variable {
    /// The component's name.
    component: String,
    /// The variable's name.
    variable: String,
}

/// A variable of the OCPP 2.0.1 device model and its value.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct VariableValue {
    /// The component's name.
    component: String,
    /// The variable's name.
    variable: String,
    /// The value.
    value: String,
}

fn one() -> u16 {
    1
}

fn full_inventory() -> String {
    "FullInventory".to_owned()
}

const TEXT_CHARS_MAX: usize = 1_000;
const ITEMS_MAX: usize = 100;

fn text(field: &str, text: String) -> Result<String, Problem> {
    if text.is_empty() || text.chars().count() > TEXT_CHARS_MAX {
        return Err(Problem::unprocessable(format!("{field} is not 1 to 1000 characters")));
    }
    Ok(text)
}

fn texts<T, V>(
    field: &str,
    items: Vec<T>,
    check: impl Fn(T) -> Result<V, Problem>,
) -> Result<Vec<V>, Problem> {
    if items.len() > ITEMS_MAX {
        return Err(Problem::unprocessable(format!("{field} has more than 100 items")));
    }
    items.into_iter().map(check).collect()
}

impl CommandRequest {
    fn call(self) -> Result<StationCall, Problem> {
        Ok(match self {
            CommandRequest::Reset { immediate } => StationCall::Reset { immediate },
            CommandRequest::ChangeAvailability { evse, connector, operative } => {
                let connector = ConnectorRef { evse, connector };
                StationCall::ChangeAvailability { connector, operative }
            }
            CommandRequest::UnlockConnector { evse, connector } => {
                if evse == 0 || connector == 0 {
                    return Err(Problem::unprocessable("evse and connector count from 1"));
                }
                StationCall::UnlockConnector { connector: ConnectorRef { evse, connector } }
            }
            CommandRequest::TriggerMessage { message, evse, connector } => {
                let connector =
                    evse.map(|evse| ConnectorRef { evse, connector: connector.unwrap_or(0) });
                StationCall::TriggerMessage { message: text("message", message)?, connector }
            }
            CommandRequest::GetConfiguration { keys } => {
                StationCall::GetConfiguration { keys: texts("keys", keys, |key| text("key", key))? }
            }
            CommandRequest::ChangeConfiguration { key, value } => {
                StationCall::ChangeConfiguration { key: text("key", key)?, value }
            }
            CommandRequest::GetVariables { variables } => StationCall::GetVariables {
                variables: texts("variables", variables, |v| {
                    Ok((text("component", v.component)?, text("variable", v.variable)?))
                })?,
            },
            CommandRequest::SetVariables { variables } => StationCall::SetVariables {
                variables: texts("variables", variables, |v| {
                    Ok((text("component", v.component)?, text("variable", v.variable)?, v.value))
                })?,
            },
            CommandRequest::GetBaseReport { report } => {
                StationCall::GetBaseReport { report: text("report", report)? }
            }
            CommandRequest::SetChargingProfile { evse, connector, limit_w } => {
                if limit_w < 0 {
                    return Err(Problem::unprocessable("limit_w is below 0"));
                }
                let connector = ConnectorRef { evse, connector };
                StationCall::SetChargingProfile { connector, limit: Watts(limit_w) }
            }
            CommandRequest::ClearCache => StationCall::ClearCache,
        })
    }
}

/// What the station answered.
#[derive(Debug, Serialize, ToSchema)]
struct CommandReply {
    /// The payload of its CALLRESULT, as it wrote it.
    #[schema(value_type = Object)]
    reply: serde_json::Value,
}

/// Sends a call to a station and waits for its own answer: 409 when it is offline, 504 when it says
/// nothing in time (it may yet do what it was told), 502 when it answers with an error.
#[utoipa::path(post, path = "/v1/stations/{id}/commands", tag = "stations",
    operation_id = "command_station", request_body = CommandRequest,
    params(("id" = String, Path, description = "The station's OCPP identity")),
    responses((status = 200, body = CommandReply)))]
async fn command(
    State(api): State<Api>,
    Path(id): Path<String>,
    Body(body): Body<CommandRequest>,
) -> Result<Json<CommandReply>, Problem> {
    let identity = identity("station", &id)?;
    let reply = api.control().call_station(&identity, body.call()?).await?;
    // The gateway has read it as JSON already; if it is nested too deep for us, it goes as text.
    let text = serde_json::Value::String(reply.payload);
    let parsed = serde_json::from_str(text.as_str().unwrap_or_default());
    let reply = parsed.unwrap_or(text);
    Ok(Json(CommandReply { reply }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(json: &str) -> Result<StationCall, String> {
        let request: CommandRequest =
            serde_json::from_str(json).map_err(|error| error.to_string())?;
        request.call().map_err(|problem| problem.code().to_owned())
    }

    #[test]
    fn commands_read_as_documented() {
        let station = ConnectorRef::STATION;
        for (json, expected) in [
            (r#"{"command":"reset"}"#, StationCall::Reset { immediate: false }),
            (
                r#"{"command":"change_availability","operative":false}"#,
                StationCall::ChangeAvailability { connector: station, operative: false },
            ),
            (
                r#"{"command":"unlock_connector","evse":2}"#,
                StationCall::UnlockConnector { connector: ConnectorRef { evse: 2, connector: 1 } },
            ),
            (
                r#"{"command":"trigger_message","message":"StatusNotification","evse":1}"#,
                StationCall::TriggerMessage {
                    message: "StatusNotification".into(),
                    connector: Some(ConnectorRef { evse: 1, connector: 0 }),
                },
            ),
            (r#"{"command":"get_configuration"}"#, StationCall::GetConfiguration { keys: vec![] }),
            (
                r#"{"command":"set_variables",
                    "variables":[{"component":"c","variable":"v","value":""}]}"#,
                StationCall::SetVariables { variables: vec![("c".into(), "v".into(), "".into())] },
            ),
            (
                r#"{"command":"get_base_report"}"#,
                StationCall::GetBaseReport { report: "FullInventory".into() },
            ),
            (
                r#"{"command":"set_charging_profile","limit_w":11000}"#,
                StationCall::SetChargingProfile { connector: station, limit: Watts(11_000) },
            ),
            (r#"{"command":"clear_cache"}"#, StationCall::ClearCache),
        ] {
            assert_eq!(call(json), Ok(expected), "{json}");
        }
    }

    #[test]
    fn commands_out_of_bounds_are_refused() {
        for json in [
            r#"{"command":"explode"}"#,
            r#"{"command":"reset","now":true}"#,
            r#"{"command":"unlock_connector","evse":0}"#,
            r#"{"command":"change_configuration","key":"","value":"x"}"#,
            r#"{"command":"set_charging_profile","limit_w":-1}"#,
        ] {
            assert!(call(json).is_err(), "{json}");
        }
        let keys = vec!["k"; ITEMS_MAX + 1];
        let json = serde_json::json!({"command": "get_configuration", "keys": keys}).to_string();
        assert!(call(&json).is_err());
    }

    #[test]
    fn passwords_have_a_length_and_are_salted() {
        assert_eq!(hashed(None), Ok(None));
        assert!(hashed(Some("short")).is_err());
        assert!(hashed(Some(&"x".repeat(41))).is_err());
        let (one, two) = (hashed(Some("same-password")), hashed(Some("same-password")));
        assert_ne!(one.expect("valid"), two.expect("valid"));
    }
}
