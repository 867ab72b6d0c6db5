//! Sites: where stations stand, their limit and their price.

use super::Api;
use super::extract::{Body, Params, identity};
use super::live::now;
use super::page::{PageParams, ResultsPage};
use super::problem::Problem;
use super::read::read;
use super::tariffs::{Wanted, documents, time};
use super::views::{SiteView, SplitView, TariffView};
use crate::pricing::signal_value;
use axum::Json;
use axum::extract::{Path, State};
use novax_charging::rows::{self, SiteRow};
use novax_charging::rows::{SignalRow, signal_key};
use novax_charging::{Keyspace, Location, Place, PutSite, SiteTerms};
use novax_model::{Identity, PartitionId, Timestamp, Watts};
use novax_tariff::Language;
use novax_tariff::rules::{Sample, SignalKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, put))
        .routes(routes!(get))
        .routes(routes!(signals, put_signals))
}

/// Sites by name.
#[utoipa::path(get, path = "/v1/sites", tag = "sites", params(PageParams),
    operation_id = "list_sites", responses((status = 200, body = ResultsPage<SiteView>)))]
async fn list(
    State(api): State<Api>,
    Params(params): Params<PageParams>,
) -> Result<Json<ResultsPage<SiteView>>, Problem> {
    let want = params.want(Keyspace::Sites)?;
    let page = read(api.control(), false, move |rows| {
        rows.page(&want, &[], |found| {
            let row = rows::read::<SiteRow>(found.value)?;
            Ok(Some(SiteView::new(found.partition, &row)))
        })
    });
    Ok(Json(page.await?))
}

/// One site.
#[utoipa::path(get, path = "/v1/sites/{id}", tag = "sites", operation_id = "get_site",
    params(("id" = String, Path, description = "The site's name")),
    responses((status = 200, body = SiteView)))]
async fn get(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<SiteView>, Problem> {
    Ok(Json(site(&api, identity("site", &id)?).await?))
}

async fn site(api: &Api, site: Identity) -> Result<SiteView, Problem> {
    let id = site.to_string();
    let found = read(api.control(), false, move |rows| {
        rows.find(Keyspace::Sites, site.as_str().as_bytes(), rows::read::<SiteRow>)
    });
    let found = found.await?.ok_or_else(|| Problem::not_found("site", &id))?;
    Ok(SiteView::new(found.0, &found.1))
}

/// A site to make or change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SiteInput {
    /// Its name.
    #[schema(value_type = String, example = "depot-1")]
    site: Identity,
    /// What all its connectors together may draw; absent is no limit.
    #[schema(minimum = 0)]
    limit_w: Option<i64>,
    /// Where it is, for taxes: a country (`DE`) or a region (`CA-QC`). Absent: the tariff's own rate.
    jurisdiction: Option<String>,
    /// IANA name of the clock on its wall; UTC when absent.
    #[schema(example = "Europe/Berlin")]
    zone: Option<String>,
    /// The price, in short; or name a tariff with `tariff_id`.
    tariff: Option<TariffView>,
    /// A tariff that was put at `/v1/tariffs`; its text as it is now counts.
    #[schema(value_type = Option<String>)]
    tariff_id: Option<Identity>,
    /// How revenue is split, in short; absent without a `contract_id`: all to the operator.
    split: Option<SplitView>,
    /// A contract that was put at `/v1/contracts`; its text as it is now counts.
    #[schema(value_type = Option<String>)]
    contract_id: Option<Identity>,
    /// A rule book that was put at `/v1/rules`; its text as it is now counts. Absent: the price stays as
    /// listed.
    #[schema(value_type = Option<String>)]
    rules_id: Option<Identity>,
    /// From when on price, split and rules hold, for sessions asked for from then on, RFC 3339; now when
    /// absent or over. What was announced for later stays.
    from: Option<String>,
    /// The partition for a new site; by default chosen by its name.
    partition: Option<u16>,
    /// Where it is, for people and roaming partners; absent: what was told before.
    location: Option<LocationInput>,
}

