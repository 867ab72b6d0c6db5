//! Stripe's PaymentIntents with manual capture, spoken over HTTPS by a client of our own.
//!
//! Floors: `client` | `codec`, `signature` | `amount`, `form`.

mod amount;
mod client;
pub mod codec;
mod form;
pub mod signature;

pub use client::{Stripe, StripeConfig};
pub use form::Form;
