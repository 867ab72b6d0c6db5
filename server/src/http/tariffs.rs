//! Tariffs, revenue contracts and rule books by name: put, read, look at, try out.

use super::Api;
use super::extract::{Body, Params, Text, identity};
use super::live::now;
use super::page::{PageParams, ResultsPage};
use super::problem::Problem;
use super::read::{ReadError, Rows, read};
use crate::pricing::{
    Course, Setting, SignalTexts, TariffFormat, language, read_contract, read_rules, words,
};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use novax_charging::rows::{self, PricedRow, TermsRow, priced_key};
use novax_charging::{Keyspace, PutPriced};
use novax_model::{Identity, PartitionId, Timestamp, WattHours};
use novax_tariff::lint::lint;
use novax_tariff::rules::RuleBook;
use novax_tariff::simulate::{LEGS_MAX, Leg};
use novax_tariff::{Language, Tariff};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_tariffs))
        .routes(routes!(get_tariff, put_tariff))
        .routes(routes!(written))
        .routes(routes!(lint_tariff))
        .routes(routes!(explain_tariff))
        .routes(routes!(simulate_tariff))
        .routes(routes!(list_contracts))
        .routes(routes!(get_contract, put_contract))
        .routes(routes!(list_rules))
        .routes(routes!(get_rules, put_rules))
        .routes(routes!(terms))
}

/// Names that are routes of their own.
const TAKEN: [&str; 3] = ["lint", "explain", "simulate"];

/// What is kept under a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Tariff = 0,
    Contract = 1,
    Rules = 2,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Tariff => "tariff",
            Kind::Contract => "contract",
            Kind::Rules => "rule book",
        }
    }

    fn of(terms: &TermsRow) -> Kind {
        match terms {
            TermsRow::Tariff(_) => Kind::Tariff,
            TermsRow::Contract(_) => Kind::Contract,
            TermsRow::Rules(_) => Kind::Rules,
        }
    }
}

/// What a tariff, contract or rule book says, for people.
#[derive(Debug, Serialize, ToSchema)]
struct WordsView {
    /// English.
    en: String,
    /// German; contracts and rule books as in English.
    de: String,
    /// Chinese; contracts and rule books as in English.
    zh: String,
}

impl WordsView {
    fn new(terms: &TermsRow) -> WordsView {
        let [en, de, zh] = Language::ALL.map(|language| words(terms, language));
        WordsView { en, de, zh }
    }
}

/// A tariff, contract or rule book under its name.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DocumentView {
    /// Its name.
    id: String,
    /// `tariff`, `contract` or `rule book`.
    kind: &'static str,
    /// How `source` is written: `ocpi-2.2.1`, `ocpi-2.3.0`, `ocpp-2.1`, `toml`, `json` or `pricing`.
    format: String,
    /// The hash under which sites and sessions have it.
    hash: String,
    /// ISO 4217 code of its amounts.
    currency: String,
    /// When it was put.
    put: String,
    /// The text as it came.
    source: String,
    /// What it says.
    words: WordsView,
}

impl DocumentView {
    fn new(row: &PricedRow) -> DocumentView {
        DocumentView {
            id: row.id.to_string(),
            kind: Kind::of(&row.terms).word(),
            format: row.format.to_string(),
            hash: row.hash.to_string(),
            currency: currency_of(&row.terms),
            put: row.put.to_rfc3339(),
            source: row.source.to_string(),
            words: WordsView::new(&row.terms),
        }
    }
}

fn currency_of(terms: &TermsRow) -> String {
    match terms {
        TermsRow::Tariff(tariff) => tariff.currency,
        TermsRow::Contract(contract) => contract.currency,
        TermsRow::Rules(book) => book.currency,
    }
    .code()
    .to_owned()
}

/// The documents of a site to be, by name.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub tariff: Option<Identity>,
    pub contract: Option<Identity>,
    pub rules: Option<Identity>,
}

/// What they say.
#[derive(Debug, Default)]
pub(super) struct Documents {
    pub tariff: Option<Tariff>,
    pub contract: Option<novax_settlement::RevenueContract>,
    pub rules: Option<RuleBook>,
}

