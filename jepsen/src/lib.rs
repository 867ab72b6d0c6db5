//! Tests against real processes: how they are started, asked, killed and judged.
//!
//! From the bottom up:
//!
//! * [`http`], [`socket`]: as much HTTP and WebSocket as asking and being a station takes
//! * [`node`]: a `novax serve` process on a directory of its own; [`form`]: several made a cluster
//! * [`station`]: a station that calls and obeys, well or badly
//! * [`random`]: numbers that a seed decides; `folder`: copies of folders
//! * [`harness`]: what goes wrong with the tools; [`verdict`]: how a run went
//! * [`nemesis`]: the toolbox of faults
//! * [`op`]: a history of calls, as Jepsen writes it; [`check`]: checkers of such histories
//! * [`history`]: what a run's stations were promised; [`books`]: what the node says in the end
//! * [`checker`]: whether the books keep the promises
//! * [`charger`]: a station that charges through crashes; [`crash`]: the run
//! * [`report`]: what came of a run, and a page about it
//! * [`suite`]: runs of workloads while something breaks
//! * [`store_crash`]: the store alone, in a process that is killed

pub mod books;
pub mod charger;
pub mod check;
pub mod checker;
pub mod crash;
mod folder;
pub mod form;
pub mod harness;
pub mod history;
pub mod http;
pub mod nemesis;
pub mod node;
pub mod op;
pub mod random;
pub mod report;
pub mod socket;
pub mod station;
pub mod store_crash;
pub mod suite;
pub mod verdict;
