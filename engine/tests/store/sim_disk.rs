//! The simulated disk, which stands with the log's seam to the file system.

pub(crate) use novax_log::sim::{Rng, SimDisk};