/// Reads documents by name.
pub(super) async fn documents(api: &Api, wanted: Wanted) -> Result<Documents, Problem> {
    let mut found = Documents::default();
    if let Some(id) = wanted.tariff
        && let TermsRow::Tariff(tariff) = document(api, Kind::Tariff, &id).await?.terms
    {
        found.tariff = Some(tariff);
    }
    if let Some(id) = wanted.contract
        && let TermsRow::Contract(contract) = document(api, Kind::Contract, &id).await?.terms
    {
        found.contract = Some(contract);
    }
    if let Some(id) = wanted.rules
        && let TermsRow::Rules(rules) = document(api, Kind::Rules, &id).await?.terms
    {
        found.rules = Some(rules);
    }
    Ok(found)
}

async fn document(api: &Api, kind: Kind, id: &Identity) -> Result<PricedRow, Problem> {
    let home = PartitionId::of_directory(id.as_str(), api.control().partitions());
    let key = priced_key(kind as u8, id);
    let found = read(api.control(), false, move |rows| {
        rows.get(home, Keyspace::Priced, &key, rows::read::<PricedRow>)
    });
    found.await?.ok_or_else(|| Problem::not_found(kind.word(), id.as_str()))
}

async fn page(
    api: &Api,
    params: &PageParams,
    kind: Kind,
) -> Result<Json<ResultsPage<DocumentView>>, Problem> {
    let want = params.want(Keyspace::Priced)?;
    let page = read(api.control(), false, move |rows| {
        rows.page(&want, &[kind as u8], |found| {
            let row = rows::read::<PricedRow>(found.value)?;
            Ok(Some(DocumentView::new(&row)))
        })
    });
    Ok(Json(page.await?))
}

async fn one(api: &Api, kind: Kind, id: &str) -> Result<Json<DocumentView>, Problem> {
    let row = document(api, kind, &identity(kind.word(), id)?).await?;
    Ok(Json(DocumentView::new(&row)))
}

async fn keep(
    api: &Api,
    id: &str,
    format: &str,
    source: String,
    terms: TermsRow,
) -> Result<Json<DocumentView>, Problem> {
    let kind = Kind::of(&terms);
    let id = Identity::new(id).map_err(|error| Problem::unprocessable(error.to_string()))?;
    let put = PutPriced { id: id.clone(), format: format.into(), source: source.into(), terms };
    api.control().put_priced(put).await?;
    one(api, kind, id.as_str()).await
}

fn wrong(code: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
}

fn bad_tariff(error: impl std::fmt::Display) -> Problem {
    wrong("invalid_tariff", error.to_string())
}

/// A text of a document must be about the document of its path.
fn same_id(kind: Kind, path: &str, text: &str) -> Result<(), Problem> {
    if path == text {
        return Ok(());
    }
    let kind = kind.word();
    Err(Problem::unprocessable(format!("id: the text is about {kind} {text:?}, not {path:?}")))
}

/// How a tariff is written.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct FormatParams {
    /// `ocpi-2.2.1`, `ocpi-2.3.0` or `ocpp-2.1`; absent: by its fields.
    format: Option<String>,
    /// The language of the words: `en`, `de` or `zh`; absent: `en`.
    language: Option<String>,
}

impl FormatParams {
    fn format(&self, text: &str) -> Result<TariffFormat, Problem> {
        match self.format.as_deref() {
            Some(name) => format_named(name),
            None => Ok(TariffFormat::guess(text)),
        }
    }

    fn language(&self) -> Result<Language, Problem> {
        language(self.language.as_deref().unwrap_or("en")).map_err(Problem::unprocessable)
    }
}

fn format_named(name: &str) -> Result<TariffFormat, Problem> {
    TariffFormat::named(name).ok_or_else(|| {
        let known = TariffFormat::ALL.map(TariffFormat::name).join(", ");
        Problem::unprocessable(format!("there is no format {name:?}: {known}"))
    })
}

