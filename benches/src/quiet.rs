//! Waiting until a store in this process has nothing left to do.

use crate::cpu;
use crate::error::{BenchError, Result};
use std::time::{Duration, Instant};

const TURN: Duration = Duration::from_millis(100);
const QUIET_TURNS: u32 = 5;
const PATIENCE: Duration = Duration::from_secs(300);

/// Waits until `is_idle` and the process has used next to no processor for half a second.
pub(crate) fn wait(mut is_idle: impl FnMut() -> Result<bool>) -> Result<()> {
    let limit = Instant::now() + PATIENCE;
    let mut quiet_turns = 0;
    let mut before = cpu::of_process();
    while quiet_turns < QUIET_TURNS {
        std::thread::sleep(TURN);
        let now = cpu::of_process();
        let is_quiet = now.saturating_sub(before) < TURN / 20;
        quiet_turns = if is_quiet && is_idle()? { quiet_turns + 1 } else { 0 };
        before = now;
        if Instant::now() > limit {
            return Err(BenchError::Machine(
                "a store does not come to rest in five minutes".into(),
            ));
        }
    }
    Ok(())
}
