//! For the finance team: exchange rates, the end of a period, debts given up, money paid out.

use super::Api;
use super::extract::{Body, IdempotencyKey, identity};
use super::problem::{Problem, keyed};
use super::sessions::of_caller;
use super::tariffs::time as stamp;
use super::views::{Money, MoneyInput, currency};
use axum::Json;
use axum::extract::{Path, State};
use novax_model::Timestamp;
use novax_settlement::Rate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(put_rate))
        .routes(routes!(close_books))
        .routes(routes!(write_off))
        .routes(routes!(pay_out))
}

/// An exchange rate: so much of `quote` for one of `base`.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RateInput {
    /// Its name on every posting made with it.
    #[schema(example = "ecb-2026-11-20-EUR-SEK")]
    id: String,
    /// ISO 4217 code of what is given.
    #[schema(example = "EUR")]
    base: String,
    /// ISO 4217 code of what comes back.
    #[schema(example = "SEK")]
    quote: String,
    /// Major units of `quote` for one of `base`, in decimal digits.
    #[schema(example = "11.0425", pattern = "^[0-9]{1,12}(\\.[0-9]{1,12})?$")]
    rate: String,
    /// What the house keeps of each conversion, in millionths.
    #[serde(default)]
    spread_ppm: u32,
    /// From when on it may be used (RFC 3339).
    from: String,
    /// Until when, exclusive; for ever when absent.
    until: Option<String>,
    /// Who published it.
    source: String,
}

fn decimal(text: &str) -> Option<(u64, u8)> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    let sound = !whole.is_empty() && digits(whole) && digits(part) && part.len() <= 12;
    let mantissa = format!("{whole}{part}").parse().ok()?;
    sound.then_some((mantissa, u8::try_from(part.len()).ok()?))
}

/// Puts an exchange rate in force, in every partition. Sessions that run keep the rate they have.
#[utoipa::path(post, path = "/v1/fx-rates", tag = "finance", request_body = RateInput,
    operation_id = "put_fx_rate", responses((status = 200, body = RateInput)))]
async fn put_rate(
    State(api): State<Api>,
    Body(body): Body<RateInput>,
) -> Result<Json<RateInput>, Problem> {
    let (mantissa, scale) = decimal(&body.rate)
        .ok_or_else(|| Problem::unprocessable("rate: digits and at most one point"))?;
    let rate = Rate {
        id: body.id.as_str().into(),
        base: currency(&body.base)?,
        quote: currency(&body.quote)?,
        mantissa,
        scale,
        spread_ppm: body.spread_ppm,
        from: stamp("from", &body.from)?,
        until: body.until.as_deref().map_or(Ok(Timestamp::MAX), |text| stamp("until", text))?,
        source: body.source.as_str().into(),
    };
    rate.check().map_err(|error| Problem::unprocessable(error.to_string()))?;
    api.control().put_fx_rate(rate).await?;
    Ok(Json(body))
}

/// The end of a period.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Period {
    /// What is valued before this time is final (RFC 3339); it must be over.
    until: String,
}

/// Closes the books of every partition up to a time. What is booked later counts from then on. Sent
/// again it does what was left undone, and no more.
#[utoipa::path(post, path = "/v1/books/close", tag = "finance", request_body = Period,
    operation_id = "close_books", responses((status = 200, body = Period)))]
async fn close_books(
    State(api): State<Api>,
    Body(body): Body<Period>,
) -> Result<Json<Period>, Problem> {
    api.control().close_books(stamp("until", &body.until)?).await?;
    Ok(Json(body))
}

/// A debt that is given up.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WriteOff {
    /// How much of it, in the wallet's currency.
    amount: MoneyInput,
}

/// What was given up.
#[derive(Debug, Serialize, ToSchema)]
struct WrittenOff {
    /// How much.
    amount: Money,
}

/// Gives up a driver's debt, or a part of it. The same key and amount again book nothing.
#[utoipa::path(post, path = "/v1/drivers/{id}/write-off", tag = "finance",
    operation_id = "write_off", request_body = WriteOff,
    params(("id" = String, Path, description = "The driver's name"),
        ("Idempotency-Key" = String, Header, description = "Chosen by the client, 1 to 128 characters")),
    responses((status = 200, body = WrittenOff)))]
async fn write_off(
    State(api): State<Api>,
    Path(id): Path<String>,
    IdempotencyKey(key): IdempotencyKey,
    Body(body): Body<WriteOff>,
) -> Result<Json<WrittenOff>, Problem> {
    let name = identity("driver", &id)?;
    let (amount, currency) = body.amount.amount()?;
    if amount == 0 {
        return Err(Problem::unprocessable("a write-off of nothing"));
    }
    api.control().write_off(&of_caller(&key), &name, amount).await.map_err(keyed)?;
    Ok(Json(WrittenOff { amount: Money::new(amount, currency) }))
}

/// Money that leaves a wallet.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Payout {
    /// How much, in the wallet's currency.
    amount: MoneyInput,
}

/// What a payout came to.
#[derive(Debug, Serialize, ToSchema)]
struct PaidOut {
    /// What can be spent or held now.
    available: Money,
}

/// Books money out of a driver's wallet, back to wherever the driver wants it. The same key and amount
/// again book nothing.
#[utoipa::path(post, path = "/v1/drivers/{id}/payouts", tag = "finance",
    operation_id = "pay_out", request_body = Payout,
    params(("id" = String, Path, description = "The driver's name"),
        ("Idempotency-Key" = String, Header, description = "Chosen by the client, 1 to 128 characters")),
    responses((status = 200, body = PaidOut)))]
async fn pay_out(
    State(api): State<Api>,
    Path(id): Path<String>,
    IdempotencyKey(key): IdempotencyKey,
    Body(body): Body<Payout>,
) -> Result<Json<PaidOut>, Problem> {
    let name = identity("driver", &id)?;
    let (amount, currency) = body.amount.amount()?;
    if amount == 0 {
        return Err(Problem::unprocessable("a payout of nothing"));
    }
    let wallet = super::drivers::driver(&api, name.clone()).await?.available.currency;
    if wallet != currency.code() {
        let detail = format!("the wallet is in {wallet}");
        return Err(Problem::conflict("currency_mismatch", detail));
    }
    let available = api.control().pay_out(&of_caller(&key), &name, amount).await.map_err(keyed)?;
    Ok(Json(PaidOut { available: Money::new(available, currency) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_digits_and_a_point() {
        assert_eq!(decimal("11.0425"), Some((110_425, 4)));
        assert_eq!(decimal("7"), Some((7, 0)));
        for text in ["", ".", ".5", "-1", "1e3", "1.2.3", "1.0000000000001"] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }
}