/// Tariffs by name.
#[utoipa::path(get, path = "/v1/tariffs", tag = "tariffs", params(PageParams),
    operation_id = "list_tariffs", responses((status = 200, body = ResultsPage<DocumentView>)))]
async fn list_tariffs(
    State(api): State<Api>,
    Params(params): Params<PageParams>,
) -> Result<Json<ResultsPage<DocumentView>>, Problem> {
    page(&api, &params, Kind::Tariff).await
}

/// One tariff: the text as it came, its hash, and what it says in words.
#[utoipa::path(get, path = "/v1/tariffs/{id}", tag = "tariffs", operation_id = "get_tariff",
    params(("id" = String, Path, description = "The tariff's id")),
    responses((status = 200, body = DocumentView)))]
async fn get_tariff(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<DocumentView>, Problem> {
    one(&api, Kind::Tariff, &id).await
}

/// Makes or replaces a tariff: an OCPI or OCPP tariff object. Sites have it from when they are put with
/// it; a tariff that is replaced changes no price by itself.
#[utoipa::path(put, path = "/v1/tariffs/{id}", tag = "tariffs", operation_id = "put_tariff",
    params(("id" = String, Path, description = "The tariff's id, as in its text"), FormatParams),
    request_body(content = Value, content_type = "application/json"),
    responses((status = 200, body = DocumentView)))]
async fn put_tariff(
    State(api): State<Api>,
    Path(id): Path<String>,
    Params(params): Params<FormatParams>,
    Text(text): Text,
) -> Result<Json<DocumentView>, Problem> {
    if TAKEN.contains(&id.as_str()) {
        return Err(Problem::unprocessable(format!("{id:?} is no name for a tariff")));
    }
    let format = params.format(&text)?;
    let (tariff, _) = format.read(&text).map_err(bad_tariff)?;
    same_id(Kind::Tariff, &id, &tariff.id)?;
    keep(&api, &id, format.name(), text, TermsRow::Tariff(tariff)).await
}

/// A tariff written anew from what is kept of it, as a partner or a station reads it.
#[utoipa::path(get, path = "/v1/tariffs/{id}/{format}", tag = "tariffs",
    operation_id = "write_tariff",
    params(("id" = String, Path, description = "The tariff's id"),
        ("format" = String, Path, description = "`ocpi-2.2.1`, `ocpi-2.3.0` or `ocpp-2.1`")),
    responses((status = 200, body = Value)))]
async fn written(
    State(api): State<Api>,
    Path((id, format)): Path<(String, String)>,
) -> Result<impl IntoResponse, Problem> {
    let format = format_named(&format)?;
    let row = document(&api, Kind::Tariff, &identity("tariff", &id)?).await?;
    let TermsRow::Tariff(tariff) = row.terms else {
        return Err(Problem::not_found("tariff", &id));
    };
    let text = format.write(&tariff).map_err(bad_tariff)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text))
}

/// What a look at a tariff found.
#[derive(Debug, Serialize, ToSchema)]
struct LintView {
    /// How it was read.
    format: &'static str,
    /// Fields that the format does not have; nothing here reads them.
    unknown_fields: Vec<String>,
    /// In the tariff's order: `code`, `severity` (`hint`, `warning`, `error`), `path`, `words` and
    /// `suggestion` each.
    #[schema(value_type = Vec<Object>)]
    findings: Vec<Value>,
}

/// Says what a tariff's author hardly meant. Nothing is kept.
#[utoipa::path(post, path = "/v1/tariffs/lint", tag = "tariffs", operation_id = "lint_tariff",
    params(FormatParams), request_body(content = Value, content_type = "application/json"),
    responses((status = 200, body = LintView)))]
async fn lint_tariff(
    Params(params): Params<FormatParams>,
    Text(text): Text,
) -> Result<Json<LintView>, Problem> {
    let format = params.format(&text)?;
    let (tariff, unknown) = format.read(&text).map_err(bad_tariff)?;
    let findings = lint(&tariff).iter().map(|finding| finding.to_json()).collect();
    Ok(Json(LintView { format: format.name(), unknown_fields: unknown.paths, findings }))
}

