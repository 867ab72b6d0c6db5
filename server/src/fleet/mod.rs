//! `novax fleet`: simulated stations that talk to a node over real sockets.
//!
//! Floors, top first: this file > `link` (a charger on a socket) > `provision` > `api` (HTTP) and
//! `charger` (pure) > `car`, `limits` > `random`; beside them `journal` and `tally`.
//!
//! Chargers behave the same for the same seed; what the node answers, and when, is its own affair.

mod api;
mod car;
mod charger;
mod journal;
mod limits;
mod link;
mod provision;
mod random;
mod tally;

use crate::cli::{EXIT_FAILED, EXIT_OK, EXIT_USAGE, FleetArgs};
use api::Api;
use charger::{Charger, Plan, Profile};
use journal::Journal;
use link::{Link, Shared};
use novax_wire::ocpp::Version;
use provision::Station;
use random::Random;
use std::sync::Arc;
use std::time::Duration;
use tally::Tally;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// `novax fleet`
#[must_use]
pub fn run(args: &FleetArgs) -> u8 {
    let Some(key) = args.api_key.clone() else {
        eprintln!(
            "novax fleet: the key of the HTTP API is missing: --api-key or NOVAX__HTTP__API_KEY"
        );
        return EXIT_USAGE;
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("novax fleet: {error}");
            return EXIT_FAILED;
        }
    };
    match runtime.block_on(drive(args, key)) {
        Ok(()) => EXIT_OK,
        Err(error) => {
            eprintln!("novax fleet: {error}");
            EXIT_FAILED
        }
    }
}

/// Why a fleet cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
enum FleetError {
    /// The hub did not take the fleet's stations.
    #[error("{0}")]
    Provision(#[from] api::ApiError),
    /// The journal cannot be written: the fleet's machine is at fault.
    #[error("the journal cannot be written: {0}")]
    Journal(std::io::Error),
    /// A charger broke one of its own invariants.
    #[error("a charger broke down: {0}")]
    Charger(#[from] tokio::task::JoinError),
}

async fn drive(args: &FleetArgs, key: String) -> Result<(), FleetError> {
    let api = Api::new(args.http, key);
    let journal = args.journal.as_deref().map(Journal::open).transpose();
    let journal = journal.map_err(FleetError::Journal)?;
    let stations = provision::provision(&api, args.chargers, args.seed).await?;
    println!("provisioned {} stations", stations.len());
    let shared = Arc::new(Shared { ocpp: args.ocpp, api, tally: Tally::default(), journal });
    let (stop, stopped) = watch::channel(false);
    let mut links = JoinSet::new();
    for (number, station) in (0_u32..).zip(stations) {
        let charger = charger_of(args, number, station);
        let random = Random::new(args.seed, u64::from(number) << 32);
        let link = Link::new(shared.clone(), charger, random, stopped.clone());
        links.spawn(link.run(Duration::from_secs(1) * number / args.connects_per_s));
    }
    let watched = watch(args, &shared, &mut links).await;
    let _ = stop.send(true);
    while let Some(ended) = links.join_next().await {
        ended?;
    }
    println!("{}", shared.tally.snapshot());
    flush(&shared)?;
    watched
}

fn flush(shared: &Shared) -> Result<(), FleetError> {
    let journal = shared.journal.as_ref();
    journal.map_or(Ok(()), Journal::flush).map_err(FleetError::Journal)
}

/// A line a second until the time is over, somebody presses Ctrl-C, or a charger breaks down.
async fn watch(
    args: &FleetArgs,
    shared: &Shared,
    links: &mut JoinSet<()>,
) -> Result<(), FleetError> {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    let over = async {
        match args.duration {
            Some(duration) => tokio::time::sleep(duration.0).await,
            None => std::future::pending().await,
        }
    };
    let asked = asked_to_stop();
    tokio::pin!(over, asked);
    let mut before = shared.tally.snapshot();
    loop {
        tokio::select! {
            _ = seconds.tick() => {
                let now = shared.tally.snapshot();
                println!("{}", now.since(&before));
                before = now;
                flush(shared)?;
            }
            () = &mut over => return Ok(()),
            () = &mut asked => return Ok(()),
            Some(ended) = links.join_next() => ended?,
        }
    }
}

/// Ctrl-C, or a service manager's wish.
async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

fn charger_of(args: &FleetArgs, number: u32, station: Station) -> Charger {
    // Spread evenly, so that any part of the fleet has both versions.
    let percent = u64::from(args.v201_percent);
    let (before, after) =
        (u64::from(number) * percent / 100, (u64::from(number) + 1) * percent / 100);
    let version = if after > before { Version::V201 } else { Version::V16 };
    let profile = Profile {
        identity: station.identity,
        vendor: "Novalectric",
        model: if station.fast { "Bolt 150" } else { "Post 22" },
        firmware: "4.2.1",
    };
    let plan = Plan {
        meter_interval: args.meter_interval.0.max(Duration::from_millis(100)),
        session: args.session.0,
        pause: args.session.0 / 6,
        app_percent: args.app_percent,
    };
    let random = Random::new(args.seed, u64::from(number));
    Charger::new(profile, version, station.connectors, plan, random, provision::now())
}
