//! The OpenAPI document: made from the routes, completed with what all of them share.

use super::problem::{PROBLEM_JSON, ProblemBody};
use super::{
    Api, ageing, audit, books, cluster, connectors, documents, drivers, erase, finance, members,
    payments, sessions, sites, stations, status, tariffs,
};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref, RefOr,
    ResponseBuilder, SecurityRequirement,
};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;

const SCHEME: &str = "api_key";

/// All routes that need the key, with their part of the document.
pub(super) fn routes() -> OpenApiRouter<Api> {
    let license = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title("Nova-X")
        .version("1")
        .description(Some(
            "Stations, sessions and money of a Nova-X node. Errors are RFC 9457 problems with a \
             `code` for programs. Lists come in pages: pass `next_page` as `page_token` to go on.",
        ))
        .license(Some(license))
        .build();
    OpenApiRouter::with_openapi(OpenApiBuilder::new().info(info).build())
        .merge(status::routes())
        .merge(stations::routes())
        .merge(connectors::routes())
        .merge(sessions::routes())
        .merge(sites::routes())
        .merge(tariffs::routes())
        .merge(drivers::routes())
        .merge(erase::routes())
        .merge(books::routes())
        .merge(finance::routes())
        .merge(audit::routes())
        .merge(payments::routes())
        .merge(documents::routes())
        .merge(ageing::routes())
        .merge(cluster::routes())
        .merge(members::routes())
}

/// Adds the key, and to each operation that any error is a problem.
pub(super) fn finish(mut document: OpenApi) -> OpenApi {
    let components = document.components.get_or_insert_with(Components::new);
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    components.add_security_scheme(SCHEME, SecurityScheme::Http(scheme));
    let name = ProblemBody::name().into_owned();
    components.schemas.insert(name.clone(), ProblemBody::schema());
    document.security = Some(vec![SecurityRequirement::new(SCHEME, Vec::<String>::new())]);

    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(name))).build();
    let problem = ResponseBuilder::new()
        .description("What went wrong")
        .content(PROBLEM_JSON, content)
        .build();
    for path in document.paths.paths.values_mut() {
        for operation in [&mut path.get, &mut path.post, &mut path.put].into_iter().flatten() {
            let responses = &mut operation.responses.responses;
            responses.insert("default".into(), RefOr::T(problem.clone()));
        }
    }
    document
}
