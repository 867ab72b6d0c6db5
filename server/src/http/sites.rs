//! Sites: where stations stand, their limit and their price.

use super::Api;
use super::extract::{Body, Params, identity};
use super::page::{PageParams, ResultsPage};
use super::problem::Problem;
use super::read::read;
use super::views::{SiteView, SplitView, TariffView};
use axum::Json;
use axum::extract::{Path, State};
use novax_charging::rows::{self, SiteRow};
use novax_charging::{Keyspace, Place, PutSite};
use novax_model::{Identity, PartitionId, Watts};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, put)).routes(routes!(get))
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
    /// The price of sessions that start from now on.
    tariff: TariffView,
    /// How revenue is split from now on; absent: all to the operator.
    #[serde(default)]
    split: SplitView,
    /// The partition for a new site; by default chosen by its name.
    partition: Option<u16>,
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
    let terms = body.tariff.terms(body.split, &body.site)?;
    let place = Place {
        jurisdiction: body.jurisdiction.unwrap_or_default().into(),
        zone: body.zone.unwrap_or_else(|| "UTC".to_owned()).into(),
    };
    let limit = body.limit_w.map(Watts);
    let put = PutSite { place, ..PutSite::new(body.site.clone(), limit, terms) };
    api.control().put_site(put, home).await?;
    Ok(Json(site(&api, body.site).await?))
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
