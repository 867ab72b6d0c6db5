//! What a meter's register proves.
//!
//! **Invariants**: what was seen is owed: energy never shrinks by a register; a single low value, or
//! one beyond reason, changes nothing but doubt; only a value that is low twice, growing, is a meter
//! that began anew, and then each stretch in which it grew counts (window 13).

use crate::document::SignedEnergy;
use crate::rows::SessionRow;
use novax_model::WattHours;

/// Takes a register in. Says what is doubtful about it.
pub(crate) fn take_register(
    row: &mut SessionRow,
    register: WattHours,
    energy_max: WattHours,
) -> Option<&'static str> {
    let before = row.energy();
    let doubt = take(row, register, energy_max);
    assert!(row.energy() >= before, "what was seen is owed");
    doubt
}

fn take(row: &mut SessionRow, register: WattHours, energy_max: WattHours) -> Option<&'static str> {
    let Some(start) = row.meter_start else {
        row.meter_start = Some(register);
        row.meter_last = register;
        return None;
    };
    let energy_with = |reset: i64| i128::from(register.0) - i128::from(start.0) + i128::from(reset);
    let is_plausible = |reset: i64| energy_with(reset) <= i128::from(energy_max.0);
    if register >= row.meter_last {
        if !is_plausible(row.meter_reset.0) {
            return Some("the meter jumped");
        }
        row.meter_last = register;
        row.meter_low = None;
        return None;
    }
    let low = row.meter_low.replace(register);
    let Some(low) = low.filter(|low| register >= *low) else {
        return Some("the meter ran backwards");
    };
    // Low twice and growing: not a glitch. What it showed before it began anew is kept.
    let lost = row.meter_last.0.checked_sub(low.0);
    match lost.and_then(|lost| lost.checked_add(row.meter_reset.0)) {
        Some(reset) if is_plausible(reset) => {
            row.meter_reset = WattHours(reset);
            row.meter_last = register;
            row.meter_low = None;
            Some("the meter began anew")
        }
        _ => Some("the meter jumped"),
    }
}

/// Takes what the meter signed in place of all that was said without a signature. Says what keeps it
/// from being believed.
pub(crate) fn take_signed(
    row: &mut SessionRow,
    signed: SignedEnergy,
    energy_max: WattHours,
) -> Option<&'static str> {
    let Some(start) = signed.start.or(row.meter_start) else {
        return Some("the signed value has no beginning");
    };
    match signed.stop.0.checked_sub(start.0) {
        Some(energy) if (0..=energy_max.0).contains(&energy) => {
            row.meter_start = Some(start);
            row.meter_last = signed.stop;
            row.meter_low = None;
            row.meter_reset = WattHours(0);
            row.suspect = false;
            None
        }
        _ => Some("the signed values are beyond reason"),
    }
}
