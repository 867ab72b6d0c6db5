//! Makes what the fleet needs at the hub: sites, stations, drivers with money. Whatever is there
//! already stays; running a fleet twice makes nothing twice.

use super::api::{Api, ApiError, CONCURRENCY, Request};
use super::car::Outlet;
use super::charger::ConnectorSetup;
use super::random::Random;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use novax_model::Timestamp;
use serde_json::{Value, json};

/// Stations of a site.
const STATIONS_PER_SITE: u32 = 10;
/// What a site may draw: less than its stations want, so that sharing it matters.
const SITE_LIMIT_W: u32 = 110_000;
/// One driver in so many has the wallet in another partition than the station.
const GUESTS: u32 = 5;
/// Below this a wallet is topped up, by this much. In cents.
const WALLET_LOW: u64 = 20_000;
const DEPOSIT: u64 = 100_000;

/// A station of the fleet, as the hub knows it.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) identity: String,
    /// `true`: direct current.
    pub(super) fast: bool,
    pub(super) connectors: Vec<ConnectorSetup>,
}

/// Makes everything for so many stations.
pub(super) async fn provision(
    api: &Api,
    stations: u32,
    seed: u64,
) -> Result<Vec<Station>, ApiError> {
    let partitions = api.get("/v1/status").await?["partitions"].as_u64().unwrap_or(1).max(1);
    let sites = stations.div_ceil(STATIONS_PER_SITE);
    at_once(0..sites, |number| async move { put_site(api, number).await }).await?;
    let put = |number| async move { put_station(api, number, seed, partitions).await };
    let mut made = at_once(0..stations, put).await?;
    made.sort_unstable_by(|a, b| a.identity.cmp(&b.identity));
    Ok(made)
}

/// Does the same for each number, several at a time; stops at the first failure.
async fn at_once<T, F: Future<Output = Result<T, ApiError>>>(
    numbers: std::ops::Range<u32>,
    task: impl Fn(u32) -> F,
) -> Result<Vec<T>, ApiError> {
    stream::iter(numbers).map(task).buffer_unordered(CONCURRENCY).try_collect().await
}

fn site_name(number: u32) -> String {
    format!("site-{:04}", number + 1)
}

async fn put_site(api: &Api, number: u32) -> Result<(), ApiError> {
    let site = json!({
        "site": site_name(number),
        "limit_w": SITE_LIMIT_W,
        "tariff": {
            "currency": "EUR", "energy_millis_per_kwh": 39_500, "session_fee_minor": "50",
            "tax_basis_points": 1_900, "hold_minor": "2000",
        },
        "split": { "site_host_basis_points": 1_000, "platform_basis_points": 500 },
    });
    api.post("/v1/sites", &site).await.map(drop)
}

async fn put_station(
    api: &Api,
    number: u32,
    seed: u64,
    partitions: u64,
) -> Result<Station, ApiError> {
    let identity = format!("CP-{:06}", number + 1);
    let site = site_name(number / STATIONS_PER_SITE);
    let station = json!({ "station": identity, "site": site });
    let known = api.post("/v1/stations", &station).await?;
    let home = known["partition"].as_u64().unwrap_or(0);
    // Not from the stream that the charger itself draws from.
    let mut random = Random::new(!seed, u64::from(number));
    let fast = random.chance(40);
    let (outlet, power_w_max) = match fast {
        true => (Outlet::Direct, random.pick(&[50_000, 50_000, 100_000, 150_000])),
        false => (Outlet::Alternating, random.pick(&[11_000, 22_000])),
    };
    let mut connectors = Vec::new();
    for evse in 1..=if fast && power_w_max > 50_000 { 1 } else { 2 } {
        let person = number * 2 + evse;
        let guest = person.is_multiple_of(GUESTS);
        let partition = if guest { (home + 1) % partitions } else { home };
        let (driver, token) = put_driver(api, person, partition).await?;
        let register_wh = register(&known, evse);
        connectors.push(ConnectorSetup { outlet, power_w_max, driver, token, register_wh });
    }
    Ok(Station { identity, fast, connectors })
}

/// Where the meter of an EVSE stood when the hub last heard of it: a real one keeps its register.
fn register(station: &Value, evse: u32) -> u64 {
    let connectors = station["connectors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_evse = |connector: &&Value| connector["evse"].as_u64() == Some(u64::from(evse));
    let found = connectors.iter().find(of_evse);
    found.and_then(|connector| connector["live"]["energy_wh"].as_u64()).unwrap_or(0)
}

async fn put_driver(api: &Api, number: u32, partition: u64) -> Result<(String, String), ApiError> {
    let (driver, token) = (format!("driver-{number:04}"), format!("TAG-{number:06}"));
    let body = json!({
        "driver": driver, "tokens": [token], "currency": "EUR", "partition": partition,
    });
    let known = api.post("/v1/drivers", &body).await?;
    top_up_when_low(api, &driver, &known).await?;
    Ok((driver, token))
}

/// Looks into a wallet and puts something in if there is little.
pub(super) async fn top_up(api: &Api, driver: &str) -> Result<(), ApiError> {
    let known = api.get(&format!("/v1/drivers/{driver}")).await?;
    top_up_when_low(api, driver, &known).await
}

async fn top_up_when_low(api: &Api, driver: &str, known: &Value) -> Result<(), ApiError> {
    let available = known["available"]["minor"].as_str().and_then(|minor| minor.parse().ok());
    if available.unwrap_or(0) >= WALLET_LOW {
        return Ok(());
    }
    let key = format!("fleet-{driver}-{}", now().0);
    let body = json!({ "amount": { "minor": DEPOSIT.to_string(), "currency": "EUR" } });
    let path = format!("/v1/drivers/{driver}/deposits");
    let request =
        Request { method: "POST", path: &path, idempotency_key: Some(&key), body: Some(&body) };
    api.call(request).await.map(drop)
}

/// The clock of this machine.
pub(super) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let micros = since.map_or(0, |since| since.as_micros());
    Timestamp(u64::try_from(micros).unwrap_or(u64::MAX))
}
