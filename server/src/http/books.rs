//! The books: accounts and transfers of all partitions, read only.

use super::Api;
use super::extract::Params;
use super::page::{PageParams, ResultsPage, Want};
use super::problem::Problem;
use super::read::read;
use super::views::{AccountView, TransferView, parse_row_id};
use axum::Json;
use axum::extract::{Path, State};
use novax_charging::Keyspace;
use novax_charging::rows;
use novax_ledger::{Account, JournalRow};
use novax_model::{AccountId, PartitionId};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(accounts))
        .routes(routes!(account))
        .routes(routes!(transfers))
}

/// Accounts of all partitions, by id.
#[utoipa::path(get, path = "/v1/accounts", tag = "books", params(PageParams),
    operation_id = "list_accounts", responses((status = 200, body = ResultsPage<AccountView>)))]
async fn accounts(
    State(api): State<Api>,
    Params(params): Params<PageParams>,
) -> Result<Json<ResultsPage<AccountView>>, Problem> {
    let want = params.want(Keyspace::Accounts)?;
    let page = read(api.control(), false, move |rows| {
        rows.page(&want, &[], |found| {
            let row = rows::read::<Account>(found.value)?;
            Ok(Some(AccountView::new(found.partition, &row)))
        })
    });
    Ok(Json(page.await?))
}

fn account_id(text: &str) -> Option<(PartitionId, AccountId)> {
    let (partition, id) = parse_row_id(text)?;
    let hex = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = hex.then(|| u128::from_str_radix(id, 16).ok()).flatten()?;
    Some((partition, AccountId(id)))
}

/// One account.
#[utoipa::path(get, path = "/v1/accounts/{id}", tag = "books", operation_id = "get_account",
    params(("id" = String, Path, description = "Partition, a dot, and the account's id")),
    responses((status = 200, body = AccountView)))]
async fn account(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<AccountView>, Problem> {
    let unknown = || Problem::not_found("account", &id);
    let (partition, account) = account_id(&id).ok_or_else(unknown)?;
    let found = read(api.control(), false, move |rows| {
        let key = account.0.to_be_bytes();
        rows.get(partition, Keyspace::Accounts, &key, rows::read::<Account>)
    });
    let row = found.await?.ok_or_else(unknown)?;
    Ok(Json(AccountView::new(partition, &row)))
}

/// Which transfers.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TransferParams {
    /// Items at most: 1 to 1000, 100 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// `next_page` of the page before; absent for the first.
    page_token: Option<String>,
    /// Only those that debit or credit this account.
    account: Option<String>,
}

/// The journals of all partitions, by number: close to the order in time.
#[utoipa::path(get, path = "/v1/transfers", tag = "books", params(TransferParams),
    operation_id = "list_transfers", responses((status = 200, body = ResultsPage<TransferView>)))]
async fn transfers(
    State(api): State<Api>,
    Params(params): Params<TransferParams>,
) -> Result<Json<ResultsPage<TransferView>>, Problem> {
    let want = Want::new(params.limit, params.page_token.as_deref(), Keyspace::Transfers)?;
    let account = match params.account.as_deref() {
        None => None,
        Some(text) => Some(account_id(text).ok_or_else(|| Problem::not_found("account", text))?),
    };
    let page = read(api.control(), false, move |rows| {
        rows.page(&want, &[], |found| {
            let row = rows::read::<JournalRow>(found.value)?;
            let wanted = account.is_none_or(|(partition, account)| {
                partition == found.partition && (row.debit == account || row.credit == account)
            });
            Ok(wanted.then(|| TransferView::new(found.partition, &row)))
        })
    });
    Ok(Json(page.await?))
}
