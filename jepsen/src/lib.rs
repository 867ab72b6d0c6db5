//! Tests against real processes: how they are started, asked, killed and judged.
//!
//! From the bottom up:
//!
//! * [`http`], [`socket`]: as much HTTP and WebSocket as asking and being a station takes
//! * [`node`]: a `novax serve` process on a directory of its own
//! * [`station`]: a station that calls and obeys, well or badly
//! * [`random`]: numbers that a seed decides; `folder`: copies of folders
//! * [`history`]: what a run's stations were promised; [`books`]: what the node says in the end
//! * [`checker`]: whether the books keep the promises
//! * [`charger`]: a station that charges through crashes; [`crash`]: the run
//! * [`store_crash`]: the store alone, in a process that is killed

pub mod books;
pub mod charger;
pub mod checker;
pub mod crash;
mod folder;
pub mod history;
pub mod http;
pub mod node;
pub mod random;
pub mod socket;
pub mod station;
pub mod store_crash;
