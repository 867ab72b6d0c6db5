//! The SQL side of a node against a store made of real rows: in this process, through `psql`,
//! through tokio-postgres, and through our own shell.

mod cases;
mod catalog;
mod late;
mod limits;
mod protocol;
mod pushdown;
mod shell;
mod store;
mod totals;
