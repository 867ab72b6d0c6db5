//! The store from outside: against a model, through crashes, on failing and rotting disks.
//!
//! * `sim_disk`: a disk in memory that loses, tears, refuses and rots
//! * `common`: building, draining and comparing stores
//! * `model`: random operations against a sorted map
//! * `crash`: the power goes at any moment
//! * `damage`: flipped bits, missing files, wrong options
//! * `concurrent`: readers beside flushes and compactions
//! * `kinds`: range deletes, expiry, merges, windows, blobs and checkpoints
//! * `ingest`: tables built beside the store are taken in whole or not at all
//! * `fixtures`: files as an earlier version wrote them
//! * `tools`: checkpoints, backups, repair, scrubbing and what else the operator has
//! * `faults`: each fault of files and disks is named, contained and found

mod common;
mod concurrent;
mod crash;
mod damage;
mod faults;
mod fixtures;
mod ingest;
mod kinds;
mod model;
mod sim_disk;
mod tools;