/// A tariff in words.
#[derive(Debug, Serialize, ToSchema)]
struct ExplainView {
    /// `en`, `de` or `zh`.
    language: &'static str,
    /// One after the other.
    sentences: Vec<String>,
}

/// Says in words what a tariff means. Nothing is kept.
#[utoipa::path(post, path = "/v1/tariffs/explain", tag = "tariffs",
    operation_id = "explain_tariff", params(FormatParams),
    request_body(content = Value, content_type = "application/json"),
    responses((status = 200, body = ExplainView)))]
async fn explain_tariff(
    Params(params): Params<FormatParams>,
    Text(text): Text,
) -> Result<Json<ExplainView>, Problem> {
    let language = params.language()?;
    let (tariff, _) = params.format(&text)?.read(&text).map_err(bad_tariff)?;
    let sentences = novax_tariff::explain::sentences(&tariff, language);
    Ok(Json(ExplainView { language: language.code(), sentences }))
}

/// A stretch of a session with one power.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LegInput {
    /// How long.
    duration_s: u32,
    /// Energy taken in it; negative when the vehicle feeds the grid.
    energy_wh: i64,
    /// Whether the vehicle charges; if not, it is parked.
    charging: bool,
}

/// A session that might be. Its tariff: `tariff` or `tariff_id`. Its rules, if any: `rules` or
/// `rules_id`. What the vehicle does: `legs`, or `energy_wh` in `charging_s`, then `parked_s`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Simulation {
    /// An OCPI or OCPP tariff object.
    #[schema(value_type = Option<Object>)]
    tariff: Option<Box<RawValue>>,
    /// The id of a tariff that is kept.
    #[schema(value_type = Option<String>)]
    tariff_id: Option<Identity>,
    /// `ocpi-2.2.1`, `ocpi-2.3.0` or `ocpp-2.1`; absent: by the fields of `tariff`.
    format: Option<String>,
    /// The text of a rule book.
    rules: Option<String>,
    /// The id of a rule book that is kept.
    #[schema(value_type = Option<String>)]
    rules_id: Option<Identity>,
    /// What the place says, for the rules.
    #[serde(default)]
    signals: SignalTexts,
    /// The site's name, for the rules.
    #[serde(default)]
    site: String,
    /// IANA name of the clock on its wall; UTC when absent.
    #[schema(example = "Europe/Berlin")]
    zone: Option<String>,
    /// When it starts, RFC 3339; now when absent.
    start: Option<String>,
    /// Stretch by stretch.
    legs: Option<Vec<LegInput>>,
    /// Energy taken.
    energy_wh: Option<i64>,
    /// How long it takes it.
    charging_s: Option<u32>,
    /// How long it stays plugged in afterwards.
    parked_s: Option<u32>,
    /// The language of the words: `en`, `de` or `zh`; `en` when absent.
    language: Option<String>,
}

impl Simulation {
    fn legs(&self) -> Result<Vec<Leg>, Problem> {
        let Some(legs) = &self.legs else {
            let energy = WattHours(self.energy_wh.unwrap_or(0));
            let (charging_s, parked_s) = (self.charging_s.unwrap_or(0), self.parked_s.unwrap_or(0));
            if energy.0 != 0 && charging_s == 0 {
                return Err(Problem::unprocessable("charging_s: energy takes time"));
            }
            if u64::from(charging_s) > novax_tariff::simulate::DURATION_MAX_S {
                return Err(Problem::unprocessable("charging_s: longer than a month"));
            }
            return Ok(Course { energy, charging_s, parked_s }.legs());
        };
        if self.energy_wh.is_some() || self.charging_s.is_some() || self.parked_s.is_some() {
            return Err(Problem::unprocessable("name either legs or energy_wh and its times"));
        }
        if legs.len() > LEGS_MAX {
            return Err(Problem::unprocessable(format!("legs: more than {LEGS_MAX}")));
        }
        let leg = |leg: &LegInput| Leg {
            duration_s: leg.duration_s,
            energy_wh: leg.energy_wh,
            charging: leg.charging,
        };
        Ok(legs.iter().map(leg).collect())
    }

