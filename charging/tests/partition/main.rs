//! Tests of the partition as a node uses it: entries in, rows and outcomes out.

mod books;
mod cards;
mod chaos;
mod documents;
mod erase;
mod format;
mod history;
mod node;
mod nodes;
mod peers;
mod properties;
mod saga;
mod tree;
mod windows;
