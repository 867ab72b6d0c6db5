//! Pricing rules: what time, place and the grid do to a listed price.
//!
//! A [`RuleBook`] is a text an operator reads (`docs/pricing.md` is its manual). Asked with the
//! [`Signals`] of a place and its [`Local`](crate::Local) time it gives a [`Quote`]: an adjustment and the
//! reasons for it, which the driver sees before charging and which stay frozen in the session.
//!
//! * Same book, signals and time, same quote: no clock, no float, no order of a hash map.
//! * Every book states its bounds, and no signal, however wrong, moves a price past them.
//! * A signal that is missing, too old or from the future has an outcome written in the book.

mod book;
mod boundary;
mod evaluate;
mod parse;
mod scan;
mod signals;
#[cfg(test)]
mod tests;
mod words;
mod write;

pub use book::{
    Bounds, CONDITIONS_MAX, Combine, Compare, Condition, EFFECTS_MAX, Effect, FACTOR_MAX_PPM,
    Fallback, NAME_MAX_CHARS, RULES_MAX, Rule, RuleBook, RuleHash, SignalPolicy, TEXT_MAX_BYTES,
};
pub use evaluate::{Bound, Quote, Reason, SignalFault};
pub use parse::{RuleError, RuleFault};
pub use signals::{Sample, SignalKind, Signals};
