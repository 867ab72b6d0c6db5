//! `novax fleet`: simulated stations.

/// `novax fleet`
#[must_use]
pub fn run(_args: &crate::cli::FleetArgs) -> u8 {
    1
}
