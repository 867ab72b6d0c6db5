//! Drivers: tokens, wallets, deposits.

use super::Api;
use super::extract::{Body, IdempotencyKey, Params, identity};
use super::page::{PageParams, ResultsPage};
use super::problem::{Problem, keyed};
use super::read::{ReadError, Rows, read};
use super::sessions::of_caller;
use super::sites::home;
use super::views::{DriverView, Money, MoneyInput, currency};
use axum::Json;
use axum::extract::{Path, State};
use novax_charging::rows::{self, DriverRow};
use novax_charging::{Card, Funding, Keyspace};
use novax_ledger::Account;
use novax_model::{Identity, PartitionId, TokenUid};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, put)).routes(routes!(get)).routes(routes!(deposit))
}

/// Drivers by name.
#[utoipa::path(get, path = "/v1/drivers", tag = "drivers", params(PageParams),
    operation_id = "list_drivers", responses((status = 200, body = ResultsPage<DriverView>)))]
async fn list(
    State(api): State<Api>,
    Params(params): Params<PageParams>,
) -> Result<Json<ResultsPage<DriverView>>, Problem> {
    let want = params.want(Keyspace::Drivers)?;
    let page = read(api.control(), false, move |rows| {
        rows.page(&want, &[], |found| {
            let row = rows::read::<DriverRow>(found.value)?;
            Ok(Some(with_wallet(rows, found.partition, &row)?))
        })
    });
    Ok(Json(page.await?))
}

fn with_wallet(
    rows: &Rows,
    partition: PartitionId,
    row: &DriverRow,
) -> Result<DriverView, ReadError> {
    let key = row.wallet.0.to_be_bytes();
    let wallet = rows.get(partition, Keyspace::Accounts, &key, rows::read::<Account>)?;
    Ok(DriverView::new(partition, row, wallet.as_ref()))
}

/// One driver.
#[utoipa::path(get, path = "/v1/drivers/{id}", tag = "drivers", operation_id = "get_driver",
    params(("id" = String, Path, description = "The driver's name")),
    responses((status = 200, body = DriverView)))]
async fn get(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<DriverView>, Problem> {
    Ok(Json(driver(&api, identity("driver", &id)?).await?))
}

pub(super) async fn driver(api: &Api, driver: Identity) -> Result<DriverView, Problem> {
    let id = driver.to_string();
    let found = read(api.control(), false, move |rows| {
        let key = driver.as_str().as_bytes();
        let found = rows.find(Keyspace::Drivers, key, rows::read::<DriverRow>)?;
        found.map(|(partition, row)| with_wallet(rows, partition, &row)).transpose()
    });
    found.await?.ok_or_else(|| Problem::not_found("driver", &id))
}

/// A driver to make or change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PutDriver {
    /// The driver's name.
    #[schema(value_type = String, example = "anna")]
    driver: Identity,
    /// What the driver shows to stations, at most 64; added to those there are.
    #[schema(value_type = Vec<String>, max_items = 64)]
    tokens: Vec<TokenUid>,
    /// The wallet's currency; must not change.
    #[schema(example = "EUR")]
    currency: String,
    /// A blocked driver starts nothing.
    #[serde(default)]
    blocked: bool,
    /// The partition for a new driver; by default chosen by the name.
    partition: Option<u16>,
    /// What pays for charges from now on; absent: what did before, at first the wallet.
    funding: Option<FundingInput>,
}

/// What a driver pays with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "lowercase")]
enum FundingInput {
    /// The prepaid wallet.
    Wallet,
    /// A card at the payment provider, by the provider's names.
    Card {
        /// The means of payment, such as Stripe's `pm_...`.
        method: String,
        /// The customer record it belongs to, such as Stripe's `cus_...`.
        customer: Option<String>,
    },
}

fn funding(api: &Api, input: FundingInput) -> Result<Funding, Problem> {
    let FundingInput::Card { method, customer } = input else { return Ok(Funding::Wallet) };
    let Some(payments) = api.payments() else {
        let detail = "no payment provider is configured";
        return Err(Problem::conflict("payments_not_configured", detail));
    };
    let provider = payments.name().into();
    let card = Card { provider, method: method.into(), customer: customer.map(Into::into) };
    if !card.is_sound() {
        return Err(Problem::unprocessable("the card's names are no names of a provider"));
    }
    Ok(Funding::Card(card))
}

const TOKENS_MAX: usize = 64;

/// Makes a driver with a wallet, or adds tokens, or blocks.
#[utoipa::path(post, path = "/v1/drivers", tag = "drivers", request_body = PutDriver,
    operation_id = "put_driver", responses((status = 200, body = DriverView)))]
async fn put(
    State(api): State<Api>,
    Body(body): Body<PutDriver>,
) -> Result<Json<DriverView>, Problem> {
    if body.tokens.len() > TOKENS_MAX {
        return Err(Problem::unprocessable("more than 64 tokens"));
    }
    let (home, currency) = (home(&api, body.partition)?, currency(&body.currency)?);
    let control = api.control();
    let funding = body.funding.map(|input| funding(&api, input)).transpose()?;
    let mut salt = [0; 32];
    getrandom::fill(&mut salt).expect("the system has random bytes");
    let (name, tokens) = (&body.driver, body.tokens);
    control.put_driver(name, salt, tokens, currency, body.blocked, home).await?;
    if let Some(funding) = funding {
        control.put_funding(&body.driver, funding).await?;
    }
    Ok(Json(driver(&api, body.driver).await?))
}

/// Money from outside.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Deposit {
    /// How much, in the wallet's currency.
    amount: MoneyInput,
}

/// What a deposit came to.
#[derive(Debug, Serialize, ToSchema)]
struct Deposited {
    /// What can be spent or held now.
    available: Money,
}

/// Books money from outside into a driver's wallet. The same key and amount again book nothing.
#[utoipa::path(post, path = "/v1/drivers/{id}/deposits", tag = "drivers",
    operation_id = "deposit", request_body = Deposit,
    params(("id" = String, Path, description = "The driver's name"),
        ("Idempotency-Key" = String, Header, description = "Chosen by the client, 1 to 128 characters")),
    responses((status = 200, body = Deposited)))]
async fn deposit(
    State(api): State<Api>,
    Path(id): Path<String>,
    IdempotencyKey(key): IdempotencyKey,
    Body(body): Body<Deposit>,
) -> Result<Json<Deposited>, Problem> {
    let name = identity("driver", &id)?;
    let (amount, currency) = body.amount.amount()?;
    if amount == 0 {
        return Err(Problem::unprocessable("a deposit of nothing"));
    }
    let wallet = driver(&api, name.clone()).await?.available.currency;
    if wallet != currency.code() {
        let detail = format!("the wallet is in {wallet}");
        return Err(Problem::conflict("currency_mismatch", detail));
    }
    let available = api.control().deposit(&of_caller(&key), &name, amount).await.map_err(keyed)?;
    Ok(Json(Deposited { available: Money::new(available, currency) }))
}