/// Where a site is. Charge detail records need address, city, coordinates and what its connectors are.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct LocationInput {
    /// What people call it.
    name: String,
    /// Street and number.
    address: String,
    /// Its town.
    city: String,
    /// Where the country has them.
    postal_code: String,
    /// Where it matters.
    state: String,
    /// ISO 3166-1 alpha-2; that of the jurisdiction when empty.
    country: String,
    /// Decimal degrees.
    #[schema(example = "53.5438")]
    latitude: String,
    /// Decimal degrees.
    #[schema(example = "9.9900")]
    longitude: String,
    /// OCPI `ConnectorType` of its connectors.
    #[schema(example = "IEC_62196_T2")]
    connector_standard: String,
    /// OCPI `PowerType` of its connectors.
    #[schema(example = "AC_3_PHASE")]
    power_type: String,
    /// Cables hang there; otherwise there are sockets.
    cable: bool,
}

impl From<LocationInput> for Location {
    fn from(input: LocationInput) -> Location {
        Location {
            name: input.name.into(),
            address: input.address.into(),
            city: input.city.into(),
            postal_code: input.postal_code.into(),
            state: input.state.into(),
            country: input.country.into(),
            latitude: input.latitude.into(),
            longitude: input.longitude.into(),
            connector_standard: input.connector_standard.into(),
            power_type: input.power_type.into(),
            cable: input.cable,
        }
    }
}

/// Makes a site or changes it. Sessions that run keep the price they started with.
#[utoipa::path(post, path = "/v1/sites", tag = "sites", request_body = SiteInput,
    operation_id = "put_site", responses((status = 200, body = SiteView)))]
async fn put(
    State(api): State<Api>,
    Body(body): Body<SiteInput>,
) -> Result<Json<SiteView>, Problem> {
    if body.limit_w.is_some_and(|limit| limit < 0) {
        return Err(Problem::unprocessable("limit_w is below 0"));
    }
    let home = home(&api, body.partition)?;
    let from = match body.from.as_deref() {
        Some(text) => time("from", text)?,
        None => Timestamp::ZERO,
    };
    let wanted = Wanted {
        tariff: body.tariff_id.clone(),
        contract: body.contract_id.clone(),
        rules: body.rules_id.clone(),
    };
    let kept = documents(&api, wanted).await?;
    let short = kept.contract.is_none().then(|| body.split.unwrap_or_default());
    if body.contract_id.is_some() && body.split.is_some() {
        return Err(Problem::unprocessable("name either a split or a contract_id"));
    }
    let tariff = match (&body.tariff, kept.tariff) {
        (Some(listed), None) => listed.tariff(&body.site)?,
        (None, Some(tariff)) => tariff,
        _ => return Err(Problem::unprocessable("name either a tariff or a tariff_id")),
    };
    let contract = match (kept.contract, short) {
        (Some(contract), _) => contract,
        (None, split) => split.unwrap_or_default().contract(tariff.currency, &body.site)?,
    };
    let terms = SiteTerms { tariff, contract, rules: kept.rules };
    let place = Place {
        jurisdiction: body.jurisdiction.unwrap_or_default().into(),
        zone: body.zone.unwrap_or_else(|| "UTC".to_owned()).into(),
    };
    let limit = body.limit_w.map(Watts);
    let location = body.location.map(Location::from);
    let put = PutSite { place, from, location, ..PutSite::new(body.site.clone(), limit, terms) };
    api.control().put_site(put, home).await?;
    Ok(Json(site(&api, body.site).await?))
}

/// What dynamic prices of a site follow.
#[derive(Debug, Serialize, ToSchema)]
struct SignalView {
    /// `temperature`, `load`, `day-ahead` or `renewable`.
    kind: &'static str,
    /// Degrees Celsius, percent, or major units per MWh, as a decimal.
    value: String,
    /// Since when it is known.
    at: String,
}

/// The signals of a site.
#[derive(Debug, Serialize, ToSchema)]
struct SignalsView {
    /// One of each kind that was heard of.
    signals: Vec<SignalView>,
}

