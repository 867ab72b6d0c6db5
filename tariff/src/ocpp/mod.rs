//! Tariffs and costs as OCPP carries them.
//!
//! * `read`, `write`: the `TariffType` of OCPP 2.1 (`SetDefaultTariff`, `ChangeTransactionTariff`)
//! * `cost`: what a station shows: `CostUpdated` of 2.x, and for 1.6 the messages that the Open
//!   Charge Alliance's paper on California's pricing requirements puts into `DataTransfer`
//!
//! OCPP prices a minute without tax where the model here prices an hour; a minute is written to
//! nine decimals, which read back as the same hour. Taxes that OCPP stacks are one rate here. What
//! one side has and the other cannot say is refused with the name of the field; texts for people,
//! the energy mix, the owner and the amount to hold stay on this side.
//!
//! A fixed fee with conditions is due in OCPP if they hold at the start; here, as in OCPI, as soon
//! as they hold. What is billed is always what is rated here.

mod cost;
mod read;
mod write;

pub use cost::{
    COSTMSG_VENDOR, cost_updated, final_cost, price_texts, running_cost, set_user_price,
    total_minor,
};
pub use read::parse;
pub use write::{change_transaction_tariff, set_default_tariff, write};

/// Days as OCPP names them, Monday first.
const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
/// Decimals of the price of a minute: enough that the hour reads back.
const MINUTE_PLACES: u32 = 9;

#[cfg(test)]
mod tests;
