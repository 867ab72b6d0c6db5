//! Makes sites, stations and drivers through the HTTP API.

use crate::error::{BenchError, Result};
use crate::http::Http;
use crate::node::Node;
use crate::station::{identity, with_state_in_threads};
use serde_json::json;

/// Stations of a site.
const STATIONS_PER_SITE: u32 = 20;
/// One driver in so many has the wallet in another partition than the station.
const GUESTS: u32 = 5;
/// In cents: no wallet gets empty during a run.
const DEPOSIT: u64 = 100_000_000_000;

fn site(number: u32) -> String {
    format!("bench-{number:04}")
}

/// The token of a connector's driver. As long as every other.
pub(crate) fn token(station: u32, connector: u16) -> String {
    format!("T{station:06}{connector:02}")
}

/// Makes stations `0..count` at sites without a limit. The partition of each, in order.
pub(crate) fn stations(node: &Node, count: u32) -> Result<Vec<u64>> {
    let each = |http: &mut Http, number: u32| {
        let body = json!({
            "site": site(number),
            "tariff": {
                "currency": "EUR", "energy_millis_per_kwh": 39_500, "session_fee_minor": "50",
                "tax_basis_points": 1_900, "hold_minor": "2000",
            },
            "split": { "site_host_basis_points": 1_000, "platform_basis_points": 500 },
        });
        http.post("/v1/sites", None, &body).map(drop)
    };
    with_state_in_threads(count.div_ceil(STATIONS_PER_SITE), || node.client(), each)?;
    let each = |http: &mut Http, number: u32| {
        let body = json!({ "station": identity(number), "site": site(number / STATIONS_PER_SITE) });
        let made = http.post("/v1/stations", None, &body)?;
        let no_home = || BenchError::Answer(format!("a station without a partition: {made}"));
        made["partition"].as_u64().ok_or_else(no_home)
    };
    with_state_in_threads(count, || node.client(), each)
}

/// Makes a driver with money for each connector of each station; four in five at the station's home.
pub(crate) fn drivers(node: &Node, homes: &[u64], connectors: u16, partitions: u16) -> Result<()> {
    let count = u32::try_from(homes.len()).expect("stations are counted in 32 bits");
    let each = |http: &mut Http, station: u32| {
        let home = homes.get(usize::try_from(station).expect("32 bits fit")).copied();
        let home = home.expect("each station has a home");
        for connector in 1..=connectors {
            let number = station * u32::from(connectors) + u32::from(connector);
            let guest = number.is_multiple_of(GUESTS);
            let partition = if guest { (home + 1) % u64::from(partitions) } else { home };
            driver(http, &token(station, connector), partition)?;
        }
        Ok(())
    };
    with_state_in_threads(count, || node.client(), each).map(drop)
}

fn driver(http: &mut Http, token: &str, partition: u64) -> Result<()> {
    let name = format!("driver-{token}");
    let body = json!({
        "driver": name, "tokens": [token], "currency": "EUR", "partition": partition,
    });
    http.post("/v1/drivers", None, &body)?;
    let body = json!({ "amount": { "minor": DEPOSIT.to_string(), "currency": "EUR" } });
    http.post(&format!("/v1/drivers/{name}/deposits"), Some(&name), &body).map(drop)
}
