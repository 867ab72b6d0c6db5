//! The load of `start-charge` on a central system in Python, which answers from memory.

use crate::error::Result;
use crate::figures::Figures;
use crate::server::Server;
use crate::start_charge::Load;
use crate::station::open_all;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PROGRAM: &str = include_str!("ocpp.py");
/// Stations, with a connector each. Enough that it never waits for one.
const CHARGERS: u32 = 200;
const TIMED: Duration = Duration::from_secs(5);
const ROUNDS_MAX: u32 = 10_000;

/// Starts a second, and processor time of each.
pub(crate) fn measure(python: &Path, figures: &mut Figures) -> Result<()> {
    let mut command = Command::new(python);
    command.args(["-c", PROGRAM]);
    let server = Server::start(command)?;
    let mut load = Load::new(open_all(server.address(), CHARGERS)?, 1)?;
    let (mut timed, mut used, mut starts) = (Duration::ZERO, Duration::ZERO, 0);
    for round in 0..ROUNDS_MAX {
        let before = server.cpu()?;
        let elapsed = load.starts(round)?;
        // The first round is what a day never looks like.
        if round > 0 {
            timed += elapsed;
            used += server.cpu()?.saturating_sub(before);
            starts += CHARGERS;
        }
        load.stops()?;
        if timed >= TIMED {
            break;
        }
    }
    figures.add("python_ocpp_tps", f64::from(starts) / timed.as_secs_f64(), "1/s");
    figures.add("python_ocpp_cpu_us", used.as_secs_f64() * 1e6 / f64::from(starts), "us");
    let ours = figures.get("start_charge_tps").expect("measured before");
    let theirs = figures.get("python_ocpp_tps").expect("just added");
    figures.add("python_ocpp_ratio", ours / theirs, "1");
    Ok(())
}