    fn setting(&self) -> Result<Setting, Problem> {
        let start = match self.start.as_deref() {
            Some(text) => time("start", text)?,
            None => now(),
        };
        Ok(Setting {
            zone: self.zone.clone().unwrap_or_else(|| "UTC".to_owned()),
            start,
            site: self.site.clone(),
            signals: self.signals.clone(),
            language: language(self.language.as_deref().unwrap_or("en"))
                .map_err(Problem::unprocessable)?,
        })
    }
}

/// Reads a time of a request.
pub(super) fn time(field: &str, text: &str) -> Result<Timestamp, Problem> {
    Timestamp::parse_rfc3339(text)
        .map_err(|error| Problem::unprocessable(format!("{field}: {error}")))
}

/// Says what a session would cost: the same rating as for a real one. Nothing is kept. The report has
/// `total`, `lines`, `periods`, the total as it `running` grew, what the `rules` did and why, and what
/// there is to say of the tariff.
#[utoipa::path(post, path = "/v1/tariffs/simulate", tag = "tariffs",
    operation_id = "simulate_tariff", request_body = Simulation,
    responses((status = 200, body = Value)))]
async fn simulate_tariff(
    State(api): State<Api>,
    Body(body): Body<Simulation>,
) -> Result<Json<Value>, Problem> {
    let (legs, setting) = (body.legs()?, body.setting()?);
    let wanted = Wanted { tariff: body.tariff_id, contract: None, rules: body.rules_id };
    let kept = documents(&api, wanted).await?;
    let given = match &body.tariff {
        Some(raw) => {
            let format = match body.format.as_deref() {
                Some(name) => format_named(name)?,
                None => TariffFormat::guess(raw.get()),
            };
            Some(format.read(raw.get()).map_err(bad_tariff)?.0)
        }
        None => None,
    };
    let (Some(tariff), None) = (match (given, kept.tariff) {
        (None, kept) => (kept, None),
        (given, kept) => (given, kept),
    }) else {
        return Err(Problem::unprocessable("name either a tariff or a tariff_id"));
    };
    let rules = match (body.rules.as_deref().map(read_rules).transpose(), kept.rules) {
        (Err(error), _) => return Err(wrong("invalid_rules", error)),
        (Ok(Some(_)), Some(_)) => {
            return Err(Problem::unprocessable("name either rules or a rules_id"));
        }
        (Ok(given), kept) => given.or(kept),
    };
    // A month in legs of seconds is work that must not keep others waiting.
    let report = tokio::task::spawn_blocking(move || {
        setting.simulate(&tariff, rules.as_ref(), &legs).map(|report| report.to_json())
    });
    match report.await {
        Ok(report) => report.map(Json).map_err(Problem::unprocessable),
        Err(error) => {
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "simulation", error.to_string()))
        }
    }
}

/// Revenue contracts by name.
#[utoipa::path(get, path = "/v1/contracts", tag = "contracts", params(PageParams),
    operation_id = "list_contracts", responses((status = 200, body = ResultsPage<DocumentView>)))]
async fn list_contracts(
    State(api): State<Api>,
    Params(params): Params<PageParams>,
) -> Result<Json<ResultsPage<DocumentView>>, Problem> {
    page(&api, &params, Kind::Contract).await
}

/// One revenue contract.
#[utoipa::path(get, path = "/v1/contracts/{id}", tag = "contracts", operation_id = "get_contract",
    params(("id" = String, Path, description = "The contract's id")),
    responses((status = 200, body = DocumentView)))]
async fn get_contract(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<DocumentView>, Problem> {
    one(&api, Kind::Contract, &id).await
}

/// Makes or replaces a revenue contract, in TOML or JSON. Sites have it from when they are put with it.
#[utoipa::path(put, path = "/v1/contracts/{id}", tag = "contracts", operation_id = "put_contract",
    params(("id" = String, Path, description = "The contract's id, as in its text")),
    request_body(content = String, content_type = "text/plain"),
    responses((status = 200, body = DocumentView)))]
