//! Bugs that are put in on purpose, to show that the tests notice them.
//!
//! Without `--cfg seeded_bugs` nothing of this is compiled: [`is`] is a constant `false`. With it, the variable
//! `NOVAX_SEEDED_BUG` names the one bug of this process; `cargo xtask sim --bugs` goes through all of them.

/// Whether the bug of this name is in force.
#[cfg(not(seeded_bugs))]
#[must_use]
#[inline(always)]
pub const fn is(_name: &str) -> bool {
    false
}

/// Whether the bug of this name is in force.
#[cfg(seeded_bugs)]
#[must_use]
pub fn is(name: &str) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| std::env::var("NOVAX_SEEDED_BUG").ok());
    chosen.as_deref() == Some(name)
}
