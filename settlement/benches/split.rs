//! What it takes to split a session among five parties.

use novax_settlement::{Base, RevenueContract, split_into};
use std::hint::black_box;
use std::time::Instant;

const CONTRACT: &str = r#"
id = "site-5"
from = "2026-01-01T00:00:00Z"
currency = "EUR"
parties = ["cpo", "host", "supplier", "platform", "hub"]
residual = "cpo"
steps = [
    { party = "supplier", purpose = "electricity", rule = "per_kwh", price = "0.18" },
    { party = "hub", purpose = "roaming", rule = "fixed_per_session", amount = "0.25", roaming_only = true },
    { party = "platform", purpose = "platform", rule = "percent_of_net", percent = "5" },
    { party = "host", purpose = "site_host", rule = "percent_of_rest", percent = "40" },
]
"#;

fn main() {
    const SESSIONS: u64 = 2_000_000;
    let contract = RevenueContract::from_toml(CONTRACT).expect("a good contract");
    let mut shares = Vec::new();
    let mut given = 0;
    let started = Instant::now();
    for number in 0..SESSIONS {
        let net = u128::from(500 + number % 5_000);
        let base = Base { gross: net * 119 / 100, net, energy_wh: 20_000, roaming: true };
        split_into(black_box(&contract), black_box(&base), &mut shares);
        given += shares.len();
    }
    let nanos = started.elapsed().as_nanos() / u128::from(SESSIONS);
    assert!(given > 0, "something was split");
    println!("figure split_ns {nanos}");
}
