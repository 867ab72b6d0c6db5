//! What a session costs.
//!
//! A tariff comes in as OCPI or OCPP and is one [`Tariff`] here. A [`Rating`] is started with it, takes
//! the charger's readings one by one and says at any time what the session costs so far.
//!
//! * [`model`]: the tariff
//! * [`rating`]: from readings to cost
//! * [`ocpi`]: tariffs on the wire, versions 2.2.1 and 2.3.0
//! * [`ocpp`]: the same for stations, and the costs they show
//! * [`rules`]: what time, place and grid do to a listed price
//! * [`language`]: the words in which a price explains itself
//! * [`explain`]: a tariff in words
//! * [`lint`]: what its author hardly meant
//! * [`simulate`]: what a session would cost
//! * [`zone`]: the wall clock of a site
//!
//! **Architecture Invariant:** no clock, file, thread, chance or float: the same tariff and the same
//! readings give the same cost on every replica. Prices are integer millionths of a major unit.

mod canonical;
mod check;
mod error;
pub mod explain;
#[doc(hidden)]
pub mod fuzz;
pub mod language;
pub mod lint;
pub mod model;
pub mod ocpi;
pub mod ocpp;
pub mod rating;
pub mod rules;
pub mod simulate;
pub mod zone;

pub use canonical::TariffHash;
pub use error::TariffError;
pub use language::Language;
pub use model::{
    Component, Day, Dimension, Element, Party, PriceLimit, Reservation, Restrictions, Tariff,
    TariffKind, TaxIncluded, Words,
};
pub use rating::{
    Active, Adjustment, Cost, CostLine, Limit, Limits, PERIODS_MAX, Period, Rating, Reading,
};
pub use zone::{Local, Offset, Zone};