async fn put_contract(
    State(api): State<Api>,
    Path(id): Path<String>,
    Text(text): Text,
) -> Result<Json<DocumentView>, Problem> {
    let (contract, format) =
        read_contract(&text).map_err(|error| wrong("invalid_contract", error))?;
    same_id(Kind::Contract, &id, contract.id.as_str())?;
    keep(&api, &id, format, text, TermsRow::Contract(contract)).await
}

/// Rule books by name.
#[utoipa::path(get, path = "/v1/rules", tag = "rules", params(PageParams),
    operation_id = "list_rules", responses((status = 200, body = ResultsPage<DocumentView>)))]
async fn list_rules(
    State(api): State<Api>,
    Params(params): Params<PageParams>,
) -> Result<Json<ResultsPage<DocumentView>>, Problem> {
    page(&api, &params, Kind::Rules).await
}

/// One rule book.
#[utoipa::path(get, path = "/v1/rules/{id}", tag = "rules", operation_id = "get_rules",
    params(("id" = String, Path, description = "The name it was put under")),
    responses((status = 200, body = DocumentView)))]
async fn get_rules(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<DocumentView>, Problem> {
    one(&api, Kind::Rules, &id).await
}

/// Makes or replaces a rule book: its text. Sites have it from when they are put with it.
#[utoipa::path(put, path = "/v1/rules/{id}", tag = "rules", operation_id = "put_rules",
    params(("id" = String, Path, description = "A name for it")),
    request_body(content = String, content_type = "text/plain"),
    responses((status = 200, body = DocumentView)))]
async fn put_rules(
    State(api): State<Api>,
    Path(id): Path<String>,
    Text(text): Text,
) -> Result<Json<DocumentView>, Problem> {
    let book = read_rules(&text).map_err(|error| wrong("invalid_rules", error))?;
    keep(&api, &id, "pricing", text, TermsRow::Rules(book)).await
}

/// Terms as a site or a session has them.
#[derive(Debug, Serialize, ToSchema)]
struct TermsView {
    /// Their hash.
    hash: String,
    /// `tariff`, `contract` or `rule book`.
    kind: &'static str,
    /// ISO 4217 code of their amounts.
    currency: String,
    /// What they say.
    words: WordsView,
    /// A tariff as OCPI 2.3.0 says it; absent for others, and for what OCPI has no words for.
    #[schema(value_type = Option<Object>)]
    ocpi: Option<Box<RawValue>>,
}

/// What a site's or session's hash of a tariff, contract or rule book stands for. It never changes.
#[utoipa::path(get, path = "/v1/terms/{hash}", tag = "tariffs", operation_id = "get_terms",
    params(("hash" = String, Path, description = "32 hexadecimal digits")),
    responses((status = 200, body = TermsView)))]
async fn terms(
    State(api): State<Api>,
    Path(hash): Path<String>,
) -> Result<Json<TermsView>, Problem> {
    let unknown = || Problem::not_found("hash of terms", &hash);
    let number = super::views::session_id(&hash).ok_or_else(unknown)?.0;
    let found = read(api.control(), false, move |rows| find_terms(rows, number)).await?;
    let terms = found.ok_or_else(unknown)?;
    let ocpi = match &terms {
        TermsRow::Tariff(tariff) => TariffFormat::Ocpi230.write(tariff).ok(),
        TermsRow::Contract(_) | TermsRow::Rules(_) => None,
    };
    Ok(Json(TermsView {
        hash: terms.hash().to_string(),
        kind: Kind::of(&terms).word(),
        currency: currency_of(&terms),
        words: WordsView::new(&terms),
        ocpi: ocpi.and_then(|text| RawValue::from_string(text).ok()),
    }))
}

fn find_terms(rows: &Rows, number: u128) -> Result<Option<TermsRow>, ReadError> {
    for kind in [Kind::Tariff, Kind::Contract, Kind::Rules] {
        let key = [&[kind as u8][..], &number.to_be_bytes()].concat();
        if let Some((_, terms)) = rows.find(Keyspace::Terms, &key, rows::read::<TermsRow>)? {
            return Ok(Some(terms));
        }
    }
    Ok(None)
}
