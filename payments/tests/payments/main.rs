//! Against providers over HTTP: our own pretended Stripe with its faults, and another project's.

mod disputes;
mod faults;
mod localstripe;
mod messages;
mod money;
mod wallet;
mod worker;
mod world;