/// A signal that was heard.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SignalInput {
    /// `temperature`, `load`, `day-ahead` or `renewable`.
    #[schema(example = "temperature")]
    kind: String,
    /// Degrees Celsius, percent, or major units per MWh, as a decimal.
    #[schema(example = "-7.2")]
    value: String,
    /// Since when it is known, RFC 3339; now when absent.
    at: Option<String>,
}

/// Signals that were heard at a site.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SignalsInput {
    /// Each; an older one than is known changes nothing.
    #[schema(max_items = 16)]
    signals: Vec<SignalInput>,
}

/// Signals in one request.
const SIGNALS_MAX: usize = 16;

impl SignalInput {
    fn read(&self) -> Result<(SignalKind, Sample), Problem> {
        let kind = SignalKind::ALL.into_iter().find(|kind| kind.word() == self.kind);
        let kind = kind.ok_or_else(|| {
            let known = SignalKind::ALL.map(SignalKind::word).join(", ");
            Problem::unprocessable(format!("kind: there is no signal {:?}: {known}", self.kind))
        })?;
        let value = signal_value(kind, &self.value).map_err(Problem::unprocessable)?;
        let at = match self.at.as_deref() {
            Some(text) => time("at", text)?,
            None => now(),
        };
        Ok((kind, Sample { value, at }))
    }
}

/// What dynamic prices of a site follow.
#[utoipa::path(get, path = "/v1/sites/{id}/signals", tag = "sites", operation_id = "get_signals",
    params(("id" = String, Path, description = "The site's name")),
    responses((status = 200, body = SignalsView)))]
async fn signals(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<SignalsView>, Problem> {
    let site = identity("site", &id)?;
    let name = site.clone();
    let found = read(api.control(), false, move |rows| {
        let key = name.as_str().as_bytes();
        let Some((home, _)) = rows.find(Keyspace::Sites, key, rows::read::<SiteRow>)? else {
            return Ok(None);
        };
        let mut found = Vec::new();
        for kind in SignalKind::ALL {
            let key = signal_key(&name, kind);
            let row = rows.get(home, Keyspace::Signals, &key, rows::read::<SignalRow>)?;
            found.extend(row.map(|row| SignalView {
                kind: kind.word(),
                value: Language::En.decimal(row.sample.value.into(), kind.places(), 0),
                at: row.sample.at.to_rfc3339(),
            }));
        }
        Ok(Some(found))
    });
    let signals = found.await?.ok_or_else(|| Problem::not_found("site", site.as_str()))?;
    Ok(Json(SignalsView { signals }))
}

/// Tells what dynamic prices of a site follow. All of them are read before the first counts.
#[utoipa::path(post, path = "/v1/sites/{id}/signals", tag = "sites",
    operation_id = "put_signals", request_body = SignalsInput,
    params(("id" = String, Path, description = "The site's name")),
    responses((status = 200, body = SignalsView)))]
async fn put_signals(
    State(api): State<Api>,
    Path(id): Path<String>,
    Body(body): Body<SignalsInput>,
) -> Result<Json<SignalsView>, Problem> {
    if body.signals.len() > SIGNALS_MAX {
        return Err(Problem::unprocessable(format!("signals: more than {SIGNALS_MAX}")));
    }
    let site = identity("site", &id)?;
    let heard: Vec<_> = body.signals.iter().map(SignalInput::read).collect::<Result<_, _>>()?;
    for (kind, sample) in heard {
        api.control().put_signal(&site, kind, sample).await?;
    }
    signals(State(api), Path(id)).await
}

/// A partition that a client names.
pub(super) fn home(api: &Api, partition: Option<u16>) -> Result<Option<PartitionId>, Problem> {
    let partitions = api.control().partitions();
    match partition {
        Some(partition) if partition >= partitions => Err(Problem::unprocessable(format!(
            "there is no partition {partition}: they go from 0 to {}",
            partitions - 1
        ))),
        other => Ok(other.map(PartitionId)),
    }
}
